"""What every sampler is, and the two that learn nothing: at random, and in the space's order.

A sampler proposes architectures that it has never proposed before and is told when they have been scored:

    for index in sampler.ask(generation):
        pool.add(index, scores of index)
        sampler.tell(index)

Merits are looked up, not told: a rank changes while the pool grows, so each search that learns takes a callable such
as :meth:`trails.filtering.pool.Pool.merit` and calls it when it is asked for more. What it proposes depends on the
space, the seed, the counts asked for and the merits at those moments, never on the order in which the candidates of
one generation were told, so a generation can be scored by any number of workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np

from trails.errors import InvalidInput
from trails.space import Space

Merit = Callable[[int], float]
"""How good a scored candidate is now: finite, higher is better, 0 for one whose score failed and positive otherwise."""


class Sampler(Protocol):
    """Searches a space without replacement."""

    def ask(self, count: int) -> list[int]:
        """Up to ``count`` indices that were never asked for before; fewer, or none, when the space is exhausted.

        Raises:
            InvalidInput: ``count`` is negative.
        """
        ...

    def tell(self, index: int) -> None:
        """The candidate has been scored.

        Raises:
            InvalidInput: The sampler learns from merits, and ``index`` was not asked for or has been told already.
        """
        ...


class Unseen:
    """The indices of a space that were not taken yet; every operation is O(1), and memory grows with what is taken.

    A Fisher-Yates shuffle in place, of an array that is never written down: place p holds index p until something
    else was put there, and a taken index changes places with the last one that is left.

    Args:
        size: Indices are 0 to size - 1.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._index_at: dict[int, int] = {}
        self._place_of: dict[int, int] = {}

    def __len__(self) -> int:
        return self._left

    def __contains__(self, index: int) -> bool:
        return self._place_of.get(index, index) < self._left

    def draw(self, generator: np.random.Generator) -> int:
        """One of them, uniformly; it is not taken by that."""
        place = int(generator.integers(self._left))
        return self._index_at.get(place, place)

    def take(self, index: int) -> None:
        """Remove ``index``, which must be there."""
        place = self._place_of.get(index, index)
        self._left -= 1
        last = self._index_at.pop(self._left, self._left)
        if last != index:
            self._index_at[place] = last
            self._place_of[last] = place
        self._place_of[index] = self._left


class RandomSampler:
    """Uniform without replacement.

    Args:
        space: Where to look.
        seed: Fixes the order, however it is split into calls of ``ask``.

    Raises:
        InvalidInput: ``seed`` is negative.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._unseen = Unseen(space.size)
        self._generator = seeded(seed)

    def ask(self, count: int) -> list[int]:
        """See :meth:`Sampler.ask`."""
        indices = []
        for _ in range(proposals(count, len(self._unseen))):
            index = self._unseen.draw(self._generator)
            self._unseen.take(index)
            indices.append(index)
        return indices

    def tell(self, index: int) -> None:
        """Nothing is learnt."""


class EnumerationSampler:
    """Every architecture in the space's order.

    Args:
        space: Where to look.
    """

    def __init__(self, space: Space) -> None:
        self._size = space.size
        self._next = 0

    def ask(self, count: int) -> list[int]:
        """See :meth:`Sampler.ask`."""
        first = self._next
        self._next += proposals(count, self._size - first)
        return list(range(first, self._next))

    def tell(self, index: int) -> None:
        """Nothing is learnt."""


class LearningSampler(ABC):
    """What searches share that learn from merits; each says how it learns and what it proposes next.

    Args:
        space: Where to look.
        seed: With the merits, fixes everything that is proposed.
        merit: Looked up for candidates that were told, when more are asked for.

    Raises:
        InvalidInput: ``seed`` is negative.
    """

    def __init__(self, space: Space, seed: int, merit: Merit) -> None:
        self._space = space
        self._unseen = Unseen(space.size)
        self._generator = seeded(seed)
        self._merit = merit
        self._asked = 0
        # Number in the order of asking, of candidates that were asked for and not learnt from yet.
        self._waiting: dict[int, int] = {}
        self._told: set[int] = set()

    def ask(self, count: int) -> list[int]:
        """See :meth:`Sampler.ask`."""
        proposed = proposals(count, len(self._unseen))
        # In the order of asking: it must not matter which worker was the first to finish.
        self._learn(sorted(self._told, key=self._waiting.__getitem__))
        for index in self._told:
            del self._waiting[index]
        self._told.clear()
        indices = []
        for _ in range(proposed):
            index = self._propose()
            self._unseen.take(index)
            self._waiting[index] = self._asked
            self._asked += 1
            indices.append(index)
        return indices

    def tell(self, index: int) -> None:
        """See :meth:`Sampler.tell`."""
        if index not in self._waiting or index in self._told:
            raise InvalidInput(f"candidate {index} was not asked for, or has been told already")
        self._told.add(int(index))

    @abstractmethod
    def _learn(self, indices: list[int]) -> None:
        """Take note of candidates scored since the last call of ``ask``, in the order in which they were proposed."""

    @abstractmethod
    def _propose(self) -> int:
        """An unseen index; there is one."""

    def _merit_of(self, index: int) -> float:
        merit = self._merit(index)
        if not np.isfinite(merit):
            raise InvalidInput(f"candidate {index} has merit {merit}", hint="The merit of a failed candidate is 0.")
        return merit


def seeded(seed: int) -> np.random.Generator:
    """A generator of its own.

    Raises:
        InvalidInput: ``seed`` is negative.
    """
    if seed < 0:
        raise InvalidInput(f"a seed is not negative, unlike {seed}")
    return np.random.default_rng(seed)


def proposals(count: int, left: int) -> int:
    """How many of ``count`` can be had.

    Raises:
        InvalidInput: ``count`` is negative.
    """
    if count < 0:
        raise InvalidInput(f"cannot propose {count} candidates")
    return min(count, left)
