"""The baselines every other score is reported beside: size and work."""

from __future__ import annotations

from torch import nn

from trails.tfmem.textbook.networks import linear_layers


def params(network: nn.Sequential) -> float:
    """Number of trained numbers: weights, biases, BatchNorm's scales and shifts; higher is better."""
    return float(sum(parameter.numel() for parameter in network.parameters()))


def flops(network: nn.Sequential) -> float:
    """Floating-point operations of the Linear layers for one row, two for each weight; higher is better."""
    return float(sum(2 * linear.in_features * linear.out_features for linear in linear_layers(network)))
