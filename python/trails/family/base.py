"""What a family of networks is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from trails.family.scoring import Scoring

Design: TypeAlias = tuple[int, ...]
"""What one network is made from, as its family reads an architecture: of an MLP its hidden widths."""


class Family(Protocol):
    """Networks of one kind: their text, and in halves of their own how they are scored and how they are trained.

    Attributes:
        name: Such as ``mlp``; checkpoints keep it.
    """

    name: str

    def parse(self, text: str) -> Design:
        """Read an architecture, whatever space it lies in.

        Raises:
            InvalidInput: No network of this family is written so.
        """

    def format(self, design: Design) -> str:
        """Write a design as the text that `parse` reads."""

    @property
    def scoring(self) -> Scoring:
        """How its networks are scored without training; imported when it is asked for, and without torch."""
