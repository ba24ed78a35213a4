"""Validation metrics of binary targets, exact, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
