"""Cells of NAS-Bench-101, of up to seven vertices and nine edges: their text, channels and counts.

Vertex 0 is the cell's input, the last one its output, every other one an operation. A design is of 26 numbers: the
upper triangle of a 7 x 7 adjacency matrix, row by row, and the operation of each of the five vertices between input and
output as its place in `OPERATIONS`. A cell with fewer vertices leaves those before the output without edges. Vertices
that lie on no way from input to output do not count, as in the official interface: `pruned` takes them out.

The text is of the cell alone: the operations as letters, and the upper triangle of the matrix of as many vertices:

    I3M331O.100110100001001010101

Source: Ying, Klein, Real, Christiansen, Murphy and Hutter, NAS-Bench-101: Towards Reproducible Neural Architecture
Search, arXiv:1902.09635.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5

from trails.errors import InvalidInput, shown
from trails.family.design import Design

VERTICES, MOST_EDGES = 7, 9
"""Of a cell at most."""

CONV3, CONV1, POOL = range(3)

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
INPUT, OUTPUT = "input", "output"

POSITIONS = tuple((row, column) for row in range(VERTICES) for column in range(row + 1, VERTICES))
"""Of the edges of a design: from and to which vertex."""

_LETTERS = "31M"
_TEXT = re.compile(r"I([31M]{0,5})O\.([01]{1,21})")
_EXAMPLE = "I3M331O.100110100001001010101"


@dataclass(frozen=True)
class Cell:
    """A graph of operations.

    Args:
        edges: Pairs (from, to), from the lower vertex to the higher, sorted.
        operations: Of the vertices between input and output, as places in `OPERATIONS`.
    """

    edges: tuple[tuple[int, int], ...]
    operations: tuple[int, ...]

    @property
    def vertices(self) -> int:
        """Input and output included."""
        return len(self.operations) + 2

    def into(self, vertex: int) -> list[int]:
        """Where a vertex's edges come from, ascending."""
        return [source for source, target in self.edges if target == vertex]


def pruned(cell: Cell) -> Cell | None:
    """The cell without what lies on no way from its input to its output; None where there is no way."""
    last = cell.vertices - 1
    reached, reaching = {0}, {last}
    for source, target in cell.edges:  # sorted by source: every edge into it was seen
        if source in reached:
            reached.add(target)
    for source, target in reversed(cell.edges):
        if target in reaching:
            reaching.add(source)
    kept = sorted(reached & reaching)
    if kept[:1] != [0] or kept[-1] != last:
        return None
    number = {vertex: place for place, vertex in enumerate(kept)}
    edges = tuple((number[a], number[b]) for a, b in cell.edges if a in number and b in number)
    return Cell(edges, tuple(cell.operations[vertex - 1] for vertex in kept[1:-1]))


def cell_of(design: Design) -> Cell:
    """The cell of a design, pruned.

    Raises:
        InvalidInput: It has too many edges, or its output cannot be reached.
    """
    count = len(POSITIONS)
    if len(design) != count + VERTICES - 2 or not set(design[:count]) <= {0, 1} or not set(design[count:]) <= {0, 1, 2}:
        raise InvalidInput(f"a cell of NAS-Bench-101 is {count} edges and {VERTICES - 2} operations")
    edges = tuple(position for position, there in zip(POSITIONS, design, strict=False) if there)
    return _valid(Cell(edges, design[count:]))


def _valid(cell: Cell) -> Cell:
    found = pruned(cell)
    if found is None:
        raise InvalidInput(
            "the cell's output cannot be reached from its input", hint="Add edges from vertex 0 to the last one."
        )
    if found.vertices > VERTICES or len(found.edges) > MOST_EDGES:
        raise InvalidInput(
            f"a cell of NAS-Bench-101 has at most {VERTICES} vertices and {MOST_EDGES} edges",
            detail=f"This one has {found.vertices} vertices and {len(found.edges)} edges.",
        )
    return found


def design_of(cell: Cell) -> Design:
    """The design of a cell: its output is the last of seven vertices, and the ones before it that it lacks are bare."""
    last = cell.vertices - 1

    def place(vertex: int) -> int:
        return VERTICES - 1 if vertex == last else vertex

    there = {(place(a), place(b)) for a, b in cell.edges}
    bare = (0,) * (VERTICES - cell.vertices)
    return (*(int(position in there) for position in POSITIONS), *cell.operations, *bare)


def read(text: str) -> Design:
    """Read what `write` wrote, or another cell in its form; it is pruned.

    Raises:
        InvalidInput: It is no cell, has too many edges, or is not connected.
    """
    match = _TEXT.fullmatch(text)
    vertices = len(match[1]) + 2 if match else 0
    if not match or len(match[2]) != vertices * (vertices - 1) // 2:
        raise InvalidInput(
            f"'{shown(text)}' is no cell of NAS-Bench-101",
            hint="Write a letter for each vertex (I, then 3, 1 or M, then O), a dot, and the upper triangle of the "
            f"adjacency matrix row by row, such as {_EXAMPLE!r}.",
        )
    pairs = [(row, column) for row in range(vertices) for column in range(row + 1, vertices)]
    edges = tuple(pair for pair, bit in zip(pairs, match[2], strict=True) if bit == "1")
    return design_of(_valid(Cell(edges, tuple(_LETTERS.index(letter) for letter in match[1]))))


def write(design: Design) -> str:
    """The text of a design, pruned.

    Raises:
        InvalidInput: It is no cell.
    """
    cell = cell_of(design)
    there = set(cell.edges)
    bits = [(row, column) in there for row in range(cell.vertices) for column in range(row + 1, cell.vertices)]
    letters = "".join(_LETTERS[operation] for operation in cell.operations)
    return f"I{letters}O.{''.join(str(int(bit)) for bit in bits)}"


def from_matrix(matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> Design:
    """The design of the official interface's matrix and names of operations.

    Args:
        matrix: Upper triangular, of zeros and ones, (vertices, vertices).
        operations: Of every vertex: ``input``, then of `OPERATIONS`, then ``output``.

    Raises:
        InvalidInput: They are no cell.
    """
    vertices = len(matrix)
    square = all(len(row) == vertices for row in matrix) and len(operations) == vertices >= 2
    if not square or any(entry not in (0, 1) for row in matrix for entry in row):
        raise InvalidInput("a cell's matrix is square, of zeros and ones, with an operation for each vertex")
    if any(matrix[row][column] for row in range(vertices) for column in range(row + 1)):
        raise InvalidInput("a cell's matrix is upper triangular: edges lead from lower vertices to higher ones")
    inner = tuple(operations[1:-1])
    if operations[0] != INPUT or operations[-1] != OUTPUT or not set(inner) <= set(OPERATIONS):
        raise InvalidInput(
            f"a cell's operations are {INPUT}, any of {', '.join(OPERATIONS)}, and {OUTPUT}",
            detail=f"Given: {shown(', '.join(operations))}.",
        )
    edges = tuple((row, column) for row in range(vertices) for column in range(vertices) if matrix[row][column])
    return design_of(_valid(Cell(edges, tuple(OPERATIONS.index(name) for name in inner))))


def to_matrix(design: Design) -> tuple[list[list[int]], list[str]]:
    """The matrix and the names of operations that the official interface takes."""
    cell = cell_of(design)
    matrix = [[0] * cell.vertices for _ in range(cell.vertices)]
    for source, target in cell.edges:
        matrix[source][target] = 1
    return matrix, [INPUT, *(OPERATIONS[operation] for operation in cell.operations), OUTPUT]


def fingerprint(design: Design) -> str:
    """The benchmark's name of a cell, equal for isomorphic ones: 32 hexadecimal digits.

    Every vertex begins with a digest of how many edges leave and enter it and what it does; as many times as there are
    vertices it takes up the sorted digests of those before and behind it; the sorted digests of all are the cell's.
    Source: section S1 of the paper; which characters are digested is the benchmark's own choice.
    """
    cell = cell_of(design)
    labels = [-1, *cell.operations, -2]
    before = [cell.into(vertex) for vertex in range(cell.vertices)]
    behind = [[b for a, b in cell.edges if a == vertex] for vertex in range(cell.vertices)]
    digests = [
        _digest(str((len(out), len(into), label))) for out, into, label in zip(behind, before, labels, strict=True)
    ]
    for _ in range(cell.vertices):
        digests = [
            _digest(f"{_joined(digests, before[vertex])}|{_joined(digests, behind[vertex])}|{digests[vertex]}")
            for vertex in range(cell.vertices)
        ]
    return _digest(str(sorted(digests)))


def _joined(digests: Sequence[str], vertices: Sequence[int]) -> str:
    return "".join(sorted(digests[vertex] for vertex in vertices))


def _digest(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
