"""The filtering phase: score a space, or what a sampler picks of it, and rank by one metric or by several together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, Told, no_check, not_told, order_of
from trails.errors import InvalidInput
from trails.filtering.pool import Pool, combine_ranks
from trails.filtering.samplers import LearningSampler, make_sampler
from trails.filtering.scoring import Scored, Scorer, is_increasing
from trails.filtering.whole_space import count_failed, rank_scores
from trails.space import Space
from trails.tfmem import ScoringSetting, Tfmem

GENERATION = 10
"""Candidates that a searching sampler proposes at a time, evolution's population; fixed, so that results do not depend
on the number of workers."""

DEFAULT_SAMPLED = 1000
"""Architectures scored where not all are and nobody says how many."""

DEFAULT_SAMPLER = "evolution"

# Candidates scored between two looks at the clock or at the caller, where the sampler does not learn.
_STRIDE = 512
_TIMED_STRIDE = 64
_WHOLE_STRIDE = 1 << 13


@dataclass(frozen=True)
class ScoredPool:
    """Scored architectures.

    Args:
        indices: int64 (n,), in the order they were scored.
        scores: float64 (metrics, n), as each metric gave them.
        merits: float64 (n,): the score itself, with its sign turned where lower is better, or the sum of normalised
            ranks of several metrics. NaN where a score failed.
        failed: Architectures of which a score is not finite.
        seconds: float64 (n,): wall time that each took.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float64]
    merits: NDArray[np.float64]
    failed: int
    seconds: NDArray[np.float64]

    def best(self, k: int, check: Check = no_check) -> NDArray[np.int64]:
        """Positions of the best ``k``, best first; failed ones last; ties by index in the space."""
        if is_increasing(self.indices):
            return rank_scores(self.merits, k, check=check)
        by_index = order_of(self.indices, check)
        return by_index[rank_scores(self.merits[by_index], k, check=check)]

    def shown(self, metrics: Sequence[Tfmem]) -> NDArray[np.float64]:
        """One score per architecture for people: the metric's own, or the sum of ranks."""
        return self.scores[0] if len(metrics) == 1 else self.merits


def score_pool(
    space: Space,
    metrics: Sequence[Tfmem],
    setting: ScoringSetting,
    *,
    n: int | None = None,
    sampler: str | None = None,
    seconds: float | None = None,
    check: Callable[[], None] = no_check,
    told: Told = not_told,
) -> ScoredPool:
    """Score architectures.

    Args:
        space: Where to look.
        metrics: One, or several whose ranks are added up.
        setting: What they are scored on.
        n: How many to score. None: all where every metric scores the space at once, else 1,000, or as many as
            ``seconds`` hold.
        sampler: Which to score, see :mod:`trails.filtering.samplers`. None: all of them if ``n`` says so, else
            evolution, or at random within ``seconds``.
        seconds: Wall time for metrics that are paid for one architecture at a time, if ``n`` is None.
        check: Called at least every 50 ms; what it raises ends the call.
        told: Called with the number of architectures scored so far, whenever there are more.

    Raises:
        InvalidInput: ``n`` outside the space, an unknown sampler, or a metric that needs what is not there.
    """
    began = time.perf_counter()
    scorer = Scorer(space, metrics, setting, check)
    whole = all(scorer.at_once(metric) for metric in metrics)
    limit = None
    if n is None:
        if whole:
            n = space.size
        elif seconds is not None:
            n, limit, sampler = space.size, began + seconds, "random"
        else:
            n = min(DEFAULT_SAMPLED, space.size)
    check_count("n", n, space)
    orientations = [metric.orientation for metric in metrics]
    if n == space.size and limit is None:
        sampler = sampler or "enumeration"
    sampler = sampler or DEFAULT_SAMPLER

    pool = Pool(orientations)
    source = make_sampler(sampler, space, setting.seed, pool.merit)
    learns = isinstance(source, LearningSampler)
    stride = GENERATION if learns else _STRIDE if limit is None else _TIMED_STRIDE
    if whole and not learns:
        # Scores are there already, and what a sampler draws takes a microsecond each.
        stride = n if sampler == "enumeration" else _WHOLE_STRIDE
    parts: list[tuple[NDArray[np.int64], Scored]] = []
    scored = 0
    while scored < n and (limit is None or not parts or time.perf_counter() < limit):
        check()
        if sampler == "enumeration" and whole:
            indices = np.arange(n)  # the sampler's own order, for millions at once
        else:
            indices = np.array(source.ask(min(stride, n - scored)), dtype=np.int64)
        if indices.size == 0:
            break
        result = scorer.scores(indices)
        parts.append((indices, result))
        scored += indices.size
        told(scored)
        if learns:
            for index, scores in zip(indices.tolist(), result.scores.T.tolist(), strict=True):
                pool.add(index, scores)
                source.tell(index)
    check()
    indices = np.concatenate([part[0] for part in parts])
    scores = np.concatenate([part[1].scores for part in parts], axis=1)
    if len(metrics) == 1:
        merits = scores[0] if orientations[0] == "higher" else -scores[0]
    else:
        merits = combine_ranks(list(scores), orientations, check)
    spent = np.concatenate([part[1].seconds for part in parts])
    return ScoredPool(indices, scores, merits, count_failed(merits), spent)


def check_count(name: str, value: int, space: Space) -> None:
    """Refuse a number of architectures that the space does not have.

    Raises:
        InvalidInput: ``value`` is below 1 or above the space's size.
    """
    if not 1 <= value <= space.size:
        raise InvalidInput(
            f"{name} = {value} is not possible: space {space.name} has {space.size} architectures",
            hint=f"{name} is 1 to {space.size}.",
        )
