"""A model as an ONNX graph, for programs that know nothing of Trails. Needs the package onnx."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from trails.model import operations
from trails.model.onnx_columns import OPSET, OPSET_OF_TEXT, LookedUp, add_columns
from trails.model.onnx_graph import Graph
from trails.model.onnx_inputs import DOUBLE, FLOAT, inputs_of
from trails.model.store import Model

_IR_VERSION = {OPSET: 8, OPSET_OF_TEXT: 9}
"""What came with each: the oldest runtimes that know the operators can read it."""

_ML_OPSET = 2


def to_onnx(model: Model, encoded: bool = False) -> bytes:
    """The model as ONNX, with what is worth knowing of its inputs as metadata.

    Inputs: one for each of the model's columns, by its name, of shape (rows, 1) (`trails.model.onnx_inputs.Input`).

    If ``encoded``, the network alone: ``ids`` int64 (rows, fields), rows of the embedding table; ``values`` float32
    (rows, fields), factors, 1 where a field has none. A model with interpolated fields has two more: ``next`` int64
    (rows, fields), the embedding row behind each, and ``shares`` float32 (rows, fields), how much of the vector is that
    one's (`Encoder.transform`); where the share is 0, it may be any row.

    Outputs: ``probabilities`` float32 (rows, classes), or ``prediction`` float64 (rows,) of a regression, with a ``_``
    behind it where a column is called that.

    Raises:
        InvalidInput: The package onnx is not installed, or ONNX cannot say how a column is encoded.
    """
    graph = Graph(() if encoded else tuple(name for name, _ in model.encoder.columns))
    from onnx import TensorProto, helper

    metadata = {
        "task": model.target.task,
        "target": model.target.name,
        "classes": json.dumps(list(model.target.classes)),
        "fields": json.dumps(model.encoder.describe()),
    }
    opset, given = OPSET, []
    if encoded:
        fields = model.encoder.fields
        between = bool(model.encoder.interpolated)
        looked_up = LookedUp("ids", "values", *(("next", "shares") if between else (None, None)))
        types = {"ids": TensorProto.INT64, "values": TensorProto.FLOAT}
        if between:
            types |= {"next": TensorProto.INT64, "shares": TensorProto.FLOAT}
        given = [helper.make_tensor_value_info(name, kind, ["rows", fields]) for name, kind in types.items()]
    else:
        columns = inputs_of(model.encoder)
        looked_up = add_columns(graph, model.encoder, columns)
        if any(put.kind == "idvalue" for put in columns):
            opset = OPSET_OF_TEXT
        given = [helper.make_tensor_value_info(put.name, put.onnx_type, ["rows", 1]) for put in columns]
        metadata["columns"] = json.dumps([put.describe() for put in columns])
    shape: list[str | int | None] = ["rows"]
    if model.target.task == "regression":
        name, made = "prediction", DOUBLE
    else:
        name, made = "probabilities", FLOAT
        shape.append(len(model.target.classes))
    while any(name == put.name for put in given):
        name += "_"
    _add_network(graph, model, looked_up, name)
    return _written(graph, given, helper.make_tensor_value_info(name, made, shape), opset, metadata)


def _written(graph: Graph, given: list[Any], made: Any, opset: int, metadata: dict[str, str]) -> bytes:
    import onnx
    from onnx import helper, numpy_helper

    constants = [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in graph.constants.items()]
    whole = helper.make_graph(graph.nodes, "trails", given, [made], constants)
    versions = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(whole, opset_imports=versions, producer_name="trails")
    model.ir_version = _IR_VERSION[opset]
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _add_network(graph: Graph, model: Model, looked_up: LookedUp, output: str) -> None:
    """From rows of the embedding table to probabilities, or to numbers."""
    factors = None if looked_up.values is None else graph.put("Unsqueeze", looked_up.values, graph.whole_axes(2))
    share = left = ""
    if looked_up.shares is not None:
        share = graph.put("Unsqueeze", looked_up.shares, graph.whole_axes(2))
        left = graph.put("Sub", graph.single(1.0), share)

    def vectors(table: str) -> str:
        """The fields' vectors out of a table, (rows, fields, numbers)."""
        found = graph.put("Gather", table, looked_up.ids)
        if looked_up.next is not None:
            behind = graph.put("Mul", graph.put("Gather", table, looked_up.next), share)
            found = graph.put("Add", graph.put("Mul", found, left), behind)
        return found if factors is None else graph.put("Mul", found, factors)

    values = [""]
    if any(0 in operations.reads(operation) for operation in model.operations):
        # Said in numbers: of no row at all the width could not be found out.
        flat = graph.whole_axes(-1, model.encoder.fields * model.embedding.shape[1])
        values = [graph.put("Reshape", vectors(graph.constant(model.embedding)), flat)]
    for operation in model.operations:
        of = [values[read] for read in operations.reads(operation)]
        match operation:
            case operations.Linear(_, weight, bias):
                value = graph.put("Gemm", *of, graph.constant(weight), graph.constant(bias))
            case operations.Relu():
                value = graph.put("Relu", *of)
            case operations.Scale(_, factor, shift):
                value = graph.put("Add", graph.put("Mul", *of, graph.constant(factor)), graph.constant(shift))
            case operations.Add():
                value = graph.put("Sum", *of)
            case operations.Mean():
                value = graph.put("Mean", *of)
            case operations.LinearPath(weight):
                value = graph.put("ReduceSum", vectors(graph.constant(weight)), graph.whole_axes(1), keepdims=0)
        values.append(value)
    target, outputs = model.target, values[-1]
    if target.task == "regression":
        # In single precision a number that is large beside its spread would be the same in every row.
        wide = graph.put("Cast", outputs, to=DOUBLE)
        moved = graph.put("Add", graph.put("Mul", wide, graph.double(target.std)), graph.double(target.mean))
        if (scale := target.scale) is not None:
            moved = graph.put("Sub", graph.put("Exp", moved), graph.double(scale.shift))
            moved = graph.put("Min", graph.put("Max", moved, graph.double(0.0)), graph.double(scale.most))
        graph.put("Reshape", moved, graph.whole_axes(-1), output=output)
    elif target.task == "binary":
        positive = graph.put("Sigmoid", outputs)
        negative = graph.put("Sigmoid", graph.put("Neg", outputs))
        graph.put("Concat", negative, positive, axis=1, output=output)
    else:
        graph.put("Softmax", outputs, axis=1, output=output)
