"""What a model predicts as an ONNX graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trails import bridge
from trails.errors import InvalidInput
from trails.model.store import Model
from trails.table.columns import Column, Columns

DAYS = 10_957
TICKS = {"date": 1, "timestamp": 86_400_000_000}


def session_of(model: Model, form: str = "onnx") -> Any:
    """The model in an ONNX runtime."""
    return onnxruntime.InferenceSession(bridge.export_model(model.to_bytes(), form))


def by_onnx(model: Model, columns: Columns) -> NDArray[Any]:
    """What an ONNX runtime computes, float32 probabilities or float64 numbers: the same of encoded rows and, where
    ONNX can say how, of the columns."""
    encoded, session = model.encoder.transform(columns), session_of(model, "onnx_encoded")
    given = {
        "ids": encoded.ids.astype(np.int64),
        "values": np.ones(encoded.ids.shape, np.float32) if encoded.values is None else encoded.values,
    }
    if "shares" in [put.name for put in session.get_inputs()]:
        assert encoded.shares is not None
        given |= {"next": given["ids"] + (encoded.shares > 0), "shares": encoded.shares}
    found: NDArray[Any] = session.run(None, given)[0]
    try:
        session = session_of(model)
    except InvalidInput as error:
        assert error.sqlstate == "0A000" and any(part.kind == "text" for part in model.encoder.parts)
    else:
        np.testing.assert_array_equal(session.run(None, fed(session, columns))[0], found)
    return found


def fed(session: Any, columns: Columns) -> dict[str, NDArray[Any]]:
    """Columns as the inputs of a graph."""
    described = json.loads(session.get_modelmeta().custom_metadata_map["columns"])
    null = {column["name"]: column["null"] for column in described}
    return {put.name: _tensor(put.type, columns[put.name], null[put.name])[:, None] for put in session.get_inputs()}


def _tensor(type_: str, column: Column, null: Any) -> NDArray[Any]:
    nulls = np.zeros(len(column.data), np.bool_) if column.nulls is None else column.nulls != 0
    data = column.data
    if type_ == "tensor(string)":
        return np.array(
            [null if is_null else text for is_null, text in zip(nulls, _texts(column), strict=True)], object
        )
    if type_ == "tensor(double)":
        return np.where(nulls, np.nan, data.astype(np.float64))
    assert type_ == "tensor(int64)"
    shift = DAYS * TICKS.get(column.family, 0)
    return np.where(nulls, null, data.astype(np.int64) + shift)


def _texts(column: Column) -> list[str]:
    if column.kind == "idvalue":
        values = np.ones(len(column.data)) if column.values is None else column.values
        return [f"{key}:{value!s}" for key, value in zip(column.data.tolist(), values, strict=True)]
    known: Mapping[int, str] = {} if column.texts is None else column.texts.spellings()
    return [known.get(code, f"unspelt {code}") for code in column.data.tolist()]


def classes_of(model: Model) -> list[str]:
    """The names of the classes that the graph carries."""
    classes: list[str] = json.loads(session_of(model, "onnx_encoded").get_modelmeta().custom_metadata_map["classes"])
    return classes
