"""Which scheduler finds more in the same recorded seconds: halving, rejects, uniform allocation, Hyperband.

The published study gives successive halving, successive rejects and uniform allocation the same candidates and the same
budget. So does the first half here: K candidates, drawn of the table and in random order, so that refinement alone is
compared. In the second half the coordinator plans K for the budget, as the product does. All of it is the product's own
refinement on the recorded clock, 100 times. Successive halving is run twice: with survivors that go on from their
weights and, as published, with survivors that start over in every rung.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._records import DATASETS, open_table, table_size
from benchmarks._selections import (
    band,
    epoch_seconds,
    half,
    middle,
    noise_line,
    random_order,
    reachable,
    row_of,
    seed_noise,
)
from benchmarks.harness import Context, Document
from trails.bench.simulate import simulate

__all__ = ["DATASETS", "draw", "run", "summarise"]

ALGORITHMS: Mapping[str, tuple[str, str, str]] = {
    "sh": ("sh", "continue", "successive halving, survivors go on"),
    "sh_restart": ("sh", "restart", "successive halving, survivors start over (published)"),
    "sj": ("sj", "continue", "successive rejects"),
    "ua": ("ua", "continue", "uniform allocation"),
    "hyperband": ("hyperband", "continue", "Hyperband"),
}

FACTORS = (1.2, 1.7, 2.5, 3.5, 5.0, 7.0, 10.0)
"""Budgets, in mean epochs for each of the K candidates: what is drawn is what was spent."""

RUNS, QUICK_RUNS = 100, 12

MOST = 30
"""Candidates, where the table has twice as many."""

PLANS = {"fixed": "all candidates are trained", "planned": "the coordinator plans K"}


def run(context: Context) -> None:
    """Simulate what is not recorded yet."""
    benchmark = open_table(str(context.dataset))
    pool = min(MOST, half(benchmark))
    each = epoch_seconds(benchmark)
    context.note(table=table_size(benchmark), pool=pool, seed_noise=seed_noise(benchmark))
    seeds = range(context.seed, context.seed + (QUICK_RUNS if context.quick else RUNS))
    reached = {seed: reachable(benchmark, pool, seed) for seed in seeds}
    for plan in PLANS:
        for factor in FACTORS[::2] if context.quick else FACTORS:
            for name, (refinement, survivors, _) in ALGORITHMS.items():
                if context.recorded(plan=plan, algorithm=name, factor=factor):
                    continue
                context.say(f"{context.dataset}: {name}, {plan}, {factor} epochs a candidate")
                rows = []
                for seed in seeds:
                    found = simulate(
                        benchmark,
                        1.0 + factor * pool * each,
                        scores=random_order(benchmark, seed),
                        refinement=refinement,
                        survivors=survivors,  # type: ignore[arg-type]
                        k=pool if plan == "fixed" else None,
                        pool=pool,
                        seed=seed,
                    )
                    row = row_of(found, reached[seed])
                    rows.append({"plan": plan, "algorithm": name, "factor": factor, "run": seed, **row})
                context.record(*rows)


def draw(document: Document) -> Mapping[str, Figure]:
    """Regret against seconds spent; and the test AUC."""
    regret = _figure(document, "regret", "validation AUC below the pool's best")
    return {"": regret, "test": _figure(document, "test_auc", "test AUC of the winner")}


def _figure(document: Document, key: str, label: str) -> Figure:
    figure, axes = plots.panels(2, width=4.7, height=3.9)
    pool, dataset = _note(document, "pool"), document.settings["dataset"]
    for axis, (plan, title) in zip(axes, PLANS.items(), strict=True):
        for colour, (name, (_, _, algorithm)) in zip(plots.COLOURS, ALGORITHMS.items(), strict=False):
            groups = _groups(document, plan, name)
            points = [(middle(rows, "seconds"), [float(row[key]) for row in rows]) for rows in groups]
            band(axis, points, colour, algorithm, "--" if name == "sh_restart" else "-")
        if key == "test_auc":
            best = middle(document.rows, "best_test_auc")
            axis.axhline(best, color="#888888", linewidth=0.9, linestyle=":", label="all trained to the end")
        axis.set_xscale("log")
        axis.set_xlabel("recorded seconds spent, one core (median)")
        axis.set_ylabel(label)
        axis.set_title(f"{dataset} (simulated): {title}", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=7.5)
    axes[1].text(
        0.98,
        0.98,
        f"{pool} candidates of\n{_note(document, 'table')}",
        transform=axes[1].transAxes,
        ha="right",
        va="top",
        fontsize=7,
    )
    return figure


def summarise(document: Document) -> list[str]:
    """Per budget the medians, and in how many pairs of runs successive halving is the better one."""
    dataset = str(document.settings["dataset"])
    lines = [f"{dataset}, {_note(document, 'table')}, {_note(document, 'pool')} candidates:"]
    for plan, title in PLANS.items():
        lines.append(f" {title}; median seconds: regret in validation AUC, test AUC")
        for name in ALGORITHMS:
            cells = [
                f"{middle(rows, 'seconds'):.0f} s: {middle(rows, 'regret'):.4f}, {middle(rows, 'test_auc'):.4f}"
                for rows in _groups(document, plan, name)
            ]
            lines.append(f"  {name:10}  " + "  ".join(cells))
        for other in ("sj", "ua", "hyperband", "sh_restart"):
            pairs = _pairs(document, plan, "sh", other)
            better, worse = sum(a < b for a, b in pairs) / len(pairs), sum(a > b for a, b in pairs) / len(pairs)
            lines.append(f"  sh is better than {other} in {better:.0%} of the pairs of runs, worse in {worse:.0%}")
    lines.append(" published: successive halving is chosen as the best of the three, with survivors that start over")
    lines.append(f" {noise_line(document)}")
    return lines


def _groups(document: Document, plan: str, name: str) -> list[list[dict[str, Any]]]:
    factors = document.values("factor")
    return [document.select(plan=plan, algorithm=name, factor=factor) for factor in factors]


def _pairs(document: Document, plan: str, one: str, other: str) -> Sequence[tuple[float, float]]:
    found = {(r["factor"], r["run"]): float(r["regret"]) for r in document.select(plan=plan, algorithm=other)}
    rows = document.select(plan=plan, algorithm=one)
    return [(float(r["regret"]), found[r["factor"], r["run"]]) for r in rows]


def _note(document: Document, name: str) -> Any:
    return document.sessions[0][name]
