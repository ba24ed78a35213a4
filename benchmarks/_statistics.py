"""Rank correlations of scores with what was recorded, and how sure one can be of them; by SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Vector: TypeAlias = NDArray[np.float64]

RESAMPLES = 1000
"""Bootstrap resamples of an interval."""


@dataclass(frozen=True)
class Interval:
    """A coefficient with its bootstrap interval over the sample.

    Args:
        value: Of the sample.
        low: 2.5 % quantile over resamples.
        high: 97.5 % quantile.
        n: Pairs.
    """

    value: float
    low: float
    high: float
    n: int


def merits(scores: Vector, orientation: str) -> Vector:
    """Scores of which a higher one is better and a failed one is worst: float64 of the same shape.

    Args:
        scores: As a metric gave them; NaN or infinite where it failed.
        orientation: ``higher`` or ``lower``, which is better.
    """
    turned = scores if orientation == "higher" else -scores
    return np.where(np.isfinite(scores), turned, -np.inf)


def spearman(a: Vector, b: Vector) -> float:
    """Spearman's coefficient with mean ranks for ties; NaN where one side is constant or has fewer than three."""
    if len(a) < 3 or _constant(a) or _constant(b):
        return float("nan")
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def kendall(a: Vector, b: Vector) -> float:
    """Kendall's tau-b; NaN where one side is constant or has fewer than three."""
    if len(a) < 3 or _constant(a) or _constant(b):
        return float("nan")
    return float(stats.kendalltau(a, b).statistic)


def pearson(a: Vector, b: Vector) -> float:
    """Pearson's coefficient of the values themselves, of the pairs of finite ones: NaN where one side is constant."""
    finite = np.isfinite(a) & np.isfinite(b)
    if finite.sum() < 3 or _constant(a[finite]) or _constant(b[finite]):
        return float("nan")
    return float(stats.pearsonr(a[finite], b[finite]).statistic)


COEFFICIENTS: Mapping[str, Callable[[Vector, Vector], float]] = MappingProxyType(
    {"spearman": spearman, "kendall": kendall, "pearson": pearson}
)
"""By name."""


def interval(
    name: str, scores: Sequence[Vector], target: Vector, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean coefficient of several scores with one target, and the 95 % interval of its bootstrap.

    Pairs are drawn again with replacement, the same for all scores.

    Args:
        name: Of a coefficient.
        scores: float64 (n,) each: by the same metric, such as on several batches.
        target: float64 (n,).
        resamples: How often.
        seed: Draws them.
    """
    values = [COEFFICIENTS[name](one, target) for one in scores]
    value, n = float(np.mean(values)), len(target)
    if not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"), n)
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    found = np.mean([_resampled(name, one, target, drawn) for one in scores], axis=0)
    # A resample whose one side is constant has no coefficient.
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, (0.025, 0.975)) if found.size else (float("nan"), float("nan"))
    return Interval(value, float(low), float(high), n)


def _resampled(name: str, a: Vector, b: Vector, drawn: NDArray[np.int64]) -> Vector:
    """A coefficient of every resample: float64 (resamples,)."""
    finite = bool(np.isfinite(a).all() and np.isfinite(b).all())
    if name == "kendall" or (name == "pearson" and not finite):
        return np.array([COEFFICIENTS[name](a[places], b[places]) for places in drawn])
    left, right = a[drawn], b[drawn]
    constant = (left == left[:, :1]).all(axis=1) | (right == right[:, :1]).all(axis=1)
    if name == "spearman":
        left, right = stats.rankdata(left, axis=1), stats.rankdata(right, axis=1)
    left, right = (one - one.mean(axis=1, keepdims=True) for one in (left, right))
    length = np.sqrt(np.square(left).sum(axis=1) * np.square(right).sum(axis=1))
    found = np.divide((left * right).sum(axis=1), length, out=np.full(len(drawn), np.nan), where=~constant)
    return np.asarray(found)


def interval_by_groups(
    name: str, scores: Vector, target: Vector, groups: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """A coefficient and the 95 % interval of a bootstrap that draws whole groups, such as cells that are isomorphic.

    Args:
        name: Of a coefficient.
        scores: float64 (n,).
        target: float64 (n,).
        groups: int64 (n,): the same number for pairs that are drawn together.
        resamples: How often.
        seed: Draws them.
    """
    value, n = COEFFICIENTS[name](scores, target), len(target)
    if not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"), n)
    low, high = between_95(resampled_by_groups(name, scores, target, groups, resamples, seed))
    return Interval(value, low, high, n)


def resampled_by_groups(
    name: str, scores: Vector, target: Vector, groups: NDArray[np.int64], resamples: int, seed: int
) -> Vector:
    """A coefficient of every resample of `interval_by_groups`: float64 (resamples,), NaN where one side is constant.

    With equal groups and seed the resamples are the same, so that two metrics can be compared in each.
    """
    places = np.unique(groups, return_inverse=True)[1]
    count, generator = int(places.max()) + 1, np.random.default_rng(seed)
    of = _weighted(name, scores, target)
    drawn = (np.bincount(generator.integers(0, count, count), minlength=count)[places] for _ in range(resamples))
    return np.array([of(times) for times in drawn])


def between_95(found: Vector) -> tuple[float, float]:
    """2.5 % and 97.5 % quantile of the finite ones; NaN of none."""
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, (0.025, 0.975)) if found.size else (float("nan"), float("nan"))
    return float(low), float(high)


def _weighted(name: str, a: Vector, b: Vector) -> Callable[[NDArray[np.int64]], float]:
    """The coefficient of pairs that are there so many times: of int64 (n,).

    Spearman's ranks follow from sums over values sorted once, so that a resample of thousands is not sorted again.
    """
    if name == "spearman":
        left, right = _ranked(a), _ranked(b)
        return lambda times: _correlation(left(times), right(times), times)
    if name == "pearson":
        sound = np.isfinite(a) & np.isfinite(b)
        return lambda times: _correlation(a[sound], b[sound], times[sound])
    return lambda times: COEFFICIENTS[name](np.repeat(a, times), np.repeat(b, times))


def _ranked(values: Vector) -> Callable[[NDArray[np.int64]], Vector]:
    """Mean ranks where every value is there so many times."""
    order = np.argsort(values, kind="stable")
    begins = np.append(True, values[order][1:] != values[order][:-1])
    starts, group = np.flatnonzero(begins), np.empty(len(values), np.int64)
    group[order] = np.cumsum(begins) - 1

    def ranks(times: NDArray[np.int64]) -> Vector:
        there = np.add.reduceat(times[order], starts)
        return np.asarray((np.cumsum(there) - there + (there + 1) / 2)[group])

    return ranks


def _correlation(a: Vector, b: Vector, times: NDArray[np.int64]) -> float:
    """Pearson's of pairs that are there so many times; NaN where one side is constant."""
    total = times.sum()
    a, b = a - (times @ a) / total, b - (times @ b) / total
    length = math.sqrt(float(times @ np.square(a)) * float(times @ np.square(b)))
    return float(times @ (a * b)) / length if length > 0 else float("nan")


def top(values: Vector, share: float) -> NDArray[np.int64]:
    """Places of the best ``share`` of finite values, at least three where there are so many, ascending.

    Args:
        values: float64 (n,), higher is better.
        share: 0 to 1.
    """
    finite = np.flatnonzero(np.isfinite(values))
    count = min(len(finite), max(3, round(share * len(finite))))
    best = finite[np.argsort(-values[finite], kind="stable")[:count]]
    return np.sort(best)


def _constant(values: Vector) -> bool:
    return bool(np.all(values == values[0]))


def or_none(value: float) -> float | None:
    """A number as JSON can hold it: None where it is not finite."""
    return float(value) if np.isfinite(value) else None
