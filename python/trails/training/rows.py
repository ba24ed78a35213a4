"""Encoded rows on a device: what networks train on and predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows on a device.

    Args:
        ids: int32, shape (rows, fields).
        values: float32, shape (rows, fields), or None when all are 1.
        labels: shape (rows,): float32 0 or 1, int64 classes, or float32 standardised values; see `Target.labels`.
        weights: float32, shape (rows,): what each row's loss is multiplied by; None when all are 1.
        truth: The labels once more, for NumPy; a binary target's as bool.
    """

    ids: Tensor
    values: Tensor | None
    labels: Tensor
    truth: NDArray[Any]
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, order: Tensor) -> EncodedRows:
        """A copy of the rows at ``order``, int64 (rows,)."""
        values, weights = (None if part is None else part[order] for part in (self.values, self.weights))
        return EncodedRows(self.ids[order], values, self.labels[order], self.truth[order.cpu().numpy()], weights)

    def slice(self, start: int, end: int) -> EncodedRows:
        """Views of the rows from ``start`` to before ``end``."""
        values, weights = (None if part is None else part[start:end] for part in (self.values, self.weights))
        return EncodedRows(self.ids[start:end], values, self.labels[start:end], self.truth[start:end], weights)

    def to(self, device: torch.device) -> EncodedRows:
        """The same rows on ``device``."""
        values, weights = (None if part is None else part.to(device) for part in (self.values, self.weights))
        return EncodedRows(self.ids.to(device), values, self.labels.to(device), self.truth, weights)
