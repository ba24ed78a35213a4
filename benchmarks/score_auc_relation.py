"""Searches that only scores guide: the best score found so far, and the recorded quality of what has it.

Random search, regularised evolution and reinforcement learning, as the product has them, look for the highest score
among the recorded architectures, of tables or cells for pictures; nothing is trained. A design that was not recorded
stands for the nearest recorded one. Scores are told by the share of the table that scores lower, so that metrics can be
compared. Quality is AUC, and accuracy in percent of cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from benchmarks import _cells, _records, plots
from benchmarks._cells import found, missing, newest
from benchmarks._records import FINAL_EPOCH, SEED, open_table, quartiles, table_size
from benchmarks._statistics import Vector, merits, or_none, spearman
from benchmarks.harness import Context, Document, Row
from trails.bench.space import RecordedSpace
from trails.filtering.samplers import make_sampler
from trails.filtering.search import GENERATION
from trails.tfmem import REGISTRY

__all__ = ["DATASETS", "draw", "missing", "run", "summarise"]

DATASETS = (*_records.DATASETS, *_cells.DATASETS)

METRICS = ("expressflow", "jacflow", "params")
SAMPLERS = ("random", "evolution", "reinforcement")
_SEEDS = 20
_MOST = 1000
_POINTS = 20
_GROUPS = 20


@dataclass(frozen=True)
class _Searched:
    """What is searched.

    Args:
        space: The recorded architectures.
        merits: float64 (architectures,) by metric, higher is better, minus infinity where a score failed.
        valid: float64 (architectures,): validation AUC or accuracy.
        final: Of the test rows or pictures; where there are none, of validation.
        facts: For every row: ``table`` is its size in words, ``quality`` what is drawn, ``digits`` of it.
    """

    space: RecordedSpace
    merits: Mapping[str, Vector]
    valid: Vector
    final: Vector
    facts: Row


def _table(dataset: str) -> _Searched:
    benchmark = open_table(dataset)
    final = FINAL_EPOCH[dataset]
    aucs = [benchmark.column(f"{split}_auc", epoch=final, seed=SEED) for split in ("valid", "test")]
    scores = {name: merits(benchmark.scores(name, batch_seed=1), REGISTRY[name].orientation) for name in METRICS}
    facts = {"table": f"epoch {final}: {table_size(benchmark)}", "quality": "AUC", "digits": 5}
    return _Searched(benchmark.recorded(SEED), scores, aucs[0], aucs[1], facts)


def _pictures(dataset: str) -> _Searched:
    cells = _cells.open_cells(dataset)
    chosen = cells.many
    space = RecordedSpace(cells.benchmark.space, cells.benchmark.recorded().recorded[chosen].tolist())
    scores = {name: cells.merits(name)[chosen] for name in METRICS if cells.covers(name, chosen)}
    table = f"{cells.ladder[-1]} epochs: {cells.told(chosen)}"
    facts = {"table": table, "quality": "accuracy (%)", "digits": 2}
    return _Searched(space, scores, cells.valid[chosen, -1], cells.final[chosen], facts)


def run(context: Context) -> None:
    """Search by every metric with every sampler, seed after seed."""
    assert context.dataset is not None
    searched = (_pictures if context.dataset in _cells.DATASETS else _table)(context.dataset)
    space, seeds = searched.space, 5 if context.quick else _SEEDS
    common = {"architectures": space.size, "metrics": "+".join(searched.merits), **searched.facts}
    if context.recorded(architectures=space.size, metrics=common["metrics"]):
        return
    # All searches have seen the same at the end of a table, so they end half-way.
    count = max(1, min(_MOST, space.size // 2))
    points = np.unique(np.geomspace(1, count, _POINTS).round().astype(int))
    rows: list[Row] = []
    for metric, scores in searched.merits.items():
        shares = (stats.rankdata(scores, method="min") - 1) / max(1, scores.size - 1)
        best = searched.valid[int(np.argmax(shares))]
        sound = np.isfinite(searched.valid)
        agreement = or_none(spearman(shares[sound], searched.valid[sound]))
        facts = {"spearman": agreement, "of_best_score": or_none(best), "groups": _grouped(shares, searched.valid)}
        facts |= {"median": float(np.nanmedian(searched.valid)), "best": float(np.nanmax(searched.valid))}
        rows.append({"what": "table", "metric": metric, **facts, **common})
        for sampler in SAMPLERS:
            context.say(f"{context.dataset}: {metric}, {sampler}")
            for seed in range(context.seed, context.seed + seeds):
                chosen = incumbents(search(space, scores, sampler, count, seed), scores)[points - 1]
                rows.append(
                    {
                        "what": "search",
                        "metric": metric,
                        "sampler": sampler,
                        "search_seed": seed,
                        "scored": points.tolist(),
                        "share": shares[chosen].round(5).tolist(),
                        "valid": _numbers(searched.valid[chosen]),
                        "final": _numbers(searched.final[chosen]),
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
    rows, dataset = newest(document), document.settings["dataset"]
    tables = {row["metric"]: row for row in rows if row["what"] == "table"}
    one = rows[0]
    digits, quality = one["digits"], one["quality"]
    lines = [
        f"{dataset}, {one['table']}; validation {quality}: median {one['median']:.{digits}f}, best "
        f"{one['best']:.{digits}f}. Best score so far, as the share that scores lower, and the {quality} of its "
        "architecture (medians)"
    ]
    for metric, table in tables.items():
        for sampler in SAMPLERS:
            searches = _searches(rows, metric, sampler)
            scored = searches[0]["scored"]
            told = []
            for place in sorted({_nearest(scored, 10), _nearest(scored, 100), len(scored) - 1}):
                share = quartiles(one["share"][place] for one in searches)[1]
                reached = quartiles(_values(one["valid"])[place] for one in searches)[1]
                told.append(f"{scored[place]} scored: {share:.3f}, {reached:.{digits}f}")
            lines.append(f"  {metric:12} {sampler:14} {'; '.join(told)}")
        agreement, best = (np.nan if table[key] is None else table[key] for key in ("spearman", "of_best_score"))
        lines.append(f"  {metric:12} Spearman with {quality.split()[0]} {agreement:.3f}; {quality} of the best score "
                     f"of all {best:.{digits}f}")  # fmt: skip
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """A row for each metric: best score so far, its quality, and score against quality of the whole table."""
    rows, dataset = newest(document), document.settings["dataset"]
    tables = {row["metric"]: row for row in rows if row["what"] == "table"}
    figure, axes = plots.panels(3, len(tables), width=3.5, height=2.5)
    quality = rows[0]["quality"]
    for line, (metric, table) in enumerate(tables.items()):
        left, middle, right = axes[3 * line : 3 * line + 3]
        label = f"{metric} (control)" if metric == "params" else metric
        for place, sampler in enumerate(SAMPLERS):
            searches = _searches(rows, metric, sampler)
            _curve(left, searches, "share", plots.COLOURS[place], sampler)
            _curve(middle, searches, "valid", plots.COLOURS[place], sampler)
        left.set_ylabel("share that scores lower")
        left.set_title(f"{label}: best score so far")
        middle.axhline(table["best"], color="black", linewidth=0.8, linestyle="--", label="table's best")
        middle.axhline(table["median"], color="black", linewidth=0.8, linestyle=":", label="table's median")
        middle.set_ylabel(f"its validation {quality}")
        middle.set_title(f"{quality.split()[0]} of the architecture that has it")
        groups = table["groups"]
        right.fill_between(groups["share"], groups["low"], groups["high"], color="#888888", alpha=0.3, linewidth=0)
        right.plot(groups["share"], groups["median"], ".-", color="black", markersize=4, label="a group's median")
        right.plot(groups["share"], groups["best"], "_", color="black", label="its best")
        right.set_ylabel(f"validation {quality}")
        right.set_title("all, in groups by score")
        for axis in (left, middle):
            axis.set_xscale("log")
            axis.minorticks_off()
        if line == len(tables) - 1:
            left.set_xlabel("architectures scored")
            middle.set_xlabel("architectures scored")
            right.set_xlabel("share that scores lower")
    handles, labels = (a + b for a, b in zip(*(axes[n].get_legend_handles_labels() for n in (1, 2)), strict=True))
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    count = len(_searches(rows, next(iter(tables)), SAMPLERS[0]))
    title = f"{_cells.TITLES.get(dataset, dataset)}, {rows[0]['table']}; medians and quartiles of {count} searches"
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return {"": figure}


def _curve(axis: Axes, searches: Sequence[Row], key: str, colour: str, label: str) -> None:
    scored = searches[0]["scored"]
    values = np.array([quartiles(_values(one[key])[place] for one in searches) for place in range(len(scored))])
    axis.fill_between(scored, values[:, 0], values[:, 2], color=colour, alpha=0.2, linewidth=0)
    axis.plot(scored, values[:, 1], color=colour, label=label)


def _grouped(shares: Vector, values: Vector) -> Row:
    """Mean share, quartiles and best of groups of equal size, by score: a point for each would be a large figure."""
    order = np.argsort(shares, kind="stable")
    parts = np.array_split(order, min(_GROUPS, max(1, len(order) // 4)))
    low, median, high = (_numbers(column) for column in np.array([quartiles(values[part]) for part in parts]).T)
    best = np.array([np.nanmax(values[part]) if np.isfinite(values[part]).any() else np.nan for part in parts])
    share = [float(shares[part].mean()) for part in parts]
    return {"share": share, "low": low, "median": median, "high": high, "best": _numbers(best)}


def _searches(rows: Sequence[Row], metric: str, sampler: str) -> list[Row]:
    return found(rows, what="search", metric=metric, sampler=sampler)


def _values(recorded: Sequence[float | None]) -> Vector:
    return np.array(recorded, dtype=np.float64)


def _numbers(values: Vector) -> list[float | None]:
    """None where a training went wrong: JSON has no other word for it."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _nearest(values: Sequence[int], wanted: int) -> int:
    return int(np.argmin(np.abs(np.array(values) - wanted)))
