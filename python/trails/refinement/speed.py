"""How fast this machine trains, measured on a few real batches before anything is planned."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial

import torch

from trails.refinement.clock import MONOTONIC, Clock
from trails.refinement.costs import Costs, Seconds, Speed, work_of
from trails.refinement.metrics import measure as measure_metrics
from trails.refinement.planning import MEASURING_SECONDS, MEASURING_SHARE
from trails.refinement.trial import Trial
from trails.refinement.workers import LocalWorker, Threads
from trails.training.batches import EVALUATION_ROWS, rows_of_epoch

_SHORT_SECONDS = 25.0
_WARMING_STEPS, _STEPS = 2, 4

_STACKED = 4
"""Candidates that are stacked to see whether that is faster, on a CPU. More do not fit in its caches."""

_ORDERED_ROWS = 1 << 17
"""Rows that are put in order to see what an epoch's take."""

_UNCACHED = 2.0

_PRODUCTS = 4.5
"""A multiply-accumulate of training is three: one forward, two backward; and small products are slower than large."""

_GAIN = 0.95
"""Stacking must take less than this share of the time that one by one takes."""


@dataclass(frozen=True)
class _Times:
    """Wall seconds: before an epoch's first batch, of a batch, of a chunk of validation rows."""

    begin: float
    batch: float
    chunk: float


def measure(
    workers: Sequence[LocalWorker],
    trials: Sequence[Trial],
    seconds_left: float,
    together: str,
    given: bool = False,
) -> Speed:
    """Time a few batches and a chunk of validation on every worker at once, on throw-away copies of a candidate.

    The first candidate, or the cheapest where a few batches of the widest would cost too much of the time and the plan
    is free to pass over the widest.

    Args:
        workers: That will train.
        trials: Candidates, best first; none of them is changed.
        seconds_left: Until the deadline; 5 % of it, and 0.6 s, are what measuring may take, about.
        together: Option of that name.
        given: Whether the first candidate is going to be trained whatever it costs.
    """
    trial = trials[0]
    if seconds_left < _SHORT_SECONDS and not given:
        trial = min(trials, key=lambda t: t.networks.work(t.layout.shape, t.design).products)
    busy = list(workers[: len(trials)])
    seconds = min(MEASURING_SECONDS, MEASURING_SHARE * seconds_left)
    times = _time_all(busy, [trial], seconds)
    costs = Costs(
        work_of(trial.family, trial.layout.shape),
        rows=len(busy[0].data.train),
        batches=busy[0].batches,
        profiled=trial.design,
        seconds=_of_epoch(times, busy[0], 1.0 / (busy[0].parts or len(busy))),
    )
    stacked = _stacked(busy, trial, len(trials), times.batch, together, seconds_left)
    return Speed(costs, times.begin, times.chunk, stacked, busy[0].parts)


def measure_alone(worker: LocalWorker, trial: Trial, seconds_left: float) -> Seconds:
    """What an epoch of a trial takes the worker, from a few batches of a throw-away copy, as a share of the machine.

    Args:
        worker: That will train it.
        trial: Which is not changed.
        seconds_left: Of which measuring may take as much as in `measure`, about.
    """
    seconds = min(MEASURING_SECONDS, MEASURING_SHARE * seconds_left)
    times = _time(worker, [trial], worker.clock.now() + seconds)
    return _of_epoch(times, worker, 1.0 / (worker.parts or 1))


def measuring_takes(worker: LocalWorker, epoch: Seconds) -> float:
    """About the seconds that `measure_alone` takes at least, where an epoch takes so many: two batches and a chunk of
    validation rows, however few are left."""
    rows = len(worker.data.validation)
    chunk = epoch.evaluation * min(rows, EVALUATION_ROWS) / rows
    return (worker.parts or 1) * (2.0 * epoch.training / worker.batches + chunk)


def _of_epoch(times: _Times, worker: LocalWorker, part: float) -> Seconds:
    """Seconds of an epoch, ``part`` of them the machine's."""
    rows = len(worker.data.validation)
    chunks = rows / min(rows, EVALUATION_ROWS)
    return Seconds(part * (times.begin + times.batch * worker.batches), part * times.chunk * chunks)


def _stacked(
    busy: Sequence[LocalWorker], trial: Trial, trials: int, batch: float, together: str, seconds_left: float
) -> int:
    """How many to train together in one place: measured, unless it is decided or there is no time to."""
    gpu = busy[0].device.type == "cuda"
    most = busy[0].most_stacked(trial, trials)
    if together == "never" or most == 1:
        return 1
    if together == "always":
        return most
    if seconds_left < _SHORT_SECONDS:
        return most if gpu else 1
    several = most if gpu else min(_STACKED, most)
    copies = [trial.fresh(f"{trial.architecture}/{n}") for n in range(several)]
    together_seconds = _time_all(busy, copies, MEASURING_SECONDS).batch
    return several if together_seconds / several < _GAIN * batch else 1


def _time_all(busy: Sequence[LocalWorker], trials: Sequence[Trial], seconds: float) -> _Times:
    """What everything takes while every worker is at it, medians over workers."""
    clock = busy[0].clock
    limit = clock.now() + seconds
    measured: list[_Times] = []

    def one(worker: LocalWorker) -> None:
        measured.append(_time(worker, trials, limit))

    clock.together([partial(one, worker) for worker in busy])
    if len(measured) < len(busy):
        # What a thread raised is on standard error; here it is raised again, where it can be told.
        measured = [_time(busy[0], trials, limit)]
    return _Times(*(statistics.median(getattr(m, f.name) for m in measured) for f in fields(_Times)))


def _time(worker: LocalWorker, trials: Sequence[Trial], limit: float) -> _Times:
    """What everything takes on one worker, medians."""
    now = worker.clock.now
    copies = [trial.fresh() for trial in trials]
    with worker.cores:
        began = now()
        stack = worker.stack(copies)
        begin = now() - began + _time_order(worker)
        threads = Threads(worker.cores)
        steps: list[float] = []
        number = 0
        while len(steps) < _WARMING_STEPS + _STEPS:
            trying = threads.trying
            threads.next(steps[-1] if steps else None)
            if trying and not threads.trying:
                steps = []  # those before it were tries of other numbers of threads
            before = now()
            float(stack.step(worker.batch(number)).sum())  # the number makes a GPU finish
            steps.append(now() - before)
            number += 1
            if now() > limit and number > 1:
                break
        chunks: list[float] = []
        rows = worker.data.validation.slice(0, min(EVALUATION_ROWS, len(worker.data.validation)))
        for _ in range(2):
            before = now()
            outputs = stack.predict(rows)
            assert outputs is not None, "nobody gives up"
            with suppress(ValueError, ArithmeticError):  # so few rows may hold one class only
                measure_metrics(worker.data.target, rows.truth, outputs[0].numpy(), worker.data.chosen)
            chunks.append(now() - before)
            if now() > limit:
                break
    # The first steps fill caches and memory pools.
    return _Times(begin, statistics.median(steps[min(_WARMING_STEPS, len(steps) - 1) :]), min(chunks))


def _time_order(worker: LocalWorker) -> float:
    """What it takes to copy an epoch's rows in their order, from a part of them."""
    rows, now = worker.data.train, worker.clock.now
    part = min(len(rows), _ORDERED_ROWS)
    before = now()
    order = torch.randperm(part)
    drawn = now()
    taken = rows.slice(0, part).take(order.to(rows.labels.device))
    float(taken.labels[0])  # the number makes a GPU finish
    took = now() - drawn
    seconds = (drawn - before) * len(rows) / part + took * rows_of_epoch(len(rows), worker.options) / part
    # More rows than the part fit in no cache.
    return seconds if part == len(rows) else _UNCACHED * seconds


def seconds_per_product(threads: int, clock: Clock = MONOTONIC) -> float:
    """Seconds of a multiply-accumulate of training, forward and backward, by matrix products of some milliseconds: for
    a guess at costs where there is no time to measure training itself.

    Args:
        threads: That train.
        clock: That tells how long they take.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        left, right = torch.rand(256, 512), torch.rand(512, 512)
        times = []
        for _ in range(4):
            began = clock.now()
            left @ right
            times.append(clock.now() - began)
    finally:
        torch.set_num_threads(before)
    return _PRODUCTS * statistics.median(times) / (256 * 512 * 512)
