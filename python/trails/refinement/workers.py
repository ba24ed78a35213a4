"""Where candidates are trained on this machine: CPU threads that share the cores, and GPUs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from trails.family.networks import Layout, Stack
from trails.refinement import memory
from trails.refinement.clock import MONOTONIC, Clock
from trails.refinement.dataset import Dataset
from trails.refinement.trial import EpochResult, Trial
from trails.training.batches import EVALUATION_ROWS, batches_of, rows_of_epoch
from trails.training.options import Options
from trails.training.rows import EncodedRows

_TRIES = 3
"""Batches that each number of threads is tried for, when an epoch begins and when the cores are shared anew."""

_MEMORY_SHARE = 0.5
"""Of the memory that is free, what the candidates of one stack may take."""


class Supervisor(Protocol):
    """What a worker asks and tells the run that it works for. Times are of the run's clock."""

    def may_begin(self, trials: Sequence[Trial]) -> bool:
        """Whether another epoch of these candidates is worth beginning in the time left."""

    def training_ends(self, trials: Sequence[Trial], batch_seconds: float) -> float:
        """When training must stop so that the evaluation is done in time."""

    def evaluation_ends(self, trials: Sequence[Trial]) -> float:
        """When an evaluation of these candidates has to be given up."""

    def report(self, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]) -> None:
        """An epoch of these candidates is over; seconds of training and of evaluation, as if the whole machine had
        worked on nothing else."""

    def fell_short(self, trials: Sequence[Trial], seconds: tuple[float, float]) -> None:
        """An epoch was given up in its evaluation; seconds as in `report`, of what all of it would have taken."""

    def progress(self, epochs: float) -> None:
        """So many model-epochs more are done; called after every batch."""


class Worker(Protocol):
    """One place where candidates are trained, by one thread of the run."""

    def train(self, trials: Sequence[Trial], epochs_to: int, supervisor: Supervisor) -> bool:
        """Train candidates of the same age up to ``epochs_to`` epochs.

        A candidate whose loss is not finite is marked as failed; one without a better epoch for as long as
        the patience lasts is done early.

        Args:
            trials: Of the same number of steps.
            epochs_to: Epochs that each has behind it in the end.
            supervisor: Of the run.

        Returns:
            False if time ended it.
        """


def all_done(trials: Sequence[Trial], epochs_to: int, patience: int) -> bool:
    """Whether none of these is to be trained further now; see `Worker.train`."""
    return all(t.failed or t.epochs >= epochs_to or t.stale(patience) for t in trials)


class Cores:
    """The machine's CPU threads, divided among those who compute at the moment.

    Args:
        count: Threads in all.
        repeatable: Give everyone one thread and never more: sums by several threads end in other digits, and
            training spreads these, so a result would hang on who else computes.
    """

    def __init__(self, count: int, repeatable: bool = False) -> None:
        self.count, self._repeatable = count, repeatable
        self._busy = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Cores:
        with self._lock:
            self._busy += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._busy -= 1

    def allowed(self) -> int:
        """Threads that the calling thread may compute with at the moment."""
        return 1 if self._repeatable else max(1, self.count // max(1, self._busy))

    @property
    def parts(self) -> int:
        """Into how many parts the cores are divided, however many compute; 0 where everyone has what others leave."""
        return self.count if self._repeatable else 0

    def share(self) -> float:
        """Part of the machine that each of those who compute has."""
        return 1.0 / (self.parts or max(1, self._busy))


class Threads:
    """Finds how many of the threads allowed make a batch fastest: more of them also wait more for one another, on
    small networks and on a busy machine.

    Call `next` before every batch, with the seconds that the one before took.
    """

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._allowed = 0
        self._tries: list[int] = []
        self._fastest: dict[int, float] = {}
        self._current = 0

    @property
    def trying(self) -> bool:
        """Whether the next batch is one of those that find the fastest number."""
        return bool(self._tries)

    def next(self, seconds: float | None) -> None:
        """Set the calling thread's number of threads for the next batch."""
        allowed = self._cores.allowed()
        if allowed != self._allowed:
            self._allowed, self._fastest = allowed, {}
            choices = sorted({allowed, *(2**n for n in range(allowed.bit_length()) if 2**n < allowed)}, reverse=True)
            self._tries = choices * _TRIES if len(choices) > 1 else choices
            seconds = None
        if seconds is not None and self._current:
            self._fastest[self._current] = min(seconds, self._fastest.get(self._current, math.inf))
        if self._tries:
            self._current = self._tries.pop()
        elif self._fastest:
            self._current = min(self._fastest, key=lambda threads: self._fastest[threads])
        if torch.get_num_threads() != self._current:
            torch.set_num_threads(self._current)


class Pace:
    """Times a thread's batches for `Threads`: call it between two of them.

    Args:
        cores: That the thread is counted among.
        now: The run's clock.
    """

    def __init__(self, cores: Cores, now: Callable[[], float]) -> None:
        self._threads, self._now = Threads(cores), now
        self._threads.next(None)
        self._last = now()

    def __call__(self) -> None:
        """A batch is over, and the next one begins."""
        self._threads.next(self._now() - self._last)
        self._last = self._now()


class _Used:
    """Seconds of the whole machine that one worker has used: wall time, each stretch by its share of the machine then.

    Args:
        share: Part of the machine that the worker has at the moment.
        now: When it begins.
    """

    def __init__(self, share: Callable[[], float], now: float) -> None:
        self._share, self._last, self.seconds = share, now, 0.0

    def until(self, now: float) -> float:
        """All of them, with the stretch up to ``now``."""
        self.seconds += (now - self._last) * self._share()
        self._last = now
        return self.seconds


class LocalWorker:
    """Trains on one device of this machine.

    Args:
        data: Encoded rows on that device.
        options: How to train.
        seed: Of the run.
        cores: Shared by all workers of the machine.
        workers: Devices that work at the same time, if this is a GPU.
        clock: Of the run.
    """

    def __init__(
        self, data: Dataset, options: Options, seed: int, cores: Cores, workers: int = 1, clock: Clock = MONOTONIC
    ) -> None:
        self.data = data
        self.cores, self.clock = cores, clock
        self.options, self._seed, self._workers = options, seed, workers
        self._batch_seconds = 0.0

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.data.train.labels.device

    def stack(self, trials: Sequence[Trial]) -> Stack:
        """The candidates, ready to be trained together."""
        layouts, trainings = [t.layout for t in trials], [t.begin() for t in trials]
        names, task = [t.architecture for t in trials], self.data.target.task
        networks = trials[0].networks
        return networks.stack(layouts, trainings, self.data.train, self.options, self._seed, names, task)

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return batches_of(len(self.data.train), self.options)

    def batch(self, number: int) -> EncodedRows:
        """Training rows of one batch, in the table's order; numbers start again after the last."""
        size = rows_of_epoch(len(self.data.train), self.options) // self.batches
        start = number % self.batches * size
        return self.data.train.slice(start, start + size)

    def most_stacked(self, trial: Trial, trials: int) -> int:
        """How many of ``trials`` like this one may be stacked here, by memory and so that every worker has some."""
        most = trial.networks.most_stacked
        workers = self._workers if self.device.type == "cuda" else self.cores.count
        fair = -(-trials // workers)
        held = int(_MEMORY_SHARE * memory.available(self.device)) // self.bytes_of(trial.layout)
        return max(1, min(fair if most is None else min(fair, most), held))

    def bytes_of(self, layout: Layout) -> int:
        """About what a candidate in training needs here."""
        return layout.training_bytes(max(EVALUATION_ROWS, len(self.batch(0))))

    @property
    def parts(self) -> int:
        """As `Cores.parts`: a GPU is a part of the machine whether the others work or not."""
        return self._workers if self.device.type == "cuda" else self.cores.parts

    def share(self) -> float:
        """Part of the machine that the calling thread has at the moment."""
        return 1.0 / self.parts if self.parts else self.cores.share()

    def train(self, trials: Sequence[Trial], epochs_to: int, supervisor: Supervisor) -> bool:
        """See `Worker.train`."""
        with self.cores:
            stack = self.stack(trials)
            in_time = True
            while in_time and not all_done(trials, epochs_to, self.options.patience):
                in_time = supervisor.may_begin(trials) and self._epoch(trials, stack, supervisor)
            for place, trial in enumerate(trials):
                trial.training = stack.training(place)
        return in_time

    def _epoch(self, trials: Sequence[Trial], stack: Stack, supervisor: Supervisor) -> bool:
        now = self.clock.now
        began = now()
        used = _Used(self.share, began)
        next_batch = Pace(self.cores, now)
        ends = supervisor.training_ends(trials, self._batch_seconds)
        number, done = trials[0].epochs + 1, 0.0
        first: tuple[float, float] | None = None

        def keep_training(part: float) -> bool:
            nonlocal done, first
            supervisor.progress((part - done) * len(trials))
            done, at = part, now()
            seconds = used.until(at)
            first = first or (part, seconds)
            next_batch()
            return at < ends

        losses = stack.train_epoch(number, keep_training).tolist()
        trained = now()
        training = used.until(trained)
        predicted = 0

        def keep_predicting() -> bool:
            nonlocal predicted
            predicted += 1
            at = now()
            used.until(at)
            return at < supervisor.evaluation_ends(trials)

        logits = stack.predict(self.data.validation, keep_predicting)
        if logits is None:
            evaluation = (used.seconds - training) * len(self.data.validation) / (predicted * EVALUATION_ROWS)
            assert first is not None, "an epoch has a batch"
            # The rows' order, which comes before the first batch, says nothing of the batches.
            whole = (training - first[1]) / (done - first[0]) if done > first[0] else 0.0
            supervisor.fell_short(trials, (whole, evaluation))
            return False
        results = []
        finished = done >= 1.0
        predictions = logits.numpy()
        for place, (trial, loss) in enumerate(zip(trials, losses, strict=True)):
            if not math.isfinite(loss) or not np.isfinite(predictions[place]).all():
                trial.failed = True
                continue
            measured, validation_loss = self.data.measured(predictions[place])
            seconds = (now() - began) / len(trials)
            better = trial.is_better(measured, validation_loss)
            outputs = predictions[place] if better else None
            result = EpochResult(
                trial.architecture, number, loss, measured, validation_loss, seconds, finished, outputs
            )
            trial.add(result, stack.averaged(place) if better else None)
            results.append(result)
        ended = now()
        if finished:
            self._batch_seconds = max((trained - began) / stack.batches, 0.5 * self._batch_seconds)
        supervisor.report(trials, results, (training, used.until(ended) - training))
        return finished
