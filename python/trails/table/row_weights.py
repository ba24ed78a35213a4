"""What a row counts for in training and validation, where a column says so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check, pieces
from trails.errors import InvalidInput, UnusableData, shown
from trails.table.columns import Column, Columns


def counting_rows(column: Column, check: Check = no_check) -> NDArray[np.bool_] | None:
    """Rows of a weight above 0: the others are as if they were not there.

    Args:
        column: Numbers from 0 on.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        bool, shape (rows,); None if these are all rows.

    Raises:
        InvalidInput: A type that holds no numbers.
        UnusableData: A weight is NULL, negative or not finite, or all are 0.
    """
    name = shown(column.name)
    if column.family not in ("integer", "number"):
        raise InvalidInput(
            f'the weight "{name}" is of kind {column.family}', hint="A weight is a number from 0 on; give a view."
        )
    absent = negative = odd = none = 0
    counting = np.empty(len(column.data), np.bool_)
    for piece in pieces(len(counting), check):
        part = column.part(piece)
        missing = part.absent()
        there = part.data if missing is None else part.data[~missing]
        absent += len(part.data) - len(there)
        odd += int(np.count_nonzero(~np.isfinite(there)))
        negative += int(np.count_nonzero(there < 0))
        none += int(np.count_nonzero(there == 0))
        counting[piece] = part.data > 0
    for rows, what in ((absent, "NULL"), (negative, "negative"), (odd, "not finite")):
        if rows:
            raise UnusableData(
                f'the weight "{name}" is {what} in {rows} {"row" if rows == 1 else "rows"}',
                hint="A weight is a number from 0 on; give a view that leaves these rows out, or COALESCE(weight, 1).",
            )
    if none == len(counting):
        raise UnusableData(f'the weight "{name}" is zero in every row', hint="Rows of weight 0 are not trained on.")
    return counting if none else None


def weighed(columns: Columns, name: str | None) -> tuple[Columns, NDArray[np.float64] | None]:
    """The rows that count, and what each counts for, float64 (rows,); None where nothing says so.

    Raises:
        InvalidInput: There is no such column, or it holds no numbers.
        UnusableData: See `counting_rows`.
    """
    if name is None:
        return columns, None
    counting = counting_rows(columns[name])
    if counting is not None:
        columns = columns.take(np.flatnonzero(counting))
    return columns, columns[name].data.astype(np.float64)


def scaled(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weights above 0 that are 1 on average, float32 (rows,), however large or small they were.

    None becomes 0, with which a metric of the rows that weigh nothing would not be a number.
    """
    weights = weights / weights.max()
    found: NDArray[np.float32] = np.maximum(weights / weights.mean(), np.finfo(np.float32).tiny).astype(np.float32)
    return found
