"""Search spaces: which architectures there are, and their order."""

from trails.space.mlp import WIDTHS_10, WIDTHS_20, MlpSpace, parse_space

__all__ = ["WIDTHS_10", "WIDTHS_20", "MlpSpace", "parse_space"]
