"""Metrics of the first phase with ways of the second on recorded cells for pictures: accuracy against all seconds.

{JacFlow, SynFlow, naswot, SNIP, params, random order} rank a pool, and successive halving, successive rejects (as many
epochs as halving) or full training choose among its best K, for K = 1, 2, 4 and so on. The pool is half of the
cells, drawn with the selection's seed, and scored one at a time. Each length of training is one of its own: survivors
start over. SNIP is computed of a few hundred cells only; among these all are compared once more.
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
    open_cells,
)
from benchmarks._combinations import Told, combination_figure, combination_lines
from benchmarks._ladders import Ladder, refine, rejects, uniform
from benchmarks._records import latest
from benchmarks.effective_combinations import WAYS
from benchmarks.harness import Context, Document, Row
from trails.bench.image.two_phase import rungs_of
from trails.halving import Rung, total_epochs

__all__ = ["DATASETS", "draw", "missing", "run", "summarise"]

METRICS = ("jacflow", "synflow", "naswot", "snip", "zen" + PUBLISHED, "params", RANDOM)
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
    size, metrics = int(cells.many.sum()), len(_covering(cells, cells.few))
    # Tables grow cell by cell, and metric by metric.
    if any(row["metrics"] == metrics for row in context.recorded(architectures=size)):
        return
    for which, chosen in cells.sets.items():
        rows = _selected(context, cells, chosen)
        best = {"metric": "table", "best_valid": float(cells.valid[chosen, -1].max())}
        facts = {"cells": cells.told(chosen), "final_is": cells.final_is, "notes": cells.notes}
        common = {"set": which, "architectures": size, "metrics": metrics}
        context.record(*({**row, **common} for row in [*rows, {**best, **facts}]))


def _covering(cells: Cells, chosen: NDArray[np.bool_]) -> list[str]:
    return [name for name in METRICS if cells.covers(name, chosen)]


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
    rows = _newest(document)
    lines: list[str] = []
    for own in filter(None, (found(rows, set=which) for which in SETS)):
        lines += combination_lines(own, _told(document, own))
        left_out = [name for name in METRICS if name not in _told(document, own).metrics]
        lines += [f"  left out, as these cells have no score of it: {', '.join(left_out)}"] if left_out else []
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """A panel for each way of refinement, validation and final accuracy against seconds spent; of either set."""
    rows = _newest(document)
    sets = {suffix: found(rows, set=which) for which, suffix in SETS.items()}
    return {suffix: combination_figure(own, _told(document, own)) for suffix, own in sets.items() if own}


def _newest(document: Document) -> list[Row]:
    rows = latest(document)
    return found(rows, metrics=max(row["metrics"] for row in rows))


def _told(document: Document, rows: Sequence[Row]) -> Told:
    facts, dataset = found(rows, metric="table")[0], document.settings["dataset"]
    there = {row["metric"] for row in rows}
    measures = {"valid": "validation accuracy, one run (%)"}
    if "test" in facts["final_is"]:
        measures["final"] = "test accuracy, mean of runs (%)"
    title = f"{TITLES[dataset]}, simulated on records: {facts['cells']}"
    return Told(title, [name for name in METRICS if name in there], CONTROLS, WAYS, measures, 2, facts["notes"])
