"""Models with something wrong with them, made from a sound one: what an attacker writes, and what chance does."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from trails.model.store import Model, header_of

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, -1, 0.0, 1.5, 1e-320, 1e308, 2**31 - 1, 2**32, -(2**63), 2**64 - 1, 2**64, 10**400,
    "", "word", "nul\0", "\ud800", "ü" * 501, [], [[]], {}, {"name": "word", "kind": "text"}, "number", "timestamp",
    "date dmy", "idvalue", "categories", "bins", "scaled", "hour", "value", "regression", "multiclass",
    "interpolated", "linear", "relu", "scale", "add", "mean", "linear_path", "log", [0], [1], [0, 0],
    {"operation": "relu", "of": [1]}, {"operation": "add", "of": [0, 1, 2**32]},
)  # fmt: skip
RAW = ("NaN", "-Infinity", "1e400", "-0", "00", "0x1", "1.", '"\\u0000"', '"\\udc00"', '{"a":1,"a":2}', "[" * 5000)


def _size(of: dict[str, Any]) -> int:
    begin, end = of["data_offsets"]
    return int(end - begin)


class Parts:
    """A blob taken apart.

    Args:
        blob: Of a sound model.
    """

    def __init__(self, blob: bytes) -> None:
        length = int.from_bytes(blob[:8], "little")
        contents = json.loads(blob[8 : 8 + length])
        contents.pop("__metadata__")
        self.header: Any = header_of(blob)
        self.tensors: dict[str, tuple[str, list[int], bytes]] = {
            name: (of["dtype"], of["shape"], blob[8 + length + of["data_offsets"][0] :][: _size(of)])
            for name, of in contents.items()
        }

    def copy(self) -> Parts:
        """Another one that may be changed."""
        return copy.deepcopy(self)

    def blob(self, header: str | None = None, contents: Callable[[dict[str, Any]], Any] | None = None) -> bytes:
        """The blob of what there is now.

        Args:
            header: JSON in place of the header.
            contents: Changes the table of contents.
        """
        text = json.dumps(self.header) if header is None else header
        table: dict[str, Any] = {"__metadata__": {"trails": text}}
        end = 0
        for name, (dtype, shape, data) in self.tensors.items():
            table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
            end += len(data)
        if contents is not None:
            contents(table)
        whole = json.dumps(table).encode()
        whole += b" " * (-len(whole) % 8)
        return len(whole).to_bytes(8, "little") + whole + b"".join(data for _, _, data in self.tensors.values())

    def set_tensor(self, name: str, values: Any) -> None:
        """Replace a tensor's content, and its shape by that of the values."""
        dtype = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U32": np.uint32, "U8": np.uint8}
        found = np.array(values, dtype[self.tensors[name][0]])
        self.tensors[name] = (self.tensors[name][0], list(found.shape), found.tobytes())

    @property
    def output(self) -> str:
        """The linear operation that a plain model ends with."""
        if self.header["version"] == 1:
            return "output"
        return f"linear.{sum(name.startswith('linear.') and name.endswith('.bias') for name in self.tensors) - 1}"

    def layer(self, place: int) -> str:
        """A linear operation before that."""
        return f"layers.{place}" if self.header["version"] == 1 else f"linear.{place}"

    def as_version_1(self) -> Parts:
        """A plain model as earlier releases wrote it."""
        found = self.copy()
        found.header["version"] = 1
        del found.header["operations"]
        for name in [name for name in self.tensors if name.startswith("linear.")]:
            linear, part = name.rsplit(".", 1)
            renamed = "output" if linear == self.output else linear.replace("linear", "layers")
            found.tensors[f"{renamed}.{part}"] = found.tensors.pop(name)
        return found

    def named(self, end: str) -> str:
        """The first tensor whose name ends so."""
        return next(name for name in self.tensors if name.endswith(end))


Forgery = Callable[[Parts], bytes | None]
"""Changes the parts, or gives the whole blob."""


def header(path: tuple[Any, ...], value: Any) -> Forgery:
    """Another entry of the header."""

    def change(parts: Parts) -> None:
        at = parts.header
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


def _gone(name: str) -> Forgery:
    return lambda parts: parts.header.pop(name) and None


def _training(text: str) -> Forgery:
    def change(parts: Parts) -> bytes:
        parts.header["training"] = {"more": "?"}
        return parts.blob(json.dumps(parts.header).replace('"?"', text))

    return change


def _tensor(end: str, values: Any) -> Forgery:
    return lambda parts: parts.set_tensor(parts.named(end), values)


def filled(end: str, value: float) -> Forgery:
    """A tensor of one value."""
    return lambda parts: parts.set_tensor(parts.named(end), np.full(parts.tensors[parts.named(end)][1], value))


def shape(end: str, shape: list[int]) -> Forgery:
    """A tensor of another shape, with as many of its bytes."""

    def change(parts: Parts) -> None:
        dtype, _, data = parts.tensors[name := parts.named(end)]
        parts.tensors[name] = (dtype, shape, data[: 4 * int(np.prod(shape))])

    return change


def _texts(texts: list[bytes]) -> Forgery:
    """Spellings in place of the first text column's."""

    def change(parts: Parts) -> None:
        name = parts.named(".ends").removesuffix(".ends")
        texts_now = [*texts, *([b""] * (parts.tensors[f"{name}.categories"][1][0] - len(texts)))]
        parts.set_tensor(f"{name}.ends", np.cumsum([len(text) for text in texts_now]))
        parts.set_tensor(f"{name}.bytes", np.frombuffer(b"".join(texts_now), np.uint8))

    return change


def _extra(dtype: str) -> Forgery:
    return lambda parts: parts.tensors.update({"other": (dtype, [2], b"\0" * 4)})


def layer(place: int | None, part: str, change: Callable[[str], Forgery]) -> Forgery:
    """A change of the tensor of a layer, None for the output, whatever it is called in the version."""
    return lambda parts: change(f"{parts.output if place is None else parts.layer(place)}.{part}")(parts)


def renamed(new: str) -> Callable[[str], Forgery]:
    """A tensor of another name."""
    return lambda old: lambda parts: parts.tensors.update({new: parts.tensors.pop(old)})


def _output_entry(**changed: Any) -> Forgery:
    """Something of the output's biases in the table of contents."""
    return lambda parts: parts.blob(contents=lambda table: table[f"{parts.output}.bias"].update(changed))


def _contents(change: Callable[[dict[str, Any]], Any]) -> Forgery:
    return lambda parts: parts.blob(contents=change)


def _many_fields(parts: Parts, many: int = 150_000) -> bytes:
    """As many columns, of one number each."""
    field = {
        "kind": "number", "part": "value", "encoding": "scaled", "slots": 3, "buckets": 0, "scale": 1.0, "mean": 0.0,
        "std": 1.0,
    }  # fmt: skip
    parts.header["columns"] = [{"name": f"c{place}", "kind": "number"} for place in range(many)]
    parts.header["fields"] = [{**field, "column": f"c{place}", "first": 3 * place} for place in range(many)]
    parts.tensors = {name: of for name, of in parts.tensors.items() if not name.startswith("fields.")}
    parts.tensors["embedding"] = ("F32", [3 * many, 1], b"\0" * (12 * many))
    parts.header["embedding"] = 1
    return parts.blob()


def _doubled_tensor(parts: Parts) -> bytes:
    """A name twice in the table of contents, with bytes of its own each time."""
    blob = parts.blob()
    length = int.from_bytes(blob[:8], "little")
    dtype, shape, data = parts.tensors[f"{parts.output}.bias"]
    end = len(blob) - 8 - length
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
    more = f', "{parts.output}.bias": {json.dumps(entry)}}}'
    table = blob[8 : 8 + length].rstrip()[:-1] + more.encode()
    return len(table).to_bytes(8, "little") + table + blob[8 + length :] + data


def _first_field(parts: Parts) -> Any:
    return parts.header["fields"][0]


FORGED: dict[str, Forgery] = {
    "a NUL in a label": header(("classes", 0), "n\0"),
    "a NUL in a metric's name": header(("metrics", "a\0c"), 1.0),
    "a NUL in the target's name": header(("target", "name"), "y\0"),
    "half a pair of surrogates": header(("classes", 0), "\ud800"),
    "a label of 20 MB": header(("classes", 0), "x" * 20_000_000),
    "a label of 1001 bytes": header(("classes", 0), "x" * 1_001),
    "labels alike": header(("classes",), ["same", "same"]),
    "one label": header(("classes",), ["one"]),
    "a label that is a number": header(("classes", 1), 7),
    "an architecture of 1 MB": header(("architecture",), "8-" * 500_000),
    "a version that is no integer": header(("version",), 1.0),
    "a version that is true": header(("version",), True),
    "another version": header(("version",), 3),
    "a target that is a list": header(("target",), ["y", "text", 0.0, 1.0]),
    "a kind that is an object": header(("target", "kind"), {"text": None}),
    "a kind that there is not": header(("target", "kind"), "money"),
    "a standard deviation of 0": header(("target", "std"), 0.0),
    "a mean that is text": header(("target", "mean"), "nan"),
    "no fields": header(("fields",), []),
    "fields that are an object": header(("fields",), {}),
    "150,000 fields": _many_fields,
    "an embedding size of 2^63": header(("embedding",), 2**63),
    "a negative first row": header(("fields", 0, "first"), -1),
    "embedding rows beyond 64 bits": header(("fields", 0, "slots"), 2**64),
    "buckets beyond 31 bits": header(("fields", 0, "buckets"), 2**62),
    "a scale of 0": header(("fields", 0, "scale"), 0),
    "a scale beyond single precision": header(("fields", 0, "scale"), 1e39),
    "a reading that there is not": header(("fields", 1, "reading"), "roman"),
    "a reading that is no text": header(("fields", 1, "reading"), None),
    "a reading of another kind": header(("fields", 1, "reading"), "date ymd"),
    "a reading of a text": header(("fields", 0, "reading"), "number"),
    "a column without a field": lambda parts: parts.header["columns"].append({"name": "more", "kind": "text"}),
    "a column twice": lambda parts: parts.header["columns"].append(parts.header["columns"][0]),
    "columns in another order": lambda parts: parts.header["columns"].reverse(),
    "a field's column is another one": lambda parts: _first_field(parts).update(column="more"),
    "a part that the kind has not": lambda parts: _first_field(parts).update(part="hour"),
    "deep JSON": _training("[" * 100_000 + "]" * 100_000),
    "JSON that nests 33 deep": _training("[" * 31 + "]" * 31),
    "very many small values": _training("[" + "0," * (1 << 18) + "0]"),
    "a number beyond double precision": _training("1e400"),
    "an integer of 400 digits": _training("9" * 400),
    "NaN": _training("NaN"),
    "no metrics": _gone("metrics"),
    "no training": _gone("training"),
    "a metric that is text": header(("metrics",), {"auc": "good"}),
    "a header that is a list": lambda parts: parts.blob("[]"),
    "a header that is no JSON": lambda parts: parts.blob("{"),
    "infinite weights": layer(None, "bias", lambda name: filled(name, np.inf)),
    "an embedding of NaN": filled("embedding", np.nan),
    "an embedding of one dimension": lambda parts: parts.tensors.update(
        {"embedding": ("F32", [int(np.prod(parts.tensors["embedding"][1]))], parts.tensors["embedding"][2])}
    ),
    "an embedding of whole numbers": lambda parts: parts.tensors.update(
        {"embedding": ("U32", *parts.tensors["embedding"][1:])}
    ),
    "an embedding of no rows": shape("embedding", [0, 4]),
    "a layer that reads nothing": layer(0, "weight", lambda name: shape(name, [0, 16])),
    "a layer of no outputs": layer(0, "weight", lambda name: shape(name, [4, 0])),
    "a huge shape of no elements": layer(None, "weight", lambda name: shape(name, [2**40, 0])),
    "no output": layer(None, "weight", renamed("outputs.weight")),
    "a layer left out": layer(1, "weight", renamed("layers.7.weight")),
    "categories in disorder": lambda parts: parts.set_tensor(
        parts.named(".categories"), np.frombuffer(parts.tensors[parts.named(".categories")][2], np.int64)[::-1]
    ),
    "edges in disorder": lambda parts: parts.set_tensor(
        parts.named(".edges"), np.frombuffer(parts.tensors[parts.named(".edges")][2])[::-1]
    ),
    "an edge that is NaN": filled(".edges", np.nan),
    "a NUL in a category": _texts([b"a\0b"]),
    "a category that is not UTF-8": _texts([b"a\xffb"]),
    "a category of 1001 bytes": _texts([b"x" * 1_001]),
    "a character across two categories": _texts([b"\xc3", b"\xbc"]),
    "texts that end before they begin": lambda parts: parts.set_tensor(
        parts.named(".ends"), np.arange(parts.tensors[parts.named(".ends")][1][0], 0, -1)
    ),
    "texts that end too early": _tensor(".bytes", np.zeros(10_000, np.uint8)),
    "a tensor without use": _extra("I16"),
    "a tensor of a type that NumPy has not": _extra("BF16"),
    "a tensor twice": _doubled_tensor,
    "tensors that overlap": _output_entry(data_offsets=[0, 4]),
    "an offset below 0": _output_entry(data_offsets=[-4, 0]),
    "an offset beyond the end": _output_entry(data_offsets=[2**40, 2**40 + 4]),
    "a shape that overflows": _contents(lambda table: table["embedding"].update(shape=[2**63, 2**63])),
    "a shape of other size": _contents(lambda table: table["embedding"].update(shape=[3, 5])),
    "no model": _contents(lambda table: table.pop("__metadata__")),
    "metadata that is no object": _contents(lambda table: table.update(__metadata__=3)),
    "deep JSON as table of contents": lambda parts: (100_000).to_bytes(8, "little") + b"[" * 100_000,
    "a table of contents beyond the end": lambda parts: (1 << 40).to_bytes(8, "little") + b"{}",
    "no bytes": lambda parts: b"",
    "too few bytes": lambda parts: b"\x08",
}
"""What must be refused, by what is wrong with it: of plain models of both versions."""


def _of_target(**changed: Any) -> Forgery:
    return lambda parts: parts.header["target"].update(changed)


FORGED_LOGARITHM: dict[str, Forgery] = {
    "a scale that there is not": _of_target(scale="root"),
    "a scale that is null": _of_target(scale=None),
    "a shift of 0": _of_target(shift=0.0),
    "a shift below 0": _of_target(shift=-1),
    "a shift that is true": _of_target(shift=True),
    "no greatest prediction": lambda parts: parts.header["target"].pop("most") and None,
    "a greatest prediction of 0": _of_target(most=0),
    "a greatest prediction beyond double precision": _of_target(most=10**400),
}
"""What is wrong with a model of a regression that has learnt logarithms."""


def forged(parts: Parts, name: str, forgeries: dict[str, Forgery] = FORGED) -> bytes:
    """One of `FORGED`, or of other forgeries."""
    changed = parts.copy()
    made = forgeries[name](changed)
    return made if isinstance(made, bytes) else changed.blob()


def mutated(parts: Parts, seed: int) -> bytes:
    """A blob with one to three things changed at random, in the header, the tensors or the bytes; most are no model."""
    dice = random.Random(seed)
    changed, way = parts.copy(), dice.randrange(8)
    if way < 5:
        for _ in range(dice.randint(1, 3)):
            if way < 3:
                _mutate_header(changed.header, dice)
            if way > 1:
                _mutate_tensor(changed, dice)
    header = json.dumps(changed.header)
    if way == 5:
        digits = [place for place, letter in enumerate(header) if letter.isdigit()]
        at = dice.choice(digits)
        header = header[:at] + dice.choice(RAW) + header[at + 1 :]
    blob = bytearray(changed.blob(header))
    if way > 5:
        _mutate_bytes(blob, dice)
    return bytes(blob)


def _mutate_header(value: Any, dice: random.Random) -> None:
    while isinstance(value, dict | list) and value:
        place = dice.choice(list(value)) if isinstance(value, dict) else dice.randrange(len(value))
        inner = value[place]
        if isinstance(inner, dict | list) and inner and dice.random() < 0.85:
            value = inner
            continue
        match dice.randrange(8):
            case 0:
                del value[place]
            case 1 if isinstance(value, list):
                value.append(inner)
            case 2 if isinstance(value, list):
                value.reverse()
            case _:
                value[place] = copy.deepcopy(dice.choice(ODD))
        return


def _mutate_tensor(parts: Parts, dice: random.Random) -> None:
    name, other = dice.choice(list(parts.tensors)), dice.choice(list(parts.tensors))
    dtype, shape, data = parts.tensors[name]
    count = int(np.prod(shape))
    match dice.randrange(8):
        case 0:
            del parts.tensors[name]
        case 1:
            parts.tensors[name], parts.tensors[other] = parts.tensors[other], parts.tensors[name]
        case 2:
            parts.tensors[
                dice.choice(["linear.2.weight", "output.weight", "scale.0.shift", "fields.99.edges", "", "ü"])
            ] = parts.tensors.pop(name)
        case 3:
            parts.tensors[name] = (dtype, dice.choice([[count], [count, 1], [1, count], [1, 1, count]]), data)
        case 4:
            width = len(data) // count if count else 1
            kept = dice.randrange(count + 1)
            parts.tensors[name] = (dtype, [kept], data[: kept * width])
        case 5:
            same = {"F32": ["U32", "I32"], "U32": ["F32"], "I64": ["F64", "U64"], "F64": ["I64"], "U8": ["I8", "BOOL"]}
            parts.tensors[name] = (dice.choice(same.get(dtype, [dtype])), shape, data)
        case 6 if dtype == "F32" and count:
            odd = np.frombuffer(data, np.float32).copy()
            odd[dice.randrange(count)] = dice.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45, -0.0])
            parts.tensors[name] = (dtype, shape, odd.tobytes())
        case _:
            bytes_now = bytearray(data)
            for _ in range(dice.randint(1, 4) if bytes_now else 0):
                bytes_now[dice.randrange(len(bytes_now))] = dice.randrange(256)
            parts.tensors[name] = (dtype, shape, bytes(bytes_now))


def _mutate_bytes(blob: bytearray, dice: random.Random) -> None:
    contents = 8 + int.from_bytes(blob[:8], "little")
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(contents if dice.random() < 0.5 else len(blob))
        match dice.randrange(6):
            case 0 | 1:
                digits = [at for at in range(place, min(contents, place + 200, len(blob))) if 48 <= blob[at] <= 57]
                if digits:
                    blob[digits[0]] = dice.choice(b"0123456789-e.")
            case 2:
                blob[place] ^= 1 << dice.randrange(8)
            case 3:
                blob[place] = dice.randrange(256)
            case 4:
                del blob[max(8, place) :]
            case _:
                blob += bytes(dice.randrange(256) for _ in range(dice.randrange(20)))
        if len(blob) <= contents:
            return


def verdict(blob: bytes) -> Model | str:
    """The model, or why Python refuses it; any other exception than that of a refusal is a fault."""
    from trails.errors import InvalidInput

    try:
        return Model.from_bytes(blob)
    except InvalidInput as error:
        return f"{error.message}: {error.detail}"
