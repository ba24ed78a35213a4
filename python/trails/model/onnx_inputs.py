"""What an ONNX graph takes: a table's columns as they are, and what stands for NULL, which ONNX does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trails.errors import InvalidInput, shown
from trails.table.encoder import Encoder
from trails.table.fields import Field

NULL_TEXT = "\uffff"
"""Stands for NULL among texts: Unicode keeps it from being a character, and every runtime passes it on whole (of a NUL
character some do not)."""

NULL_WHOLE = -(2**63)
"""Stands for NULL among whole numbers: NumPy's NaT. Where it is a category itself, the next one that is none does."""

EXACT = 2**53
"""Whole numbers beyond may not differ in double precision."""

FLOAT, INT64, STRING, BOOL, DOUBLE, UINT64 = 1, 7, 8, 9, 11, 13
"""Of `onnx.TensorProto`."""

_UNITS = {
    "date": "days since 1970-01-01",
    "timestamp": "microseconds since 1970-01-01 00:00 UTC",
    "time": "microseconds since midnight",
    "interval": "seconds",
}


@dataclass(frozen=True)
class Input:
    """A column as the graph takes it, shape (rows, 1).

    Args:
        name: Of the column.
        kind: Family of its type.
        type: ``string``, ``double`` or ``int64``.
        null: What stands for NULL; None of ``double``, where NaN does.
        reading: How the column's texts are read, which is not done in the graph; None of a column of no texts.
    """

    name: str
    kind: str
    type: str
    null: str | int | None
    reading: str | None = None

    @property
    def onnx_type(self) -> int:
        """The type's number."""
        return {"string": STRING, "double": DOUBLE, "int64": INT64}[self.type]

    def describe(self) -> dict[str, Any]:
        """As plain JSON types, with the unit of what has one."""
        found: dict[str, Any] = {"name": self.name, "kind": self.kind, "type": self.type, "null": self.null}
        found |= {"unit": _UNITS[self.kind]} if self.kind in _UNITS else {}
        return found | ({} if self.reading is None else {"reading": self.reading})


def inputs_of(encoder: Encoder) -> list[Input]:
    """The inputs of a model's graph, in the order in which its fields read the columns.

    Raises:
        InvalidInput: ONNX cannot say how a column is encoded, or it has no name.
    """
    found = {}
    for part in encoder.parts:
        if part.part == "value":
            _check(part)
            found[part.column] = Input(part.column, part.kind, *_type_of(part), part.reading)
    # A model may be made of parts alone.
    for part in encoder.parts:
        found.setdefault(part.column, Input(part.column, part.kind, "int64", NULL_WHOLE, part.reading))
    return [found[name] for name, _ in encoder.columns]


def _type_of(part: Field) -> tuple[str, str | int | None]:
    if part.kind in ("text", "idvalue"):
        return "string", NULL_TEXT
    if part.kind in ("date", "timestamp", "time"):
        return "int64", NULL_WHOLE
    # Double precision, with its NaN, is what programs have where numbers may be missing. What it cannot tell apart
    # must not be told apart by the model.
    keys = part.categories
    wide = part.buckets > 0 or (len(keys) > 0 and not -EXACT < int(keys[0]) <= int(keys[-1]) < EXACT)
    if part.kind != "integer" or not wide:
        return "double", None
    null = NULL_WHOLE
    for key in keys.tolist():  # in ascending order
        null += key == null
    return "int64", null


def _check(part: Field) -> None:
    hint = "Export the format onnx_encoded, whose inputs are rows of the embedding table."
    name = shown(part.column)
    if not part.column:
        raise InvalidInput("a column without a name cannot be an input of an ONNX graph", hint=hint, sqlstate="0A000")
    if part.kind != "text":
        return
    if part.buckets:
        raise InvalidInput(
            f'ONNX cannot say how the texts of "{name}" are looked up',
            detail=f"It has more than {len(part.categories)} of them, and the rest is told apart by a hash (XXH3).",
            hint=f"{hint} Or train with a smaller min_count or on a view without the column.",
            sqlstate="0A000",
        )
    from trails.table.texts import hash_of  # its package is not among those that predicting needs

    lost = sum(hash_of(part.spellings.get(code, "")) != code for code in part.categories.tolist())
    if lost:
        raise InvalidInput(
            f'the model does not hold all texts of "{name}" in full, so that ONNX cannot look them up',
            detail=f"Of {lost} texts only the hash is kept, or the first 200 bytes.",
            hint=f"{hint} Or train on a view with shorter texts, or fewer.",
            sqlstate="0A000",
        )
    if NULL_TEXT in part.spellings.values():
        raise InvalidInput(
            f'a text of "{name}" is what stands for NULL in an ONNX graph (U+FFFF)', hint=hint, sqlstate="0A000"
        )
