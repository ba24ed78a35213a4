"""Encoded rows on a device: what networks train on and predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from trails.training.knots import Between, Knots


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows on a device.

    Args:
        ids: int32, shape (rows, fields).
        values: float32, shape (rows, fields), or None when all are 1.
        labels: shape (rows,): float32 0 or 1, int64 classes, or float32 standardised values; see `Target.labels`.
        weights: float32, shape (rows,): what each row's loss is multiplied by; None when all are 1.
        truth: The labels once more, for NumPy; a binary target's as bool.
        knots: Of the fields that are interpolated; None if there are none.
        between: Of which of these some rows lie between two knots; None where none does.
    """

    ids: Tensor
    values: Tensor | None
    labels: Tensor
    truth: NDArray[Any]
    weights: Tensor | None = None
    knots: Knots | None = None
    between: Between | None = None

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def interpolated(self) -> float:
        """Share of the fields that are."""
        return 0.0 if self.knots is None else len(self.knots.fields) / self.ids.shape[1]

    def take(self, order: Tensor) -> EncodedRows:
        """A copy of the rows at ``order``, int64 (rows,)."""
        values, weights = (None if part is None else part[order] for part in (self.values, self.weights))
        between = None if self.between is None else self.between.rows(order)
        truth = self.truth[order.cpu().numpy()]
        return EncodedRows(self.ids[order], values, self.labels[order], truth, weights, self.knots, between)

    def slice(self, start: int, end: int) -> EncodedRows:
        """Views of the rows from ``start`` to before ``end``."""
        values, weights = (None if part is None else part[start:end] for part in (self.values, self.weights))
        between = None if self.between is None else self.between.rows(slice(start, end))
        ids, labels, truth = self.ids[start:end], self.labels[start:end], self.truth[start:end]
        return EncodedRows(ids, values, labels, truth, weights, self.knots, between)

    def to(self, device: torch.device) -> EncodedRows:
        """The same rows on ``device``."""
        values, weights = (None if part is None else part.to(device) for part in (self.values, self.weights))
        knots = None if self.knots is None else self.knots.to(device)
        between = None if self.between is None else self.between.to(device)
        return EncodedRows(self.ids.to(device), values, self.labels.to(device), self.truth, weights, knots, between)
