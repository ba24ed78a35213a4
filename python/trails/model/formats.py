"""A stored model in the formats that other programs read."""

from __future__ import annotations

from trails.errors import InvalidInput, shown
from trails.model.store import Model


def export(blob: bytes, form: str) -> bytes:
    """A model in a format that other programs read.

    Args:
        blob: The model as it is stored.
        form: ``safetensors`` or ``onnx``.

    Raises:
        InvalidInput: There is no such format, it needs a package that is missing, or it is no model.
    """
    if form == "safetensors":
        return blob
    if form != "onnx":
        raise InvalidInput(f'there is no format "{shown(form)}"', hint="Formats: safetensors, onnx.")
    from trails.model.onnx import to_onnx

    return to_onnx(Model.from_bytes(blob))
