"""Rows that are held out have no say in the first phase, and what filtering looks at is what refinement trains on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trails import bridge
from trails.errors import InvalidInput, UnusableData
from trails.filtering.phase import FilteringRequest, rank
from trails.filtering.rows import WIDEST_ROW, TableRows
from trails.refinement.dataset import prepare
from trails.table.columns import Column, Columns
from trails.table.split import Held, held_out
from trails.table.texts import text_column
from trails.tfmem import parse_tfmems
from trails.training.options import Options

CPU = torch.device("cpu")
ROWS = 600


def integers(name: str, values: NDArray[np.int64]) -> Column:
    return Column(name, "int64", values)


def trained(columns: Columns, target: Column, split: Column | None = None, seed: int = 1) -> set[int]:
    """Numbers of the rows that refinement trains on: a row's number is a category, and these are learnt of."""
    whole = Columns(columns.rows, (integers("row", np.arange(columns.rows)), target, *([split] if split else [])))
    options = Options(categories=("row",))
    data = prepare(whole, None, target.name, seed, CPU, split=split.name if split else None, options=options)
    return set(data.encoder.parts[0].categories.tolist())


def taken(
    features: Sequence[Column],
    target: Column,
    split: Column | None = None,
    seed: int | None = None,
    options: str | None = None,
    spelt: bool = False,
) -> TableRows:
    """The rows as the server hands them over, which tells how a target's texts are spelt where there is room."""

    def array(column: Column) -> bridge.ArrayColumn:
        return {
            "name": column.name,
            "kind": column.kind,
            "data": column.data,
            "nulls": column.nulls,
            "values": column.values,
        }

    texts = {
        c.name: list(c.texts.spellings().items()) for c in (target, split) if c is not None and c.texts is not None
    }
    arguments: bridge.TrainingRowsArguments = {
        "features": [array(column) for column in features],
        "target": array(target),
        "aside": [] if split is None else [array(split)],
        "split": None if split is None else split.name,
        "group_by": None,
        "time_by": None,
        "weight": None,
        "task": None,
        "metric": None,
        "options": options,
        "seed": seed,
        "spellings": texts if spelt else {},
    }
    return bridge.training_rows(arguments)._rows


@pytest.mark.parametrize("labels", ["two", "five", "texts", "numbers"])
@pytest.mark.parametrize("seed", [1, -7, 2**62])
def test_filtering_looks_at_the_rows_that_refinement_will_train_on(labels: str, seed: int) -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 2 if labels == "two" else 5, ROWS)
    target = integers("y", codes)
    if labels == "texts":
        target = text_column("y", ["ab"[code % 2] * (code + 1) for code in codes.tolist()])
    elif labels == "numbers":
        target = Column("y", "float64", generator.normal(size=ROWS))
    features = Columns(ROWS, (integers("a", generator.integers(0, 9, ROWS)),))
    # The split must not depend on how the texts are spelt.
    found = taken(features.columns, target, seed=seed)
    assert found.training is not None and 0.7 < found.training.mean() < 0.9
    assert set(np.flatnonzero(found.training).tolist()) == trained(features, target, seed=seed)
    assert found.positive is not None and len(found.positive) == found.training.sum()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=80), st.integers(-(2**63), 2**63 - 1), st.floats(0.01, 0.9))
def test_the_share_of_every_class_is_held_out_whatever_the_order(labels: list[int], seed: int, share: float) -> None:
    classes = np.array(labels)
    held = held_out(classes, seed, share, binary=False)
    for label in set(labels):
        size = labels.count(label)
        expected = 0 if size < 2 else min(size - 1, max(1, round(share * size)))
        assert held[classes == label].sum() == expected
    assert (held == held_out(classes, seed, share, binary=False)).all()


def test_rows_are_held_out_alike_in_every_part_of_a_class() -> None:
    held = held_out(np.arange(300_000) % 3, 0, 0.2)
    shares = [held[start : start + 30_000].mean() for start in range(0, 300_000, 30_000)]
    assert min(shares) > 0.18 and max(shares) < 0.22


@pytest.mark.parametrize("kind", ["words", "numbers"])
def test_test_rows_and_validation_rows_of_a_split_are_looked_at_by_nobody(kind: str) -> None:
    generator = np.random.default_rng(0)
    test, held = np.arange(ROWS) % 3 == 0, np.arange(ROWS) % 3 == 1
    out = test | held
    sides = np.where(test, 2, np.where(held, 1, 0))
    words = [[None, "Valid", "test"][side] for side in sides.tolist()]
    split = integers("s", sides) if kind == "numbers" else text_column("s", words)
    columns = [
        # Constant, and different in every row, of the training rows alone; and in rows that are held out alone.
        integers("constant", np.where(out, np.arange(ROWS) % 7, 3)),
        integers("key", np.where(out, 1, np.arange(ROWS))),
        integers("good", np.where(out, 3, np.arange(ROWS) % 7)),
        # A factor that would be seen in the batch.
        Column("factor", "idvalue", (np.arange(ROWS) % 2).astype(np.int32), np.where(out, 1e3, 1.0).astype(np.float32)),
    ]
    # Of three classes the held-out rows make 2 the most frequent one; and a fourth is only there.
    strange = np.array([3, 1, 2, 2, 2])[np.arange(ROWS) % 5]
    labels = np.where(out, strange, generator.choice([0, 1, 2], ROWS, p=[0.6, 0.3, 0.1]))
    rows = taken(columns, integers("y", labels), split, spelt=True)
    assert rows.useless == {"constant": "the same in every row", "key": "different in every row"}
    assert rows.training is not None and (rows.training == ~out).all()
    assert rows.learnt is not None and rows.learnt.classes == ("0", "1", "2")
    assert rows.positive is not None and (rows.positive == (labels[~out] == 0)).all()
    batches, _ = rows.batches(parse_tfmems("zico"), 4, 0)
    assert all(np.abs(batch.x).max() < 10 for batch in batches)
    assert trained(Columns(ROWS, tuple(columns)), integers("y", labels), split) == set(np.flatnonzero(~out).tolist())


def test_a_split_that_says_nothing_is_refused_before_anything_is_trained() -> None:
    feature, target = integers("a", np.arange(60) % 5), integers("y", np.arange(60) % 2)
    for values, error in ((np.full(60, 7), InvalidInput), (np.zeros(60, np.int64), UnusableData)):
        with pytest.raises(error, match='split column "s"'):
            taken([feature], target, integers("s", values))


@pytest.mark.parametrize("embedding", [1, 10, 32])
def test_filtering_scores_with_the_embedding_that_is_asked_for(embedding: int) -> None:
    generator = np.random.default_rng(0)
    features = [integers(name, generator.integers(0, 9, ROWS)) for name in "abc"]
    target = integers("y", generator.integers(0, 2, ROWS))
    rows = taken(features, target, options=f'{{"embedding": {embedding}}}')
    ranking = rank(rows, FilteringRequest("mlp2x10", "naswot+snip", None, 100, 8), 1)
    for architecture, _, _, parameters, flops, _ in ranking.architectures:
        widths = [3 * embedding, *map(int, architecture.split("-")), 1]
        assert parameters == sum((a + 1) * b for a, b in pairwise(widths))
        assert flops == 2 * sum(a * b for a, b in pairwise(widths))
    (batch,), _ = rows.batches(parse_tfmems("naswot"), 8, 1)
    assert batch.x.shape == (8, 3 * embedding)


def test_a_row_that_would_be_too_wide_is_embedded_in_fewer_numbers_and_that_is_said() -> None:
    columns = tuple(integers(f"c{n}", np.arange(20) % 3) for n in range(300))
    rows = TableRows(Columns(20, columns), embedding=1024)
    assert rows.embedded == WIDEST_ROW // 300 and rows.inputs <= WIDEST_ROW
    _, notices = rows.batches(parse_tfmems("expressflow"), 32, 0)
    assert any("436 numbers, not 1024" in notice for notice in notices)


def test_few_rows_that_all_differ_are_learnt_from() -> None:
    values = np.array([7, 3, 9, 1, 4])
    rows = TableRows(Columns(5, (integers("age", values), text_column("name", list("abcde")))))
    assert rows.useless == {}
    (batch,), _ = rows.batches(parse_tfmems("naswot"), 5, 0)
    assert len(batch.x) == 5


@pytest.mark.parametrize("half", ["largest", "smallest"])
def test_numbers_of_which_half_are_equal_have_two_sides(half: str) -> None:
    values = np.random.default_rng(0).uniform(0, 1, ROWS)
    values[: ROWS * 3 // 5] = 1.0 if half == "largest" else 0.0
    feature = integers("a", np.arange(ROWS) % 9)
    rows = TableRows(Columns(ROWS, (feature,)), Column("y", "float64", values))
    assert rows.positive is not None and 0 < rows.positive.sum() < ROWS
    batches, _ = rows.batches(parse_tfmems("snip"), 4, 0)
    assert set(batches[0].y.tolist()) == {0.0, 1.0}  # type: ignore[union-attr]


def validated(train: list[int], validation: list[int], task: str | None = None) -> tuple[str, int, tuple[str, ...]]:
    """Task, validation rows that count and warnings."""
    tables = [
        Columns(len(labels), (integers("a", np.arange(len(labels)) % 7), integers("y", np.array(labels))))
        for labels in (train, validation)
    ]
    data = prepare(*tables, "y", 1, CPU, task=task)
    return data.target.task, len(data.validation), data.warnings


def test_training_rows_decide_the_task_and_what_only_validation_has_is_left_out_with_a_warning() -> None:
    assert validated([0, 1] * 20, [0, 1] * 5) == ("binary", 10, ())
    task, rows, warnings = validated([0, 1] * 20, [0, 1, 2] * 5)
    assert (task, rows) == ("binary", 10)
    assert warnings == ('5 validation rows are left out: of "y" they hold what no training row holds (2)',)
    # Twenty different integers are classes, and stay classes.
    task, rows, warnings = validated(list(range(20)) * 3, list(range(25)))
    assert (task, rows, len(warnings)) == ("multiclass", 20, 1)
    with pytest.raises(UnusableData, match="one class only in the validation rows"):
        validated([0, 1] * 20, [1, 2] * 5)


def test_held_out_rows_have_no_say_in_the_scale_of_a_number() -> None:
    values = np.concatenate([np.linspace(0, 1, 90), np.full(10, 1e9)])
    split = integers("s", np.repeat([0, 1], [90, 10]))
    table = Columns(100, (integers("a", np.arange(100) % 7), Column("y", "float64", values), split))
    values[-1] = 2e9
    assert prepare(table, None, "y", 1, CPU, split="s").target.mean == pytest.approx(0.5)


def test_named_seeds_and_splits_are_what_held_says() -> None:
    target = integers("y", np.arange(100) % 2)
    features = Columns(100, (integers("a", np.arange(100) % 7),))
    half = TableRows(features, target, held=Held(seed=3, share=0.5)).training
    assert half is not None and half.sum() == 50
    assert TableRows(features, target).training is None
    assert TableRows(features, None, held=Held(seed=3)).training is None
