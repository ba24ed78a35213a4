"""How fast this machine trains, measured on a few real batches before anything is planned."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from trails.model.network import multiply_accumulates
from trails.refinement.costs import Costs, Seconds
from trails.refinement.stack import EVALUATION_ROWS
from trails.refinement.trial import Trial
from trails.refinement.workers import LocalWorker, Threads

_SHORT_SECONDS = 25.0
_WARMING_STEPS, _STEPS = 2, 4
_SECONDS, _SHARE = 0.6, 0.05

_STACKED = 4
"""Candidates that are stacked to see whether that is faster, on a CPU. More do not fit in its caches."""

_GAIN = 0.95
"""Stacking must take less than this share of the time that one by one takes."""


@dataclass(frozen=True)
class Speed:
    """Measured speed.

    Args:
        costs: Seconds per epoch of every candidate, as a share of the machine.
        batch_seconds: Wall time of a batch: training cannot be stopped within one.
        chunk_seconds: Wall time of a chunk of validation rows.
        stacked: Candidates to train together in one place.
    """

    costs: Costs
    batch_seconds: float
    chunk_seconds: float
    stacked: int


def measure(workers: Sequence[LocalWorker], trials: Sequence[Trial], seconds_left: float, together: str) -> Speed:
    """Time a few batches and a chunk of validation on every worker at once, on throw-away copies of a candidate.

    The first candidate, or the cheapest where a few batches of the widest would cost too much of the time.

    Args:
        workers: That will train.
        trials: Candidates, best first; none of them is changed.
        seconds_left: Until the deadline; 5 % of it, and 0.6 s, are what measuring may take, about.
        together: Option of that name.
    """
    trial = trials[0]
    if seconds_left < _SHORT_SECONDS:
        trial = min(trials, key=lambda t: multiply_accumulates(t.widths, t.layout.inputs))
    busy = list(workers[: len(trials)])
    seconds = min(_SECONDS, _SHARE * seconds_left)
    batch, chunk = _time_all(busy, [trial], seconds)
    data, layout = busy[0].data, trial.layout
    batches, rows = busy[0].batches, len(data.validation)
    part = 1.0 / len(busy)
    costs = Costs(
        inputs=layout.inputs,
        ids=layout.ids,
        embedding=layout.embedding,
        rows=len(data.train),
        batches=batches,
        profiled=trial.widths,
        seconds=Seconds(part * batch * batches, part * chunk * rows / min(rows, EVALUATION_ROWS)),
    )
    return Speed(costs, batch, chunk, _stacked(busy, trial, len(trials), batch, together, seconds_left))


def _stacked(
    busy: Sequence[LocalWorker], trial: Trial, trials: int, batch: float, together: str, seconds_left: float
) -> int:
    """How many to train together in one place: measured, unless it is decided or there is no time to."""
    gpu = busy[0].device.type == "cuda"
    most = busy[0].most_stacked(trial.layout, trials)
    if together == "never" or most == 1:
        return 1
    if together == "always":
        return most
    if seconds_left < _SHORT_SECONDS:
        return most if gpu else 1
    several = most if gpu else min(_STACKED, most)
    copies = [Trial(f"{trial.architecture}/{n}", None, trial.layout, trial.seed) for n in range(several)]
    together_seconds, _ = _time_all(busy, copies, _SECONDS)
    return several if together_seconds / several < _GAIN * batch else 1


def _time_all(busy: Sequence[LocalWorker], trials: Sequence[Trial], seconds: float) -> tuple[float, float]:
    """Seconds of a batch and of a chunk of validation rows while every worker is at it, medians over workers."""
    limit = time.monotonic() + seconds
    measured: list[tuple[float, float]] = []

    def one(worker: LocalWorker) -> None:
        measured.append(_time(worker, trials, limit))

    threads = [threading.Thread(target=one, args=(worker,)) for worker in busy]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(measured) < len(busy):
        # What a thread raised is on standard error; here it is raised again, where it can be told.
        measured = [_time(busy[0], trials, limit)]
    batch, chunk = (statistics.median(times) for times in zip(*measured, strict=True))
    return batch, chunk


def _time(worker: LocalWorker, trials: Sequence[Trial], limit: float) -> tuple[float, float]:
    """Seconds of a batch and of a chunk of validation rows, medians."""
    copies = [Trial(t.architecture, None, t.layout, t.seed) for t in trials]
    with worker.cores:
        stack = worker.stack(copies)
        threads = Threads(worker.cores)
        steps: list[float] = []
        number = 0
        while len(steps) < _WARMING_STEPS + _STEPS:
            trying = threads.trying
            threads.next(steps[-1] if steps else None)
            if trying and not threads.trying:
                steps = []  # those before it were tries of other numbers of threads
            before = time.monotonic()
            float(stack.step(worker.batch(number)).sum())  # the number makes a GPU finish
            steps.append(time.monotonic() - before)
            number += 1
            if time.monotonic() > limit and number > 1:
                break
        chunks: list[float] = []
        for _ in range(2):
            before = time.monotonic()
            stack.predict(worker.data.validation, lambda: False)
            chunks.append(time.monotonic() - before)
    # The first steps fill caches and memory pools.
    return statistics.median(steps[min(_WARMING_STEPS, len(steps) - 1) :]), min(chunks)
