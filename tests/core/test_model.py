"""A model blob and its exports: the same predictions wherever it goes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.core.exported import by_onnx, classes_of, session_of
from tests.core.test_encoder import table, texts
from trails import bridge
from trails.errors import InvalidInput
from trails.model.store import Model, header_of
from trails.table.columns import Column, Columns
from trails.table.encoder import Encoder
from trails.table.fitting import Fitting, NumbersAs
from trails.table.log_scale import LogScale
from trails.table.target import Target, Task


def rows(count: int, seed: int) -> Columns:
    generator = np.random.default_rng(seed)
    words = [None if n == 0 else f"word {n}" for n in generator.integers(0, 6, count).tolist()]
    numbers = generator.normal(size=count)
    numbers[::7] = np.nan
    return table(
        texts(words, "word"),
        Column("x", "float64", numbers),
        Column("n", "int32", generator.integers(0, 9, count).astype(np.int32)),
    )


def made(task: Task, bins: int = 32, seed: int = 0, numbers_as: NumbersAs = "bins") -> Model:
    """A model of random weights; one with bins can be written in version 1, too."""
    generator = np.random.default_rng(seed)
    encoder = Encoder.fit(rows(500, 1), Fitting(bins=bins, numbers_as=numbers_as))
    classes = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    target = Target("y", "number" if task == "regression" else "text", task, np.empty(0), classes, 5.0, 3.0)
    sizes = [encoder.fields * 4, 16, 8, target.outputs]
    layers = tuple(
        (generator.normal(size=(a, b)).astype(np.float32), generator.normal(size=b).astype(np.float32))
        for a, b in pairwise(sizes)
    )
    embedding = generator.normal(size=(encoder.ids, 4)).astype(np.float32)
    return Model.of_layers("16-8", target, encoder, embedding, layers, {"auc": 0.5}, {"rows": 500})


def by_logarithm(seed: int = 0) -> Model:
    """One that has learnt a number by its logarithm; its predictions come to both bounds."""
    model = made("regression", seed=seed)
    return replace(model, target=replace(model.target, mean=2.0, std=0.5, scale=LogScale(0.75, 4_000.0)))


def test_a_model_of_logarithms_predicts_numbers_between_its_bounds_in_every_form() -> None:
    model, columns = by_logarithm(), rows(300, 2)
    learnt = model.outputs(columns)[:, 0].astype(np.float64) * 0.5 + 2.0
    expected = np.minimum(np.maximum([math.exp(min(x, 700.0)) - 0.75 for x in learnt.tolist()], 0.0), 4_000.0)
    again = Model.from_bytes(model.to_bytes())
    assert again.target.scale == model.target.scale and again.to_bytes() == model.to_bytes()
    np.testing.assert_allclose(again.values(columns), expected, rtol=1e-12)
    np.testing.assert_allclose(by_onnx(model, columns), expected, rtol=1e-4)
    assert (expected.min(), expected.max()) == (0.0, 4_000.0)
    assert np.count_nonzero((expected > 0) & (expected < 4_000)) > 50
    assert header_of(made("regression").to_bytes())["target"].keys() == {"name", "kind", "mean", "std"}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(("bins", "numbers_as"), [(0, "bins"), (8, "bins"), (8, "interpolated")])
def test_onnx_predicts_the_same(task: Task, bins: int, numbers_as: NumbersAs) -> None:
    model, columns = made(task, bins, numbers_as=numbers_as), rows(300, 2)
    expected = model.values(columns) if task == "regression" else model.probabilities(columns)
    np.testing.assert_allclose(by_onnx(model, columns), expected, rtol=1e-4, atol=1e-5)
    assert classes_of(model) == list(model.target.classes)


def test_probabilities_are_shares_and_regression_has_none() -> None:
    columns = rows(50, 3)
    for task in ("binary", "multiclass"):
        shares = made(task).probabilities(columns)
        assert shares.shape == (50, len(made(task).target.classes)) and (shares >= 0).all()
        np.testing.assert_allclose(shares.sum(1), 1.0)
    with pytest.raises(InvalidInput, match="no probabilities"):
        made("regression").probabilities(columns)


def test_a_blob_says_what_it_is_and_is_the_same_every_time() -> None:
    blob = made("multiclass").to_bytes()
    assert blob == made("multiclass").to_bytes() and bridge.export_model(blob, "safetensors") == blob
    task, architecture, target, columns, classes, fields, metrics = bridge.describe_model(blob)
    assert (task, architecture, target, classes) == ("multiclass", "16-8", "y", ["a", "b", "c"])
    assert json.loads(columns) == {"word": "text", "x": "number", "n": "integer"}
    assert [field["encoding"] for field in json.loads(fields)] == ["categories", "bins", "categories"]
    assert json.loads(metrics) == {"auc": 0.5}
    with pytest.raises(InvalidInput, match='no format "pickle"'):
        bridge.export_model(blob, "pickle")


@pytest.mark.parametrize(("mean", "std"), [(1.7e9, 30.0), (-1e15, 1.0), (1e300, 1e299)])
@pytest.mark.parametrize("form", ["onnx", "onnx_encoded"])
def test_onnx_puts_numbers_out_that_are_large_beside_their_spread(mean: float, std: float, form: str) -> None:
    model, columns = made("regression"), rows(200, 2)
    model = replace(model, target=replace(model.target, mean=mean, std=std))
    session = session_of(model, form)
    (output,) = session.get_outputs()
    assert (output.name, output.type, output.shape) == ("prediction", "tensor(double)", ["rows"])
    outputs = model.outputs(columns)[:, 0].astype(np.float64)
    found = by_onnx(model, columns)
    assert found.dtype == np.float64 and len(np.unique(found)) > 50
    np.testing.assert_allclose(found - mean, outputs * std, rtol=1e-4, atol=1e-4 * std + abs(mean) * 4e-16)


def test_a_metric_that_is_no_number_is_left_out() -> None:
    model = replace(made("binary"), metrics={"auc": float("nan"), "log_loss": 0.5})
    assert Model.from_bytes(model.to_bytes()).metrics == {"log_loss": 0.5}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"trails.model", b"trails.modem"),
        (b"binary", b"ternar"),
        (b"linear.0.bias", b"linear.0.bios"),
        (b'"slots', b'"slits'),
    ],
)
def test_a_foreign_blob_is_refused(old: bytes, new: bytes) -> None:
    blob = made("binary").to_bytes()
    assert old in blob
    with pytest.raises(InvalidInput):
        bridge.describe_model(blob.replace(old, new))


def test_a_source_that_lacks_a_column_or_has_another_type_is_refused() -> None:
    model, columns = made("binary"), rows(10, 4)
    with pytest.raises(InvalidInput, match='no column "x"'):
        model.outputs(columns.without("x"))
    other = Columns(10, (*columns.without("x"), Column("x", "timestamp", np.zeros(10, np.int64))))
    with pytest.raises(InvalidInput, match="timestamp, and the model was trained with number") as caught:
        model.outputs(other)
    assert 'astype("float64")' in (caught.value.hint or "")


@pytest.mark.parametrize("bins", [0, 8])
def test_whole_numbers_stand_for_numbers_and_dates_for_timestamps(bins: int) -> None:
    generator = np.random.default_rng(5)
    days = generator.integers(-9000, 9000, 60)
    mask = (generator.random(60) < 0.2).astype(np.uint8)
    trained = table(
        Column("x", "float64", generator.normal(size=60) * 9),
        Column("flag", "int32", generator.integers(0, 2, 60).astype(np.int32)),
        Column("when", "timestamp", days * 86_400_000_000 + generator.integers(0, 10**10, 60)),
    )
    encoder = Encoder.fit(trained, Fitting(bins=bins))
    small, flags = generator.integers(-20, 20, 60).astype(np.int32), generator.integers(0, 2, 60).astype(np.int32)
    # What is NULL may hold anything, a date out of range too.
    late = np.where(mask, 2**31 - 1, days).astype(np.int32)
    given = table(
        Column("x", "int32", small, None, mask),
        Column("flag", "boolean", flags),
        Column("when", "date", late, None, mask),
    )
    same = table(
        Column("x", "float64", small.astype(np.float64), None, mask),
        Column("flag", "int64", flags.astype(np.int64)),
        Column("when", "timestamp", days * 86_400_000_000, None, mask),
    )
    first, second = encoder.transform(given), encoder.transform(same)
    assert np.array_equal(first.ids, second.ids)
    if bins == 0:
        assert first.values is not None and second.values is not None
        assert np.array_equal(first.values, second.values)
    with pytest.raises(InvalidInput, match="out of range for timestamp") as caught:
        encoder.transform(table(*list(given)[:2], Column("when", "date", np.full(60, 2**31 - 1, np.int32))))
    assert caught.value.sqlstate == "22008"


def test_a_type_that_loses_nothing_predicts_as_the_models_own() -> None:
    model, columns = made("binary"), rows(10, 4)
    whole = Column("x", "int32", np.arange(10, dtype=np.int32))
    same = Column("x", "float64", np.arange(10.0))
    outputs = [model.outputs(Columns(10, (*columns.without("x"), column))) for column in (whole, same)]
    np.testing.assert_array_equal(*outputs)
    nothing = Column("x", "text", np.zeros(10, np.int64), None, np.ones(10, np.uint8))
    missing = Column("x", "float64", np.full(10, np.nan))
    outputs = [model.outputs(Columns(10, (*columns.without("x"), column))) for column in (nothing, missing)]
    np.testing.assert_array_equal(*outputs)
