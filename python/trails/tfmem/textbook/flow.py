"""Scores that need no data: synflow, expressflow, weight_norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trails.errors import InvalidInput
from trails.tfmem.textbook.networks import leaf_weights, linear_layers


def _weights(network: nn.Sequential, positive: bool) -> list[Tensor]:
    """abs(W), or W, in float64: leaves of their own, memory of their own."""
    weights = [linear.weight.detach().double() for linear in linear_layers(network)]
    return [(weight.abs() if positive else weight.clone()).requires_grad_() for weight in weights]


def _forward(
    network: nn.Sequential, weights: Sequence[Tensor], x: Tensor, positive: bool
) -> tuple[Tensor, list[Tensor]]:
    """Outputs (B, outputs) and every ReLU's output z (B, width); biases positive too, BatchNorm left out."""
    z = x
    layer = iter(weights)
    activations: list[Tensor] = []
    for module in network:
        if isinstance(module, nn.Linear):
            bias = None if module.bias is None else module.bias.detach().double()
            z = functional.linear(z, next(layer), bias.abs() if positive and bias is not None else bias)
        elif isinstance(module, nn.ReLU):
            z = functional.relu(z)
            activations.append(z)
    return z, activations


def synflow(network: nn.Sequential, inputs: int, x: Tensor | None = None, *, positive: bool = True) -> float:
    """Sum of abs(W * dR/dW), R the sum of outputs for one row of ones; higher is better.

    Weights and biases are made positive, so that no product is negative; BatchNorm is the identity, everything in
    float64 (deep networks reach 1e61).
    Source: Tanaka et al., Pruning neural networks without any data by iteratively conserving synaptic flow,
    arXiv:2006.05467; abs() as in the reference code of Abdelfattah et al., arXiv:2101.08134.

    Args:
        network: As for the others; it is left as it is.
        inputs: Numbers in a row.
        x: Other rows (B, inputs) than the one of ones; what the formula loses by them is a question for studies.
        positive: False to keep the signs, for such studies.

    Raises:
        InvalidInput: ``inputs`` is not what the network takes.
    """
    weights = _weights(network, positive)
    if inputs != weights[0].shape[1]:
        raise InvalidInput(f"the network takes {weights[0].shape[1]} inputs, not {inputs}")
    rows = torch.ones(1, inputs, dtype=torch.float64) if x is None else x.double()
    output, _ = _forward(network, weights, rows, positive)
    gradients = torch.autograd.grad(output.sum(), weights)
    return sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients, strict=True))


def expressflow(
    network: nn.Sequential,
    direction: Tensor,
    x: Tensor | None = None,
    *,
    positive: bool = True,
    depth: bool = True,
    width: bool = True,
) -> float:
    """ExpressFlow of one network; higher is better.

    Weights and biases are made positive, BatchNorm is the identity, everything in float64.

    Args:
        network: Linear layers with ReLUs between them.
        direction: g, standard normal (inputs,).
        x: Other rows (B, inputs) than one of ones: V_l is summed over them, T_l is the norm over all. For studies of
            what the formula needs, as is what follows.
        positive: False to keep the signs.
        depth: False for layers of equal weight, w_l = 1 / L, instead of by trajectory length.
        width: False to leave n_l out.

    Returns:
        sum_l w_l * n_l * sum(V_l), see :mod:`trails.tfmem.expressflow`.
    """
    step = 1e-5
    weights = _weights(network, positive)
    rows = torch.ones(1, len(direction), dtype=torch.float64) if x is None else x.double()
    output, activations = _forward(network, weights, rows, positive)
    if not activations:
        return 0.0
    gradients = torch.autograd.grad(output.sum(), activations)
    with torch.no_grad():
        _, perturbed = _forward(network, weights, rows + step * direction.double(), positive)
        lengths = [torch.linalg.vector_norm(p - z) / step for p, z in zip(perturbed, activations, strict=True)]

    total = sum(1.0 / (length + 1e-6) for length in lengths)
    result = torch.zeros((), dtype=torch.float64)
    for activation, gradient, length in zip(activations, gradients, lengths, strict=True):
        weight = (1.0 / (length + 1e-6)) / total if depth else 1.0 / len(activations)
        value = activation.detach() * gradient.abs()
        result += weight * (activation.shape[1] if width else 1) * value.sum()
    return float(result)


def weight_norm(network: nn.Sequential) -> float:
    """Sum over layers of the L2 norm of W; higher is better.

    Source: the reference code of Abdelfattah et al., arXiv:2101.08134, where it is called l2_norm.
    """
    return sum(float(torch.linalg.vector_norm(w.detach())) for w in leaf_weights(network))
