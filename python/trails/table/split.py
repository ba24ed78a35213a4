"""Hold-out rows for tables that come without a validation table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trails.errors import UnusableData


def holdout(labels: NDArray[np.bool_], seed: int, fraction: float = 0.2) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows at random, with the same share of every class on both sides.

    Args:
        labels: bool, shape (rows,): the class of each row.
        seed: The same seed and labels give the same split.
        fraction: Share of each class to hold out, rounded, at least one row and never all.

    Returns:
        Row numbers to train on and row numbers to validate on, int64, each in ascending order.

    Raises:
        UnusableData: A class has fewer than two rows, so it cannot be on both sides.
    """
    generator = np.random.default_rng(seed)
    held = np.zeros(len(labels), np.bool_)
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise UnusableData(
                f"too few rows to hold some out for validation: {len(rows)} of one of the target's values",
                detail=f"{len(labels)} rows in all; each value needs at least two.",
                hint="Add rows, or give a validation table.",
            )
        count = min(len(rows) - 1, max(1, round(fraction * len(rows))))
        held[generator.permutation(rows)[:count]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
