"""A column of one type in place of another: what loses nothing is taken, anything else is an error with the cast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from trails.errors import InvalidInput, shown
from trails.table.columns import KINDS, Column, Columns, Family
from trails.table.texts import read_spelt

_MICROSECONDS_A_DAY = 86_400_000_000
_LAST_DAY = (2**63 - 1) // _MICROSECONDS_A_DAY

FRAME_CASTS: Mapping[str, str] = {
    "boolean": 'X["{}"].astype("boolean")',
    "integer": 'X["{}"].astype("Int64")',
    "number": 'X["{}"].astype("float64")',
    "text": 'X["{}"].astype(str)',
    "date": 'X["{}"].dt.date',
    "timestamp": 'X["{}"].astype("datetime64[us]")',
    "time": 'X["{}"].dt.time',
    "interval": 'X["{}"].astype("timedelta64[us]")',
}
"""What makes a column of a data frame, whose name belongs between the braces, one of a family."""

SQL_CASTS: Mapping[str, str] = {
    "boolean": '"{}"::boolean',
    "integer": '"{}"::bigint',
    "number": '"{}"::double precision',
    "text": '"{}"::text',
    "idvalue": '"{}"::text',
    "date": '"{}"::date',
    "timestamp": '"{}"::timestamp',
    "time": '"{}"::time',
    "interval": '"{}"::interval',
}
"""The same of a table's column."""

_MAY_CONFORM: Mapping[str, frozenset[str]] = {
    "number": frozenset({"integer", "boolean"}),
    "integer": frozenset({"boolean", "number"}),
    "boolean": frozenset({"integer", "number"}),
    "timestamp": frozenset({"date"}),
    "date": frozenset({"timestamp"}),
}


def may_conform(family: str, wanted: str) -> bool:
    """Whether a column of ``family`` with some values can be one of ``wanted``."""
    return family == wanted or family in _MAY_CONFORM.get(wanted, ())


def conform(column: Column, family: Family | str, casts: Mapping[str, str] = FRAME_CASTS) -> Column:
    """The column as one of ``family``, where its values allow it.

    Whole numbers are numbers, and numbers that are whole are integers; 0 and 1 are booleans; dates are the timestamps
    that they begin with, and timestamps at the beginning of a day are dates; a column that is NULL throughout is of any
    kind.

    Args:
        column: Of any family.
        family: That is wanted.
        casts: What an error says would make a column one of a family.

    Raises:
        InvalidInput: They do not (SQLSTATE 42804); a date is beyond the last timestamp (22008).
    """
    if column.family == family:
        return column
    absent = column.absent()
    rows = len(column.data)
    if rows == 0 or (absent is not None and absent.all()):
        kind = next(kind for kind, (_, own) in KINDS.items() if own == family)
        mask = None if absent is None else absent.astype(np.uint8)
        return Column(column.name, kind, np.zeros(rows, KINDS[kind][0]), None, mask)
    if may_conform(column.family, family) and (made := _made(column, family)) is not None:
        return made
    name, cast = shown(column.name), casts.get(family)
    raise InvalidInput(
        f'the column "{name}" is of kind {column.family}, and the model was trained with {family}',
        hint=None if cast is None else f"Make it one: {cast.format(name)}.",
        sqlstate="42804",
    )


def conform_all(
    columns: Columns,
    families: Mapping[str, str],
    casts: Mapping[str, str] = FRAME_CASTS,
    readings: Mapping[str, str] | None = None,
) -> Columns:
    """The columns that are named, each as one of its family.

    Args:
        columns: These and others.
        families: By name.
        casts: See `conform`.
        readings: How columns of text are read that are of their family by that, by name.

    Raises:
        InvalidInput: One is missing, or cannot be one of its family.
    """
    named = ((_read(columns[name], readings or {}), family) for name, family in families.items())
    return Columns(columns.rows, tuple(conform(column, family, casts) for column, family in named))


def _read(column: Column, readings: Mapping[str, str]) -> Column:
    reading = readings.get(column.name)
    return column if reading is None or column.kind != "text" else read_spelt(column, reading)


def _made(column: Column, family: str) -> Column | None:
    """The column as one of a family that it may be of; None if its values do not allow it."""
    absent = column.absent()
    data = column.data if absent is None else np.where(absent, 0, column.data)
    mask = None if absent is None else absent.astype(np.uint8)
    if family == "number":
        return Column(column.name, "float64", data.astype(np.float64), None, mask)
    if family == "timestamp":
        if (np.abs(data.astype(np.int64)) > _LAST_DAY).any():
            raise InvalidInput(
                f'column "{shown(column.name)}" holds a date that is out of range for timestamp',
                hint="Make it missing, or an earlier date.",
                sqlstate="22008",
            )
        return Column(column.name, "timestamp", data.astype(np.int64) * _MICROSECONDS_A_DAY, None, mask)
    if family == "date":
        days, rest = np.divmod(data, _MICROSECONDS_A_DAY)
        return None if rest.any() else Column(column.name, "date", days.astype(np.int32), None, mask)
    if family == "integer" and column.family == "boolean":
        return replace(column, kind="int32")
    least, beyond = (0, 2) if family == "boolean" else (-(2.0**63), 2.0**63)
    if not ((data >= least) & (data < beyond)).all() or not (data == np.floor(data)).all():
        return None
    kind = "boolean" if family == "boolean" else "int64"
    return Column(column.name, kind, data.astype(KINDS[kind][0]), None, mask)
