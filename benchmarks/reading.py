"""From a table to NumPy arrays: the extension's reader against psycopg2's fetchall, in turns on one server."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document

DATASETS = ("frappe", "uci_diabetes", "criteo")
_ROUTES = {"reader": "extension's reader\n(DestReceiver)", "fetchall": "psycopg2\nfetchall to NumPy"}


def run(context: Context) -> None:
    """Measure the repeats that are not recorded yet."""
    repeats = 5 if context.quick else 15
    missing = repeats - len(context.recorded(route="reader"))
    if missing <= 0 or context.dataset is None:
        return
    table = f"{context.dataset}_train"
    with loaded(context, [context.dataset]) as connection:
        sql(connection, "SELECT * FROM trails.benchmark_reading(%s::regclass)", table)  # warms up: interpreter, cache
        _fetchall(connection, table)
        for repeat in range(missing):
            context.say(f"{table}: {repeat + 1} of {missing}")
            ((rows, columns, seconds),) = sql(
                connection, "SELECT rows, columns, seconds FROM trails.benchmark_reading(%s::regclass)", table
            )
            context.record({"route": "reader", "rows": rows, "columns": columns, "seconds": seconds})
            context.record(
                {
                    "route": "fetchall",
                    "rows": rows,
                    "columns": columns,
                    "seconds": _fetchall(connection, table),
                }
            )


def _fetchall(connection: Any, table: str) -> float:
    """Seconds from the query to one array per column."""
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        arrays = np.array(cursor.fetchall(), dtype=np.int32).T
    seconds = time.perf_counter() - began
    assert arrays.ndim == 2
    return seconds


def _median(document: Document, route: str) -> float:
    return statistics.median(row["seconds"] for row in document.select(route=route))


def summarise(document: Document) -> list[str]:
    """Medians and their ratio."""
    row = document.rows[0]
    reader, fetchall = _median(document, "reader"), _median(document, "fetchall")
    count = len(document.select(route="reader"))
    return [
        f"{document.settings['dataset']}_train, {row['rows']:,} rows x {row['columns']} columns, medians of {count}:",
        f"  extension's reader   {reader:.4f} s",
        f"  psycopg2 fetchall    {fetchall:.4f} s, {fetchall / reader:.1f} times as long",
    ]


def draw(document: Document) -> Mapping[str, Figure]:
    """Both routes, every repeat and the median."""
    figure, (axis,) = plots.panels(1, width=4.6)
    reader = _median(document, "reader")
    for place, route in enumerate(_ROUTES):
        median = _median(document, route)
        axis.bar(place, median, width=0.6, color=plots.COLOURS[place])
        seconds = [row["seconds"] for row in document.select(route=route)]
        axis.plot([place] * len(seconds), seconds, ".", color="black", markersize=3)
        ratio = f"\n{median / reader:.1f} x" if place else ""
        axis.annotate(f"{median:.3f} s{ratio}", (place, max(seconds)), (0, 4), textcoords="offset points", ha="center")
    axis.set_xticks(range(len(_ROUTES)), list(_ROUTES.values()))
    row = document.rows[0]
    axis.set_ylim(0, 1.25 * max(r["seconds"] for r in document.rows))
    axis.grid(axis="x", visible=False)
    axis.set_ylabel("seconds (bar: median, dots: repeats)")
    axis.set_title(f"{document.settings['dataset']}_train, {row['rows']:,} x {row['columns']} to NumPy")
    return {"": figure}
