"""Columns, vocabularies and hold-out rows."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.refinement.backend import Table, memfd
from trails.errors import InvalidInput, UnusableData
from trails.refinement.dataset import prepare
from trails.table.columns import Column, Columns
from trails.table.encoder import Encoder
from trails.table.fields import FIRST_SLOT, NULL, UNKNOWN
from trails.table.fitting import Fitting
from trails.table.split import holdout
from trails.table.useless import useless_features

anything = st.integers(-(2**63), 2**63 - 1)
categories = st.lists(st.one_of(st.integers(-5, 5), anything), min_size=1, max_size=60)


def one_column(ids: list[int], nulls: list[bool] | None = None, dtype: type = np.int64) -> Columns:
    mask = None if nulls is None else np.array(nulls, np.uint8)
    return Columns(len(ids), (Column("c", "int64", np.array(ids, dtype), nulls=mask),))


@given(categories, categories)
def test_ids_are_equal_exactly_where_known_categories_are(train: list[int], other: list[int]) -> None:
    encoder = Encoder.fit(one_column(train), Fitting(categories=("c",)))
    seen = encoder.transform(one_column(train)).ids[:, 0]
    assert encoder.ids == len(set(train)) + FIRST_SLOT
    assert seen.min() >= FIRST_SLOT and seen.max() < encoder.ids
    assert len(set(zip(train, seen.tolist(), strict=True))) == len(set(train)) == len(set(seen.tolist()))
    known = dict(zip(train, seen.tolist(), strict=True))
    assert encoder.transform(one_column(other)).ids[:, 0].tolist() == [known.get(c, UNKNOWN) for c in other]


@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=40))
def test_null_has_a_slot_of_its_own_and_is_no_category(rows: list[tuple[int, bool]]) -> None:
    columns = one_column([c for c, _ in rows], [null for _, null in rows])
    encoder = Encoder.fit(columns, Fitting(categories=("c",)))
    assert encoder.parts[0].categories.tolist() == sorted({c for c, null in rows if not null})
    ids = encoder.transform(columns).ids[:, 0]
    assert [i == NULL for i in ids] == [null for _, null in rows]


@given(st.lists(categories, min_size=1, max_size=5), st.data())
def test_columns_do_not_share_ids_and_a_stored_encoder_is_the_same(
    columns: list[list[int]], data: st.DataObject
) -> None:
    rows = min(map(len, columns))
    table = Columns(rows, tuple(Column(f"c{i}", "int64", np.array(c[:rows], np.int64)) for i, c in enumerate(columns)))
    encoder = Encoder.fit(table)
    encoded = encoder.transform(table)
    assert encoded.ids.dtype == np.int32 and encoded.ids.flags.c_contiguous and encoded.values is None
    for field, (offset, vocabulary) in enumerate(zip(encoder.offsets, encoder.parts, strict=True)):
        inside = encoded.ids[:, field] - offset
        assert inside.min() >= 0 and inside.max() < vocabulary.slots
    stored = Encoder.restore(json.loads(json.dumps(encoder.describe())), encoder.tensors())
    shuffled = Columns(rows, tuple(data.draw(st.permutations(table.columns))))
    assert np.array_equal(stored.transform(shuffled).ids, encoded.ids)


def test_values_are_scaled_and_what_is_no_number_counts_as_null() -> None:
    ids = np.array([5, 5, 6, 6], np.int32)
    values = np.array([2000.0, -500.0, np.nan, 1.0], np.float32)
    nulls = np.array([0, 0, 0, 1], np.uint8)
    columns = Columns(4, (Column("v", "idvalue", ids, values, nulls), Column("c", "int32", ids)))
    encoder = Encoder.fit(columns)
    encoded = encoder.transform(columns)
    assert encoded.values is not None
    assert encoded.values[:, 0].tolist() == [1.0, -0.25, 1.0, 1.0]
    assert encoded.values[:, 1].tolist() == [1.0] * 4
    assert encoded.ids[:, 0].tolist() == [2, 2, NULL, NULL]


def test_a_missing_column_and_one_of_another_type_are_refused() -> None:
    encoder = Encoder.fit(one_column([1, 2]))
    with pytest.raises(InvalidInput, match="of kind text, and the model was trained with integer"):
        encoder.transform(Columns(1, (Column("c", "text", np.zeros(1, np.int64)),)))
    with pytest.raises(InvalidInput, match='no column "c"'):
        encoder.transform(Columns(1, (Column("d", "int32", np.zeros(1, np.int32)),)))


def test_a_validation_table_of_narrower_types_is_the_same_rows() -> None:
    generator = np.random.default_rng(3)
    days, small = generator.integers(-900, 900, 200), generator.integers(-50, 50, 200)
    label = Column("y", "float64", small * 0.5 + days)
    train = Columns(
        200,
        (
            Column("x", "float64", small * 1.5),
            Column("day", "timestamp", days * 86_400_000_000 + 7),
            label,
        ),
    )
    wide = (Column("x", "float64", small * 1.0), Column("day", "timestamp", days * 86_400_000_000))
    narrow = (Column("x", "int32", small.astype(np.int32)), Column("day", "date", days.astype(np.int32)))
    whole = (Column("y", "float64", days * 1.0), Column("y", "int64", days))
    found = [
        prepare(train, Columns(200, (*features, target)), "y", 1, torch.device("cpu")).validation
        for features, target in zip((wide, narrow), whole, strict=True)
    ]
    assert torch.equal(found[0].ids, found[1].ids) and torch.equal(found[0].labels, found[1].labels)


@pytest.mark.parametrize("spread", [1, 1_000_003])
def test_a_frappe_sized_table_is_encoded_fast(spread: int) -> None:
    generator = np.random.default_rng(0)
    made = [generator.integers(0, 4_000, 200_000).astype(np.int32) * np.int32(spread // 8 or 1) for _ in range(10)]
    columns = Columns(200_000, tuple(Column(f"c{i}", "int32", ids) for i, ids in enumerate(made)))
    seconds = []
    for _ in range(3):
        started = time.process_time()
        Encoder.fit(columns).transform(columns)
        seconds.append(time.process_time() - started)
    # CPU seconds: about 0.03 with lookup tables and 0.3 with binary search.
    assert min(seconds) < (0.2 if spread == 1 else 1.0)


def test_columns_are_views_over_the_shared_memory() -> None:
    table = Table(
        {
            'a b"c': np.array([1, 2, 3], np.int32),
            "big": np.array([2**40, 0, -1]),
            "v": np.array([7, 8, 9], np.int32),
        },
        nulls={"big": np.array([0, 1, 0])},
        values={"v": np.array([0.5, 1.0, 2.0])},
        idvalue=frozenset({"v"}),
    )
    data, layout = table.pack()
    fd = memfd(data)
    columns = Columns.from_fd(fd, layout)
    os.close(fd)
    assert [c.name for c in columns] == ['a b"c', "big", "v"] and [c.kind for c in columns][2] == "idvalue"
    assert columns["big"].data.tolist() == [2**40, 0, -1]
    nulls, values = columns["big"].nulls, columns["v"].values
    assert nulls is not None and nulls.tolist() == [0, 1, 0]
    assert values is not None and values.tolist() == [0.5, 1.0, 2.0]
    assert not columns["v"].data.flags.owndata and not columns["v"].data.flags.writeable
    assert Columns.from_fd(0, {"rows": 0, "columns": layout["columns"]}).rows == 0


def test_a_layout_that_does_not_fit_is_refused() -> None:
    entry = {"name": "a", "kind": "int32", "offset": 0, "nulls": None, "values": None}
    with pytest.raises(InvalidInput, match="does not fit"):
        Columns.from_buffer(b"1234", {"rows": 2, "columns": [entry]})
    with pytest.raises(InvalidInput, match="unknown kind"):
        Columns.from_buffer(b"12345678", {"rows": 2, "columns": [{**entry, "kind": "blob"}]})


def test_useless_features_are_named_with_the_reason() -> None:
    rows = 5_000
    key, constant = np.arange(rows), np.full(rows, 3, np.int32)
    late = constant.copy()
    late[-1] = 4
    almost = key.copy()
    almost[-1] = 0
    some_null, all_null = np.zeros(rows, np.uint8), np.ones(rows, np.uint8)
    some_null[[1, 4_000]] = 1
    columns = [
        Column("key", "int64", key),
        Column("constant", "int32", constant),
        Column("changes in the last row", "int32", late),
        Column("repeats in the last row", "int64", almost),
        Column("constant or null", "int32", constant, nulls=some_null),
        Column("always null", "int64", key, nulls=all_null),
        Column("key with two nulls", "int64", key, nulls=some_null),
        Column("a number", "idvalue", constant, np.arange(rows, dtype=np.float32)),
        Column("one number", "idvalue", constant, np.full(rows, 0.5, np.float32)),
    ]
    assert useless_features(columns) == {
        "key": "different in every row",
        "constant": "the same in every row",
        "always null": "NULL in every row",
        "one number": "the same in every row",
    }
    assert useless_features([Column("single", "int64", key[:1])]) == {}


@given(st.lists(st.booleans(), min_size=4, max_size=300), st.integers(0, 5))
def test_holdout_keeps_the_shares_of_both_classes(labels: list[bool], seed: int) -> None:
    classes = np.array([True, True, False, False, *labels])
    train, held = holdout(classes, seed)
    assert sorted([*train, *held]) == list(range(len(classes)))
    for label in (True, False):
        count = int((classes == label).sum())
        assert int((classes[held] == label).sum()) == min(count - 1, max(1, round(0.2 * count)))
    assert all(np.array_equal(a, b) for a, b in zip((train, held), holdout(classes, seed), strict=True))


def test_holdout_needs_two_rows_of_each_class() -> None:
    with pytest.raises(UnusableData, match="too few rows"):
        holdout(np.array([True, False, False]), 0)
