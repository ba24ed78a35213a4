"""Batches of real pictures for experiments: those of CIFAR-10, in any size and with any number of classes."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import ROOT

if TYPE_CHECKING:
    from trails.bench.image.pictures import Pictures
    from trails.tfmem import Batch


def data() -> Path:
    """Where datasets are."""
    return Path(os.environ.get("TRAILS_DATA", ROOT.parent / "shared" / "datasets"))


@cache
def cifar10() -> Pictures:
    """The training pictures."""
    from trails.bench.image.pictures import read_pictures

    return read_pictures(data() / "cifar10" / "cifar10_subset.tar.xz")


def batch(rows: int, seed: int, side: int = 32, classes: int = 10) -> Batch:
    """Some pictures, resized; where other classes than their own ten are asked for, each has one that is drawn."""
    from trails.tfmem import Batch

    found = cifar10().batch(rows, seed, side)
    if classes == found.outputs:
        return found
    drawn = np.random.default_rng(seed).integers(0, classes, rows)
    return Batch(found.x, drawn.astype(np.float64), "multiclass", classes)
