"""Cells of NAS-Bench-201, an operation on each of six edges between four nodes: their text, classes and counts.

Node 0 is the cell's input; node 3 its output. A node is the sum of what arrives over its edges. A design is the
operations' places in `OPERATIONS`, edge by edge in the order of `EDGES`, which is that of the official text

    |nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|

where ``~`` is followed by the node that an edge comes from, and ``+`` by the next node.

Source: Dong and Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, arXiv:2001.00326.
"""

from __future__ import annotations

import re
from itertools import pairwise

from trails.errors import InvalidInput, shown
from trails.family.design import Design

NONE, SKIP, CONV1, CONV3, POOL = range(5)

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""By place: `NONE` lets nothing through, `SKIP` all, the others are ReLU, convolution and BatchNorm, or an average."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From and to which node."""

STEM, CELLS, STAGES = 16, 5, 3
"""Channels of the first stage, cells of a stage, stages; each has twice the channels and half the side of the last."""

_LONGEST = 400
_EDGE = re.compile(r"([a-z0-9_]+)~([0-2])")
_EXAMPLE = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"

# The order and the names that NASLib encodes a cell with.
_NASLIB_OPERATIONS = (SKIP, NONE, CONV3, CONV1, POOL)
_NASLIB_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def read(text: str) -> Design:
    """Read the official text.

    Raises:
        InvalidInput: It is no cell of this benchmark.
    """
    nodes = text.split("+") if len(text) <= _LONGEST else []
    found: list[int] = []
    for node, part in enumerate(nodes, start=1):
        edges = part[1:-1].split("|") if len(part) > 1 and part[0] == part[-1] == "|" else []
        for source, edge in enumerate(edges):
            match = _EDGE.fullmatch(edge)
            if match and match[1] in OPERATIONS and int(match[2]) == source < node:
                found.append(OPERATIONS.index(match[1]))
    if len(nodes) != 3 or len(found) != len(EDGES) or write(tuple(found)) != text:
        raise InvalidInput(
            f"'{shown(text)}' is no cell of NAS-Bench-201",
            hint=f"Write three nodes with 1, 2 and 3 edges of {', '.join(OPERATIONS)}, such as {_EXAMPLE!r}.",
        )
    return tuple(found)


def write(design: Design) -> str:
    """The official text of a design."""
    nodes: dict[int, list[str]] = {}
    for (source, node), operation in zip(EDGES, design, strict=True):
        nodes.setdefault(node, []).append(f"|{OPERATIONS[operation]}~{source}")
    return "+".join("".join(edges) + "|" for edges in nodes.values())


def from_naslib(indices: tuple[int, ...]) -> Design:
    """The design of NASLib's six numbers.

    Raises:
        InvalidInput: They are not six numbers from 0 to 4.
    """
    if len(indices) != len(EDGES) or not all(0 <= index < len(OPERATIONS) for index in indices):
        raise InvalidInput(f"NASLib writes a cell with six numbers from 0 to 4, not {shown(str(indices))}")
    operations = {edge: _NASLIB_OPERATIONS[index] for edge, index in zip(_NASLIB_EDGES, indices, strict=True)}
    return tuple(operations[edge] for edge in EDGES)


def to_naslib(design: Design) -> tuple[int, ...]:
    """NASLib's six numbers of a design."""
    operations = dict(zip(EDGES, design, strict=True))
    return tuple(_NASLIB_OPERATIONS.index(operations[edge]) for edge in _NASLIB_EDGES)


def class_of(design: Design) -> str:
    """A text that two cells share if the benchmark calls them isomorphic: 6,466 for all 15,625 cells.

    A node is the sorted sum of what arrives: ``#`` over an edge of `NONE`, the sender's own text over `SKIP`, and
    ``(text)@operation`` over the others. That is the benchmark's rule, and stricter than what cells compute: sums of
    nothing are told apart, since a network has their convolutions all the same.
    """
    written = ["0"]
    for node in range(1, 4):
        arriving = []
        for (source, target), operation in zip(EDGES, design, strict=True):
            if target == node:
                text = written[source]
                if operation == NONE or text == "#":
                    text = "#"
                elif operation != SKIP:
                    text = f"({text})@{OPERATIONS[operation]}"
                arriving.append(text)
        written.append("+".join(sorted(arriving)))
    return written[-1]


def parameters(design: Design, classes: int = 10) -> int:
    """Trained numbers of the published network: convolutions, BatchNorm's scales and shifts, the classifier.

    Args:
        design: The cell.
        classes: That the pictures have.
    """
    cell = 0
    for stage in range(STAGES):
        channels = STEM << stage
        cell += sum(_area(operation) * channels**2 + 2 * channels for operation in design if _area(operation))
    total = 3 * 9 * STEM + 2 * STEM + CELLS * cell
    for before, after in pairwise(STEM << stage for stage in range(STAGES)):
        # Two 3x3 convolutions with their BatchNorm, and the 1x1 one of the way around them.
        total += 9 * before * after + 9 * after**2 + 4 * after + before * after
    last = STEM << (STAGES - 1)
    return total + 2 * last + (last + 1) * classes


def flops(design: Design, side: int = 32, classes: int = 10) -> int:
    """What the benchmark counts of one picture: a multiply-accumulate is one, not two.

    A convolution counts its multiply-accumulates, a BatchNorm two an output, a ReLU one, a pooling as many as it looks
    at (the last one, over all pixels, a window one wider than the picture), the classifier its weights. That is what
    the recorded counts come to.

    Args:
        design: The cell.
        side: Pixels of the picture's side.
        classes: That the pictures have.
    """
    sides = [side]
    for _ in range(STAGES - 1):
        sides.append((sides[-1] + 1) // 2)
    total = (3 * 9 * STEM + 2 * STEM) * side**2
    for stage, pixels in enumerate(own**2 for own in sides):
        channels = STEM << stage
        for operation in design:
            if _area(operation):
                total += CELLS * (_area(operation) * channels + 3) * channels * pixels
            elif operation == POOL:
                total += CELLS * 9 * channels * pixels
        if stage:
            before = channels // 2
            total += before * sides[stage - 1] ** 2 + (9 * before + 2) * channels * pixels
            total += (1 + 9 * channels + 2) * channels * pixels + (4 + channels) * before * pixels
    last = STEM << (STAGES - 1)
    return total + 3 * last * sides[-1] ** 2 + last * (sides[-1] + 1) ** 2 + last * classes


def _area(operation: int) -> int:
    """Weights of a convolution's window; 0 where there is none."""
    return {CONV1: 1, CONV3: 9}.get(operation, 0)
