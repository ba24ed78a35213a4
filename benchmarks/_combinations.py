"""Metrics of the first phase with ways of the second, by the seconds that both took: drawn, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._records import quartiles
from benchmarks.harness import Row


@dataclass(frozen=True)
class Told:
    """What rows are of. Each has ``metric``, ``way``, ``k``, ``seconds``, ``search_seed`` and the measures; one, whose
    metric is ``table``, has ``best_`` of the first measure.

    Args:
        title: Of what they are.
        metrics: In the order of colours.
        controls: Of these, those that are drawn in grey.
        ways: Of refinement, by what they are called.
        measures: Of the winner, by what they are called; it was chosen by the first.
        digits: After the point.
        note: Below the title.
    """

    title: str
    metrics: Sequence[str]
    controls: Sequence[str]
    ways: Mapping[str, str]
    measures: Mapping[str, str]
    digits: int = 5
    note: str = ""


def combination_lines(rows: Sequence[Row], told: Told) -> list[str]:
    """The first measure of every combination at a small, a middle and the largest K, by the seconds spent."""
    counts, digits, first = _counts(rows), told.digits, next(iter(told.measures))
    chosen = sorted({counts[0], counts[len(counts) // 2], counts[-1]})
    best = _best(rows, first)
    lines = [
        f"{told.title}; median {told.measures[first]} and its regret to the table's best ({best:.{digits}f}) by median "
        f"seconds spent, at K = {', '.join(map(str, chosen))}"
    ]
    for metric in told.metrics:
        for way, title in told.ways.items():
            parts = []
            for k in chosen:
                seconds, values = _at(rows, metric, way, k, first)
                parts.append(f"{seconds:,.1f} s {values[1]:.{digits}f} (-{best - values[1]:.{digits}f})")
            lines.append(f"  {metric:17}{title:20} {'; '.join(parts)}")
    return lines


def combination_figure(rows: Sequence[Row], told: Told) -> Figure:
    """A column of panels for each way of refinement, the measures against seconds spent."""
    figure, axes = plots.panels(len(told.ways), len(told.measures), width=3.6, height=2.8)
    for place, (way, title) in enumerate(told.ways.items()):
        for line, (measure, label) in enumerate(told.measures.items()):
            axis = axes[len(told.ways) * line + place]
            for number, metric in enumerate(told.metrics):
                points = [_at(rows, metric, way, k, measure) for k in _counts(rows)]
                seconds = [point[0] for point in points]
                low, middle, high = (list(column) for column in zip(*(point[1] for point in points), strict=True))
                control = metric in told.controls
                colour = "#666666" if control else plots.COLOURS[number]
                style = {"params": "--", "random order": ":"}.get(metric, ".-")
                axis.plot(seconds, middle, style, color=colour, label=f"{metric} (control)" if control else metric)
                if not control:
                    axis.fill_between(seconds, low, high, color=colour, alpha=0.12, linewidth=0)
            if line == 0:
                axis.axhline(_best(rows, measure), color="black", linewidth=0.8, label="table's best")
                axis.set_title(title)
            if line == len(told.measures) - 1:
                axis.set_xlabel("seconds spent, scoring included (simulated)")
            axis.set_xscale("log")
            axis.minorticks_off()
            axis.set_ylabel(label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    searches = len({row["search_seed"] for row in rows if "search_seed" in row})
    title = f"{told.title}; medians and quartiles of {searches} selections\n{told.note}".strip()
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def _at(rows: Sequence[Row], metric: str, way: str, k: int, measure: str) -> tuple[float, tuple[float, float, float]]:
    """Median seconds, and quartiles of a measure."""
    wanted = (metric, way, k)
    found = [row for row in rows if (row["metric"], row.get("way"), row.get("k")) == wanted]
    values = [np.nan if row[measure] is None else row[measure] for row in found]
    return float(np.median([row["seconds"] for row in found])), quartiles(values)


def _counts(rows: Sequence[Row]) -> list[int]:
    return sorted({row["k"] for row in rows if "k" in row})


def _best(rows: Sequence[Row], measure: str) -> float:
    return float(next(row[f"best_{measure}"] for row in rows if row["metric"] == "table"))
