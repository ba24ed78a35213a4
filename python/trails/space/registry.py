"""The one list of spaces."""

from __future__ import annotations

from trails.errors import InvalidInput, shown
from trails.space.base import Space
from trails.space.mlp import MAX_LAYERS, MIN_LAYERS, WIDTHS_10, WIDTHS_20, MlpSpace

_SPACES: dict[str, Space] = {}

DEFAULT_SPACE = "mlp4x20"
"""What is searched where nobody says: the published space."""


def register_space(space: Space) -> None:
    """Add a space, so that it is found by its name.

    Raises:
        InvalidInput: There is one of this name.
    """
    if space.name in _SPACES:
        raise InvalidInput(f"there is an architecture space '{shown(space.name)}' already")
    _SPACES[space.name] = space


def spaces() -> tuple[Space, ...]:
    """All spaces, in the order in which they were registered."""
    return tuple(_SPACES.values())


def parse_space(name: str) -> Space:
    """The space called ``name``, such as ``mlp4x20``: four hidden layers, twenty widths.

    Raises:
        InvalidInput: There is no such space; the hint lists those there are.
    """
    if name not in _SPACES:
        raise InvalidInput(
            f"there is no architecture space '{shown(name)}'",
            hint=f"Known spaces: {', '.join(_SPACES)}.",
        )
    return _SPACES[name]


# A space that is registered here is known to every process: the server's sessions, the refinement process, nodes of a
# cluster. One that a script registers is known to that script's process alone.
for _layers in range(MIN_LAYERS, MAX_LAYERS + 1):
    for _widths in (WIDTHS_10, WIDTHS_20):
        register_space(MlpSpace(_layers, _widths))
