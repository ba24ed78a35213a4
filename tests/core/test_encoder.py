"""From columns of every kind to embedding rows: parts, bins, rare and unknown categories, and what is stored."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from trails.errors import InvalidInput
from trails.table.columns import Column, Columns, Texts
from trails.table.encoder import Encoder
from trails.table.fields import FIRST_SLOT, NULL, UNKNOWN, keys_of
from trails.table.fitting import Fitting, fit_field
from trails.training.options import Options, parse_options


def texts(values: list[str | None], name: str = "t", known: int = 1 << 16) -> Column:
    """A text column as the reader makes it."""
    hashes = [0 if v is None else xxhash.xxh3_64_intdigest(v.encode()) for v in values]
    data = np.array(hashes, np.uint64).view(np.int64)
    distinct = list(dict.fromkeys(v for v in values if v is not None))[:known]
    spelt = [v.encode() for v in distinct]
    kept = np.array([xxhash.xxh3_64_intdigest(v) for v in spelt], np.uint64).view(np.int64)
    ends = np.cumsum([len(v) for v in spelt], dtype=np.uint32)
    nulls = np.array([v is None for v in values], np.uint8)
    return Column(name, "text", data, None, nulls, Texts(kept, ends, np.frombuffer(b"".join(spelt), np.uint8)))


def table(*columns: Column) -> Columns:
    return Columns(len(columns[0].data), columns)


def number(values: list[float], kind: str = "float64") -> Column:
    return Column("x", kind, np.array(values, np.float32 if kind == "float32" else np.float64))


@given(st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59)))
def test_parts_of_a_date_are_the_calendars(moment: datetime.datetime) -> None:
    passed = moment - datetime.datetime(2000, 1, 1)
    micros = passed // datetime.timedelta(microseconds=1)
    stamp = Column("s", "timestamp", np.array([micros], np.int64))
    day = Column("d", "date", np.array([passed // datetime.timedelta(days=1)], np.int32))
    for column in (stamp, day):
        assert keys_of(column, "month").tolist() == [moment.month]
        assert keys_of(column, "weekday").tolist() == [moment.isoweekday()]
    assert keys_of(stamp, "hour").tolist() == [moment.hour]


@given(
    st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=80),
    st.integers(2, 9),
    st.lists(st.floats(allow_nan=False), max_size=9),
)
def test_bins_keep_the_order_of_numbers_and_hold_about_equally_many(
    values: list[float], bins: int, others: list[float]
) -> None:
    field = fit_field(number(values), "value", Fitting(bins=bins, numbers_as="bins"))
    assert len(field.edges) < bins and (np.diff(field.edges) > 0).all()
    together = np.array([*values, *others])
    slots = field.slots_of(number(together.tolist()))
    assert slots.min() >= FIRST_SLOT and slots.max() < field.slots
    order = np.argsort(together)
    assert (np.diff(slots[order]) >= 0).all()
    # Every bin of the training rows holds something, and equal numbers are together.
    assert len(set(slots[: len(values)].tolist())) == len(field.edges) + 1
    distinct = len(set(values))
    assert len(field.edges) + 1 == distinct if distinct <= bins and len(values) == distinct else True


def test_a_value_that_most_rows_hold_leaves_bins_to_the_others() -> None:
    generator = np.random.default_rng(0)
    values = np.where(generator.random(20_000) < 0.9, 0.0, generator.exponential(100.0, 20_000))
    field = fit_field(number(values.tolist()), "value", Fitting(bins=32, numbers_as="bins"))
    slots = field.slots_of(number(values.tolist()))
    counts = np.bincount(slots[values > 0])[FIRST_SLOT + 1 :]
    assert len(counts) == 31 and counts.min() > 30


def test_integers_are_categories_or_numbers_by_what_they_look_like_or_as_named() -> None:
    generator = np.random.default_rng(0)
    amounts = Column("a", "int64", generator.integers(0, 10**9, 5000))
    ids = Column("i", "int32", generator.permutation(np.arange(5000) % 4000).astype(np.int32))
    few = Column("f", "int32", (generator.integers(0, 5, 5000) * 10**8).astype(np.int32))
    sides = Column("s", "int32", generator.integers(0, 2, 5000).astype(np.int32))
    both = table(amounts, ids, few, sides)

    def encodings(**said: Any) -> list[str]:
        return [part.encoding for part in Encoder.fit(both, Fitting(**said)).parts]

    assert encodings() == ["interpolated", "categories", "interpolated", "categories"]
    assert encodings(numbers_as="bins") == ["bins", "categories", "categories", "categories"]
    assert encodings(bins=0) == ["scaled", "categories", "categories", "categories"]
    named = {"categories": ("a",), "numbers": ("i", "f", "s")}
    assert encodings(**named) == ["categories", *["interpolated"] * 3]
    assert encodings(**named, numbers_as="bins") == ["categories", *["bins"] * 3]
    with pytest.raises(InvalidInput, match="names the column"):
        Encoder.fit(table(number([1.0])), Fitting(numbers=("x",)))
    with pytest.raises(InvalidInput, match='no column "b"'):
        Encoder.fit(both, Fitting(numbers=("b",)))


def test_rare_texts_share_the_unknown_slot_and_very_many_share_slots_by_hash() -> None:
    values = ["often"] * 5 + ["twice"] * 2 + ["once", None, ""]
    encoder = Encoder.fit(table(texts(values)), Fitting(min_count=2))
    slots = encoder.transform(table(texts([*values, "never seen"]))).ids[:, 0].tolist()
    assert slots[7] == slots[10] == UNKNOWN and slots[8] == NULL and slots[9] == UNKNOWN
    assert slots[0] != slots[5] and min(slots[0], slots[5]) >= FIRST_SLOT
    assert sorted(encoder.parts[0].spellings.values()) == ["often", "twice"]

    many = [f"v{n % 400}" for n in range(1000)] + ["v1", "v2"] * 5
    capped = Encoder.fit(table(texts(many)), Fitting(min_count=1, max_categories=2, buckets=16)).parts[0]
    assert set(capped.spellings.values()) == {"v1", "v2"} and capped.slots == FIRST_SLOT + 2 + 16
    shared = capped.slots_of(texts([f"v{n}" for n in range(3, 400)]))
    assert shared.min() >= FIRST_SLOT + 2 and len(set(shared.tolist())) == 16
    # Without slots to share, what is rare is unknown.
    none = Encoder.fit(table(texts(many)), Fitting(min_count=1, max_categories=2, buckets=0)).parts[0]
    assert none.slots_of(texts(["v7"])).tolist() == [UNKNOWN]


@pytest.mark.parametrize(("rows", "least"), [(40, 3), (2_900, 3), (5_400, 5), (40_000, 10)])
def test_the_fewer_rows_hold_a_text_the_rarer_it_may_be(rows: int, least: int) -> None:
    values = ["often"] * (rows - 2 * least + 1) + ["kept"] * least + ["rare"] * (least - 1)
    for column in (texts(values), texts([*values, *[None] * rows])):
        found = Encoder.fit(table(column), Fitting()).parts[0]
        assert sorted(found.spellings.values()) == ["kept", "often"]
    with pytest.raises(InvalidInput, match="option min_count is a whole number"):
        parse_options({"min_count": 2.5})
    with pytest.raises(InvalidInput, match="min_count is a number or auto"):
        parse_options({"min_count": "few"})
    assert parse_options({"min_count": 2}).fitting().min_count == 2 and Options().fitting().min_count is None


def test_a_standardised_number_is_a_factor_and_never_a_huge_one() -> None:
    column = number([1.0, 3.0, 5.0, float("nan"), 1e300])
    fitted = Encoder.fit(table(number([1.0, 3.0, 5.0])), Fitting(bins=0))
    encoded = fitted.transform(table(column))
    deviation = np.std([1.0, 3.0, 5.0])
    assert encoded.ids[:, 0].tolist() == [2, 2, 2, NULL, 2] and fitted.ids == 3
    assert encoded.values is not None
    assert encoded.values[:, 0].tolist() == pytest.approx([-2 / deviation, 0, 2 / deviation, 1.0, 10.0], rel=1e-6)


def test_a_value_of_one_is_scaled_like_others_whatever_else_is_in_the_batch() -> None:
    ids, values = np.array([1, 2], np.int32), np.array([1.0, 4.0], np.float32)
    encoder = Encoder.fit(table(Column("v", "idvalue", ids, values)))
    both, alone = (
        encoder.transform(table(Column("v", "idvalue", ids[:n], v))).values for n, v in ((2, values), (1, None))
    )
    assert both is not None and alone is not None and alone[0, 0] == both[0, 0] == 0.25


def test_numbers_near_the_largest_have_a_scale() -> None:
    field = fit_field(number([1e300, -1e300, 5.0]), "value", Fitting(bins=0))
    assert np.isfinite([field.mean, field.std]).all() and field.std > 0


def test_an_encoder_of_every_kind_is_the_same_after_storing() -> None:
    generator = np.random.default_rng(1)
    rows = 500
    mask = (generator.random(rows) < 0.2).astype(np.uint8)
    made = table(
        Column("b", "boolean", generator.integers(0, 2, rows).astype(np.int32), nulls=mask),
        Column("i", "int32", generator.integers(0, 9, rows).astype(np.int32)),
        Column("r", "float32", generator.normal(size=rows).astype(np.float32), nulls=mask),
        texts([f"ä'{n}\\" if n else None for n in generator.integers(0, 9, rows).tolist()]),
        Column("v", "idvalue", generator.integers(0, 9, rows).astype(np.int32), generator.random(rows, np.float32) * 9),
        Column("d", "date", generator.integers(-9000, 9000, rows).astype(np.int32), nulls=mask),
        Column("s", "timestamp", generator.integers(-(10**15), 10**15, rows)),
        Column("m", "time", generator.integers(0, 86_400_000_000, rows)),
        Column("n", "interval", generator.normal(size=rows) * 1e6),
    )
    for fitting in (Fitting(min_count=2), Fitting(numbers_as="bins"), Fitting(bins=0)):
        encoder = Encoder.fit(made, fitting)
        stored = Encoder.restore(json.loads(json.dumps(encoder.describe())), encoder.tensors())
        first, second = encoder.transform(made), stored.transform(made)
        assert np.array_equal(first.ids, second.ids)
        assert first.values is not None and second.values is not None and np.array_equal(first.values, second.values)
        assert (first.shares is None) == (second.shares is None) == (fitting != Fitting(min_count=2))
        assert first.shares is None or second.shares is None or np.array_equal(first.shares, second.shares)
        assert stored.columns == [(c.name, c.family) for c in made] and stored.fields == 9 + 2 + 3
        assert [p.spellings for p in stored.parts] == [dict(p.spellings) for p in encoder.parts]
        assert first.ids.min() >= 0 and first.ids.max() < encoder.ids


def test_a_column_of_nothing_but_nulls_has_its_null_slot_only() -> None:
    empty = Column("x", "float64", np.zeros(4), nulls=np.ones(4, np.uint8))
    for fitting in (Fitting(), Fitting(numbers_as="bins"), Fitting(bins=0)):
        assert Encoder.fit(table(empty), fitting).transform(table(empty)).ids[:, 0].tolist() == [NULL] * 4


def test_options_say_how_columns_become_fields() -> None:
    given = {"numbers": ["a"], "bins": 8, "min_count": 1, "numbers_as": "bins", "class_weights": {"yes": 2}}
    options = parse_options(json.dumps(given))
    assert options.fitting() == Fitting(numbers=("a",), bins=8, min_count=1, numbers_as="bins")
    assert options.class_weights == {"yes": 2.0} and Options().class_weights == "none"
    for wrong, words in (
        ({"numbers": "a"}, "array of column names"),
        ({"bins": -1}, "0 to 1024"),
        ({"numbers_as": "steps"}, "interpolated, bins"),
        ({"class_weights": "some"}, "none, balanced"),
        ({"class_weights": {"a": 0}}, "weight above 0"),
        ({"categories": [1]}, "array of column names"),
    ):
        with pytest.raises(InvalidInput, match=words):
            parse_options(wrong)
