"""What experiments share that repeat selections on records: pools of the table, budgets in epochs, rows, lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks._records import SEED, quartiles
from trails.bench.candidates import recorded
from trails.bench.simulate import Selection
from trails.bench.table import Benchmark

CRITEO_ERROR = 0.013
"""Standard error of a test AUC on the extract's 1,991 test rows: differences below it say nothing of Criteo."""


def half(benchmark: Benchmark) -> int:
    """Architectures of a pool: half of the table, so that pools differ from one another, and 400 at most."""
    return max(2, min(400, benchmark.recorded(SEED).size // 2))


def epoch_seconds(benchmark: Benchmark) -> float:
    """Mean over the recorded architectures of what their first epoch took, evaluation included."""
    return float(recorded(benchmark, SEED).epoch_seconds.mean())


def reachable(benchmark: Benchmark, pool: int, seed: int) -> tuple[float, float]:
    """The highest validation AUC of a pool, whatever the epoch, and the test AUC there: what training all of it would
    hand over."""
    places = recorded(benchmark, SEED).drawn(pool, seed).places
    epochs = range(1, benchmark.setting.epochs + 1)
    valid, test = (
        np.stack([benchmark.column(name, epoch=epoch, seed=SEED)[places] for epoch in epochs])
        for name in ("valid_auc", "test_auc")
    )
    best = np.nanargmax(valid)
    return float(valid.flat[best]), float(test.flat[best])


def row_of(selection: Selection, reached: tuple[float, float]) -> dict[str, Any]:
    """What is recorded of a simulated selection; ``regret`` is in validation AUC, to the best of its pool."""
    return {
        "winner": selection.winner,
        "valid_auc": selection.valid_auc,
        "test_auc": selection.test_auc,
        "regret": reached[0] - selection.valid_auc,
        "best_test_auc": reached[1],
        "best_epoch": selection.epoch,
        "seconds": selection.seconds,
        "filtering_seconds": selection.filtering_seconds,
        "epochs": selection.epochs,
        "n": selection.n,
        "k": selection.k,
        "u": selection.u,
    }


def band(
    axis: Axes, groups: Sequence[tuple[float, Sequence[float]]], colour: str, label: str, style: str = "-"
) -> None:
    """Medians as a line with points, quartiles as a band; ``groups`` are (x, values)."""
    x = [place for place, _ in groups]
    low, middle, high = np.array([quartiles(values) for _, values in groups]).T
    axis.plot(x, middle, style, marker="o", markersize=3, linewidth=1.3, color=colour, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def middle(rows: Iterable[dict[str, Any]], key: str) -> float:
    """Median of a number over rows."""
    return quartiles(float(row[key]) for row in rows)[1]


def spread(rows: Iterable[dict[str, Any]], key: str) -> str:
    """Median and quartiles over rows, for people."""
    low, median, high = quartiles(float(row[key]) for row in rows)
    return f"{median:.4f} ({low:.4f} to {high:.4f})"


def random_order(benchmark: Benchmark, seed: int) -> NDArray[np.float64]:
    """Scores that say nothing."""
    size = benchmark.recorded(SEED).size
    return np.random.default_rng((seed, 77)).permutation(size).astype(np.float64)


def legend_below(axis: Axes, columns: int = 3) -> None:
    """A legend outside the data."""
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, fontsize=7.5)


COLOURS = plots.COLOURS
