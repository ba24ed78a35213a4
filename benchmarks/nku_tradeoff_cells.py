"""How many candidates K, how long U, how many scored for each N/K: accuracy and cost on recorded cells for pictures.

Maps of K by U, the length of the first rung's trainings: accuracy of the winner, epochs, seconds. Then its accuracy by
N/K at fixed times: N cells drawn at random are scored one at a time and paid for, and K is as large as the time that is
left holds. There are thousands of cells here, so that N/K of 100, which the study takes, is possible; where N would
exceed the cells that are scored there is no point. Survivors start over, as nothing else is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._cells import DATASETS, TITLES, Cells, best_first, drawn, found, heading, missing, open_cells
from benchmarks._ladders import expected, refine
from benchmarks._records import latest
from benchmarks._selections import band, middle
from benchmarks._statistics import Vector
from benchmarks.harness import Context, Document, Row
from benchmarks.nku_tradeoff import RATIOS, heat_map
from benchmarks.refinement_algorithms_cells import orders
from trails.bench.image.two_phase import rungs_of
from trails.halving import largest_fitting

__all__ = ["DATASETS", "draw", "missing", "run", "summarise"]

KS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
TIMES = (4, 8, 32)
"""Fixed times, in mean longest trainings."""

RUNS, QUICK_RUNS = 50, 8
PUBLISHED_RATIO = 100


def run(context: Context) -> None:
    """Select for every cell of the maps, and for every N/K and time."""
    assert context.dataset is not None
    cells = open_cells(context.dataset)
    size = int(cells.many.sum())
    if context.recorded(architectures=size):
        return
    metric, _ = orders(cells)
    merits, pool = cells.merits(metric), max(2, size // 2)
    seeds = range(context.seed, context.seed + (QUICK_RUNS if context.quick else RUNS))
    pools = [best_first(drawn(cells.many, pool, seed), merits) for seed in seeds]
    rows: list[Row] = []
    for first, u in enumerate(cells.ladder):
        context.say(f"{context.dataset}: maps, U {u}")
        for k in (k for k in (KS[::2] if context.quick else KS) if k <= pool):
            rungs = rungs_of(cells.ladder[first:], k)
            for seed, places in zip(seeds, pools, strict=True):
                one = refine(places, rungs, cells.ladder, cells.valid, cells.seconds)
                known = {"part": "map", "k": k, "u": u, "run": seed, "final": float(cells.final[one.winner])}
                rows.append({**known, "epochs": one.epochs, "seconds": one.seconds})
    longest, score = float(cells.seconds[cells.many, -1].mean()), cells.seconds_of_scoring(metric)
    for time in TIMES:
        context.say(f"{context.dataset}: N/K, {time} trainings")
        for ratio in RATIOS:
            runs = [select(cells, merits, time * longest, ratio, score, seed) for seed in seeds]
            rows += [
                {"part": "ratio", "time": time, "run": seed, **one}
                for seed, one in zip(seeds, runs, strict=True)
                if one
            ]
    facts = {"part": "facts", "metric": metric, "score_seconds": score, "longest_seconds": longest, "pool": pool}
    facts |= {"cells": cells.told(cells.many), "final_is": cells.final_is, "notes": cells.notes}
    context.record(*({**row, "architectures": size} for row in [*rows, facts]))


def select(cells: Cells, merits: Vector, budget: float, ratio: int, score: float, seed: int) -> Row | None:
    """Score N = ``ratio`` K cells, drawn at random, and refine the best K, as many as the budget holds.

    Args:
        cells: That are recorded.
        merits: float64 (cells,), NaN for those that cannot be drawn.
        budget: Seconds.
        ratio: N/K.
        score: Seconds of scoring a cell.
        seed: Draws the cells.

    Returns:
        None where there are too few cells for as many candidates as the budget holds, or it does not hold one.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~np.isnan(merits)))

    def best_of(k: int) -> list[int]:
        return best_first(np.sort(order[: ratio * k]), merits)[:k]

    def fits(k: int) -> bool:
        each = cells.seconds[best_of(k)].mean(axis=0)
        return score * ratio * k + expected(rungs_of(cells.ladder, k), cells.ladder, each) <= budget

    most = order.size // ratio
    k = largest_fitting(0, most, fits)
    if k in (0, most):
        return None
    one = refine(best_of(k), rungs_of(cells.ladder, k), cells.ladder, cells.valid, cells.seconds)
    return {
        "ratio": ratio,
        "k": k,
        "n": ratio * k,
        "final": float(cells.final[one.winner]),
        "epochs": one.epochs,
        "seconds": score * ratio * k + one.seconds,
    }


def draw(document: Document) -> Mapping[str, Figure]:
    """The maps; and the accuracy by N/K."""
    rows = latest(document)
    facts, dataset = found(rows, part="facts")[0], document.settings["dataset"]
    return {"": _maps(rows, facts, dataset), "ratio": _ratios(rows, facts, dataset)}


def _maps(rows: Sequence[Row], facts: Row, dataset: str) -> Figure:
    own = found(rows, part="map")
    ks, us = (sorted({int(row[key]) for row in own}) for key in ("k", "u"))
    figure, axes = plots.panels(1, rows=3, width=7.2, height=0.36 * len(us) + 1.1)
    maps = (
        ("final", "{:.2f}", facts["final_is"], False),
        ("epochs", "{:,.0f}", "epochs of all trainings", True),
        ("seconds", "{:,.0f}", "seconds of all trainings", True),
    )
    for axis, (key, form, told, log) in zip(axes, maps, strict=True):
        values = np.array([[middle(found(own, k=k, u=u), key) for k in ks] for u in us])
        heat_map(axis, ks, us, values, form, told, log)
        axis.set_ylabel("U, epochs")
    title = heading(
        105,
        f"{TITLES[dataset]} (simulated on records), medians: pools of {facts['pool']:,} of {facts['cells']}, by "
        f"{facts['metric']}.",
        facts["notes"],
    )
    figure.suptitle(title, fontsize=7.5, x=0.01, ha="left")
    return figure


def _ratios(rows: Sequence[Row], facts: Row, dataset: str) -> Figure:
    figure, (axis,) = plots.panels(1, width=7.6, height=4.2)
    for colour, time in zip(plots.COLOURS, TIMES, strict=False):
        groups = _by_ratio(rows, time)
        if not groups:
            continue
        counts = [middle(one, "k") for one in groups.values()]
        spent = [middle(one, "seconds") for one in groups.values()]
        label = f"{min(spent):.3g} to {max(spent):.3g} s spent; K from {max(counts):.0f} to {min(counts):.0f}"
        band(axis, [(float(ratio), [row["final"] for row in one]) for ratio, one in groups.items()], colour, label)
    axis.set_xscale("log", base=2)
    axis.set_xticks(RATIOS, [str(ratio) for ratio in RATIOS])
    axis.set_xlabel("N / K: cells scored for each candidate (none where N would be more than there are)")
    axis.set_ylabel(f"winner's {facts['final_is']}", fontsize=8)
    axis.axvline(PUBLISHED_RATIO, color="#888888", linewidth=0.9, linestyle=":", label="published default: 100")
    axis.legend(loc="lower right", fontsize=7.5)
    title = heading(
        120,
        f"{TITLES[dataset]} (simulated on records): {facts['cells']}; by {facts['metric']}, which takes "
        f"{_scoring(facts)} a cell.",
        facts["notes"],
    )
    figure.suptitle(title, fontsize=7, x=0.01, ha="left")
    return figure


def _by_ratio(rows: Sequence[Row], time: int) -> dict[int, list[Row]]:
    """Runs at a fixed time by N/K, where every seed has one."""
    own = found(rows, part="ratio", time=time)
    groups = {ratio: found(own, ratio=ratio) for ratio in RATIOS}
    seeds = len({row["run"] for row in found(rows, part="map")})
    return {ratio: one for ratio, one in groups.items() if len(one) == seeds}


def summarise(document: Document) -> list[str]:
    """What more of K and of U brings, and the best N/K for every time."""
    rows, dataset = latest(document), document.settings["dataset"]
    facts, own = found(rows, part="facts")[0], found(rows, part="map")
    lines = [f"{TITLES[dataset]}, {facts['cells']}, by {facts['metric']}; {facts['final_is']}. {facts['notes']}"]
    for u in sorted({row["u"] for row in own}):
        told = []
        for k in sorted({row["k"] for row in own}):
            one = found(own, k=k, u=u)
            told.append(f"K {k}: {middle(one, 'final'):.2f} in {middle(one, 'epochs'):,.0f}")
        lines.append(f"  U {u}, accuracy in epochs: " + "  ".join(told))
    for time in TIMES:
        groups = _by_ratio(rows, time)
        told = [f"{ratio}: {middle(one, 'final'):.2f} (K {middle(one, 'k'):.0f})" for ratio, one in groups.items()]
        lines.append(
            f"  {time} longest trainings ({time * facts['longest_seconds']:,.0f} s), accuracy by N/K: "
            + "  ".join(told)
        )
    lines.append(f"  scoring a cell takes {_scoring(facts)}")
    lines.append("  published defaults: N/K of 100 and U of 1")
    return lines


def _scoring(facts: Row) -> str:
    return f"{facts['score_seconds']:.2f} s" if facts["score_seconds"] else "no time here, being counted or published"
