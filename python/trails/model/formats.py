"""A stored model in the formats that other programs read."""

from __future__ import annotations

from trails.errors import InvalidInput, shown
from trails.model.store import Model

FORMATS = ("safetensors", "onnx", "onnx_encoded")


def export(blob: bytes, form: str) -> bytes:
    """A model in a format that other programs read.

    Args:
        blob: The model as it is stored.
        form: ``safetensors``; ``onnx``, whose inputs are the model's columns; or ``onnx_encoded``, whose inputs are
            rows of the embedding table.

    Raises:
        InvalidInput: There is no such format, it needs a package that is missing, it cannot say what the model does, or
            it is no model.
    """
    if form == "safetensors":
        return blob
    if form not in FORMATS:
        raise InvalidInput(f'there is no format "{shown(form)}"', hint=f"Formats: {', '.join(FORMATS)}.")
    from trails.model.onnx import to_onnx

    return to_onnx(Model.from_bytes(blob), encoded=form == "onnx_encoded")
