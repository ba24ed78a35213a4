"""Trains on one slot of a Ray cluster; what is lost with a node is done again from where it began."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trails.errors import TrailsError
from trails.refinement.memory import OutOfMemory
from trails.refinement.ray_cluster import Cluster
from trails.refinement.ray_failures import Lost
from trails.refinement.ray_messages import (
    Done,
    Epoch,
    Known,
    PackedTraining,
    Progress,
    TrainingTask,
    pack_training,
    unpack_training,
    unpack_weights,
)
from trails.refinement.remaining import SLACK
from trails.refinement.trial import Trial
from trails.refinement.workers import Supervisor, all_done
from trails.training.weights import Training, Weights

_ATTEMPTS = 6
"""How often a group of candidates is begun before its losses are called an error."""

_TRANSFER_SECONDS = 0.2
"""What a task has less than the run: for the way of its last words."""


@dataclass
class StoredTraining(Training):
    """What training goes on from, and where the object store has it: the next task takes it from there."""

    ref: Any = None


class RayWorker:
    """One slot of the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def train(self, trials: Sequence[Trial], epochs_to: int, supervisor: Supervisor) -> bool:
        """See `Worker.train`."""
        if all_done(trials, epochs_to, self._cluster.options.patience):
            return True
        group = _Group(self._cluster, trials, epochs_to, supervisor)
        self._cluster.enter()
        try:
            for attempt in range(_ATTEMPTS):
                if not supervisor.may_begin(trials):
                    return False
                try:
                    return group.attempt(again=attempt > 0)
                except Lost as lost:
                    cause = lost.__cause__
                    self._cluster.log(f"{trials[0].architecture} was lost, attempt {attempt + 1}: {cause}")
                    self._cluster.check_nodes()
                    time.sleep(0.1 * 2**attempt)
        finally:
            self._cluster.leave()
        names = ", ".join(trial.architecture for trial in trials)
        if isinstance(cause, self._cluster.ray.exceptions.OutOfMemoryError):
            raise OutOfMemory(f"the nodes of the Ray cluster have too little memory for {names}", detail=str(cause))
        raise TrailsError(
            f"the Ray cluster lost {names} {_ATTEMPTS} times", detail=str(cause), hint="Look into the nodes' logs."
        )


class _Group:
    """Candidates on their way to one rung's end: what they were when it began, and what has been reported since."""

    def __init__(self, cluster: Cluster, trials: Sequence[Trial], epochs_to: int, supervisor: Supervisor) -> None:
        self._cluster, self._trials, self._supervisor = cluster, trials, supervisor
        self._known = tuple(Known.of(trial) for trial in trials)
        self._epochs_to = epochs_to
        self._reached, self._done = trials[0].epochs, 0.0

    def attempt(self, again: bool) -> bool:
        """One task from the beginning of the rung; False if time ended it.

        Args:
            again: What the object store had may have been lost with the node.

        Raises:
            Lost: The task is gone.
        """
        cluster, supervisor = self._cluster, self._supervisor
        task = cluster.train_task.remote(cluster.data, self._task(), *(_stored(t, again) for t in self._trials))
        trainings: list[StoredTraining] = []
        in_time: bool | None = None
        try:
            for message, ref in cluster.messages(task, supervisor.evaluation_ends(self._trials)):
                if message is None or isinstance(message, Done):
                    in_time = message is not None and message.in_time
                    break
                if isinstance(message, PackedTraining):
                    own = unpack_training(message)
                    trainings.append(StoredTraining(*own.parts(), own.steps, ref))
                elif isinstance(message, Progress):
                    self._progress(message.epochs)
                else:
                    self._report(message)
        finally:
            if in_time is None or len(trainings) < len(self._trials):
                cluster.cancel(task)
        for trial, training in zip(self._trials, trainings, strict=False):
            trial.training = training
        return bool(in_time)

    def _task(self) -> TrainingTask:
        supervisor, now = self._supervisor, self._cluster.clock.now()
        ends = supervisor.evaluation_ends(self._trials)
        reserve = 0.0
        if math.isfinite(ends):
            planned = ends - supervisor.training_ends(self._trials, 0.0)
            reserve = max(planned, SLACK * self._cluster.evaluation_seconds(self._trials))
        seconds = ends - now - _TRANSFER_SECONDS
        options, gpu = self._cluster.options, self._cluster.gpu
        return TrainingTask(self._known, self._epochs_to, options, seconds, reserve, gpu)

    def _progress(self, done: float) -> None:
        """Pass on what a lost task has not reported before."""
        if done > self._done:
            self._supervisor.progress(done - self._done)
            self._done = done

    def _report(self, epoch: Epoch) -> None:
        for trial, failed in zip(self._trials, epoch.failed, strict=True):
            trial.failed = failed
        if not epoch.results or epoch.number <= self._reached:
            return
        best: dict[str, Weights] = {
            trial.architecture: unpack_weights(packed)
            for trial, packed in zip(self._trials, epoch.best, strict=True)
            if packed is not None
        }
        for result in epoch.results:
            trial = next(t for t in self._trials if t.architecture == result.architecture)
            trial.add(result, best.get(result.architecture))
        self._progress(float(len(self._trials) * (epoch.number - self._known[0].epochs)))
        self._reached = epoch.number
        finished = all(result.finished for result in epoch.results)
        seconds = self._cluster.observe(self._trials, epoch.seconds, finished)
        self._supervisor.report(self._trials, epoch.results, seconds)


def _stored(trial: Trial, again: bool) -> Any:
    """What a task gets for the trial's training: where it lies already, or the numbers."""
    training = trial.training
    if isinstance(training, StoredTraining) and not again:
        return training.ref
    return None if training is None else pack_training(training)
