"""How many candidates K, how long U, how many scored for each N/K: final AUC and epochs, on records.

Heat maps of K by U: the test AUC of the winner, and the epochs that it costs when survivors go on and when they start
over. A planner that charges 3 U epochs whatever K is wrong by the factor in the last map. Then the test AUC by N/K at
a fixed time: N architectures drawn at random are scored one at a time, as the published study pays for them, and the
K that is left is what the time trains. Where N would exceed the table there is no point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._records import DATASETS, SEED, open_table
from benchmarks._selections import band, begin, epoch_seconds, half, middle, noise_line, reachable, row_of
from benchmarks.harness import Context, Document, Row
from trails.bench.simulate import simulate
from trails.bench.table import Benchmark
from trails.halving import DEFAULT_ETA, halving_rungs, largest_fitting, total_epochs

__all__ = ["DATASETS", "draw", "run", "summarise"]

KS = (1, 2, 4, 8, 16, 32, 64, 128)
US = (1, 2, 3, 5, 8)
RATIOS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TIMES = (20, 60, 180)
"""Fixed times, in mean epochs of the table."""

RUNS, QUICK_RUNS = 50, 8
TRAP = 3
"""Epochs that the planner in question charges for each U, whatever K."""


def run(context: Context) -> None:
    """Simulate what is not recorded yet."""
    benchmark = open_table(str(context.dataset))
    pool, each = half(benchmark), epoch_seconds(benchmark)
    begin(context, benchmark, pool, recorded=benchmark.recorded(SEED).size)
    seeds = range(context.seed, context.seed + (QUICK_RUNS if context.quick else RUNS))
    for k in (k for k in (KS[::2] if context.quick else KS) if k <= pool):
        for u in (u for u in US if u <= benchmark.setting.epochs):
            if context.recorded(part="map", cell_k=k, cell_u=u):
                continue
            context.say(f"{context.dataset}: K {k}, U {u}")
            rungs = halving_rungs(k, u, DEFAULT_ETA, benchmark.setting.epochs)
            again = total_epochs(rungs, restart=True)
            rows = []
            for seed in seeds:
                found = simulate(benchmark, math.inf, k=k, u=u, pool=pool, seed=seed)
                row = row_of(found, reachable(benchmark, pool, seed))
                rows.append({"part": "map", "cell_k": k, "cell_u": u, "run": seed, "restarting_epochs": again, **row})
            context.record(*rows)
    for time in TIMES:
        for ratio in RATIOS:
            _ratio(context, benchmark, time, time * each, ratio, list(seeds))


def _ratio(context: Context, benchmark: Benchmark, time: int, budget: float, ratio: int, seeds: list[int]) -> None:
    """As many candidates as the time trains with N = ratio * K, as far as the table has so many."""
    size, each = benchmark.recorded(SEED).size, epoch_seconds(benchmark)
    score = benchmark.scoring_seconds("expressflow")
    if ratio > size or context.recorded(part="ratio", time=time, ratio=ratio):
        return

    def fits(k: int) -> bool:
        epochs = total_epochs(halving_rungs(k, 1, DEFAULT_ETA, benchmark.setting.epochs))
        return min(size, ratio * k) * score + epochs * each <= budget

    k = largest_fitting(1, max(1, size // ratio), fits)
    rows = []
    for seed in seeds:
        found = simulate(
            benchmark, 1.0 + budget, k=k, n=min(size, ratio * k), sampler="random", scoring="one", seed=seed
        )
        rows.append({"part": "ratio", "time": time, "ratio": ratio, "run": seed, **row_of(found)})
    context.record(*rows)


def draw(document: Document) -> Mapping[str, Figure]:
    """The maps; and the test AUC by N/K."""
    return {"": _maps(document), "ratio": _ratios(document)}


def _maps(document: Document) -> Figure:
    figure, axes = plots.panels(2, rows=2, width=4.6, height=3.4)
    rows = document.select(part="map")
    ks, us = (sorted({int(row[key]) for row in rows}) for key in ("cell_k", "cell_u"))
    cells = {(k, u): document.select(part="map", cell_k=k, cell_u=u) for k in ks for u in us}
    auc = np.array([[middle(cells[k, u], "test_auc") for k in ks] for u in us])
    epochs = np.array([[middle(cells[k, u], "epochs") for k in ks] for u in us])
    again = np.array([[middle(cells[k, u], "restarting_epochs") for k in ks] for u in us])
    trap = epochs / (TRAP * np.array(us)[:, None])
    dataset = document.settings["dataset"]
    heat_map(axes[0], ks, us, auc, "{:.4f}", f"{dataset}: median test AUC (simulated)", False)
    heat_map(axes[1], ks, us, epochs, "{:.0f}", "epochs, survivors go on", True)
    heat_map(axes[2], ks, us, again, "{:.0f}", "epochs, survivors start over (published)", True)
    heat_map(axes[3], ks, us, trap, "{:.1f}", f"epochs taken, in multiples of {TRAP} U", True)
    figure.suptitle(f"pools of {_note(document, 'pool')}; {_note(document, 'table')}", fontsize=8, x=0.01, ha="left")
    return figure


def heat_map(axis: Axes, ks: list[int], us: list[int], values: Any, form: str, title: str, log: bool) -> None:
    """A map of K by U with its numbers.

    Args:
        axis: Drawn on.
        ks: One a column.
        us: One a row, from below.
        values: float64 (us, ks).
        form: How a number is written.
        title: Of the panel.
        log: Whether colours go by the logarithm.
    """
    shown = np.log10(values) if log else values
    axis.imshow(shown, aspect="auto", origin="lower", cmap="Blues", alpha=0.8)
    low, high = np.nanmin(shown), np.nanmax(shown)
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            dark = high > low and (shown[row, column] - low) / (high - low) > 0.65
            axis.text(
                column,
                row,
                form.format(value),
                ha="center",
                va="center",
                fontsize=6,
                color="white" if dark else "black",
            )
    axis.set_xticks(range(len(ks)), [str(k) for k in ks])
    axis.set_yticks(range(len(us)), [str(u) for u in us])
    axis.grid(False)
    axis.set_xlabel("K, candidates of the first rung")
    axis.set_ylabel("U, epochs of the first rung")
    axis.set_title(title, fontsize=9)


def _ratios(document: Document) -> Figure:
    figure, (axis,) = plots.panels(1, width=6.4, height=4.0)
    for colour, time in zip(plots.COLOURS, TIMES, strict=False):
        groups = _by_ratio(document, time)
        if not groups:
            continue
        points = [(float(ratio), [float(row["test_auc"]) for row in rows]) for ratio, rows in groups.items()]
        spent = [middle(rows, "seconds") for rows in groups.values()]
        counts = [int(rows[0]["k"]) for rows in groups.values()]
        label = f"{min(spent):.0f} to {max(spent):.0f} s spent; K = {', '.join(map(str, counts))}"
        band(axis, points, colour, label)
    axis.set_xscale("log", base=2)
    axis.set_xticks(RATIOS, [str(ratio) for ratio in RATIOS])
    axis.set_xlabel("N / K: architectures scored for each candidate (none where N would exceed the table)")
    axis.set_ylabel("test AUC of the winner")
    axis.set_title(f"{document.settings['dataset']}, {_note(document, 'table')} (simulated)", fontsize=9)
    axis.axvline(100, color="#888888", linewidth=0.9, linestyle=":", label="published default: 100")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=1, fontsize=7.5)
    return figure


def _by_ratio(document: Document, time: int) -> dict[int, list[Row]]:
    """Rows at a fixed time by N/K, without those whose K the table's size held down and not the time: where all of it
    is scored, every selection ranks the same architectures, and a larger N/K means nothing but fewer candidates."""
    size = document.sessions[0].get("recorded", math.inf)
    found = {ratio: document.select(part="ratio", time=time, ratio=ratio) for ratio in RATIOS}
    return {ratio: rows for ratio, rows in found.items() if rows and ratio * (int(rows[0]["k"]) + 1) <= size}


def summarise(document: Document) -> list[str]:
    """The best cells, what more of K and of U brings, and the best N/K for every time."""
    lines = [f"{document.settings['dataset']}, {_note(document, 'table')}, pools of {_note(document, 'pool')}:"]
    ks = sorted({int(row["cell_k"]) for row in document.select(part="map")})
    for u in (1, 2):
        cells = [(k, document.select(part="map", cell_k=k, cell_u=u)) for k in ks]
        told = [f"K {k}: {middle(rows, 'test_auc'):.4f} in {middle(rows, 'epochs'):.0f}" for k, rows in cells]
        lines.append(f"  U {u}, test AUC in epochs: " + "  ".join(told))
    widest = document.select(part="map", cell_k=ks[-1], cell_u=1)
    lines.append(
        f"  3 U epochs would be charged where K {ks[-1]}, U 1 takes {middle(widest, 'epochs'):.0f}, and "
        f"{middle(widest, 'restarting_epochs'):.0f} where survivors start over"
    )
    for time in TIMES:
        found = _by_ratio(document, time)
        told = [f"{ratio}: {middle(rows, 'test_auc'):.4f} (K {rows[0]['k']})" for ratio, rows in found.items()]
        lines.append(f"  {time} epochs, test AUC by N/K: " + "  ".join(told))
    lines.append(f"  {noise_line(document)}")
    lines.append("  published defaults: N/K of 100 and U of 1")
    return lines


def _note(document: Document, name: str) -> Any:
    return document.sessions[0][name]
