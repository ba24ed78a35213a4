"""Spaces of multi-layer perceptrons: all combinations of some widths over a number of hidden layers."""

from __future__ import annotations

from itertools import pairwise

from trails.errors import InvalidInput
from trails.family import Design
from trails.family.mlp import MLP, read_widths
from trails.space.base import ProductSpace

WIDTHS_20 = (8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 384, 512)
"""Widths of the published space for Frappe and UCI Diabetes (160,000 architectures at four layers)."""

WIDTHS_10 = (8, 16, 32, 48, 96, 112, 144, 176, 240, 384)
"""Widths of the published tabular space for Criteo (10,000 architectures at four layers)."""

MIN_LAYERS, MAX_LAYERS = 2, 5


class MlpSpace(ProductSpace):
    """All MLPs with ``layers`` hidden layers, each as wide as one of ``widths``.

    Architectures are numbered row-major, the last layer varying fastest: with L layers and W widths, index
    ``sum(position_l * W**(L-1-l))``.

    Args:
        layers: Number of hidden layers, 2 to 5.
        widths: Strictly increasing positive widths.

    Raises:
        InvalidInput: ``layers`` or ``widths`` break these rules.

    Example:
        >>> space = MlpSpace(4, WIDTHS_20)
        >>> space.name, space.size, space.format(space.architecture(1))
        ('mlp4x20', 160000, '8-8-8-16')
    """

    def __init__(self, layers: int, widths: tuple[int, ...]) -> None:
        if not MIN_LAYERS <= layers <= MAX_LAYERS:
            raise InvalidInput(
                f"a space has {MIN_LAYERS} to {MAX_LAYERS} hidden layers, not {layers}",
            )
        if not widths or widths[0] < 1 or any(a >= b for a, b in pairwise(widths)):
            raise InvalidInput(
                "the widths of a space are positive and strictly increasing",
                detail=f"Widths given: {', '.join(map(str, widths)) or 'none'}.",
            )
        super().__init__((tuple(widths),) * layers, MLP, mlp_name(layers, len(widths)))

    @property
    def layers(self) -> int:
        """Number of hidden layers."""
        return len(self.choices)

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of every layer."""
        return self.choices[0]

    def parse(self, text: str) -> Design:
        """Read ``'8-16-24-32'``.

        Raises:
            InvalidInput: The text is not widths joined by hyphens, or names no architecture of this space.
        """
        design = read_widths(text, self.format(self.architecture(0)))
        self.index(design)
        return design

    def _membership(self) -> str:
        return f"It has {self.layers} hidden layers, each of {', '.join(map(str, self.widths))} units."


def mlp_name(layers: int, widths: int) -> str:
    """What the space of so many hidden layers and widths is called: ``mlp4x20``."""
    return f"mlp{layers}x{widths}"
