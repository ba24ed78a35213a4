"""Validation metrics, exact, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.table.target import Target

_SECONDS_PER_OUTPUT = 60e-9
"""Of a row and a class: measured 25 to 40 nanoseconds on one core."""


def measure(target: Target, truth: NDArray[Any], outputs: NDArray[Any]) -> tuple[float, float]:
    """What a candidate is ranked by, higher is better, and its validation loss.

    Args:
        target: Of the run.
        truth: Labels of the validation rows: bool, int64 classes, or float32 standardised values; shape (rows,).
        outputs: What the network predicts for them: logits (rows,) or (rows, classes), or standardised values (rows,).

    Returns:
        AUC and log loss; accuracy and log loss; R2 and the root mean square error in the target's unit.
    """
    if target.task == "binary":
        return auc(truth, outputs), log_loss(truth, outputs)
    if target.task == "multiclass":
        return accuracy(truth, outputs), cross_entropy(truth, outputs)
    return r2(truth, outputs), rmse(truth, outputs) * target.std


def report(target: Target, truth: NDArray[Any], outputs: NDArray[Any]) -> dict[str, float]:
    """Everything that is told of a model; arguments as in `measure`.

    Returns:
        ``auc`` and ``log_loss``; ``accuracy``, ``macro_auc`` and ``log_loss``; ``r2``, ``rmse`` and ``mae``.
    """
    metric, loss = measure(target, truth, outputs)
    if target.task == "binary":
        right = float(np.mean((outputs > 0) == truth))
        return {"auc": metric, "log_loss": loss, "accuracy": right}
    if target.task == "multiclass":
        return {"accuracy": metric, "macro_auc": macro_auc(truth, outputs), "log_loss": loss}
    mae = float(np.mean(np.abs(truth.astype(np.float64) - outputs))) * target.std
    return {"r2": metric, "rmse": loss, "mae": mae}


def auc(labels: NDArray[np.bool_], scores: NDArray[Any]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    The Mann-Whitney statistic from average ranks; one sort, no binning and no sampling.

    Args:
        labels: bool, shape (rows,): True for positives.
        scores: Any real dtype, shape (rows,); higher means more likely positive. Logits do as well as
            probabilities.

    Returns:
        0 to 1; NaN if a score is NaN.

    Raises:
        ValueError: Only one class, or shapes that differ.
    """
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must be vectors of the same length")
    positives = int(np.count_nonzero(labels))
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        raise ValueError("AUC needs both classes")
    if np.isnan(scores).any():
        return float("nan")
    starts, sizes, positives_in_group = _groups(labels, scores)
    # Twice the average rank, counted from 1: whole numbers, hence exact.
    doubled_ranks = 2 * starts + sizes + 1
    doubled_sum = int(np.dot(doubled_ranks, positives_in_group))
    wins = doubled_sum - positives * (positives + 1)
    return wins / (2 * positives * negatives)


def _groups(labels: NDArray[np.bool_], scores: NDArray[Any]) -> tuple[NDArray[np.int64], ...]:
    """First place, size and number of positives of every group of equal scores, in ascending order."""
    if scores.dtype == np.float32:
        # One sort of whole numbers, score above label, is several times faster than finding the order of floats.
        bits = (scores + np.float32(0.0)).view(np.int32)  # -0.0 becomes 0.0
        ordered_bits = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
        packed = np.sort((ordered_bits.astype(np.int64) << 1) | labels)
        ordered: NDArray[Any] = packed >> 1
        ordered_labels = packed & 1
    else:
        order = np.argsort(scores)
        ordered, ordered_labels = scores[order], labels[order].astype(np.int64)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return starts, np.diff(np.append(starts, len(ordered))), np.add.reduceat(ordered_labels, starts)


def log_loss(labels: NDArray[np.bool_], logits: NDArray[Any]) -> float:
    """Mean binary cross-entropy in nats, from logits, without overflow.

    Args:
        labels: bool, shape (rows,).
        logits: Any real dtype, shape (rows,).
    """
    wide = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, np.where(labels, -wide, wide))))


def accuracy(classes: NDArray[np.int64], logits: NDArray[Any]) -> float:
    """Share of rows (rows,) whose class has the highest of the logits (rows, classes)."""
    return float(np.mean(logits.argmax(1) == classes))


def cross_entropy(classes: NDArray[np.int64], logits: NDArray[Any]) -> float:
    """Mean cross-entropy in nats of classes (rows,) by logits (rows, classes), without overflow."""
    wide = logits.astype(np.float64)
    wide -= wide.max(1, keepdims=True)
    own = np.take_along_axis(wide, classes[:, None], 1)[:, 0]
    return float(np.mean(np.log(np.exp(wide).sum(1)) - own))


def macro_auc(classes: NDArray[np.int64], logits: NDArray[Any]) -> float:
    """Mean over classes of the AUC of each against all others, by its probability; classes of no row do not count.

    NaN if only one class occurs, or a logit is NaN.
    """
    present = np.unique(classes)
    if len(present) < 2:
        return float("nan")
    wide = logits.astype(np.float64)
    wide -= wide.max(1, keepdims=True)
    # Logarithms order rows as probabilities do, and float32 tells them apart at both ends: half the time to sort.
    wide -= np.log(np.exp(wide).sum(1, keepdims=True))
    logs = np.ascontiguousarray(wide.T, np.float32)
    return float(np.mean([auc(classes == label, logs[label]) for label in present.tolist()]))


def report_seconds(target: Target, rows: int) -> float:
    """About what `report` takes for so many rows: a sort for every class."""
    return _SECONDS_PER_OUTPUT * rows * target.outputs


def rmse(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Root mean square error, both (rows,)."""
    return float(np.sqrt(np.mean((truth.astype(np.float64) - predicted) ** 2)))


def r2(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Coefficient of determination, both (rows,): 1 is perfect, 0 no better than the mean of ``truth``."""
    wide = truth.astype(np.float64)
    return float(1.0 - np.mean((wide - predicted) ** 2) / np.var(wide))
