"""Scores that need no data: synflow, expressflow, weight_norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trails.errors import InvalidInput
from trails.tfmem.textbook.networks import leaf_weights, linear_layers


def _positive_weights(network: nn.Sequential) -> list[Tensor]:
    """abs(W) in float64: leaves of their own, memory of their own."""
    return [linear.weight.detach().double().abs().requires_grad_() for linear in linear_layers(network)]


def _positive_forward(network: nn.Sequential, weights: Sequence[Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Output (1, outputs) and every ReLU's output z (1, width); biases made positive, BatchNorm left out."""
    z = x
    layer = iter(weights)
    activations: list[Tensor] = []
    for module in network:
        if isinstance(module, nn.Linear):
            bias = None if module.bias is None else module.bias.detach().double().abs()
            z = functional.linear(z, next(layer), bias)
        elif isinstance(module, nn.ReLU):
            z = functional.relu(z)
            activations.append(z)
    return z, activations


def synflow(network: nn.Sequential, inputs: int) -> float:
    """Sum of W * dR/dW, R the sum of outputs for one row of ones; higher is better.

    Weights and biases are made positive, BatchNorm is the identity, everything in float64 (deep networks reach
    1e61).
    Source: Tanaka et al., Pruning neural networks without any data by iteratively conserving synaptic flow,
    arXiv:2006.05467.

    Args:
        network: As for the others; it is left as it is.
        inputs: Numbers in a row.

    Raises:
        InvalidInput: ``inputs`` is not what the network takes.
    """
    weights = _positive_weights(network)
    if inputs != weights[0].shape[1]:
        raise InvalidInput(f"the network takes {weights[0].shape[1]} inputs, not {inputs}")
    output, _ = _positive_forward(network, weights, torch.ones(1, inputs, dtype=torch.float64))
    gradients = torch.autograd.grad(output.sum(), weights)
    return sum(float((w.detach() * g).sum()) for w, g in zip(weights, gradients, strict=True))


def expressflow(network: nn.Sequential, direction: Tensor) -> float:
    """ExpressFlow of one network; higher is better.

    Weights and biases are made positive, BatchNorm is the identity, everything in float64.

    Args:
        network: Linear layers with ReLUs between them.
        direction: g, standard normal (inputs,).

    Returns:
        sum_l w_l * n_l * sum(V_l), see :mod:`trails.tfmem.expressflow`.
    """
    step = 1e-5
    weights = _positive_weights(network)
    ones = torch.ones(1, len(direction), dtype=torch.float64)
    output, activations = _positive_forward(network, weights, ones)
    if not activations:
        return 0.0
    gradients = torch.autograd.grad(output.sum(), activations)
    with torch.no_grad():
        _, perturbed = _positive_forward(network, weights, ones + step * direction.double())
        lengths = [torch.linalg.vector_norm(p - z) / step for p, z in zip(perturbed, activations, strict=True)]

    total = sum(1.0 / (length + 1e-6) for length in lengths)
    result = torch.zeros((), dtype=torch.float64)
    for activation, gradient, length in zip(activations, gradients, lengths, strict=True):
        weight = (1.0 / (length + 1e-6)) / total
        value = activation.detach() * gradient.abs()
        result += weight * activation.shape[1] * value.sum()
    return float(result)


def weight_norm(network: nn.Sequential) -> float:
    """Sum over layers of the L2 norm of W; higher is better.

    Source: the reference code of Abdelfattah et al., arXiv:2101.08134, where it is called l2_norm.
    """
    return sum(float(torch.linalg.vector_norm(w.detach())) for w in leaf_weights(network))
