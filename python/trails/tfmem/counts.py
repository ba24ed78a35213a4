"""Parameters and multiply-accumulates: the baselines that any score must beat."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trails.space.mlp import MlpSpace


def params(space: MlpSpace, inputs: int) -> NDArray[np.float64]:
    """Weights and biases of every MLP with one output, the embedding not counted: float64 (space.size,)."""
    return space.all_parameters(inputs).astype(np.float64)


def flops(space: MlpSpace, inputs: int) -> NDArray[np.float64]:
    """Floating-point operations of one row through every MLP with one output: float64 (space.size,).

    Two for each weight: a product and a sum.
    """
    widths = np.array(space.widths, dtype=np.float64)
    before: NDArray[np.float64] = np.array([float(inputs)])
    total = np.zeros(1)
    for _ in range(space.layers):
        total = (total[:, None] + np.multiply.outer(before, widths)).ravel()
        before = np.tile(widths, total.size // widths.size)
    return 2.0 * (total + before)


def params_of(architecture: tuple[int, ...], inputs: int) -> int:
    """Weights and biases of one MLP with one output."""
    return MlpSpace.parameters(architecture, inputs)


def flops_of(architecture: tuple[int, ...], inputs: int) -> int:
    """Floating-point operations of one row through one MLP with one output."""
    return 2 * sum(before * after for before, after in pairwise((inputs, *architecture, 1)))
