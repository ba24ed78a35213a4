"""Rank correlations with their intervals as dots in rows, and in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from benchmarks import plots
from benchmarks.harness import Row


def dots(axis: Axes, metrics: Sequence[Row], kind: str, offset: float, colour: int, label: str) -> None:
    """A dot for each metric from the lowest row up, its interval as a line, the range of its batches in grey.

    Args:
        axis: Drawn on.
        metrics: Rows with ``kind``, ``kind_interval`` and ``kind_batches``.
        kind: Of coefficient.
        offset: Above the row, in rows.
        colour: Number of one of `plots.COLOURS`.
        label: For the legend.
    """
    places = np.arange(len(metrics)) + offset
    values = np.array([row[kind] for row in metrics], dtype=np.float64)
    intervals = np.array([row[f"{kind}_interval"] for row in metrics], dtype=np.float64)
    batches = [[value for value in row[f"{kind}_batches"] if value is not None] or [np.nan] for row in metrics]
    axis.hlines(places, [min(one) for one in batches], [max(one) for one in batches], color="#bbbbbb", linewidth=5)
    axis.hlines(places, intervals[:, 0], intervals[:, 1], color=plots.COLOURS[colour], linewidth=1)
    axis.plot(values, places, ".", color=plots.COLOURS[colour], markersize=6, label=label)


def name_rows(axis: Axes, names: Sequence[str], controls: Sequence[str], shown: bool) -> None:
    """Name the rows, from the lowest up, where the names are ``shown``, and say which are controls."""
    labels = [f"{name} (control)" if name in controls and not name.startswith("random") else name for name in names]
    axis.set_yticks(range(len(names)), labels if shown else [""] * len(names))
    axis.set_ylim(-0.7, len(names) - 0.3)
    axis.axvline(0.0, color="#888888", linewidth=0.8)


def between(low: float | None, high: float | None) -> str:
    """An interval in words."""
    return "none" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def shown(value: float | None) -> str:
    """A coefficient in seven characters."""
    return "   none" if value is None else f"{value:7.3f}"
