"""A model as an ONNX graph, for programs that know nothing of Trails. Needs the package onnx."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from trails.errors import InvalidInput
from trails.model import operations
from trails.model.store import Model

_OPSET = 17
_IR_VERSION = 8
"""What opset 17 came with: the oldest runtimes that know the operators can read it."""


def to_onnx(model: Model) -> bytes:
    """The network as ONNX, with what the encoder has learnt as metadata.

    Inputs: ``ids`` int64 (rows, fields), rows of the embedding table; ``values`` float32 (rows, fields), factors, 1
    where a field has none. A model with interpolated fields has two more: ``next`` int64 (rows, fields), the embedding
    row behind each, and ``shares`` float32 (rows, fields), how much of the vector is that one's (`Encoder.transform`);
    where the share is 0, it may be any row. Outputs: ``probabilities`` float32 (rows, classes), or ``prediction``
    float32 (rows,) of a regression.

    Raises:
        InvalidInput: The package onnx is not installed, or a regression's numbers are beyond single precision.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise InvalidInput(
            "this format needs the package onnx", hint="Install trails[onnx] in the environment.", sqlstate="0A000"
        ) from error

    scale = np.array([model.target.mean, model.target.std])
    if (np.abs(scale) > np.finfo(np.float32).max).any():
        raise InvalidInput(
            "the target's numbers are too large for ONNX, which has them in single precision",
            detail=f"Their mean is {scale[0]:g}, their standard deviation {scale[1]:g}.",
            hint="Train on a view that has the target in a larger unit, or export safetensors.",
            sqlstate="22003",
        )
    constants: dict[str, Any] = {}
    nodes: list[Any] = []

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    between = any(part.encoding == "interpolated" for part in model.encoder.parts)
    constants["last"] = np.array([2], np.int64)
    node("Unsqueeze", ["values", "last"], "factors")
    if between:
        constants["whole"] = np.array(1.0, np.float32)
        node("Unsqueeze", ["shares", "last"], "share")
        node("Sub", ["whole", "share"], "left")

    def looked_up(table: str, prefix: str) -> str:
        """The fields' vectors out of a table, (rows, fields, numbers)."""
        node("Gather", [table, "ids"], f"{prefix}own")
        whole = f"{prefix}own"
        if between:
            node("Gather", [table, "next"], f"{prefix}next")
            node("Mul", [whole, "left"], f"{prefix}own_share")
            node("Mul", [f"{prefix}next", "share"], f"{prefix}next_share")
            node("Add", [f"{prefix}own_share", f"{prefix}next_share"], whole := f"{prefix}between")
        node("Mul", [whole, "factors"], f"{prefix}vectors")
        return f"{prefix}vectors"

    named: dict[int, str] = {}

    def constant(name: str, array: Any) -> str:
        """The name of an array, which is there once if several operations share it."""
        name = named.setdefault(id(array), name)
        constants[name] = array
        return name

    values = ["embedded"]
    if any(0 in operations.reads(operation) for operation in model.operations):
        # Said in numbers: of no row at all the width could not be found out.
        constants["flat"] = np.array([-1, model.encoder.fields * model.embedding.shape[1]], np.int64)
        constants["embedding"] = model.embedding
        node("Reshape", [looked_up("embedding", "embedding_"), "flat"], "embedded")
    for number, operation in enumerate(model.operations, 1):
        value = "outputs" if number == len(model.operations) else f"value_{number}"
        of = [values[read] for read in operations.reads(operation)]
        match operation:
            case operations.Linear(_, weight, bias):
                names = [constant(f"weight_{number}", weight), constant(f"bias_{number}", bias)]
                node("Gemm", [*of, *names], value)
            case operations.Relu():
                node("Relu", of, value)
            case operations.Scale(_, factor, shift):
                node("Mul", [*of, constant(f"factor_{number}", factor)], f"scaled_{number}")
                node("Add", [f"scaled_{number}", constant(f"shift_{number}", shift)], value)
            case operations.Add():
                node("Sum", of, value)
            case operations.Mean():
                node("Mean", of, value)
            case operations.LinearPath(weight):
                constants["fields"] = np.array([1], np.int64)
                vectors = looked_up(constant(f"path_{number}", weight), f"path_{number}_")
                node("ReduceSum", [vectors, "fields"], value, keepdims=0)
        values.append(value)
    target = model.target
    if target.task == "regression":
        constants |= {
            "std": np.array(target.std, np.float32),
            "mean": np.array(target.mean, np.float32),
            "rows": np.array([-1], np.int64),
        }
        node("Mul", ["outputs", "std"], "scaled")
        node("Add", ["scaled", "mean"], "moved")
        node("Reshape", ["moved", "rows"], "prediction")
        made = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows"])
    else:
        if target.task == "binary":
            constants["one"] = np.array(1.0, np.float32)
            node("Sigmoid", ["outputs"], "positive")
            node("Sub", ["one", "positive"], "negative")
            node("Concat", ["negative", "positive"], "probabilities", axis=1)
        else:
            node("Softmax", ["outputs"], "probabilities", axis=1)
        made = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", len(target.classes)])
    fields = model.encoder.fields
    given = {"ids": TensorProto.INT64, "values": TensorProto.FLOAT}
    if between:
        given |= {"next": TensorProto.INT64, "shares": TensorProto.FLOAT}
    graph = helper.make_graph(
        nodes,
        "trails",
        [helper.make_tensor_value_info(name, kind, ["rows", fields]) for name, kind in given.items()],
        [made],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    made_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="trails")
    made_model.ir_version = _IR_VERSION
    helper.set_model_props(made_model, _metadata(model))
    onnx.checker.check_model(made_model)
    return bytes(made_model.SerializeToString())


def _metadata(model: Model) -> dict[str, str]:
    return {
        "task": model.target.task,
        "target": model.target.name,
        "classes": json.dumps(list(model.target.classes)),
        "fields": json.dumps(model.encoder.describe()),
    }
