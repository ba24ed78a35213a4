"""Several trained networks as one model, which puts out the mean of what they do. NumPy only.

All networks read the same fields, each by an embedding of its own, and a stored model has one. What a linear operation
makes of the embedded row is a sum over the fields of products of their vectors, so the products can be had beforehand:
then the operation is a linear path, one vector for each embedding row, and a shift. The server does just that with the
first operation of a plain model. One network is left as it is, for the server to do it; the others get their paths
here. So a model of several networks costs as much as they do one by one, and nothing is multiplied by zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.model.operations import Add, Linear, LinearPath, Mean, Operation, Scale, reads
from trails.model.store import Model
from trails.table.target import Target

MOST_PRODUCTS = 1 << 20
"""Numbers of a network's linear paths, 4 MiB: of a network that would have more, the embedding is kept."""


def combine(
    models: Sequence[Model],
    weights: Sequence[int],
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Model:
    """One model of several: the weighted mean of their logits, or of their standardised values.

    Args:
        models: Of one encoder and one target. The first one names the architecture, and says what training rows had.
        weights: How often each counts, at least once.
        metrics: Of the whole; by default those of the first one.
        training: What else is worth knowing of the whole; by default that of the first one.

    Raises:
        ValueError: There is no model, they are not of one encoder and one target, or a weight is below 1.
    """
    if not models or len(models) != len(weights) or min(weights) < 1:
        raise ValueError(f"{len(models)} networks and the weights {list(weights)}: each counts at least once")
    first = models[0]
    if any(not _alike(model, first) for model in models[1:]):
        raise ValueError("networks of different encoders or targets are no single model")
    first = replace(
        first,
        metrics=first.metrics if metrics is None else metrics,
        training=first.training if training is None else training,
    )
    if len(models) == 1:
        return first
    kept = [place for place, model in enumerate(models) if not 0 < _products(model) <= MOST_PRODUCTS]
    kept = kept or [int(np.argmax([_products(model) for model in models]))]
    places = _side_by_side([models[place].embedding.shape[1] for place in kept])
    operations: list[Operation] = []
    outputs: list[int] = []
    for place, (model, weight) in enumerate(zip(models, weights, strict=True)):
        rewritten = _Rewritten(len(operations))
        for operation in model.operations:
            rewritten.add(operation, model, places[kept.index(place)] if place in kept else None)
        operations += rewritten.operations
        outputs += [len(operations)] * weight
    embedding = np.concatenate([models[place].embedding for place in kept], axis=1)
    return replace(first, embedding=embedding, operations=(*operations, Mean(tuple(outputs))))


@dataclass(frozen=True)
class _Place:
    """Where the numbers of one network's vectors lie in those of all."""

    begin: int
    end: int
    size: int

    def widened(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """The matrix that reads these numbers of every field, and nothing of the others: (fields * size, outputs)."""
        own, outputs = self.end - self.begin, weight.shape[1]
        if own == self.size:
            return weight
        fields = len(weight) // own
        wide = np.zeros((fields, self.size, outputs), np.float32)
        wide[:, self.begin : self.end] = weight.reshape(fields, own, outputs)
        return wide.reshape(-1, outputs)


def _side_by_side(sizes: Sequence[int]) -> list[_Place]:
    ends = np.cumsum(sizes).tolist()
    return [_Place(end - size, end, ends[-1]) for size, end in zip(sizes, ends, strict=True)]


class _Rewritten:
    """A network's operations among those of several.

    Args:
        before: Operations of others before its first.
    """

    def __init__(self, before: int) -> None:
        self._before = before
        self.operations: list[Operation] = []
        self._values: list[int] = []  # By number less 1, what is read instead.
        self._own_row: int | None = None

    def add(self, operation: Operation, model: Model, place: _Place | None) -> None:
        """Append what computes the same.

        Args:
            operation: Of the model, the next one.
            model: The network.
            place: Of its embedding in that of all; None if what it reads of its own are linear paths.
        """
        if isinstance(operation, Linear) and operation.of == 0:
            if place is None:
                self._put(LinearPath(_folded(model, operation.weight)))
                last = self._put(Scale(self._last, np.ones_like(operation.bias), operation.bias))
            else:
                last = self._put(Linear(0, place.widened(operation.weight), operation.bias))
        elif isinstance(operation, LinearPath):
            last = self._put(operation)
        else:
            of = tuple(self._row(model, place) if value == 0 else self._values[value - 1] for value in reads(operation))
            read: Any = of if isinstance(operation, Add | Mean) else of[0]
            last = self._put(replace(operation, of=read))
        self._values.append(last)

    def _row(self, model: Model, place: _Place | None) -> int:
        """The value that holds the network's own embedded row, where something else than a product reads it."""
        assert place is not None, "a network of which only products read the row has linear paths"
        if place.end - place.begin == place.size:
            return 0
        if self._own_row is None:
            width = model.encoder.fields * (place.end - place.begin)
            taken = place.widened(np.eye(width, dtype=np.float32))
            self._own_row = self._put(Linear(0, taken, np.zeros(width, np.float32)))
        return self._own_row

    def _put(self, operation: Operation) -> int:
        self.operations.append(operation)
        return self._last

    @property
    def _last(self) -> int:
        return self._before + len(self.operations)


def _products(model: Model) -> int:
    """Numbers of the linear paths that a network's products of the embedded row would be; 0 where it reads the row in
    another way, too, or not at all."""
    readers = [operation for operation in model.operations if 0 in reads(operation)]
    if not all(isinstance(operation, Linear) for operation in readers):
        return 0
    return model.encoder.ids * sum(len(o.bias) for o in readers if isinstance(o, Linear))


def _folded(model: Model, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The products of every embedding row with its field's share of the weights, float32 (ids, outputs)."""
    size, outputs = model.embedding.shape[1], weight.shape[1]
    found = np.empty((model.encoder.ids, outputs), np.float32)
    first = 0
    for field, part in enumerate(model.encoder.parts):
        rows = slice(first, first + part.slots)
        share = weight[field * size : (field + 1) * size].astype(np.float64)
        found[rows] = model.embedding[rows].astype(np.float64) @ share
        first += part.slots
    return found


def _alike(model: Model, other: Model) -> bool:
    """Whether two models read the same columns in the same way, and put out the same."""
    said = [field.name for field in fields(Target) if field.name != "keys"]
    if any(getattr(model.target, name) != getattr(other.target, name) for name in said):
        return False
    if model.encoder is other.encoder:
        return True
    mine, its = model.encoder.tensors(), other.encoder.tensors()
    same = model.encoder.describe() == other.encoder.describe() and mine.keys() == its.keys()
    return same and all(np.array_equal(mine[name], its[name]) for name in mine)
