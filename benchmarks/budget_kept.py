"""Wall seconds of the whole statement against its budget, and the validation AUC that it reaches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document

DATASETS = ("frappe", "uci_diabetes", "criteo")
BUDGETS = (10, 30, 60, 300)
_SEEDS = 3
_LONG = 100
"""From this budget on one seed is enough."""

_STATEMENT = "SELECT * FROM trails.model_selection(%s::regclass, 'label', %s, validation => %s::regclass, seed => %s)"


def run(context: Context) -> None:
    """Run what is not recorded yet: budgets times seeds."""
    budgets, seeds = ((10, 60), 1) if context.quick else (BUDGETS, _SEEDS)
    wanted = [(b, context.seed + s) for s in range(seeds) for b in budgets if s == 0 or b < _LONG]
    missing = [(b, s) for b, s in wanted if not context.recorded(budget=b, model_seed=s)]
    if not missing or context.dataset is None:
        return
    with loaded(context, [context.dataset]) as connection:
        for budget, seed in missing:
            context.say(f"{context.dataset}: {budget} s, seed {seed}")
            train, validation = f"{context.dataset}_train", f"{context.dataset}_valid"
            began = time.perf_counter()
            leaderboard = sql(connection, _STATEMENT, train, f"{budget} s", validation, seed)
            wall = time.perf_counter() - began
            ((n, k, u, state, start, reading, filtering),) = sql(
                connection,
                "SELECT n, k, u, state, start_seconds, reading_seconds, filtering_seconds FROM trails.runs "
                "ORDER BY run_id DESC LIMIT 1",
            )
            context.record(
                {
                    "budget": budget,
                    "model_seed": seed,
                    "wall_seconds": wall,
                    "validation_metric": leaderboard[0][3],
                    "architecture": leaderboard[0][1],
                    "epochs": leaderboard[0][4],
                    "trained": len(leaderboard),
                    "n": n,
                    "k": k,
                    "u": u,
                    "state": state,
                    "start_seconds": start,
                    "reading_seconds": reading,
                    "filtering_seconds": filtering,
                }
            )


def summarise(document: Document) -> list[str]:
    """Per budget: the longest wall time, the median and the range of the AUC."""
    lines = [f"{document.settings['dataset']}:"]
    for budget in document.values("budget"):
        rows = document.select(budget=budget)
        aucs = [row["validation_metric"] for row in rows]
        lines.append(
            f"  {budget:3} s  longest wall {max(r['wall_seconds'] for r in rows):.2f} s  "
            f"validation AUC {statistics.median(aucs):.4f} ({min(aucs):.4f} to {max(aucs):.4f}, {len(rows)} seeds)"
        )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Wall over budget with the promised limit, and AUC by budget."""
    figure, (left, right) = plots.panels(2)
    budgets = document.values("budget")
    limit = [1.05 + 0.5 / budget for budget in budgets]
    left.plot(budgets, limit, "--", color=plots.COLOURS[1], label="promise: 1.05 + 0.5 s")
    left.plot([r["budget"] for r in document.rows], [r["wall_seconds"] / r["budget"] for r in document.rows], "o",
              markersize=4, label="measured")  # fmt: skip
    left.set_ylim(0, 1.2)
    left.set_xlabel("budget in seconds")
    left.set_ylabel("wall time / budget")
    left.set_title("The budget is kept")
    left.legend(loc="lower right")
    right.plot([r["budget"] for r in document.rows], [r["validation_metric"] for r in document.rows], "o", markersize=4)
    medians = [statistics.median(r["validation_metric"] for r in document.select(budget=b)) for b in budgets]
    right.plot(budgets, medians, "-", color=plots.COLOURS[0])
    right.set_xlabel("budget in seconds")
    right.set_ylabel("validation AUC of the winner")
    right.set_title(f"{document.settings['dataset']}, line: median over seeds")
    return {"": figure}
