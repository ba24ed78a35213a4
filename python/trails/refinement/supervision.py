"""What workers of a run are told and what they tell: when to stop, which epochs are over, how far it all is."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from trails.refinement.clock import Clock
from trails.refinement.costs import Seconds
from trails.refinement.models import Models
from trails.refinement.planning import LEAST_SHARE
from trails.refinement.protocol import Events
from trails.refinement.remaining import Remaining
from trails.refinement.roster import Roster
from trails.refinement.trial import EpochResult, Trial

_PROGRESS_SECONDS = 0.25


class Progress:
    """Model-epochs done and planned, told four times a second at most.

    Args:
        events: Where to tell it.
        clock: Of the run.
    """

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events, self._clock, self._told = events, clock, -math.inf
        self.done, self._total = 0.0, 1.0

    def expect(self, more: float) -> None:
        """So many are planned beyond those that are done."""
        self._total = self.done + more

    def add(self, epochs: float) -> None:
        """So many more are done."""
        self.done += epochs
        now = self._clock.now()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            self._events.progress(self.done, max(self._total, self.done))


class Supervision:
    """Everything that workers tell goes through here, one at a time; the `Supervisor` of each rung comes from it.

    Args:
        remaining: Of the budget.
        models: That the run trains.
        events: Where to report.
        clock: Of the run.

    Attributes:
        roster: Of the run, once it is planned.
        lock: Held whenever something that workers share is looked at or changed.
    """

    roster: Roster

    def __init__(self, remaining: Remaining, models: Models, events: Events, clock: Clock) -> None:
        self.remaining, self.models, self.events = remaining, models, events
        self.progress = Progress(events, clock)
        self.lock = threading.RLock()

    def of_rung(self, rung: int, winning: bool = False) -> RungSupervisor:
        """For workers in this rung.

        Args:
            rung: Its number.
            winning: Whether the winner is being trained further: its model is written whenever it gets better.
        """
        return RungSupervisor(self, rung, winning)


class RungSupervisor:
    """The `Supervisor` of workers in one rung."""

    def __init__(self, run: Supervision, rung: int, winning: bool) -> None:
        self._run, self._rung, self._winning = run, rung, winning

    def may_begin(self, trials: Sequence[Trial]) -> bool:
        """See `Supervisor`."""
        run = self._run
        with run.lock:
            return run.remaining.epochs_of(trials) >= LEAST_SHARE or not run.roster.any_result()

    def training_ends(self, trials: Sequence[Trial], batch_seconds: float) -> float:
        """See `Supervisor`."""
        run = self._run
        with run.lock:
            return run.remaining.training_ends(trials, batch_seconds, first=not run.roster.any_result())

    def evaluation_ends(self, trials: Sequence[Trial]) -> float:
        """See `Supervisor`."""
        return self._run.remaining.evaluation_ends(trials)

    def report(self, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]) -> None:
        """See `Supervisor`."""
        run = self._run
        with run.lock:
            if all(result.finished for result in results):
                run.remaining.costs.observe([trial.design for trial in trials], Seconds(*seconds))
            for result in results:
                run.events.epoch(
                    architecture=result.architecture,
                    rung=self._rung,
                    epoch=result.epoch,
                    train_loss=result.train_loss,
                    validation_loss=result.loss,
                    validation_metric=result.metric,
                    seconds=result.seconds,
                )
                best = run.roster.best
                assert best is not None, "this one has a result"
                run.models.note(result, best)
            if self._winning and trials[0].best_epoch == trials[0].epochs:
                run.models.write(trials[0])

    def fell_short(self, trials: Sequence[Trial], seconds: tuple[float, float]) -> None:
        """See `Supervisor`."""
        run = self._run
        with run.lock:
            run.remaining.costs.fell_short([trial.design for trial in trials], Seconds(*seconds))

    def progress(self, epochs: float) -> None:
        """See `Supervisor`."""
        with self._run.lock:
            self._run.progress.add(epochs)
