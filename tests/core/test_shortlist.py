"""The shortlist: the best of the space, and the best of what costs less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trails.filtering import rank_space, shortlist_space
from trails.filtering.shortlist import PER_SIZE, SIZES
from trails.space.mlp import MlpSpace, parse_space


@given(
    layers=st.integers(2, 4),
    widths=st.lists(st.integers(1, 60), min_size=1, max_size=5, unique=True),
    inputs=st.integers(1, 200),
)
def test_all_parameters_are_those_of_each_architecture(layers: int, widths: list[int], inputs: int) -> None:
    space = MlpSpace(layers, tuple(sorted(widths)))
    expected = [space.parameters(space.architecture(index), inputs) for index in range(space.size)]
    np.testing.assert_array_equal(space.all_parameters(inputs), expected)


@pytest.mark.parametrize("best", [0, 700])
def test_holds_the_best_of_every_size_best_score_first(best: int) -> None:
    space = parse_space("mlp3x20")
    ranking = shortlist_space(space, 100, 3, best, "expressflow", lambda: None)
    assert (np.diff(ranking.scores) <= 0).all()
    assert ranking.scored == space.size and ranking.failed == 0
    assert len(set(ranking.indices.tolist())) == len(ranking.indices)
    whole = rank_space(space, 100, 3, space.size)
    count = max(best, PER_SIZE)
    np.testing.assert_array_equal(ranking.indices[:count], whole.indices[:count])
    parameters = space.all_parameters(100)
    for halvings in range(1, SIZES):
        affordable = [i for i in whole.indices.tolist() if parameters[i] <= int(parameters.max()) >> halvings]
        assert set(affordable[:PER_SIZE]) <= set(ranking.indices.tolist())


def test_a_small_space_is_offered_whole() -> None:
    space = parse_space("mlp2x10")
    assert len(shortlist_space(space, 100, 0, 0, "expressflow", lambda: None).indices) == space.size
