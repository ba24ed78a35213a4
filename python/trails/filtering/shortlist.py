"""Which architectures refinement is offered: the best of the space, and the best of what costs less.

A score that rises with width puts the dearest architectures first: on Frappe the 1,000 best of 160,000 by ExpressFlow
have 209,000 to 838,000 weights, so that a minute on two cores trains one of them and selects nothing. What a budget can
train is known only when refinement has measured the machine. So filtering offers the best at several sizes, and
refinement takes the best-scored of those that it can afford.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from trails.filtering.whole_space import Ranking, count_failed, rank_scores, score_space
from trails.space.mlp import MlpSpace
from trails.tfmem import get_tfmem

PER_SIZE = 200
"""Architectures offered at each size."""

SIZES = 6
"""Sizes offered: at most all, a half, a quarter ... of the largest network's weights."""


def shortlist_space(
    space: MlpSpace,
    inputs: int,
    seed: int,
    best: int,
    tfmem: str,
    check: Callable[[], None],
) -> Ranking:
    """Score the whole space and return the best at every size, best score first.

    Args:
        space: Where to look.
        inputs: Width of the embedded row: fields times embedding size.
        seed: Draws whatever the metric draws.
        best: How many of the best of all sizes there are at least, if the space has as many.
        tfmem: Name of the metric.
        check: Called at least every 50 ms; what it raises ends the call.

    Raises:
        InvalidInput: Unknown metric, or one that cannot score a whole space.
    """
    started = time.perf_counter()
    metric = get_tfmem(tfmem)
    scores = score_space(space, inputs, seed, metric, check)
    parameters = space.all_parameters(inputs)
    largest = int(parameters.max())
    chosen = [rank_scores(scores, min(max(best, PER_SIZE), scores.size), metric.orientation)]
    for halvings in range(1, SIZES):
        check()
        small = np.flatnonzero(parameters <= largest >> halvings)
        order = rank_scores(scores[small], min(PER_SIZE, small.size), metric.orientation)
        chosen.append(small[order])
    union = np.unique(np.concatenate(chosen))
    indices = union[rank_scores(scores[union], union.size, metric.orientation)]
    return Ranking(indices, scores[indices], scores.size, count_failed(scores), time.perf_counter() - started)
