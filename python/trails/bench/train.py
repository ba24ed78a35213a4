"""Trains one architecture under a benchmark's protocol and looks at it after every epoch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trails.bench.plan import Training, looked_at, predicted_rows
from trails.bench.protocol import SEEDS, Protocol
from trails.bench.setting import Setting
from trails.family.networks import Stack
from trails.loading.columns import LABEL, dataset_columns
from trails.loading.sources import SPLITS, find_dataset
from trails.refinement.checkpoint import digest
from trails.refinement.dataset import Dataset, prepare
from trails.refinement.metrics import auc, log_loss
from trails.refinement.protocol import Candidate
from trails.refinement.trial import Trial
from trails.space import parse_space
from trails.training.options import Options, parse_options
from trails.training.rows import EncodedRows


@dataclass(frozen=True)
class Rowsets:
    """The encoded rows of a benchmark.

    Args:
        data: Training and validation rows.
        test: Test rows, encoded as these.
        looked_at: The training rows of which the training AUC is.
        options: How candidates are trained.
    """

    data: Dataset
    test: EncodedRows
    looked_at: EncodedRows
    options: Options

    @classmethod
    def read(cls, protocol: Protocol, device: torch.device) -> Rowsets:
        """Read and encode a dataset in its published form, one id a field.

        Raises:
            NotAvailable: The dataset is nowhere to be had.
        """
        dataset = find_dataset(protocol.dataset)
        train, valid, test = (dataset_columns(dataset, split) for split in SPLITS)
        features = [column.name for column in train.without(LABEL)]
        options = parse_options({**protocol.options, "categories": features})
        data = prepare(train, valid, LABEL, 1, device, options=options)
        encoded = data.encoder.transform(test.without(LABEL))
        labels = data.target.labels(test[LABEL])
        ids = torch.from_numpy(encoded.ids).to(device)
        values = None if encoded.values is None else torch.from_numpy(encoded.values).to(device)
        test_rows = EncodedRows(ids, values, torch.from_numpy(labels).to(device), labels != 0)
        some = data.train.take(torch.from_numpy(looked_at(len(data.train))).to(device))
        return cls(data, test_rows, some, options)

    def setting(self, protocol: Protocol, sample_seed: int) -> Setting:
        """What a table of these rows is of."""
        rows = {"train": len(self.data.train), "valid": len(self.data.validation), "test": len(self.test)}
        return Setting(
            protocol.dataset,
            digest(self.data),
            rows,
            self.data.encoder.fields,
            protocol.space,
            sample_seed,
            protocol.epochs,
            dict(protocol.options),
        )


@dataclass(frozen=True)
class Trained:
    """What is recorded of a training.

    Args:
        curve: Rows of `trails.bench.store.CURVE`.
        predictions: Rows of `trails.bench.store.PREDICTION`: one, or none where training went wrong, or is one of
            another seed.
    """

    curve: list[dict[str, Any]]
    predictions: list[dict[str, Any]]


def train(rowsets: Rowsets, protocol: Protocol, training: Training, machine: str) -> Trained:
    """Train one architecture.

    The weights and everything random hang on the training's seed and the architecture alone.
    """
    data, options = rowsets.data, rowsets.options
    trial = _trial(rowsets, protocol, training.index, training.seed)
    networks, name = trial.family.networks, trial.architecture
    begun, task = [trial.begin()], data.target.task
    stack = networks.stack([trial.layout], begun, data.train, options, training.seed, [name], task)
    rows: list[dict[str, Any]] = []
    for epoch in range(1, protocol.epochs + 1):
        began = time.process_time()
        loss = float(stack.train_epoch(epoch, lambda share: True)[0])
        trained = time.process_time()
        outputs = {"valid": _predict(stack, data.validation)}
        predicted = time.process_time()
        outputs |= {"train": _predict(stack, rowsets.looked_at), "test": _predict(stack, rowsets.test)}
        truths = {"train": rowsets.looked_at.truth, "valid": data.validation.truth, "test": rowsets.test.truth}
        row: dict[str, Any] = {
            "place": training.place,
            "seed": training.seed,
            "epoch": epoch,
            "train_loss": loss,
            "train_seconds": trained - began,
            "valid_seconds": predicted - trained,
            "stacked": 1,
            "machine": machine,
        }
        sound = math.isfinite(loss) and all(np.isfinite(found).all() for found in outputs.values())
        for split in ("train", "valid", "test"):
            row[f"{split}_auc"] = auc(truths[split], outputs[split]) if sound else math.nan
            if split != "train":
                row[f"{split}_loss"] = log_loss(truths[split], outputs[split]) if sound else math.nan
        rows.append(row)
        if not sound:
            return Trained(rows, [])
    if training.seed != SEEDS[0]:
        return Trained(rows, [])
    kept = {split: _kept(outputs[split]) for split in ("valid", "test")}
    return Trained(rows, [{"place": training.place, "seed": training.seed, **kept}])


def _kept(logits: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float16]]:
    """Probabilities of the rows whose predictions are kept."""
    chosen = logits[predicted_rows(len(logits))].astype(np.float64)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * chosen)), dtype=np.float16)


def parameters(rowsets: Rowsets, protocol: Protocol, index: int) -> int:
    """Trained numbers of an architecture, its embedding included."""
    return _trial(rowsets, protocol, index, 0).layout.parameters


def _trial(rowsets: Rowsets, protocol: Protocol, index: int, seed: int) -> Trial:
    space = parse_space(protocol.space)
    design = space.architecture(index)
    candidate = Candidate(space.format(design), design, None)
    return Trial.of(space.family, candidate, rowsets.data.shape(rowsets.options.embedding), seed)


def _predict(stack: Stack, rows: EncodedRows) -> np.ndarray[Any, np.dtype[np.float32]]:
    found = stack.predict(rows)
    assert found is not None, "nobody gives up"
    return found[0].numpy()
