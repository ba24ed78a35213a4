"""Search spaces: which architectures there are, and their order."""

from trails.space.base import ProductSpace, Space
from trails.space.mlp import WIDTHS_10, WIDTHS_20, MlpSpace
from trails.space.nasbench101 import Nasbench101Space
from trails.space.nasbench201 import Nasbench201Space
from trails.space.registry import DEFAULT_SPACE, is_of_pictures, parse_space, picture_space, register_space, spaces

__all__ = [
    "DEFAULT_SPACE",
    "WIDTHS_10",
    "WIDTHS_20",
    "MlpSpace",
    "Nasbench101Space",
    "Nasbench201Space",
    "ProductSpace",
    "Space",
    "is_of_pictures",
    "parse_space",
    "picture_space",
    "register_space",
    "spaces",
]
