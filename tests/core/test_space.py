"""The numbering of architectures, their text form, and what is refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trails.errors import InvalidInput
from trails.space import WIDTHS_10, WIDTHS_20, MlpSpace, parse_space

spaces = st.builds(
    MlpSpace,
    layers=st.integers(2, 5),
    widths=st.lists(st.integers(1, 600), min_size=1, max_size=6, unique=True).map(lambda w: tuple(sorted(w))),
)


@given(spaces, st.data())
def test_index_and_architecture_are_inverse(space: MlpSpace, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, space.size - 1))
    architecture = space.architecture(index)
    assert architecture in space
    assert space.index(architecture) == index
    assert space.parse(space.format(architecture)) == architecture


@given(spaces)
def test_last_layer_varies_fastest(space: MlpSpace) -> None:
    for index, expected in zip(range(50), product(space.widths, repeat=space.layers), strict=False):
        assert space.architecture(index) == expected


@given(spaces, st.integers(0, 2**32), st.data())
def test_sample_has_no_repeats_and_follows_the_seed(space: MlpSpace, seed: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, min(space.size, 500)))
    drawn = space.sample(n, seed)
    assert drawn.dtype == np.int64
    assert len(set(drawn.tolist())) == n
    assert all(0 <= index < space.size for index in drawn.tolist())
    np.testing.assert_array_equal(drawn, space.sample(n, seed))


def test_published_spaces_have_their_sizes() -> None:
    assert parse_space("mlp4x20") == MlpSpace(4, WIDTHS_20)
    assert parse_space("mlp4x20").size == 160_000
    assert parse_space("mlp4x10") == MlpSpace(4, WIDTHS_10)
    assert parse_space("mlp4x10").size == 10_000
    assert parse_space("mlp5x20").size == 3_200_000


def test_names_read_back() -> None:
    for layers in range(2, 6):
        for count in (10, 20):
            name = f"mlp{layers}x{count}"
            assert parse_space(name).name == name


@pytest.mark.parametrize("name", ["", "mlp", "mlp1x20", "mlp6x10", "mlp4x15", "MLP4x20", "mlp4x20 "])
def test_unknown_space_lists_the_known_ones(name: str) -> None:
    with pytest.raises(InvalidInput, match="no architecture space") as caught:
        parse_space(name)
    assert "mlp4x20" in (caught.value.hint or "")


def test_parameters_match_a_torch_module() -> None:
    torch = pytest.importorskip("torch")
    modules = [
        torch.nn.Linear(430, 8),
        torch.nn.Linear(8, 512),
        torch.nn.Linear(512, 16),
        torch.nn.Linear(16, 1),
    ]
    expected = sum(weight.numel() for module in modules for weight in module.parameters())
    assert MlpSpace(3, (8, 16, 512)).parameters((8, 512, 16), 430) == expected


@pytest.mark.parametrize(
    "text", ["", "8", "8-8-8", "8-8-8-8-8", "8-8-8-9", "8-8-8-", "8 -8-8-8", "08-8-8-8", "8-8-8-²"]
)
def test_text_that_is_no_architecture_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_space("mlp4x20").parse(text)


@pytest.mark.parametrize("index", [-1, 160_000])
def test_index_outside_the_space_is_refused(index: int) -> None:
    with pytest.raises(InvalidInput, match="159999"):
        parse_space("mlp4x20").architecture(index)


@pytest.mark.parametrize(("layers", "widths"), [(1, (8,)), (6, (8,)), (4, ()), (4, (8, 8)), (4, (16, 8)), (4, (0, 8))])
def test_impossible_spaces_are_refused(layers: int, widths: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput):
        MlpSpace(layers, widths)


def test_sampling_more_than_there_are_is_refused() -> None:
    with pytest.raises(InvalidInput, match="100"):
        parse_space("mlp2x10").sample(101, 0)
