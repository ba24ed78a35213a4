"""Which features no network can learn from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, all_different, no_check, pieces
from trails.table.columns import Column

_FIRST_LOOK = 2_000
"""Rows looked at before a whole column: almost every useful feature shows that it is one within them."""

_KEYS = ("integer", "text")
"""Families in which a value that no other row has says nothing; of numbers and times the order still says something."""

_FEW_ROWS = 50
"""Of fewer rows the ages, too, may all differ: that says nothing of a column."""


def useless_features(
    columns: Iterable[Column], training: NDArray[np.bool_] | None = None, check: Check = no_check
) -> dict[str, str]:
    """Features that no network can learn from, with the reason.

    A constant tells rows apart as little as no feature; an integer or a text that differs in every one of many rows (a
    key) can only be memorised and is unknown for every new row. Columns of fewer than two rows are never called
    useless.

    Args:
        columns: Features; on a useful one only the first 2,000 rows are read.
        training: Rows that are looked at, bool (rows,); None for all of them.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        Name to reason, in the order of ``columns``.
    """
    reasons: dict[str, str] = {}
    chosen = None if training is None or training.all() else training
    for column in columns:
        rows = len(column.data) if chosen is None else int(np.count_nonzero(chosen))
        if rows < 2:
            continue
        check()
        looks = _Look(column, chosen, _FIRST_LOOK, check), _Look(column, chosen, len(column.data), check)
        if all(look.is_null() for look in looks):
            reasons[column.name] = "NULL in every row"
        elif all(look.is_constant() for look in looks):
            reasons[column.name] = "the same in every row"
        elif rows >= _FEW_ROWS and _may_be_key(column) and all(look.is_unique() for look in looks):
            reasons[column.name] = "different in every row"
    return reasons


def _may_be_key(column: Column) -> bool:
    """Whether it says nothing that a value is no other row's: of whole numbers, and of texts, those read as whole
    numbers included."""
    if column.family in _KEYS:
        return True
    return (
        column.reading is not None and column.family == "number" and bool((column.data == np.floor(column.data)).all())
    )


class _Look:
    """A look at the first rows of a column.

    Args:
        column: The column.
        training: Rows that count, bool (rows,), or None for all.
        end: Rows that are looked at.
        check: Called before every piece.
    """

    def __init__(self, column: Column, training: NDArray[np.bool_] | None, end: int, check: Check) -> None:
        self._column, self._training, self._check = column, training, check
        self._end = min(end, len(column.data))

    def _parts(self) -> Iterable[Column]:
        """The rows that count, piece by piece; pieces of none are passed over."""
        for piece in pieces(self._end, self._check):
            part = self._column.part(piece)
            if self._training is not None:
                part = part.take(np.flatnonzero(self._training[piece]))
            if len(part.data):
                yield part

    def is_null(self) -> bool:
        """Whether every row counts as NULL."""
        return all((absent := part.absent()) is not None and absent.all() for part in self._parts())

    def is_constant(self) -> bool:
        """Whether no row differs from another one, a NULL from a value included."""
        first: Column | None = None
        for part in self._parts():
            first = first or part
            for mine, theirs in ((part.data, first.data), (part.values, first.values)):
                if mine is not None and theirs is not None and (mine != theirs[0]).any():
                    return False
            if part.nulls is not None and part.nulls.any():
                return False
        return True

    def is_unique(self) -> bool:
        """Whether all rows that are not NULL differ, and at most one of them is; of texts that are read, in which
        anything else is NULL, any number where enough are left."""
        any_nulls = self._column.reading is not None
        found: list[NDArray[Any]] = []
        nulls = 0
        for part in self._parts():
            data = part.data
            if part.nulls is not None:
                nulls += int(np.count_nonzero(part.nulls))
                if nulls > 1 and not any_nulls:
                    return False
                data = data[part.nulls == 0]
            found.append(data)
        data = np.concatenate(found) if found else self._column.data[:0]
        return (nulls <= 1 or len(data) >= _FEW_ROWS) and all_different(data, self._check)
