"""Metrics of the first phase with ways of the second: AUC against the seconds that both took, in recorded selections.

{JacFlow, SynFlow, SNIP, ExpressFlow, params, random order} choose candidates, and successive halving, successive
rejects or full training (every candidate to the last epoch) choose among them. Scoring is paid as the published study
pays it, one architecture at a time. A selection sees four in five of the recorded architectures, drawn with its seed.
Params and random order are controls; a random order costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._records import DATASETS, SEED, latest, open_table, quartiles, table_size
from benchmarks.harness import Context, Document, Row
from trails.bench.simulate import simulate
from trails.errors import BudgetTooSmall

__all__ = ["DATASETS", "draw", "run", "summarise"]

RANDOM = "random order"
METRICS = ("jacflow", "synflow", "snip", "expressflow", "params", RANDOM)
CONTROLS = ("params", RANDOM)
WAYS: Mapping[str, str] = {"sh": "successive halving", "sj": "successive rejects", "full": "full training"}
_SEEDS = 50
_BUDGETS = 8
_SEEN = 0.8


def run(context: Context) -> None:
    """Select with every combination at every budget, seed after seed."""
    assert context.dataset is not None
    benchmark = open_table(context.dataset)
    space = benchmark.recorded(SEED)
    if context.recorded(architectures=space.size):
        return
    common = {"architectures": space.size, "table": table_size(benchmark)}
    epochs = benchmark.setting.epochs
    # From two epochs of one architecture, about, to all epochs of a quarter of them, and of 64 at most.
    each = np.nanmedian([benchmark.seconds(name, epoch=1, seed=SEED) for name in benchmark.architectures])
    most = min(64.0, max(2.0, 0.25 * space.size)) * epochs
    seeds, count = (5, 5) if context.quick else (_SEEDS, _BUDGETS)
    budgets = np.geomspace(2.0, most, count) * each
    pool = max(2, math.floor(_SEEN * space.size))
    rows: list[Row] = []
    for metric in METRICS:
        context.say(f"{context.dataset}: {metric}")
        for way in WAYS:
            for budget in budgets:
                for seed in range(context.seed + 1, context.seed + 1 + seeds):
                    scores = np.random.default_rng(seed).random(space.size) if metric == RANDOM else None
                    try:
                        found = simulate(
                            benchmark,
                            float(budget),
                            tfmem="params" if metric == RANDOM else metric,
                            refinement="ua" if way == "full" else way,
                            u=epochs if way == "full" else None,
                            seed=seed,
                            n=pool,
                            scoring="one",
                            scores=scores,
                            score_seconds=0.0 if metric == RANDOM else None,
                            pool=pool,
                        )
                    except BudgetTooSmall:
                        rows.append({"metric": metric, "way": way, "budget": float(budget), "search_seed": seed,
                                     "seconds": None, **common})  # fmt: skip
                        continue
                    rows.append(
                        {
                            "metric": metric,
                            "way": way,
                            "budget": float(budget),
                            "search_seed": seed,
                            "seconds": found.seconds,
                            "filtering_seconds": found.filtering_seconds,
                            "valid_auc": found.valid_auc,
                            "test_auc": found.test_auc,
                            "k": found.k,
                            "epochs": found.epochs,
                            **common,
                        }
                    )
    best = [benchmark.best(epoch=epoch, seed=SEED).auc for epoch in range(1, epochs + 1)]
    context.record(*rows, {"metric": "table", "best_valid_auc": max(best), **common})


def summarise(document: Document) -> list[str]:
    """Regret of every combination at a short, a middle and the longest budget, by the seconds spent."""
    rows, dataset = latest(document), document.settings["dataset"]
    budgets = sorted({row["budget"] for row in rows if "budget" in row})
    chosen = [budgets[0], budgets[len(budgets) // 2], budgets[-1]]
    best = _best(rows)
    lines = [
        f"{dataset}, {rows[0]['table']}, simulated; median validation AUC and its regret to the table's best "
        f"({best:.5f}) by median seconds spent; none: too few seconds to score and train one"
    ]
    for metric in METRICS:
        for way, title in WAYS.items():
            told = []
            for budget in chosen:
                seconds, auc = _at(rows, metric, way, budget)
                told.append("none" if auc is None else f"{seconds:,.1f} s {auc[1]:.5f} (-{best - auc[1]:.5f})")
            lines.append(f"  {metric:13}{title:20} {'; '.join(told)}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """A panel for each way of refinement, validation and test AUC against seconds spent."""
    rows, dataset = latest(document), document.settings["dataset"]
    figure, axes = plots.panels(3, 2, width=3.6, height=2.8)
    budgets = sorted({row["budget"] for row in rows if "budget" in row})
    for place, (way, title) in enumerate(WAYS.items()):
        for line, split in enumerate(("valid", "test")):
            axis = axes[3 * line + place]
            for number, metric in enumerate(METRICS):
                points = [_at(rows, metric, way, budget, split) for budget in budgets]
                sound = [(seconds, *auc) for seconds, auc in points if auc is not None]
                if not sound:
                    continue
                seconds, low, middle, high = (list(column) for column in zip(*sound, strict=True))
                control = metric in CONTROLS
                colour = "#666666" if control else plots.COLOURS[number]
                label = f"{metric} (control)" if control else metric
                style = {"params": "--", RANDOM: ":"}.get(metric, ".-")
                axis.plot(seconds, middle, style, color=colour, label=label)
                if not control:
                    axis.fill_between(seconds, low, high, color=colour, alpha=0.12, linewidth=0)
            if split == "valid":
                axis.axhline(_best(rows), color="black", linewidth=0.8, label="table's best")
                axis.set_title(title)
            else:
                axis.set_xlabel("seconds spent, scoring included (simulated)")
            axis.set_xscale("log")
            axis.set_ylabel(f"{'validation' if split == 'valid' else 'test'} AUC")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    searches = len({row["search_seed"] for row in rows if "search_seed" in row})
    title = f"{dataset}, simulated on records: {rows[0]['table']}; medians and quartiles of {searches} selections"
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return {"": figure}


def _at(
    rows: Sequence[Row], metric: str, way: str, budget: float, split: str = "valid"
) -> tuple[float, tuple[float, float, float] | None]:
    """Median seconds, and quartiles of AUC; None where most selections had too few seconds."""
    wanted = (metric, way, budget)
    found = [row for row in rows if (row["metric"], row.get("way"), row.get("budget")) == wanted]
    sound = [row for row in found if row["seconds"] is not None]
    if 2 * len(sound) < len(found) or not sound:
        return float("nan"), None
    return float(np.median([row["seconds"] for row in sound])), quartiles(row[f"{split}_auc"] for row in sound)


def _best(rows: Sequence[Row]) -> float:
    return float(next(row["best_valid_auc"] for row in rows if row["metric"] == "table"))
