"""Training-free scores exactly as their papers write them, one network at a time with torch's autograd.

Slow on purpose and used by tests and benchmarks only: the fast versions are held against these. Needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from trails.tfmem.bank import Network


def network_from(weights: Network) -> nn.Sequential:
    """The torch module (float64, no biases) with the weights of a NumPy network."""
    modules: list[nn.Module] = []
    for matrix in weights.weights:
        linear = nn.Linear(matrix.shape[0], matrix.shape[1], bias=False, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(matrix.T.copy()))
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def draw_network(architecture: Sequence[int], inputs: int, generator: torch.Generator) -> nn.Sequential:
    """A network of its own: He-uniform weights (bound sqrt(6 / fan_in)) made positive, float64, no biases."""
    modules: list[nn.Module] = []
    fan_in = inputs
    for width in (*architecture, 1):
        linear = nn.Linear(fan_in, width, bias=False, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.uniform_(-1.0, 1.0, generator=generator).mul_((6.0 / fan_in) ** 0.5).abs_()
        modules += [linear, nn.ReLU()]
        fan_in = width
    return nn.Sequential(*modules[:-1])


def expressflow(network: nn.Sequential, direction: torch.Tensor) -> float:
    """ExpressFlow of one network.

    Args:
        network: Linear layers with ReLUs between them, positive weights, float64.
        direction: g, standard normal, float64 (inputs,).

    Returns:
        sum_l w_l * n_l * sum(V_l), see :mod:`trails.tfmem.expressflow`.
    """
    step = 1e-5
    ones = torch.ones(1, len(direction), dtype=torch.float64)
    activations: list[torch.Tensor] = []
    z = ones
    for module in network:
        z = module(z)
        if isinstance(module, nn.ReLU):
            z.retain_grad()
            activations.append(z)
    z.sum().backward()  # type: ignore[no-untyped-call]

    lengths: list[torch.Tensor] = []
    with torch.no_grad():
        z = ones + step * direction
        for module in network:
            z = module(z)
            if isinstance(module, nn.ReLU):
                lengths.append(torch.linalg.vector_norm(z - activations[len(lengths)]) / step)

    total = sum(1.0 / (length + 1e-6) for length in lengths)
    result = torch.zeros((), dtype=torch.float64)
    for activation, length in zip(activations, lengths, strict=True):
        assert activation.grad is not None
        weight = (1.0 / (length + 1e-6)) / total
        value = activation.detach() * activation.grad.abs()
        result += weight * activation.shape[1] * value.sum()
    return float(result)
