"""What a space is, and spaces that are all combinations of some choices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check
from trails.errors import InvalidInput
from trails.family import Design, Family


class Space(Protocol):
    """Which architectures there are, and their order.

    Every array over a space uses that order; an architecture's place in it is its index. The text that people write is
    the architecture, what the space's family makes a network from is the design.
    """

    @property
    def name(self) -> str:
        """By which the space is found (`trails.space.parse_space`)."""

    @property
    def family(self) -> Family:
        """What the space's networks are."""

    @property
    def size(self) -> int:
        """Number of architectures, below 2**63."""

    @property
    def choices(self) -> tuple[tuple[int, ...], ...]:
        """What may stand at every position of a design, no two alike at one position.

        A search that learns has a distribution over each of them; positions may have different numbers of choices.
        """

    def parse(self, text: str) -> Design:
        """Read an architecture.

        Raises:
            InvalidInput: The text is none of the family's, or names none of this space.
        """

    def format(self, design: Design) -> str:
        """Write a design as `parse` reads it."""

    def architecture(self, index: int) -> Design:
        """The design at ``index``.

        Raises:
            InvalidInput: ``index`` is negative or not below ``size``.
        """

    def index(self, design: Design) -> int:
        """Place of ``design`` in the space's order, the inverse of `architecture`.

        Raises:
            InvalidInput: It is not in this space.
        """

    def __contains__(self, design: object) -> bool: ...

    def indices(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of many designs, given by which of each position's choices they have.

        Args:
            places: int64 (designs, positions).

        Returns:
            int64 (designs,); -1 where such a combination is no architecture of this space.
        """

    def sample(self, n: int, seed: int) -> NDArray[np.int64]:
        """``n`` different indices, uniform over the space, in the order drawn.

        Raises:
            InvalidInput: ``n`` is negative or greater than ``size``.
        """

    def mutate(self, index: int, generator: np.random.Generator) -> int:
        """The index of a neighbour: one position has another choice, each such change as likely.

        Raises:
            InvalidInput: The space has one architecture only.
        """

    def parameters(self, design: Design, inputs: int) -> int:
        """Weights and biases of a network with ``inputs`` inputs and one output, without the embedding."""

    def parameters_at(self, indices: NDArray[np.int64], inputs: int, check: Check = no_check) -> NDArray[np.int64]:
        """`parameters` of the designs at ``indices``: int64 (designs,).

        ``check`` is called at least every 50 ms; what it raises ends the call.
        """

    def flops(self, design: Design, inputs: int) -> int:
        """Floating-point operations of one row through a network with one output, without the embedding."""


@dataclass(frozen=True)
class ProductSpace:
    """Every combination of one choice at each position.

    Architectures are numbered row-major, the last position varying fastest: the index is a number of mixed radix whose
    digits are the chosen ones' places among the choices.

    Args:
        choices: What may stand at each position, no two alike at one; positions may have different numbers of them.
        family: What the networks are.
        name: By which the space is found.

    Raises:
        InvalidInput: A position has no choices or two that are alike, there is no position, or architectures are too
            many to be numbered with 63 bits.
    """

    choices: tuple[tuple[int, ...], ...]
    family: Family
    name: str

    def __post_init__(self) -> None:
        if not self.choices or any(len(set(choices)) != len(choices) or not choices for choices in self.choices):
            raise InvalidInput(
                f"the space {self.name} has a choice of one or more different values at each of one or more positions"
            )
        if self.size >= 2**63:
            raise InvalidInput(f"the space {self.name} has too many architectures to number: {self.size}")

    @cached_property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(map(len, self.choices))

    @cached_property
    def _units(self) -> NDArray[np.int64]:
        """How far apart neighbouring choices of each position are: int64 (positions,)."""
        counts = [len(choices) for choices in self.choices]
        return np.array([math.prod(counts[place + 1 :]) for place in range(len(counts))], dtype=np.int64)

    @cached_property
    def _places(self) -> tuple[dict[int, int], ...]:
        return tuple({value: place for place, value in enumerate(choices)} for choices in self.choices)

    def parse(self, text: str) -> Design:
        """See `Space.parse`."""
        design = self.family.parse(text)
        self.index(design)
        return design

    def format(self, design: Design) -> str:
        """See `Space.format`."""
        return self.family.format(design)

    def architecture(self, index: int) -> Design:
        """See `Space.architecture`."""
        if not 0 <= index < self.size:
            raise InvalidInput(f"space {self.name} has architectures 0 to {self.size - 1}, not {index}")
        rest = int(index)
        reverse = []
        for choices in reversed(self.choices):
            rest, place = divmod(rest, len(choices))
            reverse.append(choices[place])
        return tuple(reversed(reverse))

    def index(self, design: Design) -> int:
        """See `Space.index`."""
        if design not in self:
            raise InvalidInput(
                f"architecture {self.format(design)!r} is not in space {self.name}", hint=self._membership()
            )
        index = 0
        for value, places in zip(design, self._places, strict=True):
            index = index * len(places) + places[value]
        return index

    def indices(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `Space.indices`; every combination is an architecture."""
        return places @ self._units

    def __contains__(self, design: object) -> bool:
        return (
            isinstance(design, tuple)
            and len(design) == len(self.choices)
            and all(value in places for value, places in zip(design, self._places, strict=True))
        )

    def _membership(self) -> str:
        """A hint for those who wrote an architecture of another space."""
        last = self.format(self.architecture(self.size - 1))
        return f"Its architectures are {self.format(self.architecture(0))!r} to {last!r}."

    def sample(self, n: int, seed: int) -> NDArray[np.int64]:
        """See `Space.sample`."""
        if not 0 <= n <= self.size:
            raise InvalidInput(f"cannot sample {n} architectures from the {self.size} of space {self.name}")
        generator = np.random.default_rng(seed)
        return generator.choice(self.size, size=n, replace=False).astype(np.int64, copy=False)

    def mutate(self, index: int, generator: np.random.Generator) -> int:
        """See `Space.mutate`."""
        if self.size == 1:
            raise InvalidInput(f"the only architecture of space {self.name} has no neighbour")
        change = int(generator.integers(sum(map(len, self.choices)) - len(self.choices)))
        unit = 1
        # From the last position on, whose place is the lowest digit.
        for choices in reversed(self.choices):
            others = len(choices) - 1
            if change < others:
                break
            change -= others
            unit *= len(choices)
        place = index // unit % len(choices)
        return index + ((place + 1 + change) % len(choices) - place) * unit

    def parameters(self, design: Design, inputs: int) -> int:
        """See `Space.parameters`."""
        return self.family.scoring.parameters(design, inputs)

    def parameters_at(self, indices: NDArray[np.int64], inputs: int, check: Check = no_check) -> NDArray[np.int64]:
        """See `Space.parameters_at`."""
        return self.family.scoring.parameters_at(self, indices, inputs, check)

    def flops(self, design: Design, inputs: int) -> int:
        """See `Space.flops`."""
        return self.family.scoring.flops(design, inputs)
