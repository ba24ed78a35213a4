"""Search spaces: which architectures there are, and their order."""

from trails.space.base import ProductSpace, Space
from trails.space.mlp import WIDTHS_10, WIDTHS_20, MlpSpace
from trails.space.registry import DEFAULT_SPACE, parse_space, register_space, spaces

__all__ = [
    "DEFAULT_SPACE",
    "WIDTHS_10",
    "WIDTHS_20",
    "MlpSpace",
    "ProductSpace",
    "Space",
    "parse_space",
    "register_space",
    "spaces",
]
