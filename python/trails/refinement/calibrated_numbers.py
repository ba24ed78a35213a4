"""Numbers that a regression predicts, brought to the unit once more on the validation rows.

A network that is held back (dropout, L2, averages of weights) predicts too little of what is unusual, and of one that
has learnt logarithms exp(output) is the median rather than the mean (Duan, Smearing Estimate, JASA 1983). Both are
undone by a line through the outputs, the one of the least squared error in the target's unit, which is part of the
stored mean and deviation. For the mean absolute error the median is right, so that nothing is done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.table.log_scale import LogScale
from trails.table.target import Target

SLOPE, SHIFT = "output_slope", "output_shift"
"""What the line's two numbers are called among a model's metrics."""

FEWEST_ROWS = 200
"""Validation rows below which a line says more of the rows than of the network; of weighted ones, their effective
number."""

_MOST_ROWS = 1 << 15
"""Rows that it is fitted on, about: of more every second one, or third, ..."""

_WORTH_ROWS, _ERRORS = 8.0, 1.0
"""Rows whose mean squared error it must save, as two numbers that are fitted save about that of two by chance; and how
many standard errors of what it saves, because a few very large numbers may be all that it saves on."""

_LEAST, _MOST, _STEPS = 0.5, 2.0, 14
"""Slopes of a logarithm, and how often the interval is cut by the golden section: to a thousandth."""

_GOLDEN = (5.0**0.5 - 1.0) / 2.0


@dataclass(frozen=True)
class Line:
    """Outputs times ``slope``, which is above 0, plus ``shift``, both of standardised values."""

    slope: float = 1.0
    shift: float = 0.0

    def of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The outputs on the line; as they are where it changes nothing."""
        return outputs if self == Line() else outputs.astype(np.float64) * self.slope + self.shift


def line(
    target: Target,
    truth: NDArray[np.float32],
    outputs: NDArray[Any],
    metric: str | None = None,
    weights: NDArray[np.float64] | None = None,
) -> Line:
    """The line of the least squared error in the target's unit.

    Args:
        target: Of the run.
        truth: Labels of the validation rows, standardised values (rows,).
        outputs: What the network puts out for them, (rows,).
        metric: By which candidates are compared; None for that of the task.
        weights: What each row counts for, (rows,); None where all count alike.

    Returns:
        The identity of classes, where candidates are compared by ``mae``, of fewer than `FEWEST_ROWS` rows, and where
        it would save no more than chance.
    """
    if target.task != "regression" or metric == "mae" or not np.isfinite(outputs).all():
        return Line()
    step = -(-len(truth) // _MOST_ROWS)
    wide, put = truth[::step].astype(np.float64), outputs[::step].astype(np.float64)
    each = np.ones(len(wide)) if weights is None else weights[::step]
    total = float(each.sum())
    if not total > 0.0 or total**2 / float(np.dot(each, each)) < FEWEST_ROWS:
        return Line()
    each = each / total
    fitted = _straight(wide, put, each) if target.scale is None else _curved(target, target.scale, wide, put, each)
    if fitted is None:
        return Line()
    found, before, after = fitted
    gained, shares = before - after, float(np.dot(each, each))
    mean, left = float(np.dot(each, gained)), float(np.dot(each, after))
    error = math.sqrt(float(np.dot(each, (gained - mean) ** 2)) * shares)
    pays = mean > _WORTH_ROWS * shares * left and mean > _ERRORS * error
    return found if pays and np.isfinite([found.slope, found.shift]).all() else Line()


_Fitted = tuple[Line, NDArray[np.float64], NDArray[np.float64]] | None
"""A line, and the rows' squared errors without and with it, in whatever unit."""


def _straight(truth: NDArray[np.float64], outputs: NDArray[np.float64], each: NDArray[np.float64]) -> _Fitted:
    middle, centre = float(np.dot(each, truth)), float(np.dot(each, outputs))
    moved = outputs - centre
    spread = float(np.dot(each, moved**2))
    slope = float(np.dot(each, moved * (truth - middle))) / spread if spread > 0.0 else 0.0
    if not slope > 0.0:
        return None
    return Line(slope, middle - slope * centre), (truth - outputs) ** 2, (truth - middle - slope * moved) ** 2


def _curved(
    target: Target,
    scale: LogScale,
    truth: NDArray[np.float64],
    outputs: NDArray[np.float64],
    each: NDArray[np.float64],
) -> _Fitted:
    """value + shift = factor * exp(slope * logarithm): the factor is a least square's, the slope is searched."""
    # About the largest logarithm, so that no exponential is infinite; the unit of the errors does not matter.
    top = float(max(truth.max(), outputs.max())) * target.std
    wanted = np.exp(truth * target.std - top)

    def factor_of(powers: NDArray[np.float64]) -> float:
        return float(np.dot(each, wanted * powers)) / max(float(np.dot(each, powers**2)), 1e-300)

    def errors(slope: float) -> NDArray[np.float64]:
        powers = np.exp(slope * (outputs * target.std - top))
        found: NDArray[np.float64] = (wanted - factor_of(powers) * powers) ** 2
        return found

    def error(slope: float) -> float:
        return float(np.dot(each, errors(slope)))

    low, high = _LEAST, _MOST
    for _ in range(_STEPS):
        width = _GOLDEN * (high - low)
        low, high = (low, low + width) if error(high - width) < error(low + width) else (high - width, high)
    slope = (low + high) / 2.0
    factor = factor_of(np.exp(slope * (outputs * target.std - top)))
    if not factor > 0.0:
        return None
    plain = (wanted - np.exp(outputs * target.std - top)) ** 2
    # log(value + shift) is mean + std * output: the line goes through the logarithms less their mean.
    return Line(slope, (float(np.log(factor)) + (1.0 - slope) * top) / target.std), plain, errors(slope)
