"""Metrics of the first phase with ways of the second on recorded cells for pictures: accuracy against all seconds.

{JacFlow, SynFlow, naswot, SNIP, zen, params, random order} rank a pool, and successive halving, successive rejects (as
many epochs as halving) or full training choose among its best K, for K = 1, 2, 4 and so on. The pool is half of the
cells, drawn with the selection's seed, and scored one at a time. Each length of training is one of its own: survivors
start over. SNIP is computed of a few hundred cells only; among these all are compared once more. Where a metric was not
computed here and others published its scores of a set, these stand for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks._cells import (
    DATASETS,
    PUBLISHED,
    RANDOM,
    TITLES,
    Cells,
    best_first,
    drawn,
    found,
    missing,
    newest,
    open_cells,
)
from benchmarks._combinations import Told, combination_figure, combination_lines
from benchmarks._ladders import Ladder, refine, rejects, uniform
from benchmarks.effective_combinations import WAYS
from benchmarks.harness import Context, Document, Row
from trails.bench.image.two_phase import rungs_of
from trails.halving import Rung, total_epochs

__all__ = ["DATASETS", "draw", "missing", "run", "summarise"]

METRICS = ("jacflow", "synflow", "naswot", "snip", "zen", "params", RANDOM)
CONTROLS = ("params", RANDOM)
SETS = {"many": "", "few": "few"}
"""Sets of cells, and the suffix of a set's figure."""

_SEEDS, _QUICK_SEEDS = 50, 5
_MOST = 256
_SEEN = 0.5


def planned_rungs(way: str, k: int, ladder: Ladder) -> list[Rung]:
    """The rungs of a way of `WAYS` for so many candidates."""
    if way == "full":
        return uniform(k, ladder, ladder[-1])
    rungs = rungs_of(ladder, k)
    return rungs if way == "sh" else rejects(k, ladder, total_epochs(rungs, restart=True))


def run(context: Context) -> None:
    """Select with every combination at every K, seed after seed, in either set of cells."""
    assert context.dataset is not None
    cells = open_cells(context.dataset)
    size = int(cells.many.sum())
    metrics = "+".join(name for chosen in cells.sets.values() for name in _covering(cells, chosen))
    if context.recorded(architectures=size, metrics=metrics):
        return
    for which, chosen in cells.sets.items():
        rows = _selected(context, cells, chosen)
        best = {"metric": "table", "best_valid": float(cells.valid[chosen, -1].max())}
        facts = {"cells": cells.told(chosen), "final_is": cells.final_is, "notes": cells.notes}
        common = {"set": which, "architectures": size, "metrics": metrics}
        context.record(*({**row, **common} for row in [*rows, {**best, **facts}]))


def _covering(cells: Cells, chosen: NDArray[np.bool_]) -> list[str]:
    """Those of `METRICS` that a set has scores by, of this project or else of others."""
    either = ([name] if name in CONTROLS else [name, name + PUBLISHED] for name in METRICS)
    found = (next((name for name in names if cells.covers(name, chosen)), None) for names in either)
    return [name for name in found if name is not None]


def _selected(context: Context, cells: Cells, chosen: NDArray[np.bool_]) -> list[Row]:
    rows: list[Row] = []
    pool = max(2, math.floor(_SEEN * chosen.sum()))
    counts = [2**power for power in range(int(math.log2(min(pool, _MOST))) + 1)]
    planned = {(way, k): planned_rungs(way, k, cells.ladder) for way in WAYS for k in counts}
    for metric in _covering(cells, chosen):
        context.say(f"{context.dataset}: {metric}, {chosen.sum():,} cells")
        scoring = pool * cells.seconds_of_scoring(metric)
        fixed = None if metric == RANDOM else cells.merits(metric)
        for seed in range(context.seed, context.seed + (_QUICK_SEEDS if context.quick else _SEEDS)):
            ranked = best_first(drawn(chosen, pool, seed), cells.merits(metric, seed) if fixed is None else fixed)
            for (way, k), rungs in planned.items():
                one = refine(ranked, rungs, cells.ladder, cells.valid, cells.seconds)
                rows.append(
                    {
                        "metric": metric,
                        "way": way,
                        "k": k,
                        "search_seed": seed,
                        "valid": float(cells.valid[one.winner, -1]),
                        "final": float(cells.final[one.winner]),
                        "epochs": one.epochs,
                        "filtering_seconds": scoring,
                        "seconds": scoring + one.seconds,
                    }
                )
    return rows


def summarise(document: Document) -> list[str]:
    """Accuracy of every combination at a small, a middle and the largest K, by the seconds spent."""
    rows = newest(document)
    lines: list[str] = []
    for own in filter(None, (found(rows, set=which) for which in SETS)):
        lines += combination_lines(own, _told(document, own))
        there = {metric.removesuffix(PUBLISHED) for metric in _told(document, own).metrics}
        left_out = [name for name in METRICS if name not in there]
        lines += [f"  left out, as these cells have no score of it: {', '.join(left_out)}"] if left_out else []
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """A panel for each way of refinement, validation and final accuracy against seconds spent; of either set."""
    rows = newest(document)
    sets = {suffix: found(rows, set=which) for which, suffix in SETS.items()}
    return {suffix: combination_figure(own, _told(document, own)) for suffix, own in sets.items() if own}


def _told(document: Document, rows: Sequence[Row]) -> Told:
    facts, dataset = found(rows, metric="table")[0], document.settings["dataset"]
    metrics = [name for name in dict.fromkeys(row["metric"] for row in rows) if name != "table"]
    measures = {"valid": "validation accuracy, one run (%)"}
    if "test" in facts["final_is"]:
        measures["final"] = "test accuracy, mean of runs (%)"
    title = f"{TITLES[dataset]}, simulated on records: {facts['cells']}"
    free = "\nPublished scores cost nothing here." if any(name.endswith(PUBLISHED) for name in metrics) else ""
    return Told(title, metrics, CONTROLS, WAYS, measures, 2, facts["notes"] + free)
