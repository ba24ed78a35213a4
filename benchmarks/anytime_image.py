"""Quality of cells for pictures by seconds spent: two-phase selection against training-free and training-based search.

NAS-Bench-201's recorded accuracies on CIFAR-10, CIFAR-100 and ImageNet16-120, in simulated time. A search is charged
for every training, whole, and for every score. What is handed over is the network with the best validation accuracy so
far, and its test accuracy is the mean of the recorded runs: a network of 12 epochs has one of its own, which is low.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks import _search_figures, _searches, plots
from benchmarks._cells import missing
from benchmarks._image_searches import CELLS, DATASETS, LABELS, PUBLISHED
from benchmarks._records import quartiles
from benchmarks.harness import Context, Document

__all__ = ["DATASETS", "draw", "missing", "run", "summarise"]

_BUDGETS = 12

TARGETS: Mapping[str, float] = {"c10": 94.0, "c100": 72.5, "in16": 46.0}
"""Test accuracy, in percent, whose seconds are told."""

_LINES: Mapping[str, tuple[str, str]] = {
    "two_phase:jacflow": (plots.COLOURS[1], "-"),
    "two_phase:naswot": (plots.COLOURS[4], "-"),
    "two_phase:synflow": (plots.COLOURS[3], "-"),
    "two_phase:params": (plots.COLOURS[1], ":"),
    "two_phase:random": (plots.COLOURS[6], ":"),
    "two_phase_k:jacflow": (plots.COLOURS[1], "--"),
    "training_free:jacflow": (plots.COLOURS[2], "-"),
    "training_free:params": (plots.COLOURS[2], ":"),
    "random": (plots.COLOURS[6], "--"),
    "evolution": (plots.COLOURS[0], "-"),
    "evolution_short": (plots.COLOURS[0], ":"),
    "reinforcement": (plots.COLOURS[0], "--"),
    "tpe_hyperband": (plots.COLOURS[5], "-"),
}


def run(context: Context) -> None:
    """Search with every method; planned selections once a budget, the others once a seed."""
    _searches.run(context, _LINES, 6 if context.quick else _BUDGETS, CELLS)


def summarise(document: Document) -> list[str]:
    """Test accuracy by method at some budgets, and seconds to a given one."""
    dataset, (facts,) = document.settings["dataset"], document.select(method="table")
    times = facts["budgets"]
    shown = [times[0], times[len(times) // 3], times[2 * len(times) // 3], times[-1]]
    target = TARGETS[dataset]
    lines = [
        _search_figures.heading(document),
        f"  {'median test accuracy, %, by seconds spent:':44} " + " ".join(f"{t:>9.3g} s" for t in shown)
        + f"   seconds to {target:g} %",
    ]  # fmt: skip
    reached = {}
    for method in _LINES:
        rows = document.select(method=method)
        values = [quartiles(_searches.at(row, seconds) for row in rows)[1] for seconds in shown]
        reached[method] = _searches.seconds_to(rows, target, _searches.grid(document.rows))
        when = "never" if math.isnan(reached[method]) else f"{reached[method]:.3g}"
        lines.append(f"  {LABELS[method]:44} " + " ".join(f"{value:>11.2f}" for value in values) + f"   {when:>9}")
    for slow in ("evolution", "evolution_short"):
        found = [
            f"{LABELS[fast]} {_searches.ratio(reached[slow], reached[fast])}"
            for fast in _LINES
            if fast.startswith("two_phase")
        ]
        lines.append(f"  times sooner at {target:g} % than {LABELS[slow]}: {'; '.join(found)}")
    return [*lines, f"  published: about {PUBLISHED[dataset]:g} times sooner than training-based search"]


def draw(document: Document) -> Mapping[str, Figure]:
    """Test accuracy with the target whose seconds are told, and validation accuracy below the best."""
    dataset = document.settings["dataset"]
    figure = _search_figures.two_panels(
        document, _LINES, "Quality by seconds", bands=("two_phase:jacflow", "evolution"), labels=LABELS
    )
    axis, target = figure.axes[0], TARGETS[dataset]
    axis.axhline(target, color="#888888", linestyle="-.", linewidth=0.8)
    axis.annotate(f"{target:g} %", (0.0, target), (3, -9), ("axes fraction", "data"), "offset points", fontsize=7.5)
    return {"": figure}
