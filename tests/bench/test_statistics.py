"""Coefficients equal SciPy's, intervals behave, and what failed is worst."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from benchmarks._statistics import COEFFICIENTS, _resampled, _weighted, interval, interval_by_groups, merits, top
from benchmarks.search_space_stats import noise

_SCIPY = {"spearman": stats.spearmanr, "kendall": stats.kendalltau, "pearson": stats.pearsonr}

numbers = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=40)


@pytest.mark.parametrize("name", COEFFICIENTS)
@given(pairs=numbers)
@settings(max_examples=60, deadline=None)
def test_coefficients_are_those_of_scipy_ties_included(name: str, pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    found = COEFFICIENTS[name](a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert np.isnan(found), "a constant has no correlation"
    else:
        assert found == pytest.approx(_SCIPY[name](a, b).statistic, abs=1e-12)


def test_two_pairs_have_no_coefficient() -> None:
    two = np.array([1.0, 2.0])
    assert all(np.isnan(coefficient(two, two)) for coefficient in COEFFICIENTS.values())


def test_pearson_leaves_failed_scores_out_and_ranks_take_them_as_worst() -> None:
    scores = merits(np.array([np.nan, 1.0, 2.0, 3.0, np.inf]), "higher")
    aucs = np.array([0.9, 0.1, 0.2, 0.3, 0.8])
    assert scores.tolist() == [-np.inf, 1.0, 2.0, 3.0, -np.inf]
    assert COEFFICIENTS["pearson"](scores, aucs) == pytest.approx(1.0)
    assert COEFFICIENTS["spearman"](scores, aucs) < 0


def test_where_lower_is_better_scores_are_turned_and_failures_stay_worst() -> None:
    assert merits(np.array([3.0, np.inf, np.nan, 1.0]), "lower").tolist() == [-3.0, -np.inf, -np.inf, -1.0]


def _pair(n: int, slope: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    a = generator.normal(size=n)
    return a, slope * a + generator.normal(size=n)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_resamples_of_a_coefficient_are_the_coefficients_of_resamples(name: str) -> None:
    a, b = _pair(30, 1.0, 0)
    drawn = np.random.default_rng(1).integers(0, 30, (20, 30))
    expected = [_SCIPY[name](a[places], b[places]).statistic for places in drawn]
    assert _resampled(name, a, b, drawn) == pytest.approx(expected, abs=1e-12)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(100):
        a, b = _pair(60, 0.0, seed)
        found = interval("spearman", [a], b, resamples=200, seed=seed)
        held += found.low <= 0.0 <= found.high
    assert 86 <= held <= 100


def test_larger_samples_have_narrower_intervals_and_perfect_scores_none() -> None:
    small, large = (interval("kendall", [a], b, resamples=100) for a, b in (_pair(20, 1.0, 0), _pair(400, 1.0, 0)))
    assert large.high - large.low < small.high - small.low
    assert small.low <= small.value <= small.high
    a, _ = _pair(50, 0.0, 0)
    perfect = interval("spearman", [a, 2 * a], np.exp(a), resamples=100)
    assert (perfect.value, perfect.low, perfect.high) == pytest.approx((1.0, 1.0, 1.0))


def test_the_mean_of_several_batches_has_the_interval_of_the_mean() -> None:
    a, b = _pair(50, 1.0, 0)
    noisy = a + np.random.default_rng(5).normal(size=50)
    both = interval("spearman", [a, noisy], b, resamples=300)
    one, other = (interval("spearman", [scores], b, resamples=300) for scores in (a, noisy))
    assert both.value == pytest.approx((one.value + other.value) / 2)
    assert both.low == pytest.approx((one.low + other.low) / 2, abs=0.1)


def test_the_best_part_is_of_what_did_not_fail_and_has_three_at_least() -> None:
    values = np.array([0.5, np.nan, 0.9, 0.1, 0.8, 0.7])
    assert top(values, 1.0).tolist() == [0, 2, 3, 4, 5]
    assert top(values, 0.1).tolist() == [2, 4, 5]
    assert top(np.arange(100.0), 0.1).tolist() == list(range(90, 100))


def test_noise_of_seeds_is_told_apart_from_differences_of_architectures() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(0.9, 0.01, 2000)
    within, across, agreement = noise(truth + generator.normal(0.0, 0.005, (3, 2000)))
    assert within == pytest.approx(0.005, rel=0.05)
    assert across == pytest.approx(np.hypot(0.01, 0.005), rel=0.05)
    # The share of the variance that is the architectures', as Spearman's coefficient of normal variables has it.
    assert agreement == pytest.approx(6 / np.pi * np.arcsin(0.8 / 2), abs=0.03)
    assert np.isnan(noise(np.empty((3, 0)))).all()


@pytest.mark.parametrize("name", COEFFICIENTS)
@given(pairs=numbers, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_coefficient_of_pairs_drawn_several_times_is_that_of_them_repeated(
    name: str, pairs: list[tuple[int, int]], seed: int
) -> None:
    a, b = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    if name != "pearson":
        a[0] = -np.inf
    times = np.random.default_rng(seed).integers(0, 4, len(a))
    if times.sum() < 3:
        return
    found, plain = _weighted(name, a, b)(times), COEFFICIENTS[name](np.repeat(a, times), np.repeat(b, times))
    assert found == pytest.approx(plain, abs=1e-9, nan_ok=True)


def test_groups_are_drawn_together() -> None:
    generator = np.random.default_rng(0)
    a = generator.normal(size=60)
    b = a + generator.normal(size=60)
    single = interval_by_groups("spearman", a, b, np.arange(60), 400)
    pairs = interval("spearman", [a], b, 400)
    assert single.value == pairs.value
    assert (single.low, single.high) == pytest.approx((pairs.low, pairs.high), abs=0.06)
    # Ten copies of each say nothing more: the interval stays as wide, where pairs alone would narrow it.
    ten = interval_by_groups("spearman", np.repeat(a, 10), np.repeat(b, 10), np.repeat(np.arange(60), 10), 400)
    naive = interval_by_groups("spearman", np.repeat(a, 10), np.repeat(b, 10), np.arange(600), 400)
    assert ten.high - ten.low == pytest.approx(single.high - single.low, rel=0.25)
    assert naive.high - naive.low < 0.5 * (ten.high - ten.low)
    assert np.isnan(interval_by_groups("pearson", a, np.ones(60), np.arange(60), 10).low)
