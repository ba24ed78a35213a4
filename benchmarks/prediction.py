"""Predictions in SQL on one core: rows a second of a whole table, by phase, and microseconds of a single row."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document
from trails.model.store import Model, digest
from trails.table.columns import Column, Columns
from trails.table.encoder import Encoder
from trails.table.target import Target

DATASETS = ("frappe", "uci_diabetes", "criteo")
WIDTHS = (128, 128, 128, 128)
EMBEDDING = 10
PHASES = ("read", "encode", "forward", "write")
_SINGLE_ROWS = 1000


def run(context: Context) -> None:
    """Measure the repeats that are not recorded yet. The weights are random: speed does not depend on them."""
    repeats = 5 if context.quick else 15
    missing = repeats - len(context.recorded(way="table"))
    if missing <= 0 or context.dataset is None:
        return
    table = f"{context.dataset}_train"
    with loaded(context, [context.dataset]) as connection:
        model = random_model(connection, table, context.seed)
        store_model(connection, table, model)
        rows = sql(connection, f"SELECT count(*) FROM {table}")[0][0]
        sql(connection, "SET trails.virtualenv = ''")  # nothing here may need an interpreter
        sql(connection, "SELECT count(*) FROM trails.predict('bench', %s::regclass)", table)
        for repeat in range(missing):
            context.say(f"{table}: {repeat + 1} of {missing}")
            _whole_table(context, connection, table, rows)
            _phases(context, connection, table)
            _record_by_record(context, connection, table, rows)
            _single_rows(context, connection, table)


def _whole_table(context: Context, connection: Any, table: str, rows: int) -> None:
    for way, memory in (("table", "4MB"), ("table in memory", "1GB")):
        sql(connection, f"SET work_mem = '{memory}'")
        seconds = _seconds(connection, "SELECT count(*) FROM trails.predict('bench', %s::regclass)", table)
        context.record({"way": way, "rows": rows, "seconds": seconds})
    sql(connection, "RESET work_mem")


def _phases(context: Context, connection: Any, table: str) -> None:
    for phase, rows, seconds, _ in sql(
        connection, "SELECT * FROM trails.profile_prediction('bench', %s::regclass)", table
    ):
        context.record({"way": "phase", "phase": phase, "rows": rows, "seconds": seconds})


def _record_by_record(context: Context, connection: Any, table: str, rows: int) -> None:
    sql(connection, "SET max_parallel_workers_per_gather = 0")
    seconds = _seconds(connection, f"SELECT count(trails.predict_score('bench', t)) FROM {table} t")
    context.record({"way": "records", "rows": rows, "seconds": seconds})
    sql(connection, "RESET max_parallel_workers_per_gather")


def _single_rows(context: Context, connection: Any, table: str) -> None:
    """One statement a row, prepared, from the client; and the same row without a prediction, to compare with."""
    keys = [key for (key,) in sql(connection, f"SELECT id FROM {table} ORDER BY id LIMIT {_SINGLE_ROWS}")]
    for way, column in (("single", "trails.predict('bench', t)"), ("row alone", "t.label")):
        sql(connection, f"PREPARE one (bigint) AS SELECT {column} FROM {table} t WHERE id = $1")
        spent = []
        with connection.cursor() as cursor:
            for key in keys:
                began = time.perf_counter()
                cursor.execute(f"EXECUTE one ({key})")
                cursor.fetchall()
                spent.append(time.perf_counter() - began)
        sql(connection, "DEALLOCATE one")
        context.record({"way": way, "rows": 1, "seconds": statistics.median(spent)})


def _seconds(connection: Any, statement: str, *parameters: object) -> float:
    began = time.perf_counter()
    sql(connection, statement, *parameters)
    return time.perf_counter() - began


def random_model(connection: Any, table: str, seed: int) -> Model:
    """A network of random weights for a table of whole numbers, `id` and the target `label`."""
    names = sql(
        connection,
        "SELECT quote_ident(attname), attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
        "AND attname NOT IN ('id', 'label') ORDER BY attnum",
        table,
    )
    cells = np.array(sql(connection, f"SELECT {', '.join(quoted for quoted, _ in names)} FROM {table}"), np.int32)
    columns = Columns(len(cells), tuple(Column(n, "int32", cells[:, place]) for place, (_, n) in enumerate(names)))
    encoder = Encoder.fit(columns)
    random = np.random.default_rng(seed)
    sizes = [len(names) * EMBEDDING, *WIDTHS, 1]
    layers = tuple(
        ((random.normal(size=pair) / pair[0] ** 0.5).astype(np.float32), random.normal(size=pair[1]).astype(np.float32))
        for pair in pairwise(sizes)
    )
    embedding = random.normal(size=(encoder.ids, EMBEDDING)).astype(np.float32)
    target = Target("label", "integer", "binary", np.empty(0), ("0", "1"))
    return Model.of_layers("-".join(map(str, WIDTHS)), target, encoder, embedding, layers)


def store_model(connection: Any, table: str, model: Model) -> None:
    """Keeps it as `bench`, version 1."""
    blob = model.to_bytes()
    sql(
        connection,
        "INSERT INTO trails.models (name, version, task, architecture, source, target, columns, classes, encoder,"
        " metrics, digest, weights) VALUES ('bench', 1, 'binary', %s, %s, 'label', %s, %s, '[]', '{}', %s, %s)",
        model.architecture,
        f"public.{table}",
        json.dumps(dict(model.encoder.columns)),
        list(model.target.classes),
        digest(blob),
        blob,
    )


def _median(rows: Sequence[Mapping[str, Any]]) -> float:
    return statistics.median(row["seconds"] for row in rows)


def summarise(document: Document) -> list[str]:
    """Medians, and the best repeat, which others who use the machine disturb least."""
    dataset = document.settings["dataset"]
    whole = document.select(way="table")
    count = whole[0]["rows"]
    lines = [f"{dataset}_train, {count:,} rows, {'-'.join(map(str, WIDTHS))}, one core, {len(whole)} repeats:"]
    for way, text in (
        ("table", "trails.predict(model, table), work_mem 4 MB"),
        ("table in memory", "trails.predict(model, table), work_mem 1 GB"),
        ("records", "trails.predict_score(model, row) of every row"),
    ):
        rows = document.select(way=way)
        best = min(row["seconds"] for row in rows)
        lines.append(f"  {text:<48} {count / _median(rows):>10,.0f} rows/s (best {count / best:,.0f})")
    for phase in ("load", *PHASES):
        seconds = _median(document.select(way="phase", phase=phase))
        rate = "" if phase == "load" else f"   {count / seconds:>14,.0f} rows/s"
        lines.append(f"    {phase:<8} {seconds * 1e3:9.2f} ms{rate}")
    single, alone = _median(document.select(way="single")), _median(document.select(way="row alone"))
    lines.append(
        f"  one row a statement: {single * 1e6:.0f} us from the client, {(single - alone) * 1e6:.0f} us more than "
        "selecting the row alone"
    )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Microseconds a row, by phase."""
    figure, (axis,) = plots.panels(1, width=4.6)
    begin = 0.0
    for place, phase in enumerate(PHASES):
        rows = document.select(way="phase", phase=phase)
        micros = _median(rows) / rows[0]["rows"] * 1e6
        axis.bar(0, micros, width=0.5, bottom=begin, color=plots.COLOURS[place], label=phase)
        begin += micros
    for place, way in enumerate(("table", "records"), start=1):
        rows = document.select(way=way)
        micros = _median(rows) / rows[0]["rows"] * 1e6
        axis.bar(place, micros, width=0.5, color="grey")
        axis.annotate(f"{1e6 / micros:,.0f}\nrows/s", (place, micros), (0, 3), textcoords="offset points", ha="center")
    axis.set_xticks(range(3), ["phases", "whole table", "row by row"])
    axis.set_ylim(0, 1.3 * max(begin, axis.get_ylim()[1]))
    axis.grid(axis="x", visible=False)
    axis.set_ylabel("microseconds a row (medians)")
    axis.set_title(f"{document.settings['dataset']}, {'-'.join(map(str, WIDTHS))}, one core")
    axis.legend()
    return {"": figure}
