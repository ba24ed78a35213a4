"""What experiments share that repeat selections on records: pools of the table, budgets in epochs, rows, lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmarks._records import FINAL_EPOCH, SEED, quartiles, table_size
from benchmarks.harness import Context, Document
from trails.bench.candidates import drawn, recorded
from trails.bench.protocol import SEEDS
from trails.bench.simulate import Selection
from trails.bench.table import Benchmark
from trails.errors import InvalidInput

CRITEO_ERROR = 0.013
"""Standard error of a test AUC on the extract's 1,991 test rows: differences below it say nothing of Criteo."""


def begin(context: Context, benchmark: Benchmark, pool: int, **facts: object) -> None:
    """Note what the table is.

    Raises:
        InvalidInput: Rows are there of a table that has grown since: their pools were other ones.
    """
    size = table_size(benchmark)
    first = context.document.sessions[0]
    if context.document.rows and first.get("table") != size:
        raise InvalidInput(
            f"the rows in {context.document.path} are of {first.get('table')}, and now there are {size}",
            hint="Start over with --fresh.",
        )
    context.note(table=size, pool=pool, seed_noise=seed_noise(benchmark), **facts)


def half(benchmark: Benchmark) -> int:
    """Architectures of a pool: half of the table, so that pools differ from one another, and 400 at most."""
    return max(2, min(400, benchmark.recorded(SEED).size // 2))


def epoch_seconds(benchmark: Benchmark) -> float:
    """Mean over the recorded architectures of what their first epoch took, evaluation included."""
    return float(recorded(benchmark, SEED).epoch_seconds.mean())


@lru_cache(maxsize=512)
def reachable(benchmark: Benchmark, pool: int, seed: int) -> tuple[float, float]:
    """The highest validation AUC of a pool, whatever the epoch, and the test AUC there: what training all of it would
    hand over."""
    places = drawn(benchmark, SEED, pool, seed).places
    epochs = range(1, benchmark.setting.epochs + 1)
    valid, test = (
        np.stack([benchmark.column(name, epoch=epoch, seed=SEED)[places] for epoch in epochs])
        for name in ("valid_auc", "test_auc")
    )
    best = np.nanargmax(valid)
    return float(valid.flat[best]), float(test.flat[best])


def seed_noise(benchmark: Benchmark, epoch: int | None = None) -> float | None:
    """Standard deviation of an architecture's test AUC between seeds of training, after an epoch, None for the one that
    the study reads: root of the mean variance over those that were trained with several; None where none were."""
    epoch, by_name = epoch or FINAL_EPOCH[benchmark.setting.dataset], dict[str, list[float]]()
    for seed in SEEDS:
        try:
            space = benchmark.recorded(seed)
            column = benchmark.column("test_auc", epoch=epoch, seed=seed)
        except InvalidInput:
            continue
        for place, auc in enumerate(column.tolist()):
            by_name.setdefault(space.format(space.architecture(place)), []).append(auc)
    several = [np.var(aucs, ddof=1) for aucs in by_name.values() if len(aucs) > 1 and np.isfinite(aucs).all()]
    return float(np.sqrt(np.mean(several))) if several else None


def noise_line(document: Document) -> str:
    """The noise that differences have to stand out from, for people."""
    noise = document.sessions[0]["seed_noise"]
    told = "not recorded" if noise is None else f"{noise:.4f}"
    rows = (
        f"; its standard error by the few test rows: {CRITEO_ERROR}" if document.settings["dataset"] == "criteo" else ""
    )
    return f"standard deviation of one architecture's test AUC between seeds of training: {told}{rows}"


def row_of(selection: Selection, reached: tuple[float, float] | None = None) -> dict[str, Any]:
    """What is recorded of a simulated selection; with what its pool holds (`reachable`) its ``regret`` too, which is in
    validation AUC."""
    compared = {} if reached is None else {"regret": reached[0] - selection.valid_auc, "best_test_auc": reached[1]}
    return {
        "winner": selection.winner,
        "valid_auc": selection.valid_auc,
        "test_auc": selection.test_auc,
        **compared,
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
