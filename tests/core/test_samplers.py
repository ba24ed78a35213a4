"""Samplers: nothing twice, everything once, reproducible, and the ones that learn find better candidates."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.family.mlp.expressflow import expressflow
from trails.filtering.pool import Pool
from trails.filtering.samplers import (
    SAMPLERS,
    EnumerationSampler,
    EvolutionSampler,
    RandomSampler,
    ReinforceSampler,
    Sampler,
    make_sampler,
)
from trails.filtering.samplers.base import Unseen
from trails.space import MlpSpace, Space, parse_space

LEARNING = ("evolution", "reinforcement")
every_sampler = pytest.mark.parametrize("name", SAMPLERS)


def smooth(space: Space, seed: int = 0) -> NDArray[np.float64]:
    """Falls with the square of the distance from one architecture, counted in choices: float64 (size,)."""
    shape = tuple(map(len, space.choices))
    target = np.random.default_rng(seed).integers(shape)
    positions = np.indices(shape).reshape(len(shape), -1)
    return np.asarray(-np.sum((positions - target[:, None]) ** 2, axis=0), dtype=np.float64)


def search(
    name: str,
    space: Space,
    seed: int,
    scores: NDArray[np.float64],
    n: int,
    generation: int = 10,
    told_first: Callable[[list[int]], list[int]] = lambda indices: indices,
) -> list[int]:
    """Ask for ``n`` candidates, a generation at a time, with ranks in a growing pool for merits."""
    pool = Pool(["higher"])
    sampler = make_sampler(name, space, seed, pool.merit)
    found: list[int] = []
    while len(found) < n:
        indices = sampler.ask(min(generation, n - len(found)))
        if not indices:
            break
        for index in told_first(indices):
            pool.add(index, [float(scores[index])])
            sampler.tell(index)
        found += indices
    return found


@every_sampler
@pytest.mark.parametrize("generation", [1, 7, 100, 1000])
def test_a_small_space_is_exhausted_with_each_candidate_once(name: str, generation: int) -> None:
    space = parse_space("mlp2x10")
    found = search(name, space, 1, smooth(space), space.size + 50, generation)
    assert sorted(found) == list(range(space.size))


@every_sampler
def test_thousands_are_exhausted_quickly(name: str) -> None:
    space = parse_space("mlp3x20")
    started = time.process_time()
    found = search(name, space, 1, smooth(space), space.size)
    assert sorted(found) == list(range(space.size))
    assert time.process_time() - started < 10.0


@every_sampler
def test_an_exhausted_space_has_nothing_more(name: str) -> None:
    sampler = make_sampler(name, parse_space("mlp2x10"), 0, lambda index: 1.0)
    assert len(sampler.ask(60)) == 60
    assert len(sampler.ask(60)) == 40
    assert sampler.ask(1) == [] and sampler.ask(0) == []


@every_sampler
@pytest.mark.parametrize("widths", [(8,), (8, 16)])
def test_spaces_of_hardly_anything(name: str, widths: tuple[int, ...]) -> None:
    space = MlpSpace(3, widths)
    assert sorted(search(name, space, 0, np.ones(space.size), 20, 1)) == list(range(space.size))


@every_sampler
def test_millions_are_not_written_down(name: str) -> None:
    space = MlpSpace(5, tuple(range(1, 501)))  # 3e13 architectures
    started = time.process_time()
    sampler = make_sampler(name, space, 0, lambda index: 1.0)
    found = [index for _ in range(20) for index in sampler.ask(10)]
    assert len(set(found)) == 200
    assert all(index in range(space.size) and type(index) is int for index in found)
    assert time.process_time() - started < 2.0


@every_sampler
def test_the_same_seed_proposes_the_same(name: str) -> None:
    space = parse_space("mlp4x20")
    scores = smooth(space)
    found = search(name, space, 5, scores, 200)
    assert found == search(name, space, 5, scores, 200)
    assert len(set(found)) == 200
    assert (found != search(name, space, 6, scores, 200)) == (name != "enumeration")


@every_sampler
def test_the_order_of_telling_within_a_generation_does_not_matter(name: str) -> None:
    space = parse_space("mlp4x20")
    scores = smooth(space)
    assert search(name, space, 5, scores, 300) == search(
        name, space, 5, scores, 300, told_first=lambda indices: indices[::-1]
    )


@pytest.mark.parametrize("name", ["random", "enumeration"])
@given(counts=st.lists(st.integers(0, 40), max_size=8))
def test_what_learns_nothing_does_not_depend_on_the_generation(name: str, counts: list[int]) -> None:
    space = parse_space("mlp2x10")
    sampler, whole = (make_sampler(name, space, 3, lambda index: 1.0) for _ in range(2))
    found = [index for count in counts for index in sampler.ask(count)]
    assert found == whole.ask(sum(counts))


def test_enumeration_is_in_the_order_of_the_space() -> None:
    sampler = EnumerationSampler(parse_space("mlp2x10"))
    assert sampler.ask(3) + sampler.ask(2) == [0, 1, 2, 3, 4]


def test_random_is_uniform() -> None:
    """Over 2,000 seeds each of 8 candidates is first, and second, 250 times; five standard deviations are 74."""
    space = MlpSpace(3, (8, 16))
    orders = [RandomSampler(space, seed).ask(2) for seed in range(2000)]
    for place in range(2):
        counts = Counter(order[place] for order in orders)
        assert set(counts) == set(range(8))
        assert max(abs(count - 250) for count in counts.values()) < 74


@settings(max_examples=50)
@given(st.integers(1, 30), st.data())
def test_unseen_is_a_set_that_shrinks(size: int, data: st.DataObject) -> None:
    unseen, expected = Unseen(size), set(range(size))
    generator = np.random.default_rng(data.draw(st.integers(0, 5)))
    while expected:
        drawn = unseen.draw(generator)
        assert drawn in expected
        taken = data.draw(st.sampled_from([drawn, *sorted(expected)]))
        unseen.take(taken)
        expected.remove(taken)
        assert len(unseen) == len(expected)
        assert {index for index in range(size) if index in unseen} == expected


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("landscape", ["smooth", "expressflow"])
def test_learning_finds_better_candidates_than_random(name: str, landscape: str) -> None:
    space, seeds = parse_space("mlp4x20"), range(7)
    scores = smooth(space) if landscape == "smooth" else expressflow(space, 100, 1)
    ascending = np.sort(scores)

    def better_than_tenth(sampler: str) -> float:
        """How many of the 160,000 are better than the tenth best found: the median over the seeds."""
        tenth = [np.sort(scores[search(sampler, space, seed, scores, 1000)])[-10] for seed in seeds]
        return float(np.median(scores.size - np.searchsorted(ascending, tenth, side="right")))

    random = better_than_tenth("random")
    assert 500 < random < 4000, "ten of a thousand are in the best hundredth"
    assert better_than_tenth(name) < random / 3


@pytest.mark.parametrize("name", LEARNING)
def test_failed_candidates_teach_what_to_avoid(name: str) -> None:
    """Where half of the space fails, searches leave it; where all of it fails, they go on all the same."""
    space = parse_space("mlp4x20")
    scores = smooth(space)
    scores[: space.size // 2] = math.nan
    found = search(name, space, 2, scores, 600)
    late = np.isnan(scores[found[300:]])
    assert late.mean() < 0.25
    nothing = np.full(space.size, math.nan)
    assert len(set(search(name, space, 2, nothing, 300))) == 300


def tell_all(sampler: Sampler, indices: list[int]) -> None:
    for index in indices:
        sampler.tell(index)


def test_only_the_oldest_leaves_the_population() -> None:
    space = parse_space("mlp4x20")
    # The earlier, the better: whoever would remove the worst would keep the first ones for ever.
    order: list[int] = []
    sampler = EvolutionSampler(space, 0, lambda index: 1.0 / (1 + order.index(index)), population=4)
    order += sampler.ask(4)
    tell_all(sampler, order[::-1])
    order += sampler.ask(1)
    assert sampler.population == tuple(order[:4])
    sampler.ask(0)
    assert sampler.population == tuple(order[:4]), "a candidate joins when it has been scored"
    sampler.tell(order[4])
    order += sampler.ask(2)
    assert sampler.population == tuple(order[1:5])
    tell_all(sampler, order[5:])
    sampler.ask(0)
    assert sampler.population == tuple(order[3:7])


def test_children_differ_from_a_parent_in_one_layer_and_siblings_share_the_population() -> None:
    space = parse_space("mlp5x20")
    merits: dict[int, float] = {}
    # So many draws that the best of the population is certain to be among them.
    sampler = EvolutionSampler(space, 4, merits.__getitem__, tournament=200)
    first = sampler.ask(10)
    merits |= {index: 0.1 for index in first} | {first[6]: 0.9}
    tell_all(sampler, first)
    children = sampler.ask(40)
    parent = np.array(space.architecture(first[6]))
    changed = [np.flatnonzero(parent != space.architecture(child)) for child in children]
    # Two changes where the first led to a sibling.
    assert Counter(map(len, changed)).most_common(1)[0][0] == 1
    assert sum(len(layers) == 1 for layers in changed) >= 25
    assert {int(layer) for layers in changed for layer in layers} == set(range(5))


def test_a_mutant_takes_any_other_width_at_any_layer() -> None:
    """And never keeps its parent's: 18 changes lead away from an architecture of two layers and ten widths."""
    space = parse_space("mlp2x10")
    steps = set()
    for seed in range(300):
        sampler = EvolutionSampler(space, seed, lambda index: 1.0, population=1)
        (parent,) = sampler.ask(1)
        sampler.tell(parent)
        (child,) = sampler.ask(1)
        (changed,) = [
            (layer, (space.widths.index(after) - space.widths.index(before)) % 10)
            for layer, (before, after) in enumerate(
                zip(space.architecture(parent), space.architecture(child), strict=True)
            )
            if before != after
        ]
        steps.add(changed)
    assert steps == {(layer, step) for layer in range(2) for step in range(1, 10)}


def test_tournaments_compare_merits_as_they_are_now() -> None:
    space = parse_space("mlp5x20")
    merits: dict[int, float] = {}
    sampler = EvolutionSampler(space, 4, merits.__getitem__, tournament=200)
    first = sampler.ask(10)
    merits |= {index: 0.1 for index in first} | {first[6]: 0.9}
    tell_all(sampler, first)

    def distance(child: int, parent: int) -> int:
        return sum(a != b for a, b in zip(space.architecture(child), space.architecture(parent), strict=True))

    assert distance(sampler.ask(1)[0], first[6]) == 1
    # Nothing is told in between: only the merit of what is there has changed.
    merits |= {first[6]: 0.05, first[2]: 0.2}
    assert distance(sampler.ask(1)[0], first[2]) == 1


def test_evolution_is_random_until_its_population_has_been_asked_for() -> None:
    """And as long as nobody has been scored: there is no parent."""
    space = parse_space("mlp4x20")

    def never(index: int) -> float:
        raise AssertionError("no tournament is held")

    sampler = EvolutionSampler(space, 0, never)
    tell_all(sampler, sampler.ask(9))
    sampler.ask(1)
    assert len(EvolutionSampler(space, 0, never).ask(50)) == 50


def test_the_policy_moves_by_the_gradient_of_the_log_probability() -> None:
    space, rate = MlpSpace(2, (8, 16, 32)), 0.7
    merits: dict[int, float] = {}
    sampler = ReinforceSampler(space, 3, merits.__getitem__, learning_rate=rate)

    def learn(index: int, merit: float) -> NDArray[np.float64]:
        merits[index] = merit
        sampler.tell(index)
        sampler.ask(0)
        return sampler.policy

    def step(
        policy: NDArray[np.float64], drawn_from: NDArray[np.float64], index: int, advantage: float
    ) -> NDArray[np.float64]:
        chosen = np.array([[width == here for width in space.widths] for here in space.architecture(index)])
        powers = policy * np.exp(rate * advantage * (chosen - drawn_from))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    uniform = np.full((2, 3), 1 / 3)
    np.testing.assert_allclose(sampler.policy, uniform)
    a, b = sampler.ask(2)
    np.testing.assert_allclose(learn(a, 0.5), uniform, err_msg="the first merit is its own baseline")
    second = learn(b, 0.9)
    np.testing.assert_allclose(second, step(uniform, uniform, b, 0.9 - 0.5), rtol=1e-12)
    # The baseline has moved to 0.9 * 0.5 + 0.1 * 0.9 = 0.54, so that this merit teaches nothing.
    c, d, e = sampler.ask(3)
    np.testing.assert_allclose(learn(c, 0.54), second, rtol=1e-12)
    fourth = learn(d, 1.0)
    np.testing.assert_allclose(fourth, step(second, second, d, 1.0 - 0.54), rtol=1e-12)
    # The last one was drawn before the policy moved on: its gradient is that of the policy it was drawn from.
    np.testing.assert_allclose(learn(e, 0.1), step(fourth, second, e, 0.1 - 0.586), rtol=1e-12)


def test_a_settled_policy_goes_on_with_random_candidates_and_does_not_learn_from_them() -> None:
    space = parse_space("mlp2x10")
    merits: dict[int, float] = {}
    sampler = ReinforceSampler(space, 0, merits.__getitem__, learning_rate=1e6)
    for merit in (0.2, 0.9):
        (index,) = sampler.ask(1)
        merits[index] = merit
        sampler.tell(index)
    (index,) = sampler.ask(1)
    settled = sampler.policy
    assert settled.max(axis=1).tolist() == [1.0, 1.0]
    merits[index] = 0.9
    sampler.tell(index)
    assert len(set(sampler.ask(50))) == 50
    np.testing.assert_array_equal(sampler.policy, settled)


@pytest.mark.parametrize("name", LEARNING)
def test_telling_what_was_not_asked_is_refused(name: str) -> None:
    sampler = make_sampler(name, parse_space("mlp2x10"), 0, lambda index: 1.0)
    (index,) = sampler.ask(1)
    with pytest.raises(InvalidInput, match="was not asked for"):
        sampler.tell((index + 1) % 100)
    sampler.tell(index)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="told already"):
            sampler.tell(index)
        sampler.ask(1)


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("merit", [math.nan, math.inf])
def test_a_merit_that_is_no_number_is_refused(name: str, merit: float) -> None:
    sampler = make_sampler(name, parse_space("mlp2x10"), 0, lambda index: merit)
    tell_all(sampler, sampler.ask(10))
    with pytest.raises(InvalidInput, match=f"has merit {merit}"):
        sampler.ask(1)


def test_an_unknown_sampler_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InvalidInput, match="'annealing'") as caught:
        make_sampler("annealing", parse_space("mlp2x10"), 0, lambda index: 1.0)
    assert all(name in (caught.value.hint or "") for name in SAMPLERS)
    assert set(SAMPLERS) == {"random", "evolution", "reinforcement", "enumeration"}


@every_sampler
def test_bad_arguments_are_refused(name: str) -> None:
    space = parse_space("mlp2x10")
    with pytest.raises(InvalidInput, match="-1"):
        make_sampler(name, space, 0, lambda index: 1.0).ask(-1)
    if name != "enumeration":
        with pytest.raises(InvalidInput, match="-3"):
            make_sampler(name, space, -3, lambda index: 1.0)
    with pytest.raises(InvalidInput):
        EvolutionSampler(space, 0, lambda index: 1.0, tournament=0)
    with pytest.raises(InvalidInput):
        ReinforceSampler(space, 0, lambda index: 1.0, learning_rate=math.nan)
