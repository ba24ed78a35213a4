"""All cells of NAS-Bench-101, isomorphic ones once: made from nothing in about a second, without the recorded file.

Graphs come first, then what their vertices do. A graph is a mask of edges: bit ``b (b - 1) / 2 + a`` is the edge from
vertex a to vertex b. Among the orders of its inner vertices in which all edges lead upwards, its form is the one with
the smallest mask; the orders that lead there differ by the graph's symmetries. Which operations go with it is a number
of base three, the first inner vertex being the highest digit; of all that the symmetries turn into each other the
smallest counts. So a cell's form is the first that an enumeration of all matrices meets, which is how the benchmark
found its 423,624.

Source: Ying et al., NAS-Bench-101, arXiv:1902.09635, section S1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from trails.family.cell.nasbench101 import MOST_EDGES, VERTICES, Cell

_KINDS = 3
"""Operations of an inner vertex."""


def _bit(source: int, target: int) -> int:
    return target * (target - 1) // 2 + source


def mask_of(cell: Cell) -> int:
    """The edges as one number."""
    return sum(1 << _bit(source, target) for source, target in cell.edges)


def edges_of(mask: int, vertices: int) -> tuple[tuple[int, int], ...]:
    """The edges of such a number, sorted."""
    pairs = ((source, target) for source in range(vertices) for target in range(source + 1, vertices))
    return tuple((source, target) for source, target in pairs if mask >> _bit(source, target) & 1)


class Orders:
    """All orders of the inner vertices of graphs with so many vertices.

    Args:
        vertices: Input and output included.
    """

    def __init__(self, vertices: int) -> None:
        inner = vertices - 2
        self.vertices = vertices
        moved = np.array(list(permutations(range(1, vertices - 1))), np.int64).reshape(factorial(inner), inner)
        orders = len(moved)
        ends = np.zeros((orders, 1), np.int64), np.full((orders, 1), vertices - 1, np.int64)
        self.to = np.concatenate([ends[0], moved, ends[1]], axis=1)
        """int64 (orders, vertices): where each vertex goes."""
        pairs = [(source, target) for target in range(1, vertices) for source in range(target)]
        source, target = (self.to[:, list(ends)] for ends in zip(*pairs, strict=True))
        self._bits = np.where(source < target, 1 << (target * (target - 1) // 2 + source), 0)
        self._down = (source > target) @ (1 << np.arange(len(pairs)))

    def images(self, masks: NDArray[np.int64]) -> NDArray[np.int64]:
        """What every order makes of some graphs: int64 (orders, graphs); the largest number if an edge leads down."""
        found = np.zeros((len(self.to), len(masks)), np.int64)
        for place in range(self._bits.shape[1]):
            there = (masks >> place) & 1
            found += self._bits[:, place, None] * there
        found[(self._down[:, None] & masks) != 0] = np.iinfo(np.int64).max
        return found

    def labelled(self, orders: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of operations after some orders: int64 (orders, labels)."""
        inner = self.vertices - 2
        units = _KINDS ** np.arange(inner - 1, -1, -1, dtype=np.int64)
        digits = labels[:, None] // units % _KINDS
        moved = units[self.to[orders][:, 1:-1] - 1]
        return np.asarray(moved @ digits.T)


@dataclass(frozen=True)
class Graphs:
    """The graphs of one number of vertices, and the cells that they make.

    Args:
        vertices: Input and output included.
    """

    vertices: int

    @cached_property
    def orders(self) -> Orders:
        """Of the inner vertices."""
        return Orders(self.vertices)

    @cached_property
    def masks(self) -> NDArray[np.int64]:
        """Every graph's form, ascending: int64 (graphs,)."""
        masks = np.arange(1 << _bit(0, self.vertices), dtype=np.int64)
        masks = masks[np.bitwise_count(masks) <= MOST_EDGES]
        for vertex in range(self.vertices):
            out = sum(1 << _bit(vertex, target) for target in range(vertex + 1, self.vertices))
            into = sum(1 << _bit(source, vertex) for source in range(vertex))
            for edges in (out, into):
                if edges:
                    masks = masks[(masks & edges) != 0]
        forms = [self.orders.images(part).min(axis=0) for part in np.array_split(masks, len(masks) // 4096 + 1)]
        return np.unique(np.concatenate(forms))

    @cached_property
    def _labels(self) -> list[NDArray[np.int64]]:
        """Of every graph, the numbers of operations that count, ascending."""
        every = np.arange(_KINDS ** (self.vertices - 2), dtype=np.int64)
        images = self.orders.images(self.masks)
        found = []
        for place, mask in enumerate(self.masks):
            symmetries = np.flatnonzero(images[:, place] == mask)
            alike = self.orders.labelled(symmetries, every)
            found.append(every[alike.min(axis=0) == every] if len(symmetries) > 1 else every)
        return found

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Cells of all graphs up to each: int64 (graphs,)."""
        return np.cumsum([len(labels) for labels in self._labels])

    def cell(self, place: int) -> Cell:
        """The cell at a place among those with as many vertices."""
        graph = int(np.searchsorted(self.ends, place, side="right"))
        label = int(self._labels[graph][place - (int(self.ends[graph - 1]) if graph else 0)])
        digits = tuple(label // _KINDS**power % _KINDS for power in range(self.vertices - 3, -1, -1))
        return Cell(edges_of(int(self.masks[graph]), self.vertices), digits)

    def place(self, cell: Cell) -> int:
        """The place of a cell that is pruned and has as many vertices, in whatever form."""
        images = self.orders.images(np.array([mask_of(cell)]))[:, 0]
        form = images.min()
        number = sum(kind * _KINDS**power for power, kind in enumerate(reversed(cell.operations)))
        label = self.orders.labelled(np.flatnonzero(images == form), np.array([number])).min()
        graph = int(np.searchsorted(self.masks, form))
        return int(np.searchsorted(self._labels[graph], label)) + (int(self.ends[graph - 1]) if graph else 0)


@cache
def graphs() -> tuple[Graphs, ...]:
    """Of 2 to 7 vertices."""
    return tuple(Graphs(vertices) for vertices in range(2, VERTICES + 1))


@cache
def firsts() -> tuple[int, ...]:
    """How many cells come before those of each number of vertices, and how many there are."""
    counts = [int(found.ends[-1]) for found in graphs()]
    return tuple(sum(counts[:place]) for place in range(len(counts) + 1))
