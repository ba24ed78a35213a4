"""The growing pool: merits by their definition, after every addition, and the same ones computed all at once."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trails.errors import InvalidInput
from trails.filtering.pool import Orientation, Pool, combine_ranks
from trails.filtering.whole_space import count_failed, rank_scores

# Few distinct values, so that ties are common, both zeros, and every kind of failure.
score = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 1.0, 3.0, 1e300, math.nan, math.inf, -math.inf])
orientation: st.SearchStrategy[Orientation] = st.sampled_from(["higher", "lower"])


@st.composite
def pools(draw: st.DrawFn, metrics: st.SearchStrategy[int]) -> tuple[list[Orientation], dict[int, tuple[float, ...]]]:
    count = draw(metrics)
    orientations = draw(st.lists(orientation, min_size=count, max_size=count))
    rows = st.tuples(*[score] * count)
    return orientations, draw(st.dictionaries(st.integers(0, 10**9), rows, min_size=1, max_size=25))


def merit_by_definition(
    orientations: list[Orientation], rows: list[tuple[float, ...]], row: tuple[float, ...]
) -> float:
    """Mean of the places from the bottom, 1 to n, that equal scores share, as a share of n; summed over metrics."""
    if not all(map(math.isfinite, row)):
        return 0.0
    usable = [other for other in rows if all(map(math.isfinite, other))]
    total = 0.0
    for metric, which in enumerate(orientations):
        ascending = sorted((other[metric] for other in usable), reverse=which == "lower")
        first_place = len(rows) - len(usable) + 1
        places = [first_place + at for at, value in enumerate(ascending) if value == row[metric]]
        total += sum(places) / len(places) / len(rows)
    return total


@given(pools(st.integers(1, 3)))
def test_merits_follow_their_definition_after_every_addition(
    drawn: tuple[list[Orientation], dict[int, tuple[float, ...]]],
) -> None:
    orientations, candidates = drawn
    pool = Pool(orientations)
    rows: list[tuple[float, ...]] = []
    for index, row in candidates.items():
        pool.add(index, row)
        rows.append(row)
        for there, known in zip(candidates, rows, strict=False):
            assert pool.merit(there) == pytest.approx(merit_by_definition(orientations, rows, known), rel=1e-12)
    assert len(pool) == len(rows)
    assert pool.failed == sum(not all(map(math.isfinite, row)) for row in rows)


@given(pools(st.integers(1, 3)))
def test_the_whole_pool_at_once_agrees_with_one_at_a_time(
    drawn: tuple[list[Orientation], dict[int, tuple[float, ...]]],
) -> None:
    orientations, candidates = drawn
    pool = Pool(orientations)
    for index, row in candidates.items():
        pool.add(index, row)
    merits = combine_ranks(list(np.array(list(candidates.values()), dtype=np.float64).T), orientations)
    assert merits.shape == (len(candidates),)
    for index, merit in zip(candidates, merits.tolist(), strict=True):
        if math.isnan(merit):
            assert pool.merit(index) == 0.0
        else:
            # To the last bit: both decide ties.
            assert pool.merit(index) == merit
            assert 0.0 < merit <= len(orientations)
    assert count_failed(merits) == pool.failed


@given(pools(st.integers(1, 3)))
def test_ranking_is_by_merit_then_index_with_failed_ones_last(
    drawn: tuple[list[Orientation], dict[int, tuple[float, ...]]],
) -> None:
    orientations, candidates = drawn
    pool = Pool(orientations)
    for index, row in candidates.items():
        pool.add(index, row)
    ranking = pool.ranking()
    assert ranking.dtype == np.int64
    assert ranking.tolist() == sorted(candidates, key=lambda index: (-pool.merit(index), index))


@given(pools(st.just(1)))
def test_one_metric_ranks_as_its_scores_do(drawn: tuple[list[Orientation], dict[int, tuple[float, ...]]]) -> None:
    orientations, candidates = drawn
    pool = Pool(orientations)
    for index, row in candidates.items():
        pool.add(index, row)
    indices = sorted(candidates)
    scores = np.array([candidates[index][0] for index in indices])
    expected = rank_scores(scores, len(indices), orientations[0])
    assert pool.ranking().tolist() == [indices[place] for place in expected]
    combined = combine_ranks([scores], orientations)
    np.testing.assert_array_equal(rank_scores(combined, len(indices)), expected)


def test_a_worked_example_of_two_metrics() -> None:
    pool = Pool(["higher", "lower"])
    pool.add(40, [1e6, 0.5])  # best and best
    pool.add(10, [9e5, 2.0])
    pool.add(30, [9e5, 0.7])  # shares the first metric's second place
    pool.add(20, [5e6, math.nan])  # would be the first metric's best
    # Places from the bottom of four, the failed one at 1: (4, 4), (2.5, 2), (2.5, 3).
    assert [pool.merit(index) for index in (40, 10, 30, 20)] == [2.0, 1.125, 1.375, 0.0]
    assert pool.ranking().tolist() == [40, 30, 10, 20]
    assert pool.scores_of(10) == (9e5, 2.0)
    assert (len(pool), pool.failed, 20 in pool, 50 in pool) == (4, 1, True, False)


def test_merits_fall_when_better_candidates_come() -> None:
    pool = Pool(["higher"])
    pool.add(1, [1.0])
    assert pool.merit(1) == 1.0
    pool.add(2, [2.0])
    assert (pool.merit(1), pool.merit(2)) == (0.5, 1.0)


def test_neither_metric_drowns_the_other() -> None:
    """The sum of raw scores would order as the large one alone."""
    large, small = np.array([4e5, 9e7, 8e7, 1e6]), np.array([100.0, 42.0, 207.0, 200.0])
    assert rank_scores(combine_ranks([large, small], ["higher", "higher"]), 4).tolist() == [2, 1, 3, 0]
    assert rank_scores(large + small, 4).tolist() == [1, 2, 3, 0]


def test_a_large_pool_agrees_and_is_fast() -> None:
    generator = np.random.default_rng(3)
    scores = [generator.standard_normal(20_000), generator.integers(0, 300, 20_000).astype(np.float64)]
    scores[0][generator.integers(20_000, size=500)] = np.nan
    pool = Pool(["higher", "lower"])
    started = time.process_time()
    for index, row in enumerate(zip(*(values.tolist() for values in scores), strict=True)):
        pool.add(index, row)
        pool.merit(index // 2)
    merits = [pool.merit(index) for index in range(20_000)]
    seconds = time.process_time() - started
    expected = np.nan_to_num(combine_ranks(scores, ["higher", "lower"]), nan=0.0)
    np.testing.assert_array_equal(merits, expected)
    np.testing.assert_array_equal(pool.ranking(), rank_scores(expected, 20_000))
    assert seconds < 5.0


def test_ranks_of_a_whole_space_are_combined_in_under_half_a_second() -> None:
    generator = np.random.default_rng(3)
    scores = [generator.standard_normal(160_000), generator.integers(0, 1000, 160_000).astype(np.float64)]
    started = time.process_time()
    combine_ranks(scores, ["higher", "lower"])
    assert time.process_time() - started < 0.5


def test_an_empty_pool() -> None:
    pool = Pool(["higher", "lower"])
    assert (len(pool), pool.failed) == (0, 0)
    assert pool.ranking().tolist() == [] and pool.ranking().dtype == np.int64
    assert combine_ranks([np.empty(0), np.empty(0)], ["higher", "lower"]).shape == (0,)


def test_a_pool_of_failed_candidates() -> None:
    pool = Pool(["higher"])
    for index in (5, 3):
        pool.add(index, [math.nan])
    assert pool.ranking().tolist() == [3, 5]
    assert (pool.failed, pool.merit(3)) == (2, 0.0)
    assert np.isnan(combine_ranks([np.array([math.nan, math.inf])], ["higher"])).all()


def test_what_cannot_be_is_refused_and_changes_nothing() -> None:
    pool = Pool(["higher", "higher"])
    pool.add(7, [1.0, 2.0])
    with pytest.raises(InvalidInput, match="7 has been scored already"):
        pool.add(7, [3.0, 3.0])
    with pytest.raises(InvalidInput, match="8 has 1 scores where there are 2"):
        pool.add(8, [1.0])
    for ask in (pool.merit, pool.scores_of):
        with pytest.raises(InvalidInput, match="8 has not been scored"):
            ask(8)
    assert pool.scores_of(7) == (1.0, 2.0)
    assert pool.ranking().tolist() == [7]


@pytest.mark.parametrize(
    ("scores", "orientations"),
    [
        ([], []),
        ([np.zeros(2)], ["best"]),
        ([np.zeros(2)], ["higher", "higher"]),
        ([np.zeros(2), np.zeros(3)], ["higher", "higher"]),
        ([np.zeros((2, 2))], ["higher"]),
    ],
)
def test_scores_that_do_not_fit_together_are_refused(scores: Any, orientations: Any) -> None:
    with pytest.raises(InvalidInput):
        combine_ranks(scores, orientations)


@pytest.mark.parametrize("orientations", [[], ["best"]])
def test_a_pool_needs_oriented_metrics(orientations: Any) -> None:
    with pytest.raises(InvalidInput):
        Pool(orientations)
