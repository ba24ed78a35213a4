"""Networks for pictures that repeat one small cell: those of NAS-Bench-101 and NAS-Bench-201.

They are never trained here, their accuracies were published; they are scored, on pictures. A batch of pictures is a
`trails.tfmem.Batch` whose rows are pictures of three channels, flat: all red pixels row by row, then green, then blue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trails.errors import InvalidInput
from trails.family.cell import nasbench101, nasbench201
from trails.family.design import Design

if TYPE_CHECKING:
    from trails.family.cell.scoring import CellScoring
    from trails.family.networks import Networks


class _Recorded:
    """What both benchmarks have in common.

    Args:
        classes: That parameters and operations are counted for. Recorded are those of ten, and accuracies with 10, 100
            and 120; a network may have any number.

    Raises:
        InvalidInput: Fewer than two classes.
    """

    name: str
    recorded: str

    def __init__(self, classes: int = 10) -> None:
        if classes < 2:
            raise InvalidInput(f"pictures have two classes or more, not {classes}")
        self.classes = classes

    @property
    def networks(self) -> Networks[Any]:
        """None: nobody trains them.

        Raises:
            InvalidInput: Always; it says what is recorded.
        """
        raise InvalidInput(
            f"cells of {self.name} are not trained here, their accuracies are recorded",
            detail=f"Recorded are {self.recorded}.",
            hint=f"Look them up: trails.bench.open('{self.name}').",
        )


class Cells201(_Recorded):
    """Cells of NAS-Bench-201: a design is the operations of six edges; see `trails.family.cell.nasbench201`."""

    name = "nasbench201"
    recorded = "accuracies after 12 and 200 epochs on CIFAR-10, CIFAR-100 and ImageNet16-120"

    def parse(self, text: str) -> Design:
        """Read ``'|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|none~2|'``.

        Raises:
            InvalidInput: It is no cell of this benchmark.
        """
        return nasbench201.read(text)

    def format(self, design: Design) -> str:
        """Write a design as the text that `parse` reads."""
        return nasbench201.write(design)

    @property
    def scoring(self) -> CellScoring:
        """See `Family.scoring`."""
        from trails.family.cell.scoring import CellScoring

        return CellScoring(self.name, nasbench201.parameters, nasbench201.flops, self.classes)


class Cells101(_Recorded):
    """Cells of NAS-Bench-101: a design is 21 edges and five operations; see `trails.family.cell.nasbench101`."""

    name = "nasbench101"
    recorded = "accuracies after 4, 12, 36 and 108 epochs on CIFAR-10"

    def parse(self, text: str) -> Design:
        """Read ``'I3M331O.100110100001001010101'``.

        Raises:
            InvalidInput: It is no cell, has too many edges, or is not connected.
        """
        return nasbench101.read(text)

    def format(self, design: Design) -> str:
        """Write a design, without what no way from input to output crosses."""
        return nasbench101.write(design)

    @property
    def scoring(self) -> CellScoring:
        """See `Family.scoring`."""
        from trails.family.cell import counts101
        from trails.family.cell.scoring import CellScoring

        return CellScoring(self.name, counts101.parameters, counts101.flops, self.classes)


CELLS_101, CELLS_201 = Cells101(), Cells201()
"""As they were recorded: of ten classes."""

__all__ = ["CELLS_101", "CELLS_201", "Cells101", "Cells201"]
