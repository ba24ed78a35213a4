"""What a family of networks is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from trails.family.design import Design

if TYPE_CHECKING:
    from trails.family.networks import Networks
    from trails.family.scoring import Scoring


class Family(Protocol):
    """Networks of one kind: their text, and in halves of their own how they are scored and how they are trained.

    Attributes:
        name: Such as ``mlp``; checkpoints keep it.
    """

    name: str

    @property
    def networks(self) -> Networks[Any]:
        """How they are trained; imports torch, so a backend never asks for it."""

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
