"""Whole groups and the latest rows: never on both sides, about the usual share, the same on both sides of a run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData
from trails.filtering.rows import TableRows
from trails.refinement.dataset import prepare
from trails.table import grouped
from trails.table.columns import Column, Columns
from trails.table.grouped import held_groups, latest
from trails.table.row_weights import counting_rows
from trails.table.split import MOST_HELD_OUT, ByColumns, Held, divide
from trails.table.texts import text_column
from trails.training.options import Options

CPU = torch.device("cpu")
SEEDS = st.integers(-(2**63), 2**63 - 1)


def integers(name: str, values: Any, nulls: Any = None) -> Column:
    return Column(name, "int64", np.array(values, np.int64), None, None if nulls is None else np.array(nulls, np.uint8))


def of_groups(column: Column, classes: Any = None, seed: int = 1, share: float = 0.2) -> NDArray[np.bool_]:
    strata = np.zeros(len(column.data), np.uint8) if classes is None else np.asarray(classes)
    return held_groups(column, strata, seed, share, MOST_HELD_OUT)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(-3, 9), st.booleans()), min_size=2, max_size=120), SEEDS, st.floats(0.05, 0.9))
def test_no_group_is_on_both_sides_and_rows_without_one_are_for_training(
    rows: list[tuple[int, bool]], seed: int, share: float
) -> None:
    values, nulls = np.array([value for value, _ in rows]), np.array([null for _, null in rows])
    column = integers("g", values, nulls)
    if len(set(values[~nulls].tolist())) < 2:
        with pytest.raises(UnusableData, match=r'"g" holds (one|no) group only'):
            of_groups(column, None, seed, share)
        return
    held = of_groups(column, None, seed, share)
    train = set(values[~nulls & ~held].tolist())
    assert held.any() and train and not train & set(values[held].tolist())
    assert not (held & nulls).any()
    assert (held == of_groups(column, None, seed, share)).all()


@pytest.mark.parametrize("seed", range(5))
def test_of_many_groups_the_usual_share_of_rows_is_held_out_even_if_one_has_most_rows(seed: int) -> None:
    generator = np.random.default_rng(seed)
    held = of_groups(integers("g", generator.integers(0, 500, 10_000)), None, seed)
    assert held.mean() == pytest.approx(0.2, abs=0.005)
    # The first group has 60 % of the rows, and is always learnt from.
    groups = np.where(generator.random(10_000) < 0.6, 0, generator.integers(1, 500, 10_000))
    held = of_groups(integers("g", groups), None, seed)
    assert held.mean() == pytest.approx(0.2, abs=0.005) and not held[groups == 0].any()
    # Two groups: the smaller one is held out.
    held = of_groups(integers("g", np.arange(100) % 10 < 7), None, seed)
    assert held.sum() == 30
    single = of_groups(integers("g", np.arange(10_000)), None, seed)
    assert single.mean() == pytest.approx(0.2, abs=0.005)


def test_every_seed_draws_other_groups_and_values_alone_decide() -> None:
    groups = np.random.default_rng(0).integers(0, 100, 2_000)
    drawn = [tuple(np.unique(groups[of_groups(integers("g", groups), None, seed)]).tolist()) for seed in range(6)]
    assert len(set(drawn)) == 6
    order = np.random.default_rng(1).permutation(2_000)
    assert (of_groups(integers("g", groups[order])) == of_groups(integers("g", groups))[order]).all()
    narrow = Column("g", "int32", groups.astype(np.int32))
    assert (of_groups(narrow) == of_groups(integers("g", groups))).all()
    zeros = Column("g", "float64", np.where(np.arange(40) % 2, 0.0, np.where(np.arange(40) < 20, -0.0, 3.0)))
    held = of_groups(zeros)
    assert len(set(held[zeros.data == 0].tolist())) == 1


def test_a_rare_class_is_on_both_sides_where_groups_allow_it() -> None:
    groups = np.repeat(np.arange(100), 20)
    classes = (groups < 3).astype(np.int64)  # three groups have it
    for seed in range(20):
        held = of_groups(integers("g", groups), classes, seed)
        assert 0 < classes[held].sum() < classes.sum()
    # One group has all of it: it is on one side, and nothing else is wrong.
    held = of_groups(integers("g", groups), (groups == 0).astype(np.int64))
    assert held.mean() == pytest.approx(0.2, abs=0.02)


def test_groups_that_share_a_bucket_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_nearest", lambda sizes, want: np.arange(len(sizes)) == np.flatnonzero(sizes)[0])
    real, calls = grouped._buckets, []

    def together(*arguments: Any) -> Any:
        calls.append(arguments)
        buckets, sizes = real(*arguments)
        return (
            (buckets * np.uint16(0), np.bincount([0], [len(buckets)], len(sizes)))
            if len(calls) == 1
            else (
                buckets,
                sizes,
            )
        )

    monkeypatch.setattr(grouped, "_buckets", together)
    held = of_groups(integers("g", np.arange(40) % 2))
    assert held.sum() == 20 and len(calls) == 2


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=64), st.sampled_from([0.0, -0.0, 1.0, 1e300])
)


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=60),
        st.lists(st.integers(0, 5), min_size=2, max_size=60),
        st.lists(numbers, min_size=2, max_size=60),
    ),
    st.data(),
    st.floats(0.05, 0.9),
)
def test_the_latest_rows_are_held_out_and_equal_times_are_on_one_side(
    times: list[Any], data: st.DataObject, share: float
) -> None:
    values = np.array(times)
    nulls = np.array(data.draw(st.lists(st.booleans(), min_size=len(times), max_size=len(times))))
    kind = "float64" if values.dtype.kind == "f" else "int64"
    column = Column(
        "t", kind, values.astype(np.float64 if kind == "float64" else np.int64), None, nulls.astype(np.uint8)
    )
    known = column.data[~nulls]
    if len(np.unique(known)) < 2:
        with pytest.raises(UnusableData, match=r'"t" holds (one|no) time only'):
            latest(column, share, MOST_HELD_OUT)
        return
    held = latest(column, share, MOST_HELD_OUT)
    assert not (held & nulls).any()
    inside, outside = column.data[held], column.data[~held & ~nulls]
    assert len(inside) and len(outside) and inside.min() > outside.max()
    # No other time to begin at is nearer to the share.
    want = max(1, round(share * len(known)))
    others = [int((known >= begin).sum()) for begin in np.unique(known)[1:]]
    assert abs(len(inside) - want) == min(abs(size - want) for size in others)


def test_rows_cannot_be_ordered_by_what_is_no_time() -> None:
    for column in (text_column("t", ["a", "b"] * 5), Column("t", "boolean", np.arange(10, dtype=np.int32) % 2)):
        with pytest.raises(InvalidInput, match="cannot be ordered") as caught:
            latest(column, 0.2, MOST_HELD_OUT)
        assert caught.value.hint is not None


def test_not_more_rows_are_held_out_than_a_metric_needs() -> None:
    rows = 3 * MOST_HELD_OUT
    for held in (
        held_groups(integers("g", np.arange(rows) // 7), np.zeros(rows, np.uint8), 1, 0.9, MOST_HELD_OUT),
        latest(integers("t", np.arange(rows) // 7), 0.9, MOST_HELD_OUT),
    ):
        assert held.sum() == pytest.approx(MOST_HELD_OUT, rel=0.01)


def table(rows: int = 400) -> Columns:
    generator = np.random.default_rng(0)
    return Columns(
        rows,
        (
            integers("row", np.arange(rows)),
            integers("g", generator.integers(0, 40, rows)),
            integers("t", generator.integers(0, 90, rows)),
            Column("w", "float64", np.where(np.arange(rows) % 4 == 0, 0.0, generator.uniform(0.5, 3, rows))),
            integers("y", generator.integers(0, 2, rows)),
        ),
    )


@pytest.mark.parametrize("by", [{"group_by": "g"}, {"time_by": "t"}, {}])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_sides_of_a_run_find_the_same_rows(by: dict[str, str], weighted: bool) -> None:
    whole = table()
    names = ByColumns(**by, weight="w" if weighted else None, aside=("g", "t", "w"))
    options = Options(categories=("row",))
    data = prepare(whole, None, "y", 7, CPU, by=names, options=options)
    trained = set(data.encoder.parts[0].categories.tolist())
    group, time = (whole[by[name]] if name in by else None for name in ("group_by", "time_by"))
    features = Columns(whole.rows, (whole["row"],))
    rows = TableRows(
        features,
        whole["y"],
        held=Held(None, 7, options.validation_share, group, time),
        weight=whole["w"] if weighted else None,
    )
    assert rows.training is not None and set(np.flatnonzero(rows.training).tolist()) == trained
    counting = whole["w"].data > 0 if weighted else np.ones(whole.rows, np.bool_)
    held = counting & ~rows.training
    assert len(data.validation) == held.sum() and 0.1 < held.sum() / counting.sum() < 0.3
    # Rows of weight 0 are as if they were not there.
    if weighted:
        there = whole.take(np.flatnonzero(counting))
        alone = prepare(there, None, "y", 7, CPU, by=names, options=options)
        assert set(alone.encoder.parts[0].categories.tolist()) == trained
        assert data.held_out["rows_of_weight_0"] == 100
    told = data.held_out
    assert told["training_rows"] == len(data.train) and told["validation_rows"] == len(data.validation)
    if group is not None:
        assert told["how"] == "group_by" and told["validation_groups"] + told["training_groups"] == 40
    elif time is not None:
        assert told["how"] == "time_by" and told["from"] == whole["t"].data[held].min()
    else:
        assert told["how"] == "drawn" and told["seed"] == 7


def test_times_are_told_as_people_write_them() -> None:
    rows = 20
    target = integers("y", np.arange(rows) % 2)
    feature = integers("a", np.arange(rows) % 5)
    for kind, data, told in (
        ("date", 8_000 + np.arange(rows, dtype=np.int32), "2021-12-12"),
        ("timestamp", np.arange(rows, dtype=np.int64) * 3_600_000_000, "2000-01-01 16:00:00.000000"),
        ("date", np.where(np.arange(rows) < 16, 0, 2**31 - 1).astype(np.int32), "infinity"),
        ("float64", np.where(np.arange(rows) < 16, 0.0, np.inf), "infinity"),
        ("float64", np.where(np.arange(rows) < 16, -1.5, 2.5), 2.5),
    ):
        column = Column("t", kind, data)
        data_set = prepare(Columns(rows, (feature, column, target)), None, "y", 1, CPU, by=ByColumns(time_by="t"))
        assert data_set.held_out["from"] == told
        assert json.loads(json.dumps(data_set.held_out, allow_nan=False)) == data_set.held_out


def by_time(times: list[int], nulls: Any = None, share: float = 0.2) -> Any:
    rows = len(times)
    features = integers("a", np.arange(rows) % 5), integers("t", times, nulls)
    whole = Columns(rows, (*features, integers("y", np.arange(rows) % 2)))
    return prepare(whole, None, "y", 1, CPU, by=ByColumns(time_by="t"), options=Options(validation_share=share))


def test_a_latest_time_that_leaves_next_to_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UnusableData, match="too few rows to train on: 3 of 3000") as caught:
        by_time([1, 2, 3] + [4] * 2997)
    assert (
        caught.value.detail is not None and "3 rows are earlier than the 2997 latest, and 0 have" in caught.value.detail
    )
    assert caught.value.hint is not None
    with pytest.raises(UnusableData, match="too few rows to train on: 239 of 3000"):
        by_time([1] * 239 + [4] * 2761)
    with pytest.raises(UnusableData, match="8 of 20") as caught:
        by_time([1] * 6 + [4] * 12 + [0] * 2, [0] * 18 + [1] * 2, share=0.1)
    assert "6 rows are earlier than the 12 latest, and 2 have no time" in str(caught.value.detail)
    assert len(by_time([1] * 240 + [4] * 2760).train) == 240
    assert len(by_time(list(range(12))).train) == 10, "few rows in all are few on either side"
    assert len(by_time(list(range(100)), share=0.9).train) == 10


def test_much_more_than_the_share_held_out_is_told() -> None:
    (warning,) = by_time([1] * 1000 + [4] * 2000).warnings
    assert "2000 of 3000 rows are held out, where 600 were wanted" in warning and '"t"' in warning
    assert "1000 are left to train on" in warning
    assert by_time([1] * 1800 + [4] * 1200).warnings == ()
    whole = Columns(
        300, (integers("a", np.arange(300) % 5), integers("g", np.arange(300) < 160), integers("y", np.arange(300) % 2))
    )
    (warning,) = prepare(whole, None, "y", 1, CPU, by=ByColumns(group_by="g")).warnings
    assert "140 of 300 rows are held out, where 60 were wanted" in warning


def test_several_answers_to_which_rows_are_held_out_are_refused() -> None:
    whole = table()
    with pytest.raises(InvalidInput, match="group_by and time_by cannot both say"):
        prepare(whole, None, "y", 1, CPU, by=ByColumns(group_by="g", time_by="t"))
    with pytest.raises(InvalidInput, match="validation and group_by cannot both say"):
        prepare(whole, whole, "y", 1, CPU, by=ByColumns(group_by="g"))


@pytest.mark.parametrize(
    ("values", "nulls", "message"),
    [
        ([1.0, -1.0, -2.0, 1.0], None, "negative in 2 rows"),
        ([1.0, np.inf, 1.0, 1.0], None, "not finite in 1 row"),
        ([1.0, np.nan, 1.0, 1.0], None, "NULL in 1 row"),
        ([1.0, 1.0, 1.0, 1.0], [1, 1, 1, 0], "NULL in 3 rows"),
        ([0.0, 0.0, 0.0, 0.0], None, "zero in every row"),
    ],
)
def test_weights_that_say_nothing_are_refused_with_the_number_of_rows(
    values: list[float], nulls: list[int] | None, message: str
) -> None:
    mask = None if nulls is None else np.array(nulls, np.uint8)
    with pytest.raises(UnusableData, match=message):
        counting_rows(Column("w", "float64", np.array(values), None, mask))
    with pytest.raises(InvalidInput, match="of kind text"):
        counting_rows(text_column("w", ["a", "b"]))


def test_a_share_is_drawn_as_it_always_was() -> None:
    target = integers("y", np.arange(300) % 3)
    division = divide(Held(seed=5), target)
    assert division.held.sum() == 60 and division.task == "multiclass" and not (division.train & division.held).any()
