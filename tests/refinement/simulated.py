"""Whole runs on a machine that is only imagined: the clock is advanced by what each step would take.

Measuring, planning, rungs and the workers' deadlines are the real code; only the network, which learns nothing, and the
time are not. So a budget is tried in milliseconds, on machines as slow and as mistaken about themselves as wanted.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trails.family import MLP
from trails.family.mlp.counts import multiply_accumulates
from trails.family.mlp.networks import MlpNetworks
from trails.limits import RESERVE_SECONDS, WRITTEN_A_SECOND
from trails.refinement import keeping, models
from trails.refinement import run as run_module
from trails.refinement.clock import Clock, RecordedClock
from trails.refinement.dataset import Dataset
from trails.refinement.protocol import Candidate, Events, Refine, Setting
from trails.refinement.timings import Timings
from trails.refinement.trial import Trial
from trails.refinement.workers import Cores, LocalWorker
from trails.training.batches import EVALUATION_ROWS, batches_of, rows_of_epoch
from trails.training.options import Options
from trails.training.rows import EncodedRows


@dataclass(frozen=True)
class Case:
    """A table, what is asked of it, and the machine.

    Args:
        rows: Training rows.
        held: Validation rows.
        fields: Features.
        ids: Categories of all features.
        k: Candidates, if fixed.
        u: Epochs of the first rung, if fixed.
        task: What is learnt.
        outputs: Classes of a multi-class task.
        named: Whether the winner is kept.
        validation: Whether the validation rows come from a table of their own.
        refinement: Scheduler.
        cores: Of the machine.
        product: Seconds of a multiply-accumulate of training on one core.
        start: Seconds until torch is imported.
        cell: Seconds that reading and encoding a cell take.
        filtering: Seconds of scoring, and the share of the budget where it scores what the time holds.
        share: See above.
        order: Seconds per cell of copying an epoch's rows in their order, of which the measurement sees nothing.
        optimism: By how much batches and chunks were faster when they were measured than they are in training.
    """

    rows: int
    held: int = 0
    fields: int = 10
    ids: int = 1000
    k: int | None = None
    u: int | None = None
    task: str = "binary"
    outputs: int = 1
    named: bool = False
    validation: bool = False
    refinement: str = "sh"
    cores: int = 2
    product: float = 0.1e-9
    start: float = 3.0
    cell: float = 300e-9
    filtering: float = 0.3
    share: float = 0.0
    order: float = 5e-9
    optimism: float = 1.0
    candidates: tuple[str, ...] = field(
        default=tuple("-".join([str(w)] * 4) for w in (512, 448, 384, 256, 128, 64, 32, 16, 8))
    )

    @property
    def held_rows(self) -> int:
        return self.held or max(50, self.rows // 5)


class Machine:
    """How fast a computer is, with a clock that passes only when it is told to, on every thread alike."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.clock = RecordedClock(1000.0)
        self.now, self.advance = self.clock.now, self.clock.advance

    # What things take on one core

    def row(self, widths: Sequence[int]) -> float:
        """Training on a row: products, and what grows with the width alone."""
        inputs = self.case.fields * 10
        work = multiply_accumulates(widths, inputs) + 40.0 * sum(widths) + 25.0 * inputs
        return self.case.product * work

    def batch(self, widths: Sequence[int], rows: int) -> float:
        parameters = multiply_accumulates(widths, self.case.fields * 10) + 10 * self.case.ids
        return self.row(widths) * rows + 20.0 * self.case.product * parameters

    def evaluation(self, widths: Sequence[int], rows: int) -> float:
        return self.row(widths) * rows / 2.5


class _Stack:
    """`trails.family.networks.Stack`, without the networks."""

    def __init__(self, machine: Machine, worker: LocalWorker, trials: Sequence[Trial]) -> None:
        self._machine, self._worker, self._widths = machine, worker, [t.design for t in trials]
        self._steps = trials[0].steps
        self.batches = batches_of(len(worker.data.train), worker.options)
        machine.advance(1e-8 * sum(t.layout.parameters for t in trials))

    def _spend(self, seconds: float, measured: bool) -> None:
        slower = 1.0 if measured else self._machine.case.optimism
        self._machine.advance(slower * seconds / min(self._worker.cores.allowed(), torch.get_num_threads()))

    def _batch(self, rows: int, measured: bool) -> None:
        self._steps += 1
        self._spend(sum(self._machine.batch(w, rows) for w in self._widths), measured)

    def step(self, rows: EncodedRows) -> torch.Tensor:
        self._batch(len(rows), True)
        return torch.zeros(1)

    def train_epoch(self, epoch: int, keep_going: Callable[[float], bool]) -> torch.Tensor:
        rows = rows_of_epoch(len(self._worker.data.train), self._worker.options)
        self._machine.advance(self._machine.case.order * rows * self._machine.case.fields)
        for number in range(self.batches):
            self._batch(rows // self.batches, False)
            if not keep_going((number + 1) / self.batches):
                break
        return torch.zeros(len(self._widths), dtype=torch.float64)

    def predict(self, rows: EncodedRows, keep_going: Callable[[], bool] | None = None) -> torch.Tensor | None:
        for start in range(0, len(rows), EVALUATION_ROWS):
            chunk = min(EVALUATION_ROWS, len(rows) - start)
            for widths in self._widths:
                self._spend(self._machine.evaluation(widths, chunk), keep_going is None)
            if keep_going is not None and not keep_going() and start + EVALUATION_ROWS < len(rows):
                return None
        return _outputs(self._machine.case, len(rows), len(self._widths))

    def training(self, place: int) -> Any:
        return SimpleNamespace(steps=self._steps)

    def averaged(self, place: int) -> Any:
        return object()


class _Worker(LocalWorker):
    machine: Machine

    def stack(self, trials: Sequence[Trial]) -> Any:
        return _Stack(self.machine, self, trials)


def _outputs(case: Case, rows: int, stacked: int) -> torch.Tensor:
    shape = (stacked, rows) if case.task != "multiclass" else (stacked, rows, case.outputs)
    return torch.rand(shape, generator=torch.Generator().manual_seed(rows))


def _rows(case: Case, count: int) -> EncodedRows:
    generator = np.random.default_rng(count)
    if case.task == "regression":
        truth: Any = generator.normal(size=count).astype(np.float32)
    else:
        truth = generator.integers(0, max(2, case.outputs), count)
        truth = truth == 1 if case.task == "binary" else truth
    ids = torch.zeros((count, 1), dtype=torch.int32)
    return EncodedRows(ids, None, torch.zeros(count), truth)


def _dataset(case: Case) -> Dataset:
    metrics = {"binary": ("auc", "log_loss"), "multiclass": ("accuracy", "log_loss"), "regression": ("r2", "rmse")}
    target: Any = SimpleNamespace(
        task=case.task,
        outputs=case.outputs,
        std=1.0,
        scale=None,
        metrics=metrics[case.task],
        metric=metrics[case.task][0],
    )
    encoder: Any = SimpleNamespace(fields=case.fields, ids=case.ids, interpolated=[], parts=())
    return Dataset(_rows(case, case.rows), _rows(case, case.held_rows), encoder, target, not case.validation)


@contextmanager
def _on(machine: Machine, patch: pytest.MonkeyPatch) -> Iterator[None]:
    case, threads = machine.case, torch.get_num_threads()

    def local_workers(
        setting: Setting, options: Options, data: Dataset, _: Any, repeatable: bool, clock: Clock
    ) -> list[_Worker]:
        cores = Cores(case.cores, repeatable)
        made = [_Worker(data, options, setting.seed, cores, clock=clock) for _ in range(case.cores)]
        for worker in made:
            worker.machine = machine
        return made

    def predict(_: Any, layout: Any, weights: Any, rows: EncodedRows) -> torch.Tensor:
        machine.advance(case.optimism * machine.evaluation(layout.design, len(rows)) / case.cores)
        return _outputs(case, len(rows), 1)[0]

    def model_of(trial: Trial, *_: Any) -> Any:
        machine.advance(4 * trial.layout.parameters / 200e6)
        return SimpleNamespace(to_bytes=lambda: b"")

    def refit(trial: Trial, data: Dataset, _: Any, keep_going: Callable[[float], bool]) -> None:
        keep_going(0.1)

    patch.setattr(run_module, "local_workers", local_workers)
    patch.setattr(MlpNetworks, "predict", predict)
    patch.setattr(run_module, "seconds_per_product", lambda threads, clock: case.product / threads)
    patch.setattr(keeping, "model_of", model_of)
    patch.setattr(models, "refit_on_all", refit)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Told:
    """What came of a run, and the seconds that the statement took."""

    result: dict[str, Any]
    seconds: float


def ask(case: Case, budget: float, data: Dataset | None = None) -> Told:
    """A statement with this budget.

    Args:
        case: See `Case`.
        budget: Seconds.
        data: `dataset(case)`, where it is made already.

    Raises:
        BudgetTooSmall: As the run does.
    """
    machine = Machine(case)
    started = machine.now()
    total = case.rows + (case.held_rows if case.validation else 0)
    scoring = case.filtering + case.share * budget
    machine.advance(max(case.start, case.cell * total * case.fields) + scoring)
    files = [os.memfd_create("simulated") for _ in range(2)] if case.named else []
    candidates = tuple(Candidate(name, MLP.parse(name), 9.0 - place) for place, name in enumerate(case.candidates))
    setting = Setting(
        "label",
        1,
        started,
        budget,
        started + budget - RESERVE_SECONDS,
        {"rows": case.rows, "columns": [0] * (case.fields + 1)},
        {"rows": case.held_rows} if case.validation else None,
        threads=case.cores,
        models=tuple(files),
    )
    request = Refine(candidates, case.refinement, case.k, case.u, score_seconds=scoring / 1000, scored=1000)
    lines: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch, _on(machine, patch):
        patch.setattr(run_module, "cores", lambda threads: case.cores)
        try:
            devices = [torch.device("cpu")]
            found = data or dataset(case)
            timings = Timings(started, machine.clock)
            trials = run_module.refine(setting, request, found, devices, Events(lines.append), timings, machine.clock)
        finally:
            for file in files:
                os.close(file)
        if case.named:
            machine.advance(4 * trials[0].layout.parameters / WRITTEN_A_SECOND)
        machine.advance(0.05)
    return Told(json.loads(lines[-1]), machine.now() - started)


def dataset(case: Case) -> Dataset:
    """The rows of a case; making them takes longer than a run."""
    return _dataset(case)


def smallest(case: Case, data: Dataset, works: Callable[[float], bool]) -> float:
    """The smallest budget that really works, to a tenth of a second."""
    low, high = 0.0, 1.0
    while not works(high):
        low, high = high, 2.0 * high
        assert math.isfinite(high) and high < 1e5
    while high - low > 0.1:
        middle = (low + high) / 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high
