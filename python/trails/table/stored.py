"""What is read back from a stored model: JSON and tensors of which nothing is taken for granted.

The rules are those of docs/model_format.md, which the crate ``trails_model`` keeps as well: a model that one of them
refuses, the other one refuses too. Everything that is wrong is a ValueError that says what.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from trails.table.columns import Family
from trails.table.fields import PARTS, Encoding, Field, Part
from trails.table.readings import READINGS, family_of

MOST_BYTES, MOST_VALUES, DEEPEST = 1 << 24, 1 << 18, 32
"""Of the JSON text: its bytes, the values in it (about: commas and opening brackets outside of texts), its depth."""

LONGEST_TEXT = 1_000
"""Bytes of one text that prediction reads, such as a name or a label."""

MOST_FIELDS = 1 << 14
MOST_IDS = 2**31 - 1

_FAMILIES: tuple[Family, ...] = get_args(Family)
_PARTS: tuple[Part, ...] = get_args(Part)
_ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_LARGEST_SINGLE = float(np.finfo(np.float32).max)

_Text = TypeVar("_Text", bound=str)
Tensors = Mapping[str, NDArray[Any]]


def parse(text: str) -> Any:
    """A JSON text of bounded size and depth, with finite numbers and whole texts."""
    if (size := len(text.encode())) > MOST_BYTES:
        raise ValueError(f"the model's header is {size} bytes long, and {MOST_BYTES} are possible")
    bare = np.frombuffer(_QUOTED.sub('""', text).encode(), np.uint8)
    opened, closed = np.isin(bare, list(b"[{")), np.isin(bare, list(b"]}"))
    if np.cumsum(opened.astype(np.int64) - closed).max(initial=0) > DEEPEST:
        raise ValueError(f"the model's header nests more than {DEEPEST} deep")
    if np.count_nonzero(opened | (bare == ord(","))) > MOST_VALUES:
        raise ValueError(f"the model's header holds more than {MOST_VALUES} values")
    # An integer with a sign and no value is a number with a point for the other reader.
    found = json.loads(text, parse_constant=_refuse, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))
    _check(found)
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check(whole: Any) -> None:
    left = [whole]
    while left:
        value = left.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise ValueError("a text of the model's header holds a NUL character")
            value.encode()  # half a pair of surrogates is a UnicodeEncodeError, which is a ValueError
        elif isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list):
            left += value
        elif isinstance(value, int | float) and not _is_finite(value):
            raise ValueError("a number of the model's header is out of range")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def entry(of: Any, name: str) -> Any:
    """An entry of an object."""
    if not isinstance(of, Mapping):
        raise ValueError(f'what should hold "{name}" is no JSON object')
    if name not in of:
        raise ValueError(f'the model\'s header has no "{name}"')
    return of[name]


def listed(of: Any, name: str) -> Sequence[Any]:
    """An entry that is a list."""
    if not isinstance(found := entry(of, name), list):
        raise ValueError(f'"{name}" of the model\'s header is no list')
    return found


def keyed(of: Any, name: str) -> Mapping[str, Any]:
    """An entry that is an object."""
    if not isinstance(found := entry(of, name), dict):
        raise ValueError(f'"{name}" of the model\'s header is no JSON object')
    return found


def short(text: Any, name: str) -> str:
    """The value, which must be a text of at most `LONGEST_TEXT` bytes, without NUL and whole in UTF-8."""
    if not isinstance(text, str):
        raise ValueError(f'"{name}" of the model\'s header is no text')
    if "\0" in text:
        raise ValueError("a text of the model holds a NUL character")
    if (size := len(text.encode())) > LONGEST_TEXT:
        raise ValueError(f"a text of the model is {size} bytes long, and {LONGEST_TEXT} are possible")
    return text


def text(of: Any, name: str) -> str:
    """An entry that is a text."""
    return short(entry(of, name), name)


def whole(of: Any, name: str) -> int:
    """An entry that is a number without sign, point and exponent, of at most 64 bits."""
    found = entry(of, name)
    if type(found) is not int or not 0 <= found < 2**64:
        raise ValueError(f'"{name}" of the model\'s header is no whole number')
    return found


def wholes(of: Any, name: str) -> tuple[int, ...]:
    """An entry that is a list of numbers as `whole` has them."""
    found = listed(of, name)
    if any(type(value) is not int or not 0 <= value < 2**64 for value in found):
        raise ValueError(f'"{name}" of the model\'s header is no list of whole numbers')
    return tuple(found)


def number(of: Any, name: str) -> float:
    """An entry that is a number."""
    found = entry(of, name)
    if type(found) not in (int, float):
        raise ValueError(f'"{name}" of the model\'s header is no number')
    return float(found)


def deviation(of: Any) -> float:
    """The entry ``std``, which is above 0."""
    if not (found := number(of, "std")) > 0:
        raise ValueError(f"a standard deviation of the model's header is {found}")
    return found


def one_of(of: Any, name: str, possible: Iterable[_Text]) -> _Text:
    """An entry that is one of some texts."""
    found = text(of, name)
    for one in possible:
        if one == found:
            return one
    raise ValueError(f'the model\'s header has the {name} "{found}", which there is not')


def family(of: Any) -> Family:
    """The entry ``kind``: a family of types."""
    return one_of(of, "kind", _FAMILIES)


def distinct(names: Sequence[str], what: str) -> None:
    """Refuse a name that is there twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f'the model has the {what} "{name}" twice')
        seen.add(name)


def vector(tensors: Tensors, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """A tensor of one dimension."""
    if name not in tensors:
        raise ValueError(f"the model has no tensor {name}")
    found = tensors[name]
    if found.dtype != np.dtype(dtype) or found.ndim != 1:
        raise ValueError(f"tensor {name} is of type {found.dtype} and shape {found.shape}")
    return found


def floats(tensors: Tensors, name: str, dimensions: int) -> NDArray[np.float32]:
    """A tensor of finite numbers in single precision."""
    if name not in tensors:
        raise ValueError(f"the model has no tensor {name}")
    found: NDArray[np.float32] = tensors[name]
    if found.dtype != np.float32 or found.ndim != dimensions:
        raise ValueError(f"tensor {name} is of type {found.dtype} and shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"tensor {name} holds numbers that are not finite")
    return found


def restore_field(number_of: int, described: Any, tensors: Tensors, first: int) -> Field:
    """A field that `Encoder.describe` and `Encoder.tensors` wrote.

    Args:
        number_of: Its place among the fields, from 0.
        described: Its entry in the header.
        tensors: Of the model.
        first: First of its embedding rows.

    Raises:
        ValueError: They do not belong together, or are not what a field can be.
    """
    kind, part = family(described), one_of(described, "part", _PARTS)
    encoding, column = one_of(described, "encoding", _ENCODINGS), text(described, "column")
    begin, slots, buckets = (whole(described, name) for name in ("first", "slots", "buckets"))
    reading = None
    if "reading" in described:  # What an earlier release wrote has none.
        reading = one_of(described, "reading", READINGS)
        if family_of(reading) != kind:
            raise ValueError(f"texts that are read as {reading} are no {kind}")
    scale, mean, std = number(described, "scale"), number(described, "mean"), deviation(described)
    if begin != first:
        raise ValueError(f"field {number_of} begins at embedding row {begin}, not {first}")
    if encoding == "categories":
        possible = kind not in ("number", "interval")
    else:
        possible = part == "value" and kind not in ("boolean", "text", "idvalue")
    if not possible or part not in PARTS.get(kind, ("value",)):
        raise ValueError(f"field {number_of} is the {part} of a {kind} as {encoding}, which there is not")
    if not 1.0 <= scale <= _LARGEST_SINGLE:
        raise ValueError(f"field {number_of} has the scale {scale}")
    if buckets > MOST_IDS or (encoding != "categories" and buckets):
        raise ValueError(f"field {number_of} has {buckets} buckets")
    learnt: dict[str, Any] = {}
    if encoding == "categories":
        keys = learnt["categories"] = vector(tensors, f"fields.{number_of}.categories", np.int64)
        if not (keys[1:] > keys[:-1]).all():
            raise ValueError(f"the categories of field {number_of} are not in order")
        if kind == "text":
            learnt["spellings"] = _spellings(number_of, keys, tensors)
    elif encoding == "bins":
        edges = learnt["edges"] = vector(tensors, f"fields.{number_of}.edges", np.float64)
        if not np.isfinite(edges).all() or not (edges[1:] > edges[:-1]).all():
            raise ValueError(f"the edges of field {number_of} are not in order")
    elif encoding == "interpolated":
        knots = learnt["edges"] = vector(tensors, f"fields.{number_of}.knots", np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            if len(knots) == 0 or not np.isfinite(knots[-1] - knots[0]) or not (knots[1:] > knots[:-1]).all():
                raise ValueError(f"the knots of field {number_of} are none, not in order, or too far apart")
    learnt |= {"buckets": buckets, "scale": scale, "mean": mean, "std": std, "reading": reading}
    restored = Field(column, kind, part, encoding, **learnt)
    if restored.slots != slots or first + slots > MOST_IDS:
        raise ValueError(f"field {number_of} has {slots} embedding rows and needs {restored.slots}")
    return restored


def _spellings(number_of: int, keys: NDArray[np.int64], tensors: Tensors) -> dict[int, str]:
    """Text by category, where it was kept."""
    ends = vector(tensors, f"fields.{number_of}.ends", np.uint32).astype(np.int64)
    stored = vector(tensors, f"fields.{number_of}.bytes", np.uint8).tobytes()
    lengths = np.diff(ends, prepend=0)
    if len(ends) != len(keys) or (lengths < 0).any() or int(lengths.sum()) != len(stored):
        raise ValueError(f"field {number_of} has {len(keys)} categories, and texts of other number or length")
    if (lengths > LONGEST_TEXT).any() or b"\0" in stored:
        raise ValueError(f"a text of field {number_of} holds a NUL character or more than {LONGEST_TEXT} bytes")
    known = np.flatnonzero(lengths)
    return {
        code: stored[end - length : end].decode()
        for code, end, length in zip(keys[known].tolist(), ends[known].tolist(), lengths[known].tolist(), strict=True)
    }


def check_layout(fields: Sequence[Field], columns: Sequence[Any]) -> None:
    """Refuse columns that are not those that the fields read, in order of first use."""
    named = [(text(column, "name"), family(column)) for column in columns]
    distinct([name for name, _ in named], "column")
    used: dict[str, Family] = {}
    readings: dict[str, str | None] = {}
    for part in fields:
        if readings.setdefault(part.column, part.reading) != part.reading:
            raise ValueError(f'the fields of column "{part.column}" differ in how its texts are read')
        if used.setdefault(part.column, part.kind) != part.kind:
            raise ValueError(f'the fields of column "{part.column}" differ in kind')
    if list(used.items()) != named:
        raise ValueError("the model's columns are not those that its fields read, in the order in which they do")


def names_of(fields: Sequence[Field]) -> set[str]:
    """The tensors that the fields have."""
    found: set[str] = set()
    for place, part in enumerate(fields):
        if part.encoding == "categories":
            learnt = ("categories", "ends", "bytes") if part.kind == "text" else ("categories",)
            found |= {f"fields.{place}.{name}" for name in learnt}
        elif part.encoding == "bins":
            found.add(f"fields.{place}.edges")
        elif part.encoding == "interpolated":
            found.add(f"fields.{place}.knots")
    return found
