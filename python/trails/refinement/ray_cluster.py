"""A Ray cluster that a run trains on: its tasks, its nodes and how fast they are. `ray_worker` trains on one slot.

The process that runs the selection keeps a copy of every candidate's state, so that a node may be lost at any
time: what it was working on is done again elsewhere, from where it began.
"""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

from trails.errors import TrailsError
from trails.refinement import ray_task
from trails.refinement.clock import MONOTONIC, Clock
from trails.refinement.costs import Costs, Seconds, Speed, work_of
from trails.refinement.dataset import Dataset
from trails.refinement.planning import Spent, too_small
from trails.refinement.protocol import Setting
from trails.refinement.ray_connection import connect, slots_of
from trails.refinement.ray_failures import Lost, result_of
from trails.refinement.ray_messages import Known, Measured, pack_data
from trails.refinement.trial import Trial
from trails.training.batches import batches_of
from trails.training.options import Options

_ALONE_SECONDS = 30.0
"""With no node left for so long, the run is given up; a node that starts again joins within seconds."""

_WAIT_SECONDS = 2.0

_MEASURE_SECONDS, _MEASURE_SHARE = 60.0, 0.25
"""Nodes that have not measured their speed by then, in seconds and as a share of the time left, are not waited for:
the others' will do."""


class Cluster:
    """A Ray cluster with the rows of one run in its object store.

    Args:
        setting: ``ray_address``, and ``ray_gpus`` that a trial reserves; without GPUs a trial takes one CPU.
        options: How to train.
        data: Encoded rows.
        clock: Of the run. Nodes have clocks of their own: they are told how many seconds they have.

    Attributes:
        slots: Trials that it has room for at once.

    Raises:
        InvalidInput: The address is malformed or does not answer, or no node has what a trial reserves.
        TrailsError: Ray is not installed here, or this machine cannot join the cluster.
    """

    def __init__(self, setting: Setting, options: Options, data: Dataset, clock: Clock = MONOTONIC) -> None:
        self.clock = clock
        self.ray = connect(setting)
        self.setting, self.options, self._dataset = setting, options, data
        self.slots = slots_of(self.ray, setting)
        self.gpu = setting.ray_gpus > 0
        resources = {"num_cpus": 1, "num_gpus": setting.ray_gpus, "scheduling_strategy": "SPREAD"}
        # Retries are made here: only here it is known how much time is left.
        once = {**resources, "max_retries": 0}
        self.train_task = self.ray.remote(**once, num_returns="streaming")(ray_task.train)
        self._measure_task = self.ray.remote(**once)(ray_task.measure_speed)
        self.data = self.ray.put(pack_data(data, uuid.uuid4().hex))
        # Every slot gets a process that has torch imported, before any speed is measured.
        prepare = self.ray.remote(**once)(ray_task.prepare)
        self._warming = [prepare.remote(self.data, options, setting.seed, self.gpu) for _ in range(self.slots)]
        self._lock, self._busy = Lock(), 0
        self._costs: Costs | None = None

    def measure(self, trials: Sequence[Trial], seconds_left: float) -> Speed:
        """Measure on every slot at once; see `trails.refinement.speed.measure`.

        Raises:
            BudgetTooSmall: Not one node has answered in the time there is.
        """
        ends = self.clock.now() + seconds_left
        patient = self.clock.now() + min(_MEASURE_SECONDS, _MEASURE_SHARE * seconds_left)
        self._results(self._warming, patient, ends)
        known = [Known.of(trial) for trial in trials]
        busy = min(self.slots, len(trials))
        asked = self.data, known, self.options, seconds_left, self.gpu
        measured: list[Measured] = self._results(
            [self._measure_task.remote(*asked) for _ in range(busy)], patient, ends
        )
        if not measured:
            # Nobody knows what they would have needed.
            spent = Spent.until(self.setting, self.clock.now() - seconds_left)
            raise too_small(self.setting, spent, 2.0 * seconds_left)
        begin = statistics.median(m.begin for m in measured)
        chunk = statistics.median(m.chunk for m in measured)
        training = statistics.median(m.epoch.training for m in measured)
        evaluation = statistics.median(m.epoch.evaluation for m in measured)
        self._costs = self._costs_like(trials[0], Seconds(training, evaluation))
        # The cluster is the machine now, of which each slot is a part.
        return Speed(self._costs_like(trials[0], Seconds(training / busy, evaluation / busy)), begin, chunk, 1)

    def _results(self, tasks: list[Any], patient: float, ends: float) -> list[Any]:
        """What tasks return, all of them if they do so until ``patient``, and one if it does until ``ends``."""
        results: list[Any] = []
        while tasks and (left := (patient if results else ends) - self.clock.now()) > 0.0:
            ready, tasks = self.ray.wait(tasks, timeout=min(_WAIT_SECONDS, left))
            for task in ready:
                try:
                    results.append(self._get(task))
                except Lost as lost:
                    self.log(f"a task was lost: {lost.__cause__}")
            self.check_nodes()
        return results

    def _costs_like(self, trial: Trial, seconds: Seconds) -> Costs:
        rows = len(self._dataset.train)
        return Costs(
            work_of(trial.family, trial.layout.shape),
            rows=rows,
            batches=batches_of(rows, self.options),
            profiled=trial.design,
            seconds=seconds,
        )

    # For workers

    def enter(self) -> None:
        """A worker begins to use its slot."""
        with self._lock:
            self._busy += 1

    def leave(self) -> None:
        """It has ended."""
        with self._lock:
            self._busy -= 1

    def observe(self, trials: Sequence[Trial], seconds: Seconds, finished: bool) -> tuple[float, float]:
        """Learn from an epoch's wall time; the same as a share of the machine, which is the slots at work."""
        with self._lock:
            if finished and self._costs is not None:
                self._costs.observe([trial.design for trial in trials], seconds)
            share = 1.0 / max(1, self._busy)
        return seconds.training * share, seconds.evaluation * share

    def evaluation_seconds(self, trials: Sequence[Trial]) -> float:
        """Wall time that the evaluation of these takes in one slot."""
        with self._lock:
            return 0.0 if self._costs is None else sum(self._costs.of(t.design).evaluation for t in trials)

    def messages(self, task: Any, ends: float) -> Iterator[tuple[Any, Any]]:
        """What a task sends, each with where it lies in the object store; None as message if time is up.

        Raises:
            Lost: The task, or the node it ran on, is gone.
        """
        while True:
            left = ends - self.clock.now()
            if left <= 0.0:
                yield None, None
                return
            ready, _ = self.ray.wait([task], timeout=min(_WAIT_SECONDS, left))
            if not ready:
                self.check_nodes()
                continue
            try:
                ref = next(task)
            except StopIteration:
                raise Lost from None
            yield self._get(ref), ref

    def _get(self, ref: Any) -> Any:
        return result_of(self.ray, ref)

    def cancel(self, task: Any) -> None:
        """End a task that is no longer waited for."""
        self.ray.cancel(task, force=True)

    def check_nodes(self) -> None:
        """Raises: TrailsError: The nodes that could train are gone, and none has come back for a while."""
        began = self.clock.now()
        while slots_of(self.ray, self.setting, must=False) == 0:
            if self.clock.now() - began > _ALONE_SECONDS or self.clock.now() > self.setting.deadline:
                raise TrailsError(
                    f'the Ray cluster at "{self.setting.ray_address}" has lost every node that could train',
                    hint="Start nodes, and resume the run.",
                )
            time.sleep(0.5)

    def log(self, line: str) -> None:
        """A line for whoever looks for a cause."""
        print(f"trails: ray: {line}", file=sys.stderr, flush=True)
