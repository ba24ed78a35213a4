"""Which way of refinement finds more in the same seconds on recorded cells for pictures: halving, rejects, uniform.

Candidates come from pools that are drawn of the cells, in random order, so that refinement alone is compared, and
ranked by a metric. Each way takes as many candidates as the budget holds by the mean seconds of a training, and the
product's scheduler chooses among them on recorded accuracies. Only some lengths of training are recorded, each of them
a training of its own: survivors start over and pay for it, and a winner without the longest training gets it. Seconds
are of training and of scoring the pool.

Where survivors start over on such a ladder, successive rejects come to the rungs of halving but for rounding: the
candidate that ranks m-th is trained for a time in proportion to 1/m by either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks import plots
from benchmarks._cells import (
    DATASETS,
    PUBLISHED,
    RANDOM,
    TITLES,
    Cells,
    best_first,
    drawn,
    found,
    heading,
    missing,
    open_cells,
)
from benchmarks._ladders import Ladder, affordable, refine, rejects, uniform
from benchmarks._records import latest
from benchmarks._selections import band, middle
from benchmarks.harness import Context, Document, Row
from trails.bench.image.two_phase import rungs_of
from trails.halving import DEFAULT_ETA, Rung, total_epochs

__all__ = ["DATASETS", "draw", "missing", "run", "summarise"]

BUDGETS = (2, 4, 8, 16, 32, 64, 128, 256)
"""In mean longest trainings: what is drawn is what was spent."""

RUNS, QUICK_RUNS = 100, 12

POOLS = "pools"
"""Stands where rows of runs have an order: what the pools hold."""

Way = Callable[[int], list[Rung]]


def ways(ladder: Ladder) -> dict[str, Way]:
    """Ways of refinement by what they are called: the rungs of so many candidates."""
    first, last = ladder[0], ladder[-1]

    def rejecting(k: int) -> list[Rung]:
        return rejects(k, ladder, total_epochs(rungs_of(ladder, k), restart=True))

    made: dict[str, Way] = {f"successive halving from {first} epochs": partial(rungs_of, ladder)}
    if last // ladder[-2] != DEFAULT_ETA:
        made[f"halving, one in {DEFAULT_ETA} survives"] = partial(rungs_of, ladder, eta=DEFAULT_ETA)
    if len(ladder) > 2:
        made[f"successive halving from {ladder[1]}"] = partial(rungs_of, ladder[1:])
    made["successive rejects"] = rejecting
    for epochs in ladder[:-1]:
        made[f"uniform allocation, {epochs} epochs"] = partial(uniform, ladder=ladder, epochs=epochs)
    return made | {f"full training, {last} epochs": partial(uniform, ladder=ladder, epochs=last)}


def orders(cells: Cells) -> tuple[str, str]:
    """The metric that ranks candidates, jacflow where it was computed of the cells, and a random order."""
    return next(name for name in ("jacflow", "zen" + PUBLISHED, "params") if cells.covers(name, cells.many)), RANDOM


def run(context: Context) -> None:
    """Select with every way in every budget, pool after pool."""
    assert context.dataset is not None
    cells = open_cells(context.dataset)
    size = int(cells.many.sum())
    if context.recorded(architectures=size):
        return
    pool, seeds = max(2, size // 2), range(context.seed, context.seed + (QUICK_RUNS if context.quick else RUNS))
    longest = float(cells.seconds[cells.many, -1].mean())
    pools = [drawn(cells.many, pool, seed) for seed in seeds]
    rows: list[Row] = []
    for order in orders(cells):
        scoring = pool * cells.seconds_of_scoring(order)
        fixed = None if order == RANDOM else cells.merits(order)
        ranked = [
            best_first(places, cells.merits(order, seed) if fixed is None else fixed)
            for seed, places in zip(seeds, pools, strict=True)
        ]
        for way, planned in ways(cells.ladder).items():
            context.say(f"{context.dataset}: {order}, {way}")
            for budget in BUDGETS[::2] if context.quick else BUDGETS:
                for seed, places in zip(seeds, ranked, strict=True):
                    k = affordable(planned, budget * longest, cells.ladder, cells.seconds[places])
                    if k in (0, pool):
                        continue  # the budget holds none, or would not be spent
                    one = refine(places, planned(k), cells.ladder, cells.valid, cells.seconds)
                    rows.append(
                        {
                            "order": order,
                            "way": way,
                            "budget": budget,
                            "run": seed,
                            "k": k,
                            "winner": one.winner,
                            "final": float(cells.final[one.winner]),
                            "epochs": one.epochs,
                            "seconds": scoring + one.seconds,
                            "architectures": size,
                        }
                    )
    facts = {
        "order": POOLS,
        "best": [float(cells.final[places].max()) for places in pools],
        "all_trained": [float(cells.final[places[int(np.argmax(cells.valid[places, -1]))]]) for places in pools],
        "pool": pool,
        "cells": cells.told(cells.many),
        "final_is": cells.final_is,
        "notes": cells.notes,
        "longest_seconds": longest,
        "architectures": size,
    }
    context.record(*rows, facts)


def draw(document: Document) -> Mapping[str, Figure]:
    """The winner's accuracy against seconds spent, and against epochs trained."""
    rows, dataset = latest(document), document.settings["dataset"]
    figure, axes = plots.panels(2, 2, width=4.2, height=3.0)
    pools = found(rows, order=POOLS)[0]
    names = _orders(rows)
    for line, (key, told) in enumerate((("seconds", "seconds spent, scoring included (median)"),
                                        ("epochs", "epochs trained (median)"))):  # fmt: skip
        for place, order in enumerate(names):
            axis = axes[2 * line + place]
            for colour, way in zip(
                plots.COLOURS * 2, dict.fromkeys(row["way"] for row in found(rows, order=order)), strict=False
            ):
                groups = _groups(rows, order, way)
                style = "--" if "uniform" in way else ":" if "full" in way else "-"
                band(axis, [(middle(one, key), [row["final"] for row in one]) for one in groups], colour, way, style)
            axis.axhline(float(np.median(pools["all_trained"])), color="#888888", linewidth=0.9, linestyle=":",
                         label="all of the pool trained to the end")  # fmt: skip
            axis.set_xscale("log")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_xlabel(told)
            axis.set_ylabel(pools["final_is"], fontsize=7.5)
            axis.set_title(f"pools {'in random order' if order == RANDOM else f'by {order}'}", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7.5)
    title = heading(
        92,
        f"{TITLES[dataset]} (simulated on records): pools of {pools['pool']:,} of {pools['cells']}; medians and "
        f"quartiles of {len(pools['best'])}.",
        pools["notes"],
    )
    figure.suptitle(title, fontsize=8, x=0.01, ha="left")
    return {"": figure}


def summarise(document: Document) -> list[str]:
    """Per budget the medians, and in how many pairs of runs halving is the better one."""
    rows, dataset = latest(document), document.settings["dataset"]
    pools = found(rows, order=POOLS)[0]
    lines = [
        f"{TITLES[dataset]}, pools of {pools['pool']:,} of {pools['cells']}; {pools['final_is']}. {pools['notes']}",
        f" median of the pools: the best {np.median(pools['best']):.2f}, the best by validation "
        f"{np.median(pools['all_trained']):.2f}; a longest training takes {pools['longest_seconds']:,.0f} s (mean)",
    ]
    for order in _orders(rows):
        own = found(rows, order=order)
        names = list(dict.fromkeys(row["way"] for row in own if "way" in row))
        for way in names:
            cells = [
                f"{middle(one, 'seconds'):.3g} s (K {middle(one, 'k'):.0f}): {middle(one, 'final'):.2f}"
                for one in _groups(rows, order, way)
            ]
            lines.append(f"  {order}, {way:33} " + "  ".join(cells))
        for way in names[1:]:
            compared = _pairs(own, names[0], way)
            better, worse = (float(np.mean([sign * (a - b) > 0 for a, b in compared])) for sign in (1, -1))
            lines.append(
                f"  {order}: {names[0]} is better than {way} in {better:.0%} of the pairs of runs, worse in {worse:.0%}"
            )
    lines.append(" published: successive halving is chosen as the best of the three, with survivors that start over")
    return lines


def _orders(rows: Sequence[Row]) -> list[str]:
    return [name for name in dict.fromkeys(row["order"] for row in rows) if name != POOLS]


def _groups(rows: Sequence[Row], order: str, way: str) -> list[list[Row]]:
    """Runs of a way by budget, ascending."""
    own = found(rows, order=order, way=way)
    return [found(own, budget=budget) for budget in sorted({row["budget"] for row in own})]


def _pairs(rows: Sequence[Row], one: str, other: str) -> list[tuple[float, float]]:
    """Final accuracies of two ways in the same budget and pool."""
    known = {(row["budget"], row["run"]): float(row["final"]) for row in found(rows, way=other)}
    return [
        (float(row["final"]), known[row["budget"], row["run"]])
        for row in found(rows, way=one)
        if (row["budget"], row["run"]) in known
    ]
