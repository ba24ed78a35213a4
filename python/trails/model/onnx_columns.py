"""The encoder as part of an ONNX graph: from a table's columns as they are to rows of the embedding table.

Its rules are those of `trails.table.fields`, in whole numbers and double precision, so that every row is looked up
where prediction looks it up. ONNX has no NULL and no dates; docs/model_format.md says what stands for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trails.model.onnx_cells import InputColumn
from trails.model.onnx_graph import Graph
from trails.model.onnx_inputs import FLOAT, INT64, NULL_TEXT, UINT64, Input
from trails.table.encoder import Encoder
from trails.table.fields import FIRST_SLOT, NULL, UNKNOWN, Field

OPSET, OPSET_OF_TEXT = 17, 20
"""Of ai.onnx; the second one where texts must be cut, which the first cannot say."""

_MIX = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class LookedUp:
    """Names of what the encoder puts out, all of shape (rows, fields).

    Args:
        ids: int64, rows of the embedding table.
        values: float32 factors; None where all are 1.
        next: int64, the embedding row behind each; None without interpolated fields.
        shares: float32, how much of the vector is that one's; None as well.
    """

    ids: str
    values: str | None
    next: str | None
    shares: str | None


def add_columns(graph: Graph, encoder: Encoder, inputs: list[Input]) -> LookedUp:
    """Everything between the inputs and the embedding table."""
    columns = {put.name: InputColumn(graph, put) for put in inputs}
    ids, values, following, shares = [], [], [], []
    for part, first in zip(encoder.parts, encoder.offsets, strict=True):
        column = columns[part.column]
        slots, value, share = _field(graph, part, column)
        if part.kind != "text":
            slots = graph.put("Where", column.null, graph.whole(NULL), slots)
        ids.append(graph.put("Add", slots, graph.whole(first)))
        values.append(value)
        shares.append(share)
        if share is None:
            following.append(ids[-1])
        else:
            behind = graph.put("Cast", graph.put("Greater", share, graph.single(0.0)), to=INT64)
            following.append(graph.put("Add", ids[-1], behind))

    def together(parts: list[str | None], default: float) -> str | None:
        if not any(parts):
            return None
        shape = graph.put("Shape", ids[0])
        same = graph.put("Expand", graph.single(default), shape)
        return graph.put("Concat", *(part or same for part in parts), axis=1)

    between = together(shares, 0.0)
    return LookedUp(
        graph.put("Concat", *ids, axis=1),
        together(values, 1.0),
        None if between is None else graph.put("Concat", *following, axis=1),
        between,
    )


def _field(graph: Graph, part: Field, column: InputColumn) -> tuple[str, str | None, str | None]:
    """Slot, factor and share of the next slot, (rows, 1); NULL's slot is the caller's to find, but for texts."""
    if part.encoding == "categories":
        factor = None
        if part.kind == "idvalue":
            scaled = graph.put("Div", column.parsed, graph.single(part.scale))
            factor = graph.put("Where", column.null, graph.single(1.0), scaled)
        if part.kind == "text":
            keys = [part.spellings.get(code, "").encode() for code in part.categories.tolist()]
            places = range(FIRST_SLOT, FIRST_SLOT + len(keys))
            known = {"keys_strings": [*keys, NULL_TEXT.encode()], "values_int64s": [*places, NULL]}
            return graph.put_ml("LabelEncoder", column.text, default_int64=UNKNOWN, **known), None, None
        return _category(graph, part, column), factor, None
    number = column.number
    if part.encoding == "scaled":
        moved = graph.put("Sub", number, graph.double(part.mean))
        scaled = graph.put("Div", moved, graph.double(part.std))
        cut = graph.put("Clip", scaled, graph.double(-10.0), graph.double(10.0))
        factor = graph.put("Where", column.null, graph.double(1.0), cut)
        slot = graph.put("Expand", graph.whole(FIRST_SLOT), graph.put("Shape", number))
        return slot, graph.put("Cast", factor, to=FLOAT), None
    # How many edges are at most the number; none of NaN.
    if len(part.edges) == 0:
        return graph.put("Expand", graph.whole(FIRST_SLOT), graph.put("Shape", number)), None, None
    reached = graph.put("GreaterOrEqual", number, graph.constant(part.edges.reshape(1, -1)))
    above = graph.put("ReduceSum", graph.put("Cast", reached, to=INT64), graph.whole_axes(1), keepdims=1)
    if part.encoding == "bins":
        return graph.put("Add", above, graph.whole(FIRST_SLOT)), None, None
    place = graph.put("Max", graph.put("Sub", above, graph.whole(1)), graph.whole(0))
    low = graph.put("Gather", graph.constant(part.edges), place)
    high = graph.put("Gather", graph.constant(np.append(part.edges[1:], part.edges[-1:])), place)
    within = graph.put("Div", graph.put("Sub", number, low), graph.put("Sub", high, low))
    inside = graph.put(
        "And",
        graph.put("Greater", above, graph.whole(0)),
        graph.put("Less", above, graph.whole(len(part.edges))),
    )
    inside = graph.put("And", inside, graph.put("Not", column.null))
    share = graph.put("Cast", graph.put("Where", inside, within, graph.double(0.0)), to=FLOAT)
    return graph.put("Add", place, graph.whole(FIRST_SLOT)), None, share


def _category(graph: Graph, part: Field, column: InputColumn) -> str:
    """Slot of a whole number."""
    key, is_whole = column.key(part.part)
    keys = part.categories.tolist()
    places = list(range(FIRST_SLOT, FIRST_SLOT + len(keys)))
    # One without any category must have a key all the same.
    known = {"keys_int64s": keys or [0], "values_int64s": places or [UNKNOWN]}
    slot = graph.put_ml("LabelEncoder", key, default_int64=UNKNOWN, **known)
    if is_whole is not None:
        slot = graph.put("Where", is_whole, slot, graph.whole(UNKNOWN))
    if part.buckets == 0:
        return slot
    mixed = graph.put("Mul", graph.put("Cast", key, to=UINT64), graph.constant(np.array(_MIX, np.uint64)))
    high = graph.put("BitShift", mixed, graph.constant(np.array(32, np.uint64)), direction="RIGHT")
    bucket = graph.put("Mod", high, graph.constant(np.array(part.buckets, np.uint64)))
    shared = graph.put("Add", graph.put("Cast", bucket, to=INT64), graph.whole(FIRST_SLOT + len(keys)))
    return graph.put("Where", graph.put("Equal", slot, graph.whole(UNKNOWN)), shared, slot)
