"""Multi-layer perceptrons over embedded columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from trails.errors import InvalidInput, shown
from trails.family.design import Design

if TYPE_CHECKING:
    from trails.family.networks import Networks

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
        if len(text) > _LONGEST or not _ARCHITECTURE.fullmatch(text):
            raise InvalidInput(
                f"'{shown(text)}' is not an architecture",
                hint="Write hidden widths joined by hyphens, such as '64-32'.",
            )
        return tuple(int(width) for width in text.split("-"))

    def format(self, design: Design) -> str:
        """Write a design as ``'8-16-24-32'``."""
        return "-".join(map(str, design))

    @property
    def networks(self) -> Networks[Any]:
        """How they are trained; imports torch."""
        from trails.family.mlp.networks import NETWORKS

        return NETWORKS


MLP = Mlp()
"""The family; it has no state."""
