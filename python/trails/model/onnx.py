"""A model as an ONNX graph, for programs that know nothing of Trails. Needs the package onnx."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from trails.errors import InvalidInput
from trails.model.store import Model

_OPSET = 17
_IR_VERSION = 8
"""What opset 17 came with: the oldest runtimes that know the operators can read it."""


def to_onnx(model: Model) -> bytes:
    """The network as ONNX, with what the encoder has learnt as metadata.

    Inputs: ``ids`` int64 (rows, fields), rows of the embedding table; ``values`` float32 (rows, fields), factors, 1
    where a field has none. Outputs: ``probabilities`` float32 (rows, classes), or ``prediction`` float32 (rows,) of a
    regression.

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
    constants: dict[str, Any] = {
        "embedding": model.embedding,
        # Said in numbers: of no row at all the width could not be found out.
        "flat": np.array([-1, model.encoder.fields * model.embedding.shape[1]], np.int64),
        "last": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "ids"], ["looked_up"]),
        helper.make_node("Unsqueeze", ["values", "last"], ["factors"]),
        helper.make_node("Mul", ["looked_up", "factors"], ["embedded"]),
        helper.make_node("Reshape", ["embedded", "flat"], ["layer_0"]),
    ]
    for place, (weight, bias) in enumerate(model.layers):
        last = place == len(model.layers) - 1
        constants |= {f"weight_{place}": weight, f"bias_{place}": bias}
        inputs = [f"layer_{place}", f"weight_{place}", f"bias_{place}"]
        nodes.append(helper.make_node("Gemm", inputs, ["outputs" if last else f"sum_{place}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"sum_{place}"], [f"layer_{place + 1}"]))
    target = model.target
    if target.task == "regression":
        constants |= {
            "std": np.array(target.std, np.float32),
            "mean": np.array(target.mean, np.float32),
            "rows": np.array([-1], np.int64),
        }
        nodes += [
            helper.make_node("Mul", ["outputs", "std"], ["scaled"]),
            helper.make_node("Add", ["scaled", "mean"], ["moved"]),
            helper.make_node("Reshape", ["moved", "rows"], ["prediction"]),
        ]
        made = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows"])
    else:
        if target.task == "binary":
            constants["one"] = np.array(1.0, np.float32)
            nodes += [
                helper.make_node("Sigmoid", ["outputs"], ["positive"]),
                helper.make_node("Sub", ["one", "positive"], ["negative"]),
                helper.make_node("Concat", ["negative", "positive"], ["probabilities"], axis=1),
            ]
        else:
            nodes.append(helper.make_node("Softmax", ["outputs"], ["probabilities"], axis=1))
        made = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", len(target.classes)])
    fields = model.encoder.fields
    graph = helper.make_graph(
        nodes,
        "trails",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", fields]),
            helper.make_tensor_value_info("values", TensorProto.FLOAT, ["rows", fields]),
        ],
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
