"""Spaces of multi-layer perceptrons: all combinations of some widths over a number of hidden layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, shown
from trails.family.base import Family
from trails.family.mlp import MLP

WIDTHS_20 = (8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 384, 512)
"""Widths of the published space for Frappe and UCI Diabetes (160,000 architectures at four layers)."""

WIDTHS_10 = (8, 16, 32, 48, 96, 112, 144, 176, 240, 384)
"""Widths of the published tabular space for Criteo (10,000 architectures at four layers)."""

MIN_LAYERS, MAX_LAYERS = 2, 5
_WIDTHS_BY_COUNT = {10: WIDTHS_10, 20: WIDTHS_20}
_SPACE_NAME = re.compile(r"mlp([2-5])x(10|20)")
_LONGEST = 100
"""Characters of an architecture at most."""

_ARCHITECTURE = re.compile(r"[1-9][0-9]{0,5}(-[1-9][0-9]{0,5})*")


@dataclass(frozen=True)
class MlpSpace:
    """All MLPs with ``layers`` hidden layers, each as wide as one of ``widths``.

    Architectures are numbered row-major, the last layer varying fastest: with L layers and W widths, index
    ``sum(position_l * W**(L-1-l))``. Every array over the space uses this order.

    Args:
        layers: Number of hidden layers, 2 to 5.
        widths: Strictly increasing positive widths.

    Raises:
        InvalidInput: ``layers`` or ``widths`` break these rules.

    Example:
        >>> space = parse_space("mlp4x20")
        >>> space.size, space.format(space.architecture(1))
        (160000, '8-8-8-16')
    """

    layers: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not MIN_LAYERS <= self.layers <= MAX_LAYERS:
            raise InvalidInput(
                f"a space has {MIN_LAYERS} to {MAX_LAYERS} hidden layers, not {self.layers}",
            )
        if not self.widths or self.widths[0] < 1 or any(a >= b for a, b in pairwise(self.widths)):
            raise InvalidInput(
                "the widths of a space are positive and strictly increasing",
                detail=f"Widths given: {', '.join(map(str, self.widths)) or 'none'}.",
            )

    @property
    def size(self) -> int:
        """Number of architectures."""
        return int(len(self.widths) ** self.layers)

    @property
    def name(self) -> str:
        """Such as ``mlp4x20``: four hidden layers, twenty widths."""
        return f"mlp{self.layers}x{len(self.widths)}"

    @property
    def family(self) -> Family:
        """What the networks are."""
        return MLP

    @cached_property
    def _position(self) -> dict[int, int]:
        return {width: position for position, width in enumerate(self.widths)}

    def architecture(self, index: int) -> tuple[int, ...]:
        """Hidden widths, first layer first, of the architecture at ``index``.

        Raises:
            InvalidInput: ``index`` is negative or not below ``size``.
        """
        if not 0 <= index < self.size:
            raise InvalidInput(f"space {self.name} has architectures 0 to {self.size - 1}, not {index}")
        rest = int(index)
        reverse = []
        for _ in range(self.layers):
            rest, position = divmod(rest, len(self.widths))
            reverse.append(self.widths[position])
        return tuple(reversed(reverse))

    def index(self, architecture: tuple[int, ...]) -> int:
        """Place of ``architecture`` in the space's order, the inverse of :meth:`architecture`.

        Raises:
            InvalidInput: It is not in this space.
        """
        if architecture not in self:
            raise InvalidInput(
                f"architecture {self.format(architecture)!r} is not in space {self.name}",
                hint=f"It has {self.layers} hidden layers, each of {', '.join(map(str, self.widths))} units.",
            )
        index = 0
        for width in architecture:
            index = index * len(self.widths) + self._position[width]
        return index

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, tuple)
            and len(architecture) == self.layers
            and all(width in self._position for width in architecture)
        )

    def parse(self, text: str) -> tuple[int, ...]:
        """Read ``'8-16-24-32'``.

        Raises:
            InvalidInput: The text is not widths joined by hyphens, or names no architecture of this space.
        """
        if len(text) > _LONGEST or not _ARCHITECTURE.fullmatch(text):
            raise InvalidInput(
                f"'{shown(text)}' is not an architecture",
                hint=f"Write hidden widths joined by hyphens, such as {self.format(self.architecture(0))!r}.",
            )
        architecture = tuple(int(width) for width in text.split("-"))
        self.index(architecture)
        return architecture

    @staticmethod
    def format(architecture: tuple[int, ...]) -> str:
        """Write an architecture as ``'8-16-24-32'``."""
        return "-".join(map(str, architecture))

    @staticmethod
    def parameters(architecture: tuple[int, ...], inputs: int) -> int:
        """Weights and biases of the MLP with ``inputs`` inputs and one output, without the embedding."""
        sizes = (inputs, *architecture, 1)
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))

    def all_parameters(self, inputs: int) -> NDArray[np.int64]:
        """`parameters` of every architecture: int64 (size,), in the space's order."""
        widths = np.array(self.widths, dtype=np.int64)
        before = np.array([inputs], dtype=np.int64)
        total = np.zeros(1, dtype=np.int64)
        for _ in range(self.layers):
            # Architectures so far by widths of the next layer; the last layer varies fastest.
            total = (total[:, None] + np.multiply.outer(before + 1, widths)).ravel()
            before = np.tile(widths, total.size // widths.size)
        return total + before + 1

    def sample(self, n: int, seed: int) -> NDArray[np.int64]:
        """``n`` different indices, uniform over the space, in the order drawn.

        Raises:
            InvalidInput: ``n`` is negative or greater than ``size``.
        """
        if not 0 <= n <= self.size:
            raise InvalidInput(f"cannot sample {n} architectures from the {self.size} of space {self.name}")
        generator = np.random.default_rng(seed)
        return generator.choice(self.size, size=n, replace=False).astype(np.int64, copy=False)


def parse_space(name: str) -> MlpSpace:
    """The space called ``name``: ``mlp2x10`` to ``mlp5x20``.

    Raises:
        InvalidInput: There is no such space; the hint lists those there are.
    """
    match = _SPACE_NAME.fullmatch(name)
    if match is None:
        known = [f"mlp{n}x{w}" for n in range(MIN_LAYERS, MAX_LAYERS + 1) for w in _WIDTHS_BY_COUNT]
        raise InvalidInput(
            f"there is no architecture space '{shown(name)}'",
            hint=f"Known spaces: {', '.join(known)}.",
        )
    return MlpSpace(int(match[1]), _WIDTHS_BY_COUNT[int(match[2])])
