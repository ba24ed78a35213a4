"""What a model predicts as an ONNX graph."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trails import bridge
from trails.model.store import Model
from trails.table.columns import Columns


def session_of(model: Model) -> Any:
    """The model in an ONNX runtime."""
    return onnxruntime.InferenceSession(bridge.export_model(model.to_bytes(), "onnx"))


def by_onnx(model: Model, columns: Columns) -> NDArray[np.float32]:
    """What an ONNX runtime computes."""
    encoded, session = model.encoder.transform(columns), session_of(model)
    given = {
        "ids": encoded.ids.astype(np.int64),
        "values": np.ones(encoded.ids.shape, np.float32) if encoded.values is None else encoded.values,
    }
    if "shares" in [put.name for put in session.get_inputs()]:
        assert encoded.shares is not None
        given |= {"next": given["ids"] + (encoded.shares > 0), "shares": encoded.shares}
    found: NDArray[np.float32] = session.run(None, given)[0]
    return found


def classes_of(model: Model) -> list[str]:
    """The names of the classes that the graph carries."""
    classes: list[str] = json.loads(session_of(model).get_modelmeta().custom_metadata_map["classes"])
    return classes
