"""Which features no network can learn from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from trails.table.columns import Column

_FIRST_LOOK = 2_000
"""Rows looked at before a whole column: almost every useful feature shows that it is one within them."""

_KEYS = ("integer", "text")
"""Families in which a value that no other row has says nothing; of numbers and times the order still says something."""


def useless_features(columns: Iterable[Column]) -> dict[str, str]:
    """Features that no network can learn from, with the reason.

    A constant tells rows apart as little as no feature; an integer or a text that differs in every row (a key) can
    only be memorised and is unknown for every new row. Columns of fewer than two rows are never called useless.

    Args:
        columns: Features; on a useful one only the first 2,000 rows are read.

    Returns:
        Name to reason, in the order of ``columns``.
    """
    reasons: dict[str, str] = {}
    for column in columns:
        if len(column.data) < 2:
            continue
        absent = column.absent()
        if absent is not None and absent.all():
            reasons[column.name] = "NULL in every row"
        elif _is_constant(column):
            reasons[column.name] = "the same in every row"
        elif column.family in _KEYS and _is_unique(column):
            reasons[column.name] = "different in every row"
    return reasons


def _is_constant(column: Column) -> bool:
    return all(_all_same(column, end) for end in (_FIRST_LOOK, len(column.data)))


def _all_same(column: Column, end: int) -> bool:
    if column.nulls is not None and (nulls := column.nulls[:end]).any():
        return bool(nulls.all())
    parts = (column.data, column.values)
    return not any((part[:end] != part[0]).any() for part in parts if part is not None)


def _is_unique(column: Column) -> bool:
    return all(_all_different(column, end) for end in (_FIRST_LOOK, len(column.data)))


def _all_different(column: Column, end: int) -> bool:
    data = column.data[:end]
    if column.nulls is not None:
        nulls = column.nulls[:end]
        if int(nulls.sum(dtype=np.int64)) > 1:
            return False
        data = data[nulls == 0]
    ordered = np.sort(data)
    return not bool((ordered[1:] == ordered[:-1]).any())
