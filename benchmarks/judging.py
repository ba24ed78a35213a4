"""Judging a model in SQL on one core: evaluate against predict on the same rows, and importance of fifty columns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document
from benchmarks.prediction import random_model, store_model

ROWS, QUICK_ROWS = 1_000_000, 100_000
COLUMNS = 10
WIDE_COLUMNS, WIDE_ROWS, SAMPLE, IMPORTANCE_REPEATS = 50, 20_000, 5_000, 3
ALLOWED_RATIO, ALLOWED_SECONDS = 1.3, 2.0
"""What evaluate may take of predict's time, and how long the importance of fifty columns may."""

_WAYS = {
    "predict": "SELECT count(*) FROM trails.predict('bench', 'judged'::regclass)",
    "evaluate": "SELECT count(*) FROM trails.evaluate('bench', 'judged')",
    "confusion_matrix": "SELECT count(*) FROM trails.confusion_matrix('bench', 'judged')",
    "threshold_curve": "SELECT count(*) FROM trails.threshold_curve('bench', 'judged')",
}
_IMPORTANCE = (
    "SELECT min(repeats) FROM trails.feature_importance('bench', 'judged', repeats => %s, sample_rows => %s, "
    "budget => '10 minutes')"
)


def run(context: Context) -> None:
    """Measure the repeats that are not recorded yet, in turns. Weights are random: speed does not depend on them."""
    repeats = 3 if context.quick else 9
    rows = QUICK_ROWS if context.quick else ROWS
    if len(context.recorded(way="importance")) >= repeats:
        return
    with loaded(context, []) as connection:
        sql(connection, "SET trails.virtualenv = ''")  # nothing here may need an interpreter
        _make(connection, COLUMNS, rows, context.seed)
        sql(connection, _WAYS["predict"])
        for repeat in range(repeats - len(context.recorded(way="evaluate"))):
            context.say(f"{rows:,} rows: {repeat + 1} of {repeats}")
            for way, statement in _WAYS.items():
                context.record({"way": way, "rows": rows, "seconds": _seconds(connection, statement)})
        sql(connection, "DROP TABLE judged, sampled; DELETE FROM trails.models")
        _make(connection, WIDE_COLUMNS, WIDE_ROWS, context.seed)
        for _ in range(repeats - len(context.recorded(way="importance"))):
            seconds = _seconds(connection, _WAYS["predict"])
            context.record({"way": "wide predict", "rows": WIDE_ROWS, "columns": WIDE_COLUMNS, "seconds": seconds})
            seconds = _seconds(connection, _IMPORTANCE, IMPORTANCE_REPEATS, SAMPLE)
            context.record({"way": "importance", "rows": SAMPLE, "columns": WIDE_COLUMNS, "seconds": seconds})


def _make(connection: Any, columns: int, rows: int, seed: int) -> None:
    """The table `judged` of whole numbers and a label, and a model for it, fitted on the first rows."""
    listed = ", ".join(f"mod(i * {7919 + 2 * place}, {50 + 13 * place})::int AS c{place}" for place in range(columns))
    sql(
        connection,
        f"CREATE TABLE judged AS SELECT i AS id, mod(i * 104729, 7) %% 2 AS label, {listed} "
        "FROM generate_series(1::bigint, %s) i",
        rows,
    )
    sql(connection, "ALTER TABLE judged ALTER label TYPE int")
    sql(connection, "CREATE TABLE sampled AS SELECT * FROM judged LIMIT 20000")
    sql(connection, "VACUUM ANALYZE judged")
    store_model(connection, "judged", random_model(connection, "sampled", seed))


def _seconds(connection: Any, statement: str, *parameters: object) -> float:
    began = time.perf_counter()
    sql(connection, statement, *parameters)
    return time.perf_counter() - began


def _of(document: Document, way: str) -> list[float]:
    return [row["seconds"] for row in document.select(way=way)]


def _ratios(document: Document, way: str) -> list[float]:
    """What a way took of predict's time, turn by turn, so that what else the machine does falls on both."""
    return [mine / other for mine, other in zip(_of(document, way), _of(document, "predict"), strict=False)]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def summarise(document: Document) -> list[str]:
    """Medians and ranges, with what is allowed beside them."""
    rows = document.select(way="predict")[0]["rows"]
    predict = _of(document, "predict")
    lines = [
        f"{rows:,} rows of {COLUMNS} columns, one core: trails.predict takes {statistics.median(predict):.2f} s; "
        "times that in turns, median (range):"
    ]
    for way in list(_WAYS)[1:]:
        allowed = f", allowed are {ALLOWED_RATIO}" if way == "evaluate" else ""
        lines.append(f"  {way:<18} {_spread(_ratios(document, way))}{allowed}")
    lines.append(
        f"  importance of {WIDE_COLUMNS} columns, {IMPORTANCE_REPEATS} repeats of {SAMPLE:,} rows: "
        f"{_spread(_of(document, 'importance'))} s, allowed are {ALLOWED_SECONDS:g} s"
    )
    # Each repeat of a column predicts the sample anew, and once it is predicted as it is.
    predicted = (WIDE_COLUMNS * IMPORTANCE_REPEATS + 1) * SAMPLE
    pairs = zip(_of(document, "importance"), _of(document, "wide predict"), strict=False)
    shares = [mine / (other / WIDE_ROWS * predicted) for mine, other in pairs]
    lines.append(f"    {_spread(shares)} times what trails.predict takes for as many rows ({predicted:,})")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Ratios to predict, and seconds of the importance, each turn a dot."""
    figure, (left, right) = plots.panels(2, width=3.9)
    ways = list(_WAYS)[1:]
    for place, way in enumerate(ways):
        ratios = _ratios(document, way)
        left.scatter([place] * len(ratios), ratios, s=14, color=plots.COLOURS[0], alpha=0.6)
        left.scatter([place], [statistics.median(ratios)], marker="_", s=400, color=plots.COLOURS[1])
    left.axhline(ALLOWED_RATIO, color="grey", linestyle="--", linewidth=1)
    left.annotate(
        "allowed to evaluate", (len(ways) - 1, ALLOWED_RATIO), (0, 4), textcoords="offset points", ha="center"
    )
    left.set_xticks(range(len(ways)), [way.replace("_", "\n") for way in ways])
    left.set_xlim(-0.6, len(ways) - 0.4)
    left.set_ylim(0, max(1.5, 1.1 * left.get_ylim()[1]))
    left.set_ylabel("times the seconds of predict")
    left.set_title(f"{document.select(way='predict')[0]['rows']:,} rows, one core")
    seconds = _of(document, "importance")
    right.scatter([0] * len(seconds), seconds, s=14, color=plots.COLOURS[0], alpha=0.6)
    right.scatter([0], [statistics.median(seconds)], marker="_", s=400, color=plots.COLOURS[1])
    right.axhline(ALLOWED_SECONDS, color="grey", linestyle="--", linewidth=1)
    right.set_xticks([0], ["feature_importance"])
    right.set_xlim(-0.8, 0.8)
    right.set_ylim(0, max(1.2 * ALLOWED_SECONDS, 1.1 * max(seconds)))
    right.set_ylabel("seconds")
    right.set_title(f"{WIDE_COLUMNS} columns x {IMPORTANCE_REPEATS} x {SAMPLE:,} rows")
    return {"": figure}
