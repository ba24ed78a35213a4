"""Which rows are held out for validation where there is no validation table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData
from trails.table.columns import Column

MOST_HELD_OUT = 200_000
"""Rows held out at most: a metric of so many is exact to the third digit, and each costs time at every epoch."""

_TRAIN = ("train", "training")
_VALIDATION = ("valid", "validation", "val")
_TEST = ("test",)

Split = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Row numbers to train on and row numbers to validate on, int64, each in ascending order."""


def holdout(labels: NDArray[Any], seed: int, fraction: float = 0.2, binary: bool = True) -> Split:
    """Split rows at random, with the same share of every class on both sides.

    Args:
        labels: Whole numbers or bool, shape (rows,): the class of each row; anything else is not looked at.
        seed: The same seed and labels give the same split.
        fraction: Share of each class to hold out, rounded, at least one row and never all; at most `MOST_HELD_OUT`
            rows in all.
        binary: Whether a class of a single row is an error, since validation needs it; else such a row is for
            training.

    Raises:
        UnusableData: A class has fewer than two rows, so it cannot be on both sides.
    """
    generator = np.random.default_rng(seed)
    fraction = min(fraction, MOST_HELD_OUT / max(1, len(labels)))
    classes = labels if labels.dtype.kind in "bui" else np.zeros(len(labels), np.int8)
    held = np.zeros(len(labels), np.bool_)
    for label in [False, True] if classes.dtype.kind == "b" else np.unique(classes).tolist():
        rows = np.flatnonzero(classes == label)
        if len(rows) < 2:
            if not binary:
                continue
            raise UnusableData(
                f"too few rows to hold some out for validation: {len(rows)} of one of the target's values",
                detail=f"{len(labels)} rows in all; each value needs at least two.",
                hint="Add rows, or give a validation table.",
            )
        count = min(len(rows) - 1, max(1, round(fraction * len(rows))))
        held[generator.permutation(rows)[:count]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def by_column(column: Column) -> Split:
    """Split rows as a column of the table says.

    Args:
        column: boolean, true for validation; integer, 0 for training, 1 for validation, 2 for neither; text, ``train``,
            ``valid`` or ``validation``, ``test`` for neither. Rows where it is NULL are for training.

    Raises:
        InvalidInput: Another type, or a value that is none of these.
    """
    absent = column.absent()
    train, held, test = _sides(column)
    if absent is not None:
        train, held, test = train | absent, held & ~absent, test & ~absent
    if not (train | held | test).all():
        raise InvalidInput(
            f'the split column "{column.name}" holds something else than train, valid or test',
            hint="It is boolean (true for validation), 0, 1 and 2, or one of these words.",
        )
    if not train.any() or not held.any():
        raise UnusableData(
            f'the split column "{column.name}" leaves no row for {"validation" if train.any() else "training"}'
        )
    return np.flatnonzero(train), np.flatnonzero(held)


def _sides(column: Column) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    if column.family in ("boolean", "integer"):
        return column.data == 0, column.data == 1, (column.data == 2) & (column.family == "integer")
    if column.family != "text":
        raise InvalidInput(
            f'the split column "{column.name}" is of kind {column.family}',
            hint="It is boolean (true for validation), 0, 1 and 2, or the words train, valid and test.",
        )
    spelt = {} if column.texts is None else column.texts.spellings()

    def side(words: tuple[str, ...]) -> NDArray[np.bool_]:
        return np.isin(column.data, np.array([c for c, text in spelt.items() if text.lower() in words], np.int64))

    return side(_TRAIN), side(_VALIDATION), side(_TEST)
