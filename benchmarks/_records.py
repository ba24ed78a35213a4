"""What experiments on recorded benchmarks share: the tables, how far a training goes, and what was published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trails import bench
from trails.bench.protocol import SEEDS, WITH_ALL_SEEDS
from trails.bench.table import Benchmark

if TYPE_CHECKING:
    from benchmarks.harness import Document, Row

DATASETS = ("frappe", "uci_diabetes", "criteo")

FINAL_EPOCH: Mapping[str, int] = MappingProxyType({"frappe": 14, "uci_diabetes": 1, "criteo": 10})
"""The epoch after which the published study reads an architecture's AUC."""

SEED = 1
"""Of the trainings that every recorded architecture has."""

PUBLISHED_TABLE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"frappe": (0.97729, 0.98141), "uci_diabetes": (0.62698, 0.67884), "criteo": (0.80141, 0.80335)}
)
"""Median and best AUC of the published table; its Criteo has 45.8 million rows, ours is an extract of 19,905."""


def open_table(dataset: str) -> Benchmark:
    """The recorded benchmark of a dataset."""
    return bench.open(dataset)


def table_size(benchmark: Benchmark) -> str:
    """How much is recorded, for figures: searches find the best of this, not of the space."""
    return f"{benchmark.recorded(SEED).size:,} of {benchmark.space.size:,} architectures recorded"


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the finite ones; NaN of none."""
    found = np.array([value for value in values if np.isfinite(value)])
    if not found.size:
        return float("nan"), float("nan"), float("nan")
    low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def latest(document: Document) -> list[Row]:
    """Rows of the largest table that a document was made of: tables grow, and rows name ``architectures`` recorded."""
    size = max((row["architectures"] for row in document.rows), default=0)
    return [row for row in document.rows if row["architectures"] == size]


def seeds_recorded(benchmark: Benchmark, name: str, epoch: int) -> NDArray[np.float64]:
    """A column of the architectures that were trained with every seed.

    Args:
        benchmark: The table.
        name: Of the column.
        epoch: From 1.

    Returns:
        float64 (seeds, architectures), in the order of the sample; none where none has all seeds so far.
    """
    if not set(SEEDS) <= _seeds(benchmark):
        return np.empty((len(SEEDS), 0))
    columns = []
    for seed in SEEDS:
        indices = benchmark.recorded(seed).recorded[:WITH_ALL_SEEDS].tolist()
        columns.append(dict(zip(indices, benchmark.column(name, epoch=epoch, seed=seed).tolist(), strict=False)))
    common = [index for index in columns[0] if all(index in column for column in columns)]
    return np.array([[column[index] for index in common] for column in columns])


def _seeds(benchmark: Benchmark) -> set[int]:
    return {seed for architecture in benchmark.architectures[:1] for seed in benchmark.seeds(architecture)}
