"""What a stored model computes: operations on values, each of which has the value of those before it. NumPy only.

Values are numbered: 0 is what is embedded, the fields' vectors one behind the other, and n is what the operation
numbered n from 1 computes. The last value is what the model puts out. docs/model_format.md has the rules, which the
crate ``trails_model`` keeps as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trails.table import stored

MOST_OPERATIONS = 1 << 12
MOST_NUMBERS, MOST_WORK = 1 << 22, 1 << 28
"""Of one row: the numbers of all its values together, and its multiply-adds."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Linear:
    """The product of a value with ``weight`` (inputs, outputs), plus ``bias`` (outputs,), float32.

    Operations that hold the same two arrays share them, in the file too.
    """

    of: int
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Relu:
    """What is below 0 becomes 0."""

    of: int


@dataclass(frozen=True, eq=False)
class Scale:
    """Number by number times ``factor`` (width,), plus ``shift`` (width,), float32; shared as those of `Linear`."""

    of: int
    factor: NDArray[np.float32]
    shift: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Add:
    """The sum of values of one width: with an earlier value a residual connection."""

    of: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of values of one width.

    Of the outputs of an ensemble's members it is the mean of their logits, not of their probabilities.
    """

    of: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LinearPath:
    """A vector for each embedding row, ``weight`` (ids, outputs), float32, times its factor, summed over the fields.

    It is what a linear model of the row predicts, to be added to what a network does.
    """

    weight: NDArray[np.float32]


Operation = Linear | Relu | Scale | Add | Mean | LinearPath

_NAMES: dict[type[Any], str] = {
    Linear: "linear", Relu: "relu", Scale: "scale", Add: "add", Mean: "mean", LinearPath: "linear_path"
}  # fmt: skip
_LEARNT: dict[type[Any], tuple[str, ...]] = {
    Linear: ("weight", "bias"), Scale: ("factor", "shift"), LinearPath: ("weight",)
}  # fmt: skip
_Weighted = TypeVar("_Weighted", Linear, Scale, LinearPath)


def of_layers(layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> tuple[Operation, ...]:
    """A plain network: linear operations, one behind the other, with a ReLU between two.

    Args:
        layers: Weight (inputs, outputs) and bias (outputs,) of every hidden layer and, last, of the output; float32.
    """
    operations: list[Operation] = []
    for weight, bias in layers:
        if operations:
            operations.append(Relu(len(operations)))
        operations.append(Linear(len(operations), weight, bias))
    return tuple(operations)


def reads(operation: Operation) -> tuple[int, ...]:
    """The values that an operation reads; the linear path reads the row itself."""
    if isinstance(operation, LinearPath):
        return ()
    return operation.of if isinstance(operation, Add | Mean) else (operation.of,)


def widths(operations: Sequence[Operation], embedded: int, fields: int, ids: int) -> list[int]:
    """How many numbers a row has of each value, the embedded one first.

    Args:
        operations: In order.
        embedded: Numbers of the embedded value.
        fields: Of a row.
        ids: Embedding rows.

    Raises:
        ValueError: They do not belong together, or compute more than a stored model may.
    """
    if not 1 <= len(operations) <= MOST_OPERATIONS:
        raise ValueError(f"the model has {len(operations)} operations, and 1 to {MOST_OPERATIONS} are possible")
    found, work, read = [embedded], 0, {len(operations)}
    for number, operation in enumerate(operations, 1):
        of = reads(operation)
        if late := [value for value in of if not 0 <= value < number]:
            raise ValueError(f"operation {number} of the model reads value {late[0]}, which there is not before it")
        width = found[of[0]] if of else 0
        if any(found[value] != width for value in of):
            raise ValueError(f"operation {number} of the model reads values of different width")
        cost = width * len(of)
        match operation:
            case Linear(_, weight, bias):
                if weight.shape != (width, len(bias)) or len(bias) == 0:
                    raise ValueError(
                        f"operation {number} has weights of shape {weight.shape} and {len(bias)} biases, and reads"
                        f" {width} numbers"
                    )
                cost, width = width * len(bias), len(bias)
            case Scale(_, factor, shift):
                if factor.shape != (width,) or shift.shape != (width,):
                    raise ValueError(f"operation {number} reads {width} numbers, and scales {factor.shape}")
            case LinearPath(weight):
                if weight.shape[0] != ids or weight.shape[1] == 0:
                    raise ValueError(
                        f"operation {number} has weights of shape {weight.shape}, and there are {ids} rows"
                    )
                width = weight.shape[1]
                cost = fields * width
        found.append(width)
        work += cost
        read |= set(of)
    if sum(found) > MOST_NUMBERS or work > MOST_WORK:
        raise ValueError(
            f"the model's operations compute {sum(found)} numbers and take {work} multiply-adds a row, and"
            f" {MOST_NUMBERS} and {MOST_WORK} are possible"
        )
    if unread := set(range(1, len(found))) - read:
        raise ValueError(f"the model's value {min(unread)} is computed, and nothing reads it")
    return found


def compute(operations: Sequence[Operation], embedded: Floats, path: Callable[[Floats], Floats]) -> Floats:
    """The last value of some rows, float (rows, outputs).

    Args:
        operations: As `widths` takes them.
        embedded: Float (rows, embedded); may be overwritten.
        path: From the weights of a linear path to what the rows' embedding rows add up to.
    """
    left = [0] * (len(operations) + 1)
    for operation in operations:
        for value in reads(operation):
            left[value] += 1
    values: dict[int, Floats] = {0: embedded}
    for number, operation in enumerate(operations, 1):
        of = reads(operation)
        for value in of:
            left[value] -= 1
        found: Floats
        match operation:
            case Linear(value, weight, bias):
                found = values[value] @ weight
                found += bias
            case Relu(value):
                found = np.maximum(values[value], 0.0, out=None if left[value] else values[value])
            case Scale(value, factor, shift):
                found = values[value] * factor
                found += shift
            case Add() | Mean():
                found = values[of[0]].astype(np.result_type(*(values[value] for value in of)))
                for value in of[1:]:
                    found += values[value]
                if isinstance(operation, Mean):
                    found /= found.dtype.type(len(of))
            case LinearPath(weight):
                found = path(weight)
        for value in set(of):
            if left[value] == 0:
                del values[value]
        values[number] = found
    return values[len(operations)]


def in_double(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """The same with weights in double precision, to compute with and not to store."""
    wide: list[Any] = []
    for operation in operations:
        learnt = _LEARNT.get(type(operation), ())
        wide.append(replace(operation, **{name: getattr(operation, name).astype(np.float64) for name in learnt}))
    return tuple(wide)


def describe(operations: Sequence[Operation]) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """The operations as plain JSON types, and their tensors; `restore` reads both back."""
    described: list[dict[str, Any]] = []
    tensors: dict[str, NDArray[Any]] = {}
    known: dict[tuple[Any, ...], int] = {}
    for operation in operations:
        name = _NAMES[type(operation)]
        entry: dict[str, Any] = {"operation": name}
        if not isinstance(operation, LinearPath):
            entry["of"] = list(reads(operation))
        if learnt := _LEARNT.get(type(operation)):
            arrays = [getattr(operation, part) for part in learnt]
            key = (name, *map(id, arrays))
            if key not in known:
                known[key] = sum(other[0] == name for other in known)
                for part, array in zip(learnt, arrays, strict=True):
                    tensors[f"{name}.{known[key]}.{part}"] = array
            entry["weights"] = known[key]
        described.append(entry)
    return described, tensors


def restore(described: Sequence[Any], tensors: stored.Tensors) -> tuple[tuple[Operation, ...], set[str]]:
    """The operations that `describe` wrote, each by itself, and the names of their tensors; `widths` checks the whole.

    Raises:
        ValueError: One of them is no operation, or its weights are not there.
    """
    known: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _NAMES.values()}
    operations: list[Operation] = []
    for number, entry in enumerate(described, 1):
        if number > MOST_OPERATIONS:
            raise ValueError(f"the model has more than {MOST_OPERATIONS} operations")
        name = stored.one_of(entry, "operation", known)
        of = () if name == "linear_path" else stored.wholes(entry, "of")
        if name not in ("add", "mean", "linear_path") and len(of) != 1:
            raise ValueError(f"operation {number} of the model, {name}, reads {len(of)} values")
        match name:
            case "linear":
                operations.append(Linear(of[0], *_learnt(Linear, entry, tensors, known[name])))
            case "relu":
                operations.append(Relu(of[0]))
            case "scale":
                operations.append(Scale(of[0], *_learnt(Scale, entry, tensors, known[name])))
            case "linear_path":
                operations.append(LinearPath(*_learnt(LinearPath, entry, tensors, known[name])))
            case _ if not of:
                raise ValueError(f"operation {number} of the model, {name}, reads no values")
            case "add":
                operations.append(Add(of))
            case _:
                operations.append(Mean(of))
    learnt = {_NAMES[kind]: parts for kind, parts in _LEARNT.items()}
    names = {
        f"{name}.{place}.{part}"
        for name, found in known.items()
        for place in range(len(found))
        for part in learnt[name]
    }
    return tuple(operations), names


def _learnt(
    kind: type[_Weighted], entry: Mapping[str, Any], tensors: stored.Tensors, known: list[tuple[Any, ...]]
) -> tuple[Any, ...]:
    """The arrays of an operation, which are numbered in the order in which they are first used."""
    weights = stored.whole(entry, "weights")
    if weights > len(known):
        raise ValueError(
            f"an operation of the model has the weights {weights}, and {len(known)} of its kind come before"
        )
    if weights == len(known):
        name = f"{_NAMES[kind]}.{weights}"
        known.append(
            tuple(stored.floats(tensors, f"{name}.{part}", 2 if part == "weight" else 1) for part in _LEARNT[kind])
        )
    return known[weights]
