"""Which networks of a run do better together than the best of them alone: greedy selection with replacement.

Caruana, Niculescu-Mizil, Crew and Ksikes, Ensemble Selection from Libraries of Models, ICML 2004. What is averaged is
what networks put out: logits, or standardised values. Everything here is a function of these and of a metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_NETWORKS = 8
"""Networks of one model: predictions take as many times as long."""

MOST_READS = 16
"""Times that networks are taken, one that is taken again counted again: weights are sixteenths at the finest."""

FEWEST_ROWS = 1_000
"""Validation rows below which a gain says more of the rows than of the networks; of weighted ones, their effective
number."""

_GROUPS = 20
"""That rows are divided into, each left out in turn, for a standard error."""

Measure = Callable[[NDArray[Any], NDArray[np.intp] | None], float]
"""The metric, higher is better, of outputs (rows,) or (rows, outputs) for some of the rows, or all."""


@dataclass(frozen=True)
class Chosen:
    """Networks that do better together.

    Args:
        reads: How often each network that was offered is taken, int64 (networks,); 0 for most.
        gain: In the metric over the first network, on rows that it was not chosen on; the mean of both halves.
        standard_error: Of that gain, over rows.
    """

    reads: NDArray[np.int64]
    gain: float
    standard_error: float

    @property
    def pays(self) -> bool:
        """Whether the gain is more than one standard error of it, and there is more than one network."""
        return bool(np.count_nonzero(self.reads) > 1 and self.gain > self.standard_error)


def choose(
    outputs: Sequence[NDArray[np.float32]], select: Measure, judge: Measure, seed: int, most: int = MOST_NETWORKS
) -> Chosen:
    """Choose among networks, and judge the choice on rows that it was not made on.

    A mean that is chosen on the rows that it is measured on looks better than it is. So rows are halved at random, and
    each half compares the mean that is chosen on the other one with the first network. What is returned is chosen on
    all of them.

    Args:
        outputs: Of every network for the same rows, float32 (rows,) or (rows, outputs); the best network first.
        select: What is made the best of: a loss says more of each row than which rows rank above which.
        judge: The metric that the gain is in.
        seed: Of the halves, and of the rows that the standard error leaves out.
        most: Different networks at most.
    """
    reads = greedy(outputs, lambda found: select(found, None), most)
    if np.count_nonzero(reads) < 2:
        return Chosen(reads, 0.0, 0.0)
    drawn = np.random.default_rng(seed % 2**64).permutation(len(outputs[0]))
    halves = np.sort(drawn[: len(drawn) // 2]), np.sort(drawn[len(drawn) // 2 :])
    gains, errors = [], []
    for chosen_on, judged_on in (halves, halves[::-1]):

        def of_chosen(found: NDArray[Any], places: NDArray[np.intp] = chosen_on) -> float:
            return select(found, places)

        there = [output[judged_on] for output in outputs]
        together = mean(there, greedy([output[chosen_on] for output in outputs], of_chosen, most))
        gain, error = difference(together, there[0], judge, judged_on, seed)
        gains.append(gain)
        errors.append(error)
    return Chosen(reads, sum(gains) / 2, math.hypot(*errors) / 2)


def greedy(
    outputs: Sequence[NDArray[np.float32]], measure: Callable[[NDArray[Any]], float], most: int = MOST_NETWORKS
) -> NDArray[np.int64]:
    """How often each network is taken, int64 (networks,); the first one alone where nothing does better.

    It begins with as many of the first networks as do best together, then takes, one by one, whichever makes the mean
    of all that were taken better, as long as one does.

    Args:
        outputs: See `choose`; the best network first.
        measure: The metric of outputs.
        most: Different networks at most.
    """
    reads = np.zeros(len(outputs), np.int64)
    total = np.zeros(outputs[0].shape, np.float64)
    best, begun = -math.inf, 1  # what is not finite is no better than anything
    for count, output in enumerate(outputs[: min(most, MOST_READS)], 1):
        total += output
        if (found := measure((total / count).astype(np.float32))) > best:
            best, begun = found, count
    reads[:begun] = 1
    total = np.sum(outputs[:begun], axis=0, dtype=np.float64)
    while (taken := int(reads.sum())) < MOST_READS:
        open_to = range(len(outputs)) if np.count_nonzero(reads) < most else np.flatnonzero(reads).tolist()
        tried = [measure(((total + outputs[place]) / (taken + 1)).astype(np.float32)) for place in open_to]
        place = int(np.argmax(tried))
        if not tried[place] > best:
            break
        best, total = tried[place], total + outputs[open_to[place]]
        reads[open_to[place]] += 1
    return np.asarray(reads // np.gcd.reduce(reads))


def mean(outputs: Sequence[NDArray[np.float32]], reads: NDArray[np.int64]) -> NDArray[np.float32]:
    """The weighted mean of what networks put out, float32 as of each."""
    total = np.zeros(outputs[0].shape, np.float64)
    for output, weight in zip(outputs, reads.tolist(), strict=True):
        if weight:
            total += weight * output.astype(np.float64)
    found: NDArray[np.float32] = (total / reads.sum()).astype(np.float32)
    return found


def difference(
    outputs: NDArray[np.float32], others: NDArray[np.float32], measure: Measure, rows: NDArray[np.intp], seed: int
) -> tuple[float, float]:
    """By how much a metric is better for ``outputs`` than for ``others``, and the standard error of that over rows.

    The error is the jackknife's, which leaves a twentieth of the rows out in turn, the same for both (Efron and Stein
    1981, with groups): it holds for every metric, and what both mistake alike does not count.

    Args:
        outputs: For these rows, float32 (rows,) or (rows, outputs).
        others: The same of another network.
        measure: The metric.
        rows: Which rows they are, as ``measure`` knows them, (rows,).
        seed: Of the groups.
    """
    found = measure(outputs, rows) - measure(others, rows)
    without = left_out_once(outputs, measure, rows, seed) - left_out_once(others, measure, rows, seed)
    return found, math.sqrt(float(np.var(without)) * (_GROUPS - 1))


def left_out_once(
    outputs: NDArray[np.float32], measure: Measure, rows: NDArray[np.intp], seed: int
) -> NDArray[np.float64]:
    """The metric without each of twenty groups of rows in turn, float64 (20,); arguments as of `difference`."""
    drawn = np.random.default_rng(seed % 2**64).permutation(len(rows))
    kept = [np.sort(np.delete(drawn, np.s_[group::_GROUPS])) for group in range(_GROUPS)]
    return np.array([measure(outputs[places], rows[places]) for places in kept])


def effective(weights: NDArray[np.float64]) -> float:
    """How many rows of equal weight say as much (Kish); 0 where no row counts."""
    squares = float(np.dot(weights, weights))
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
