"""Both sides of the latency study: the same seeded architectures, scorer, batches and rows, in and out of the database.

The sides differ in how a batch gets to the scorer: from a cursor of the backend, which runs some 2,000 rows ahead, into
typed buffers; or by one query of psycopg2's for each batch, as published. Rows come along the primary key.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks import plots
from benchmarks.database import run as sql
from benchmarks.harness import Row
from trails.filtering.latency import LatencyScorer, parse_config

BATCH_SIZE = 64
PHASES = ("initialisation", "retrieval", "preprocessing", "scoring")
DATA_PATH = ("retrieval", "preprocessing")
IN, OUT = SIDES = ("in database", "out of database")


def measure(connection: Any, dataset: str, models: int) -> tuple[Row, Row]:
    """Seconds by phase and in all of ``models`` architectures, inside and then outside; the dataset is loaded."""
    config = (Path(__file__).parent / "config" / f"{dataset}.ini").read_text()
    return _inside(connection, dataset, models, config), _outside(connection, dataset, models, config)


def _inside(connection: Any, dataset: str, models: int, config: str) -> Row:
    # The server's user may not be able to read this checkout; a folder of our own has a name that nobody can prepare.
    with tempfile.TemporaryDirectory(prefix="trails-") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / f"{dataset}.ini"
        path.write_text(config)
        ((_, initialisation, retrieval, preprocessing, scoring, total),) = sql(
            connection,
            "SELECT * FROM benchmark_filtering_latency_in_db(%s, %s, %s, %s)",
            models,
            dataset,
            BATCH_SIZE,
            str(path),
        )
    phases = dict(zip(PHASES, (initialisation, retrieval, preprocessing, scoring), strict=True))
    return {"side": IN, "models": models, "total": total, **phases}


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
    return {"side": OUT, "models": models, "total": time.perf_counter() - began, **spent}


def median(rows: list[Row], *phases: str) -> float:
    """Seconds that the phases took together; the median over rows of one side."""
    return statistics.median(sum(row[phase] for phase in phases) for row in rows)


def stack(axis: Axes, place: float, rows: list[Row], width: float, labelled: bool) -> float:
    """One bar of seconds by phase, medians of the rows; returns its height."""
    height = 0.0
    for phase, colour in zip(PHASES, plots.COLOURS, strict=False):
        seconds = median(rows, phase)
        axis.bar(place, seconds, bottom=height, width=width, color=colour, label=phase if labelled else None)
        height += seconds
    axis.annotate(
        f"{median(rows, 'total'):.2f} s", (place, height), (0, 3), textcoords="offset points", ha="center", fontsize=8
    )
    return height
