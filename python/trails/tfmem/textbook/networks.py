"""Networks to score, and the one way the textbook runs them: Linear layers, ReLUs and BatchNorm in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trails.errors import InvalidInput, shown
from trails.tfmem.network import Network

INITIALISATIONS: Mapping[str, Callable[[int, int], float]] = MappingProxyType(
    {
        "he": lambda fan_in, fan_out: (6.0 / fan_in) ** 0.5,
        "xavier": lambda fan_in, fan_out: (6.0 / (fan_in + fan_out)) ** 0.5,
        "lecun": lambda fan_in, fan_out: (3.0 / fan_in) ** 0.5,
    }
)
"""Bound of a layer's uniform weights, given its fan-in and fan-out."""


def network_from(weights: Network) -> nn.Sequential:
    """The torch module (float64, no biases) with the weights of a NumPy network."""
    return signed_network(weights.weights)


def draw_network(architecture: Sequence[int], inputs: int, generator: torch.Generator) -> nn.Sequential:
    """A network of its own: He-uniform weights (bound sqrt(6 / fan_in)) made positive, float64, no biases."""
    network = draw_signed_network(architecture, inputs, generator)
    for linear in linear_layers(network):
        linear.weight.data.abs_()
    return network


def signed_network(
    weights: Sequence[NDArray[np.float64]], batch_norm: bool = False, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """The torch module with these weights, ReLUs between them and no biases.

    Args:
        weights: Matrices (fan_in, fan_out), the output's last.
        batch_norm: Whether a BatchNorm1d (affine) lies between each hidden Linear and its ReLU.
        dtype: Of every parameter.
    """
    linears = []
    for matrix in weights:
        linear = nn.Linear(matrix.shape[0], matrix.shape[1], bias=False, dtype=dtype)
        linear.weight.data.copy_(torch.from_numpy(matrix.T.copy()))
        linears.append(linear)
    return _in_a_row(linears, batch_norm)


def draw_signed_network(
    architecture: Sequence[int],
    inputs: int,
    generator: torch.Generator,
    outputs: int = 1,
    batch_norm: bool = False,
    dtype: torch.dtype = torch.float64,
    initialisation: str = "he",
) -> nn.Sequential:
    """A network of its own: uniform weights between -bound and bound, no biases.

    The bound is sqrt(6 / fan_in) after He et al., arXiv:1502.01852; sqrt(6 / (fan_in + fan_out)) after Glorot and
    Bengio (Xavier), AISTATS 2010; sqrt(3 / fan_in) after LeCun et al., Efficient BackProp, 1998.

    Args:
        architecture: Hidden widths.
        inputs: Numbers in a row.
        generator: Draws the weights in float64, so that every ``dtype`` gets the same ones, rounded.
        outputs: Number of logits.
        batch_norm: As in :func:`signed_network`.
        dtype: Of every parameter.
        initialisation: A name of `INITIALISATIONS`; all draw the same numbers and differ by each layer's bound.

    Raises:
        InvalidInput: There is no such initialisation.
    """
    if initialisation not in INITIALISATIONS:
        raise InvalidInput(
            f"there is no initialisation '{shown(initialisation)}'", hint=f"There are: {', '.join(INITIALISATIONS)}."
        )
    bound = INITIALISATIONS[initialisation]
    linears = []
    fan_in = inputs
    for width in (*architecture, outputs):
        linear = nn.Linear(fan_in, width, bias=False, dtype=torch.float64)
        linear.weight.data.uniform_(-1.0, 1.0, generator=generator).mul_(bound(fan_in, width))
        linears.append(linear.to(dtype))
        fan_in = width
    return _in_a_row(linears, batch_norm)


def _in_a_row(linears: Sequence[nn.Linear], batch_norm: bool) -> nn.Sequential:
    modules: list[nn.Module] = []
    for linear in linears[:-1]:
        modules.append(linear)
        if batch_norm:
            modules.append(nn.BatchNorm1d(linear.out_features, dtype=linear.weight.dtype))
        modules.append(nn.ReLU())
    return nn.Sequential(*modules, linears[-1])


def linear_layers(network: nn.Sequential) -> list[nn.Linear]:
    """The Linear layers in order.

    Raises:
        InvalidInput: There is none, or another module than Linear, BatchNorm1d and ReLU.
    """
    for module in network:
        if not isinstance(module, nn.Linear | nn.BatchNorm1d | nn.ReLU):
            raise InvalidInput(f"a network to score is made of Linear, BatchNorm1d and ReLU, not {module}")
    layers = [module for module in network if isinstance(module, nn.Linear)]
    if not layers:
        raise InvalidInput("a network to score has at least one Linear layer")
    return layers


def leaf_weights(network: nn.Sequential) -> list[Tensor]:
    """W: the Linear layers' weights (fan_out, fan_in), never biases or BatchNorm's.

    They share the network's memory but are leaves of their own: gradients taken for them leave no trace there.
    """
    return [linear.weight.detach().requires_grad_() for linear in linear_layers(network)]


@dataclass(frozen=True)
class Trace:
    """What one forward pass saw.

    Args:
        logits: (B, outputs).
        outputs: a: output of each Linear layer before BatchNorm and ReLU (B, fan_out), the logits last.
        hidden: h: input of each ReLU (B, width).
    """

    logits: Tensor
    outputs: list[Tensor]
    hidden: list[Tensor]


def run(network: nn.Sequential, x: Tensor, weights: Sequence[Tensor]) -> Trace:
    """One forward pass with ``weights`` in the place of the Linear layers' own.

    BatchNorm uses the batch's statistics whatever mode the network is in, and its running ones stay as they
    are: a score must not depend on what was scored before.

    Args:
        network: Linear layers (with or without biases), BatchNorm1d and ReLU.
        x: Rows (B, inputs), moved to the weights' dtype.
        weights: One (fan_out, fan_in) for each Linear layer, see :func:`leaf_weights`.

    Raises:
        InvalidInput: ``x`` is not a batch of the network's rows, or one row for BatchNorm.
    """
    if x.ndim != 2 or not len(x) or x.shape[1] != weights[0].shape[1]:
        raise InvalidInput(f"expected rows of {weights[0].shape[1]} inputs, not an array of shape {tuple(x.shape)}")
    outputs: list[Tensor] = []
    hidden: list[Tensor] = []
    z = x.to(weights[0].dtype)
    for module in network:
        if isinstance(module, nn.Linear):
            z = functional.linear(z, weights[len(outputs)], _detached(module.bias))
            outputs.append(z)
        elif isinstance(module, nn.BatchNorm1d):
            if len(x) == 1:
                raise InvalidInput("batch normalisation needs two or more rows")
            scale, shift = _detached(module.weight), _detached(module.bias)
            z = functional.batch_norm(z, None, None, scale, shift, training=True, eps=module.eps)
        else:
            hidden.append(z)
            z = functional.relu(z)
    return Trace(z, outputs, hidden)


def _detached(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach()
