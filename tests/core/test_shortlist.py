"""The shortlist: the best of the space, and the best of what costs less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trails.filtering import rank_space, score_pool, shortlist
from trails.filtering.shortlist import PER_SIZE, SIZES
from trails.space import MlpSpace, parse_space
from trails.tfmem import ScoringSetting, parse_tfmems


@given(
    layers=st.integers(2, 4),
    widths=st.lists(st.integers(1, 60), min_size=1, max_size=5, unique=True),
    inputs=st.integers(1, 200),
)
def test_all_parameters_are_those_of_each_architecture(layers: int, widths: list[int], inputs: int) -> None:
    space = MlpSpace(layers, tuple(sorted(widths)))
    expected = [space.parameters(space.architecture(index), inputs) for index in range(space.size)]
    np.testing.assert_array_equal(space.parameters_at(np.arange(space.size), inputs), expected)


def offered(space: MlpSpace, seed: int, best: int, tfmem: str, n: int | None = None) -> np.ndarray:
    pool = score_pool(space, parse_tfmems(tfmem), ScoringSetting(100, seed), n=n)
    return pool.indices[shortlist(space, pool, 100, best)]


@pytest.mark.parametrize("best", [0, 700])
@pytest.mark.parametrize("tfmem", ["expressflow", "synflow"])
def test_holds_the_best_of_every_size_best_score_first(best: int, tfmem: str) -> None:
    space = parse_space("mlp3x20")
    indices = offered(space, 3, best, tfmem)
    assert len(set(indices.tolist())) == len(indices)
    whole = rank_space(space, 100, 3, space.size, tfmem)
    place = np.empty(space.size, np.int64)
    place[whole.indices] = np.arange(space.size)
    assert (np.diff(place[indices]) > 0).all()
    count = max(best, PER_SIZE)
    np.testing.assert_array_equal(indices[:count], whole.indices[:count])
    parameters = space.parameters_at(np.arange(space.size), 100)
    for halvings in range(1, SIZES):
        affordable = [i for i in whole.indices.tolist() if parameters[i] <= int(parameters.max()) >> halvings]
        assert set(affordable[:PER_SIZE]) <= set(indices.tolist())


def test_a_small_space_is_offered_whole() -> None:
    space = parse_space("mlp2x10")
    assert len(offered(space, 0, 0, "expressflow")) == space.size


def test_a_sample_is_offered_from_the_sample() -> None:
    space = parse_space("mlp4x20")
    pool = score_pool(space, parse_tfmems("expressflow"), ScoringSetting(100, 3), n=50, sampler="random")
    assert sorted(shortlist(space, pool, 100).tolist()) == list(range(50))
