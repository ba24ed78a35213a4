"""Spaces of MLPs that are scored as a whole: the same widths at every hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol


class Grid(Protocol):
    """All MLPs of some number of hidden layers, each as wide as one of the same widths; the last varies fastest."""

    @property
    def layers(self) -> int:
        """Number of hidden layers, two or more."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Strictly increasing positive widths."""


@dataclass(frozen=True)
class _Grid:
    layers: int
    widths: tuple[int, ...]


def grid_of(choices: Sequence[Sequence[int]]) -> Grid | None:
    """The grid that these widths, layer by layer, are; None if layers differ, or their widths do not increase."""
    widths = tuple(choices[0])
    if len(choices) < 2 or any(tuple(others) != widths for others in choices):
        return None
    if widths[0] < 1 or any(a >= b for a, b in pairwise(widths)):
        return None
    return _Grid(len(choices), widths)
