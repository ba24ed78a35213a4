"""The loss of a batch seen from its logits: first and second derivative.

Mean over the rows of: binary cross-entropy with logits for one logit, cross-entropy for two or more, squared error
in regression.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trails.table.target import Task

Matrix: TypeAlias = NDArray[np.float64]


def loss_gradient(logits: Matrix, y: NDArray[np.float64], task: Task) -> Matrix:
    """Gradient of the mean loss with respect to the logits.

    Args:
        logits: (rows, outputs); one output for ``binary`` and ``regression``.
        y: (rows,): 0 or 1, the number of a class, or a value.
        task: Which loss.

    Returns:
        (rows, outputs), 1 / rows included.
    """
    rows = len(logits)
    if task == "regression":
        return np.asarray(2.0 / rows * (logits - y[:, None]))
    if task == "binary":
        return np.asarray((_sigmoid(logits) - y[:, None]) / rows)
    gradient = _softmax(logits)
    gradient[np.arange(rows), y.astype(np.intp)] -= 1.0
    return gradient / rows


def loss_curvature(logits: Matrix, direction: Matrix, task: Task) -> Matrix:
    """Second derivative of the mean loss with respect to the logits, times a direction, row by row.

    Args:
        logits: (rows, outputs).
        direction: (rows, outputs).
        task: Which loss.

    Returns:
        (rows, outputs), 1 / rows included.
    """
    rows = len(logits)
    if task == "regression":
        return 2.0 / rows * direction
    if task == "binary":
        probability = _sigmoid(logits)
        return np.asarray(probability * (1.0 - probability) * direction / rows)
    probability = _softmax(logits)
    mean = np.sum(probability * direction, axis=1, keepdims=True)
    return np.asarray(probability * (direction - mean) / rows)


def _sigmoid(logits: Matrix) -> Matrix:
    # The hyperbolic tangent saturates where exp(-logit) would overflow.
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def _softmax(logits: Matrix) -> Matrix:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
