"""What runs on a node of a Ray cluster: a task trains candidates, or measures how fast it could. Imports no ray."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from trails.refinement.costs import Seconds
from trails.refinement.planning import LEAST_SHARE
from trails.refinement.ray_messages import (
    Done,
    Epoch,
    Known,
    Measured,
    Message,
    PackedData,
    PackedTraining,
    Progress,
    TrainingTask,
    pack_training,
    pack_weights,
    unpack_data,
)
from trails.refinement.remaining import SLACK
from trails.refinement.speed import measure
from trails.refinement.trial import EpochResult, Trial
from trails.refinement.workers import Cores, LocalWorker
from trails.training.options import Options

_PROGRESS_SECONDS = 0.5

_MOST_SENT = 16 << 20
"""Bytes of predictions that are sent with an epoch; where there are more the run predicts once more at its end."""


def train(data: PackedData, task: TrainingTask, *trainings: PackedTraining | None) -> Iterator[Message]:
    """The task that trains: messages as training goes on, to be sent to the run.

    Args:
        data: Rows, mapped from the object store.
        task: What to do.
        trainings: Of every trial of the task.
    """
    trials = [known.trial(training) for known, training in zip(task.trials, trainings, strict=True)]
    messages: queue.SimpleQueue[Message | BaseException] = queue.SimpleQueue()
    supervisor = _TaskSupervisor(task, messages.put)
    names = ", ".join(trial.architecture for trial in trials)
    print(f"trails: {names} from epoch {trials[0].epochs + 1} to {task.epochs_to}", flush=True)

    def work() -> None:
        try:
            in_time = _worker(data, task.options, trials[0].seed, task.gpu).train(trials, task.epochs_to, supervisor)
            for trial in trials:
                messages.put(pack_training(trial.begin()))
            messages.put(Done(in_time))
        except BaseException as error:
            messages.put(error)

    threading.Thread(target=work, daemon=True, name="worker").start()
    try:
        while True:
            message = messages.get()
            if isinstance(message, BaseException):
                raise message
            yield message
            if isinstance(message, Done):
                return
    finally:
        supervisor.abandoned = True


def prepare(data: PackedData, options: Options, seed: int, gpu: bool) -> bool:
    """The task that gets a process ready: what it takes to import torch and to move rows to a GPU is no epoch."""
    _worker(data, options, seed, gpu)
    return True


def measure_speed(
    data: PackedData, trials: Sequence[Known], options: Options, seconds_left: float, gpu: bool
) -> Measured:
    """The task that measures; see `trails.refinement.speed.measure`."""
    worker = _worker(data, options, trials[0].seed, gpu)
    speed = measure([worker], [known.trial(None) for known in trials], seconds_left, "never")
    return Measured(speed.begin_seconds, speed.chunk_seconds, speed.costs.of(trials[0].design))


class _Abandoned(Exception):
    """Nobody waits for this task any more."""


class _TaskSupervisor:
    """The `Supervisor` of one task: the time it was given, and messages to the run."""

    def __init__(self, task: TrainingTask, send: Callable[[Message], None]) -> None:
        self._ends = time.monotonic() + task.seconds
        self._reserve, self._send = task.reserve, send
        self._last: Seconds | None = None
        self._epochs, self._sent = 0.0, time.monotonic()
        self.abandoned = False

    def may_begin(self, trials: Sequence[Trial]) -> bool:
        """See `Supervisor`; that the first epoch may begin is decided by the run."""
        if self._last is None:
            return True
        return self.training_ends(trials, 0.0) - time.monotonic() >= LEAST_SHARE * self._last.training

    def training_ends(self, trials: Sequence[Trial], batch_seconds: float) -> float:
        """See `Supervisor`."""
        evaluation = 0.0 if self._last is None else SLACK * self._last.evaluation
        return self._ends - max(self._reserve, evaluation) - SLACK * batch_seconds

    def evaluation_ends(self, trials: Sequence[Trial]) -> float:
        """See `Supervisor`."""
        return self._ends

    def report(self, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]) -> None:
        """See `Supervisor`."""
        self._last = Seconds(*seconds)
        number = max((result.epoch for result in results), default=0)
        self._send(
            Epoch(
                number,
                tuple(_to_send(result) for result in results),
                self._last,
                tuple(trial.failed for trial in trials),
                tuple(pack_weights(t.best) if t.best is not None and t.best_epoch == number else None for t in trials),
            )
        )

    def fell_short(self, trials: Sequence[Trial], seconds: tuple[float, float]) -> None:
        """See `Supervisor`; the run sees that nothing came."""

    def progress(self, epochs: float) -> None:
        """See `Supervisor`."""
        if self.abandoned:
            raise _Abandoned
        self._epochs += epochs
        now = time.monotonic()
        if now - self._sent >= _PROGRESS_SECONDS:
            self._sent = now
            self._send(Progress(self._epochs))


def _to_send(result: EpochResult) -> EpochResult:
    """The result without predictions that are too many to be sent after every epoch."""
    outputs = result.outputs
    return replace(result, outputs=None) if outputs is not None and outputs.nbytes > _MOST_SENT else result


_kept: tuple[str, LocalWorker] | None = None
"""The worker of the run that this process serves: its rows may lie on a GPU."""


def _worker(data: PackedData, options: Options, seed: int, gpu: bool) -> LocalWorker:
    global _kept
    if _kept is None or _kept[0] != data.key:
        rows = unpack_data(data)
        if gpu:
            torch.backends.cuda.matmul.allow_tf32 = options.precision == "auto"
            rows = rows.to(torch.device("cuda:0"))  # of those that Ray lets this process see
        _kept = data.key, LocalWorker(rows, options, seed, Cores(1))
    return _kept[1]
