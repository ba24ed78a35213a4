"""Which architectures refinement is offered: the best of those scored, and the best of what costs less.

A score that rises with width puts the dearest architectures first: on Frappe the 1,000 best of 160,000 by ExpressFlow
have 209,000 to 838,000 weights, so that a minute on two cores trains one of them and selects nothing. What a budget can
train is known only when refinement has measured the machine. So filtering offers the best at several sizes, and
refinement takes the best-scored of those that it can afford.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trails.checks import no_check
from trails.filtering.search import ScoredPool
from trails.filtering.whole_space import rank_scores
from trails.space import Space

PER_SIZE = 200
"""Architectures offered at each size."""

SIZES = 6
"""Sizes offered: at most all, a half, a quarter ... of the largest network's weights."""


def shortlist(
    space: Space, pool: ScoredPool, inputs: int, best: int = 0, check: Callable[[], None] = no_check
) -> NDArray[np.int64]:
    """The best at every size, best merit first.

    Args:
        space: What the pool's indices count.
        pool: Scored architectures.
        inputs: Width of the embedded row: fields times embedding size.
        best: How many of the best of all sizes there are at least, if the pool has as many.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        Positions in the pool, int64.
    """
    parameters = space.parameters_at(pool.indices, inputs, check)
    largest = int(parameters.max())
    count = pool.indices.size
    chosen = np.zeros(count, np.bool_)
    chosen[pool.best(min(max(best, PER_SIZE), count), check)] = True
    for halvings in range(1, SIZES):
        check()
        small = np.flatnonzero(parameters <= largest >> halvings)
        if small.size:
            chosen[small[rank_scores(pool.merits[small], min(PER_SIZE, small.size), check=check)]] = True
    union = np.flatnonzero(chosen)
    return union[rank_scores(pool.merits[union], union.size, check=check)]
