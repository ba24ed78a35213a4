"""The one list of spaces."""

from __future__ import annotations

from trails.errors import InvalidInput, shown
from trails.space.base import Space
from trails.space.mlp import MAX_LAYERS, MIN_LAYERS, WIDTHS_10, WIDTHS_20, MlpSpace
from trails.space.nasbench101 import Nasbench101Space
from trails.space.nasbench201 import Nasbench201Space

_SPACES: dict[str, Space] = {}

_PICTURE_SPACES: dict[str, Space] = {space.name: space for space in (Nasbench101Space(), Nasbench201Space())}

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
    if name in _PICTURE_SPACES:
        raise InvalidInput(
            f"space '{name}' is of networks for pictures, not for the columns of a table",
            detail="They are not trained here: what accuracy they reach was recorded by others.",
            hint=f"Look it up: trails.bench.open('{name}'). In SQL trails.filtering_phase scores them on pictures.",
        )
    if name not in _SPACES:
        raise InvalidInput(
            f"there is no architecture space '{shown(name)}'",
            hint=f"Known spaces: {', '.join(_SPACES)}.",
        )
    return _SPACES[name]


def is_of_pictures(name: str) -> bool:
    """Whether `picture_space` knows the name."""
    return name in _PICTURE_SPACES


def picture_space(name: str) -> Space:
    """The space of networks for pictures called ``name``: ``nasbench101`` or ``nasbench201``.

    Raises:
        InvalidInput: There is no such space.
    """
    if name not in _PICTURE_SPACES:
        raise InvalidInput(
            f"there is no space of networks for pictures '{shown(name)}'",
            hint=f"Known ones: {', '.join(_PICTURE_SPACES)}.",
        )
    return _PICTURE_SPACES[name]


# A space that is registered here is known to every process: the server's sessions, the refinement process, nodes of a
# cluster. One that a script registers is known to that script's process alone.
for _layers in range(MIN_LAYERS, MAX_LAYERS + 1):
    for _widths in (WIDTHS_10, WIDTHS_20):
        register_space(MlpSpace(_layers, _widths))
