"""Batches drawn from a table: distinct rows, both classes, NULLs, and what cannot be drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trails import bridge
from trails.errors import InvalidInput, UnusableData
from trails.filtering.phase import FilteringRequest, costs, rank
from trails.filtering.rows import TableRows
from trails.table.columns import Column, Columns
from trails.table.fitting import Fitting
from trails.tfmem import REGISTRY, parse_tfmems


def table(values: np.ndarray, target: np.ndarray | None = None, nulls: np.ndarray | None = None) -> TableRows:
    columns = [
        Column(f"c{place}", "int64", column, nulls=None if nulls is None else nulls[:, place].astype(np.uint8))
        for place, column in enumerate(values.T)
    ]
    label = None if target is None else Column("label", "int64", target)
    return TableRows(Columns(len(values), tuple(columns)), label)


def some(rows: int = 500, fields: int = 4, categories: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, categories, (rows, fields))


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 200), st.integers(1, 4), st.integers(2, 6), st.integers(1, 40), st.integers(0, 99))
def test_rows_are_distinct_and_both_classes_are_there(
    rows: int, fields: int, categories: int, batch_size: int, seed: int
) -> None:
    values = some(rows, fields, categories, seed)
    target = np.zeros(rows, np.int64)
    target[:3] = 7  # rare, and not 1
    prepared = table(values, target)
    try:
        batches, notices = prepared.batches(parse_tfmems("zico+jacob_cov"), max(2, batch_size), seed)
    except UnusableData:
        return  # too few distinct rows
    assert len(batches) == 2
    stacked = np.concatenate([batch.x for batch in batches])
    assert len(np.unique(stacked, axis=0)) == len(stacked)
    for batch in batches:
        assert batch.y is not None and set(batch.y.tolist()) == {0.0, 1.0}
        assert len(batch.x) == max(2, batch_size) or any("reduced" in notice for notice in notices)


def test_the_seed_decides_and_equal_rows_are_embedded_alike() -> None:
    prepared = table(some())
    metrics = parse_tfmems("naswot")
    (a,), _ = prepared.batches(metrics, 32, 1)
    (b,), _ = prepared.batches(metrics, 32, 1)
    (c,), _ = prepared.batches(metrics, 32, 2)
    np.testing.assert_array_equal(a.x, b.x)
    assert a.x.shape == (32, 40) and (a.x != c.x).any()
    assert abs(a.x.mean()) < 0.2 and 0.8 < a.x.std() < 1.2
    # One field's ten numbers are the same wherever its category is.
    assert len(np.unique(a.x[:, :10], axis=0)) <= 9


def test_a_null_is_a_value_of_its_own() -> None:
    values = np.tile(np.array([[0], [0], [1], [1]]), (5, 2))
    nulls = np.zeros(values.shape, bool)
    nulls[::2] = True  # a NULL holds a 0 in its buffer
    prepared = table(values, nulls=nulls)
    (batch,), notices = prepared.batches(parse_tfmems("naswot"), 3, 0)
    assert len(batch.x) == 3 and notices == []
    assert len(np.unique(batch.x, axis=0)) == 3


def test_the_value_of_an_id_value_multiplies_its_vector() -> None:
    ids = np.repeat(np.arange(4, dtype=np.int32), 8)
    values = np.tile(np.array([0.0, 0.5, 1.0, 2.0], np.float32), 8)
    rows = TableRows(Columns(32, (Column("a", "idvalue", ids, values), Column("b", "int32", ids[::-1].copy()))))
    (batch,), _ = rows.batches(parse_tfmems("naswot"), 16, 0)
    assert len(batch.x) == 16
    lengths = np.linalg.norm(batch.x[:, :10], axis=1)
    assert np.count_nonzero(lengths == 0) == 4  # a value of 0 says nothing
    vectors = batch.x[lengths > 0, :10]
    directions = np.unique(np.round(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 9), axis=0)
    assert len(directions) == 4


def test_metrics_that_read_nothing_draw_nothing() -> None:
    assert table(some()).batches(parse_tfmems("expressflow+params"), 32, 0) == ((), [])


def test_a_table_with_few_distinct_rows_reduces_the_batch_and_says_so() -> None:
    (batch,), notices = table(some(5000, 2, 3)).batches(parse_tfmems("naswot"), 32, 0)
    assert len(batch.x) == 9
    assert notices == ["batch_size is reduced to 9: only 9 distinct rows were found"]


def test_useless_features_are_left_out() -> None:
    values = some()
    values[:, 1] = 5
    values[:, 2] = np.arange(500)
    prepared = table(values)
    assert prepared.useless == {"c1": "the same in every row", "c2": "different in every row"}
    assert prepared.inputs == 20
    (batch,), _ = prepared.batches(parse_tfmems("naswot"), 8, 0)
    assert batch.x.shape == (8, 20)


def test_what_cannot_be_drawn_is_refused() -> None:
    target = np.arange(500) % 2
    with pytest.raises(InvalidInput, match="'snip' needs a target"):
        table(some()).batches(parse_tfmems("snip"), 32, 0)
    with pytest.raises(InvalidInput, match="batch_size must be at least 1, not 0"):
        table(some()).batches(parse_tfmems("naswot"), 0, 0)
    with pytest.raises(InvalidInput, match="batch_size = 1025 is too large"):
        table(some()).batches(parse_tfmems("naswot"), 1025, 0)
    for name in ("naswot", "jacob_cov", "ntk_cond"):
        with pytest.raises(InvalidInput, match=f"batch_size = 1 is too small: metric '{name}'"):
            table(some()).batches(parse_tfmems(name), 1, 0)
    with pytest.raises(UnusableData, match="no feature can help"):
        table(np.ones((50, 3), np.int64), target[:50]).batches(parse_tfmems("naswot"), 8, 0)
    with pytest.raises(UnusableData, match="one class only"):
        table(some(), np.ones(500, np.int64))
    # One distinct row of the second class cannot be in both of zico's batches.
    values, classes = np.array([[1, 2], [2, 1], [1, 1], [2, 2]] * 5), np.array([0, 1, 0, 0] * 5)
    with pytest.raises(UnusableData, match="one class only among the distinct rows"):
        table(values, classes).batches(parse_tfmems("zico"), 2, 0)


def test_every_metric_ranks_and_says_what_it_reduced() -> None:
    generator = np.random.default_rng(0)
    columns = [Column(f"c{i}", "int32", generator.integers(0, 50, 2000).astype(np.int32)) for i in range(5)]
    target = Column("label", "int32", (columns[0].data > 25).astype(np.int32))
    rows = TableRows(Columns(2000, tuple(columns)), target)
    for facts in bridge.tfmems():
        assert facts.orientation in ("higher", "lower") and set(facts.needs) <= {"data", "labels"}
        assert facts.description and facts.paper
        name = facts.tfmem
        ranking = rank(rows, FilteringRequest("mlp2x10", name, 40, 5, 16, 1, "random"), 1)
        assert (ranking.scored, len(ranking.architectures)) == (40, 5) and ranking.failed < 40
        expected = [m.name for m in parse_tfmems(name)]
        assert [metric for metric, _ in ranking.architectures[0].scores] == expected
        assert any("jacob_cov reads 8 of the 16 rows" in n for n in ranking.notices) == (name == "jacob_cov")
    assert {facts.tfmem for facts in bridge.tfmems()} == set(REGISTRY)
    timed = costs(rows, FilteringRequest("mlp3x10", "jacflow+snip", batch_size=16), 1)
    assert [(cost.tfmem, cost.route) for cost in timed] == [
        ("naswot", "whole space at once"),
        ("synflow", "whole space at once"),
        ("snip", "one at a time"),
    ]
    assert all(cost.architectures > 0 and cost.seconds > 0 for cost in timed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mlp9x9", "snip"), "no architecture space"),
        (("mlp2x10", "magic"), "no training-free metric 'magic'"),
        (("mlp2x10", "snip", 101), "n = 101"),
        (("mlp2x10", "snip", None, 0), "k = 0"),
        (("mlp2x10", "snip", 5, 6), "k = 6 cannot be chosen from n = 5"),
        (("mlp2x10", "snip", None, None, 0), "batch_size"),
        (("mlp2x10", "snip", None, None, 32, 1, "magic"), "no sampler"),
    ],
)
def test_what_no_run_could_use_is_refused_before_anything_is_started(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        FilteringRequest(*arguments).check(target=True)


def test_a_metric_that_reads_labels_is_refused_without_a_target() -> None:
    with pytest.raises(InvalidInput, match="needs a target"):
        FilteringRequest("mlp2x10", "snip").check(target=False)
    FilteringRequest("mlp2x10", "naswot").check(target=False)


def test_an_option_may_name_a_column_that_cannot_help() -> None:
    values = np.c_[some(), np.full(500, 7)]
    columns = tuple(Column(f"c{place}", "int64", column) for place, column in enumerate(values.T))
    rows = TableRows(Columns(500, columns), fitting=Fitting(categories=("c0", "c4"), numbers=("c1",)))
    assert list(rows.useless) == ["c4"]
    (batch,), _ = rows.batches(parse_tfmems("naswot"), 32, 1)
    assert len(batch.x) == 32
