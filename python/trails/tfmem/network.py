"""One network as the metrics that read no data see it: its weights, and a direction to look in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]
Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Network:
    """One bias-free network of linear layers with ReLUs between them.

    Args:
        weights: Positive float64 matrices (fan_in, fan_out), the output's (fan_in, 1) last.
        direction: g, standard normal (inputs,).
    """

    weights: tuple[Matrix, ...]
    direction: Vector
