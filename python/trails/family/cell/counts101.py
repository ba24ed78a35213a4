"""The published network of a cell of NAS-Bench-101: channels, convolutions, and what is counted of them.

Source: Ying et al., NAS-Bench-101: Towards Reproducible Neural Architecture Search, arXiv:1902.09635.
"""

from __future__ import annotations

from dataclasses import dataclass

from trails.family.cell.nasbench101 import CONV3, POOL, Cell, cell_of
from trails.family.design import Design

STEM, STACKS, CELLS = 128, 3, 3
"""Channels of the first stack, stacks, cells of each; each has twice the channels and half the side of the last."""


def channels(cell: Cell, before: int, after: int) -> list[int]:
    """Channels of every vertex's output.

    Those that are put side by side at the output share its channels evenly, the first ones taking what is left over;
    every other one has the most that any vertex behind it has.

    Args:
        cell: Pruned.
        before: Channels of the input.
        after: Channels of the output.
    """
    last = cell.vertices - 1
    found = [before, *(0 for _ in cell.operations), after]
    beside = [source for source in cell.into(last) if source]
    for place, vertex in enumerate(beside):
        found[vertex] = after // len(beside) + (place < after % len(beside))
    for vertex in range(last - 1, 0, -1):
        if not found[vertex]:
            found[vertex] = max(found[b] for a, b in cell.edges if a == vertex)
    return found


@dataclass(frozen=True)
class Convolution:
    """A convolution with its BatchNorm and ReLU.

    Args:
        source: Vertex whose output it reads.
        vertex: That it belongs to: as its operation, or bringing the cell's input to it.
        before: Channels that it reads.
        after: Channels that it makes.
        window: 1 or 3.
    """

    source: int
    vertex: int
    before: int
    after: int
    window: int


def convolutions(cell: Cell, before: int, after: int) -> list[Convolution]:
    """Of one cell: a 1x1 for each edge that leaves the input, and those that are operations."""
    widths = channels(cell, before, after)
    found = [Convolution(0, vertex, before, widths[vertex], 1) for source, vertex in cell.edges if source == 0]
    for vertex, operation in enumerate(cell.operations, start=1):
        if operation != POOL:
            found.append(Convolution(vertex, vertex, widths[vertex], widths[vertex], 3 if operation == CONV3 else 1))
    return found


def parameters(design: Design, classes: int = 10) -> int:
    """Trained numbers of the published network: convolutions, BatchNorm's scales and shifts, the classifier.

    Args:
        design: The cell.
        classes: That the pictures have.
    """
    cell = cell_of(design)
    total = 3 * 9 * STEM + 2 * STEM
    for before, after, _ in stages():
        total += sum((conv.window**2 * conv.before + 2) * conv.after for conv in convolutions(cell, before, after))
    return total + ((STEM << (STACKS - 1)) + 1) * classes


def flops(design: Design, side: int = 32, classes: int = 10) -> int:
    """Operations of one picture, counted as `trails.family.cell.nasbench201.flops` says, the last pooling left out.

    Args:
        design: The cell.
        side: Pixels of the picture's side.
        classes: That the pictures have.
    """
    cell = cell_of(design)
    total = (3 * 9 + 3) * STEM * side**2
    for number, (before, after, halvings) in enumerate(stages()):
        pixels = _halved(side, halvings) ** 2
        if halvings and number % CELLS == 0:
            total += 4 * before * pixels
        total += sum(
            (conv.window**2 * conv.before + 3) * conv.after * pixels for conv in convolutions(cell, before, after)
        )
        widths = channels(cell, before, after)
        total += sum(
            9 * widths[v] * pixels for v, operation in enumerate(cell.operations, start=1) if operation == POOL
        )
    return total + (STEM << (STACKS - 1)) * classes


def stages() -> list[tuple[int, int, int]]:
    """Of every cell of the network: channels before and after it, and how often the picture was halved before it."""
    found, before = [], STEM
    for stack in range(STACKS):
        for _ in range(CELLS):
            found.append((before, STEM << stack, stack))
            before = STEM << stack
    return found


def _halved(side: int, times: int) -> int:
    for _ in range(times):
        side //= 2
    return side
