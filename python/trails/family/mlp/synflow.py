"""SynFlow of a whole space; :mod:`trails.tfmem.synflow` is the formula.

The score is the number of weight layers times the output R, and R of a whole space comes from one forward pass over all
beginnings of architectures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trails.checks import no_check
from trails.family.mlp.bank import draw_bank
from trails.family.mlp.grid import Grid
from trails.family.mlp.prefix import into_space_order, prefix_sums, running_products
from trails.tfmem.network import Matrix


def synflow(space: Grid, inputs: int, seed: int, check: Callable[[], None] = no_check) -> NDArray[np.float64]:
    """Score every architecture of a space exactly, by sharing prefixes.

    Args:
        space: The space.
        inputs: Width of the embedded row: fields times embedding size.
        seed: Draws the shared weights.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        float64 (space.size,) in the space's order; higher is better.
    """
    bank = draw_bank(space.layers, space.widths[-1], inputs, seed, check)
    widths, count = space.widths, len(space.widths)
    scale = np.sqrt(6.0 / np.array(widths, dtype=np.float64))
    flow: Matrix = (np.ones(inputs) @ bank.layers[0] * np.sqrt(6.0 / inputs))[:, None]
    for layer in bank.layers[1:-1]:
        extended = np.empty((layer.shape[1], count, flow.shape[1]))
        for position, sums in running_products(layer, flow, widths, count, check):
            np.multiply(sums, scale[position], out=extended[:, position])
        flow = extended.reshape(layer.shape[1], -1)
    # Nobody needs the last layer's own activations: fold it and the output into one column per width.
    check()
    last = (prefix_sums((bank.layers[-1] * bank.output).T, widths) * scale[:, None]).T
    output = np.empty((count, count, flow.shape[1]))
    for position, sums in running_products(last, flow, widths, count, check):
        np.multiply(sums, (space.layers + 1) * scale[position], out=output[:, position])
    scores = np.empty((count,) * space.layers)
    into_space_order(output.reshape(scores.shape), scores, check)
    return scores.reshape(-1)
