"""What a runner and a scheduler say to each other, and the limits within which a scheduler plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trails.errors import InvalidInput
from trails.halving import DEFAULT_ETA, DEFAULT_MAX_EPOCHS


@dataclass(frozen=True)
class Job:
    """Train ``architecture`` on until it has ``epochs_to`` epochs behind it."""

    architecture: str
    rung: int
    epochs_to: int


@dataclass(frozen=True)
class RungEnd:
    """A rung is over: ``survivors``, best first, go on to the next one (the winner after the last)."""

    rung: int
    candidates: int
    survivors: tuple[str, ...]


class Scheduler(Protocol):
    """Hands out jobs and decides from their results who goes on.

    A runner takes jobs until there is none, reports them in any order, ends the rung, and starts again:

        while not scheduler.done:
            while (job := scheduler.next_job()) is not None:
                scheduler.report(job.architecture, train(job))
            scheduler.end_rung()
    """

    @property
    def done(self) -> bool:
        """Nothing is left to train."""

    @property
    def winner(self) -> str | None:
        """The best candidate once all is done; None before that, and if training failed for all."""

    def next_job(self) -> Job | None:
        """The next candidate to train; None while the rung waits for results, and when all is done."""

    def report(self, architecture: str, metric: float | None) -> None:
        """The result of a job.

        Args:
            architecture: Of a job that was handed out and not reported yet.
            metric: At the epoch asked for, higher is better; None or a number that is not finite if
                training failed, which takes the candidate out.

        Raises:
            ValueError: No such job is out.
        """

    def end_rung(self) -> RungEnd | None:
        """Close the rung once nothing of it is waiting or running; None before that, and when all is done."""


@dataclass(frozen=True)
class Limits:
    """What a scheduler may spend.

    Args:
        epochs: Model-epochs in all: candidates times epochs, summed.
        max_epochs: Epochs after which no candidate is trained further.
        eta: One in how many survives a rung, where the scheduler leaves that open.
        u: Epochs of the first rung; None for as many as ``epochs`` holds.

    Raises:
        InvalidInput: A limit is below its least value, or ``u`` above one of the others.
    """

    epochs: int
    max_epochs: int = DEFAULT_MAX_EPOCHS
    eta: int = DEFAULT_ETA
    u: int | None = None

    def __post_init__(self) -> None:
        least = {"epochs": 1, "max_epochs": 1, "eta": 2, "u": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise InvalidInput(f"{name} is at least {minimum}, not {value}")
        for name, most in (("max_epochs", self.max_epochs), ("epochs", self.epochs)):
            if self.u is not None and self.u > most:
                raise InvalidInput(f"u = {self.u} is not possible with {name} = {most}")
