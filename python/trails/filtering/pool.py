"""Scored candidates in order of merit, however many metrics scored them.

Raw scores of different metrics cannot be added: synflow spans 4e5 to 9e7 on Frappe where naswot spans 42 to 207, so
the sum would order as synflow alone. Ranks can. A candidate's merit is the sum, over metrics, of its normalised rank

    (failed + worse + (equal + 1) / 2) / n

among the n candidates scored so far: ``worse`` counts those with a worse score, ``equal`` those with the same (itself
included), so that ties share their mean rank and an only best one has 1. ``failed`` counts candidates with any score
that is not finite: these stand behind all others, in no metric's ranks, and their own merit is 0.

Both ways of computing it, :class:`Pool` for a pool that grows and :func:`combine_ranks` for one that is complete, add
whole numbers and divide once, so that they agree to the last bit and equal sums of ranks are ties.

Source: the rank sum of expressivity and trainability (JacFlow), Anytime Neural Architecture Search on Tabular Data
(ATLAS), arXiv:2403.10318.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sortedcontainers import SortedList

from trails.checks import Check, no_check, order_of, pieces
from trails.errors import InvalidInput
from trails.filtering.whole_space import rank_scores

Orientation = Literal["higher", "lower"]


class Pool:
    """Candidates and their scores, growing.

    Args:
        orientations: Per metric, whether a higher or a lower score is better.

    Raises:
        InvalidInput: No metric, or an orientation that is neither.

    Example:
        >>> pool = Pool(["higher"])
        >>> for index, score in [(7, 1.0), (3, 2.0), (5, 2.0), (9, math.nan)]:
        ...     pool.add(index, [score])
        >>> pool.merit(3), pool.merit(7), pool.merit(9), pool.ranking().tolist(), pool.failed
        (0.875, 0.5, 0.0, [3, 5, 7, 9], 1)
    """

    def __init__(self, orientations: Sequence[Orientation]) -> None:
        self._orientations = tuple(orientations)
        self._signs = _signs(self._orientations)
        self._scores: dict[int, tuple[float, ...]] = {}
        # Per metric, the scores of candidates that did not fail, worst first.
        self._sorted = [SortedList() for _ in self._signs]
        self._failed = 0

    def add(self, index: int, scores: Sequence[float]) -> None:
        """Put a candidate into the pool, in O(log n).

        Args:
            index: The candidate's place in its space.
            scores: One per metric, as the metric gave them.

        Raises:
            InvalidInput: ``index`` is there already, or there is not one score per metric.
        """
        if index in self:
            raise InvalidInput(f"candidate {index} has been scored already")
        if len(scores) != len(self._signs):
            raise InvalidInput(f"candidate {index} has {len(scores)} scores where there are {len(self._signs)} metrics")
        values = tuple(float(score) for score in scores)
        self._scores[int(index)] = values
        if not _usable(values):
            self._failed += 1
            return
        for ordered, sign, value in zip(self._sorted, self._signs, values, strict=True):
            ordered.add(sign * value)

    def merit(self, index: int) -> float:
        """The candidate's merit in the pool as it is now, in O(log n).

        Returns:
            More than 0 and at most the number of metrics, higher is better; 0.0 if a score failed.

        Raises:
            InvalidInput: ``index`` is not in the pool.
        """
        scores = self.scores_of(index)
        if not _usable(scores):
            return 0.0
        doubled = 2 * self._failed * len(scores)
        for ordered, sign, score in zip(self._sorted, self._signs, scores, strict=True):
            # Twice the rank: worse ones, and worse or equal ones, and one.
            doubled += ordered.bisect_left(sign * score) + ordered.bisect_right(sign * score) + 1
        return float(doubled / (2 * len(self)))

    def scores_of(self, index: int) -> tuple[float, ...]:
        """The candidate's scores, as they were added.

        Raises:
            InvalidInput: ``index`` is not in the pool.
        """
        if index not in self:
            raise InvalidInput(f"candidate {index} has not been scored")
        return self._scores[index]

    def ranking(self) -> NDArray[np.int64]:
        """Indices of all candidates, best merit first, ties by index, failed ones last: int64 (n,), O(n log n)."""
        if not self._scores:
            return np.empty(0, dtype=np.int64)
        # In order of index, so that a tie in position is a tie in index.
        indices = np.array(sorted(self._scores), dtype=np.int64)
        scores = np.array([self._scores[index] for index in indices.tolist()], dtype=np.float64)
        return indices[rank_scores(combine_ranks(list(scores.T), self._orientations), indices.size)]

    @property
    def failed(self) -> int:
        """Candidates of which any score is not finite."""
        return self._failed

    def __len__(self) -> int:
        return len(self._scores)

    def __contains__(self, index: object) -> bool:
        return index in self._scores


def combine_ranks(
    scores: Sequence[NDArray[np.float64]],
    orientations: Sequence[Orientation],
    check: Callable[[], None] = no_check,
) -> NDArray[np.float64]:
    """The merit of every candidate of a whole pool at once.

    Args:
        scores: Per metric float64 (n,).
        orientations: Per metric, whether a higher or a lower score is better.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        float64 (n,), higher is better: what :meth:`Pool.merit` says, but NaN where any score is not finite, so that
        :func:`trails.filtering.whole_space.rank_scores` puts these last and
        :func:`trails.filtering.whole_space.count_failed` counts them.

    Raises:
        InvalidInput: No metric, an orientation that is neither, or not one array of the same shape (n,) per metric.
    """
    signs = _signs(orientations)
    shapes = [values.shape for values in scores]
    if len(shapes) != len(signs) or len(set(shapes)) != 1 or len(shapes[0]) != 1:
        raise InvalidInput(
            "ranks are combined from one array of scores per metric, one score per candidate",
            detail=f"{len(signs)} metrics; shapes given: {', '.join(map(str, shapes)) or 'none'}.",
        )
    usable = np.logical_and.reduce([np.isfinite(values) for values in scores])
    count = int(np.count_nonzero(usable))
    failed = usable.size - count
    doubled = np.full(count, 2 * failed * len(signs), dtype=np.int64)
    for sign, values in zip(signs, scores, strict=True):
        check()
        _add_ranks(doubled, sign * values[usable], check)
    check()
    merit = np.full(usable.size, np.nan)
    merit[usable] = doubled / (2 * usable.size)
    return merit


def _add_ranks(doubled: NDArray[np.int64], values: NDArray[np.float64], check: Check) -> None:
    """Add twice the rank of every one of some scores, from 1 for the lowest; ties share their mean."""
    order = order_of(values, check)
    first, before = np.empty(order.size, np.bool_), np.nan
    for piece in pieces(order.size, check):
        part = values[order[piece]]
        first[piece] = np.append(part[0] != before, part[1:] != part[:-1])
        before = part[-1]
    starts = np.flatnonzero(first)
    ranks = starts + np.append(starts[1:], order.size)[: starts.size] + 1
    seen = 0
    for piece in pieces(order.size, check):
        groups = np.cumsum(first[piece]) + (seen - 1)
        seen = int(groups[-1]) + 1
        doubled[order[piece]] += ranks[groups]


def _usable(scores: tuple[float, ...]) -> bool:
    return all(math.isfinite(score) for score in scores)


def _signs(orientations: Sequence[Orientation]) -> tuple[float, ...]:
    """What to multiply each metric's scores by, so that higher is better."""
    if not orientations:
        raise InvalidInput("candidates are ranked by one metric or more, not by none")
    for orientation in orientations:
        if orientation not in ("higher", "lower"):
            raise InvalidInput(f"a metric's better scores are its 'higher' or its 'lower' ones, not {orientation!r}")
    return tuple(1.0 if orientation == "higher" else -1.0 for orientation in orientations)
