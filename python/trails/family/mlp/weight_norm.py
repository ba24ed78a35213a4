"""The sum over layers of the L2 norm of the weights, of a whole space (:mod:`trails.tfmem.weight_norm`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trails.checks import no_check
from trails.family.mlp.bank import draw_bank
from trails.family.mlp.grid import Grid
from trails.family.mlp.prefix import prefix_sums


def weight_norm(space: Grid, inputs: int, seed: int, check: Callable[[], None] = no_check) -> NDArray[np.float64]:
    """Score every architecture of a space.

    A layer's squared norm depends on its own width and the one before it: two-dimensional prefix sums of the
    bank's squares hold all of them.

    Args:
        space: The space.
        inputs: Width of the embedded row: fields times embedding size.
        seed: Draws the shared weights.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        float64 (space.size,) in the space's order; higher is better.
    """
    bank = draw_bank(space.layers, space.widths[-1], inputs, seed, check)
    widths = space.widths
    six_over = 6.0 / np.array(widths, dtype=np.float64)
    total = np.sqrt(6.0 / inputs * prefix_sums(np.square(bank.layers[0]).sum(axis=0), widths))
    for layer in bank.layers[1:]:
        check()
        squares = prefix_sums(prefix_sums(np.square(layer), widths).T, widths).T
        total = total[..., :, None] + np.sqrt(six_over[:, None] * squares)
    check()
    output = np.sqrt(six_over * prefix_sums(np.square(bank.output), widths))
    return np.asarray(total + output, dtype=np.float64).reshape(-1)
