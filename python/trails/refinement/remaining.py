"""How much of a run's budget is left, and how much training that is at the speed observed."""

from __future__ import annotations

from collections.abc import Sequence

from trails.limits import RESERVE_SECONDS
from trails.refinement.clock import Clock
from trails.refinement.costs import NEWEST, Costs, Seconds, Speed
from trails.refinement.protocol import Setting
from trails.refinement.trial import Trial

# Stretches between two looks at the clock, and the last evaluation, may take this much longer than
# expected.
SLACK = 1.3

# The same while there is no model yet: without the first evaluation the run was for nothing.
_FIRST_SLACK = 2.0


class Remaining:
    """The time that is left, and what of it training can have.

    Args:
        setting: Of the run.
        clock: Of the run.
        chunks: Pieces of an evaluation; see `trails.refinement.models.Models.chunks`.

    Attributes:
        reserve: Seconds kept back before the deadline.
        speed: As measured; its costs learn from every epoch.
        active: Workers that train at the moment.
    """

    speed: Speed

    def __init__(self, setting: Setting, clock: Clock, chunks: float) -> None:
        self._deadline, self._clock, self._chunks = setting.deadline, clock, chunks
        self.reserve = RESERVE_SECONDS
        self._of_members: Seconds | None = None
        self.active = 1

    @property
    def costs(self) -> Costs:
        """Of every candidate, as observed so far."""
        return self.speed.costs

    def cost_of(self, trial: Trial) -> Seconds:
        """Seconds of an epoch of a trial, all its members together: as observed, or else predicted."""
        if trial.members == 1:
            return self.costs.of(trial.design)
        return self._of_members or self.costs.of_work(trial.networks.work(trial.layout.shape, trial.design))

    def observe_members(self, seconds: Seconds) -> None:
        """An epoch of a network of several members took so long; there is one such network in a run."""
        before = self._of_members or seconds
        self._of_members = Seconds(
            before.training + NEWEST * (seconds.training - before.training),
            before.evaluation + NEWEST * (seconds.evaluation - before.evaluation),
        )

    def seconds(self) -> float:
        """That training and evaluation may still take."""
        return self._deadline - self.reserve - self.speed.chunk_seconds - self._clock.now()

    def wall(self) -> int:
        """Wall seconds of a worker for each second of the whole machine."""
        return self.speed.wall(self.active)

    def epochs_of(self, trials: Sequence[Trial]) -> float:
        """Epochs of these candidates, each with its evaluation, that the time left holds while the other workers
        go on; below 1 part of one.
        """
        each = [self.cost_of(trial) for trial in trials]
        training = self.wall() * sum(seconds.training for seconds in each)
        evaluation = self.wall() * sum(seconds.evaluation for seconds in each)
        left = self.seconds()
        return left / (training + evaluation) if left > training + evaluation else (left - evaluation) / training

    def mean_epoch(self, trials: Sequence[Trial]) -> float:
        """Seconds of the whole machine for an epoch of one of these."""
        return sum(self.cost_of(trial).epoch for trial in trials) / len(trials)

    def training_ends(self, trials: Sequence[Trial], batch_seconds: float, first: bool) -> float:
        """When training must stop so that the evaluation is done in time.

        Args:
            trials: That are trained together.
            batch_seconds: That a batch of them took.
            first: Whether there is no result yet.
        """
        evaluation = self.wall() * sum(self.cost_of(t).evaluation for t in trials)
        batch = self.wall() * sum(self._batch(t) for t in trials)
        slack = _FIRST_SLACK if first else SLACK
        return self.evaluation_ends(trials) - slack * (evaluation + max(batch_seconds, batch))

    def _batch(self, trial: Trial) -> float:
        if trial.members == 1:
            return self.costs.batch(trial.design)
        return self.cost_of(trial).training / self.costs.batches

    def evaluation_ends(self, trials: Sequence[Trial]) -> float:
        """When an evaluation has to be given up."""
        # The chunk under way when the clock is read cannot be interrupted; measured was perhaps that of narrower ones.
        chunk = self.wall() * sum(self.cost_of(t).evaluation for t in trials) / self._chunks
        return self._deadline - self.reserve - SLACK * max(self.speed.chunk_seconds, chunk)
