"""The space of NAS-Bench-201: 15,625 cells, of which 6,466 are different."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trails.family.cell import Cells201
from trails.family.cell.nasbench201 import EDGES, OPERATIONS, class_of
from trails.space.base import ProductSpace


class Nasbench201Space(ProductSpace):
    """Every choice of one of five operations on six edges, the last edge varying fastest.

    That is not the order in which the published files number cells; the recorded benchmark knows both.

    Args:
        classes: That parameters and operations are counted for; ten, as they were recorded.

    Raises:
        InvalidInput: Fewer than two classes.

    Example:
        >>> space = Nasbench201Space()
        >>> space.size, space.format(space.architecture(2))
        (15625, '|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|')
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__((tuple(range(len(OPERATIONS))),) * len(EDGES), Cells201(classes), "nasbench201")

    @cached_property
    def representatives(self) -> NDArray[np.int64]:
        """Of every cell the first that is isomorphic to it: int64 (size,). A score of that one is a score of all."""
        first: dict[str, int] = {}
        found = (first.setdefault(class_of(self.architecture(index)), index) for index in range(self.size))
        return np.fromiter(found, np.int64, self.size)

    def _membership(self) -> str:
        return f"It has {len(EDGES)} edges, each of {', '.join(OPERATIONS)}."
