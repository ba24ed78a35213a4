"""Numbers that are learnt by their logarithm: counts, prices, durations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LogScale:
    """The logarithm of a number that is not below 0, moved so that there is one of 0 too.

    Args:
        shift: What is added to the number, above 0.
        most: No prediction is greater: beyond what was learnt from a network's outputs soon mean anything.
    """

    shift: float
    most: float

    def learnt(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """log(value + shift), float64 of the same shape; what is below 0 counts as 0."""
        # Halves, because the sum of two numbers near the largest one is infinite.
        halves = np.maximum(values.astype(np.float64), 0.0) * 0.5 + self.shift * 0.5
        logs: NDArray[np.float64] = np.log(halves) + np.log(2.0)
        return logs

    def values(self, learnt: NDArray[np.float64]) -> NDArray[np.float64]:
        """exp(learnt) - shift, between 0 and ``most``."""
        with np.errstate(over="ignore"):
            return np.asarray(np.clip(np.exp(learnt) - self.shift, 0.0, self.most))
