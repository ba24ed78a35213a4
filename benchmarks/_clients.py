"""Ways in which a client outside the server gets a table into NumPy, one array a column."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[Any]]

# SQL type: the array's dtype, and COPY's binary form of a value (None: decoded as text or otherwise).
_TYPES: Mapping[str, tuple[str, str | None]] = {
    "real": ("float32", ">f4"),
    "double precision": ("float64", ">f8"),
    "integer": ("int32", ">i4"),
    "boolean": ("bool", "?"),
    "numeric": ("float64", None),
    "text": ("object", None),
    "date": ("datetime64[D]", None),
    "timestamptz": ("datetime64[us]", None),
}
_COPY_HEADER = 19
_EPOCH = np.datetime64("2000-01-01")


@dataclass(frozen=True)
class Table:
    """What is read.

    Args:
        name: Of the table.
        types: SQL type by column, in the table's order.
        nulls: Whether columns hold NULLs.
    """

    name: str
    types: Mapping[str, str]
    nulls: bool

    @property
    def plain(self) -> str | None:
        """The dtype of all columns, if they have one and hold no NULL."""
        dtypes = {_TYPES[sql_type][0] for sql_type in self.types.values()}
        return dtypes.pop() if len(dtypes) == 1 and not self.nulls else None

    @property
    def query(self) -> str:
        return f"SELECT {', '.join(self.types)} FROM {self.name}"


def _from_rows(table: Table, rows: Sequence[Sequence[Any]]) -> Arrays:
    """Arrays of rows of Python objects."""
    if table.plain is not None:
        return list(np.array(rows, dtype=table.plain).T)
    return [
        _from_objects(values, _TYPES[kind][0])
        for values, kind in zip(zip(*rows, strict=True), table.types.values(), strict=True)
    ]


def _from_objects(values: Sequence[Any], dtype: str) -> NDArray[Any]:
    if dtype.startswith("datetime64"):
        # Without their zone, which is UTC.
        return np.array([None if v is None else v.replace(tzinfo=None) if "us" in dtype else v for v in values], dtype)
    if dtype == "object":
        return np.array(values, object)
    if dtype == "float32" or dtype == "float64" or None in values:
        return np.array([np.nan if v is None else v for v in values], "float64")
    return np.array(values, dtype)


def psycopg2_rows(uri: str) -> Callable[[Table], Arrays]:
    """psycopg2, text protocol, ``fetchall``."""
    import psycopg2

    connection = psycopg2.connect(uri)

    def read(table: Table) -> Arrays:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
            cursor.execute(table.query)
            return _from_rows(table, cursor.fetchall())

    return read


def psycopg3_binary(uri: str) -> Callable[[Table], Arrays]:
    """psycopg 3, binary protocol, ``fetchall``."""
    import psycopg

    connection = psycopg.connect(uri)

    def read(table: Table) -> Arrays:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.execute("SET timezone = 'UTC'")
            cursor.execute(table.query)
            return _from_rows(table, cursor.fetchall())

    return read


def copy_binary(uri: str) -> Callable[[Table], Arrays]:
    """COPY in binary form through psycopg2, decoded with NumPy where rows are alike, else cell by cell."""
    import psycopg2

    connection = psycopg2.connect(uri)

    def read(table: Table) -> Arrays:
        buffer = io.BytesIO()
        with connection, connection.cursor() as cursor:
            cursor.copy_expert(f"COPY ({table.query}) TO STDOUT (FORMAT binary)", buffer)
        data = buffer.getbuffer()
        return _alike(table, data) if table.plain is not None else _cells(table, bytes(data))

    return read


def _alike(table: Table, data: memoryview) -> Arrays:
    """Rows of one length each: the count of fields, then the length and the value of each."""
    form = [_TYPES[sql_type] for sql_type in table.types.values()]
    fields = [
        (f"{part}{place}", kind) for place, (_, value) in enumerate(form) for part, kind in (("n", ">i4"), ("v", value))
    ]
    record = np.dtype([("fields", ">i2"), *fields])  # type: ignore[list-item]
    rows = (len(data) - _COPY_HEADER - 2) // record.itemsize
    records = np.frombuffer(data, record, rows, _COPY_HEADER)
    return [records[f"v{place}"].astype(dtype) for place, (dtype, _) in enumerate(form)]


def _cells(table: Table, data: bytes) -> Arrays:
    """Rows of any length, one cell after the other."""
    decode = [_DECODERS[sql_type] for sql_type in table.types.values()]
    columns: list[list[Any]] = [[] for _ in decode]
    place, length_of = _COPY_HEADER, struct.Struct(">i").unpack_from
    while data[place : place + 2] != b"\xff\xff":
        place += 2
        for column, of in zip(columns, decode, strict=True):
            (length,) = length_of(data, place)
            place += 4
            if length < 0:
                column.append(None)
            else:
                column.append(of(data[place : place + length]))
                place += length
    return [_from_numbers(values, sql_type) for values, sql_type in zip(columns, table.types.values(), strict=True)]


def _numeric(data: bytes) -> float:
    count, weight, sign, _ = struct.unpack_from(">hhHh", data)
    if sign not in (0, 0x4000):
        return float("nan")
    number = 0
    for digit in struct.unpack_from(f">{count}h", data, 8):
        number = number * 10_000 + digit
    value = number * 10.0 ** (4 * (weight - count + 1))
    return -value if sign else value


_DECODERS: Mapping[str, Callable[[bytes], Any]] = {
    "real": lambda data: struct.unpack(">f", data)[0],
    "double precision": lambda data: struct.unpack(">d", data)[0],
    "integer": lambda data: int.from_bytes(data, "big", signed=True),
    "boolean": lambda data: data != b"\0",
    "numeric": _numeric,
    "text": bytes.decode,
    "date": lambda data: int.from_bytes(data, "big", signed=True),
    "timestamptz": lambda data: int.from_bytes(data, "big", signed=True),
}


def _from_numbers(values: list[Any], sql_type: str) -> NDArray[Any]:
    dtype = _TYPES[sql_type][0]
    if not dtype.startswith("datetime64"):
        return _from_objects(values, dtype)
    unit = "D" if sql_type == "date" else "us"
    nothing = np.iinfo(np.int64).min  # NumPy's "not a time"
    since = np.array([nothing if v is None else v for v in values], np.int64)
    return _EPOCH.astype(dtype) + since.astype(f"timedelta64[{unit}]")


def adbc(uri: str) -> Callable[[Table], Arrays]:
    """ADBC's PostgreSQL driver (binary COPY in C), Arrow to NumPy."""
    import adbc_driver_postgresql.dbapi as driver

    connection = driver.connect(uri, autocommit=True)

    def read(table: Table) -> Arrays:
        with connection.cursor() as cursor:
            cursor.execute(table.query)
            return _from_arrow(table, cursor.fetch_arrow_table())

    return read


def connectorx(uri: str) -> Callable[[Table], Arrays]:
    """connectorx (binary cursor in Rust), Arrow to NumPy."""
    import connectorx as driver

    def read(table: Table) -> Arrays:
        return _from_arrow(table, driver.read_sql(uri, table.query, return_type="arrow"))

    return read


def _from_arrow(table: Table, found: Any) -> Arrays:
    import pyarrow

    arrays = []
    for column, sql_type in zip(found.columns, table.types.values(), strict=True):
        if sql_type == "numeric" and not pyarrow.types.is_floating(column.type):
            column = column.cast(pyarrow.float64())  # the driver gives its text
        arrays.append(column.to_numpy())
    return arrays


CLIENTS: Mapping[str, Callable[[str], Callable[[Table], Arrays]]] = {
    "psycopg2": psycopg2_rows,
    "psycopg 3 binary": psycopg3_binary,
    "COPY binary": copy_binary,
    "ADBC": adbc,
    "connectorx": connectorx,
}
