"""The filtering phase over a table's rows: requests are checked, architectures are scored and put in order.

Everything here may run inside a PostgreSQL backend: long work calls ``check`` at least every 50 ms.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, Told, no_check, not_told, pieces
from trails.errors import InvalidInput
from trails.filtering.rows import TableRows, check_batch_size, check_target
from trails.filtering.samplers import make_sampler
from trails.filtering.scoring import Scorer, check_metrics, jacobian_rows
from trails.filtering.search import ScoredPool, check_count, score_pool
from trails.filtering.shortlist import shortlist as places_offered
from trails.space import Space, parse_space
from trails.tfmem import ScoringSetting, Tfmem, parse_tfmems
from trails.workers import available_cores

_LOOK_EVERY = 1024
"""Architectures written between two looks at the caller."""

# How long the cost of a metric that is paid for one architecture at a time is measured.
_TIMED = 200
_TIMED_AT_ONCE = 32
_TIMED_SECONDS = 1.0


@dataclass(frozen=True)
class FilteringRequest:
    """What is asked of the phase.

    Args:
        space: Name of the space.
        tfmem: Names of metrics, joined by ``+``.
        n: Architectures to score, if fixed.
        k: Architectures to return or to train, if fixed.
        batch_size: Rows of a batch.
        seed: Of rows, weights and sampler; any 64 bits.
        sampler: Which architectures to score, if fixed.
    """

    space: str
    tfmem: str
    n: int | None = None
    k: int | None = None
    batch_size: int = 32
    seed: int = 1
    sampler: str | None = None

    def check(self, target: bool) -> None:
        """Refuse names and numbers that no run could use, before anything is started.

        Args:
            target: Whether there is a target.

        Raises:
            InvalidInput: Unknown space, metric or sampler; a metric that cannot score the space's networks; a number
                out of range; a metric that needs a target.
        """
        space, metrics = parse_space(self.space), parse_tfmems(self.tfmem)
        check_metrics(metrics, space)
        for name, value in (("n", self.n), ("k", self.k)):
            if value is not None:
                check_count(name, value, space)
        if self.n is not None and self.k is not None and self.k > self.n:
            raise InvalidInput(
                f"k = {self.k} cannot be chosen from n = {self.n} scored architectures", hint="k is at most n."
            )
        check_batch_size(metrics, self.batch_size)
        if self.sampler is not None:
            make_sampler(self.sampler, space, 0, lambda index: 0.0)
        check_target(metrics, target)


class Shortlist(NamedTuple):
    """Architectures that refinement may choose from, best first.

    Attributes:
        architectures: As the space writes them.
        scores: float64, shape (architectures,).
        scored: Architectures that were scored.
        failed: How many of these have no finite score.
        seconds: Of all of it.
        notices: What a person should know.
    """

    architectures: list[str]
    scores: NDArray[np.float64]
    scored: int
    failed: int
    seconds: float
    notices: list[str]


class RankedArchitecture(NamedTuple):
    """What is known of an architecture: its score, each metric's by name, its size, and the seconds of scoring it."""

    architecture: str
    score: float
    scores: list[tuple[str, float]]
    parameters: int
    flops: int
    seconds: float


class Ranking(NamedTuple):
    """The best architectures, best first, and how many were scored for them; see `Shortlist`."""

    architectures: list[RankedArchitecture]
    scored: int
    failed: int
    notices: list[str]


class MetricCost(NamedTuple):
    """What a metric costs alone: how it scores, how many architectures it scored, and in how many seconds."""

    tfmem: str
    route: str
    architectures: int
    seconds: float


def shortlist(
    rows: TableRows,
    request: FilteringRequest,
    seconds: float | None,
    threads: int = 0,
    check: Check = no_check,
    told: Told = not_told,
) -> Shortlist:
    """Score, and return the architectures that refinement may choose from.

    Args:
        rows: What metrics read of.
        request: What is asked for; with ``k`` at least so many are returned, if so many were scored.
        seconds: Wall time for metrics that are paid for one architecture at a time, if ``n`` is not fixed.
        threads: Threads; 0 is one per core.
        check: Called at least every 50 ms; what it raises ends the call.
        told: Called with the number of architectures scored so far.
    """
    began = time.perf_counter()
    space, metrics = parse_space(request.space), parse_tfmems(request.tfmem)
    setting, notices = _setting(rows, space, metrics, request, threads, check)
    pool = score_pool(
        space, metrics, setting, n=request.n, seconds=seconds, sampler=request.sampler, check=check, told=told
    )
    chosen = places_offered(space, pool, setting.inputs, request.k or 0, check)
    names = []
    for place in pieces(chosen.size, check, _LOOK_EVERY):
        names += [space.format(space.architecture(index)) for index in pool.indices[chosen[place]].tolist()]
    scores = pool.shown(metrics)[chosen]
    return Shortlist(names, scores, pool.indices.size, pool.failed, time.perf_counter() - began, notices)


def rank(
    rows: TableRows, request: FilteringRequest, threads: int = 0, check: Check = no_check, told: Told = not_told
) -> Ranking:
    """Score, and return the best ``k``, all where it is not fixed, with everything that is known of them; arguments as
    `shortlist`."""
    space, metrics = parse_space(request.space), parse_tfmems(request.tfmem)
    setting, notices = _setting(rows, space, metrics, request, threads, check)
    pool = score_pool(space, metrics, setting, n=request.n, sampler=request.sampler, check=check, told=told)
    best: list[RankedArchitecture] = []
    places = pool.best(pool.indices.size if request.k is None else request.k, check)
    for piece in pieces(places.size, check, _LOOK_EVERY):
        best += [_ranked(space, metrics, pool, place, setting.inputs) for place in places[piece].tolist()]
    return Ranking(best, pool.indices.size, pool.failed, notices)


def costs(rows: TableRows, request: FilteringRequest, threads: int = 0, check: Check = no_check) -> list[MetricCost]:
    """Time every metric on its own; arguments as `shortlist`."""
    space, metrics = parse_space(request.space), parse_tfmems(request.tfmem)
    setting, _ = _setting(rows, space, metrics, request, threads, check)
    return [_cost(space, metric, setting, request.seed, check) for metric in metrics]


def _cost(space: Space, metric: Tfmem, setting: ScoringSetting, seed: int, check: Check) -> MetricCost:
    scorer = Scorer(space, [metric], setting, check)
    at_once = scorer.at_once(metric)
    indices = space.sample(1 if at_once else min(_TIMED, space.size), seed)
    began, scored = time.perf_counter(), 0
    if at_once:
        scorer.scores(indices)
        return MetricCost(metric.name, "whole space at once", space.size, time.perf_counter() - began)
    for start in range(0, indices.size, _TIMED_AT_ONCE):
        chunk = indices[start : start + _TIMED_AT_ONCE]
        scorer.scores(chunk)
        scored += chunk.size
        if time.perf_counter() - began > _TIMED_SECONDS:
            break
    return MetricCost(metric.name, "one at a time", scored, time.perf_counter() - began)


def _setting(
    rows: TableRows,
    space: Space,
    metrics: Sequence[Tfmem],
    request: FilteringRequest,
    threads: int,
    check: Check,
) -> tuple[ScoringSetting, list[str]]:
    """What the metrics are computed on, and what a person should know."""
    seed = request.seed % 2**64  # NumPy's seeds are not negative.
    batches, notices = rows.batches(metrics, request.batch_size, seed, check)
    for metric in (metric for metric in metrics if metric.within_rank):
        usable, drawn = jacobian_rows(space, batches[0]), len(batches[0].x)
        if usable < drawn:
            notices.append(
                f"{metric.name} reads {usable} of the {drawn} rows: more would exceed the rank of its Jacobian"
            )
    return ScoringSetting(rows.inputs, seed, batches, _workers(threads)), notices


def _workers(threads: int) -> int:
    """More threads than there are cores cost memory and gain nothing."""
    cores = available_cores()
    return min(threads, cores) if threads > 0 else cores


def _ranked(space: Space, metrics: Sequence[Tfmem], pool: ScoredPool, place: int, inputs: int) -> RankedArchitecture:
    architecture = space.architecture(int(pool.indices[place]))
    return RankedArchitecture(
        space.format(architecture),
        float(pool.shown(metrics)[place]),
        [(metric.name, float(row[place])) for metric, row in zip(metrics, pool.scores, strict=True)],
        space.parameters(architecture, inputs),
        space.flops(architecture, inputs),
        float(pool.seconds[place]),
    )
