"""Filtering one architecture at a time on fresh batches: inside the database against psycopg2 outside.

Both sides score the same seeded architectures with the same scorer on the same batches: rows along the primary key,
64 at a time. They differ in how a batch gets to the scorer: from a cursor of the backend into typed buffers, or by a
query of psycopg2's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document, Row
from trails.filtering.latency import LatencyScorer, parse_config

DATASETS = ("frappe", "uci_diabetes", "criteo")
PUBLISHED_MODELS = {"frappe": 5000, "uci_diabetes": 5000, "criteo": 10000}
BATCH_SIZE = 64
PHASES = ("initialisation", "retrieval", "preprocessing", "scoring")
_SIDES = ("in database", "out of database")


def run(context: Context) -> None:
    """Measure the sides in turns, as often as is not recorded yet."""
    assert context.dataset is not None
    # The space with ten widths has 10,000 architectures, so criteo's 10,000 are the whole of it.
    models, repeats = (500, 3) if context.quick else (PUBLISHED_MODELS[context.dataset], 3)
    missing = repeats - len(context.recorded(side=_SIDES[0]))
    if missing <= 0:
        return
    config = (Path(__file__).parent / "config" / f"{context.dataset}.ini").read_text()
    with loaded(context, [context.dataset]) as connection:
        for repeat in range(missing):
            context.say(f"{context.dataset}, {models} models: {repeat + 1} of {missing}")
            context.record(_inside(connection, context.dataset, models, config))
            context.record(_outside(connection, context.dataset, models, config))


def _inside(connection: Any, dataset: str, models: int, config: str) -> Row:
    # The server's user may not be able to read this checkout, so the file goes to the server first.
    path = f"/tmp/trails-{dataset}.ini"
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE IF NOT EXISTS config (line text)")
        cursor.execute("TRUNCATE config")
        for line in config.splitlines():
            cursor.execute("INSERT INTO config VALUES (%s)", (line,))
        cursor.execute(f"COPY config TO '{path}'")
    ((_, initialisation, retrieval, preprocessing, scoring, total),) = sql(
        connection,
        "SELECT * FROM benchmark_filtering_latency_in_db(%s, %s, %s, %s)",
        models,
        dataset,
        BATCH_SIZE,
        path,
    )
    Path(path).unlink(missing_ok=True)
    phases = dict(zip(PHASES, (initialisation, retrieval, preprocessing, scoring), strict=True))
    return {"side": _SIDES[0], "models": models, "total": total, **phases}


def _outside(connection: Any, dataset: str, models: int, config: str) -> Row:
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {dataset}_train LIMIT 0")
        names = [column.name for column in cursor.description][2:]  # id, label, then the features
    columns = ", ".join(["id", "label", *(f'"{name}"' for name in names)])
    spent = dict.fromkeys(PHASES, 0.0)
    initialising = time.perf_counter()
    scorer = LatencyScorer(parse_config(config), models, len(names))
    spent["initialisation"] += time.perf_counter() - initialising
    query = f"SELECT {columns} FROM {dataset}_train WHERE id > %s ORDER BY id LIMIT {BATCH_SIZE}"
    last = -1
    for place in range(models):
        retrieval = time.perf_counter()
        rows = sql(connection, query, last)
        if len(rows) < BATCH_SIZE:
            rows = sql(connection, query, -1)
        last = rows[-1][0]
        retrieved = time.perf_counter()
        matrix = np.array(rows, dtype=np.int64)
        ids, labels = matrix[:, 2:], matrix[:, 1]
        converted = time.perf_counter()
        initialisation, preprocessing, scoring = scorer.score(place, ids, labels)
        spent["retrieval"] += retrieved - retrieval
        spent["preprocessing"] += converted - retrieved + preprocessing
        spent["initialisation"] += initialisation
        spent["scoring"] += scoring
    return {"side": _SIDES[1], "models": models, "total": time.perf_counter() - began, **spent}


def _median(document: Document, side: str, phase: str) -> float:
    return statistics.median(row[phase] for row in document.select(side=side))


def summarise(document: Document) -> list[str]:
    """Seconds by phase on both sides, and the data path's ratio."""
    models = document.rows[0]["models"]
    lines = [f"{document.settings['dataset']}, {models:,} models, batch {BATCH_SIZE}, medians, seconds:"]
    for phase in (*PHASES, "total"):
        inside, outside = (_median(document, side, phase) for side in _SIDES)
        lines.append(f"  {phase:15} in {inside:8.3f}   out {outside:8.3f}   {outside / max(inside, 1e-9):5.2f} x")
    inside, outside = (
        _median(document, side, "retrieval") + _median(document, side, "preprocessing") for side in _SIDES
    )
    lines.append(f"  {'data path':15} in {inside:8.3f}   out {outside:8.3f}   {outside / inside:5.2f} x")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Stacked seconds by phase."""
    figure, (axis,) = plots.panels(1, width=5.2)
    bottoms = [0.0, 0.0]
    for phase, colour in zip(PHASES, plots.COLOURS, strict=False):
        heights = [_median(document, side, phase) for side in _SIDES]
        axis.bar(_SIDES, heights, bottom=bottoms, width=0.55, color=colour, label=phase)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    for place, side in enumerate(_SIDES):
        axis.annotate(
            f"{_median(document, side, 'total'):.2f} s", (place, bottoms[place]), (0, 3),
            textcoords="offset points", ha="center",
        )  # fmt: skip
    axis.set_ylim(0, 1.15 * max(bottoms))
    axis.grid(axis="x", visible=False)
    axis.set_ylabel("seconds, medians of the repeats")
    axis.set_title(f"{document.settings['dataset']}: {document.rows[0]['models']:,} models, batch {BATCH_SIZE}")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return {"": figure}
