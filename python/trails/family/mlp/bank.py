"""One bank of weights for every architecture of a space: what lets architectures share their beginnings.

Sharing does not disturb rankings: scores from one bank agree with those of independently drawn networks as
well as these agree with each other (Spearman 0.99 and above).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trails.checks import no_check
from trails.errors import InvalidInput
from trails.tfmem.network import Matrix, Network, Vector

# Rows drawn between two calls of check(): about a millisecond at 512 units.
_ROWS = 256

_SIGNED = 1
"""Number of the signed banks' random stream."""


# Positive weights make every trajectory hang on the sum of g. With networks of their own, each gets another
# sum; one g for a whole space could draw a sum near zero and distort all its scores alike. So g is drawn from
# the normal distribution given that its sum is typical: the median of abs(sum). Over 30 seeds the lowest
# Spearman coefficient with independent networks is 0.992 this way, and 0.958 (one seed in five below 0.99)
# with a sum left to chance.
_MEDIAN_OF_ABSOLUTE_NORMAL = 0.6744897501960817


@dataclass(frozen=True)
class Bank:
    """Weights that every architecture of a space shares.

    An architecture's layer l is ``sqrt(6 / fan_in)`` times the leading ``fan_in`` rows and ``n_l`` columns of
    the bank's: the absolute value of He's uniform initialisation. All float64.

    Args:
        layers: Layer 1 (inputs, widest), then hidden layers (widest, widest), entries uniform on [0, 1).
        output: Weights of the one output (widest,), uniform on [0, 1).
        direction: g, standard normal given that its sum is ``0.674 * sqrt(inputs)`` (inputs,).
    """

    layers: tuple[Matrix, ...]
    output: Vector
    direction: Vector

    def network(self, architecture: tuple[int, ...]) -> Network:
        """The network that this bank holds for ``architecture``."""
        weights = []
        fan_in = len(self.direction)
        for bank, width in zip(self.layers, architecture, strict=True):
            weights.append(bank[:fan_in, :width] * np.sqrt(6.0 / fan_in))
            fan_in = width
        weights.append(self.output[:fan_in, None] * np.sqrt(6.0 / fan_in))
        return Network(tuple(weights), self.direction)


@dataclass(frozen=True)
class SignedBank:
    """Weights of both signs that every architecture of a space shares, for the metrics that read a batch.

    An architecture's layer l is ``sqrt(6 / fan_in)`` times the leading ``fan_in`` rows and ``n_l`` columns of
    the bank's: He's uniform initialisation. All float64.

    Args:
        layers: Layer 1 (inputs, widest), then hidden layers (widest, widest), then the output (widest, outputs);
            entries uniform on [-1, 1).
    """

    layers: tuple[Matrix, ...]

    def single(self) -> SignedBank:
        """The same bank in float32."""
        return SignedBank(tuple(layer.astype(np.float32) for layer in self.layers))

    def matrices(self, architecture: tuple[int, ...]) -> list[tuple[Matrix, float]]:
        """Views of the bank's entries for every layer of ``architecture``, and the factor that makes them weights."""
        sizes = (self.layers[0].shape[0], *architecture, self.layers[-1].shape[1])
        return [
            (layer[:fan_in, :fan_out], float(np.sqrt(6.0 / fan_in)))
            for layer, (fan_in, fan_out) in zip(self.layers, pairwise(sizes), strict=True)
        ]


def draw_signed_bank(
    layers: int, widest: int, inputs: int, outputs: int, seed: int, check: Callable[[], None] = no_check
) -> SignedBank:
    """Draw the signed bank of all spaces with ``layers`` hidden layers of at most ``widest`` units.

    Args:
        layers: Number of hidden layers.
        widest: Units of the widest layer.
        inputs: Fields times embedding size.
        outputs: Logits.
        seed: The same seed gives the same bank.
        check: Called at least every 50 ms; what it raises ends the call.
    """
    # A stream of its own: the same numbers as the positive bank's would tie the metrics together by chance.
    generator = np.random.default_rng((seed, _SIGNED))
    sizes = (inputs, *[widest] * layers, outputs)
    return SignedBank(tuple(2.0 * _uniform(generator, *shape, check) - 1.0 for shape in pairwise(sizes)))


def draw_bank(layers: int, widest: int, inputs: int, seed: int, check: Callable[[], None] = no_check) -> Bank:
    """Draw the bank of all spaces with ``layers`` hidden layers of at most ``widest`` units.

    Args:
        layers: Number of hidden layers.
        widest: Units of the widest layer.
        inputs: Fields times embedding size.
        seed: The same seed gives the same bank.
        check: Called at least every 50 ms; what it raises ends the call.
    """
    check_inputs(inputs)
    generator = np.random.default_rng(seed)
    matrices = tuple(_uniform(generator, inputs if layer == 0 else widest, widest, check) for layer in range(layers))
    output = generator.random(widest)
    direction = generator.standard_normal(inputs)
    direction += _MEDIAN_OF_ABSOLUTE_NORMAL / np.sqrt(inputs) - np.mean(direction)
    return Bank(matrices, output, direction)


def initialise(architecture: tuple[int, ...], inputs: int, seed: int) -> Network:
    """Draw one architecture's own network, as a program that scores models one at a time would.

    Args:
        architecture: Hidden widths.
        inputs: Fields times embedding size.
        seed: Drawn together with the architecture, so that each has its own weights whatever the order of
            scoring.

    Raises:
        InvalidInput: ``inputs`` or a width is not positive.
    """
    check_inputs(inputs)
    if not architecture or min(architecture) < 1:
        raise InvalidInput(f"an architecture is one or more positive widths, not {architecture}")
    generator = np.random.default_rng((seed, *architecture))
    weights = []
    fan_in = inputs
    for width in (*architecture, 1):
        weights.append(np.abs(generator.uniform(-1.0, 1.0, (fan_in, width))) * np.sqrt(6.0 / fan_in))
        fan_in = width
    return Network(tuple(weights), generator.standard_normal(inputs))


def draw_matrices(architecture: tuple[int, ...], inputs: int, outputs: int, seed: int) -> list[tuple[Matrix, float]]:
    """One architecture's own signed entries and factors, as a program that scores models one at a time draws them.

    Args:
        architecture: Hidden widths.
        inputs: Fields times embedding size.
        outputs: Logits.
        seed: Drawn together with the architecture.
    """
    check_inputs(inputs)
    generator = np.random.default_rng((seed, _SIGNED, *architecture))
    return [
        (generator.uniform(-1.0, 1.0, shape), float(np.sqrt(6.0 / shape[0])))
        for shape in pairwise((inputs, *architecture, outputs))
    ]


def _uniform(generator: np.random.Generator, rows: int, columns: int, check: Callable[[], None]) -> Matrix:
    matrix = np.empty((rows, columns))
    for start in range(0, rows, _ROWS):
        check()
        generator.random(out=matrix[start : start + _ROWS])
    return matrix


def check_inputs(inputs: int) -> None:
    """Refuse rows without inputs.

    Raises:
        InvalidInput: ``inputs`` is not positive.
    """
    if inputs < 1:
        raise InvalidInput(f"a row has at least one input, not {inputs}", hint="Select at least one feature column.")
