"""A table to NumPy: the extension's reader against pgrx's rows and against clients, on three shapes of table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import psycopg2
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._clients import CLIENTS, Table
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document
from tools.server import temporary_server

INSIDE = {"receiver": "reader (DestReceiver)", "batches": "the same in batches", "rows": "pgrx's rows"}
FLOORS = ("count(*)", "sum(last column)")

_FLOAT4 = Table("float4", {f"c{n}": "real" for n in range(20)}, nulls=False)
_FRAPPE = Table("frappe_shape", {name: "integer" for name in ("label", *(f"f{n}" for n in range(10)))}, nulls=False)
_MIXED = Table(
    "mixed",
    {
        "flag": "boolean", "number": "integer", "amount": "numeric", "ratio": "double precision", "name": "text",
        "day": "date", "moment": "timestamptz", "share": "real",
    },
    nulls=True,
)  # fmt: skip
TABLES = (_FLOAT4, _FRAPPE, _MIXED)
_ROWS = {"float4": 1_000_000, "frappe_shape": 288_609, "mixed": 300_000}


def _make(connection: Any, table: Table, rows: int) -> None:
    """A table of the shape, NOT NULL where it has no NULLs; the same rows every time."""
    values = {
        "float4": [f"sin(i * {n + 1})::real" for n in range(20)],
        "frappe_shape": ["mod(i, 2)::int", *(f"mod(i * {7 * n + 3}, {50 * n + 5})::int" for n in range(10))],
        "mixed": [
            "mod(i, 3) = 0", "mod(i * 17, 1000)::int", "(i * 7 / 100.0)::numeric(12, 2)", "sin(i)",
            "'name ' || mod(i * 31, 500)", "DATE '2020-01-01' + mod(i, 1000)",
            "TIMESTAMPTZ '2020-01-01+00' + i * INTERVAL '1 second'", "cos(i)::real",
        ],
    }[table.name]  # fmt: skip
    if table.nulls:
        # One cell in eleven, in another row for each column.
        values = [f"CASE WHEN mod(i, 11) <> {n} THEN {value} END" for n, value in enumerate(values)]
    columns = ", ".join(f"{name} {kind}{'' if table.nulls else ' NOT NULL'}" for name, kind in table.types.items())
    sql(connection, f"CREATE TABLE {table.name} ({columns})")
    sql(connection, f"INSERT INTO {table.name} SELECT {', '.join(values)} FROM generate_series(1, {rows}) i")
    sql(connection, f"VACUUM ANALYZE {table.name}")


def run(context: Context) -> None:
    """Measure every route in turns, as often as is not recorded yet."""
    repeats = 2 if context.quick else 9
    # The tables fit in memory: what is compared is the way from a page to an array.
    settings = {"shared_buffers": "1GB", "max_parallel_workers_per_gather": "0", "jit": "off"}
    with temporary_server(settings=settings) as server:
        connection = psycopg2.connect(server.uri())
        connection.autocommit = True
        context.note(server=sql(connection, "SHOW server_version")[0][0])
        for table in TABLES:
            missing = repeats - len(context.recorded(table=table.name, route="receiver"))
            if missing <= 0:
                continue
            rows = _ROWS[table.name] // (20 if context.quick else 1)
            context.say(f"making {table.name}, {rows:,} rows")
            _make(connection, table, rows)
            routes = dict(_routes(connection, server.uri(), table, rows))
            for repeat in range(-1, missing):
                for route, measure in routes.items():
                    seconds = measure()
                    if repeat >= 0:  # before that, everything is warmed up
                        common = {"table": table.name, "rows": rows, "columns": len(table.types)}
                        context.record({**common, "route": route, "seconds": seconds})
                context.say(f"{table.name}: {repeat + 1} of {missing}")
        connection.close()


def _routes(connection: Any, uri: str, table: Table, rows: int) -> Iterator[tuple[str, Any]]:
    """Every route's name, and a function that takes it once and returns the seconds."""
    last = list(table.types)[-1]
    floors = {"count(*)": "count(*)", "sum(last column)": f"sum({last})"}
    for name, what in floors.items():
        yield name, lambda what=what: _timed(lambda: sql(connection, f"SELECT {what} FROM {table.name}"))
    statement = "SELECT rows, seconds FROM trails.benchmark_reading(%s::regclass, 1, %s)"

    def inside(reader: str) -> float:
        ((found, seconds),) = sql(connection, statement, table.name, reader)
        assert found == rows
        return float(seconds)

    for reader in INSIDE:
        yield reader, lambda reader=reader: inside(reader)
    ((wanted,),) = sql(connection, f"SELECT sum({last}::float8) FROM {table.name}")
    for name, connect in CLIENTS.items():
        read = connect(uri)
        arrays = read(table)
        # A route counts only if it brings the table.
        assert len(arrays) == len(table.types) and all(len(array) == rows for array in arrays), name
        assert np.isclose(np.nansum(arrays[-1].astype(np.float64)), wanted, atol=1e-2), name
        del arrays
        yield name, lambda read=read: _timed(lambda: read(table))


def _timed(work: Any) -> float:
    began = time.perf_counter()
    kept = work()
    seconds = time.perf_counter() - began
    del kept
    return seconds


def _median(document: Document, table: str, route: str) -> float:
    return statistics.median(row["seconds"] for row in document.select(table=table, route=route))


def _best_client(document: Document, table: str) -> tuple[str, float]:
    medians = {client: _median(document, table, client) for client in CLIENTS}
    best = min(medians, key=medians.__getitem__)
    return best, medians[best]


def summarise(document: Document) -> list[str]:
    """Medians by table and route, against the reader, the floor and the best client."""
    lines = []
    for table in TABLES:
        first = document.select(table=table.name)[0]
        count = len(document.select(table=table.name, route="receiver"))
        lines.append(f"{table.name}, {first['rows']:,} rows x {first['columns']} columns, medians of {count}, seconds:")
        reader = _median(document, table.name, "receiver")
        for route in (*FLOORS, *INSIDE, *CLIENTS):
            median = _median(document, table.name, route)
            lines.append(f"  {INSIDE.get(route, route):24} {median:8.4f}   {median / reader:6.2f} x")
        floor = _median(document, table.name, "sum(last column)")
        client, seconds = _best_client(document, table.name)
        lines.append(
            f"  the reader takes {reader / floor:.2f} x sum(last column); {client}, the fastest client, "
            f"{seconds / reader:.1f} x the reader; pgrx's rows {_median(document, table.name, 'rows') / reader:.1f} x"
        )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """One panel a table: medians as bars, repeats as dots, on a logarithmic axis."""
    figure, axes = plots.panels(len(TABLES), width=4.4)
    routes = (*FLOORS, *INSIDE, *CLIENTS)
    colours = [plots.COLOURS[0]] * len(FLOORS) + [plots.COLOURS[2]] * len(INSIDE) + [plots.COLOURS[1]] * len(CLIENTS)
    for axis, table in zip(axes, TABLES, strict=True):
        for place, (route, colour) in enumerate(zip(routes, colours, strict=True)):
            median = _median(document, table.name, route)
            axis.barh(place, median, height=0.65, color=colour)
            seconds = [row["seconds"] for row in document.select(table=table.name, route=route)]
            axis.plot(seconds, [place] * len(seconds), ".", color="black", markersize=2.5)
            axis.annotate(f" {median:.3f} s", (max(seconds), place), va="center", fontsize=7)
        axis.set_yticks(range(len(routes)), [INSIDE.get(route, route) for route in routes])
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_xlim(right=6 * max(row["seconds"] for row in document.select(table=table.name)))
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("seconds (bar: median, dots: repeats)")
        first = document.select(table=table.name)[0]
        axis.set_title(f"{table.name}: {first['rows']:,} x {first['columns']}")
    return {"": figure}
