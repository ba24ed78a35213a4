"""Parameters and multiply-accumulates: the baselines that any score must beat."""

from __future__ import annotations

from trails.tfmem.network import Network


def params_of(network: Network) -> float:
    """Weights and biases of one network that would have biases, the embedding not counted."""
    return float(sum((matrix.shape[0] + 1) * matrix.shape[1] for matrix in network.weights))


def flops_of(network: Network) -> float:
    """Floating-point operations of one row through one network, two for each weight: a product and a sum."""
    return float(2 * sum(matrix.size for matrix in network.weights))
