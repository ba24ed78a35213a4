"""Workers, networks and costs of a run on recorded curves, in place of real ones; see `trails.refinement.recorded`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trails.family import MLP, Family
from trails.refinement.clock import RecordedClock
from trails.refinement.costs import NEWEST, Costs, Seconds
from trails.refinement.curves import Curve, RecordedEpoch, recorded_epoch
from trails.refinement.ensemble import Together
from trails.refinement.protocol import Candidate
from trails.refinement.trial import EpochResult, Trial
from trails.refinement.workers import Supervisor, all_done

_LEAST = 1e-9
"""Seconds of an epoch of which no time was recorded: plans divide by them."""


class _Placeholder:
    """Stands for weights and for what training goes on from, which nobody looks at."""

    steps = 0


_PLACEHOLDER: Any = _Placeholder()


class RecordedWorker:
    """A machine of its own that looks epochs up instead of training; see `trails.refinement.workers.Worker`.

    Args:
        models: That know the curves.
        patience: Option of that name.
        clock: Is told how long everything took.
        workers: Machines in all: each is a part of what the run has.
        restart: Whether a candidate that has epochs behind it is trained again from its beginning whenever it is its
            turn. The same seed gives the same weights, so nothing but time comes of the epochs before.

    Attributes:
        epochs: Trained to their end here, those trained again included.
    """

    def __init__(
        self, models: RecordedModels, patience: int, clock: RecordedClock, workers: int = 1, restart: bool = False
    ) -> None:
        self._models, self._patience, self._clock, self._workers = models, patience, clock, workers
        self._restart, self.epochs = restart, 0

    def train(self, trials: Sequence[Trial], epochs_to: int, supervisor: Supervisor) -> bool:
        """See `Worker.train`; there is one candidate at a time."""
        (trial,) = trials
        in_time = True
        if self._restart and not all_done(trials, epochs_to, self._patience):
            in_time = self._again(trial, supervisor)
        while in_time and not all_done(trials, epochs_to, self._patience):
            in_time = supervisor.may_begin(trials) and self._epoch(trial, supervisor)
        return in_time

    def _again(self, trial: Trial, supervisor: Supervisor) -> bool:
        """Spend the time of the epochs that a candidate has behind it; False if there is not so much."""
        for number in range(1, trial.epochs + 1):
            seconds = self._models.epoch(trial, number).seconds
            left = supervisor.training_ends([trial], 0.0) - self._clock.now()
            if seconds > left:
                self._clock.advance(max(0.0, left))
                return False
            self._clock.advance(seconds)
            self.epochs += 1
        return True

    def _epoch(self, trial: Trial, supervisor: Supervisor) -> bool:
        clock, epoch = self._clock, self._models.next_epoch(trial)
        began, trials = clock.now(), [trial]
        own = epoch.training_seconds / self._workers, epoch.evaluation_seconds / self._workers
        left = supervisor.training_ends(trials, 0.0) - began
        if epoch.training_seconds > left:
            clock.advance(max(0.0, left))
            return False
        clock.advance(epoch.training_seconds)
        supervisor.progress(1.0)
        left = supervisor.evaluation_ends(trials) - clock.now()
        if epoch.evaluation_seconds > left:
            clock.advance(max(0.0, left))
            supervisor.fell_short(trials, own)
            return False
        clock.advance(epoch.evaluation_seconds)
        self.epochs += 1
        result = take(trial, epoch, clock.now() - began)
        supervisor.report(trials, [] if result is None else [result], own)
        return True


class RecordedModels:
    """`trails.refinement.models.Models` of which nothing is known but their curves; none is kept or trained again.

    Args:
        curves: Of every architecture.
        family: That the architectures are of.
    """

    chunks = math.inf
    unkept = None
    refit_share = 0.0

    def __init__(self, curves: Mapping[str, Curve], family: Family = MLP) -> None:
        self.curves, self._family = curves, family

    @cached_property
    def digest(self) -> str:
        """Of the curves."""
        return hashlib.blake2b(repr(sorted(self.curves.items())).encode(), digest_size=16).hexdigest()

    def next_epoch(self, trial: Trial) -> RecordedEpoch:
        """What comes after the epochs that a trial has behind it; see `recorded_epoch`."""
        return self.epoch(trial, trial.epochs + 1)

    def epoch(self, trial: Trial, number: int) -> RecordedEpoch:
        """Epoch ``number`` of a trial, from 1; see `recorded_epoch`."""
        return recorded_epoch(self.curves, trial.architecture, number)

    def trial(self, candidate: Candidate) -> Trial:
        """See `Models`."""
        curve = self.curves.get(candidate.architecture)
        layout = RecordedLayout(candidate.design, 0 if curve is None else curve.parameters)
        return Trial(self._family, candidate.architecture, candidate.score, cast(Any, layout), 0)

    def knows(self, trial: Trial) -> bool:
        """See `Models`."""
        return trial.architecture in self.curves

    def reserve(self, trials: Sequence[Trial]) -> tuple[float, float]:
        """See `Models`: nothing is written."""
        return 0.0, 0.0

    def note(self, result: EpochResult, best: Trial) -> None:
        """See `Models`."""

    def rung_ended(self, ranked: Sequence[Trial]) -> None:
        """See `Models`."""

    def write(self, best: Trial) -> None:
        """See `Models`."""

    together_seconds = 0.0

    def together(self, ranked: Sequence[Trial], most: int) -> None:
        """See `Models`: curves do not say what a mean of networks would predict."""

    def finish_together(self, found: Together, refitted: bool) -> bool:
        """See `Models`: nothing is written."""
        return False

    def note_outputs(self, trial: Trial, outputs: NDArray[np.float32]) -> None:
        """See `Models`."""

    def write_at_once(self, best: Trial) -> bool:
        """See `Models`."""
        return False

    def learn_metrics(self, trial: Trial) -> bool:
        """See `Models`: there are no others than the curves'."""
        return True

    def refit(self, winner: Trial, keep_going: Callable[[float], bool]) -> None:
        """See `Models`."""

    def finish(self, winner: Trial, refitted: bool) -> None:
        """See `Models`."""


@dataclass(frozen=True)
class RecordedLayout:
    """What is known of a network whose curve was recorded: no weights."""

    design: tuple[int, ...]
    parameters: int


class RecordedCosts(Costs):
    """Costs that were profiled candidate by candidate; epochs that take longer or shorter make all so.

    Args:
        seconds: Of an epoch of every design, as a share of all machines.
    """

    def __init__(self, seconds: Mapping[tuple[int, ...], Seconds]) -> None:
        self._profiled = {design: Seconds(max(s.training, _LEAST), s.evaluation) for design, s in seconds.items()}
        self._slow_training, self._slow_evaluation = 1.0, 1.0

    def of(self, design: Sequence[int]) -> Seconds:
        """See `Costs.of`."""
        profiled = self._profiled[tuple(design)]
        return Seconds(self._slow_training * profiled.training, self._slow_evaluation * profiled.evaluation)

    def batch(self, design: Sequence[int]) -> float:
        """None: training can stop at any moment."""
        return 0.0

    def observe(self, stacked: Sequence[Sequence[int]], seconds: Seconds) -> None:
        """See `Costs.observe`."""
        training, evaluation = self._slower(stacked, seconds)
        self._slow_training += NEWEST * (training - self._slow_training)
        self._slow_evaluation += NEWEST * (evaluation - self._slow_evaluation)

    def fell_short(self, stacked: Sequence[Sequence[int]], seconds: Seconds) -> None:
        """See `Costs.fell_short`."""
        training, evaluation = self._slower(stacked, seconds)
        self._slow_training = max(training, self._slow_training)
        self._slow_evaluation = max(evaluation, self._slow_evaluation)

    def _slower(self, stacked: Sequence[Sequence[int]], seconds: Seconds) -> tuple[float, float]:
        """How many times what was profiled these seconds are; what takes no time says nothing."""
        profiled = [self._profiled[tuple(design)] for design in stacked]
        training, evaluation = sum(p.training for p in profiled), sum(p.evaluation for p in profiled)
        return (
            seconds.training / training if seconds.training > 0.0 else self._slow_training,
            seconds.evaluation / evaluation if evaluation > 0.0 else self._slow_evaluation,
        )


def take(trial: Trial, epoch: RecordedEpoch, seconds: float) -> EpochResult | None:
    """Take an epoch in as a worker does; None if training failed in it."""
    trial.training = _PLACEHOLDER if trial.training is None else trial.training
    if epoch.failed:
        trial.failed = True
        return None
    number = trial.epochs + 1
    result = EpochResult(trial.architecture, number, epoch.train_loss, epoch.metric, epoch.loss, seconds)
    trial.add(result, _PLACEHOLDER)
    return result
