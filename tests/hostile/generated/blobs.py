"""What is no model, or one no longer: imported, predicted with, converted."""

from __future__ import annotations

from tests.hostile.case import Case, refused

_BLOBS = {
    "no byte": "''::bytea",
    "one byte": "'\\x00'::bytea",
    "a length without a header": "'\\xffffffffffffffff'::bytea",
    "a negative length": "'\\x0000000000000080'::bytea",
    "a length of nothing": "'\\x0000000000000000'::bytea",
    "an empty object": "'\\x0200000000000000'::bytea || convert_to(chr(123) || chr(125), 'UTF8')",
    "an array for a header": "'\\x0200000000000000'::bytea || '[]'::bytea",
    "arrays in arrays for a header": "'\\xd007000000000000'::bytea || convert_to(repeat('[', 2000), 'UTF8')",
    "half a model": "substr({0}, 1, length({0}) / 2)",
    "a model without its last byte": "substr({0}, 1, length({0}) - 1)",
    "a model and a byte": "{0} || '\\x00'::bytea",
    "two models": "{0} || {0}",
    "a model with another first byte": "set_byte({0}, 0, 255)",
    "a model whose header begins otherwise": "set_byte({0}, 8, 91)",
    "a model with a broken letter in its header": "set_byte({0}, 100, 255)",
    "100,000 zeros": "decode(repeat('00', 100000), 'hex')",
}

_STORED = "(SELECT weights FROM trails.models WHERE name = 't')"


def _cases(what: str, blob: str) -> list[Case]:
    own = blob.format("weights")
    return [
        refused(f"importing {what}", f"SELECT trails.import_model('x', {blob.format(_STORED)})", "22023"),
        refused(f"converting {what}", f"SELECT trails.convert_model({blob.format(_STORED)}, 'onnx')", "22023|XX001"),
        # Whoever can write this row is a superuser, and the row is corrupted.
        refused(
            f"predicting with {what}",
            "SELECT count(*) FROM trails.predict('t', 'things')",
            "XX001|22023",
            preparing=f"UPDATE trails.models SET weights = {own}, digest = sha256({own}) WHERE name = 't'",
        ),
    ]


CASES = [case for what, blob in _BLOBS.items() for case in _cases(what, blob)]
