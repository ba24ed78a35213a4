"""Whether the budget that a too small one names works at the first try, and how far it is above what was used."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psycopg2
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document

_TOO_SMALL = "53400"
_TRIED = (2.0, 3.5, 5.0, 7.0, 10.0)
"""Seconds that are asked for."""

_NAMED = re.compile(r"(?:about |=> ')([0-9.]+) s")


@dataclass(frozen=True)
class Plan:
    """A table and what is asked of it.

    Args:
        rows: Of the table.
        numbers: Columns of numbers.
        texts: Columns of texts.
        target: ``binary``, ``classes`` or ``number``.
        arguments: Further arguments of `trails.model_selection`, in SQL.
        validation: Rows of a validation table; 0 to hold rows out.
    """

    rows: int
    numbers: int
    texts: int
    target: str
    arguments: str = ""
    validation: int = 0


PLANS: Mapping[str, Plan] = {
    "few rows": Plan(1_000, 4, 2, "binary"),
    "few rows, kept": Plan(1_000, 4, 2, "binary", "name => 'kept'"),
    "k and u": Plan(100_000, 6, 4, "binary", "k => 1, u => 1"),
    "many rows, k and u": Plan(500_000, 6, 4, "binary", "k => 1, u => 1"),
    "many rows, k and u, kept": Plan(500_000, 6, 4, "binary", "k => 1, u => 1, name => 'kept'"),
    "three at once": Plan(200_000, 6, 4, "binary", "k => 3, u => 2"),
    "many columns": Plan(50_000, 60, 20, "binary"),
    "classes": Plan(100_000, 6, 4, "classes", "k => 2, u => 1, name => 'kept'"),
    "numbers, validation table": Plan(200_000, 6, 4, "number", "u => 1", validation=100_000),
    "metrics paid one by one": Plan(100_000, 6, 4, "binary", "tfmem => 'snip', k => 1, u => 1"),
}


def run(context: Context) -> None:
    """Try what is not recorded yet."""
    plans = dict(list(PLANS.items())[:2]) if context.quick else dict(PLANS)
    missing = {name: plan for name, plan in plans.items() if not context.recorded(plan=name)}
    if not missing:
        return
    with loaded(context, []) as connection:
        for number, (name, plan) in enumerate(missing.items()):
            context.say(f"{name}: {plan.rows:,} rows")
            table, held = _made(connection, f"t{number}", plan), None
            if plan.validation:
                held = _made(connection, f"v{number}", Plan(plan.validation, plan.numbers, plan.texts, plan.target))
            context.record(*_tries(connection, table, held, name, plan))
            sql(connection, f"DROP TABLE {', '.join(filter(None, (table, held)))}")


def _made(connection: Any, name: str, plan: Plan) -> str:
    numbers = [f"random() AS n{n}" for n in range(plan.numbers)]
    texts = [f"'text ' || (random() * {100 * (n + 1)})::int AS t{n}" for n in range(plan.texts)]
    target = {
        "binary": "(n0 + random() > 1.0)::int",
        "classes": "(5 * n0 + random())::int",
        "number": "n0 + random()",
    }[plan.target]
    columns = ", ".join([*numbers, *texts])
    sql(
        connection,
        f"CREATE TABLE {name} AS SELECT *, {target} AS target "
        f"FROM (SELECT {columns} FROM generate_series(1, {plan.rows})) made",
    )
    sql(connection, f"VACUUM ANALYZE {name}")
    return name


def _tries(connection: Any, table: str, held: str | None, name: str, plan: Plan) -> list[dict[str, Any]]:
    """Every budget that is refused, and what comes of the one that it names."""
    rows = []
    for budget in _TRIED:
        refused = _ask(connection, table, held, plan, budget)
        if refused["named"] is None:
            break
        told = _ask(connection, table, held, plan, refused["named"])
        rows.append({"plan": name, **asdict(plan), "budget": budget, "named": refused["named"],
                     "works": told["named"] is None, "wall_seconds": told["seconds"],
                     "refused_seconds": refused["seconds"]})  # fmt: skip
    return rows or [{"plan": name, **asdict(plan), "budget": _TRIED[0], "named": None, "works": True}]


def _ask(connection: Any, table: str, held: str | None, plan: Plan, budget: float) -> dict[str, Any]:
    """Wall seconds of one statement, and the budget that its error names, None if it has none."""
    given = plan.arguments, f"validation => '{held}'" if held else ""
    further = "".join(f", {argument}" for argument in given if argument)
    began, named = time.perf_counter(), None
    try:
        sql(connection, f"SELECT * FROM trails.model_selection('{table}', 'target', '{budget} s'{further})")
    except psycopg2.Error as error:
        found = _NAMED.search(error.diag.message_hint or "")
        if error.pgcode != _TOO_SMALL or found is None:
            raise
        named = float(found[1])
    return {"named": named, "seconds": time.perf_counter() - began}


def summarise(document: Document) -> list[str]:
    """Per plan: what was named, what of it worked."""
    lines = []
    for plan in document.values("plan"):
        rows = [row for row in document.select(plan=plan) if row["named"] is not None]
        worked = sum(row["works"] for row in rows)
        named = ", ".join(f"{row['budget']:g} s named {row['named']:g} s" for row in rows)
        lines.append(f"  {plan}: {worked} of {len(rows)} worked at the first try{': ' * bool(rows)}{named}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """What was named over what was asked for."""
    figure, (axes,) = plots.panels(1)
    rows = [row for row in document.rows if row["named"] is not None]
    for works, label, colour in ((True, "works", plots.COLOURS[0]), (False, "is too small again", plots.COLOURS[1])):
        some = [row for row in rows if row["works"] is works]
        axes.plot([r["budget"] for r in some], [r["named"] for r in some], "o", color=colour, label=label)
    axes.set_xlabel("budget in seconds that was too small")
    axes.set_ylabel("budget in seconds that was named")
    axes.set_title("The smallest budget that is named")
    axes.legend(loc="upper left")
    return {"": figure}
