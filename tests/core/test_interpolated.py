"""Numbers between knots: against a textbook, at the ends, where nothing is to be told apart, far out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.core.test_encoder import number, table
from trails.table.columns import Column
from trails.table.encoder import Encoded, Encoder
from trails.table.fields import FIRST_SLOT, NULL, Field
from trails.table.fitting import Fitting, fit_field

FINITE = st.floats(-1e12, 1e12, allow_nan=False)
ANY = st.floats(allow_nan=True, allow_infinity=True)


def fitted(values: list[float], bins: int = 32) -> Field:
    return fit_field(number(values), "value", Fitting(bins=bins))


def vectors(encoded: Encoded, tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a row reads of its only field: the share of its own vector and of the next one."""
    assert encoded.shares is not None and encoded.values is None
    ids, share = encoded.ids[:, 0], encoded.shares[:, :1].astype(np.float64)
    return (1 - share) * tables[ids] + share * tables[np.minimum(ids + 1, len(tables) - 1)]


@given(st.lists(FINITE, min_size=1, max_size=60), st.integers(1, 9), st.lists(ANY, max_size=9))
def test_a_vector_is_what_numpy_interpolates(values: list[float], bins: int, others: list[float]) -> None:
    encoder = Encoder.fit(table(number(values)), Fitting(bins=bins))
    (field,) = encoder.parts
    assert field.encoding == "interpolated" and 1 <= len(field.edges) <= bins + 1
    assert field.edges[0] == min(values) and field.edges[-1] == max(values) and (np.diff(field.edges) > 0).all()
    together = np.array([*values, *others])
    encoded = encoder.transform(table(number(together.tolist())))
    assert encoded.shares is not None and (encoded.shares >= 0.0).all() and (encoded.shares <= 1.0).all()
    tables = np.random.default_rng(0).normal(size=(encoder.ids, 3))
    found, absent = vectors(encoded, tables), np.isnan(together)
    assert (encoded.ids[absent, 0] == NULL).all() and (encoded.shares[absent] == 0.0).all()
    for place in range(3):
        wanted = np.interp(together[~absent], field.edges, tables[FIRST_SLOT:, place])
        np.testing.assert_allclose(found[~absent, place], wanted, atol=2e-6)


@given(st.lists(FINITE, min_size=2, max_size=60, unique=True), st.integers(1, 9))
def test_what_is_read_goes_on_at_knots_and_stands_still_beyond_the_last(values: list[float], bins: int) -> None:
    encoder = Encoder.fit(table(number(values)), Fitting(bins=bins))
    knots = encoder.parts[0].edges
    tables = np.random.default_rng(1).normal(size=(encoder.ids, 2))
    around = [np.nextafter(knots, -np.inf), knots, np.nextafter(knots, np.inf)]
    below, at, above = (vectors(encoder.transform(table(number(x.tolist()))), tables) for x in around)
    np.testing.assert_allclose(at, tables[FIRST_SLOT:])
    # Single precision of a share is what two neighbours may differ by, where knots are not neighbours themselves.
    ways = np.diff(knots)
    apart = np.concatenate([[True], ways > 1e-6 * np.abs(knots).max()])
    assert np.allclose(below[apart], at[apart], atol=1e-4)
    assert np.allclose(above[np.append(apart[1:], True)], at[np.append(apart[1:], True)], atol=1e-4)
    far = vectors(encoder.transform(table(number([-np.inf, -1e300, 1e300, np.inf]))), tables)
    np.testing.assert_allclose(far, tables[[FIRST_SLOT, FIRST_SLOT, -1, -1]])


def test_integers_of_few_values_have_a_knot_each_and_others_lie_between() -> None:
    seen = Column("i", "int32", np.array([1, 2, 5, 5, 9], np.int32))
    encoder = Encoder.fit(table(seen))
    encoded = encoder.transform(table(Column("i", "int32", np.array([0, 1, 2, 3, 5, 7, 9, 12], np.int32))))
    assert encoder.parts[0].edges.tolist() == [1, 2, 5, 9] and encoded.shares is not None
    assert (encoded.ids[:, 0] - FIRST_SLOT).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert encoded.shares[:, 0].tolist() == pytest.approx([0, 0, 0, 1 / 3, 0, 0.5, 0, 0])
    # Beyond what floating-point numbers tell apart they are codes.
    codes = Column("i", "int64", np.array([2**62, 2**62 + 1, 7] * 5))
    assert Encoder.fit(table(codes)).parts[0].categories.tolist() == [7, 2**62, 2**62 + 1]


def test_nothing_to_tell_apart_is_no_error() -> None:
    for values in ([7.0, 7.0, 7.0], [float("nan")] * 3):
        encoder = Encoder.fit(table(number(values)))
        encoded = encoder.transform(table(number([*values, -1.0, 8.0])))
        assert encoder.ids == FIRST_SLOT + 1 and encoded.shares is not None and not encoded.shares.any()
        assert encoder.parts[0].positions.tolist() == [0.0]
    two = Encoder.fit(table(number([0.0, 1.0] * 20)))
    assert two.parts[0].edges.tolist() == [0.0, 1.0]
    assert two.parts[0].positions.tolist() == pytest.approx([-0.66, 0.66], abs=0.03)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=True), min_size=1, max_size=60), st.integers(1, 9))
def test_positions_rise_and_none_is_far_out(values: list[float], bins: int) -> None:
    field = fitted(values, bins)
    positions = field.positions
    assert np.isfinite(field.edges).all() and np.isfinite([field.mean, field.std]).all() and field.std > 0
    assert positions.dtype == np.float32 and (np.diff(positions) >= 0).all() and (np.abs(positions) <= 3.0).all()


def test_the_middle_of_a_heavy_tail_is_told_apart() -> None:
    values = np.random.default_rng(0).pareto(1.0, 20_000) * 100.0
    field = fitted(values.tolist())
    # The largest is a hundred thousand times the median; half of the rows still lie well apart.
    assert field.edges[-1] / np.median(values) > 1e3
    low, high = np.interp(np.quantile(values, (0.25, 0.75)), field.edges, field.positions)
    assert high - low > 1.0
    # Standardised values, which the option still has, hardly move.
    scaled = fit_field(number(values.tolist()), "value", Fitting(bins=0))
    assert np.diff(np.quantile(values, (0.25, 0.75)))[0] / scaled.std < 0.2


def test_numbers_near_the_largest_are_told_apart() -> None:
    values = [float(f"{10 + place}e298") for place in range(40)] * 3
    field = fitted([*values, -1e300, float("inf"), -float("inf")])
    assert len(field.edges) > 30 and np.isfinite(field.edges[-1] - field.edges[0])
    encoder = Encoder.fit(table(number(values)))
    encoded = encoder.transform(table(number([1.05e299, 2e299, 3.0e299, 1.7e308])))
    knots, places = encoder.parts[0].edges, encoded.ids[:, 0] - FIRST_SLOT
    assert len(set(places.tolist())) == 4 and places[-1] == len(knots) - 1
    assert encoded.shares is not None and np.isfinite(encoded.shares).all()


def test_many_rows_are_encoded_at_microseconds_a_row() -> None:
    column = number(np.random.default_rng(0).normal(size=200_000).tolist())
    encoder = Encoder.fit(table(column))
    from time import process_time

    seconds = []
    for _ in range(3):
        begin = process_time()
        encoder.transform(table(column))
        seconds.append(process_time() - begin)
    assert min(seconds) / 200_000 < 2e-6


def test_ids_that_were_numbered_through_are_categories_and_amounts_are_not() -> None:
    generator = np.random.default_rng(0)

    def drawn(name: str, low: int, high: int) -> Column:
        return Column(name, "int64", generator.integers(low, high, 400, np.int64))

    def encodings(*columns: Column, **options: tuple[str, ...]) -> list[str]:
        return [part.encoding for part in Encoder.fit(table(*columns), Fitting(**options)).parts]

    # A list of ids: the users', then the items', then the countries', of which some are not among these rows.
    ids = [drawn("user", 0, 90), drawn("item", 92, 240), drawn("country", 242, 250)]
    assert encodings(*ids) == ["categories"] * 3
    assert encodings(*ids, number([0.5, 1.5] * 200)) == ["categories"] * 3 + ["interpolated"]
    assert encodings(*ids, numbers=("item",)) == ["categories", "interpolated", "categories"]
    # Two are no list, and neither are ranges that overlap or lie apart.
    assert encodings(*ids[:2]) == ["interpolated"] * 2
    assert encodings(*ids, drawn("age", 18, 90)) == ["interpolated"] * 4
    assert encodings(drawn("age", 18, 90), drawn("year", 1990, 2020), drawn("mark", 5000, 5100)) == ["interpolated"] * 3
