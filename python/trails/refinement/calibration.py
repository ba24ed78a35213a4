"""Calibrated probabilities: a temperature, fitted on the validation rows (Guo et al., On Calibration of Modern Neural
Networks, ICML 2017). Which rows rank above which, and so the AUC, it leaves as they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trails.table.target import Target
from trails.training.options import Options

FEWEST_ROWS = 500
"""Validation rows below which a temperature says more of the rows than of the network; of weighted ones, their
effective number."""

_MOST_NUMBERS = 1 << 17
"""Logits that it is fitted on, about: of more rows every second one, or third, ..., but `FEWEST_ROWS` of them."""

_STEPS, _LEAST, _MOST = 12, 0.5, 20.0

_SECONDS_PER_ROW, _SECONDS_PER_NUMBER = 150e-9, 10e-9
"""Of a step: measured 100 to 150 nanoseconds a row on one core, and 5 to 10 more for each of its classes."""


def fits(options: Options, target: Target) -> bool:
    """Whether probabilities are calibrated at all: classes that weigh what a caller says are not as frequent as the
    rows have them, and a temperature would take back part of what was asked for."""
    return options.calibrate and target.task != "regression" and options.class_weights == "none"


def temperature_seconds(target: Target, rows: int) -> float:
    """About what `temperature` takes at most for so many validation rows."""
    if target.task == "regression" or rows < FEWEST_ROWS:
        return 0.0
    # Two passes more: the first one, and what is looked up before.
    used, classes = -(-rows // _step(rows, target.outputs)), max(2, target.outputs)
    return (_STEPS + 2) * used * (_SECONDS_PER_ROW + _SECONDS_PER_NUMBER * classes)


def temperature(
    target: Target,
    truth: NDArray[np.bool_] | NDArray[np.int64],
    logits: NDArray[np.float32],
    weights: NDArray[np.float64] | None = None,
) -> float:
    """What the logits are to be divided by so that the log loss is the smallest.

    Of rows that are told apart without a mistake that would be nothing at all, so a row is of its own class not quite:
    as if one row more had been seen of every class among those of each (Platt, 1999).

    Args:
        target: Of the run.
        truth: Labels of the validation rows: bool, or int64 classes; shape (rows,).
        logits: What the network puts out for them, (rows,) or (rows, classes).
        weights: What each row counts for, (rows,); None where all count alike.

    Returns:
        0.5 to 20; 1 of a regression, where there are fewer than `FEWEST_ROWS` rows, and where nothing does better.
    """
    rows = len(truth)
    if target.task == "regression" or _effective(rows, weights) < FEWEST_ROWS or not np.isfinite(logits).all():
        return 1.0
    step = _step(rows, target.outputs)
    wide, truth = logits[::step].astype(np.float64), truth[::step]
    each = None if weights is None else weights[::step]
    if each is not None and not each.sum() > 0:
        return 1.0
    if target.task == "binary":
        wide = np.stack([np.zeros_like(wide), wide], axis=1)
    labels, classes = truth.astype(np.int64), wide.shape[1]
    wide -= wide.max(1, keepdims=True)
    own = np.take_along_axis(wide, labels[:, None], 1)[:, 0]
    counts = np.bincount(labels, each, classes)
    other = (1.0 / (counts * (_effective(len(labels), each) / counts.sum()) + classes))[labels]
    wanted = (1.0 - classes * other) * own + other * wide.sum(1)
    # What the loss of the labels as they are has less, by the temperature's inverse.
    less = float(np.average(own - wanted, weights=each))

    def loss_of(inverse: float) -> tuple[float, float, float]:
        """The mean log loss at a temperature's inverse, in which it is convex, and its two derivatives."""
        shares = np.exp(inverse * wide)
        sums = shares.sum(1)
        shares /= sums[:, None]
        mean = (shares * wide).sum(1)
        variance = (shares * wide**2).sum(1) - mean**2
        terms = (np.log(sums) - inverse * wanted, mean - wanted, variance)
        loss, slope, curvature = (float(np.average(term, weights=each)) for term in terms)
        return loss, slope, curvature

    # Newton's steps, kept between the ends that the sign of the slope leaves.
    low, high, inverse = 1.0 / _MOST, 1.0 / _LEAST, 1.0
    before, slope, curvature = loss_of(inverse)
    found, best = 1.0, before
    for _ in range(_STEPS):
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        towards = inverse - slope / curvature if curvature > 0 else (high if slope < 0 else low)
        # Where it leads out of them an end may be the best that is allowed.
        moved = towards if low < towards < high else (high if slope < 0 else (low * high) ** 0.5)
        done = abs(moved - inverse) <= 1e-4 * inverse
        inverse = moved
        loss, slope, curvature = loss_of(inverse)
        if loss < best:
            found, best = inverse, loss
        if done:
            break
    # Nothing is told as calibrated that does worse by the metric that is shown.
    return 1.0 / found if best - found * less < before - less else 1.0


def _step(rows: int, outputs: int) -> int:
    return max(1, min(-(-rows * max(2, outputs) // _MOST_NUMBERS), rows // FEWEST_ROWS))


def _effective(rows: int, weights: NDArray[np.float64] | None) -> float:
    """How many rows of equal weight say as much (Kish); 0 where no row counts."""
    if weights is None:
        return float(rows)
    squares = float(np.dot(weights, weights))
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
