"""Test AUC of the selected model against the budget: the whole selection, several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.harness import Context, Document, run_pinned

DATASETS = ("frappe", "uci_diabetes", "criteo")
BUDGETS = (10, 20, 60)
_SEEDS = 5

# Measured on the same files, from the datasets' description: (logistic regression, LightGBM).
_ANCHORS = {"frappe": (0.9378, 0.9843), "uci_diabetes": (0.6837, 0.6929), "criteo": (0.7512, 0.7336)}


def run(context: Context) -> None:
    """Run what is not recorded yet: seeds times budgets, each in a process of its own on two cores."""
    budgets, seeds = ((10, 20), 1) if context.quick else (BUDGETS, _SEEDS)
    for seed in range(context.seed, context.seed + seeds):
        for budget in budgets:
            if context.recorded(budget=budget, model_seed=seed):
                continue
            context.say(f"{context.dataset}: {budget} s, seed {seed}")
            row = run_pinned(
                "benchmarks.selection:select", cores=2, dataset=context.dataset, budget=float(budget), seed=seed
            )
            context.record({"budget": budget, "model_seed": seed, **row})


def summarise(document: Document) -> list[str]:
    """Per budget: median and range of the test AUC, the longest wall time."""
    lines = [f"{document.settings['dataset']}, test AUC of the winner:"]
    for budget in document.values("budget"):
        rows = document.select(budget=budget)
        aucs = [row["test_auc"] for row in rows]
        lines.append(
            f"  {budget:3} s  median {statistics.median(aucs):.4f} ({min(aucs):.4f} to {max(aucs):.4f}, "
            f"{len(rows)} seeds), wall at most {max(r['wall'] / budget for r in rows):.3f} of the budget, "
            f"candidates trained {statistics.median(r['trained'] for r in rows):g}"
        )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Test AUC by budget, every seed and the median, beside what other models reach on the same files."""
    figure, (axis,) = plots.panels(1, width=5.4, height=3.6)
    budgets = document.values("budget")
    axis.plot([r["budget"] for r in document.rows], [r["test_auc"] for r in document.rows], "o", markersize=3,
              color=plots.COLOURS[0], alpha=0.5, label="one seed")  # fmt: skip
    medians = [statistics.median(r["test_auc"] for r in document.select(budget=b)) for b in budgets]
    axis.plot(budgets, medians, "-", color=plots.COLOURS[0], label="median")
    linear, trees = _ANCHORS[document.settings["dataset"]]
    axis.axhline(trees, linestyle="--", color=plots.COLOURS[1], label=f"LightGBM, untimed: {trees:.4f}")
    if document.settings["dataset"] != "frappe":  # far below everything else there
        axis.axhline(linear, linestyle=":", color=plots.COLOURS[2], label=f"logistic regression: {linear:.4f}")
    axis.set_xscale("log")
    axis.set_xticks(budgets, [str(budget) for budget in budgets])
    axis.minorticks_off()
    axis.set_xlabel("budget in seconds")
    axis.set_ylabel("test AUC of the winner")
    axis.set_title(f"What a budget buys: {document.settings['dataset']}")
    axis.legend(loc="lower right")
    return {"": figure}
