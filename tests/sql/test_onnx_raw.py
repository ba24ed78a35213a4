"""ONNX graphs that take a table's columns: an ONNX runtime says of every row what the server says."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pandas
import psycopg2
import pytest
from numpy.typing import NDArray

from tests.sql.predicted import columns_of, make_model, make_things, store, things
from tests.sql.tables import query
from trails.table.columns import Column, Columns
from trails.table.fitting import Fitting
from trails.table.target import Task
from trails.table.texts import text_column

EPOCH = datetime.datetime(1970, 1, 1)
MICRO = datetime.timedelta(microseconds=1)
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


def exported(connection: Any, model: str, form: str = "onnx") -> Any:
    ((blob,),) = query(connection, "SELECT trails.export_model(%s, %s)", model, form)
    return onnxruntime.InferenceSession(bytes(blob))


def frame_of(connection: Any, table: str, order: str) -> pandas.DataFrame:
    """A table as a frame of objects, None where it is NULL."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY {order}")
        rows, names = cursor.fetchall(), [column.name for column in cursor.description]
    return pandas.DataFrame(
        {name: pandas.Series(cells, dtype=object) for name, cells in zip(names, zip(*rows, strict=True), strict=True)}
    )


def number_of(cell: Any) -> int | float:
    """What a graph takes for a cell that is no text, as docs/model_format.md says."""
    if isinstance(cell, datetime.datetime):
        aware = cell if cell.tzinfo is None else cell.astimezone(datetime.UTC).replace(tzinfo=None)
        return (aware - EPOCH) // MICRO
    if isinstance(cell, datetime.date):
        return (cell - EPOCH.date()).days
    if isinstance(cell, datetime.time):
        return ((cell.hour * 60 + cell.minute) * 60 + cell.second) * 10**6 + cell.microsecond
    if isinstance(cell, datetime.timedelta):
        return cell.total_seconds()
    return float(cell) if isinstance(cell, float | decimal.Decimal) else int(cell)


def fed(session: Any, frame: pandas.DataFrame) -> dict[str, NDArray[Any]]:
    """A frame's columns as inputs."""
    null = {c["name"]: c["null"] for c in json.loads(session.get_modelmeta().custom_metadata_map["columns"])}
    found = {}
    for put in session.get_inputs():
        cells = frame[put.name].tolist()
        if put.type == "tensor(string)":
            # Of char(n) the blanks at the end do not count.
            texts = [str(cell).rstrip(" ") if put.name == "code" else str(cell) for cell in cells]
            made = np.array(
                [null[put.name] if cell is None else t for cell, t in zip(cells, texts, strict=True)], object
            )
        elif put.type == "tensor(int64)":
            made = np.array([null[put.name] if cell is None else number_of(cell) for cell in cells], np.int64)
        else:
            assert put.type == "tensor(double)"
            made = np.array([np.nan if cell is None else number_of(cell) for cell in cells], np.float64)
        found[put.name] = made.reshape(-1, 1)
    return found


def agree(connection: Any, model: str, table: str, order: str, within: float = 1e-6) -> None:
    """Probabilities, or numbers relative to their size, are those of the server."""
    session = exported(connection, model)
    frame = frame_of(connection, table, order)
    (made,) = session.run(None, fed(session, frame))
    rows = query(
        connection,
        "SELECT p.score, p.probabilities FROM trails.predict(%s, %s) p ORDER BY p.key::bigint",
        model,
        table,
    )
    assert len(rows) == len(frame) == len(made) > 0
    wanted = np.array([score if shares is None else shares for score, shares in rows])
    np.testing.assert_allclose(made, wanted, rtol=within if made.ndim == 1 else 0, atol=within)


@pytest.fixture
def sql(connect: Callable[..., Any]) -> Any:
    connection = connect()
    make_things(connection, things(700, seed=2, first=1001))
    return connection


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("fitting", "within"),
    [
        (Fitting(), 1e-6),
        (Fitting(bins=0), 1e-6),
        (Fitting(bins=5, numbers_as="bins"), 1e-6),
        (Fitting(min_count=1, bins=400), 4e-6),  # products of random weights in the tens, in single precision
    ],
)
def test_every_kind_of_column_is_what_the_server_takes_it_for(
    sql: Any, task: Task, fitting: Fitting, within: float
) -> None:
    store(sql, "m", make_model(columns_of(things(400)), task, fitting=fitting))
    agree(sql, "m", "things", "id", within)


def made_of(column: Column, **fitting: Any) -> Any:
    return make_model(Columns(len(column.data), (column,)), fitting=Fitting(**fitting))


WIDE = 2**53
EDGES: dict[str, tuple[Any, str, list[str], dict[str, Any]]] = {
    "knots": (
        Column("x", "float64", np.array([-1.5, 0.0, 0.1, 0.1, 7.0, 1e300, -1e300])),
        "double precision",
        [
            "-1.5",
            "0.1",
            "0.05",
            "7",
            "'nan'",
            "-1e300",
            "1e300",
            "1e307",
            "'-0'",
            "1e-320",
        ],
        {},
    ),
    "edges of bins": (
        Column("x", "float64", np.arange(50.0)),
        "double precision",
        ["0", "0.999999", "1", "12", "12.5", "'nan'"],
        {"bins": 7, "numbers_as": "bins"},
    ),
    "scaled": (
        Column("x", "float64", np.arange(50.0)),
        "double precision",
        ["24.5", "1e308", "-1e308", "'nan'"],
        {"bins": 0},
    ),
    "small integers": (
        Column("x", "int64", np.array([3, 4, 5, 9, 9, 12])),
        "bigint",
        ["2", "3", "6", "9", "10", "12", "13", f"{2**63 - 1}", f"{-(2**63)}"],
        {},
    ),
    "integers that are codes": (
        Column("x", "int64", np.array([3, 4, 5, WIDE - 1])),
        "bigint",
        ["3", "6", f"{WIDE - 1}", f"{WIDE}", f"{WIDE + 1}", f"{2**63 - 1}"],
        {"categories": ("x",)},
    ),
    "integers that double precision does not tell apart": (
        Column("x", "int64", np.array([3, WIDE, WIDE + 1, -(2**63), 2**63 - 1])),
        "bigint",
        ["3", f"{WIDE}", f"{WIDE + 1}", f"{WIDE + 2}", f"{2**63 - 1}", f"{-(2**63)}"],
        {"categories": ("x",)},
    ),
    "integers by hash": (
        Column("x", "int64", np.array([3, 3, 4, 4, 5, 6, 7, WIDE, WIDE + 1])),
        "bigint",
        ["3", "4", "5", "-5", f"{WIDE}", f"{WIDE + 1}", f"{2**63 - 1}", f"{-(2**63) + 1}"],
        {"categories": ("x",), "max_categories": 2, "buckets": 5},
    ),
    "dates": (
        Column("x", "date", np.array([0, 59, 60, -1, 8000], np.int32)),
        "date",
        ["'0001-01-01'", "'1900-02-28'", "'2000-02-29'", "'2024-12-31'", "'9999-12-31'"],
        {},
    ),
    "moments": (
        Column("x", "timestamp", np.arange(-(10**15), 10**15, 10**13)),
        "timestamp",
        ["'0001-01-01'", "'1999-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.999999'", "'2024-02-29 11:00'"],
        {},
    ),
    "ids and values": (
        Column("x", "idvalue", np.array([0, 3, 7], np.int32), np.array([1.0, 0.5, -8.0], np.float32)),
        "text",
        ["'0:1'", "'3:.5'", "'7:-8e0'", "'7:0.1'", "'2147483647:1'", "'9:1e-40'", "'3:+2.'"],
        {},
    ),
    "texts": (
        text_column("x", ["", "", "a", "ä 'b\"", "NULL", "\u00a0", "x" * 199]),
        "text",
        ["''", "'a'", "'A'", "'NULL'", "E'\u00a0'", f"'{'x' * 199}'", f"'{'x' * 200}'"],
        {"min_count": 1},
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_values_at_the_edges(connect: Callable[..., Any], name: str) -> None:
    column, type_, cells, fitting = EDGES[name]
    connection = connect()
    query(connection, f"CREATE TABLE edges (id serial PRIMARY KEY, x {type_})")
    query(connection, "INSERT INTO edges (x) VALUES " + ", ".join(f"({cell})" for cell in [*cells, "NULL"]))
    store(connection, "m", made_of(column, **fitting))
    agree(connection, "m", "edges", "id")
    session = exported(connection, "m")
    none = {
        put.name: value[:0]
        for put, value in zip(
            session.get_inputs(), fed(session, frame_of(connection, "edges", "id")).values(), strict=True
        )
    }
    assert session.run(None, none)[0].shape == (0, 2), "no row at all"


@pytest.mark.parametrize("name", ["probabilities", "/0", "ids", "a b", "Größe"])
def test_columns_may_be_called_what_they_like(connect: Callable[..., Any], name: str) -> None:
    connection = connect()
    query(connection, f'CREATE TABLE t AS SELECT i AS id, i % 7 / 2.0 AS "{name}" FROM generate_series(1, 50) i')
    query(connection, "ALTER TABLE t ADD PRIMARY KEY (id)")
    store(connection, "m", made_of(Column(name, "float64", np.arange(7) / 2.0)))
    agree(connection, "m", "t", "id")


@pytest.mark.parametrize(
    ("column", "fitting", "said"),
    [
        (text_column("x", ["a", "b", "c"]), {"min_count": 1, "max_categories": 2, "buckets": 3}, "how the texts"),
        (text_column("x", ["a", "y" * 201]), {"min_count": 1}, "in full"),
        (text_column("x", ["a", "\uffff"]), {"min_count": 1}, "stands for NULL"),
    ],
)
def test_what_onnx_cannot_say_is_refused_and_has_the_other_form(
    connect: Callable[..., Any], column: Column, fitting: dict[str, Any], said: str
) -> None:
    connection = connect()
    store(connection, "m", made_of(column, **fitting))
    with pytest.raises(psycopg2.Error, match=said) as caught:
        exported(connection, "m")
    assert caught.value.diag.sqlstate == "0A000" and "onnx_encoded" in caught.value.diag.message_hint
    assert [put.name for put in exported(connection, "m", "onnx_encoded").get_inputs()] == ["ids", "values"]
