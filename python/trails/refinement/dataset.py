"""Columns to training and validation rows in memory, or a clear word on why they cannot be learnt from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trails.errors import InvalidInput, UnusableData
from trails.table.columns import Column, Columns
from trails.table.encoder import Encoded, Encoder
from trails.table.split import holdout
from trails.table.target import check_two_classes

MIN_TRAINING_ROWS = 10
"""Below this a validation metric says nothing and BatchNorm has nothing to average over."""


@dataclass(frozen=True)
class Rows:
    """Encoded rows on a device.

    Args:
        ids: int32, shape (rows, fields).
        values: float32, shape (rows, fields), or None when all are 1.
        labels: float32, shape (rows,), 0 or 1.
        classes: bool, shape (rows,): the labels once more, for NumPy.
    """

    ids: Tensor
    values: Tensor | None
    labels: Tensor
    classes: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, order: Tensor) -> Rows:
        """A copy of the rows at ``order``, int64 (rows,)."""
        values = None if self.values is None else self.values[order]
        return Rows(self.ids[order], values, self.labels[order], self.classes[order.cpu().numpy()])

    def slice(self, start: int, end: int) -> Rows:
        """Views of the rows from ``start`` to before ``end``."""
        values = None if self.values is None else self.values[start:end]
        return Rows(self.ids[start:end], values, self.labels[start:end], self.classes[start:end])

    def to(self, device: torch.device) -> Rows:
        """The same rows on ``device``."""
        values = None if self.values is None else self.values.to(device)
        return Rows(self.ids.to(device), values, self.labels.to(device), self.classes)


@dataclass(frozen=True)
class Dataset:
    """What every candidate of a run trains and validates on."""

    train: Rows
    validation: Rows
    encoder: Encoder

    def to(self, device: torch.device) -> Dataset:
        """The same rows on ``device``."""
        return Dataset(self.train.to(device), self.validation.to(device), self.encoder)


def prepare(train: Columns, validation: Columns | None, target: str, seed: int, device: torch.device) -> Dataset:
    """Check the target, hold rows out if there is no validation table, fit the encoder, encode.

    Args:
        train: Features and target; the target holds two values, of which the larger is the positive class.
        validation: The same columns of other rows, or None to hold out a seeded, stratified fifth of
            ``train``.
        target: Name of the target column.
        seed: Of the hold-out.
        device: Where the encoded rows go.

    Raises:
        UnusableData: One class only, more than two, or too few rows.
        InvalidInput: No target, no feature, or columns that differ between the tables.
    """
    features = train.without(target)
    if len(features) == 0:
        raise InvalidInput("there is no feature to learn from", detail=f'The only column is "{target}".')
    if train.rows < MIN_TRAINING_ROWS:
        raise UnusableData(f"too few rows to train on: {train.rows}", hint=f"At least {MIN_TRAINING_ROWS} are needed.")
    values = [table[target].ids for table in (train, validation) if table is not None]
    low, high = check_two_classes(target, np.concatenate(values))
    classes = _classes(train[target], low, high, "training")
    if validation is None:
        train_rows, held = holdout(classes, seed)
        held_features, held_classes = features.take(held), classes[held]
        features, classes = features.take(train_rows), classes[train_rows]
    else:
        held_features = validation.without(target)
        held_classes = _classes(validation[target], low, high, "validation")
    encoder = Encoder.fit(features)
    return Dataset(
        _rows(encoder.transform(features), classes, device),
        _rows(encoder.transform(held_features), held_classes, device),
        encoder,
    )


def _classes(target: Column, low: int, high: int, which: str) -> NDArray[np.bool_]:
    classes: NDArray[np.bool_] = target.ids == high
    positives = int(np.count_nonzero(classes))
    if positives in (0, len(classes)):
        raise UnusableData(
            f'the target "{target.name}" has one class only in the {which} rows',
            detail=f"Every one of {len(classes)} rows holds {high if positives else low}.",
            hint="Both classes must occur, in the training and in the validation rows.",
        )
    return classes


def _rows(encoded: Encoded, classes: NDArray[np.bool_], device: torch.device) -> Rows:
    return Rows(
        torch.from_numpy(encoded.ids).to(device),
        None if encoded.values is None else torch.from_numpy(encoded.values).to(device),
        torch.from_numpy(classes.astype(np.float32)).to(device),
        classes,
    )
