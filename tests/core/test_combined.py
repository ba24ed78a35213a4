"""Several networks as one model: the mean of what each puts out, in every form that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.core.exported import by_onnx
from tests.core.test_model import made, rows
from tests.core.test_operations import rich, textbook
from trails.model import combined
from trails.model.calibrated import at_temperature
from trails.model.combined import combine
from trails.model.operations import Linear, LinearPath, Mean, Relu, reads
from trails.model.store import Model
from trails.table.columns import Columns
from trails.table.target import Task


def of_width(task: Task, width: int, size: int, seed: int, bins: int = 8) -> Model:
    """A plain network of two layers for the encoder of `made`, with vectors of so many numbers."""
    like, random = made(task, bins, numbers_as="interpolated" if bins else "bins"), np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)

    layers = [(like.encoder.fields * size, width), (width, 6), (6, like.target.outputs)]
    embedding = normal(like.encoder.ids, size)
    return Model.of_layers(
        f"{width}-6", like.target, like.encoder, embedding, [(normal(*shape), normal(shape[1])) for shape in layers]
    )


def mean_of(models: Sequence[Model], weights: Sequence[int], columns: Columns) -> np.ndarray:
    """What a person would do: every model by itself in double precision, then the mean."""
    outputs = [model.in_double().outputs(columns).astype(np.float64) for model in models]
    return np.average(outputs, axis=0, weights=weights)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("bins", [0, 8], ids=["scaled", "interpolated"])
@pytest.mark.parametrize(("widest", "paths"), [(0, 0), (8, 2), (100, 3)], ids=["side by side", "some paths", "paths"])
def test_it_puts_out_the_weighted_mean_in_every_form(
    task: Task, bins: int, widest: int, paths: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(combined, "MOST_PRODUCTS", widest * of_width(task, 1, 1, 0, bins).encoder.ids)
    models = [of_width(task, width, size, width, bins) for width, size in ((12, 4), (5, 3), (9, 4), (3, 2))]
    weights, columns = (2, 1, 1, 3), rows(200, 2)
    model = combine(models, weights)
    expected = mean_of(models, weights, columns)
    np.testing.assert_allclose(model.outputs(columns), expected, rtol=1e-4, atol=1e-5)
    assert sum(isinstance(operation, LinearPath) for operation in model.operations) == paths
    if not paths:  # the textbook has one path at most
        np.testing.assert_allclose(textbook(model, columns), expected, rtol=1e-4, atol=1e-5)
    again = Model.from_bytes(model.to_bytes())
    np.testing.assert_array_equal(again.outputs(columns), model.outputs(columns))
    shown = model.values(columns) if task == "regression" else model.probabilities(columns)
    np.testing.assert_allclose(by_onnx(model, columns), shown, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("leading", [True, False])
def test_networks_of_every_operation_go_together(task: Task, leading: bool) -> None:
    models = [rich(task, leading), rich(task, not leading, seed=1), rich(task, False, seed=2)]
    columns = rows(200, 3)
    model = combine(models, (1, 2, 1))
    np.testing.assert_allclose(model.outputs(columns), mean_of(models, (1, 2, 1), columns), rtol=1e-4, atol=1e-5)
    assert Model.from_bytes(model.to_bytes()).to_bytes() == model.to_bytes()


def test_no_network_costs_more_than_alone() -> None:
    models = [of_width("binary", width, 4, width) for width in (7, 20, 11)]
    model = combine(models, (1, 1, 1))
    # One is looked up, as before; of the others there is a vector for each embedding row, and the layers behind it.
    alone = [operation for operation in model.operations if isinstance(operation, Linear) and operation.of == 0]
    assert [len(operation.bias) for operation in alone] == [20]
    assert np.array_equal(model.embedding, models[1].embedding) and alone[0].weight is models[1].operations[0].weight
    others = [operation for operation in model.operations if isinstance(operation, Linear) and operation.of]
    assert [operation.weight.shape for operation in others] == [(7, 6), (6, 1), (20, 6), (6, 1), (11, 6), (6, 1)]


def test_what_a_model_says_of_itself_is_the_firsts_unless_it_is_told() -> None:
    models = [replace(of_width("binary", width, 4, width), metrics={"auc": 0.5}) for width in (7, 20)]
    model = combine(models, (1, 1))
    assert (model.architecture, model.metrics) == ("7-6", {"auc": 0.5})
    assert combine(models, (1, 1), {"auc": 0.6}, {"rows": 9}).training == {"rows": 9}
    single = combine(models[:1], (3,), {"auc": 0.7})
    assert single.operations is models[0].operations and single.metrics == {"auc": 0.7}


def test_a_temperature_divides_the_mean() -> None:
    models, columns = [of_width("multiclass", width, 4, width) for width in (7, 20)], rows(100, 4)
    model = combine(models, (1, 1))
    np.testing.assert_allclose(
        at_temperature(model, 2.0).outputs(columns), model.outputs(columns) / 2, rtol=1e-5, atol=1e-6
    )


def test_a_weight_is_how_often_the_mean_reads_a_network() -> None:
    models = [of_width("binary", width, 4, width) for width in (7, 20)]
    *rest, last = combine(models, (3, 1)).operations
    assert isinstance(last, Mean) and sorted(map(last.of.count, set(last.of))) == [1, 3]
    assert all(not isinstance(operation, Mean) for operation in rest) and any(isinstance(o, Relu) for o in rest)
    assert all(value <= len(rest) for value in reads(last))


@pytest.mark.parametrize(
    ("models", "weights"),
    [
        ([], ()),
        ([made("binary")], (0,)),
        ([made("binary")], (1, 1)),
        ([made("binary"), made("multiclass")], (1, 1)),
        ([made("binary", 8), made("binary", 0)], (1, 1)),
        ([made("regression"), replace(made("regression"), target=replace(made("regression").target, std=2.0))], (1, 1)),
    ],
    ids=["none", "weight 0", "weights", "task", "encoder", "scale"],
)
def test_what_does_not_belong_together_is_refused(models: list[Model], weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="networks"):
        combine(models, weights)
