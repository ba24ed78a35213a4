"""The best architecture trained anew with several members: what the time that is left is worth most for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trails.limits import WRITTEN_A_SECOND
from trails.refinement import memory
from trails.refinement.clock import Clock
from trails.refinement.costs import NEWEST, Seconds
from trails.refinement.planning import LEAST_SHARE
from trails.refinement.remaining import SLACK
from trails.refinement.supervision import Supervision
from trails.refinement.timings import Timings
from trails.refinement.trial import EpochResult, Trial
from trails.refinement.workers import LocalWorker
from trails.training.options import Options

SHARE = 0.4
"""Of the time for training, what is kept for members, or for training the winner further where that holds none."""

_CHOICES = (16, 8, 4)
"""How many members there are at most: 32 are hardly better than 16, and predicting takes as many times as long."""

_MORE_EPOCHS, _FEWEST_EPOCHS = 1.25, 8
"""Members need some more epochs than one network; the best epoch of one that is still getting better says little."""

_MORE_PATIENCE = 2
"""Times the patience with candidates: nobody waits for their turn any more."""

_MEMORY_SHARE = 0.5
"""Of the memory that is free."""


class Members:
    """Trains the winner's architecture with members, if the time left holds enough of it.

    Args:
        winner: Whose architecture.
        options: Of the run.
        supervision: Of the run.
        timings: Of the run.
        clock: Of the run.
    """

    def __init__(
        self, winner: Trial, options: Options, supervision: Supervision, timings: Timings, clock: Clock
    ) -> None:
        self._winner, self._options, self._run = winner, options, supervision
        self._timings, self._clock = timings, clock

    def train(self, worker: LocalWorker, refit: bool) -> Trial | None:
        """Train as many members as are asked for or as there is time for.

        Args:
            worker: That trains them.
            refit: Whether what is trained is to be trained again on all rows, which takes as long once more.

        Returns:
            The trial, which has its best epoch's weights; None if there was no time, or one network does as well.
        """
        again = self._run.models.refit_share if refit else 0.0
        chosen = self._chosen(worker, again)
        if chosen is None:
            return None
        trial, most, seconds = chosen
        remaining = self._run.remaining
        remaining.active = 1
        training_share = seconds.epoch / (seconds.epoch + again * seconds.training)
        now = self._clock.now()
        ends = now + training_share * max(remaining.seconds(), 0.0)
        supervisor = _MembersSupervisor(self._run, seconds, ends, self._clock)
        self._run.progress.expect(most)
        with self._timings.phase("members"):
            worker.patient(_MORE_PATIENCE * self._options.patience).train([trial], most, supervisor)
        trial.training = None
        best = self._winner
        return trial if trial.best is not None and best.is_better(trial.best_metric, trial.best_loss) else None

    def _chosen(self, worker: LocalWorker, again: float) -> tuple[Trial, int, Seconds] | None:
        """A trial never trained, epochs at most, and what one is expected to take; None if time holds none."""
        asked, remaining = self._options.members, self._run.remaining
        choices = _CHOICES if isinstance(asked, str) else (asked,)
        most = self._options.max_epochs
        for members in choices:
            trial = self._winner.with_members(members)
            if trial is None:
                return None
            if worker.bytes_of(trial.layout) > _MEMORY_SHARE * memory.available(worker.device):
                continue
            seconds = self._wall(remaining.cost_of(trial))
            if not isinstance(asked, str):
                return trial, most, seconds
            wanted = min(most, max(_FEWEST_EPOCHS, math.ceil(_MORE_EPOCHS * self._winner.best_epoch)))
            needed = SLACK * wanted * (seconds.epoch + again * seconds.training)
            writing = 4 * (trial.layout.parameters - self._winner.layout.parameters) / WRITTEN_A_SECOND
            if needed + writing <= remaining.seconds():
                return trial, most, seconds
        return None

    def _wall(self, seconds: Seconds) -> Seconds:
        self._run.remaining.active = 1
        wall = self._run.remaining.wall()
        return Seconds(wall * seconds.training, wall * seconds.evaluation)


class _MembersSupervisor:
    """The `trails.refinement.workers.Supervisor` of members: nothing of theirs is on the leaderboard, which compares
    networks of one member."""

    def __init__(self, run: Supervision, seconds: Seconds, ends: float, clock: Clock) -> None:
        self._run, self._seconds, self._ends, self._clock = run, seconds, ends, clock

    def may_begin(self, trials: Sequence[Trial]) -> bool:
        """Whether a part of an epoch is left."""
        return self._clock.now() + self._seconds.share(LEAST_SHARE) < self._ends

    def training_ends(self, trials: Sequence[Trial], batch_seconds: float) -> float:
        """When training must stop so that the evaluation is done in time."""
        return self._ends - SLACK * (self._seconds.evaluation + batch_seconds)

    def evaluation_ends(self, trials: Sequence[Trial]) -> float:
        """When an evaluation has to be given up."""
        return self._ends

    def report(self, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]) -> None:
        """An epoch is over: the next one will take about as long."""
        if all(result.finished for result in results):
            wall, before = self._run.remaining.wall(), self._seconds
            training, evaluation = (
                old + NEWEST * (wall * new - old)
                for old, new in zip((before.training, before.evaluation), seconds, strict=True)
            )
            self._seconds = Seconds(training, evaluation)

    def fell_short(self, trials: Sequence[Trial], seconds: tuple[float, float]) -> None:
        """Nothing is learnt of an epoch that was given up: it was the last."""

    def progress(self, epochs: float) -> None:
        """So many epochs more are done."""
        with self._run.lock:
            self._run.progress.add(epochs)
