"""Long work in pieces: the same answers as in one go, and a caller who is heard meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timing import within
from trails import checks
from trails.errors import Interrupted, InvalidInput
from trails.filtering import combine_ranks, rank_scores, shortlist
from trails.filtering.phase import FilteringRequest, rank
from trails.filtering.rows import Held, TableRows
from trails.filtering.search import ScoredPool, score_pool
from trails.refinement.checks import check_architectures
from trails.space import parse_space
from trails.table.columns import Column, Columns
from trails.tfmem import ScoringSetting, parse_tfmems

ROWS = 3_000_000
SILENCE = 0.2
"""Seconds of this thread's own work between two looks at the caller, which the server promises."""

values = st.lists(st.sampled_from([-1.5, 0.0, 0.0, 2.0, 7.0, 9.0, -np.inf, np.inf]), max_size=60)


@given(values, st.integers(1, 9))
def test_order_and_differences_are_those_of_numpy(numbers: list[float], piece: int) -> None:
    array = np.array(numbers, np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "PIECE", piece)
        patch.setattr(checks.pieces, "__defaults__", (checks.no_check, piece))
        np.testing.assert_array_equal(checks.order_of(array), np.argsort(array, kind="stable"))
        assert checks.all_different(array) == (len(set(numbers)) == len(numbers))
        for most in (0, 2, 100):
            found = checks.distinct(array, most)
            assert set(found.tolist()) <= set(numbers) and (np.diff(found) > 0).all() if len(found) > 1 else True
            assert len(found) == len(set(numbers)) or len(found) > most


@contextmanager
def heard() -> Iterator[Callable[[], None]]:
    """A check that is called often enough: what this thread does between two calls is measured."""
    last = [time.thread_time()]
    longest = [0.0, 0]

    def check() -> None:
        now = time.thread_time()
        longest[0] = max(longest[0], now - last[0])
        longest[1] += 1
        last[0] = time.thread_time()

    yield check
    check()
    assert longest[0] < SILENCE, f"{longest[0]:.2f} s of {longest[1]} looks"


LABELS: dict[str, Callable[[np.random.Generator], np.ndarray[Any, Any]]] = {
    "two": lambda generator: generator.integers(0, 2, ROWS),
    "many": lambda generator: generator.integers(0, 900, ROWS),
    "numbers": lambda generator: generator.normal(size=ROWS),
}


@pytest.mark.parametrize(("labels", "split"), [("two", False), ("many", False), ("many", True), ("numbers", False)])
def test_millions_of_rows_are_taken_over_within_hearing(labels: str, split: bool) -> None:
    generator = np.random.default_rng(0)
    key = generator.permutation(ROWS)
    nulls = np.ones(ROWS, np.uint8)
    nulls[-1] = 0
    features = (
        Column("key", "int64", key),
        Column("constant", "int32", np.ones(ROWS, np.int32)),
        Column("late", "int32", np.where(np.arange(ROWS) == ROWS // 2, 1, 0).astype(np.int32)),
        Column("null", "float64", np.zeros(ROWS), nulls=nulls),
        Column("good", "int64", key % 1009),
    )
    truth = LABELS[labels](generator)
    target = Column("y", "float64" if truth.dtype.kind == "f" else "int64", truth)
    by = Column("s", "int64", (np.arange(ROWS) % 10 == 0).astype(np.int64)) if split else None
    task = "regression" if labels == "numbers" else "multiclass" if labels == "many" else None
    with heard() as check:
        rows = TableRows(Columns(ROWS, features), target, task, held=Held(by, 1), check=check)
    assert rows.useless["key"] == "different in every row" and rows.useless["constant"] == "the same in every row"
    with heard() as check:
        rank(rows, FilteringRequest("mlp2x10", "snip", 10, 5, 4, 1, "random"), 1, check)


def test_millions_of_scores_are_put_in_order_within_hearing() -> None:
    space = parse_space("mlp5x20")
    scores = np.random.default_rng(0).normal(size=space.size)
    with heard() as check:
        best = rank_scores(scores, space.size, check=check)
    assert (np.diff(scores[best]) <= 0).all()
    with heard() as check:
        merits = combine_ranks([scores, -scores], ["higher", "higher"], check)
    assert np.ptp(merits) == 0
    backwards = np.arange(space.size)[::-1].copy()
    pool = ScoredPool(backwards, scores[None], scores, 0, np.zeros(space.size))
    with heard() as check:
        assert (pool.best(space.size, check) == best).all()
    with heard() as check:
        assert shortlist(space, pool, 100, space.size, check).size == space.size


def test_a_sampler_of_a_whole_space_is_interrupted() -> None:
    calls = [0]

    def check() -> None:
        calls[0] += 1
        if time.perf_counter() > end:
            raise Interrupted

    end = time.perf_counter() + 0.5
    with pytest.raises(Interrupted):
        score_pool(
            parse_space("mlp5x20"),
            parse_tfmems("flops"),
            ScoringSetting(30, 0),
            n=3_000_000,
            sampler="random",
            check=check,
        )
    assert within(time.perf_counter() - end, 0.0, 2.0)


def test_many_architectures_are_looked_through_once() -> None:
    space = parse_space("mlp4x20")
    named = [space.format(space.architecture(index)) for index in range(60_000)]
    began = time.thread_time()
    with heard() as check:
        assert check_architectures("mlp4x20", named, check) == named
    # Every one was looked for among all before it: 20 s.
    assert time.thread_time() - began < 4
    with pytest.raises(InvalidInput, match=f"{named[7]} is given more than once"):
        check_architectures("mlp4x20", [*named, named[7]])
