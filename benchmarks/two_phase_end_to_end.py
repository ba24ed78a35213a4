"""Two-phase selection against TabNAS and evolution on records, tables and cells: seconds to a given test quality."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from benchmarks import _image_searches, _records, _search_figures, _searches, plots
from benchmarks._cells import missing
from benchmarks._searches import Kind
from benchmarks.harness import Context, Document

__all__ = ["DATASETS", "draw", "missing", "run", "summarise"]

DATASETS = (*_records.DATASETS, *_image_searches.DATASETS)

PUBLISHED: Mapping[str, float] = {"frappe": 8.1, "criteo": 24.4, "uci_diabetes": 7.3, **_image_searches.PUBLISHED}
"""How many times sooner two-phase selection reaches the quality of training-based search."""

_BUDGETS = 24


@dataclass(frozen=True)
class _Compared:
    """What is compared on a kind of data.

    Args:
        kind: How it is searched.
        labels: Of methods.
        ours: Two-phase selections, the first with a band.
        others: Searches that they are held against, the first being the published comparison's.
    """

    kind: Kind
    labels: Mapping[str, str]
    ours: Mapping[str, _search_figures.Line]
    others: Mapping[str, _search_figures.Line]

    @property
    def lines(self) -> Mapping[str, _search_figures.Line]:
        """How each is drawn."""
        return {**self.ours, **self.others}


_EVOLUTION = {"evolution": (plots.COLOURS[0], "-")}
_RANDOM = {"random": (plots.COLOURS[6], "--")}

_TABLES = _Compared(
    _searches.TABLES,
    _searches.LABELS,
    {
        "two_phase:expressflow": (plots.COLOURS[1], "-"),
        "two_phase_k:expressflow": (plots.COLOURS[1], "--"),
        "two_phase_k:jacflow": (plots.COLOURS[4], "--"),
        "two_phase_k:params": (plots.COLOURS[1], ":"),
    },
    {**_EVOLUTION, "tabnas": (plots.COLOURS[2], "-"), **_RANDOM},
)

_CELLS = _Compared(
    _image_searches.CELLS,
    _image_searches.LABELS,
    {
        "two_phase:jacflow": (plots.COLOURS[1], "-"),
        "two_phase_k:jacflow": (plots.COLOURS[1], "--"),
        "two_phase_k:params": (plots.COLOURS[1], ":"),
    },
    {**_EVOLUTION, "evolution_short": (plots.COLOURS[0], ":"), **_RANDOM},
)


def _compared(dataset: str | None) -> _Compared:
    return _CELLS if dataset in _image_searches.DATASETS else _TABLES


def run(context: Context) -> None:
    """Selections at 24 budgets, and one search a seed of the others."""
    compared = _compared(context.dataset)
    _searches.run(context, compared.lines, 8 if context.quick else _BUDGETS, compared.kind)


def _seconds(document: Document, method: str) -> dict[float, float]:
    (facts,) = document.select(method="table")
    rows, times = document.select(method=method), _searches.grid(document.rows)
    return {share: _searches.seconds_to(rows, auc, times) for share, auc in _searches.targets(facts).items()}


def _near(document: Document, slow: str, fast: str) -> list[str]:
    """How many times sooner one method is near the best by validation, for each of `_search_figures.near`."""
    (facts,) = document.select(method="table")
    times = _searches.grid(document.rows)
    rows = [document.select(method=method) for method in (slow, fast)]
    return [
        _searches.ratio(*(_searches.seconds_near(one, below, times) for one in rows))
        for below in _search_figures.near(facts)
    ]


def summarise(document: Document) -> list[str]:
    """Seconds to parts of the way to the best, and how many times sooner two-phase selection is there."""
    dataset = document.settings["dataset"]
    compared = _compared(dataset)
    lines = [
        _search_figures.heading(document),
        *_search_figures.times_to_quality(document, list(compared.lines), labels=compared.labels),
    ]
    for ours in compared.ours:
        fast = _seconds(document, ours)
        for other in compared.others:
            slow = _seconds(document, other)
            found = ", ".join(f"{_searches.ratio(slow[share], fast[share])}" for share in fast)
            lines.append(f"  times that {compared.labels[ours]} is sooner than {compared.labels[other]}: {found}")
            near = ", ".join(_near(document, other, ours))
            lines.append(f"    and near the best by validation: {near}")
    return [*lines, f"  published: {PUBLISHED[dataset]:g} times sooner than training-based search"]


def draw(document: Document) -> Mapping[str, Figure]:
    """Test quality by seconds, and seconds by the part of the way to the best."""
    dataset, (facts,) = document.settings["dataset"], document.select(method="table")
    compared = _compared(dataset)
    figure, (left, right) = plots.panels(2, width=5.2, height=3.9)
    times = _searches.grid(document.rows, 60)
    bands = (next(iter(compared.ours)), "evolution")
    _search_figures.by_seconds(left, document, compared.lines, times, bands=bands, labels=compared.labels)
    left.set_title(f"Two-phase against training-based: {dataset}")
    slow = _seconds(document, "evolution")
    for method, (colour, line) in compared.lines.items():
        found = {share: s for share, s in _seconds(document, method).items() if not math.isnan(s)}
        right.plot([100 * share for share in found], list(found.values()), line, color=colour, marker="o", markersize=3)
    there = {100 * share: s / PUBLISHED[dataset] for share, s in slow.items() if not math.isnan(s)}
    label = f"evolution / {PUBLISHED[dataset]:g} (published speed-up)"
    right.plot(list(there), list(there.values()), "x", color=plots.COLOURS[3], label=label)
    right.axhline(facts["oracle_seconds"], color="#888888", linewidth=1.0, label="training the best alone")
    right.set_yscale("log")
    right.set_xlabel("per cent of the way from one at random to the best by validation")
    right.set_ylabel(f"seconds until the median test {_search_figures.measure(facts)} is there")
    right.set_title(_search_figures.caption(facts), fontsize=8.5)
    handles, names = (a + b for a, b in zip(*(x.get_legend_handles_labels() for x in (left, right)), strict=True))
    figure.legend(handles, names, loc="outside upper center", ncols=4, fontsize=7.5)
    return {"": figure}
