"""KNAS on records: 100 architectures scored, the best five trained; the same by other metrics and at random."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from benchmarks import _search_figures, _searches, plots
from benchmarks._records import DATASETS, quartiles
from benchmarks.harness import Context, Document

__all__ = ["DATASETS", "draw", "run", "summarise"]

_TFMEMS = ("knas", "expressflow", "params", "flops", "weight_norm", "random")

PUBLISHED: Mapping[str, tuple[float, float]] = {
    "frappe": (232, 0.97943),
    "uci_diabetes": (42, 0.6543),
    "criteo": (6277, 0.8020),
}
"""Seconds and AUC of KNAS in the published study."""


def run(context: Context) -> None:
    """One search a seed and metric."""
    _searches.run(context, [f"knas:{tfmem}" for tfmem in _TFMEMS], 12)


def summarise(document: Document) -> list[str]:
    """Seconds and test AUC at the end, by metric."""
    lines = [_search_figures.heading(document)]
    for tfmem in _TFMEMS:
        rows = document.select(method=f"knas:{tfmem}")
        low, middle, high = _searches.ends(rows)
        regret = np.median([row["best_valid"] - row["curve"][-1][1] for row in rows])
        lines.append(
            f"  best five by {tfmem:12} {np.median([row['spent'] for row in rows]):8.4g} s, test AUC {middle:.4f} "
            f"({low:.4f} to {high:.4f}), validation AUC {regret:.4f} below the pool's best"
        )
    seconds, auc = PUBLISHED[document.settings["dataset"]]
    return [*lines, f"  published: {auc} after {seconds:g} s"]


def draw(document: Document) -> Mapping[str, Figure]:
    """What every seed ends with: test AUC, and validation AUC below the best, by metric."""
    (facts,) = document.select(method="table")
    figure, axes = plots.panels(2, width=5.0, height=3.7)
    for place, tfmem in enumerate(_TFMEMS):
        rows = document.select(method=f"knas:{tfmem}")
        found = ([row["curve"][-1][2] for row in rows], [row["best_valid"] - row["curve"][-1][1] for row in rows])
        for axis, values in zip(axes, found, strict=True):
            colour = plots.COLOURS[1] if tfmem == "knas" else plots.COLOURS[0]
            spread = np.linspace(-0.25, 0.25, len(values))
            axis.plot(place + spread, values, ".", color=colour, alpha=0.4, markersize=4)
            low, middle, high = quartiles(values)
            axis.errorbar(place, middle, [[middle - low], [high - middle]], fmt="o", color=colour, capsize=4)
    _search_figures.context_lines(axes[0], facts)
    seconds, auc = PUBLISHED[document.settings["dataset"]]
    low, high = axes[0].get_ylim()
    if low - (high - low) < auc < high + (high - low):
        axes[0].axhline(auc, color=plots.COLOURS[3], linewidth=1.0, label=f"published: {auc} after {seconds:g} s")
    else:
        axes[0].plot([], [], color=plots.COLOURS[3], label=f"published: {auc} after {seconds:g} s (off this axis)")
    for axis in axes:
        axis.set_xticks(range(len(_TFMEMS)), _TFMEMS, rotation=20)
    axes[0].set_ylabel("test AUC, seeds and quartiles")
    axes[1].set_ylabel("validation AUC below the pool's best")
    axes[0].set_title(f"Up to 100 scored, the best five trained: {document.settings['dataset']}")
    axes[1].set_title(_search_figures.caption(facts), fontsize=8.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7.5)
    return {"": figure}
