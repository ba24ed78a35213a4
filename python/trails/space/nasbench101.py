"""The space of NAS-Bench-101: 423,624 cells, no two of them isomorphic."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check
from trails.errors import InvalidInput
from trails.family import Design, Family
from trails.family.cell import Cells101
from trails.family.cell.graphs101 import firsts, graphs
from trails.family.cell.nasbench101 import OPERATIONS, POSITIONS, VERTICES, cell_of, design_of

_INNER = VERTICES - 2

# As the benchmark's authors search it: of the edges one in seven is turned over, of the operations one in five changed.
_EDGE_CHANGES, _OPERATION_CHANGES = 1.0 / VERTICES, 1.0 / _INNER


class Nasbench101Space:
    """Every valid cell, isomorphic ones once, whether its accuracy is recorded or not.

    Cells are numbered by their vertices, then by edges, then by operations: the order of the enumeration by which the
    benchmark's authors found them (`trails.family.cell.graphs101`). The design at an index is the form that this
    enumeration meets first, which is also the one that they trained; `index` takes every other form as well, and
    `parse` keeps the form that it reads.

    Args:
        classes: That parameters and operations are counted for; ten, as they were recorded.

    Raises:
        InvalidInput: Fewer than two classes.

    Example:
        >>> space = Nasbench101Space()
        >>> space.size, space.format(space.architecture(2))
        (423624, 'I1O.101')
    """

    name = "nasbench101"
    choices: tuple[tuple[int, ...], ...] = ((0, 1),) * len(POSITIONS) + (tuple(range(len(OPERATIONS))),) * _INNER
    """Of 21 edges and five operations: most of these combinations are no cells, or the same."""

    def __init__(self, classes: int = 10) -> None:
        self._family = Cells101(classes)

    @property
    def family(self) -> Family:
        """See `Space.family`."""
        return self._family

    @property
    def size(self) -> int:
        """Number of cells."""
        return firsts()[-1]

    def parse(self, text: str) -> Design:
        """See `Space.parse`."""
        return self.family.parse(text)

    def format(self, design: Design) -> str:
        """See `Space.format`."""
        return self.family.format(design)

    def architecture(self, index: int) -> Design:
        """See `Space.architecture`."""
        if not 0 <= index < self.size:
            raise InvalidInput(f"space {self.name} has architectures 0 to {self.size - 1}, not {index}")
        place = int(np.searchsorted(firsts(), index, side="right")) - 1
        return design_of(graphs()[place].cell(int(index) - firsts()[place]))

    def index(self, design: Design) -> int:
        """See `Space.index`: isomorphic designs have the same."""
        cell = cell_of(design)
        place = cell.vertices - 2
        return firsts()[place] + graphs()[place].place(cell)

    def __contains__(self, design: object) -> bool:
        return self._is_design(design) and self._index(design) >= 0

    def indices(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `Space.indices`; the choices are numbered as they are called."""
        return np.array([self._index(tuple(design)) for design in places.tolist()], dtype=np.int64)

    def sample(self, n: int, seed: int) -> NDArray[np.int64]:
        """See `Space.sample`: uniform over cells, not over matrices."""
        if not 0 <= n <= self.size:
            raise InvalidInput(f"cannot sample {n} architectures from the {self.size} of space {self.name}")
        generator = np.random.default_rng(seed)
        return generator.choice(self.size, size=n, replace=False).astype(np.int64, copy=False)

    def mutate(self, index: int, generator: np.random.Generator) -> int:
        """A neighbour as the benchmark's authors draw it; see `Space.mutate`, from which it differs.

        Each of 21 edges is turned over with a probability of 1/7 and each of five operations is drawn among the other
        ones with one of 1/5, again and again until that is another cell. One change at a time would never add a vertex:
        it takes two edges to tie one in.
        """
        design = np.array(self.architecture(index), np.int64)
        count = len(POSITIONS)
        while True:
            changed = design.copy()
            changed[:count] ^= generator.random(count) < _EDGE_CHANGES
            other = generator.integers(1, len(OPERATIONS), _INNER)
            chosen = generator.random(_INNER) < _OPERATION_CHANGES
            changed[count:] = (changed[count:] + other * chosen) % len(OPERATIONS)
            found = self._index(tuple(changed.tolist()))
            if found not in (-1, index):
                return found

    def parameters(self, design: Design, inputs: int) -> int:
        """See `Space.parameters`."""
        return self.family.scoring.parameters(design, inputs)

    def parameters_at(self, indices: NDArray[np.int64], inputs: int, check: Check = no_check) -> NDArray[np.int64]:
        """See `Space.parameters_at`."""
        return self.family.scoring.parameters_at(self, indices, inputs, check)

    def flops(self, design: Design, inputs: int) -> int:
        """See `Space.flops`."""
        return self.family.scoring.flops(design, inputs)

    def _is_design(self, design: object) -> TypeGuard[Design]:
        return (
            isinstance(design, tuple)
            and len(design) == len(self.choices)
            and all(value in choices for value, choices in zip(design, self.choices, strict=True))
        )

    def _index(self, design: Design) -> int:
        """Its place; -1 where the numbers are no cell."""
        try:
            return self.index(design)
        except InvalidInput:
            return -1
