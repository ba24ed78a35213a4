"""Validation metrics, exact, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.table.judged import is_loss
from trails.table.target import Target

_SECONDS_PER_OUTPUT = 60e-9
"""Of a row and a class: measured 25 to 40 nanoseconds on one core."""


Weights = NDArray[np.float64] | None
"""What each row counts for, shape (rows,); None where all count alike."""


def measure(
    target: Target, truth: NDArray[Any], outputs: NDArray[Any], metric: str | None = None, weights: Weights = None
) -> tuple[float, float]:
    """What a candidate is ranked by, higher is better, and its validation loss.

    Args:
        target: Of the run.
        truth: Labels of the validation rows: bool, int64 classes, or float32 standardised values; shape (rows,).
        outputs: What the network predicts for them: logits (rows,) or (rows, classes), or standardised values (rows,);
            of a target that is learnt by its logarithm these are standardised, and what is measured is the number.
        metric: One of `trails.table.judged.CHOSEN_BY`; None for that of the task. A loss is negated.
        weights: Of the rows.

    Returns:
        The metric, AUC, accuracy or R2 where none is named; and log loss, or the root mean square error in the
        target's unit.
    """
    loss = value_of(target.metrics[1], target, truth, outputs, weights)
    metric = metric or target.metric
    if metric == target.metrics[1]:
        return -loss, loss
    value = value_of(metric, target, truth, outputs, weights)
    return (-value if is_loss(metric) else value), loss


def report(
    target: Target, truth: NDArray[Any], outputs: NDArray[Any], metric: str | None = None, weights: Weights = None
) -> dict[str, float]:
    """Everything that is told of a model; arguments as in `measure`.

    Returns:
        ``auc`` and ``log_loss``; ``accuracy``, ``macro_auc`` and ``log_loss``; ``r2``, ``rmse`` and ``mae``; and
        ``metric`` beside them. Losses have their own sign.
    """
    by_task: Mapping[str, tuple[str, ...]] = {
        "binary": ("auc", "log_loss", "accuracy"),
        "multiclass": ("accuracy", "macro_auc", "log_loss"),
        "regression": ("r2", "rmse", "mae"),
    }
    names = by_task[target.task]
    if metric is not None and metric not in names:
        names = (metric, *names)
    return {name: value_of(name, target, truth, outputs, weights) for name in names}


def value_of(name: str, target: Target, truth: NDArray[Any], outputs: NDArray[Any], weights: Weights = None) -> float:
    """A metric by its name, losses with their own sign; arguments as in `measure`."""
    if target.task == "binary":
        of_two: Mapping[str, Callable[..., float]] = {
            "auc": auc,
            "average_precision": average_precision,
            "log_loss": log_loss,
            "brier": brier,
        }
        if name in of_two:
            return of_two[name](truth, outputs, weights)
        return _of_classes(name, truth.astype(np.int64), (outputs > 0).astype(np.int64), 2, weights)
    if target.task == "multiclass":
        if name in ("auc", "macro_auc"):
            return macro_auc(truth, outputs, weights)
        if name == "log_loss":
            return cross_entropy(truth, outputs, weights)
        if name == "accuracy":
            return accuracy(truth, outputs, weights)
        return _of_classes(name, truth, outputs.argmax(1), outputs.shape[1], weights)
    truth, outputs, unit = _in_a_unit(target, truth, outputs)
    if name == "r2":
        return r2(truth, outputs, weights)
    if name == "rmse":
        return rmse(truth, outputs, weights) * unit
    return _mean(np.abs(truth.astype(np.float64) - outputs), weights) * unit


def _in_a_unit(target: Target, truth: NDArray[Any], outputs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Values and predictions of a regression in some unit of the target's, and that unit."""
    if target.scale is None:
        return truth, outputs, target.std
    values = target.values(truth)
    # Squares of numbers beyond 1e154 are infinite.
    unit = float(values.max(initial=0.0)) or 1.0
    return values / unit, target.values(outputs) / unit, unit


def _of_classes(
    name: str, truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, weights: Weights
) -> float:
    """A metric of which class each row has and which one is predicted: 0 where its formula divides by nothing."""
    if name == "accuracy":
        return _mean(predicted == truth, weights)
    counts = np.bincount(truth * classes + predicted, weights, classes * classes).reshape(classes, classes)
    right, own, said = counts.diagonal(), counts.sum(1), counts.sum(0)
    if name == "balanced_accuracy":
        there = own > 0
        return float(np.mean(right[there] / own[there]))
    if name == "f1":
        return float(2 * right[1] / (own[1] + said[1])) if own[1] + said[1] > 0 else 0.0
    assert name == "mcc", f"{name} is no metric of classes"
    shares = counts / counts.sum()
    below = math.sqrt(float(np.prod(shares.sum(1)) * np.prod(shares.sum(0))))
    return float(shares[0, 0] * shares[1, 1] - shares[0, 1] * shares[1, 0]) / below if below > 0 else 0.0


def _mean(values: NDArray[Any], weights: Weights) -> float:
    if weights is None:
        return float(np.mean(values))
    return float(np.dot(weights, values) / weights.sum())


def auc(labels: NDArray[np.bool_], scores: NDArray[Any], weights: Weights = None) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    The Mann-Whitney statistic from average ranks; one sort, no binning and no sampling.

    Args:
        labels: bool, shape (rows,): True for positives.
        scores: Any real dtype, shape (rows,); higher means more likely positive. Logits do as well as
            probabilities.
        weights: What each row counts for; a pair of rows counts for the product.

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
    if weights is not None:
        of_positives, of_negatives = _weights_of_groups(labels, scores, weights)
        below = np.cumsum(of_negatives) - of_negatives
        wins = float(np.dot(of_positives, below + of_negatives / 2))
        return wins / float(of_positives.sum() * of_negatives.sum())
    starts, sizes, positives_in_group = _groups(labels, scores)
    # Twice the average rank, counted from 1: whole numbers, hence exact.
    doubled_ranks = 2 * starts + sizes + 1
    doubled_sum = int(np.dot(doubled_ranks, positives_in_group))
    doubled_wins = doubled_sum - positives * (positives + 1)
    return doubled_wins / (2 * positives * negatives)


def average_precision(labels: NDArray[np.bool_], scores: NDArray[Any], weights: Weights = None) -> float:
    """Mean of the precision at every threshold, weighted by what it adds to the recall; arguments as of `auc`.

    Returns:
        0 to 1; NaN if a score is NaN.
    """
    if np.isnan(scores).any():
        return float("nan")
    each = np.ones(len(labels)) if weights is None else weights
    of_positives, of_negatives = (part[::-1] for part in _weights_of_groups(labels, scores, each))
    found, said = np.cumsum(of_positives), np.cumsum(of_positives + of_negatives)
    return float(np.dot(of_positives, found / said) / found[-1])


def _weights_of_groups(
    labels: NDArray[np.bool_], scores: NDArray[Any], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of positives and of negatives in every group of equal scores, in ascending order."""
    order = np.argsort(scores)
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    own, positive = weights[order], labels[order]
    return np.add.reduceat(np.where(positive, own, 0.0), starts), np.add.reduceat(np.where(positive, 0.0, own), starts)


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


def log_loss(labels: NDArray[np.bool_], logits: NDArray[Any], weights: Weights = None) -> float:
    """Mean binary cross-entropy in nats, from logits, without overflow.

    Args:
        labels: bool, shape (rows,).
        logits: Any real dtype, shape (rows,).
        weights: Of the rows.
    """
    wide = logits.astype(np.float64)
    return _mean(np.logaddexp(0.0, np.where(labels, -wide, wide)), weights)


def brier(labels: NDArray[np.bool_], logits: NDArray[Any], weights: Weights = None) -> float:
    """Mean squared difference of the probability and 1 or 0; arguments as of `log_loss`."""
    chances = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return _mean((chances - labels) ** 2, weights)


def accuracy(classes: NDArray[np.int64], logits: NDArray[Any], weights: Weights = None) -> float:
    """Share of rows (rows,) whose class has the highest of the logits (rows, classes)."""
    return _mean(logits.argmax(1) == classes, weights)


def cross_entropy(classes: NDArray[np.int64], logits: NDArray[Any], weights: Weights = None) -> float:
    """Mean cross-entropy in nats of classes (rows,) by logits (rows, classes), without overflow."""
    wide = logits.astype(np.float64)
    wide -= wide.max(1, keepdims=True)
    own = np.take_along_axis(wide, classes[:, None], 1)[:, 0]
    return _mean(np.log(np.exp(wide).sum(1)) - own, weights)


def macro_auc(classes: NDArray[np.int64], logits: NDArray[Any], weights: Weights = None) -> float:
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
    return float(np.mean([auc(classes == label, logs[label], weights) for label in present.tolist()]))


def report_seconds(target: Target, rows: int) -> float:
    """About what `report` takes for so many rows: a sort for every class."""
    return _SECONDS_PER_OUTPUT * rows * target.outputs


def rmse(truth: NDArray[Any], predicted: NDArray[Any], weights: Weights = None) -> float:
    """Root mean square error, all (rows,)."""
    return math.sqrt(_mean((truth.astype(np.float64) - predicted) ** 2, weights))


def r2(truth: NDArray[Any], predicted: NDArray[Any], weights: Weights = None) -> float:
    """Coefficient of determination, all (rows,): 1 is perfect, 0 no better than the mean of ``truth``.

    NaN where all of ``truth`` is the same.
    """
    wide = truth.astype(np.float64)
    spread = _mean((wide - _mean(wide, weights)) ** 2, weights)
    return 1.0 - _mean((wide - predicted) ** 2, weights) / spread if spread > 0 else math.nan
