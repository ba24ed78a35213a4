"""Scoring what is asked for: whole spaces, samples, several metrics, any number of workers."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.core.made_up import MadeUp, TableScoring
from tests.timing import within
from trails.errors import Interrupted, InvalidInput
from trails.filtering import Scorer, combine_ranks, score_pool
from trails.filtering.samplers import SAMPLERS
from trails.filtering.scoring import jacobian_rows
from trails.space import MlpSpace, ProductSpace, Space, parse_space
from trails.tfmem import REGISTRY, Batch, ScoringSetting, Tfmem, parse_tfmems
from trails.workers import run_pieces

SPACE = parse_space("mlp3x10")


def setting(workers: int = 1, rows: int = 16, labels: bool = True, seed: int = 3) -> ScoringSetting:
    generator = np.random.default_rng(seed)

    def batch() -> Batch:
        y = generator.integers(0, 2, rows).astype(np.float64)
        return Batch(generator.standard_normal((rows, 30)), y if labels else None)

    return ScoringSetting(30, seed, (batch(), batch()), workers)


SINGLES = [name for name, metric in REGISTRY.items() if not metric.combines]


@pytest.mark.parametrize("name", SINGLES)
def test_any_number_of_workers_gives_the_same_scores_in_the_same_order(name: str) -> None:
    indices = SPACE.sample(100, 0)
    results = [Scorer(SPACE, parse_tfmems(name), setting(workers)).scores(indices).scores for workers in (1, 2, 3)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert np.isfinite(results[0]).any()


@pytest.mark.parametrize("name", ["naswot", "snip", "zico"])
def test_scores_do_not_depend_on_what_else_is_asked_for(name: str) -> None:
    scorer = Scorer(SPACE, parse_tfmems(name), setting())
    some = scorer.scores(np.array([500, 3, 77])).scores[0]
    more = scorer.scores(np.array([1, 3, 77, 78, 500, 999])).scores[0]
    np.testing.assert_array_equal(some, more[[4, 1, 2]])


def test_naswot_is_the_same_at_once_and_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    indices = SPACE.sample(50, 0)
    at_once = Scorer(SPACE, parse_tfmems("naswot"), setting()).scores(indices).scores
    monkeypatch.setattr("trails.filtering.scoring.AT_ONCE", 10)
    one_by_one = Scorer(SPACE, parse_tfmems("naswot"), setting())
    assert not one_by_one.at_once(REGISTRY["naswot"])
    np.testing.assert_allclose(one_by_one.scores(indices).scores, at_once, rtol=1e-9)


def test_jacflow_adds_up_ranks_and_not_scores() -> None:
    pool = score_pool(SPACE, parse_tfmems("jacflow"), setting())
    naswot, synflow = pool.scores
    np.testing.assert_array_equal(pool.merits, combine_ranks([naswot, synflow], ["higher", "higher"]))
    best = pool.best(SPACE.size)
    assert (np.diff(pool.merits[best]) <= 0).all()
    # The raw sum orders as synflow alone; the sum of ranks does not.
    ranks = [np.argsort(np.argsort(values)) for values in (naswot + synflow, synflow, pool.merits)]
    assert np.corrcoef(ranks[0], ranks[1])[0, 1] > 0.9999
    assert np.corrcoef(ranks[2], ranks[1])[0, 1] < 0.99


def test_lower_is_better_where_the_metric_says_so() -> None:
    pool = score_pool(SPACE, parse_tfmems("ntk_cond"), setting(), n=60, sampler="random")
    best = pool.best(60)
    scores = pool.scores[0][best]
    finite = scores[np.isfinite(scores)]
    assert (np.diff(finite) >= 0).all()
    assert pool.failed == 60 - finite.size
    assert np.isfinite(scores[: finite.size]).all()


@pytest.mark.parametrize(("sampler", "stride"), [("random", 512), ("evolution", 10)])
def test_the_caller_is_told_how_many_are_scored(sampler: str, stride: int) -> None:
    told: list[int] = []
    score_pool(SPACE, parse_tfmems("snip"), setting(), n=600, sampler=sampler, told=told.append)
    assert told == sorted(told) and told[-1] == 600 and told[0] <= stride and len(told) == -(-600 // stride)


def scored_by(values: np.ndarray) -> Space:
    """``SPACE``, but what scores it by SynFlow at once is this array."""
    scoring = TableScoring({"synflow": lambda design: float(values[SPACE.index(design)])}, at_once=["synflow"])
    return ProductSpace(SPACE.choices, MadeUp(scoring), "scored")


def test_failed_scores_rank_last_and_are_counted_also_among_several() -> None:
    values = np.arange(SPACE.size, dtype=np.float64)
    values[[3, 50, 99]] = [np.inf, np.nan, -np.inf]
    space = scored_by(values)
    for metrics in ("synflow", "flops+synflow"):
        pool = score_pool(space, parse_tfmems(metrics), ScoringSetting(30, 0), n=SPACE.size)
        assert pool.failed == 3
        assert pool.best(SPACE.size)[-3:].tolist() == [3, 50, 99]
        assert pool.best(1).tolist() == [999]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_score_n_different_architectures_whatever_the_workers(sampler: str) -> None:
    pools = [
        score_pool(SPACE, parse_tfmems("naswot+snip"), setting(workers), n=150, sampler=sampler) for workers in (1, 2)
    ]
    assert len(set(pools[0].indices.tolist())) == 150
    np.testing.assert_array_equal(pools[0].indices, pools[1].indices)
    np.testing.assert_array_equal(pools[0].scores, pools[1].scores)


def test_all_are_scored_when_nobody_says_how_many_and_it_costs_nothing() -> None:
    assert score_pool(SPACE, parse_tfmems("jacflow"), setting()).indices.tolist() == list(range(1000))
    assert score_pool(parse_space("mlp4x10"), parse_tfmems("fisher"), setting()).indices.size == 1000


def test_seconds_limit_what_is_paid_one_by_one() -> None:
    began = time.perf_counter()
    pool = score_pool(parse_space("mlp4x20"), parse_tfmems("snip"), setting(), seconds=0.3)
    assert within(time.perf_counter() - began, 0.3, 4.7)
    assert 64 <= pool.indices.size < 160_000
    assert len(set(pool.indices.tolist())) == pool.indices.size


def test_ties_are_ranked_by_index_whatever_the_order_of_scoring() -> None:
    space = scored_by(np.zeros(SPACE.size))
    pool = score_pool(space, parse_tfmems("synflow"), ScoringSetting(30, 0), n=100, sampler="random")
    assert pool.indices[pool.best(100)].tolist() == sorted(pool.indices.tolist())


@pytest.mark.parametrize(
    ("metrics", "arguments", "words"),
    [
        ("snip", {"n": 0}, "n = 0 is not possible"),
        ("snip", {"n": 1001}, "has 1000 architectures"),
        ("snip", {"sampler": "magic"}, "no sampler 'magic'"),
    ],
)
def test_bad_arguments_are_refused(metrics: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        score_pool(SPACE, parse_tfmems(metrics), setting(), **arguments)


@pytest.mark.parametrize(
    ("metrics", "given", "words"),
    [
        ("snip", ScoringSetting(30, 0), "needs 1 batch"),
        ("snip", setting(labels=False), "needs a target"),
        ("naswot", setting(rows=1), "needs a batch of 2"),
    ],
)
def test_a_metric_without_what_it_needs_is_refused(metrics: str, given: ScoringSetting, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Scorer(SPACE, parse_tfmems(metrics), given)


def test_the_jacobian_gets_no_more_rows_than_its_rank() -> None:
    batch = setting(rows=64).batches[0]
    assert jacobian_rows(parse_space("mlp2x10"), batch) == 8
    assert jacobian_rows(MlpSpace(2, (50, 60)), batch) == 29
    scores = Scorer(SPACE, parse_tfmems("jacob_cov"), setting(rows=64)).scores(np.arange(1000)).scores[0]
    # One eigenvalue of 0 alone adds -100,000.
    assert np.mean(scores > -50_000) > 0.9


@pytest.mark.parametrize("metrics", ["naswot", "ntk_cond"])
@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_ends_every_worker(metrics: str, workers: int) -> None:
    raised = threading.Event()

    def check() -> None:
        if time.perf_counter() > end:
            raised.set()
            raise Interrupted

    end = time.perf_counter() + 0.15
    with pytest.raises(Interrupted):
        score_pool(parse_space("mlp5x10"), parse_tfmems(metrics), setting(workers), n=100_000, check=check)
    assert raised.is_set() and within(time.perf_counter() - end, 0.0, 2.0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("trails-filtering")]


def test_tasks_return_in_order_and_the_first_error_ends_all() -> None:
    assert run_pieces([lambda check, i=i: i for i in range(50)], 3, lambda: None) == list(range(50))

    def fail(check: object) -> int:
        raise InvalidInput("broken")

    def slow(check: Any) -> int:
        while True:
            check()
            time.sleep(0.001)

    with pytest.raises(InvalidInput, match="broken"):
        run_pieces([slow, fail, slow, slow], 2, lambda: None)


def test_workers_start_with_every_signal_blocked() -> None:
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    masks = run_pieces([lambda check: signal.pthread_sigmask(signal.SIG_BLOCK, []) for _ in range(4)], 2, lambda: None)
    assert all(signal.SIGTERM in mask and signal.SIGINT in mask for mask in masks)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_one_metric_is_shown_by_its_score_and_several_by_their_merit() -> None:
    one: tuple[Tfmem, ...] = parse_tfmems("ntk_cond")
    pool = score_pool(SPACE, one, setting(), n=20)
    np.testing.assert_array_equal(pool.shown(one), pool.scores[0])
    two = parse_tfmems("ntk_cond+params")
    pool = score_pool(SPACE, two, setting(), n=20)
    shown = pool.shown(two)
    assert all(0 < value <= 2 for value in shown if math.isfinite(value))
