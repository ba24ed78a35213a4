"""Models of version 2 with something wrong with their operations, or with what these read."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.core.forged import Forgery, Parts, filled, header, layer, renamed, shape


def _operation(number: int, **changed: Any) -> Forgery:
    """Entries of an operation, counted from 1."""
    return lambda parts: parts.header["operations"][number - 1].update(changed)


def _more(*operations: dict[str, Any]) -> Forgery:
    return lambda parts: parts.header["operations"].extend(operations)


def _of_zeros(parts: Parts, shapes: list[list[int]]) -> None:
    """Linear weights of these shapes, the first of which reads what is embedded."""
    shapes[0][0] = parts.tensors["linear.0.weight"][1][0]
    for place, (inputs, outputs) in enumerate(shapes):
        parts.tensors[f"linear.{place}.weight"] = ("F32", [inputs, outputs], bytes(4 * inputs * outputs))
        parts.tensors[f"linear.{place}.bias"] = ("F32", [outputs], bytes(4 * outputs))


def _wide(parts: Parts) -> None:
    """Weights of one row make a value of a million numbers, which is copied."""
    _of_zeros(parts, [[0, 1], [1, 1 << 20], [1 << 20, 1]])
    parts.header["operations"] = [
        {"operation": "linear", "of": [0], "weights": 0},
        {"operation": "linear", "of": [1], "weights": 1},
        *({"operation": "relu", "of": [2]} for _ in range(8)),
        {"operation": "add", "of": list(range(3, 11))},
        {"operation": "linear", "of": [11], "weights": 2},
    ]


def _laborious(parts: Parts) -> None:
    """Weights of 4 MB are used a thousand times."""
    _of_zeros(parts, [[0, 1 << 10], [1 << 10, 1 << 10], [1 << 10, 1]])
    linear = [{"operation": "linear", "of": [place], "weights": min(place, 1)} for place in range(1000)]
    parts.header["operations"] = [*linear, {"operation": "linear", "of": [1000], "weights": 2}]


def _many(parts: Parts) -> None:
    """One behind the other."""
    now = parts.header["operations"]
    now += [{"operation": "relu", "of": [place]} for place in range(len(now), 5000)]


def _knots(parts: Parts) -> np.ndarray[Any, Any]:
    return np.frombuffer(parts.tensors[parts.named(".knots")][2])


FORGED_OPERATIONS: dict[str, Forgery] = {
    "no operations": header(("operations",), []),
    "operations that are an object": header(("operations",), {}),
    "an operation that is a text": header(("operations", 0), "linear"),
    "an operation that there is not": _operation(2, operation="tanh"),
    "an operation that reads itself": _operation(2, of=[2]),
    "an operation that reads a later one": _operation(2, of=[3]),
    "an operation that reads a value beyond 64 bits": _operation(2, of=[2**64]),
    "an operation that reads value -1": _operation(2, of=[-1]),
    "an operation that reads true": _operation(2, of=[True]),
    "an operation that reads nothing": _operation(2, of=[]),
    "an operation that reads a number": _operation(2, of=1),
    "a relu of two values": _operation(2, of=[1, 1]),
    "a sum of no values": _operation(2, operation="add", of=[]),
    "a sum of values of different width": _operation(2, operation="add", of=[0, 1]),
    "a mean of values of different width": _operation(2, operation="mean", of=[0, 1]),
    "a value that nothing reads": _more({"operation": "relu", "of": [1]}),
    "outputs of another width": _more({"operation": "relu", "of": [4]}, {"operation": "add", "of": [6, 4]}),
    "5,000 operations": _many,
    "weights that are not there": _operation(3, weights=9),
    "weights out of order": _operation(1, weights=1),
    "weights of another shape": _operation(3, weights=0),
    "weights beyond 64 bits": _operation(3, weights=2**64),
    "no weights": lambda parts: parts.header["operations"][0].pop("weights") and None,
    "weights that nothing reads": lambda parts: parts.tensors.update({"linear.9.bias": ("F32", [1], bytes(4))}),
    "scales that are not there": _operation(2, operation="scale", weights=0),
    "a linear path without weights": _operation(1, operation="linear_path", weights=0),
    "more numbers than a row may have": _wide,
    "more work than a row may be": _laborious,
    "layers in version 2": layer(0, "weight", renamed("layers.0.weight")),
    "operations in version 1": header(("version",), 1),
}
"""What is wrong with a plain model."""

FORGED_RICH: dict[str, Forgery] = {
    "knots in disorder": lambda parts: parts.set_tensor(parts.named(".knots"), _knots(parts)[::-1]),
    "no knots": lambda parts: parts.set_tensor(parts.named(".knots"), []),
    "a knot that is NaN": filled(".knots", np.nan),
    "one knot too few": lambda parts: parts.set_tensor(parts.named(".knots"), _knots(parts)[1:]),
    "knots too far apart": lambda parts: parts.set_tensor(parts.named(".knots"), [-1.5e308, 0.0, 1.0, 1.5e308]),
    "an infinite knot": lambda parts: parts.set_tensor(parts.named(".knots"), [0.0, 1.0, 2.0, np.inf]),
    "one factor too few": lambda parts: parts.set_tensor("scale.0.factor", np.ones(15)),
    "factors of two dimensions": shape("scale.0.factor", [4, 4]),
    "no shift": lambda parts: parts.tensors.pop("scale.0.shift") and None,
    "a shift that is NaN": filled("scale.0.shift", np.nan),
    "a linear path of other rows": shape("linear_path.0.weight", [3, 1]),
    "a linear path of no outputs": shape("linear_path.0.weight", [3, 0]),
    "a linear path of one dimension": shape("linear_path.0.weight", [3]),
    "a linear path of infinite weights": filled("linear_path.0.weight", np.inf),
    "an interpolated text": lambda parts: parts.header["fields"][0].update(encoding="interpolated"),
    "interpolated in version 1": header(("version",), 1),
}
"""What is wrong with a model that has every operation, and a field between knots."""
