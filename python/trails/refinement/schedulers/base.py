"""What a runner and a scheduler say to each other, and the limits within which a scheduler plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trails.errors import InvalidInput
from trails.halving import DEFAULT_ETA, DEFAULT_MAX_EPOCHS, Rung


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


@dataclass(frozen=True)
class Saved:
    """What a scheduler goes on from in another run, beside its candidates.

    Args:
        rungs: Left to train, where candidates and rungs are all there is to know.
        state: For JSON; None where the rungs say it all, or nothing is left.
    """

    rungs: tuple[Rung, ...] = ()
    state: Mapping[str, Any] | None = None


class Scheduler(Protocol):
    """Hands out jobs and decides from their results who goes on.

    A runner takes jobs until there is none, reports them in any order, ends the rung, and starts again:

        while not scheduler.done:
            while (job := scheduler.next_job()) is not None:
                scheduler.report(job.architecture, train(job))
            scheduler.end_rung()

    Candidates whose training is kept by whoever trains them are `needed` ones; what it does without is told to
    `dismiss`. Between two rungs a scheduler can be `saved`, and made again by `resume_scheduler`.
    """

    @property
    def done(self) -> bool:
        """Nothing is left to train."""

    @property
    def winner(self) -> str | None:
        """The best candidate once all is done; None before that, and if training failed for all."""

    def next_job(self) -> Job | None:
        """The next candidate to train; None while the rung waits for results, and when all is done."""

    def report(self, architecture: str, metric: float | None, loss: float | None = None) -> None:
        """The result of a job.

        Args:
            architecture: Of a job that was handed out and not reported yet.
            metric: Of the candidate's best epoch so far, higher is better; None or a number that is not finite if
                training failed, which takes the candidate out.
            loss: Validation loss of that epoch, by which candidates of equal metrics are told apart, the smaller one
                first; None where it is not known.

        Raises:
            ValueError: No such job is out.
        """

    def end_rung(self) -> RungEnd | None:
        """Close the rung once nothing of it is waiting or running; None before that, and when all is done."""

    # The rung under way

    @property
    def entrants(self) -> tuple[str, ...]:
        """Candidates of this rung."""

    @property
    def waiting(self) -> tuple[str, ...]:
        """Candidates of this rung that were not handed out yet."""

    @property
    def reported(self) -> int:
        """Candidates of this rung whose results are in."""

    # What is planned, and taken back where time turns out to be short

    @property
    def brackets_left(self) -> tuple[tuple[Rung, ...], ...]:
        """What is left to train: rungs whose candidates go on from one to the next, in brackets that begin anew."""

    @property
    def shortenable(self) -> tuple[Rung, ...]:
        """The rung under way and those after it, where candidates may be given up for lack of time; none where rungs
        stand as they were planned."""

    def epochs_left(self, reached: int) -> int:
        """Model-epochs of what is left; ``reached`` are those that the candidates of the rung have behind them."""

    def give_up(self, count: int) -> None:
        """Take the last ``count`` waiting candidates out of this rung: there is no time for them."""

    def revise(self, *, epochs_done: int, epoch_seconds: float, seconds_left: float, eta: int) -> bool:
        """Between two rungs, fit those left to the time left; see `trails.halving.revise`.

        Returns:
            Whether that took anything away; never where rungs stand as they were planned.
        """

    # Whose training is kept

    @property
    def needed(self) -> frozenset[str]:
        """Candidates that may be trained further. The others' weights need not be kept."""

    def dismiss(self, architecture: str) -> None:
        """Its weights are not kept: do without a candidate that is not `needed`, whatever happens to the others."""

    # Going on in another run

    @property
    def fresh(self) -> tuple[str, ...]:
        """Candidates that are not trained before a rung to come."""

    @property
    def survivors(self) -> tuple[str, ...]:
        """Between two rungs, candidates whose training another run needs to go on; once all is done the winner."""

    @property
    def many_rungs(self) -> bool:
        """Whether rungs are so many and so short that not each is worth a checkpoint that takes long to write."""

    def saved(self) -> Saved:
        """What goes on in another run, between two rungs only.

        Raises:
            ValueError: A rung is under way.
        """


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
