"""Columns of what lies in memory: NumPy arrays, and data frames such as those of pandas, which is not imported."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData, shown, shown_json
from trails.table.columns import KINDS, Column, Columns
from trails.table.texts import text_column

_EPOCH = np.datetime64("2000-01-01", "us")
_WIDEST = 2**31
_MAY_BE_MISSING = (float, np.floating, decimal.Decimal, np.datetime64, np.timedelta64, dt.date, dt.timedelta)


def is_frame(table: Any) -> bool:
    """Whether ``table`` is a data frame."""
    return hasattr(table, "columns") and hasattr(table, "dtypes") and hasattr(table, "iloc")


def names_of(frame: Any) -> list[str]:
    """Names of a data frame's columns.

    Raises:
        InvalidInput: Two columns have the same name, or one cannot be written in UTF-8.
    """
    names = [str(name) for name in frame.columns]
    seen: set[str] = set()
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"the name {shown_json(name)} of a column is no text", hint="Rename it.") from None
        if name in seen:
            raise InvalidInput(f'two columns are called "{shown(name)}"', hint="Rename one of them.")
        seen.add(name)
    return names


Readings = Callable[[str], str | None]
"""How the texts of a column are read, by its name; see `trails.table.texts.TextBuilder`."""


def as_texts(name: str) -> None:
    """Reads no texts."""


def frame_columns(frame: Any, readings: Readings = as_texts) -> Columns:
    """The columns of a data frame, each of the kind that its values are.

    Raises:
        InvalidInput: A column whose values are of no kind, or of several.
        UnusableData: An infinite number.
    """
    names = names_of(frame)
    return Columns(
        len(frame), tuple(series_column(name, frame.iloc[:, place], readings(name)) for place, name in enumerate(names))
    )


def array_columns(array: NDArray[Any], names: Sequence[str], readings: Readings = as_texts) -> Columns:
    """The columns of an array of shape (rows, columns).

    Raises:
        InvalidInput: A column whose values are of no kind, or of several.
        UnusableData: An infinite number.
    """
    return Columns(
        len(array), tuple(column_of(name, array[:, place], readings(name)) for place, name in enumerate(names))
    )


def series_column(name: str, series: Any, reading: str | None = None) -> Column:
    """A column of a data frame's column; see `column_of`."""
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    kind = getattr(series.dtype, "numpy_dtype", series.dtype)
    absent = np.asarray(series.isna(), np.bool_)
    if isinstance(kind, np.dtype) and kind.kind in "biu" and not isinstance(series.dtype, np.dtype):
        # pandas' own types with NULLs.
        data = np.zeros(len(series), kind)
        data[~absent] = np.asarray(series[~absent], kind)
        column = column_of(name, data)
        return replace(column, nulls=absent.astype(np.uint8)) if absent.any() else column
    if isinstance(kind, np.dtype) and kind.kind in "fmM":
        return column_of(name, np.asarray(series.to_numpy(dtype=kind) if kind.kind == "f" else series, kind))
    values = np.asarray(series, object)
    if absent.any():
        values = values.copy()
        values[absent] = None
    return column_of(name, values, reading)


def column_of(name: str, values: NDArray[Any], reading: str | None = None) -> Column:
    """A column of a vector.

    Args:
        name: Its name.
        values: bool, whole numbers, floats, datetime64, timedelta64, str, or objects of one kind; shape (rows,). NaN,
            NaT, None and what pandas writes for them are NULL.
        reading: How texts are read; see `trails.table.texts.TextBuilder`.

    Raises:
        InvalidInput: Objects of no kind or of several, or numbers beyond 64 bits.
        UnusableData: An infinite number.
    """
    kind = values.dtype.kind
    if kind == "b":
        return Column(name, "boolean", values.astype(np.int32))
    if kind in "iu":
        return _integers(name, values)
    if kind == "f":
        return _floats(name, values)
    if kind == "M":
        return _moments(name, values, "timestamp", (values - _EPOCH).astype("timedelta64[us]").astype(np.int64))
    if kind == "m":
        seconds = values.astype("timedelta64[us]").astype(np.int64) / 1e6
        return _moments(name, values, "interval", seconds)
    if kind in "US":
        return text_column(name, [str(value) for value in values.astype("U").tolist()], reading=reading)
    if kind == "O":
        return _objects(name, values, reading)
    if kind == "c":
        raise InvalidInput(f'Complex data not supported: the column "{shown(name)}" holds complex numbers')
    raise InvalidInput(f'the column "{shown(name)}" is of a type that cannot be learnt from ({values.dtype})')


def _integers(name: str, values: NDArray[Any]) -> Column:
    if len(values) and values.dtype.kind == "u" and int(values.max()) >= 2**63:
        raise InvalidInput(f'the column "{shown(name)}" holds whole numbers beyond 64 bits with a sign')
    if values.dtype.itemsize < 4 or values.dtype == np.int32:
        return Column(name, "int32", values.astype(np.int32))
    if len(values) == 0 or (int(values.min()) >= -_WIDEST and int(values.max()) < _WIDEST):
        return Column(name, "int32", values.astype(np.int32))
    return Column(name, "int64", values.astype(np.int64))


def _floats(name: str, values: NDArray[Any]) -> Column:
    kind = "float32" if values.dtype.itemsize <= 4 else "float64"
    data = values.astype(KINDS[kind][0])
    absent = np.isnan(data)
    data[absent] = 0
    if not np.isfinite(data).all():
        raise UnusableData(
            f'the column "{shown(name)}" contains infinity or a value too large for {kind}',
            hint="Leave such rows out, or make the numbers missing.",
        )
    return Column(name, kind, data, None, absent.astype(np.uint8) if absent.any() else None)


def _moments(name: str, values: NDArray[Any], kind: str, data: NDArray[Any]) -> Column:
    absent = np.isnat(values)
    data[absent] = 0
    return Column(name, kind, data, None, absent.astype(np.uint8) if absent.any() else None)


def _objects(name: str, values: NDArray[Any], reading: str | None) -> Column:
    """A column of Python objects, which must be of one kind."""
    items = [None if _is_missing(item) else item for item in values.tolist()]
    present = [item for item in items if item is not None]
    kinds = {_kind_of(name, item) for item in present}
    if kinds <= {"boolean"} and present:
        return _masked(column_of(name, np.array([bool(item) for item in items], np.bool_)), items)
    if kinds <= {"boolean", "integer"} and present:
        try:
            return _masked(column_of(name, np.array([int(item or 0) for item in items], np.int64)), items)
        except OverflowError:
            raise InvalidInput(f'the column "{shown(name)}" holds whole numbers beyond 64 bits') from None
    if kinds <= {"boolean", "integer", "number"}:
        return column_of(name, np.array([np.nan if item is None else float(item) for item in items], np.float64))
    if kinds == {"text"}:
        return text_column(name, [None if item is None else str(item) for item in items], reading=reading)
    if kinds == {"date"}:
        moments = np.array([np.datetime64("NaT") if item is None else item for item in items], "datetime64[D]")
        days = (moments - _EPOCH.astype("datetime64[D]")).astype(np.int64)
        return _moments(name, moments, "date", np.where(np.isnat(moments), 0, days).astype(np.int32))
    if kinds == {"timestamp"}:
        naive = [None if item is None else _utc(item) for item in items]
        return column_of(name, np.array(naive, "datetime64[us]"))
    if kinds == {"interval"}:
        return column_of(name, np.array(items, "timedelta64[us]"))
    if kinds == {"time"}:
        micros = [0 if item is None else _microseconds(item) for item in items]
        return _masked(Column(name, "time", np.array(micros, np.int64)), items)
    raise InvalidInput(
        f'the column "{shown(name)}" holds values of several kinds: {", ".join(sorted(kinds))}',
        hint="Make them texts, or numbers.",
    )


def _masked(column: Column, items: list[Any]) -> Column:
    absent = np.array([item is None for item in items], np.uint8)
    return replace(column, nulls=absent) if absent.any() else column


def _is_missing(item: Any) -> bool:
    if item is None:
        return True
    if isinstance(item, _MAY_BE_MISSING):
        return bool(item != item)  # NaN and NaT differ from themselves.
    return type(item).__name__ in ("NAType", "NaTType")


def _kind_of(name: str, item: Any) -> str:
    if isinstance(item, bool | np.bool_):
        return "boolean"
    if isinstance(item, int | np.integer):
        return "integer"
    if isinstance(item, float | np.floating | decimal.Decimal):
        return "number"
    if isinstance(item, str):
        return "text"
    if isinstance(item, dt.datetime | np.datetime64):
        return "timestamp"
    if isinstance(item, dt.date):
        return "date"
    if isinstance(item, dt.time):
        return "time"
    if isinstance(item, dt.timedelta | np.timedelta64):
        return "interval"
    if isinstance(item, complex | np.complexfloating):
        raise InvalidInput(f'Complex data not supported: the column "{shown(name)}" holds complex numbers')
    found = f'the column "{shown(name)}" holds a {type(item).__name__}'
    raise TypeError(f"argument must be a string, a number, a date or a time, and {found}")


def _utc(item: Any) -> Any:
    if isinstance(item, dt.datetime) and item.tzinfo is not None:
        return item.astimezone(dt.UTC).replace(tzinfo=None)
    return item


def _microseconds(time: dt.time) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 1_000_000 + time.microsecond
