"""What a simulated selection scores of a benchmark, in which order, and how long that takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trails.bench.candidates import Recorded
from trails.bench.protocol import SEEDS
from trails.bench.table import Benchmark
from trails.errors import InvalidInput
from trails.filtering.pool import Orientation, Pool, combine_ranks
from trails.filtering.samplers import make_sampler
from trails.filtering.search import DEFAULT_SAMPLER, GENERATION, ScoredPool, check_count
from trails.filtering.whole_space import count_failed
from trails.tfmem import parse_tfmems

BATCH_SEEDS = 3
"""Batches of rows that metrics which read data are scored on in a benchmark, with seeds from 1."""


def scores_of(
    benchmark: Benchmark,
    known: Recorded,
    tfmem: str,
    seed: int,
    given: NDArray[np.float64] | None,
    training_seed: int = SEEDS[0],
) -> tuple[NDArray[np.float64], list[Orientation]]:
    """Scores of every known architecture by every metric, float64 (metrics, architectures), and what is better.

    Raises:
        InvalidInput: ``given`` are not as many, or one of the architectures was not trained with the first seed.
    """
    if given is not None:
        if given.shape != (known.of,):
            raise InvalidInput(f"{known.of} architectures have a score each: scores are not of shape {given.shape}")
        return np.asarray(given, np.float64)[None, known.places], ["higher"]
    metrics = parse_tfmems(tfmem)
    batch = 1 + seed % BATCH_SEEDS
    places = known.places
    if training_seed != SEEDS[0]:
        scored = benchmark.recorded(SEEDS[0])
        places = np.array([scored.index(design) for design in known.designs])
    found = [benchmark.scores(metric.name, batch)[places] for metric in metrics]
    return np.stack(found), [metric.orientation for metric in metrics]


def scoring_seconds(
    benchmark: Benchmark, tfmem: str, scoring: str, given: bool, each: float | None
) -> tuple[float, float]:
    """Seconds of scoring that are spent once, and of each architecture."""
    if given or each is not None:
        return 0.0, each or 0.0
    if scoring == "one":
        return 0.0, benchmark.scoring_seconds(tfmem)
    together = benchmark.whole_space_seconds(tfmem)
    if together is not None:
        return together, 0.0
    parts = [metric.name for metric in parse_tfmems(tfmem)]
    at_once = {name: benchmark.whole_space_seconds(name) for name in parts}
    once = sum(seconds for seconds in at_once.values() if seconds is not None)
    return once, sum(benchmark.scoring_seconds(name) for name, seconds in at_once.items() if seconds is None)


def score(
    known: Recorded,
    table: NDArray[np.float64],
    orientations: Sequence[Orientation],
    sampler: str | None,
    n: int | None,
    seed: int,
) -> ScoredPool:
    """What is scored, in the order in which a sampler asks for it."""
    space = known.space
    count = space.size if n is None else n
    check_count("n", count, space)
    if count == space.size and sampler is None:
        indices = np.arange(count)
    else:
        pool, asked = Pool(orientations), list[int]()
        source = make_sampler(sampler or DEFAULT_SAMPLER, space, seed, pool.merit)
        while len(asked) < count:
            generation = source.ask(min(GENERATION, count - len(asked)))
            for index in generation:
                pool.add(index, table[:, index].tolist())
                source.tell(index)
            asked += generation
        indices = np.array(asked, dtype=np.int64)
    scores = table[:, indices]
    if len(orientations) == 1:
        merits = scores[0] if orientations[0] == "higher" else -scores[0]
    else:
        merits = combine_ranks(list(scores), orientations)
    return ScoredPool(indices, scores, merits, count_failed(merits), np.zeros(indices.size))
