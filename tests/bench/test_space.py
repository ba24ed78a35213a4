"""The recorded part of a space: every sampler searches it, and what is not recorded is stood for by the nearest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trails.bench.space import RecordedSpace
from trails.errors import InvalidInput
from trails.filtering.samplers import SAMPLERS, make_sampler
from trails.space import parse_space

WHOLE = parse_space("mlp3x10")

indices = st.lists(st.integers(0, WHOLE.size - 1), min_size=1, max_size=60, unique=True)


def distance(space: RecordedSpace, one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Steps in the lists of choices, position by position: written down anew."""
    return sum(
        abs(list(choices).index(a) - list(choices).index(b))
        for choices, a, b in zip(space.choices, one, other, strict=True)
    )


@settings(max_examples=40, deadline=None)
@given(indices, st.sampled_from(sorted(SAMPLERS)), st.integers(0, 99), st.integers(1, 9))
def test_every_sampler_exhausts_it_without_repeating_itself(
    recorded: list[int], name: str, seed: int, generation: int
) -> None:
    space, proposed = RecordedSpace(WHOLE, recorded), list[int]()
    sampler = make_sampler(name, space, seed, lambda index: float(recorded[index]) + 1.0)
    while new := sampler.ask(generation):
        proposed += new
        for index in new:
            sampler.tell(index)
    assert sorted(proposed) == list(range(len(recorded)))


@settings(max_examples=60, deadline=None)
@given(indices, st.integers(0, WHOLE.size - 1))
def test_what_is_not_recorded_is_stood_for_by_the_nearest(recorded: list[int], asked: int) -> None:
    space, design = RecordedSpace(WHOLE, recorded), WHOLE.architecture(asked)
    found = space.nearest(design)
    if asked in recorded:
        assert found == recorded.index(asked)
    distances = [distance(space, design, space.architecture(place)) for place in range(space.size)]
    assert found == distances.index(min(distances)), "the first of those that are equally near"


@settings(max_examples=60, deadline=None)
@given(indices.filter(lambda found: len(found) > 1), st.integers(0, 999))
def test_a_neighbour_is_another_recorded_one(recorded: list[int], seed: int) -> None:
    space, generator = RecordedSpace(WHOLE, recorded), np.random.default_rng(seed)
    for place in range(space.size):
        neighbour = space.mutate(place, generator)
        assert neighbour != place and 0 <= neighbour < space.size


@settings(max_examples=40, deadline=None)
@given(indices)
def test_names_indices_and_sizes_are_those_of_the_whole_space(recorded: list[int]) -> None:
    space = RecordedSpace(WHOLE, recorded)
    assert space.size == len(recorded) and space.choices == WHOLE.choices
    for place, index in enumerate(recorded):
        design = space.architecture(place)
        assert design == WHOLE.architecture(index) and design in space
        assert space.index(design) == place and space.parse(space.format(design)) == design
    places = np.arange(space.size)
    assert space.parameters_at(places, 30).tolist() == [WHOLE.parameters(space.architecture(p), 30) for p in places]
    digits = np.array(
        [[list(c).index(v) for c, v in zip(space.choices, space.architecture(p), strict=True)] for p in places]
    )
    assert space.indices(digits).tolist() == places.tolist()
    drawn = space.sample(len(recorded), 5)
    assert sorted(drawn.tolist()) == places.tolist()


def test_what_is_not_there_is_refused() -> None:
    space = RecordedSpace(WHOLE, [3, 5])
    outside = WHOLE.architecture(4)
    assert outside not in space and "nothing" not in space
    with pytest.raises(InvalidInput, match="is not recorded"):
        space.index(outside)
    with pytest.raises(InvalidInput, match="is not recorded"):
        space.parse(WHOLE.format(outside))
    with pytest.raises(InvalidInput, match="2 architectures of space mlp3x10 are recorded, 0 to 1"):
        space.architecture(2)
    with pytest.raises(InvalidInput, match="cannot sample 3 of the 2"):
        space.sample(3, 1)
    with pytest.raises(InvalidInput, match="no architecture of space mlp3x10 is recorded"):
        RecordedSpace(WHOLE, [])
    with pytest.raises(InvalidInput, match="has no neighbour"):
        RecordedSpace(WHOLE, [3]).mutate(0, np.random.default_rng(1))
