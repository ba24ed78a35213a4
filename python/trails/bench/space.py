"""The recorded part of a space: searches that know spaces alone search it as they search any other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check
from trails.errors import InvalidInput
from trails.family import Design, Family
from trails.space import Space

_TABLE_OF = 4_000_000
"""For a space no larger than this, the nearest recorded architecture of every design is written down at once."""


class RecordedSpace:
    """Those architectures of a space whose learning curves were recorded, in the order of the sample.

    A design that was not recorded stands for the recorded one that is nearest to it: the sum over positions of how far
    apart two choices are in the space's list of them is smallest, and of several such the first of the sample. So a
    neighbour of an architecture is one of the nearest recorded ones, not always one change away.

    Args:
        space: The whole one.
        indices: Of the recorded architectures in it, no two alike, at least one.
    """

    def __init__(self, space: Space, indices: Sequence[int]) -> None:
        if not indices:
            raise InvalidInput(f"no architecture of space {space.name} is recorded")
        self.whole = space
        self.recorded = np.asarray(indices, dtype=np.int64)
        """Index in the whole space of each: int64 (size,)."""
        self._place = {int(index): place for place, index in enumerate(self.recorded)}
        self._choice = [{value: place for place, value in enumerate(choices)} for choices in space.choices]
        designs = [space.architecture(int(index)) for index in self.recorded]
        self._digits = np.array([self._digits_of(design) for design in designs], dtype=np.int64)

    @property
    def name(self) -> str:
        """Of the whole space."""
        return self.whole.name

    @property
    def family(self) -> Family:
        """See `Space.family`."""
        return self.whole.family

    @property
    def size(self) -> int:
        """Recorded architectures."""
        return len(self.recorded)

    @property
    def choices(self) -> tuple[tuple[int, ...], ...]:
        """See `Space.choices`."""
        return self.whole.choices

    def parse(self, text: str) -> Design:
        """See `Space.parse`."""
        design = self.whole.parse(text)
        self.index(design)
        return design

    def format(self, design: Design) -> str:
        """See `Space.format`."""
        return self.whole.format(design)

    def architecture(self, index: int) -> Design:
        """See `Space.architecture`."""
        if not 0 <= index < self.size:
            raise InvalidInput(f"{self.size} architectures of space {self.name} are recorded, 0 to {self.size - 1}")
        return self.whole.architecture(int(self.recorded[index]))

    def index(self, design: Design) -> int:
        """See `Space.index`."""
        place = self._place.get(self.whole.index(design))
        if place is None:
            raise InvalidInput(f"{self.format(design)} is not recorded")
        return place

    def __contains__(self, design: object) -> bool:
        return design in self.whole and self.whole.index(design) in self._place  # type: ignore[arg-type]

    def nearest(self, design: Design) -> int:
        """The recorded architecture that stands for a design of the whole space."""
        place = self._place.get(self.whole.index(design))
        return self._nearest(self._digits_of(design)) if place is None else place

    def indices(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `Space.indices`; the nearest recorded architecture stands for one that is not, never -1."""
        indices = self.whole.indices(places)
        # Where not every combination is an architecture of its own, the space is no table of combinations.
        if self.whole.size <= _TABLE_OF and self.whole.size == math.prod(map(len, self.whole.choices)):
            return self._stands_for[indices]
        found = []
        for index, digits in zip(indices.tolist(), places, strict=True):
            place = self._place.get(index)
            found.append(self._nearest(digits) if place is None else place)
        return np.array(found, dtype=np.int64)

    def sample(self, n: int, seed: int) -> NDArray[np.int64]:
        """See `Space.sample`."""
        if not 0 <= n <= self.size:
            raise InvalidInput(f"cannot sample {n} of the {self.size} recorded architectures of space {self.name}")
        return np.random.default_rng(seed).choice(self.size, size=n, replace=False).astype(np.int64, copy=False)

    def mutate(self, index: int, generator: np.random.Generator) -> int:
        """See `Space.mutate`: a neighbour in the whole space, or what is recorded nearest to it and not itself."""
        if self.size == 1:
            raise InvalidInput(f"the only recorded architecture of space {self.name} has no neighbour")
        changed = self.whole.mutate(int(self.recorded[index]), generator)
        place = self._place.get(changed)
        if place is None:
            return self._nearest(self._digits_of(self.whole.architecture(changed)), but=index)
        return place

    def parameters(self, design: Design, inputs: int) -> int:
        """See `Space.parameters`."""
        return self.whole.parameters(design, inputs)

    def parameters_at(self, indices: NDArray[np.int64], inputs: int, check: Check = no_check) -> NDArray[np.int64]:
        """See `Space.parameters_at`."""
        return self.whole.parameters_at(self.recorded[indices], inputs, check)

    def flops(self, design: Design, inputs: int) -> int:
        """See `Space.flops`."""
        return self.whole.flops(design, inputs)

    @cached_property
    def _stands_for(self) -> NDArray[np.int64]:
        """The nearest recorded architecture of every design of the whole space: int64 (whole size,).

        A distance transform: what is nearest by a sum over positions is found one position after the other. Distance
        and place are one number, so that of several at the same distance the first of the sample is the least.
        """
        keys = np.full(self.whole.size, np.iinfo(np.int64).max // 2)
        keys[self.whole.indices(self._digits)] = np.arange(self.size)
        keys = keys.reshape([len(choices) for choices in self.whole.choices])
        for axis in range(keys.ndim):
            line = np.moveaxis(keys, axis, 0)
            for here in range(1, len(line)):
                np.minimum(line[here], line[here - 1] + self.size, out=line[here])
            for here in range(len(line) - 2, -1, -1):
                np.minimum(line[here], line[here + 1] + self.size, out=line[here])
        return keys.reshape(-1) % self.size

    def _digits_of(self, design: Design) -> NDArray[np.int64]:
        return np.array([places[value] for places, value in zip(self._choice, design, strict=True)], dtype=np.int64)

    def _nearest(self, digits: NDArray[np.int64], but: int = -1) -> int:
        distance = np.abs(self._digits - digits).sum(axis=1)
        if but >= 0:
            distance[but] = np.iinfo(np.int64).max
        return int(distance.argmin())
