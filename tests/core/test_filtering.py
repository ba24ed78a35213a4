"""Ranking a whole space: order, ties, failed scores, and no torch in the process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.made_up import MadeUp, TableScoring
from trails.errors import Interrupted, InvalidInput
from trails.family.mlp.expressflow import expressflow
from trails.filtering import rank_scores, rank_space, whole_space
from trails.space import ProductSpace, parse_space

# Few distinct values, so that ties are common, and every kind of failure.
scores = st.lists(st.sampled_from([-2.5, -1.0, 0.0, 1.0, 3.0, math.nan, math.inf, -math.inf]), min_size=1, max_size=40)


@given(scores, st.sampled_from(["higher", "lower"]), st.data())
def test_ranking_follows_its_definition(values: list[float], orientation: str, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(values)))
    sign = -1 if orientation == "higher" else 1

    def key(position: int) -> tuple[bool, float, int]:
        value = values[position]
        return (not math.isfinite(value), sign * value if math.isfinite(value) else 0.0, position)

    expected = sorted(range(len(values)), key=key)[:k]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_space, "_BLOCK", data.draw(st.integers(1, 50)))
        ranked = rank_scores(np.array(values), k, "higher" if orientation == "higher" else "lower")
    assert ranked.dtype == np.int64
    assert ranked.tolist() == expected


def test_rank_space_returns_the_best_of_all_scores() -> None:
    space = parse_space("mlp3x10")
    ranking = rank_space(space, 50, 4, 25)
    all_scores = expressflow(space, 50, 4)
    np.testing.assert_array_equal(ranking.scores, np.sort(all_scores)[::-1][:25])
    np.testing.assert_array_equal(all_scores[ranking.indices], ranking.scores)
    assert (ranking.scored, ranking.failed) == (1000, 0)
    assert 0 < ranking.seconds < 10


def test_larger_k_extends_the_ranking() -> None:
    space = parse_space("mlp3x10")
    whole = rank_space(space, 50, 4, space.size)
    assert sorted(whole.indices.tolist()) == list(range(space.size))
    np.testing.assert_array_equal(rank_space(space, 50, 4, 7).indices, whole.indices[:7])


def test_failed_scores_rank_last_and_are_counted() -> None:
    space = parse_space("mlp2x10")
    values = np.arange(space.size, dtype=np.float64)
    values[[3, 50, 99]] = [np.inf, np.nan, -np.inf]
    scoring = TableScoring({"expressflow": lambda design: float(values[space.index(design)])}, ["expressflow"])
    ranking = rank_space(ProductSpace(space.choices, MadeUp(scoring), "broken"), 10, 0, 100)
    assert (ranking.scored, ranking.failed) == (100, 3)
    assert ranking.indices[:2].tolist() == [98, 97]
    assert ranking.indices[-3:].tolist() == [3, 50, 99]


@pytest.mark.parametrize("k", [-1, 0, 101])
def test_k_outside_the_space_is_refused(k: int) -> None:
    with pytest.raises(InvalidInput, match=f"cannot keep {k} of the 100") as caught:
        rank_space(parse_space("mlp2x10"), 10, 0, k)
    assert "1 to 100" in (caught.value.hint or "")


def test_unknown_metric_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'synth'"):
        rank_space(parse_space("mlp2x10"), 10, 0, 1, tfmem="synth")


def test_interrupted_passes_through() -> None:
    def check() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        rank_space(parse_space("mlp2x10"), 10, 0, 1, check=check)


def test_filtering_a_whole_space_imports_no_torch_and_takes_under_a_second() -> None:
    code = """
import json, os, sys, time
from trails.filtering import rank_space
from trails.space import parse_space
started = time.process_time()
ranking = rank_space(parse_space("mlp4x20"), 100, 0, 1000)
heavy = sorted({"torch", "scipy", "psycopg2", "matplotlib"} & set(sys.modules))
print(json.dumps([heavy, ranking.scored, len(ranking.indices), time.process_time() - started]))
"""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, scored, kept, seconds = json.loads(done.stdout)
    assert heavy == []
    assert (scored, kept) == (160_000, 1000)
    assert seconds < 1.0, f"{seconds} s of {time.perf_counter() - started} s"
