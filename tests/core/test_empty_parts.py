"""Encoders with parts of length 0, from their columns to every form of the model: nothing known is nothing broken."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.exported import by_onnx
from trails import ModelSelector, bridge
from trails.model.store import Model
from trails.table.columns import KINDS, Column, Columns
from trails.table.encoder import Encoder
from trails.table.fitting import Fitting
from trails.table.target import Target, Task
from trails.table.texts import text_column

NUMBERS = ("boolean", "int32", "int64", "float32", "float64", "date", "timestamp", "time", "interval")
FORMS = ("texts", "unspelt texts", "idvalue", *NUMBERS)


def column(form: str, name: str, values: list[int | None]) -> Column:
    """A column of one kind that holds few different values, or none at all."""
    if form in ("texts", "unspelt texts"):
        made = text_column(name, [None if value is None else "abcdef"[:value] for value in values])
        return made if form == "texts" else replace(made, texts=None)
    nulls = np.array([value is None for value in values], np.uint8)
    whole = np.array([value or 0 for value in values])
    if form == "idvalue":
        return Column(name, form, whole.astype(np.int32), whole.astype(np.float32), nulls)
    return Column(name, form, (whole % 2 if form == "boolean" else whole).astype(KINDS[form][0]), None, nulls)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Columns, Columns]:
    """Rows that an encoder is fitted on, often none that is not NULL, and others of the same columns."""
    forms = draw(st.lists(st.sampled_from(FORMS), min_size=1, max_size=4))
    values = st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=12)

    def rows() -> Columns:
        drawn = [draw(values) for _ in forms]
        count = min(map(len, drawn))
        made = tuple(column(form, f"c{n}", drawn[n][:count]) for n, form in enumerate(forms))
        return Columns(count, made)

    return rows(), rows()


fittings = st.builds(
    Fitting,
    bins=st.sampled_from([0, 2, 32]),
    numbers_as=st.sampled_from(["interpolated", "bins"]),
    min_count=st.sampled_from([1, 3, 10]),
    max_categories=st.sampled_from([1, 2, 1 << 16]),
    buckets=st.integers(0, 2),
)


def made(encoder: Encoder, task: Task) -> Model:
    """A model of random weights."""
    generator = np.random.default_rng(0)
    classes = {"binary": ("", "b"), "multiclass": ("", "b", "c"), "regression": ()}[task]
    target = Target("y", "number" if task == "regression" else "text", task, np.empty(0), classes, 5.0, 3.0)
    layers = tuple(
        (generator.normal(size=pair).astype(np.float32), generator.normal(size=pair[1]).astype(np.float32))
        for pair in pairwise([encoder.fields * 2, 4, target.outputs])
    )
    return Model.of_layers("4", target, encoder, generator.normal(size=(encoder.ids, 2)).astype(np.float32), layers)


NOTHING = Columns(3, tuple(column(form, f"c{n}", [None] * 3) for n, form in enumerate(FORMS)))
RARE = Columns(3, (column("texts", "c0", [1, 2, 3]), column("unspelt texts", "c1", [0, 0, 4])))


@settings(deadline=None, max_examples=60)
@given(tables(), fittings, st.sampled_from(["binary", "multiclass", "regression"]))
@example((NOTHING, NOTHING), Fitting(), "binary")
@example((RARE, RARE), Fitting(), "multiclass")
@example((RARE, Columns(0, RARE.take(np.empty(0, np.int64)).columns)), Fitting(bins=0), "regression")
def test_a_model_is_the_same_in_every_form(both: tuple[Columns, Columns], fitting: Fitting, task: Task) -> None:
    model = made(Encoder.fit(both[0], fitting), task)
    blob = model.to_bytes()
    restored = Model.from_bytes(blob)
    assert restored.to_bytes() == blob
    assert [part.slots for part in restored.encoder.parts] == [part.slots for part in model.encoder.parts]
    *_, classes, fields, _ = bridge.describe_model(blob)
    assert classes == (list(model.target.classes) or None) and len(json.loads(fields)) == model.encoder.fields
    for columns in both:
        np.testing.assert_array_equal(restored.outputs(columns), model.outputs(columns))
        wanted = model.values(columns) if task == "regression" else model.probabilities(columns)
        found = by_onnx(restored, columns)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", [[f"name {n // 2}" for n in range(60)], ["a", "b", "c"] * 3 + [None] * 51])
def test_names_that_are_all_rare_do_not_lose_the_estimators_model(names: list[str | None]) -> None:
    X = np.array([[name, float(row % 2)] for row, name in enumerate(names)], object)
    y = np.arange(60) % 2
    fitted = ModelSelector(budget=None, k=1, u=5, isolated=False, options={"max_epochs": 5, "winner": False}).fit(X, y)
    assert fitted.predict_proba(X).shape == (60, 2)
