"""A made-up benchmark of cells: accuracies and seconds written directly, without a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trails.bench.image import score_table
from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.image.store import ImageSetting, write
from trails.family import Design
from trails.space import picture_space

SPACE = picture_space("nasbench201")
CELLS: list[Design] = sorted({tuple(map(int, row)) for row in np.random.default_rng(0).integers(0, 5, (90, 6))})
SCORING_SECONDS = 0.5
"""Of a cell by any metric."""


def quality(design: Design, epochs: int) -> float:
    """Validation accuracy: better with convolutions, and with longer training, which changes the order a little."""
    noise = float(np.random.default_rng([epochs, *design]).normal(0.0, 4.0 / epochs))
    return 50.0 + epochs / 10.0 + sum({2: 1.0, 3: 2.0, 1: 0.5}.get(operation, 0.0) for operation in design) + noise


def seconds(design: Design, epochs: int) -> float:
    """Of a training: a second an epoch and convolution, at least one."""
    return float(epochs * max(1, sum(operation in (2, 3) for operation in design)))


def written(
    folder: Path,
    name: str = "nasbench201",
    cells: Sequence[Design] = CELLS,
    schedules: Mapping[int, Callable[[Design, int], float] | None] | None = None,
    datasets: Sequence[str] = ("c10", "in16"),
    tested: bool = True,
) -> ImageBenchmark:
    """A benchmark of some cells.

    Args:
        folder: It is written there.
        name: Of its space.
        cells: Recorded ones.
        schedules: By epochs how long a training takes; None for not known. None for `seconds` of 12 and 200.
        datasets: That they were trained on.
        tested: Whether test accuracies are recorded: one below validation of one run, two below as the mean of several.
    """
    space = picture_space(name)
    architectures, accuracies = [], []
    for place, design in enumerate(cells):
        row: dict[str, Any] = {"index": space.index(design)}
        facts = {"published": str(place), "architecture": space.format(design), "parameters": 1, "flops": 1}
        architectures.append(row | facts)
        for dataset in datasets:
            for epochs, took in (schedules or {12: seconds, 200: seconds}).items():
                value = quality(design, epochs)
                what = row | {"dataset": dataset, "epochs": epochs, "seconds": took and took(design, epochs)}
                accuracies.append(what | {"split": "valid", "runs": "one", "accuracy": value})
                if tested:
                    accuracies.append(what | {"split": "test", "runs": "one", "accuracy": value - 1.0})
                    if epochs == 200:
                        accuracies.append(what | {"split": "test", "runs": "mean", "accuracy": value - 2.0})
    tables = {"architecture": architectures, "accuracy": accuracies, "published_score": []}
    write(folder, ImageSetting(name, {}), tables)
    return ImageBenchmark(folder)


def scored(benchmark: ImageBenchmark, tfmem: str = "naswot", sign: float = 1.0) -> None:
    """Keep scores that know the quality but for some noise."""
    space, rows = benchmark.space, []
    indices = score_table.representatives(space, benchmark.recorded().recorded)
    for index in np.unique(indices).tolist():
        value = quality(space.architecture(index), 200) + float(np.random.default_rng(index).normal(0.0, 1.0))
        rows.append(
            {"index": index, "tfmem": tfmem, "batch_seed": 1, "score": sign * value, "seconds": SCORING_SECONDS}
        )
    score_table.add(benchmark.folder, rows)
