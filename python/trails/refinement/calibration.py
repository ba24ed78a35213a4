"""Calibrated probabilities: a temperature, fitted on the validation rows (Guo et al., On Calibration of Modern Neural
Networks, ICML 2017). Which rows rank above which, and so the AUC, it leaves as they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trails.table.target import Target

FEWEST_ROWS = 500
"""Validation rows below which a temperature says more of the rows than of the network."""

_MOST_NUMBERS = 1 << 21
"""Logits that it is fitted on, at most: of more rows every second one, or third, ..."""

_STEPS, _LEAST, _MOST = 30, 0.05, 20.0


def temperature(
    target: Target,
    truth: NDArray[np.bool_] | NDArray[np.int64],
    logits: NDArray[np.float32],
    weights: NDArray[np.float64] | None = None,
) -> float:
    """What the logits are to be divided by so that the log loss is the smallest.

    Args:
        target: Of the run.
        truth: Labels of the validation rows: bool, or int64 classes; shape (rows,).
        logits: What the network puts out for them, (rows,) or (rows, classes).
        weights: What each row counts for, (rows,); None where all count alike.

    Returns:
        0.05 to 20; 1 of a regression, where there are fewer than `FEWEST_ROWS` rows, and where nothing does better.
    """
    rows = len(truth)
    if target.task == "regression" or rows < FEWEST_ROWS or not np.isfinite(logits).all():
        return 1.0
    step = -(-logits.size // _MOST_NUMBERS)
    wide, truth = logits[::step].astype(np.float64), truth[::step]
    each = None if weights is None else weights[::step]
    if target.task == "binary":
        wide = np.stack([np.zeros_like(wide), wide], axis=1)
    labels = truth.astype(np.int64)
    wide -= wide.max(1, keepdims=True)
    own = np.take_along_axis(wide, labels[:, None], 1)[:, 0]

    def loss_of(inverse: float) -> tuple[float, float, float]:
        """The mean log loss at a temperature's inverse, in which it is convex, and its two derivatives."""
        shares = np.exp(inverse * wide)
        sums = shares.sum(1)
        shares /= sums[:, None]
        mean = (shares * wide).sum(1)
        variance = (shares * wide**2).sum(1) - mean**2
        terms = (np.log(sums) - inverse * own, mean - own, variance)
        loss, slope, curvature = (float(np.average(term, weights=each)) for term in terms)
        return loss, slope, curvature

    # Newton's steps, kept between the ends that the sign of the slope leaves.
    low, high, inverse = 1.0 / _MOST, 1.0 / _LEAST, 1.0
    before, slope, curvature = loss_of(inverse)
    found, best = 1.0, before
    for _ in range(_STEPS):
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        wanted = inverse - slope / curvature if curvature > 0 else low
        moved = wanted if low < wanted < high else (low * high) ** 0.5
        done = abs(moved - inverse) <= 1e-6 * inverse
        inverse = moved
        loss, slope, curvature = loss_of(inverse)
        if loss < best:
            found, best = inverse, loss
        if done:
            break
    return 1.0 / found
