"""What a stored model computes: every operation against a textbook version, in every form that a model takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.core.exported import by_onnx
from tests.core.forged import Parts
from tests.core.test_encoder import table
from tests.core.test_model import made, rows
from trails.model.operations import Add, Linear, LinearPath, Mean, Operation, Relu, Scale, of_layers
from trails.model.store import Model
from trails.table.columns import Column, Columns
from trails.table.encoder import Encoder
from trails.table.target import Task

STORED = Path(__file__).parent / "stored"
"""Models that release 0.2.0 wrote, in version 1, and what it put out for `rows(300, 2)`."""

KNOTS = np.array([-1.0, -0.25, 0.5, 2.0])


def interpolated(encoder: Encoder) -> Encoder:
    """The encoder, with the column x between knots."""
    return Encoder(
        tuple(
            replace(part, encoding="interpolated", edges=KNOTS) if part.column == "x" else part
            for part in encoder.parts
        )
    )


def rich(task: Task = "binary", leading: bool = True, bins: int = 8, seed: int = 0) -> Model:
    """A model of random weights with every operation: a residual block, and an ensemble of two that share weights.

    Args:
        leading: It begins with a linear operation; else several operations read what is embedded.
        bins: Of numbers that are not interpolated; 0 for a scaled one, and none that is interpolated.
    """
    generator = np.random.default_rng(seed)
    plain = made(task, bins)
    encoder = interpolated(plain.encoder) if bins else plain.encoder
    embedded, outputs = encoder.fields * 4, plain.target.outputs

    def normal(*shape: int) -> NDArray[np.float32]:
        return (generator.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)

    head, scales = (normal(16, outputs), normal(outputs)), (normal(16), normal(16))
    begin: list[Operation] = [Linear(0, normal(embedded, 16), normal(16))]
    if not leading:
        begin = [Scale(0, normal(embedded), normal(embedded)), Linear(1, *(both := (normal(embedded, 16), normal(16))))]
        begin += [Linear(0, *both), Add((2, 3))]
    at = len(begin)
    operations: list[Operation] = [
        *begin,
        Relu(at),
        Scale(at + 1, *scales),
        Linear(at + 2, normal(16, 16), normal(16)),
        Relu(at + 3),
        Add((at + 2, at + 4)),
        Linear(at + 5, *head),
        Scale(at + 5, normal(16), normal(16)),
        Linear(at + 7, *head),
        Mean((at + 6, at + 8)),
        LinearPath(normal(encoder.ids, outputs)),
        Add((at + 9, at + 10)),
    ]
    embedding = generator.normal(size=(encoder.ids, 4)).astype(np.float32)
    return replace(plain, encoder=encoder, embedding=embedding, operations=tuple(operations))


def textbook(model: Model, columns: Columns) -> NDArray[np.float64]:
    """The rules as they are written down, row by row in double precision."""
    encoded = model.encoder.transform(columns)
    found = []
    for row in range(columns.rows):
        vectors, path = [], []
        for place, part in enumerate(model.encoder.parts):
            shares = {int(encoded.ids[row, place]): 1.0}
            if part.encoding == "interpolated" and not np.isnan(x := columns[part.column].data[row]):
                first = model.encoder.offsets[place] + 2
                weights = np.array([np.interp(x, part.edges, unit) for unit in np.eye(len(part.edges))])
                shares = {first + knot: weight for knot, weight in enumerate(weights) if weight}
            factor = 1.0 if encoded.values is None else float(encoded.values[row, place])
            for to, wanted in ((vectors, model.embedding), (path, _path(model))):
                to.append(factor * sum(share * wanted[id].astype(np.float64) for id, share in shares.items()))
        values = [np.concatenate(vectors)]
        for operation in model.operations:
            match operation:
                case Linear(of, weight, bias):
                    values.append(values[of] @ weight.astype(np.float64) + bias)
                case Relu(of):
                    values.append(values[of] * (values[of] > 0))
                case Scale(of, factors, shift):
                    values.append(values[of] * factors + shift)
                case Add(several):
                    values.append(sum(values[value] for value in several))
                case Mean(several):
                    values.append(sum(values[value] for value in several) / len(several))
                case LinearPath():
                    values.append(sum(path))
        found.append(values[-1])
    return np.array(found)


def _path(model: Model) -> NDArray[np.float32]:
    found = [operation.weight for operation in model.operations if isinstance(operation, LinearPath)]
    return found[0] if found else np.zeros((model.encoder.ids, 1), np.float32)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("leading", [True, False])
@pytest.mark.parametrize("bins", [0, 8])
def test_every_operation_is_what_the_textbook_says_in_every_form(task: Task, leading: bool, bins: int) -> None:
    model, columns = rich(task, leading, bins), rows(200, 2)
    outputs = model.outputs(columns)
    np.testing.assert_allclose(outputs, textbook(model, columns), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.in_double().outputs(columns), textbook(model, columns), rtol=1e-5, atol=1e-6)
    blob = model.to_bytes()
    again = Model.from_bytes(blob)
    assert again.to_bytes() == blob
    np.testing.assert_array_equal(again.outputs(columns), outputs)
    expected = model.values(columns) if task == "regression" else model.probabilities(columns)
    np.testing.assert_allclose(by_onnx(model, columns), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "alone",
    [
        lambda weight, bias, model: [Linear(0, weight, bias)],
        lambda weight, bias, model: [Linear(0, weight, bias), Relu(1)],
        lambda weight, bias, model: [Linear(0, weight, bias), Scale(1, bias, bias)],
        lambda weight, bias, model: [Linear(0, weight, bias), Linear(0, -weight, bias), Add((1, 2, 2))],
        lambda weight, bias, model: [Linear(0, weight, bias), Linear(0, -weight, bias), Mean((1, 2, 2))],
        lambda weight, bias, model: [LinearPath(model.embedding[:, :3].copy())],
    ],
    ids=["linear", "relu", "scale", "add", "mean", "linear path"],
)
def test_each_operation_by_itself(alone: object) -> None:
    model, columns = made("multiclass"), rows(100, 5)
    generator = np.random.default_rng(1)
    weight = generator.normal(size=(model.encoder.fields * 4, 3)).astype(np.float32)
    bias = generator.normal(size=3).astype(np.float32)
    model = replace(model, operations=tuple(alone(weight, bias, model)))  # type: ignore[operator]
    np.testing.assert_allclose(model.outputs(columns), textbook(model, columns), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_onnx(model, columns), model.probabilities(columns), rtol=1e-4, atol=1e-5)
    assert Model.from_bytes(model.to_bytes()).to_bytes() == model.to_bytes()


def test_shared_weights_are_stored_once() -> None:
    model = rich()
    tensors = Parts(model.to_bytes()).tensors
    assert (
        sum(name.startswith("linear.") for name in tensors) == 6
        and sum(name.startswith("scale.") for name in tensors) == 4
    )
    restored = Model.from_bytes(model.to_bytes()).operations
    heads = [operation for operation in restored if isinstance(operation, Linear)][-2:]
    assert heads[0].weight is heads[1].weight and heads[0].bias is heads[1].bias


def test_a_number_between_two_knots_has_a_share_of_both_and_beyond_them_the_last() -> None:
    encoder = interpolated(made("binary").encoder)
    x = np.array([-9.0, -np.inf, -1.0, -0.625, 0.5, 1.25, 2.0, 7.0, np.inf, np.nan, 0.0])
    nulls = np.array([0] * 10 + [1], np.uint8)
    others = [column for column in rows(11, 1) if column.name != "x"]
    encoded = encoder.transform(table(Column("x", "float64", x, None, nulls), *others))
    place = [part.column for part in encoder.parts].index("x")
    assert (encoded.ids[:, place] - encoder.offsets[place]).tolist() == [2, 2, 2, 2, 4, 4, 5, 5, 5, 1, 1]
    assert encoded.shares is not None
    assert encoded.shares[:, place].tolist() == [0, 0, 0, 0.5, 0, 0.5, 0, 0, 0, 0, 0]
    assert not np.delete(encoded.shares, place, 1).any()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("bins", [0, 8])
def test_a_model_of_an_earlier_release_predicts_to_the_last_bit(task: Task, bins: int) -> None:
    blob, columns = (STORED / f"{task}-{bins}.safetensors").read_bytes(), rows(300, 2)
    model = Model.from_bytes(blob)
    assert Parts(blob).header["version"] == 1 and Parts(model.to_bytes()).header["version"] == 2
    # Its layers, computed as that release did.
    encoded = model.encoder.transform(columns)
    row = model.embedding[encoded.ids]
    if encoded.values is not None:
        row *= encoded.values[:, :, None]
    row = row.reshape(len(row), -1)
    *hidden, (weight, bias) = [(o.weight, o.bias) for o in model.operations if isinstance(o, Linear)]
    for inner, shift in hidden:
        row = row @ inner
        row += shift
        np.maximum(row, 0.0, out=row)
    np.testing.assert_array_equal(model.outputs(columns), row @ weight + bias)
    np.testing.assert_array_equal(Model.from_bytes(model.to_bytes()).outputs(columns), model.outputs(columns))
    # And what it put out, which another machine's library may have added up in another order.
    np.testing.assert_allclose(model.outputs(columns), np.load(STORED / f"{task}-{bins}.npy"), rtol=1e-5, atol=1e-5)


def test_operations_that_do_not_belong_together_are_not_stored() -> None:
    model = made("binary")
    for operations in (
        (),
        model.operations[1:],
        (*model.operations[:-1], Relu(1)),
        (Relu(1), *model.operations[1:]),
        (*model.operations, Add((0, len(model.operations)))),
        of_layers([(np.zeros((3, 1), np.float32), np.zeros(1, np.float32))]),
    ):
        with pytest.raises(ValueError, match=r"model|operation"):
            replace(model, operations=operations).to_bytes()
