"""Searches that only scores guide: the best score found so far, and the recorded AUC of the architecture that has it.

Random search, regularised evolution and reinforcement learning, as the product has them, look for the highest score
among the recorded architectures; nothing is trained. A design that was not recorded stands for the nearest recorded
one. Scores are told by the share of the table that scores lower, so that metrics can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from benchmarks import plots
from benchmarks._records import DATASETS, FINAL_EPOCH, SEED, latest, open_table, quartiles, table_size
from benchmarks._statistics import Vector, merits, spearman
from benchmarks.harness import Context, Document, Row
from trails.bench.space import RecordedSpace
from trails.filtering.samplers import make_sampler
from trails.filtering.search import GENERATION
from trails.tfmem import REGISTRY

__all__ = ["DATASETS", "draw", "run", "summarise"]

METRICS = ("expressflow", "jacflow", "params")
SAMPLERS = ("random", "evolution", "reinforcement")
_SEEDS = 20
_MOST = 1000
_POINTS = 20
_GROUPS = 20


def run(context: Context) -> None:
    """Search by every metric with every sampler, seed after seed."""
    assert context.dataset is not None
    benchmark = open_table(context.dataset)
    space, final = benchmark.recorded(SEED), FINAL_EPOCH[context.dataset]
    if context.recorded(architectures=space.size):
        return
    common = {"architectures": space.size, "table": table_size(benchmark), "epoch": final}
    aucs = {split: benchmark.column(f"{split}_auc", epoch=final, seed=SEED) for split in ("valid", "test")}
    # All searches have seen the same at the end of a table, so they end half-way.
    count = max(1, min(_MOST, space.size // 2))
    points = np.unique(np.geomspace(1, count, _POINTS).round().astype(int))
    seeds = 5 if context.quick else _SEEDS
    rows: list[Row] = []
    for metric in METRICS:
        scores = merits(benchmark.scores(metric, batch_seed=1), REGISTRY[metric].orientation)
        shares = (stats.rankdata(scores, method="min") - 1) / max(1, scores.size - 1)
        table = _numbers(aucs["valid"])
        rows.append(
            {"what": "table", "metric": metric, "share": shares.round(5).tolist(), "valid_auc": table, **common}
        )
        for sampler in SAMPLERS:
            context.say(f"{context.dataset}: {metric}, {sampler}")
            for seed in range(context.seed, context.seed + seeds):
                best = incumbents(search(space, scores, sampler, count, seed), scores)
                chosen = best[points - 1]
                rows.append(
                    {
                        "what": "search",
                        "metric": metric,
                        "sampler": sampler,
                        "search_seed": seed,
                        "scored": points.tolist(),
                        "share": shares[chosen].round(5).tolist(),
                        **{f"{split}_auc": _numbers(aucs[split][chosen]) for split in aucs},
                        **common,
                    }
                )
    context.record(*rows)


def search(space: RecordedSpace, scores: Vector, sampler: str, count: int, seed: int) -> NDArray[np.int64]:
    """The first ``count`` architectures that a sampler asks for, guided by their scores.

    Args:
        space: Where it looks.
        scores: float64 (space.size,), higher is better, minus infinity where one failed.
        sampler: Its name.
        count: How many.
        seed: Of the sampler.

    Returns:
        int64 (count,), no two alike.
    """
    # Merits are positive, and 0 of a failed score.
    order = np.where(np.isfinite(scores), stats.rankdata(scores) / scores.size, 0.0).tolist()
    source = make_sampler(sampler, space, seed, order.__getitem__)
    asked: list[int] = []
    while len(asked) < count:
        generation = source.ask(min(GENERATION, count - len(asked)))
        for index in generation:
            source.tell(index)
        asked += generation
    return np.array(asked, dtype=np.int64)


def incumbents(asked: NDArray[np.int64], scores: Vector) -> NDArray[np.int64]:
    """Of the architectures asked for so far the one that scores best, the earliest of several: int64 (asked,)."""
    best = np.empty_like(asked)
    for place, index in enumerate(asked):
        before = best[place - 1] if place else index
        best[place] = index if scores[index] > scores[before] else before
    return best


def summarise(document: Document) -> list[str]:
    """What each search has found after ten, a hundred and all that it scored."""
    rows, dataset = latest(document), document.settings["dataset"]
    tables = {row["metric"]: row for row in rows if row["what"] == "table"}
    aucs = np.array(tables[METRICS[0]]["valid_auc"], dtype=np.float64)
    lines = [
        f"{dataset}, {rows[0]['table']}, epoch {rows[0]['epoch']}; validation AUC: median {np.nanmedian(aucs):.5f}, "
        f"best {np.nanmax(aucs):.5f}. Best score so far, as the share that scores lower, and the AUC of its "
        "architecture (medians)"
    ]
    for metric in METRICS:
        found = np.array(tables[metric]["valid_auc"], dtype=np.float64)
        sound = np.isfinite(found)
        agreement = spearman(np.array(tables[metric]["share"])[sound], found[sound])
        for sampler in SAMPLERS:
            searches = _searches(rows, metric, sampler)
            scored = searches[0]["scored"]
            told = []
            for place in sorted({_nearest(scored, 10), _nearest(scored, 100), len(scored) - 1}):
                share = quartiles(one["share"][place] for one in searches)[1]
                auc = quartiles(_values(one["valid_auc"])[place] for one in searches)[1]
                told.append(f"{scored[place]} scored: {share:.3f}, {auc:.5f}")
            lines.append(f"  {metric:12} {sampler:14} {'; '.join(told)}")
        lines.append(f"  {metric:12} Spearman with AUC {agreement:.3f}; AUC of the best score of all "
                     f"{found[int(np.argmax(tables[metric]['share']))]:.5f}")  # fmt: skip
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """A row for each metric: best score so far, its AUC, and score against AUC of the whole table."""
    rows, dataset = latest(document), document.settings["dataset"]
    figure, axes = plots.panels(3, len(METRICS), width=3.5, height=2.5)
    tables = {row["metric"]: row for row in rows if row["what"] == "table"}
    for line, metric in enumerate(METRICS):
        left, middle, right = axes[3 * line : 3 * line + 3]
        label = f"{metric} (control)" if metric == "params" else metric
        table = np.array(tables[metric]["valid_auc"], dtype=np.float64)
        for place, sampler in enumerate(SAMPLERS):
            searches = _searches(rows, metric, sampler)
            _curve(left, searches, "share", plots.COLOURS[place], sampler)
            _curve(middle, searches, "valid_auc", plots.COLOURS[place], sampler)
        left.set_ylabel("share that scores lower")
        left.set_title(f"{label}: best score so far")
        middle.axhline(np.nanmax(table), color="black", linewidth=0.8, linestyle="--", label="table's best")
        middle.axhline(np.nanmedian(table), color="black", linewidth=0.8, linestyle=":", label="table's median")
        middle.set_ylabel("its validation AUC")
        middle.set_title("AUC of the architecture that has it")
        _groups(right, _values(tables[metric]["share"]), table)
        right.set_ylabel("validation AUC")
        right.set_title("all, in groups by score")
        for axis in (left, middle):
            axis.set_xscale("log")
            axis.minorticks_off()
        if line == len(METRICS) - 1:
            left.set_xlabel("architectures scored")
            middle.set_xlabel("architectures scored")
            right.set_xlabel("share that scores lower")
    handles, labels = (a + b for a, b in zip(*(axes[n].get_legend_handles_labels() for n in (1, 2)), strict=True))
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    searches = len(_searches(rows, METRICS[0], SAMPLERS[0]))
    title = f"{dataset}, epoch {rows[0]['epoch']}: {rows[0]['table']}; medians and quartiles of {searches} searches"
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return {"": figure}


def _curve(axis: Axes, searches: Sequence[Row], key: str, colour: str, label: str) -> None:
    scored = searches[0]["scored"]
    values = np.array([quartiles(_values(one[key])[place] for one in searches) for place in range(len(scored))])
    axis.fill_between(scored, values[:, 0], values[:, 2], color=colour, alpha=0.2, linewidth=0)
    axis.plot(scored, values[:, 1], color=colour, label=label)


def _groups(axis: Axes, shares: Vector, aucs: Vector) -> None:
    """Median, quartiles and best AUC of groups of equal size, by score: a point for each would be a large figure."""
    order = np.argsort(shares, kind="stable")
    parts = np.array_split(order, min(_GROUPS, max(1, len(order) // 4)))
    places = [float(shares[part].mean()) for part in parts]
    found = np.array([quartiles(aucs[part]) for part in parts])
    best = [np.nanmax(aucs[part]) if np.isfinite(aucs[part]).any() else np.nan for part in parts]
    axis.fill_between(places, found[:, 0], found[:, 2], color="#888888", alpha=0.3, linewidth=0)
    axis.plot(places, found[:, 1], ".-", color="black", markersize=4, label="a group's median")
    axis.plot(places, best, "_", color="black", label="its best")


def _searches(rows: Sequence[Row], metric: str, sampler: str) -> list[Row]:
    wanted = ("search", metric, sampler)
    return [row for row in rows if (row["what"], row["metric"], row.get("sampler")) == wanted]


def _values(recorded: Sequence[float | None]) -> Vector:
    return np.array(recorded, dtype=np.float64)


def _numbers(values: Vector) -> list[float | None]:
    """None where a training went wrong: JSON has no other word for it."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _nearest(values: Sequence[int], wanted: int) -> int:
    return int(np.argmin(np.abs(np.array(values) - wanted)))
