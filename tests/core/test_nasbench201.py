"""Cells of NAS-Bench-201: texts, classes, counts, and the space that they make."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.cells import CELLS_201, counted
from trails.errors import InvalidInput
from trails.family import Design
from trails.family.cell import CELLS_201 as FAMILY
from trails.family.cell import nasbench201
from trails.family.cell.nasbench201 import CONV1, CONV3, EDGES, NONE, POOL, SKIP, class_of
from trails.family.cell.networks import network_of
from trails.filtering import score_pool
from trails.filtering.samplers import SAMPLERS
from trails.space import parse_space, picture_space
from trails.space.nasbench201 import Nasbench201Space
from trails.tfmem import ScoringSetting, parse_tfmems

SPACE = Nasbench201Space()
designs = st.tuples(*[st.integers(0, 4)] * len(EDGES))


@given(designs)
def test_texts_are_read_as_they_are_written(design: Design) -> None:
    assert SPACE.parse(SPACE.format(design)) == design
    assert SPACE.architecture(SPACE.index(design)) == design
    assert nasbench201.from_naslib(nasbench201.to_naslib(design)) == design


def test_official_texts_and_numbers_of_naslib_mean_the_same() -> None:
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
    design = nasbench201.read(text)
    assert dict(zip(EDGES, design, strict=True)) == {
        (0, 1): CONV3,
        (0, 2): CONV3,
        (1, 2): POOL,
        (0, 3): SKIP,
        (1, 3): CONV3,
        (2, 3): SKIP,
    }
    assert nasbench201.from_naslib((2, 2, 0, 4, 2, 0)) == design


@pytest.mark.parametrize(
    "text",
    [
        "",
        "64-32",
        "|nor_conv_3x3~0|+|none~0|none~1|",
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~1|",
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_5x5~2|",
        "|nor_conv_3x3~0|+|none~1|none~0|+|none~0|none~1|none~2|",
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|+",
        "|none~0|" * 1000,
    ],
)
def test_what_is_no_cell_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"no cell of NAS-Bench-201") as refused:
        SPACE.parse(text)
    assert "nor_conv_3x3~0" in (refused.value.hint or "")


def test_numbers_of_naslib_are_checked() -> None:
    for wrong in ((0,) * 5, (0, 0, 0, 0, 0, 5)):
        with pytest.raises(InvalidInput, match="six numbers from 0 to 4"):
            nasbench201.from_naslib(wrong)


def test_there_are_as_many_classes_as_published() -> None:
    first = SPACE.representatives
    assert len(set(first.tolist())) == 6466
    assert (first <= np.arange(SPACE.size)).all() and (first[first] == first).all()
    classes = [class_of(design) for design in product(range(5), repeat=6)]
    assert all(classes[index] == classes[found] for index, found in enumerate(first.tolist()))


def test_cells_whose_first_node_is_the_input_are_one_class_with_their_mirror() -> None:
    for b, c, d, e, f in product(range(5), repeat=5):
        assert class_of((SKIP, b, c, d, e, f)) == class_of((SKIP, c, b, e, d, f))
    assert class_of((CONV3, NONE, SKIP, NONE, NONE, CONV1)) != class_of((CONV3, NONE, SKIP, NONE, NONE, CONV3))


def test_a_class_has_one_count_of_what_is_reached() -> None:
    """Isomorphic cells have the same operations on every way from input to output."""
    first = SPACE.representatives
    for index in SPACE.sample(500, 1).tolist():
        ways = [_ways(SPACE.architecture(place)) for place in (index, int(first[index]))]
        assert ways[0] == ways[1]


def _ways(design: Design) -> Counter[tuple[int, ...]]:
    """Every way of edges that let something through, as its operations but for skips."""
    there = {edge: operation for edge, operation in zip(EDGES, design, strict=True) if operation != NONE}
    found: Counter[tuple[int, ...]] = Counter()
    for nodes in ((0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)):
        edges = list(pairwise(nodes))
        if all(edge in there for edge in edges):
            found[tuple(there[edge] for edge in edges if there[edge] != SKIP)] += 1
    return found


def test_counts_are_those_published() -> None:
    for numbers, parameters, flops in (
        ((0, 2, 3, 2, 3, 1), 615_386, 88_307_392),
        ((4, 0, 4, 1, 2, 0), 316_346, 46_343_872),
        ((1, 0, 2, 2, 2, 1), 802_426, 115_402_432),
    ):
        design = nasbench201.from_naslib(numbers)
        assert (nasbench201.parameters(design), nasbench201.flops(design)) == (parameters, flops)
    assert nasbench201.parameters((CONV3,) * 6) == 1_531_546
    assert nasbench201.parameters((NONE,) * 6) == nasbench201.parameters((POOL, SKIP) * 3) == 73_306


@pytest.mark.parametrize("classes", [10, 120])
@pytest.mark.parametrize("text", CELLS_201)
def test_counts_are_those_of_the_network(text: str, classes: int) -> None:
    design = nasbench201.read(text)
    network = network_of("nasbench201", design, 1, classes)
    assert sum(tensor.numel() for tensor in network.parameters()) == nasbench201.parameters(design, classes)
    for side in (16, 20):
        last = 64 * (side // 4 + 1) ** 2
        assert nasbench201.flops(design, side, classes) == counted(network, side) + last


def test_the_space_is_found_where_pictures_are_and_refused_where_tables_are() -> None:
    assert picture_space("nasbench201").size == 15_625
    with pytest.raises(InvalidInput, match="is of networks for pictures, not for the columns of a table"):
        parse_space("nasbench201")
    with pytest.raises(InvalidInput, match="no space of networks for pictures 'nasbench'"):
        picture_space("nasbench")
    with pytest.raises(InvalidInput, match="are not trained here, their accuracies are recorded") as refused:
        _ = FAMILY.networks
    assert "200 epochs" in (refused.value.detail or "") and "bench.open" in (refused.value.hint or "")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches_it(sampler: str) -> None:
    pool = score_pool(SPACE, parse_tfmems("params"), ScoringSetting(3 * 32 * 32, 1), n=120, sampler=sampler)
    found = [nasbench201.parameters(SPACE.architecture(index)) for index in pool.indices.tolist()]
    assert pool.scores[0].tolist() == found and len(set(pool.indices.tolist())) == 120
