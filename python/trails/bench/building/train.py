"""Trains architectures under a benchmark's protocol and looks at each after every epoch."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.bench.building.rowsets import Rowsets
from trails.bench.plan import Training, predicted_rows
from trails.bench.protocol import SEEDS, Protocol
from trails.errors import InvalidInput
from trails.family.networks import Stack
from trails.refinement import memory
from trails.refinement.metrics import auc, log_loss
from trails.training.batches import EVALUATION_ROWS
from trails.training.rows import EncodedRows

Outputs = dict[str, NDArray[np.float32]]
"""Logits (rows,) by split."""

_MEMORY_SHARE = 0.5
"""Of the memory that is free, what the candidates of one stack may take, as where the product stacks them."""

_WINDOW = 4
"""Stacks are made of so many times as many trainings as one holds, the widest together: all are padded to them."""


@dataclass(frozen=True)
class Trained:
    """What is recorded of a training.

    Args:
        curve: Rows of `trails.bench.schemas.CURVE`.
        predictions: Rows of `trails.bench.schemas.PREDICTION`: one, or none where training went wrong, or is one of
            another seed.
    """

    curve: list[dict[str, Any]]
    predictions: list[dict[str, Any]]


def train(rowsets: Rowsets, protocol: Protocol, training: Training, machine: str) -> Trained:
    """Train one architecture alone.

    The weights and everything random hang on the training's seed and the architecture alone.
    """
    return train_stack(rowsets, protocol, [training], machine)[0]


def train_stack(rowsets: Rowsets, protocol: Protocol, trainings: Sequence[Training], machine: str) -> list[Trained]:
    """Train architectures together, as the product does on a GPU: the same curves as alone but for rounding.

    Seconds are of one alone where it is alone. Of a stack nobody can say what one took: its seconds are kept apart.
    They are processor time on a core, and wall time on a GPU.

    Args:
        rowsets: On the device that does the work.
        protocol: What to train.
        trainings: All of the same seed.
        machine: That the seconds are of.

    Returns:
        One of each training.

    Raises:
        InvalidInput: Trainings of several seeds, which shuffle rows differently.
    """
    seed = trainings[0].seed
    if any(training.seed != seed for training in trainings):
        raise InvalidInput("trainings of different seeds cannot be stacked")
    data = rowsets.data
    trials = [rowsets.trial(protocol, training.index, seed) for training in trainings]
    names, begun = [trial.architecture for trial in trials], [trial.begin() for trial in trials]
    layouts, networks = [trial.layout for trial in trials], trials[0].networks
    stack = networks.stack(layouts, begun, data.train, rowsets.options, seed, names, data.target.task)
    on_gpu = data.train.labels.is_cuda
    now = time.perf_counter if on_gpu else time.process_time
    records = [_Record(rowsets, training, machine, len(trainings)) for training in trainings]
    with ExitStack() as held:
        # AUCs of a stack are sorts on the CPU, which would keep a GPU waiting one after another.
        each = held.enter_context(ThreadPoolExecutor(len(os.sched_getaffinity(0)))).map if on_gpu else map
        if on_gpu:
            _predict(stack, rowsets.looked_at)  # what a GPU does when it is first asked is no epoch's
        for epoch in range(1, protocol.epochs + 1):
            began = now()
            losses = stack.train_epoch(epoch, lambda share: True)
            trained = now()
            valid = _predict(stack, data.validation)
            seconds = trained - began, now() - trained
            looked, test = _predict(stack, rowsets.looked_at), _predict(stack, rowsets.test)
            outputs = [Outputs(train=looked[i], valid=valid[i], test=test[i]) for i in range(len(records))]
            list(each(_Record.add, records, repeat(epoch), losses.tolist(), outputs, repeat(seconds)))
            if all(record.failed for record in records):
                break
    return [record.finished() for record in records]


class _Record:
    """What one training of a stack came to so far."""

    def __init__(self, rowsets: Rowsets, training: Training, machine: str, stacked: int) -> None:
        self._training, self._machine, self._stacked = training, machine, stacked
        rows = {"train": rowsets.looked_at, "valid": rowsets.data.validation, "test": rowsets.test}
        self._truths = {split: of.truth for split, of in rows.items()}
        self._rows: list[dict[str, Any]] = []
        self._outputs: Outputs = {}
        self.failed = False

    def add(self, epoch: int, loss: float, outputs: Outputs, seconds: tuple[float, float]) -> None:
        """Take an epoch in; nothing after the first that went wrong."""
        if self.failed:
            return
        alone = self._stacked == 1
        self.failed = not (math.isfinite(loss) and all(np.isfinite(found).all() for found in outputs.values()))
        row: dict[str, Any] = {
            "place": self._training.place,
            "seed": self._training.seed,
            "epoch": epoch,
            "train_loss": loss,
            "train_seconds": seconds[0] if alone else None,
            "valid_seconds": seconds[1] if alone else None,
            "stack_seconds": None if alone else sum(seconds),
            "stacked": self._stacked,
            "machine": self._machine,
        }
        for split, truth in self._truths.items():
            row[f"{split}_auc"] = math.nan if self.failed else auc(truth, outputs[split])
            if split != "train":
                row[f"{split}_loss"] = math.nan if self.failed else log_loss(truth, outputs[split])
        self._rows.append(row)
        self._outputs = outputs

    def finished(self) -> Trained:
        """Everything that is kept of it."""
        if self.failed or self._training.seed != SEEDS[0]:
            return Trained(self._rows, [])
        kept = {split: _kept(self._outputs[split]) for split in ("valid", "test")}
        return Trained(self._rows, [{"place": self._training.place, "seed": self._training.seed, **kept}])


def stacks_of(
    rowsets: Rowsets, protocol: Protocol, trainings: Sequence[Training], most: int, processes: int = 1
) -> list[list[Training]]:
    """Divide trainings among stacks.

    Those at the beginning of the sample come first, more or less, so that what is recorded at any time is nearly a
    prefix of it; within a window, architectures of like size are stacked, since all are padded to the widest.

    Args:
        rowsets: On the device that trains.
        protocol: What is trained.
        trainings: In the order of the sample.
        most: Of a stack.
        processes: That share the device's memory.
    """
    if most == 1:
        return [[training] for training in trainings]
    device = rowsets.data.train.labels.device
    held = int(_MEMORY_SHARE * memory.available(device)) // processes
    batch = max(EVALUATION_ROWS, rowsets.options.batch)
    stacks: list[list[Training]] = []
    for start in range(0, len(trainings), _WINDOW * most):
        window = trainings[start : start + _WINDOW * most]
        sizes = {t: rowsets.trial(protocol, t.index, t.seed).layout.training_bytes(batch) for t in window}
        made: list[list[Training]] = []
        for seed in sorted({training.seed for training in window}):
            own = [training for training in window if training.seed == seed]
            own.sort(key=lambda training: (-sizes[training], training.place))
            while own:
                # The first is the largest: as many of its kind as memory holds.
                fits = max(1, min(most, held // sizes[own[0]]))
                made.append(own[:fits])
                own = own[fits:]
        # Not by size: a builder that is stopped would leave a window's largest ones only.
        stacks += sorted(made, key=lambda stack: min(training.place for training in stack))
    return stacks


def _kept(logits: NDArray[np.float32]) -> NDArray[np.float16]:
    """Probabilities of the rows whose predictions are kept."""
    chosen = logits[predicted_rows(len(logits))].astype(np.float64)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * chosen)), dtype=np.float16)


def _predict(stack: Stack, rows: EncodedRows) -> NDArray[np.float32]:
    """Logits (trainings, rows)."""
    found = stack.predict(rows)
    assert found is not None, "nobody gives up"
    logits: NDArray[np.float32] = found.numpy()
    return logits
