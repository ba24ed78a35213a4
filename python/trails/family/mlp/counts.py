"""Parameters and floating-point operations of multi-layer perceptrons with one output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trails.family.mlp.grid import Grid


def parameters(architecture: tuple[int, ...], inputs: int) -> int:
    """Weights and biases of the MLP with ``inputs`` inputs and one output, without the embedding."""
    sizes = (inputs, *architecture, 1)
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


def flops(architecture: tuple[int, ...], inputs: int) -> int:
    """Floating-point operations of one row through one MLP, two for each weight: a product and a sum."""
    return 2 * multiply_accumulates(architecture, inputs)


def multiply_accumulates(widths: Sequence[int], inputs: int) -> int:
    """Multiply-accumulates of one row through an MLP forward, embedding and BatchNorm not counted.

    Args:
        widths: Hidden widths, first layer first.
        inputs: Numbers that the first layer reads: fields times embedding size.
    """
    sizes = (inputs, *widths, 1)
    return sum(before * after for before, after in pairwise(sizes))


def all_parameters(space: Grid, inputs: int) -> NDArray[np.int64]:
    """`parameters` of every MLP of a space: int64 (size,), in the space's order."""
    widths = np.array(space.widths, dtype=np.int64)
    before = np.array([inputs], dtype=np.int64)
    total = np.zeros(1, dtype=np.int64)
    for _ in range(space.layers):
        # Architectures so far by widths of the next layer; the last layer varies fastest.
        total = (total[:, None] + np.multiply.outer(before + 1, widths)).ravel()
        before = np.tile(widths, total.size // widths.size)
    return total + before + 1


def all_flops(space: Grid, inputs: int) -> NDArray[np.float64]:
    """`flops` of every MLP of a space: float64 (size,), in the space's order."""
    widths = np.array(space.widths, dtype=np.float64)
    before: NDArray[np.float64] = np.array([float(inputs)])
    total = np.zeros(1)
    for _ in range(space.layers):
        total = (total[:, None] + np.multiply.outer(before, widths)).ravel()
        before = np.tile(widths, total.size // widths.size)
    return 2.0 * (total + before)
