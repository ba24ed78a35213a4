"""How experiments on published searches draw quality and regret by seconds, and say what took how long."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks._searches import LABELS, all_at, grid, seconds_near, seconds_to, targets
from benchmarks.harness import Document, Row

Line = tuple[str, str]
"""Colour and kind of line."""


def context_lines(axis: Axes, facts: Row) -> None:
    """Draw a random architecture and the best by validation, with the noise of seeds around it."""
    best = facts["best_test"]
    axis.axhline(facts["random_test"], color="#888888", linestyle=":", linewidth=1.0, label="one at random (median)")
    axis.axhline(best, color="#888888", linestyle="--", linewidth=1.0, label="best by validation (median)")
    if facts["noise"]:
        label = "± one SD between training seeds"
        axis.axhspan(
            best - facts["noise"], best + facts["noise"], color="#bbbbbb", alpha=0.25, linewidth=0, label=label
        )


def handed_over(
    rows: Sequence[Row], times: Sequence[float], regret: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median seconds spent and quartiles of what is handed over at each of some times.

    Args:
        rows: Searches of one method; see `benchmarks._searches.search`.
        times: Seconds; those before most searches have something are left out.
        regret: How far the validation AUC is below the best of the pool, instead of the test AUC.

    Returns:
        Seconds that were spent by then, which are fewer where searches had ended: (found,); and quartiles (found, 3).
    """
    shape = (len(rows), len(times))
    values = np.array([all_at(row, times, 1 if regret else 2) for row in rows]).reshape(shape)
    if regret:
        values = np.array([[row["best_valid"]] for row in rows]) - values
    # A search has spent what it was given, unless it has ended; a run of a given size what it took.
    when = np.array([np.minimum(row["spent"], times) if "spent" in row else all_at(row, times, 0) for row in rows])
    most = np.isfinite(values).mean(axis=0) > 0.5
    if not most.any():
        return np.array([]), np.empty((0, 3))
    return np.nanmedian(when[:, most], axis=0), np.nanquantile(values[:, most], (0.25, 0.5, 0.75), axis=0).T


def by_seconds(
    axis: Axes,
    document: Document,
    lines: Mapping[str, Line],
    times: Sequence[float],
    *,
    regret: bool = False,
    bands: Sequence[str] = (),
    labels: Mapping[str, str] = LABELS,
) -> None:
    """Draw a line for each method: medians, and quartiles of the methods in ``bands``."""
    (facts,) = document.select(method="table")
    drawn = []
    for method, (colour, line) in lines.items():
        rows = document.select(method=method)
        spent, found = handed_over(rows, times, regret) if rows else (np.array([]), np.empty((0, 3)))
        if not spent.size:
            continue
        drawn.append(found[:, 1])
        marker = "." if spent.size <= 20 else ""
        axis.plot(spent, found[:, 1], line, color=colour, marker=marker, linewidth=1.3, label=labels[method])
        if method in bands:
            axis.fill_between(spent, found[:, 0], found[:, 2], color=colour, alpha=0.15, linewidth=0)
    seconds_axis(axis)
    if regret:
        axis.set_ylim(bottom=0.0, top=1.1 * max((np.quantile(line, 0.95) for line in drawn), default=1.0) + 1e-6)
        if "span" in facts:
            axis.set_yscale("symlog", linthresh=facts["span"] / 50.0)
            axis.yaxis.set_major_formatter(FuncFormatter(lambda below, _: f"{below:g}"))
        axis.set_ylabel(f"validation {measure(facts)} below the best{facts.get('unit', '')}, median")
        return
    context_lines(axis, facts)
    everything = np.concatenate([*drawn, [facts["best_test"], facts["random_test"]]])
    low, high = np.quantile(everything, 0.05), everything.max()
    low = max(min(low, facts["random_test"]), facts["best_test"] - facts.get("span", math.inf))
    axis.set_ylim(low - 0.1 * (high - low), high + 0.12 * (high - low))
    axis.set_ylabel(f"test {measure(facts)}{facts.get('unit', '')}, median; epochs to {facts['to_epoch']}")


def measure(facts: Row) -> str:
    """What quality is: AUC, unless the facts say otherwise."""
    return str(facts.get("measure", "AUC"))


def seconds_axis(axis: Axes) -> None:
    """A logarithmic axis of seconds, in plain numbers that do not run into each other."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 50.0 * low else (1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:,g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("seconds spent")


def two_panels(
    document: Document,
    lines: Mapping[str, Line],
    title: str,
    *,
    bands: Sequence[str] = (),
    labels: Mapping[str, str] = LABELS,
) -> Figure:
    """Test AUC and validation regret by seconds, with the legend beside them."""
    figure, (left, right) = plots.panels(2, width=5.2, height=3.9)
    (facts,) = document.select(method="table")
    times = grid(document.rows, 60)
    by_seconds(left, document, lines, times, bands=bands, labels=labels)
    by_seconds(right, document, lines, times, regret=True, bands=bands, labels=labels)
    left.set_title(f"{title}: {document.settings['dataset']}")
    right.set_title(caption(facts), fontsize=8.5)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7.5)
    return figure


def caption(facts: Row) -> str:
    """What the searches of a figure were of."""
    return f"{facts['table']},\nhalf of them for each seed; {facts.get('clock', 'simulated clock')}"


def heading(document: Document) -> str:
    """Dataset, size of the table, and what a search's quality is to be held against."""
    (facts,) = document.select(method="table")
    noise = "unknown" if facts["noise"] is None else f"{facts['noise']:.4f}"
    return (
        f"{document.settings['dataset']}, {facts['table']}, {facts['pool']} of them for every seed, epochs to "
        f"{facts['to_epoch']}; test {measure(facts)}{facts.get('unit', '')} of one at random "
        f"{facts['random_test']:.4f}, of the best by validation "
        f"{facts['best_test']:.4f} (medians), which alone takes {facts['oracle_seconds']:.3g} s to train; SD between "
        f"training seeds {noise}"
    )


NEAR = (0.01, 0.005, 0.002, 0.001, 0.0)
"""How far below the best a validation AUC is looked for."""


def near(facts: Row) -> Sequence[float]:
    """How far below the best a validation metric is looked for: `NEAR`, unless the facts say otherwise."""
    return tuple(facts.get("near", NEAR))


def times_to_quality(
    document: Document, methods: Sequence[str], clock: int = 0, labels: Mapping[str, str] = LABELS
) -> list[str]:
    """A line for each method: seconds until the median test metric is parts of the way from random to the best.

    And seconds until the median validation metric is near the best of the pool.
    """
    (facts,) = document.select(method="table")
    wanted, times = targets(facts), grid(document.rows)
    found = {method: rows for method in methods if (rows := document.select(method=method))}
    lines = [_columns(f"seconds until the median test {measure(facts)} is", [f"{auc:.4f}" for auc in wanted.values()])]
    for method, rows in found.items():
        lines.append(_columns(labels[method], [_told(seconds_to(rows, auc, times, clock)) for auc in wanted.values()]))
    below_best = [f"{below:g}" for below in near(facts)]
    lines.append(_columns(f"and validation {measure(facts)} below the best by", below_best))
    for method, rows in found.items():
        lines.append(
            _columns(labels[method], [_told(seconds_near(rows, below, times, clock)) for below in near(facts)])
        )
    return lines


def _columns(label: str, values: Sequence[str]) -> str:
    return f"  {label:40} " + " ".join(f"{value:>9}" for value in values)


def _told(seconds: float) -> str:
    return "never" if math.isnan(seconds) else f"{seconds:.3g}"
