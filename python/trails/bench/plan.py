"""Which trainings a table holds, in which order, and which of them a shard does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trails.bench.protocol import PREDICTED_ROWS, SAMPLE_SEED, TRAIN_ROWS_LOOKED_AT, WITH_ALL_SEEDS
from trails.errors import InvalidInput


@dataclass(frozen=True, order=True)
class Training:
    """One training: an architecture's place in the sample, its index in the space, and the seed."""

    place: int
    seed: int
    index: int


@dataclass(frozen=True)
class Shard:
    """The part of a table that one builder trains: every ``of``-th training, from ``number`` on, counted from 0."""

    number: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/3``, the second of three.

        Raises:
            InvalidInput: It is not written so.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 10_000):
            raise InvalidInput(f"'{text}' is not a shard", hint="Write 2/3 for the second of three.")
        return cls(int(number) - 1, int(of))

    def __str__(self) -> str:
        return f"{self.number + 1}/{self.of}"


def sample(size: int, count: int) -> list[int]:
    """The first ``count`` indices of the space's one permutation: a larger sample begins with every smaller one.

    Raises:
        InvalidInput: ``count`` is below 1 or above ``size``.
    """
    if not 1 <= count <= size:
        raise InvalidInput(f"{count} architectures cannot be taken of {size}")
    return [int(index) for index in np.random.default_rng(SAMPLE_SEED).permutation(size)[:count]]


def predicted_rows(rows: int) -> NDArray[np.int64]:
    """Which of so many validation or test rows, in the dataset's order, have their predictions kept: ascending."""
    return _some(rows, PREDICTED_ROWS)


def looked_at(rows: int) -> NDArray[np.int64]:
    """Which of so many training rows, in the dataset's order, an epoch's ``train_auc`` is of: ascending."""
    return _some(rows, TRAIN_ROWS_LOOKED_AT)


def _some(rows: int, most: int) -> NDArray[np.int64]:
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(SAMPLE_SEED).choice(rows, most, replace=False))


def trainings(size: int, count: int, seeds: tuple[int, ...], shard: Shard) -> Iterator[Training]:
    """What a shard trains of the first ``count`` architectures, place after place.

    Args:
        size: Of the space.
        count: Architectures.
        seeds: The first places are trained with all of them, the others with the first.
        shard: Which part.
    """
    number = 0
    for place, index in enumerate(sample(size, count)):
        for seed in seeds if place < WITH_ALL_SEEDS else seeds[:1]:
            if number % shard.of == shard.number:
                yield Training(place, seed, index)
            number += 1
