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
        metric: Of the mean, on the rows that it was chosen on: a little optimistic.
        gain: What the mean has over the first network, on rows that it was not chosen on.
        standard_error: Of that gain, over rows.
    """

    reads: NDArray[np.int64]
    metric: float
    gain: float
    standard_error: float

    @property
    def pays(self) -> bool:
        """Whether the gain is more than one standard error of it, and there is more than one network."""
        return bool(np.count_nonzero(self.reads) > 1 and self.gain > self.standard_error)


def choose(outputs: Sequence[NDArray[np.float32]], measure: Measure, seed: int, most: int = MOST_NETWORKS) -> Chosen:
    """Choose among networks, and judge the choice on rows that it was not made on.

    A mean that is chosen on the rows that it is measured on looks better than it is. So rows are halved at random, each
    half has the mean that is chosen on the other one, and both halves together are compared with the first network on
    the same rows. What is returned is chosen on all of them.

    Args:
        outputs: Of every network for the same rows, float32 (rows,) or (rows, outputs); the best network first.
        measure: The metric.
        seed: Of the halves.
        most: Different networks at most.
    """
    rows = len(outputs[0])
    reads = greedy(outputs, lambda found: measure(found, None), most)
    halves = np.random.default_rng(seed % 2**64).permutation(rows)
    halves = np.sort(halves[: rows // 2]), np.sort(halves[rows // 2 :])
    apart = outputs[0].copy()
    for chosen_on, judged_on in (halves, halves[::-1]):
        parts = [output[chosen_on] for output in outputs]
        on_half = greedy(parts, lambda found, of=chosen_on: measure(found, of), most)  # type: ignore[misc]
        apart[judged_on] = mean([output[judged_on] for output in outputs], on_half)
    gain, error = difference(apart, outputs[0], measure, seed)
    return Chosen(reads, measure(mean(outputs, reads), None), gain, error)


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
    best, begun = -math.inf, 1
    for count, output in enumerate(outputs[: min(most, MOST_READS)], 1):
        total += output
        if (found := measure(total / count)) > best:
            best, begun = found, count
    reads[:begun] = 1
    total = np.sum(outputs[:begun], axis=0, dtype=np.float64)
    while (taken := int(reads.sum())) < MOST_READS:
        open_to = range(len(outputs)) if np.count_nonzero(reads) < most else np.flatnonzero(reads).tolist()
        tried = [measure((total + outputs[place]) / (taken + 1)) for place in open_to]
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
    outputs: NDArray[np.float32], others: NDArray[np.float32], measure: Measure, seed: int
) -> tuple[float, float]:
    """By how much a metric is better for ``outputs`` than for ``others``, and the standard error of that over rows.

    The error is the jackknife's, which leaves a twentieth of the rows out in turn, the same for both (Efron and Stein
    1981, with groups): it holds for every metric, and what both mistake alike does not count.
    """
    found = measure(outputs, None) - measure(others, None)
    rows = np.random.default_rng(seed % 2**64).permutation(len(outputs))
    without = []
    for group in range(_GROUPS):
        kept = np.sort(np.delete(rows, np.s_[group::_GROUPS]))
        without.append(measure(outputs[kept], kept) - measure(others[kept], kept))
    spread = float(np.var(without)) * (_GROUPS - 1)
    return found, math.sqrt(spread)
