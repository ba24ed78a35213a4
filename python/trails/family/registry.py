"""The one list of families."""

from __future__ import annotations

from trails.errors import InvalidInput, shown
from trails.family.base import Family
from trails.family.mlp import MLP

_FAMILIES: dict[str, Family] = {MLP.name: MLP}
"""What is listed here is known to every process, also to the one that trains; see `trails.space.registry`."""


def register_family(family: Family) -> None:
    """Add a family, so that spaces and checkpoints of it are understood.

    Raises:
        InvalidInput: There is one of this name.
    """
    if family.name in _FAMILIES:
        raise InvalidInput(f"there is a family '{shown(family.name)}' already")
    _FAMILIES[family.name] = family


def get_family(name: str) -> Family:
    """The family called ``name``.

    Raises:
        InvalidInput: There is none.
    """
    if name not in _FAMILIES:
        raise InvalidInput(
            f"there is no family of networks '{shown(name)}'", hint=f"Known families: {', '.join(_FAMILIES)}."
        )
    return _FAMILIES[name]
