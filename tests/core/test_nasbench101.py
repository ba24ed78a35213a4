"""Cells of NAS-Bench-101: texts, matrices, isomorphism, counts, and the space that they make."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.cells import CELLS_101, counted
from trails.errors import InvalidInput
from trails.family.cell import counts101
from trails.family.cell.counts101 import channels
from trails.family.cell.graphs101 import firsts, graphs
from trails.family.cell.nasbench101 import (
    CONV1,
    CONV3,
    OPERATIONS,
    POOL,
    POSITIONS,
    Cell,
    cell_of,
    design_of,
    fingerprint,
    from_matrix,
    pruned,
    to_matrix,
)
from trails.family.cell.networks import network_of
from trails.filtering import score_pool
from trails.filtering.samplers import SAMPLERS
from trails.space.nasbench101 import Nasbench101Space
from trails.tfmem import ScoringSetting, parse_tfmems

SPACE = Nasbench101Space()
indices = st.integers(0, SPACE.size - 1)


def other_forms(cell: Cell) -> list[Cell]:
    """The same cell with its inner vertices in every order in which edges lead upwards."""
    found = []
    last = cell.vertices - 1
    for order in permutations(range(1, last)):
        to = (0, *order, last)
        edges = tuple(sorted((to[a], to[b]) for a, b in cell.edges))
        if all(a < b for a, b in edges):
            operations = [0] * len(order)
            for vertex, operation in enumerate(cell.operations, start=1):
                operations[to[vertex] - 1] = operation
            found.append(Cell(edges, tuple(operations)))
    return found


def test_there_are_as_many_cells_as_published() -> None:
    assert SPACE.size == 423_624
    assert [len(found.masks) for found in graphs()] == [1, 2, 10, 97, 810, 1574]
    assert firsts() == (0, 1, 7, 91, 2532, 64_542, 423_624)


@given(indices)
def test_index_and_architecture_are_inverse(index: int) -> None:
    design = SPACE.architecture(index)
    assert SPACE.index(design) == index and design in SPACE
    assert SPACE.parse(SPACE.format(design)) == design
    assert from_matrix(*to_matrix(design)) == design
    assert design_of(cell_of(design)) == design
    assert SPACE.indices(np.array([design, (0,) * 26])).tolist() == [index, -1]


@settings(deadline=None)
@given(indices)
def test_every_form_of_a_cell_is_the_same(index: int) -> None:
    cell = cell_of(SPACE.architecture(index))
    forms = [design_of(form) for form in other_forms(cell)]
    assert SPACE.architecture(index) in forms
    assert {SPACE.index(form) for form in forms} == {index}
    assert len({fingerprint(form) for form in forms}) == 1


def test_no_two_cells_have_the_same_hash() -> None:
    drawn = [*range(91), *SPACE.sample(2000, 1).tolist()]
    assert len({fingerprint(SPACE.architecture(index)) for index in set(drawn)}) == len(set(drawn))


@pytest.mark.parametrize(
    ("text", "hashed", "parameters"),
    [
        ("I3M331O.100110100001001010101", "00005c142e6f48ac74fdcf73e3439874", 8_555_530),
        ("I11313O.100000100001000111101", "0000718c96730a92ea6d5242f8ce77e2", 5_878_154),
        ("I3M1M1O.100010100101000101101", "0000cb5372fad9d62c470df699ac6d52", 3_729_162),
    ],
)
def test_hashes_and_parameters_are_those_published(text: str, hashed: str, parameters: int) -> None:
    design = SPACE.parse(text)
    assert (fingerprint(design), counts101.parameters(design)) == (hashed, parameters)


def test_what_lies_on_no_way_is_pruned() -> None:
    dangling = ((0, 1), (0, 2), (1, 4), (3, 4))
    assert pruned(Cell(dangling, (POOL, CONV1, CONV3))) == Cell(((0, 1), (1, 2)), (POOL,))
    assert pruned(Cell(((0, 1), (2, 3)), (POOL, CONV3))) is None
    assert SPACE.index(design_of(Cell(dangling, (POOL, CONV1, CONV3)))) == SPACE.index(SPACE.parse("IMO.101"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no cell of NAS-Bench-101"),
        ("I3O.1", "no cell of NAS-Bench-101"),
        ("I3M331O.10011010000100101010", "no cell of NAS-Bench-101"),
        ("I7O.101", "no cell of NAS-Bench-101"),
        ("I33O.100001", "cannot be reached"),
        ("I33333O.111111111111111111111", "at most 7 vertices and 9 edges"),
    ],
)
def test_what_is_no_cell_is_refused(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        SPACE.parse(text)


def test_invalid_matrices_are_refused() -> None:
    names = ["input", OPERATIONS[0], "output"]
    for matrix, operations, told in (
        ([[0, 1], [0, 0]], names, "square"),
        ([[0, 1, 0], [0, 0, 2], [0, 0, 0]], names, "zeros and ones"),
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], names, "upper triangular"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["input", "conv5x5", "output"], "operations are input"),
        ([[0, 1, 0], [0, 0, 0], [0, 0, 0]], names, "cannot be reached"),
    ):
        with pytest.raises(InvalidInput, match=told):
            from_matrix(matrix, operations)
    eight = np.eye(8, k=1, dtype=int)
    with pytest.raises(InvalidInput, match="at most 7 vertices"):
        from_matrix(eight.tolist(), ["input", *[OPERATIONS[0]] * 6, "output"])
    eight[0, :] = [0, 1, 0, 0, 0, 0, 0, 1]
    eight[6, 7] = 0
    assert to_matrix(from_matrix(eight.tolist(), ["input", *[OPERATIONS[0]] * 6, "output"]))[1] == ["input", "output"]
    assert (0, 1) not in SPACE and "IO.1" not in SPACE and (2,) * 26 not in SPACE


@settings(deadline=None)
@given(indices, st.sampled_from([(128, 128), (128, 256), (256, 512)]))
def test_channels_add_up_and_never_shrink_on_the_way(index: int, widths: tuple[int, int]) -> None:
    cell = cell_of(SPACE.architecture(index))
    before, after = widths
    found = channels(cell, before, after)
    beside = [found[source] for source in cell.into(cell.vertices - 1) if source]
    assert found[0] == before and found[-1] == after
    assert not beside or (sum(beside) == after and max(beside) - min(beside) <= 1 and beside == sorted(beside)[::-1])
    assert all(found[a] >= found[b] for a, b in cell.edges if a and b < cell.vertices - 1)


@pytest.mark.parametrize("text", CELLS_101)
def test_counts_are_those_of_the_network(text: str) -> None:
    design = SPACE.parse(text)
    network = network_of("nasbench101", design, 1)
    assert sum(tensor.numel() for tensor in network.parameters()) == counts101.parameters(design)
    for side in (8, 10):
        assert counts101.flops(design, side) == counted(network, side)


@settings(deadline=None)
@given(indices, st.integers(0, 99))
def test_mutants_are_other_cells(index: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    changed = SPACE.mutate(index, generator)
    assert changed != index and 0 <= changed < SPACE.size
    assert changed == SPACE.mutate(index, np.random.default_rng(seed))


def test_mutants_gain_and_lose_vertices() -> None:
    generator = np.random.default_rng(0)
    small, large = 50, SPACE.size - 1
    grown = {cell_of(SPACE.architecture(SPACE.mutate(small, generator))).vertices for _ in range(100)}
    shrunk = {cell_of(SPACE.architecture(SPACE.mutate(large, generator))).vertices for _ in range(100)}
    assert max(grown) > cell_of(SPACE.architecture(small)).vertices and min(shrunk) < 7


def test_a_sample_is_uniform_over_cells() -> None:
    """Six standard deviations around the share of cells with seven vertices, 0.8476."""
    drawn = SPACE.sample(4000, 3)
    assert len(set(drawn.tolist())) == 4000
    share = float(np.mean(drawn >= firsts()[-2]))
    assert abs(share - (firsts()[-1] - firsts()[-2]) / SPACE.size) < 6 * (0.8476 * 0.1524 / 4000) ** 0.5
    for wrong in (-1, SPACE.size + 1):
        with pytest.raises(InvalidInput, match="cannot sample"):
            SPACE.sample(wrong, 1)
    with pytest.raises(InvalidInput, match="architectures 0 to 423623"):
        SPACE.architecture(SPACE.size)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches_it(sampler: str) -> None:
    pool = score_pool(SPACE, parse_tfmems("flops"), ScoringSetting(3 * 32 * 32, 1), n=60, sampler=sampler)
    assert len(set(pool.indices.tolist())) == 60
    found = [counts101.flops(SPACE.architecture(index), 32) for index in pool.indices.tolist()]
    assert pool.scores[0].tolist() == found
    assert SPACE.parameters_at(pool.indices[:3], 3072).tolist() == [
        SPACE.parameters(SPACE.architecture(index), 3072) for index in pool.indices[:3].tolist()
    ]


def test_designs_have_a_number_for_every_choice() -> None:
    assert len(SPACE.choices) == len(POSITIONS) + 5 and {len(own) for own in SPACE.choices} == {2, 3}
