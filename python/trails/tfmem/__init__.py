"""Training-free model evaluation metrics (TFMEMs): scores that need a network but no training of it.

:data:`REGISTRY` is the one list of them; everything that takes a metric by name looks it up with
:func:`get_tfmem`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.space.mlp import MlpSpace
from trails.tfmem.expressflow import expressflow as _expressflow


class WholeSpace(Protocol):
    """Scores every architecture of a space: float64 (space.size,) in the space's order."""

    def __call__(self, space: MlpSpace, inputs: int, seed: int, check: Callable[[], None]) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class Tfmem:
    """One metric.

    Args:
        name: As given in SQL and on the command line.
        orientation: Whether a higher or a lower score is better.
        needs: What it reads of a batch: nothing, ``x`` (embedded rows), ``y`` (targets).
        whole_space: Scores a whole space at once; None where there is no such algorithm.
        sentence: What it measures.
        paper: Where it comes from.
    """

    name: str
    orientation: Literal["higher", "lower"]
    needs: tuple[Literal["x", "y"], ...]
    whole_space: WholeSpace | None
    sentence: str
    paper: str


_METRICS = (
    Tfmem(
        name="expressflow",
        orientation="higher",
        needs=(),
        whole_space=_expressflow,
        sentence="neuron saliency, weighted by layer width and inversely by trajectory length",
        paper="Anytime Neural Architecture Search on Tabular Data (ATLAS), arXiv:2403.10318",
    ),
)

REGISTRY: MappingProxyType[str, Tfmem] = MappingProxyType({metric.name: metric for metric in _METRICS})
"""Every metric by name."""


def get_tfmem(name: str) -> Tfmem:
    """The metric called ``name``.

    Raises:
        InvalidInput: There is none; the hint lists those there are.
    """
    if name not in REGISTRY:
        raise InvalidInput(
            f"there is no training-free metric {name!r}",
            hint=f"Known metrics: {', '.join(REGISTRY)}.",
        )
    return REGISTRY[name]


__all__ = ["REGISTRY", "Tfmem", "WholeSpace", "get_tfmem"]
