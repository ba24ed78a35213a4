"""The data service: time to the first batch and throughput, against waiting for the whole table."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import psycopg2
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.harness import ROOT, Context, Document
from trails.service import DataClient

DATASETS = ("frappe", "uci_diabetes", "criteo")
ROUTES: Mapping[str, str] = {
    "fetchall": "fetchall",
    "columns": "service, whole table",
    "fresh": "service, table read anew",
    "held": "service, rows held",
}
CONSUMERS = (1, 2, 4)
BATCH = 1024
_TOKEN = "benchmark-of-the-data-service"


def run(context: Context) -> None:
    """Measure the repeats that are not recorded yet, the routes in turns."""
    repeats = 3 if context.quick else 11
    if context.dataset is None or len(context.recorded(route="held", consumers=CONSUMERS[-1])) >= repeats:
        return
    table = f"{context.dataset}_train"
    with loaded(context, [context.dataset]) as connection, _service(_dsn(connection)) as uri:
        cases = [("fetchall", 1), ("columns", 1), *((route, n) for route in ("fresh", "held") for n in CONSUMERS)]
        for repeat in range(-1, repeats):
            for route, consumers in cases:
                if repeat >= 0 and len(context.recorded(route=route, consumers=consumers)) > repeat:
                    continue
                measured = measure(route, consumers, table, _dsn(connection), uri)
                if repeat >= 0:  # The first round warms up: the table's pages, the service's libraries.
                    context.record({"route": route, "consumers": consumers, "repeat": repeat, **measured})
            context.say(f"{table}: {repeat + 1} of {repeats}")


def _dsn(connection: Any) -> str:
    info = connection.info
    return f"host={info.host} port={info.port} dbname={info.dbname} user={info.user} password={info.password}"


@contextlib.contextmanager
def _service(dsn: str) -> Iterator[str]:
    """A data service in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trails", "data-service", "--listen", "127.0.0.1:0"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python"), "TRAILS_DSN": dsn, "TRAILS_SERVICE_TOKEN": _TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(20)


def measure(route: str, consumers: int, table: str, dsn: str, uri: str) -> dict[str, float]:
    """Seconds until the last consumer's first rows, and until all have everything; rows of the table."""
    consume: Callable[[bool], tuple[float, int]]
    if route == "fetchall":

        def consume(leads: bool) -> tuple[float, int]:
            return _fetchall(dsn, table)
    elif route == "columns":

        def consume(leads: bool) -> tuple[float, int]:
            with DataClient(uri, _TOKEN) as client:
                rows = client.columns(table, fresh=True).rows
            return time.perf_counter(), rows
    else:
        ready = threading.Event()

        def consume(leads: bool) -> tuple[float, int]:
            if not leads:
                ready.wait()
            with DataClient(uri, _TOKEN) as client:
                first, rows = 0.0, 0
                # One asks for a new reading, and the others come in time to share it.
                for batch in client.stream(table, batch=BATCH, fresh=route == "fresh" and leads):
                    first = first or time.perf_counter()
                    ready.set()
                    rows += batch.rows
            return first, rows

    results: list[tuple[float, int]] = []
    began = time.perf_counter()
    threads = [
        threading.Thread(target=lambda leads=place == 0: results.append(consume(leads))) for place in range(consumers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = time.perf_counter()
    assert len(results) == consumers and len({rows for _, rows in results}) == 1, "a consumer failed"
    return {
        "first_seconds": max(first for first, _ in results) - began,
        "seconds": ended - began,
        "rows": results[0][1],
    }


def _fetchall(dsn: str, table: str) -> tuple[float, int]:
    """The whole table by psycopg2, as one array per column."""
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            arrays = np.array(cursor.fetchall(), dtype=np.int32).T
        return time.perf_counter(), arrays.shape[1]
    finally:
        connection.close()


def _median(document: Document, key: str, **values: object) -> float:
    return statistics.median(row[key] for row in document.select(**values))


def summarise(document: Document) -> list[str]:
    """Medians of every case."""
    rows, repeats = document.rows[0]["rows"], len(document.select(route="fetchall"))
    lines = [
        f"{document.settings['dataset']}_train, {rows:,} rows, batches of {BATCH:,}, medians of {repeats}:",
        f"  {'':26}{'consumers':>9}{'first batch':>14}{'everything':>13}{'rows a second':>16}",
    ]
    for route, label in ROUTES.items():
        for consumers in CONSUMERS:
            if not document.select(route=route, consumers=consumers):
                continue
            first, seconds = (
                _median(document, key, route=route, consumers=consumers) for key in ("first_seconds", "seconds")
            )
            rate = consumers * rows / seconds
            lines.append(f"  {label:26}{consumers:>9}{first:>12.3f} s{seconds:>11.3f} s{rate:>16,.0f}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Time to the first rows by route, and rows a second of all consumers together."""
    figure, (waiting, rate) = plots.panels(2)
    for place, route in enumerate(ROUTES):
        median = _median(document, "first_seconds", route=route, consumers=1)
        waiting.bar(place, median, width=0.6, color=plots.COLOURS[place])
        seconds = [row["first_seconds"] for row in document.select(route=route, consumers=1)]
        waiting.plot([place] * len(seconds), seconds, ".", color="black", markersize=3)
        waiting.annotate(f"{median:.3f} s", (place, max(seconds)), (0, 4), textcoords="offset points", ha="center")
    waiting.set_xticks(range(len(ROUTES)), [label.replace(", ", ",\n") for label in ROUTES.values()], fontsize=7)
    waiting.grid(axis="x", visible=False)
    waiting.set_ylabel("seconds (bar: median, dots: repeats)")
    waiting.set_title("until the first rows can be used")
    rows = document.rows[0]["rows"]
    for place, route in enumerate(ROUTES):
        counts = [n for n in CONSUMERS if document.select(route=route, consumers=n)]
        rates = [n * rows / _median(document, "seconds", route=route, consumers=n) / 1e6 for n in counts]
        rate.plot(counts, rates, "o-", color=plots.COLOURS[place], label=ROUTES[route])
    rate.set_xticks(CONSUMERS)
    rate.set_xlabel("consumers at a time")
    rate.set_ylabel("million rows a second, all together")
    rate.set_ylim(bottom=0)
    rate.legend(fontsize=7)
    rate.set_title(f"{document.settings['dataset']}_train, {rows:,} rows")
    return {"": figure}
