"""ExpressFlow of a whole space; :mod:`trails.tfmem.expressflow` is the formula, whose names are used here.

Two properties of such a network make a whole space cheap. Every ReLU is open (weights and inputs are
positive, d is far smaller than x), so the network is a product of matrices A_l = W_l ... W_1: sum(V_l) = R at
every layer, and T_l = norm(A_l g). And layer l sees only the widths before it, so architectures that begin
alike share their beginnings once a narrow layer is the beginning of the widest one. :func:`expressflow`
carries the vectors x and g through all beginnings at once: 8,420 matrix-vector products instead of 160,000
networks in the space of four layers and twenty widths.

Inside PostgreSQL the caller decides how many threads BLAS may use; nothing here sets it. One is right for
filtering: the matrices are small, and set ``OPENBLAS_NUM_THREADS=1`` before NumPy is first imported to get
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trails.checks import no_check
from trails.family.mlp.bank import Bank, draw_bank
from trails.family.mlp.grid import Grid
from trails.family.mlp.prefix import into_space_order, prefix_sums, running_products
from trails.tfmem.expressflow import GUARD
from trails.tfmem.network import Matrix, Vector

# At most this many beginnings of architectures side by side in the last layer: what a product writes (2 MB at
# 512 units) then stays in the processor's cache.
_LAST_LAYER_COLUMNS = 512
# Beginnings (all layers but the last two) kept at a time: two vectors of 512 float64 each make 16 MB.
_COLUMNS = 2048


def expressflow(space: Grid, inputs: int, seed: int, check: Callable[[], None] = no_check) -> NDArray[np.float64]:
    """Score every architecture of a space exactly, by sharing prefixes.

    Args:
        space: The space.
        inputs: Width of the embedded row: fields times embedding size.
        seed: Draws the shared weights and the direction of the perturbation.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        float64 (space.size,) in the space's order; higher is better.

    Raises:
        InvalidInput: ``inputs`` is not positive.
    """
    bank = draw_bank(space.layers, space.widths[-1], inputs, seed, check)
    widths, count = space.widths, len(space.widths)
    scores = np.empty((count,) * space.layers)
    first = _first_layer(bank, widths)
    if space.layers == 2:
        scores[...] = _last_layer(first, bank, widths, check).reshape(count, count).T
        return scores.reshape(-1)

    group = max(1, _COLUMNS // count ** (space.layers - 3))
    for start in range(0, count, group):
        chosen = range(start, min(start + group, count))
        state = _next_layer(first, bank.layers[1], widths, chosen, check)
        for layer in bank.layers[2:-1]:
            state = _next_layer(state, layer, widths, range(count), check)
        block = _last_layer(state, bank, widths, check)
        block = block.reshape((count,) * (space.layers - 1) + (len(chosen),))
        into_space_order(block, scores[chosen.start : chosen.stop], check)
    return scores.reshape(-1)


@dataclass(frozen=True)
class _Beginnings:
    """All beginnings n_1..n_{l-1} of architectures (columns), seen from layer l.

    Args:
        vectors: (2, widest, columns): layer l's activations for input x, and A_l g.
        weighted: (widths, columns): sum over layers 1..l of n / (T + GUARD), row by width of layer l.
        weights: (widths, columns): sum over layers 1..l of 1 / (T + GUARD).
    """

    vectors: NDArray[np.float64]
    weighted: Matrix
    weights: Matrix


def _first_layer(bank: Bank, widths: tuple[int, ...]) -> _Beginnings:
    inputs = np.stack([np.ones_like(bank.direction), bank.direction])
    vectors = (inputs @ bank.layers[0] * np.sqrt(6.0 / len(bank.direction)))[:, :, None]
    nothing = np.zeros(1)
    return _Beginnings(vectors, *_add_trajectory(vectors[1], widths, nothing, nothing))


def _add_trajectory(
    travelled: Matrix, widths: tuple[int, ...], weighted: Vector, weights: Vector
) -> tuple[Matrix, Matrix]:
    """Add a layer's n / (T + GUARD) and 1 / (T + GUARD), for every width.

    Args:
        travelled: (widest, columns): the layer's A_l g.
        widths: Widths the layer may have.
        weighted: (columns,): sum over the layers before of n / (T + GUARD).
        weights: (columns,): sum over the layers before of 1 / (T + GUARD).

    Returns:
        Both sums with this layer in them, (widths, columns) each.
    """
    inverse = prefix_sums(np.square(travelled), widths)
    np.sqrt(inverse, out=inverse)
    inverse += GUARD
    np.reciprocal(inverse, out=inverse)
    return weighted + np.array(widths, dtype=np.float64)[:, None] * inverse, weights + inverse


def _next_layer(
    before: _Beginnings, layer: Matrix, widths: tuple[int, ...], chosen: range, check: Callable[[], None]
) -> _Beginnings:
    """Extend every beginning by each of ``chosen`` (positions): columns become (chosen, columns)."""
    columns = before.vectors.shape[2]
    extended = np.empty((2, layer.shape[1], len(chosen), columns))
    for position, sums in running_products(layer, before.vectors, widths, chosen.stop, check):
        if position in chosen:
            np.multiply(sums, np.sqrt(6.0 / widths[position]), out=extended[:, :, position - chosen.start, :])
    vectors = extended.reshape(2, layer.shape[1], len(chosen) * columns)
    rows = slice(chosen.start, chosen.stop)
    trajectory = _add_trajectory(
        vectors[1], widths, before.weighted[rows].reshape(-1), before.weights[rows].reshape(-1)
    )
    return _Beginnings(vectors, *trajectory)


def _last_layer(
    before: _Beginnings, bank: Bank, widths: tuple[int, ...], check: Callable[[], None]
) -> NDArray[np.float64]:
    """Scores (widths of the last layer, widths of the one before, columns)."""
    layer = bank.layers[-1]
    scale = np.sqrt(6.0 / np.array(widths, dtype=np.float64))
    # The output needs no activations of the last layer: fold the layer and the output into one column per
    # width.
    to_output = (prefix_sums((layer * bank.output).T, widths) * scale[:, None]).T
    check()
    columns = before.vectors.shape[2]
    scores = np.empty((len(widths), len(widths), columns))
    squares = np.empty((layer.shape[1], min(columns, _LAST_LAYER_COLUMNS)))
    for start in range(0, columns, _LAST_LAYER_COLUMNS):
        chunk = slice(start, min(start + _LAST_LAYER_COLUMNS, columns))
        activations, travelled = before.vectors[:, :, chunk]
        squared = squares[:, : travelled.shape[1]]
        steps = zip(
            running_products(layer, travelled, widths, len(widths), check),
            running_products(to_output, activations, widths, len(widths), check),
            strict=True,
        )
        for (position, trajectory), (_, output) in steps:
            np.multiply(trajectory, scale[position], out=squared)
            weighted, weights = _add_trajectory(
                squared, widths, before.weighted[position, chunk], before.weights[position, chunk]
            )
            np.divide(weighted, weights, out=weighted)
            weighted *= output
            np.multiply(weighted, scale[position], out=scores[:, position, chunk])
    return scores
