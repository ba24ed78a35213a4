"""The filtering phase on pictures: cells are scored one network after another, and the best are told.

A backend asks `pictures_wanted` alone, which needs no PyTorch; the rest is the refinement process's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData
from trails.filtering.phase import FilteringRequest, RankedArchitecture
from trails.filtering.pool import Pool
from trails.filtering.rows import check_batch_size
from trails.filtering.samplers import LearningSampler, check_sampler, make_sampler
from trails.filtering.scoring import check_metrics
from trails.filtering.search import DEFAULT_SAMPLED, DEFAULT_SAMPLER, GENERATION, check_count
from trails.space import Space, is_of_pictures, picture_space
from trails.tfmem import Batch, Tfmem, parse_tfmems
from trails.tfmem.registry import ZEN

_SPARE = 2
"""Pictures drawn for each one wanted, because some may repeat others."""

_STREAM = 3
"""Number of the random stream that deals pictures to batches."""

Told = Callable[[int, int | None], None]
"""Hears how many cells have been scored, of how many; None where the time decides."""


@dataclass(frozen=True)
class ScoredCells:
    """What came of scoring.

    Args:
        best: The best, best first; failed ones last.
        scored: Cells that were scored.
        failed: How many of these have a score that is not finite.
        asked: Cells that were to be scored; None where the time decided.
    """

    best: list[RankedArchitecture]
    scored: int
    failed: int
    asked: int | None


def metrics_of(request: FilteringRequest) -> tuple[Tfmem, ...]:
    """The metrics that are named, among them `ZEN`, which pictures alone can be scored by.

    Raises:
        InvalidInput: There is no such metric.
    """
    return parse_tfmems(request.tfmem, (ZEN,))


def pictures_wanted(request: FilteringRequest) -> int | None:
    """How many pictures are to be drawn of a table; None where the space is not of networks for pictures.

    Names and numbers are checked but for what the space's size says, which takes NAS-Bench-101 half a second to know.

    Raises:
        InvalidInput: An unknown metric or sampler, a metric that scores no cells, or a number out of range.
    """
    if not is_of_pictures(request.space):
        return None
    space, metrics = picture_space(request.space), metrics_of(request)
    check_metrics(metrics, space)
    check_batch_size(metrics, request.batch_size)
    for name, value in (("n", request.n), ("k", request.k)):
        if value is not None and value < 1:
            raise InvalidInput(f"{name} must be at least 1, not {value}")
    if request.n is not None and request.k is not None and request.k > request.n:
        raise InvalidInput(f"k = {request.k} cannot be chosen from n = {request.n} scored architectures")
    if request.sampler is not None:
        check_sampler(request.sampler)
    return _SPARE * _batches(metrics) * request.batch_size


def deal(
    pictures: NDArray[np.float64],
    classes: NDArray[np.int64],
    count: int,
    metrics: Sequence[Tfmem],
    rows: int,
    seed: int,
) -> tuple[tuple[Batch, ...], list[str]]:
    """Put drawn pictures into as many batches as the metrics compare, none twice.

    Args:
        pictures: (pictures, numbers of one), standardised.
        classes: (pictures,): 0 to ``count - 1``.
        count: Classes that there are, which need not all be among these.
        metrics: That will be computed.
        rows: Pictures of a batch; fewer, and a notice, if there are fewer that differ.
        seed: Of the order in which they are dealt.

    Returns:
        The batches, and what a person should know.

    Raises:
        UnusableData: Too few pictures differ.
    """
    batches = _batches(metrics)
    order = np.random.default_rng((seed % 2**64, _STREAM)).permutation(len(pictures))
    seen: set[bytes] = set()
    chosen = []
    for place in order.tolist():
        content = pictures[place].tobytes()
        if content not in seen:
            seen.add(content)
            chosen.append(place)
    size = min(rows, len(chosen) // batches)
    least = max((metric.fewest_rows for metric in metrics if metric.needs), default=1)
    if size < least:
        raise UnusableData(
            f"too few pictures: {len(chosen)} different ones where {batches * least} are needed",
            hint="Add pictures, or choose a metric that reads none, such as synflow.",
        )
    notices = []
    if size < rows:
        notices.append(f"batch_size is reduced to {size}: only {len(chosen)} different pictures were found")
    parts = [chosen[place * size : (place + 1) * size] for place in range(batches)]
    dealt = (Batch(pictures[part], classes[part].astype(np.float64), "multiclass", count) for part in parts)
    return tuple(dealt), notices


def score_cells(
    request: FilteringRequest,
    batches: Sequence[Batch],
    deadline: float = math.inf,
    told: Told = lambda scored, asked: None,
) -> ScoredCells:
    """Score cells, one after another, until as many as were asked for or the deadline.

    Args:
        request: What is asked for. Without ``n`` they are 1,000, or as many as the time allows, then at random.
        batches: What `deal` made.
        deadline: On the clock of `time.monotonic`: no cell is begun that would not be finished by then if it took as
            long as the longest so far; the first one is scored in any case.
        told: Called after every cell.

    Raises:
        InvalidInput: A number beyond the space's size; a metric that the batches do not do for.
    """
    space, metrics = picture_space(request.space), metrics_of(request)
    for name, value in (("n", request.n), ("k", request.k)):
        if value is not None:
            check_count(name, value, space)
    timed = request.n is None and deadline < math.inf
    asked = None if timed else request.n or min(DEFAULT_SAMPLED, space.size)
    n = space.size if asked is None else asked
    seed = request.seed % 2**64  # NumPy's seeds are not negative.
    pool = Pool([metric.orientation for metric in metrics])
    name = request.sampler or ("random" if timed else "enumeration" if n == space.size else DEFAULT_SAMPLER)
    sampler = make_sampler(name, space, seed, pool.merit)
    learns = isinstance(sampler, LearningSampler)
    seconds: dict[int, float] = {}
    longest = 0.0
    proposed: list[int] = []
    while len(pool) < n:
        # As many at a time as elsewhere: what a search proposes depends on it.
        proposed = proposed or sampler.ask(min(GENERATION, n - len(pool)))
        began = time.monotonic()
        if len(pool) and began + longest > deadline:
            break
        index = proposed.pop(0)
        pool.add(index, _scores(space, index, metrics, batches, seed))
        if learns:
            sampler.tell(index)
        seconds[index] = time.monotonic() - began
        longest = max(longest, seconds[index])
        told(len(pool), asked)
    best = pool.ranking()[: request.k].tolist()
    inputs = batches[0].inputs
    ranked = [_ranked(space, metrics, pool, index, inputs, seconds[index]) for index in best]
    return ScoredCells(ranked, len(pool), pool.failed, asked)


def _batches(metrics: Sequence[Tfmem]) -> int:
    """One at least: of it a network learns how many classes there are, and how large pictures are."""
    return max((metric.batches for metric in metrics if metric.needs), default=1)


def _scores(space: Space, index: int, metrics: Sequence[Tfmem], batches: Sequence[Batch], seed: int) -> list[float]:
    """By every metric: the network is drawn once, and metrics share its passes."""
    own = space.family.scoring.initialise(metrics, space.architecture(index), batches[0].inputs, seed)
    with np.errstate(all="ignore"):
        return [own(metric, batches[: metric.batches]) for metric in metrics]


def _ranked(
    space: Space, metrics: Sequence[Tfmem], pool: Pool, index: int, inputs: int, seconds: float
) -> RankedArchitecture:
    scores, design = pool.scores_of(index), space.architecture(index)
    several = pool.merit(index) if all(map(math.isfinite, scores)) else math.nan
    return RankedArchitecture(
        space.format(design),
        scores[0] if len(metrics) == 1 else several,
        [(metric.name, score) for metric, score in zip(metrics, scores, strict=True)],
        space.parameters(design, inputs),
        space.flops(design, inputs),
        seconds,
    )
