"""Multi-layer perceptrons over embedded columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from trails.errors import InvalidInput, shown
from trails.family.design import Design

if TYPE_CHECKING:
    from trails.family.networks import Networks
    from trails.family.scoring import Scoring

_LONGEST = 100
"""Characters of an architecture at most."""

_ARCHITECTURE = re.compile(r"[1-9][0-9]{0,5}(-[1-9][0-9]{0,5})*")


class Mlp:
    """All MLPs: a design is the hidden widths, first layer first."""

    name = "mlp"

    def parse(self, text: str) -> Design:
        """Read ``'8-16-24-32'``.

        Raises:
            InvalidInput: The text is not widths joined by hyphens.
        """
        return read_widths(text, "64-32")

    def format(self, design: Design) -> str:
        """Write a design as ``'8-16-24-32'``."""
        return "-".join(map(str, design))

    @property
    def scoring(self) -> Scoring:
        """See `Family.scoring`."""
        from trails.family.mlp.scoring import MLP_SCORING

        return MLP_SCORING

    @property
    def networks(self) -> Networks[Any]:
        """How they are trained; imports torch."""
        from trails.family.mlp.networks import NETWORKS

        return NETWORKS


def read_widths(text: str, example: str) -> Design:
    """Hidden widths joined by hyphens.

    Args:
        text: What somebody wrote.
        example: An architecture for the hint.

    Raises:
        InvalidInput: It is something else.
    """
    if len(text) > _LONGEST or not _ARCHITECTURE.fullmatch(text):
        raise InvalidInput(
            f"'{shown(text)}' is not an architecture",
            hint=f"Write hidden widths joined by hyphens, such as {example!r}.",
        )
    return tuple(int(width) for width in text.split("-"))


MLP = Mlp()
"""The family; it has no state."""
