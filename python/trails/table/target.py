"""Which targets can be learnt: two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import UnusableData

_FEWEST_ROWS = 2


def check_two_classes(name: str, values: NDArray[Any]) -> tuple[int, int]:
    """The two values of a binary target, the smaller first.

    Args:
        name: Of the target column, for messages.
        values: Integers (rows,), no NULLs.

    Raises:
        UnusableData: Fewer than two rows, one class, or more than two.
    """
    if len(values) < _FEWEST_ROWS:
        raise UnusableData(
            f"{len(values)} usable row is too few to learn from" if len(values) else "there is no usable row",
            hint="Training and validation need rows of both classes.",
        )
    low, high = int(values.min()), int(values.max())
    if low == high:
        raise UnusableData(
            f'the target "{name}" has one class only',
            detail=f"Every usable row holds {low}.",
            hint="A binary target needs rows of both classes.",
        )
    other = (values != low) & (values != high)
    if other.any():
        classes = len(np.unique(values))
        raise UnusableData(
            f'the target "{name}" has {classes} different values; only two classes can be learnt yet',
            hint="Multi-class and regression are not supported yet: give a view whose target compares, such as "
            "price > 100.",
            sqlstate="0A000",
        )
    return low, high
