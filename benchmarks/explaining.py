"""Explaining a model in SQL: importance finds the one column that counts, contributions add up to the score."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document

TABLES, QUICK_TABLES = 20, 3
COLUMNS, VALUES, ROWS = 10, 12, 4_000
KEPT = 0.85
"""Of a made table's rows, the share whose label is what the one column says; the others' is the opposite."""

EXPLAINED, QUICK_EXPLAINED = 300, 50
ALLOWED_RESIDUAL = 0.05
"""Of the range of the scores, what contributions and baseline may leave over."""

_SELECT = (
    "SELECT model FROM trails.model_selection(%s::regclass, 'label', %s::interval, validation => %s::regclass, "
    "n => 200, k => 2, u => 1, seed => %s, options => %s, name => %s) WHERE model IS NOT NULL"
)
_EXPLAIN = (
    "SELECT key, feature, score, contribution, residual FROM trails.explain(%s, 'explained', top => NULL, "
    "background => 'frappe_train', seed => %s)"
)


def run(context: Context) -> None:
    """Do what is not recorded yet: made tables one by one, then rows of Frappe."""
    tables = QUICK_TABLES if context.quick else TABLES
    if len(context.recorded(what="importance")) >= tables and context.recorded(what="explanation"):
        return
    with loaded(context, ["frappe"]) as connection:
        for table in range(len(context.recorded(what="importance")), tables):
            context.say(f"made table {table + 1} of {tables}")
            context.record(_importance(connection, context.seed + table))
        if not context.recorded(what="explanation"):
            context.say("Frappe")
            context.record(*_explanations(connection, context))


def _importance(connection: Any, seed: int) -> dict[str, Any]:
    """One table whose label follows from one column, a model of it, and the ranks that rows held out of it give."""
    true = seed * 7 % COLUMNS
    listed = ", ".join(f"floor(random() * {VALUES})::int AS c{place}" for place in range(COLUMNS))
    sql(connection, f"SELECT setseed({(seed % 1000) / 1000})")
    # Half of the values are positive, every other one: neither a line nor a threshold tells them apart.
    for name, rows in (("public.made", ROWS), ("public.made_valid", ROWS // 4)):
        sql(connection, f"DROP TABLE IF EXISTS {name}")
        sql(
            connection,
            f"CREATE TABLE {name} AS SELECT *, ((c{true} % 2 = 0) = (random() < {KEPT}))::int AS label "
            f"FROM (SELECT i AS id, {listed} FROM generate_series(1, {rows}) i) drawn",
        )
        sql(connection, f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
    options = '{"max_epochs": 4, "refit": false}'
    ((model,),) = sql(connection, _SELECT, "made", "60 s", "made_valid", seed, options, "made")
    found = sql(
        connection,
        "SELECT feature, importance, deviation FROM trails.feature_importance(%s, 'made_valid', seed => %s) "
        "ORDER BY rank",
        model,
        seed,
    )
    return {
        "what": "importance",
        "table": seed,
        "true": f"c{true}",
        "found": found[0][0],
        "importance": found[0][1],
        "deviation": found[0][2],
        "next": found[1][1],
    }


def _explanations(connection: Any, context: Context) -> list[dict[str, Any]]:
    """Rows of Frappe that no model has learnt from, explained twice, with other rows of the background drawn."""
    rows = QUICK_EXPLAINED if context.quick else EXPLAINED
    sql(connection, f"CREATE TABLE public.explained AS SELECT * FROM frappe_test ORDER BY id LIMIT {rows}")
    sql(connection, "ALTER TABLE public.explained ADD PRIMARY KEY (id)")
    options = '{"max_epochs": 1, "refit": false}' if context.quick else '{"max_epochs": 3, "refit": false}'
    ((model,),) = sql(connection, _SELECT, "frappe_train", "120 s", "frappe_valid", context.seed, options, "frappe")
    first, again = ({row[:2]: row[2:] for row in sql(connection, _EXPLAIN, model, seed)} for seed in (1, 2))
    scores = [score for score, _, _ in first.values()]
    reach = max(scores) - min(scores)
    return [
        {
            "what": "explanation",
            "key": key,
            "feature": feature,
            "range": reach,
            "contribution": contribution,
            "residual": residual,
            "other": again[key, feature][1],
        }
        for (key, feature), (_, contribution, residual) in first.items()
    ]


def summarise(document: Document) -> list[str]:
    """How many tables' columns were found, by how much, and what explanations leave over."""
    lines = []
    if made := document.select(what="importance"):
        right = sum(row["found"] == row["true"] for row in made)
        margin = min(row["importance"] - row["next"] for row in made)
        lines.append(
            f"importance: the one true column of {COLUMNS} is first in {right} of {len(made)} made tables; "
            f"it is ahead of the next one by an AUC of {margin:.3f} at least"
        )
    if told := document.select(what="explanation"):
        reach = told[0]["range"]
        residual = max(abs(row["residual"]) for row in told) / reach
        apart = [abs(row["contribution"] - row["other"]) / reach for row in told]
        rows = len({row["key"] for row in told})
        lines += [
            f"explanations of {rows} rows of Frappe, scores over a range of {reach:.3f}: the residual is at most "
            f"{residual:.2e} of it, allowed are {ALLOWED_RESIDUAL:g}",
            f"  contributions by two draws of 64 rows differ by {statistics.median(apart):.4f} of the range (median), "
            f"99 % by less than {sorted(apart)[int(0.99 * len(apart))]:.4f}",
        ]
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Importance of the true column beside that of the next one; contributions by two draws."""
    figure, (left, right) = plots.panels(2, width=3.9)
    made = document.select(what="importance")
    tables = [row["table"] for row in made]
    left.scatter(tables, [row["importance"] for row in made], s=14, color=plots.COLOURS[0], label="first")
    left.scatter(tables, [row["next"] for row in made], s=14, color=plots.COLOURS[1], label="second")
    for row in made:
        if row["found"] != row["true"]:
            left.annotate("wrong", (row["table"], row["importance"]), (0, 4), textcoords="offset points", ha="center")
    left.set_ylim(bottom=min(0, *left.get_ylim()))
    left.set_xlabel("made table")
    left.set_ylabel("importance (AUC)")
    left.set_title(f"One true column of {COLUMNS}")
    left.legend()
    told = document.select(what="explanation")
    right.scatter(
        [row["contribution"] for row in told], [row["other"] for row in told], s=4, alpha=0.4, color=plots.COLOURS[0]
    )
    right.axline((0, 0), slope=1, color="grey", linestyle="--", linewidth=1)
    right.set_xlabel("contribution, one draw of the background")
    right.set_ylabel("another draw")
    right.set_title("Contributions on Frappe")
    return {"": figure}
