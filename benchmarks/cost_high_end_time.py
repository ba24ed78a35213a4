"""Seconds of training that two-phase selection and training-based searches spend to the same test AUC, on records."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from benchmarks import _search_figures, _searches, plots
from benchmarks._records import DATASETS
from benchmarks.harness import Context, Document

__all__ = ["DATASETS", "draw", "run", "summarise"]

_OURS = ("two_phase:expressflow", "two_phase_k:expressflow", "two_phase_k:jacflow", "two_phase_k:params")
_METHODS = (*_OURS, "random", "evolution", "reinforcement")
_TRAINING = 3
"""The clock of training alone: scores are not on it, which the published study computes on CPUs."""

PUBLISHED: Mapping[str, float] = {"frappe": 9.9, "criteo": 29.3, "uci_diabetes": 15.3}
"""How many times fewer GPU seconds two-phase selection spends than training-based search."""


def run(context: Context) -> None:
    """Selections at 24 budgets, and one search a seed of the others."""
    _searches.run(context, _METHODS, 8 if context.quick else 24)


def _seconds(document: Document) -> dict[str, dict[float, float]]:
    """By method, then by part of the way to the best."""
    (facts,) = document.select(method="table")
    times, wanted = _searches.grid(document.rows), _searches.targets(facts)
    return {
        method: {
            s: _searches.seconds_to(document.select(method=method), a, times, _TRAINING) for s, a in wanted.items()
        }
        for method in _METHODS
    }


def summarise(document: Document) -> list[str]:
    """Seconds of training to parts of the way to the best, and how many times fewer they are."""
    found = _seconds(document)
    lines = [_search_figures.heading(document)]
    lines += _search_figures.times_to_quality(document, list(_METHODS), _TRAINING)
    for ours in _OURS:
        for other in _METHODS[len(_OURS) :]:
            parts = (_searches.ratio(found[other][share], seconds) for share, seconds in found[ours].items())
            lines.append(f"  times fewer, {_searches.LABELS[ours]} than {_searches.LABELS[other]}: {', '.join(parts)}")
    return [*lines, f"  published: {PUBLISHED[document.settings['dataset']]} times fewer GPU seconds"]


def draw(document: Document) -> Mapping[str, Figure]:
    """Bars of training seconds, a group for each part of the way to the best."""
    dataset, (facts,) = document.settings["dataset"], document.select(method="table")
    figure, (axis,) = plots.panels(1, width=7.6, height=3.9)
    found = _seconds(document)
    shares = list(_searches.targets(facts))
    width = 0.8 / len(_METHODS)
    for place, method in enumerate(_METHODS):
        seconds = [found[method][share] for share in shares]
        where = np.arange(len(shares)) + (place - (len(_METHODS) - 1) / 2) * width
        axis.bar(where, seconds, width, color=plots.COLOURS[place], label=_searches.LABELS[method])
        for x, value in zip(where, seconds, strict=True):
            if math.isnan(value):
                axis.text(x, 0.01, "never", rotation=90, fontsize=6, ha="center", transform=axis.get_xaxis_transform())
    evolution = [found["evolution"][share] / PUBLISHED[dataset] for share in shares]
    label = f"evolution / {PUBLISHED[dataset]} (published)"
    axis.plot(range(len(shares)), evolution, "kx", markersize=6, label=label)
    axis.axhline(facts["oracle_seconds"], color="#888888", linewidth=1.0, label="training the best alone")
    axis.set_yscale("log")
    axis.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
    axis.set_xlabel("part of the way from one at random to the best by validation, median test AUC")
    axis.set_ylabel("seconds of training, one core, simulated clock")
    axis.set_title(f"Training spent to the same quality: {dataset}\n{_search_figures.caption(facts)}", fontsize=8.5)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=7.5)
    return {"": figure}
