"""Two-phase selection against TabNAS and evolution on records: seconds to reach a given test AUC."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks import _search_figures, _searches, plots
from benchmarks._records import DATASETS
from benchmarks.harness import Context, Document

__all__ = ["DATASETS", "draw", "run", "summarise"]

_LINES = {
    "two_phase:expressflow": (plots.COLOURS[1], "-"),
    "two_phase_k:expressflow": (plots.COLOURS[1], "--"),
    "two_phase_k:jacflow": (plots.COLOURS[4], "--"),
    "two_phase_k:params": (plots.COLOURS[1], ":"),
    "evolution": (plots.COLOURS[0], "-"),
    "tabnas": (plots.COLOURS[2], "-"),
    "random": (plots.COLOURS[6], "--"),
}

PUBLISHED: Mapping[str, float] = {"frappe": 8.1, "criteo": 24.4, "uci_diabetes": 7.3}
"""How many times sooner two-phase selection reaches the quality of training-based search."""

_BUDGETS = 24


def run(context: Context) -> None:
    """Selections at 24 budgets, and one search a seed of the others."""
    _searches.run(context, _LINES, 8 if context.quick else _BUDGETS)


def _seconds(document: Document, method: str) -> dict[float, float]:
    (facts,) = document.select(method="table")
    rows, times = document.select(method=method), _searches.grid(document.rows)
    return {share: _searches.seconds_to(rows, auc, times) for share, auc in _searches.targets(facts).items()}


def _near(document: Document, slow: str, fast: str) -> list[str]:
    """How many times sooner one method is near the best validation AUC, for each of `_search_figures.NEAR`."""
    times = _searches.grid(document.rows)
    rows = [document.select(method=method) for method in (slow, fast)]
    return [
        _searches.ratio(*(_searches.seconds_near(one, below, times) for one in rows)) for below in _search_figures.NEAR
    ]


def summarise(document: Document) -> list[str]:
    """Seconds to parts of the way to the best, and how many times sooner two-phase selection is there."""
    lines = [_search_figures.heading(document), *_search_figures.times_to_quality(document, list(_LINES))]
    for ours in ("two_phase:expressflow", "two_phase_k:expressflow", "two_phase_k:jacflow", "two_phase_k:params"):
        fast = _seconds(document, ours)
        for other in ("evolution", "tabnas", "random"):
            slow = _seconds(document, other)
            found = ", ".join(f"{_searches.ratio(slow[share], fast[share])}" for share in fast)
            lines.append(f"  times that {_searches.LABELS[ours]} is sooner than {_searches.LABELS[other]}: {found}")
            near = ", ".join(_near(document, other, ours))
            lines.append(f"    and near the best validation AUC: {near}")
    return [*lines, f"  published: {PUBLISHED[document.settings['dataset']]} times sooner than training-based search"]


def draw(document: Document) -> Mapping[str, Figure]:
    """Test AUC by seconds, and seconds by the part of the way to the best."""
    dataset, (facts,) = document.settings["dataset"], document.select(method="table")
    figure, (left, right) = plots.panels(2, width=5.2, height=3.9)
    times = _searches.grid(document.rows, 60)
    _search_figures.by_seconds(left, document, _LINES, times, bands=("two_phase:expressflow", "evolution"))
    left.set_title(f"Two-phase against training-based: {dataset}")
    slow = _seconds(document, "evolution")
    for method, (colour, line) in _LINES.items():
        found = {share: s for share, s in _seconds(document, method).items() if not math.isnan(s)}
        right.plot([100 * share for share in found], list(found.values()), line, color=colour, marker="o", markersize=3)
    there = {100 * share: s / PUBLISHED[dataset] for share, s in slow.items() if not math.isnan(s)}
    label = f"evolution / {PUBLISHED[dataset]} (published speed-up)"
    right.plot(list(there), list(there.values()), "x", color=plots.COLOURS[3], label=label)
    right.axhline(facts["oracle_seconds"], color="#888888", linewidth=1.0, label="training the best alone")
    right.set_yscale("log")
    right.set_xlabel("per cent of the way from one at random to the best by validation")
    right.set_ylabel("seconds until the median test AUC is there")
    right.set_title(_search_figures.caption(facts), fontsize=8.5)
    handles, names = (a + b for a, b in zip(*(x.get_legend_handles_labels() for x in (left, right)), strict=True))
    figure.legend(handles, names, loc="outside upper center", ncols=4, fontsize=7.5)
    return {"": figure}
