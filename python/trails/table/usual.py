"""Numbers to predict as they come: which are believed, and how far they spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check, pieces
from trails.table.log_scale import LogScale

_ABSURD = 100.0
"""A value is absurd that lies so many times as far from the median as nearly all others at most."""

NEARLY_ALL = 0.995
_FEWEST_JUDGED = 20
"""Rows, of which one may be absurd."""

_LOOKED_AT = 1 << 18
"""Rows, evenly spread, that say what is usual: enough for a share of 0.5 %, and sorted in some milliseconds."""


@dataclass(frozen=True)
class Usual:
    """What values of a number are believed.

    One target of a million times the others would be all that a squared error sees, and its share of the deviation all
    that standardising leaves. A value below ``low`` counts as ``lowest``, one above ``high`` as ``highest``.

    Args:
        low: The least value that is believed.
        lowest: The least believable value of the training rows.
        highest: The greatest one.
        high: The greatest value that is believed.
    """

    low: float = -math.inf
    lowest: float = -math.inf
    highest: float = math.inf
    high: float = math.inf

    def beyond(self, data: NDArray[Any]) -> NDArray[np.bool_]:
        """Which values are not believed, bool of the same shape."""
        return np.asarray((data < self.low) | (data > self.high))

    def believed(self, data: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values, float64, absurd ones in the place of which the nearest believable one is."""
        found: NDArray[np.float64] = np.where(data > self.high, self.highest, data)
        return np.where(data < self.low, self.lowest, found)


EVERYTHING = Usual()
"""All values are believed."""


def usual_of(data: NDArray[Any], check: Check = no_check) -> Usual:
    """What is believed of these values, shape (rows,)."""
    if len(data) < _FEWEST_JUDGED:
        return Usual()
    # Halves, because the difference of two numbers beyond 1e307 may be infinite.
    some = data[:: -(-len(data) // _LOOKED_AT)].astype(np.float64) * 0.5
    middle = float(np.median(some))
    distances = np.abs(some - middle)
    # Of a number that is nearly always 0, as claims are, the others say what is usual.
    distances = distances[distances > 0.0]
    if not len(distances):
        return Usual()
    reach = _ABSURD * float(np.quantile(distances, NEARLY_ALL, method="lower"))
    low, high = 2.0 * (middle - reach), 2.0 * (middle + reach)
    if not (math.isfinite(low) and math.isfinite(high)):
        return Usual()
    lowest, highest = math.inf, -math.inf
    for piece in pieces(len(data), check):
        part = data[piece].astype(np.float64)
        part = part[(part >= low) & (part <= high)]
        if len(part):
            lowest, highest = min(lowest, float(part.min())), max(highest, float(part.max()))
    return Usual(low, lowest, highest, high)


def spread_of(data: NDArray[Any], usual: Usual, check: Check, scale: LogScale | None = None) -> tuple[float, float]:
    """Mean and standard deviation of what is learnt of the values, 1 where that is 0; finite whatever they are."""
    rows, largest = len(data), 0.0

    def learnt(piece: slice) -> NDArray[np.float64]:
        believed = usual.believed(data[piece].astype(np.float64))
        return believed if scale is None else scale.learnt(believed)

    for piece in pieces(rows, check):
        largest = max(largest, float(np.abs(learnt(piece)).max()))
    # Squares of numbers beyond 1e154 are infinite, and of those below 1e-162 nothing is left.
    unit = 2.0 ** (math.frexp(largest)[1] - 1)

    def mean_of(power: int, centre: float) -> float:
        return math.fsum(float(((learnt(p) / unit - centre) ** power).sum()) for p in pieces(rows, check)) / rows

    mean = mean_of(1, 0.0)
    return mean * unit, math.sqrt(mean_of(2, mean)) * unit or 1.0
