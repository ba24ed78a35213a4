"""A made-up recorded benchmark: curves written directly, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.bench.plan import sample
from trails.bench.store import Setting, Store
from trails.bench.table import Benchmark
from trails.family import Design
from trails.space import parse_space

SPACE, RECORDED, EPOCHS = "mlp3x10", 600, 9
BEST = (48, 96, 48)
"""Where the hill of `quality` has its top."""


def quality(design: Design) -> float:
    """AUC after many epochs: a hill over the widths' places, the same for all seeds."""
    widths = parse_space(SPACE).choices[0]
    return 0.9 - 0.01 * sum(abs(widths.index(w) - widths.index(b)) for w, b in zip(design, BEST, strict=True))


class Scored(Benchmark):
    """With scores that know the truth but for some noise, and cost a tenth of an epoch."""

    def scores(self, tfmem: str, batch_seed: int = 1) -> NDArray[np.float64]:
        noise = np.random.default_rng(batch_seed).normal(0.0, 0.01, self.recorded(1).size)
        space = self.recorded(1)
        return np.array([quality(space.architecture(index)) for index in range(space.size)]) + noise

    merits = scores

    def scoring_seconds(self, tfmem: str) -> float:
        return 0.1

    def whole_space_seconds(self, tfmem: str) -> float | None:
        return 0.5


def made_up(folder: Path, recorded: int = RECORDED, wrong: tuple[int, ...] = ()) -> Scored:
    """A benchmark of the first architectures of a sample, an epoch a second.

    Args:
        folder: It is written there.
        recorded: Architectures.
        wrong: Places whose training went wrong in its second epoch.
    """
    store, space = Store(folder), parse_space(SPACE)
    rows = {"train": 1000, "valid": 100, "test": 100}
    store.claim(Setting("made_up", "0", rows, 10, SPACE, 2024, EPOCHS, {"embedding": 10}))
    curves: list[dict[str, Any]] = []
    for place, index in enumerate(sample(space.size, recorded)):
        best = quality(space.architecture(index))
        for epoch in range(1, EPOCHS + 1):
            row: dict[str, Any] = {"place": place, "seed": 1, "epoch": epoch, "stacked": 1, "machine": "none"}
            value = np.nan if place in wrong and epoch > 1 else best - 0.2 / epoch
            row |= {f"{split}_{what}": value for split in ("train", "valid", "test") for what in ("auc", "loss")}
            row["test_auc"] = value - 0.01
            curves.append(row | {"train_seconds": 0.75, "valid_seconds": 0.25})
            if np.isnan(value):
                break
    store.add(curves, [])
    return Scored(folder)
