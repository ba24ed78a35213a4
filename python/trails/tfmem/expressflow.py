"""ExpressFlow: neuron saliency weighted by layer width and by how far a small step in the input travels.

The score of one architecture with hidden widths n_1..n_L, positive weights, no biases, ReLUs, an input x of
ones and a perturbed input x + d, d = 1e-5 * g, g ~ N(0, 1):

    V_l   = z_l * |dR/dz_l|                 z_l: hidden layer l's activations, R: the network's output
    T_l   = norm(z_l(x + d) - z_l(x)) / 1e-5
    w_l   = (1 / (T_l + 1e-6)) / sum_j 1 / (T_j + 1e-6)
    score = sum_l w_l * n_l * sum(V_l)

Source: the two-phase model selection study (TRAILS). :mod:`trails.tfmem.textbook` is this formula word for
word; :mod:`trails.family.mlp.expressflow` scores whole spaces by it.
"""

from __future__ import annotations

import numpy as np

from trails.tfmem.network import Matrix, Network, Vector

STEP = 1e-5
"""Length scale of the perturbation d = STEP * g."""

GUARD = 1e-6
"""Added to every trajectory length before it divides."""


def expressflow_of(network: Network) -> float:
    """ExpressFlow of one network: two forward passes and one backward pass, using none of its identities."""
    hidden, output = network.weights[:-1], network.weights[-1]
    x = np.ones_like(network.direction)
    activations = _forward(x, hidden)
    perturbed = _forward(x + STEP * network.direction, hidden)

    saliency = np.empty(len(hidden))
    gradient = output[:, 0]
    for layer in reversed(range(len(hidden))):
        saliency[layer] = np.sum(activations[layer] * np.abs(gradient))
        gradient = hidden[layer] @ (gradient * (activations[layer] > 0))

    lengths = np.array([np.linalg.norm(q - z) / STEP for q, z in zip(perturbed, activations, strict=True)])
    shares = 1.0 / (lengths + GUARD)
    shares /= np.sum(shares)
    widths = np.array([z.size for z in activations], dtype=np.float64)
    return float(np.sum(shares * widths * saliency))


def _forward(x: Vector, layers: tuple[Matrix, ...]) -> list[Vector]:
    activations = []
    for weights in layers:
        x = np.maximum(x @ weights, 0.0)
        activations.append(x)
    return activations
