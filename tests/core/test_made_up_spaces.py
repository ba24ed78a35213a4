"""Spaces that are no MLPs: cells with the same and with different choices, found by name, searched, shortlisted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.core.made_up import MadeUp, TableScoring
from trails import bridge
from trails.errors import InvalidInput
from trails.family import Design
from trails.family.mlp import MLP
from trails.filtering import Scorer, rank_scores, rank_space, score_pool
from trails.filtering import shortlist as places_offered
from trails.filtering.phase import FilteringRequest, rank, shortlist
from trails.filtering.pool import Pool
from trails.filtering.rows import TableRows
from trails.filtering.samplers import SAMPLERS, EvolutionSampler, ReinforceSampler, make_sampler
from trails.filtering.scoring import jacobian_rows
from trails.filtering.shortlist import PER_SIZE, SIZES
from trails.space import MlpSpace, ProductSpace, parse_space, register_space, registry
from trails.table.columns import Column, Columns
from trails.tfmem import REGISTRY, Batch, ScoringSetting, parse_tfmems

CELLS = ((0, 1, 2, 3, 4),) * 6
RAGGED = ((0, 1, 2), (7,), (5, 3, 9, 1, 0), (2, 4))

# As benchmarks of cells publish them: one number for each architecture, in any order of architectures.
TABLE = dict(
    zip(product(*CELLS), np.random.default_rng(0).permutation(5**6).astype(float) / 5**6 + 1.0, strict=True),
)
BEST = max(TABLE, key=TABLE.__getitem__)


def near(design: Design) -> float:
    """Rises towards one design, so that there is something to learn."""
    return -float(sum((a - b) ** 2 for a, b in zip(design, (4, 1, 3, 0, 2, 2), strict=True)))


FAMILY = MadeUp(TableScoring({"snip": TABLE.__getitem__, "expressflow": TABLE.__getitem__, "fisher": near}))
SPACE = ProductSpace(CELLS, FAMILY, "cells")
ROWS = Batch(np.random.default_rng(0).standard_normal((4, 7)), np.array([0.0, 1.0, 0.0, 1.0]))
SETTING = ScoringSetting(7, 3, (ROWS,))

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
choices = st.lists(
    st.lists(st.integers(-9, 99), min_size=1, max_size=6, unique=True).map(tuple), min_size=1, max_size=6
).map(tuple)
spaces = st.builds(ProductSpace, choices=choices, family=st.just(FAMILY), name=st.just("drawn"))


@given(spaces, st.data())
def test_index_and_architecture_are_inverse(space: ProductSpace, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, space.size - 1))
    design = space.architecture(index)
    assert design in space
    assert space.index(design) == index
    assert space.parse(space.format(design)) == design
    places = [own.index(value) for own, value in zip(space.choices, design, strict=True)]
    assert space.indices(np.array([places, places])).tolist() == [index, index]


@given(spaces)
def test_last_position_varies_fastest(space: ProductSpace) -> None:
    assert space.size == math.prod(map(len, space.choices))
    for index, expected in zip(range(100), product(*space.choices), strict=False):
        assert space.architecture(index) == expected


@given(spaces, st.integers(0, 2**32), st.data())
def test_a_sample_has_no_repeats_and_follows_the_seed(space: ProductSpace, seed: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, min(space.size, 300)))
    drawn = space.sample(n, seed)
    assert len(set(drawn.tolist())) == n
    assert all(0 <= index < space.size for index in drawn.tolist())
    np.testing.assert_array_equal(drawn, space.sample(n, seed))


@given(spaces, st.integers(0, 2**32), st.data())
def test_a_mutant_differs_in_one_position(space: ProductSpace, seed: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, space.size - 1))
    generator = np.random.default_rng(seed)
    if space.size == 1:
        with pytest.raises(InvalidInput, match="has no neighbour"):
            space.mutate(index, generator)
        return
    before, after = space.architecture(index), space.architecture(space.mutate(index, generator))
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_every_neighbour_is_as_likely() -> None:
    """Of 7 neighbours each comes 1,000 times in 7,000; six standard deviations are 176."""
    space, generator = ProductSpace(RAGGED, FAMILY, "ragged"), np.random.default_rng(1)
    index = space.index((1, 7, 9, 4))
    drawn, counts = np.unique([space.mutate(index, generator) for _ in range(7000)], return_counts=True)
    assert len(drawn) == 2 + 0 + 4 + 1
    assert np.abs(counts - 1000).max() < 176


@pytest.mark.parametrize("wrong", [(), ((),), ((0, 1), ()), ((0, 0),), ((0, 1),) * 63])
def test_impossible_choices_are_refused(wrong: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(InvalidInput, match="space wrong"):
        ProductSpace(wrong, FAMILY, "wrong")


def test_what_is_not_in_the_space_is_refused_with_what_is() -> None:
    space = ProductSpace(RAGGED, FAMILY, "ragged")
    for text in ("0.7.5", "0.7.5.3", "7.7.7.7"):
        with pytest.raises(InvalidInput, match="not in space ragged") as caught:
            space.parse(text)
        assert "'0.7.5.2' to '2.7.0.4'" in (caught.value.hint or "")
    with pytest.raises(InvalidInput, match="is not an architecture"):
        space.parse("0-7-5-2")


@every_sampler
def test_every_sampler_scores_different_cells_by_their_table(sampler: str) -> None:
    pool = score_pool(SPACE, parse_tfmems("snip"), SETTING, n=300, sampler=sampler)
    assert len(set(pool.indices.tolist())) == 300
    expected = [TABLE[SPACE.architecture(index)] for index in pool.indices.tolist()]
    np.testing.assert_array_equal(pool.scores[0], expected)
    again = score_pool(SPACE, parse_tfmems("snip"), ScoringSetting(7, 3, (ROWS,), workers=2), n=300, sampler=sampler)
    np.testing.assert_array_equal(pool.indices, again.indices)


@every_sampler
def test_every_sampler_exhausts_spaces_of_unequal_positions(sampler: str) -> None:
    space = ProductSpace(RAGGED, FAMILY, "ragged")
    found = search(space, sampler, np.ones(space.size), space.size + 10)
    assert sorted(found) == list(range(space.size))


@every_sampler
def test_the_best_of_all_cells_is_found_when_all_are_scored(sampler: str) -> None:
    space = ProductSpace(CELLS[:4], MadeUp(TableScoring({"snip": lambda design: TABLE[(*design, 0, 0)]})), "four cells")
    pool = score_pool(space, parse_tfmems("snip"), SETTING, n=space.size, sampler=sampler)
    (best,) = pool.best(1)
    found = space.architecture(int(pool.indices[best]))
    assert TABLE[(*found, 0, 0)] == max(TABLE[(*design, 0, 0)] for design in product(*CELLS[:4]))


@pytest.mark.parametrize("sampler", ["evolution", "reinforcement"])
def test_learning_finds_better_cells_than_chance(sampler: str) -> None:
    def tenth_best(name: str) -> float:
        """The tenth best score among 500 scored cells: the median over five seeds."""
        found = []
        for seed in range(5):
            pool = score_pool(SPACE, parse_tfmems("fisher"), ScoringSetting(7, seed, (ROWS,)), n=500, sampler=name)
            found.append(np.sort(pool.scores[0])[-10])
        return float(np.median(found))

    assert tenth_best(sampler) > tenth_best("random")


def test_the_policy_has_a_place_for_every_choice_and_none_beyond() -> None:
    space = ProductSpace(RAGGED, FAMILY, "ragged")
    merits: dict[int, float] = {}
    sampler = ReinforceSampler(space, 5, merits.__getitem__)
    held = np.array([[place < len(own) for place in range(5)] for own in RAGGED])
    np.testing.assert_allclose(sampler.policy, held / held.sum(axis=1, keepdims=True))
    wanted = space.index((2, 7, 1, 4))
    for _ in range(space.size // 2):
        for index in sampler.ask(1):
            design = space.architecture(index)
            merits[index] = sum(a == b for a, b in zip(design, space.architecture(wanted), strict=True)) / 4
            sampler.tell(index)
    sampler.ask(0)
    policy = sampler.policy
    assert (policy[~held] == 0).all()
    np.testing.assert_allclose(policy.sum(axis=1), 1.0)
    assert [int(places.argmax()) for places in policy] == [2, 0, 3, 1]


def test_children_of_cells_differ_from_their_parent_in_one_position() -> None:
    space = ProductSpace(RAGGED, FAMILY, "ragged")
    sampler = EvolutionSampler(space, 2, lambda index: 1.0, population=1)
    (parent,) = sampler.ask(1)
    sampler.tell(parent)
    (child,) = sampler.ask(1)
    pairs = zip(space.architecture(parent), space.architecture(child), strict=True)
    assert sum(a != b for a, b in pairs) == 1


class Odd(ProductSpace):
    """Combinations whose first two cells are alike are no architectures, but keep their numbers."""

    def indices(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(places[:, 0] == places[:, 1], -1, super().indices(places))


def test_a_policy_never_proposes_what_the_space_does_not_have() -> None:
    space = Odd(((0, 1, 2),) * 6, FAMILY, "odd")
    sampler = ReinforceSampler(space, 1, lambda index: 1.0)
    designs = [space.architecture(index) for index in sampler.ask(100)]
    assert all(design[0] != design[1] for design in designs)


def search(space: ProductSpace, sampler: str, scores: NDArray[np.float64], n: int) -> list[int]:
    """Ask for ``n`` candidates, ten at a time."""
    pool = Pool(["higher"])
    source = make_sampler(sampler, space, 1, pool.merit)
    found: list[int] = []
    while indices := source.ask(min(10, n - len(found))):
        for index in indices:
            pool.add(index, [float(scores[index])])
            source.tell(index)
        found += indices
    return found


@pytest.mark.parametrize("best", [0, 250])
def test_the_shortlist_has_the_best_of_every_size(best: int) -> None:
    pool = score_pool(SPACE, parse_tfmems("snip"), SETTING, n=3000, sampler="random")
    chosen = places_offered(SPACE, pool, 7, best)
    ranked = pool.indices[rank_scores(pool.merits, pool.merits.size)].tolist()
    offered = pool.indices[chosen].tolist()
    assert offered[: max(best, PER_SIZE)] == ranked[: max(best, PER_SIZE)]
    weights = {index: SPACE.parameters(SPACE.architecture(index), 7) for index in ranked}
    largest = max(weights.values())
    for halvings in range(SIZES):
        small = [index for index in ranked if weights[index] <= largest >> halvings]
        assert set(small[:PER_SIZE]) <= set(offered)


def test_a_metric_without_a_whole_space_is_scored_one_by_one() -> None:
    assert not Scorer(SPACE, parse_tfmems("expressflow"), SETTING).at_once(REGISTRY["expressflow"])
    pool = score_pool(SPACE, parse_tfmems("expressflow"), SETTING, n=SPACE.size)
    assert SPACE.architecture(int(pool.indices[pool.best(1)[0]])) == BEST
    counted = score_pool(SPACE, parse_tfmems("params"), SETTING, n=200, sampler="random")
    designs = [SPACE.architecture(index) for index in counted.indices.tolist()]
    assert counted.scores[0].tolist() == [7 * (1 + sum(design)) for design in designs]


def test_a_metric_that_the_family_does_not_know_is_refused_by_name() -> None:
    for refused in (
        lambda: score_pool(SPACE, parse_tfmems("snip+grasp"), SETTING),
        lambda: rank_space(SPACE, 7, 0, 5, "grasp"),
    ):
        with pytest.raises(InvalidInput, match="metric 'grasp' cannot score networks of family 'made-up'"):
            refused()
    with pytest.raises(InvalidInput, match="cannot score a whole space without rows"):
        rank_space(SPACE, 7, 0, 5, "expressflow")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProductSpace]:
    monkeypatch.setattr(registry, "_SPACES", dict(registry._SPACES))
    register_space(SPACE)
    yield SPACE


def test_a_registered_space_is_found_by_name_wherever_names_are_taken(registered: ProductSpace) -> None:
    assert parse_space("cells") is registered
    with pytest.raises(InvalidInput, match="'cells' already"):
        register_space(registered)
    with pytest.raises(InvalidInput, match="no architecture space 'cell'") as caught:
        parse_space("cell")
    assert (caught.value.hint or "").endswith("mlp5x20, cells.")
    asked = {"space": "cells", "tfmem": "snip", "n": 100, "k": 5, "sampler": "evolution"}
    bridge.check_filtering(asked, target=True)
    with pytest.raises(InvalidInput, match="metric 'grasp' cannot score networks of family 'made-up'"):
        bridge.check_filtering({"space": "cells", "tfmem": "grasp"}, target=True)
    with pytest.raises(InvalidInput, match="has 15625 architectures"):
        bridge.check_filtering({"space": "cells", "tfmem": "snip", "n": 15_626}, target=True)
    assert bridge.check_architectures("cells", ["0.1.2.3.4.0"]) == ["0.1.2.3.4.0"]
    with pytest.raises(InvalidInput, match="not in space cells"):
        bridge.check_architectures("cells", ["0.1.2.3.4.5"])


def test_a_table_of_rows_is_shortlisted_and_ranked_for_cells(registered: ProductSpace) -> None:
    ids = np.random.default_rng(2).integers(0, 50, (400, 3))
    features = tuple(Column(f"c{place}", "int64", ids[:, place].copy()) for place in range(3))
    rows = TableRows(Columns(400, features), Column("y", "int64", ids[:, 0] % 2))
    found = shortlist(rows, FilteringRequest("cells", "snip", n=500, k=20, batch_size=16), None, 1)
    assert (found.scored, found.failed) == (500, 0)
    assert found.scores.tolist() == [TABLE[registered.parse(name)] for name in found.architectures]
    assert (np.diff(found.scores) <= 0).all()
    asked = FilteringRequest("cells", "snip+params", n=500, k=3, batch_size=16, sampler="random")
    best = rank(rows, asked, 1).architectures
    assert len(best) == 3
    for one in best:
        design = registered.parse(one.architecture)
        assert (one.parameters, one.flops) == (30 * (1 + sum(design)), 60 * sum(design))


def test_mlps_with_other_widths_at_every_layer_are_scored_as_those_of_one_grid() -> None:
    """One by one where no algorithm scores the whole space; weights come from a bank of the same size."""
    grid = MlpSpace(3, (4, 9, 20))
    ragged = ProductSpace(((20, 4), (9,), (4, 9, 20)), MLP, "ragged")
    setting = ScoringSetting(7, 3, (ROWS, Batch(ROWS.x[::-1].copy(), ROWS.y)))
    places = [grid.index(ragged.architecture(index)) for index in range(ragged.size)]
    for name, metric in REGISTRY.items():
        if metric.combines:
            continue
        scorer = Scorer(ragged, [metric], setting)
        assert not scorer.at_once(metric)
        scores = scorer.scores(np.arange(ragged.size)).scores[0]
        expected = Scorer(grid, [metric], setting).scores(np.array(places)).scores[0]
        np.testing.assert_allclose(scores, expected, rtol=1e-6, err_msg=name)
    weights = [ragged.parameters(ragged.architecture(index), 7) for index in range(ragged.size)]
    assert ragged.parameters_at(np.arange(ragged.size), 7).tolist() == weights
    assert jacobian_rows(ragged, Batch(np.random.default_rng(0).standard_normal((30, 40)))) == 4
