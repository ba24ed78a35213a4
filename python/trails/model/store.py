"""A trained model as one safetensors blob: weights, encoder and everything that prediction needs. NumPy only.

The format is read in the server too, by the crate ``trails_model``; docs/model_format.md has the rules that both keep.
Tensors: ``embedding`` (ids, size), what the operations have learnt (`trails.model.operations.describe`), and what each
field has (`Encoder.tensors`). Everything else is JSON in the header. Nothing is unpickled. Version 2 is written, and
version 1, which has layers in place of operations, is read as well.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, shown
from trails.model import operations
from trails.model.operations import Floats, Operation
from trails.table import stored
from trails.table.columns import Columns
from trails.table.encoder import Encoded, Encoder
from trails.table.log_scale import LogScale
from trails.table.target import MOST_CLASSES, TASKS, Target

FORMAT, VERSION = "trails.model", 2

_LARGEST_CONTENTS = 1 << 25
_MOST_LAYERS = 64

_ROWS_AT_ONCE, _NUMBERS_AT_ONCE = 8192, 1 << 28
"""Rows that are computed together: fewer where a row has so many numbers that memory would not last."""


@dataclass(frozen=True)
class Model:
    """A trained network with its encoder.

    Args:
        architecture: Such as ``256-64``.
        target: What it predicts; its ``keys`` are not stored.
        encoder: From columns to embedding rows.
        embedding: float32, shape (ids, size).
        operations: What is computed from what is embedded, in order; `of_layers` for a plain network.
        metrics: Of the validation rows.
        training: What else is worth knowing: rows, epochs, seed, options.
        seen: uint32, shape (ids,): training rows by embedding row; None where nobody counted them.
    """

    architecture: str
    target: Target
    encoder: Encoder
    embedding: NDArray[np.float32]
    operations: tuple[Operation, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    seen: NDArray[np.uint32] | None = None

    @classmethod
    def of_layers(
        cls,
        architecture: str,
        target: Target,
        encoder: Encoder,
        embedding: NDArray[np.float32],
        layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
        metrics: Mapping[str, float] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> Model:
        """A plain network's model.

        Args:
            architecture, target, encoder, embedding, metrics, training: As above.
            layers: Weight (inputs, outputs) and bias (outputs,) of every hidden layer, which has a ReLU behind it, and,
                last, of the output; float32.
        """
        computed = operations.of_layers(layers)
        return cls(architecture, target, encoder, embedding, computed, metrics or {}, training or {})

    def to_bytes(self) -> bytes:
        """The model as one blob; the same model gives the same bytes.

        Raises:
            ValueError: Its operations do not belong together.
        """
        from safetensors.numpy import save

        self._widths()
        described, learnt = operations.describe(self.operations)
        tensors: dict[str, NDArray[Any]] = {"embedding": self.embedding, **learnt, **self.encoder.tensors()}
        if self.seen is not None:
            tensors["seen"] = self.seen
        target = self.target
        described_target = {"name": target.name, "kind": target.kind, "mean": target.mean, "std": target.std}
        if target.scale is not None:
            described_target |= {"scale": "log", "shift": target.scale.shift, "most": target.scale.most}
        header = {
            "format": FORMAT,
            "version": VERSION,
            "task": target.task,
            "architecture": self.architecture,
            "embedding": self.embedding.shape[1],
            "target": described_target,
            "classes": list(target.classes) or None,
            "columns": [{"name": name, "kind": kind} for name, kind in self.encoder.columns],
            "fields": self.encoder.describe(),
            "operations": described,
            # JSON has no NaN, which a metric of one class would be.
            "metrics": {name: value for name, value in self.metrics.items() if math.isfinite(value)},
            "training": dict(self.training),
        }
        whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        return bytes(save(whole, {"trails": json.dumps(header, allow_nan=False)}))

    @classmethod
    def from_bytes(cls, blob: bytes) -> Model:
        """The model that `to_bytes` wrote.

        Raises:
            InvalidInput: Not a model, or of a version that this release does not read.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            if (size := int.from_bytes(blob[:8], "little")) > _LARGEST_CONTENTS:
                raise ValueError(f"its table of contents is {size} bytes long, and {_LARGEST_CONTENTS} are possible")
            # The library checks the table of contents, so that what follows finds one.
            tensors = load(blob)
            return _restore(header_of(blob), tensors)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InvalidInput("the model cannot be read", detail=shown(str(error))) from error

    def outputs(self, columns: Columns) -> NDArray[np.float32]:
        """What the network predicts.

        Args:
            columns: The model's columns, in any order; others are not looked at.

        Returns:
            float32, shape (rows, outputs): logits, or standardised values.

        Raises:
            InvalidInput: A column is missing or of another type.
        """
        encoded = self.encoder.transform(columns)
        found = np.empty((columns.rows, self.target.outputs), np.float32)
        at_once = max(1, min(_ROWS_AT_ONCE, _NUMBERS_AT_ONCE // sum(self._widths())))
        for start in range(0, columns.rows, at_once):
            part = slice(start, min(start + at_once, columns.rows))
            embedded = _looked_up(self.embedding, encoded, part)
            found[part] = operations.compute(
                self.operations,
                embedded.reshape(len(embedded), -1),
                lambda weight, part=part: _looked_up(weight, encoded, part).sum(1),  # type: ignore[misc]
            )
        return found

    def in_double(self) -> Model:
        """The same to predict with in double precision, where a row's outputs do not depend on the rows beside it.

        It is not to be stored.
        """
        return replace(self, operations=operations.in_double(self.operations))

    def probabilities(self, columns: Columns) -> NDArray[np.float64]:
        """Probability of every class, float64 (rows, classes); see `outputs`. Regression has none.

        Raises:
            InvalidInput: The model predicts numbers; a column is missing or of another type.
        """
        if self.target.task == "regression":
            raise InvalidInput("the model predicts numbers, which have no probabilities")
        logits = self.outputs(columns).astype(np.float64)
        if self.target.task == "binary":
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        logits -= logits.max(1, keepdims=True)
        exponentials = np.exp(logits)
        probabilities: NDArray[np.float64] = exponentials / exponentials.sum(1, keepdims=True)
        return probabilities

    def values(self, columns: Columns) -> NDArray[np.float64]:
        """Predicted numbers of a regression in the target's unit, float64 (rows,); see `outputs`."""
        return self.target.values(self.outputs(columns)[:, 0])

    def _widths(self) -> list[int]:
        embedded = self.encoder.fields * self.embedding.shape[1]
        return operations.widths(self.operations, embedded, self.encoder.fields, self.encoder.ids)


def _looked_up(table: Floats, encoded: Encoded, part: slice) -> Floats:
    """The fields' vectors out of a table of one for each embedding row, (rows, fields, numbers)."""
    ids = encoded.ids[part]
    found = table[ids]
    if encoded.shares is not None and (between := encoded.shares[part] > 0.0).any():
        # A share is of a number that lies before the last knot, so that there is a row behind its own.
        share = encoded.shares[part][between][:, None]
        found[between] = (np.float32(1.0) - share) * found[between] + share * table[ids[between] + 1]
    if encoded.values is not None:
        found *= encoded.values[part, :, None]
    return found


def digest(blob: bytes) -> bytes:
    """What tells blobs apart and finds corrupted ones: SHA-256."""
    return hashlib.sha256(blob).digest()


def header_of(blob: bytes) -> dict[str, Any]:
    """The JSON part of a blob of which the table of contents is known to be sound; its entries are unchecked.

    Raises:
        KeyError, TypeError, ValueError, RecursionError: Not a model.
    """
    length = int.from_bytes(blob[:8], "little")
    found = stored.parse(json.loads(blob[8 : 8 + length])["__metadata__"]["trails"])
    if not isinstance(found, dict):
        raise ValueError("the header is no JSON object")
    return found


def _restore(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Model:
    form, version = stored.text(header, "format"), stored.whole(header, "version")
    if form != FORMAT or version not in (1, VERSION):
        raise InvalidInput(
            f"the model is of another version of Trails: {form} {version}",
            hint=f"This release reads {FORMAT} 1 and {VERSION}.",
        )
    metrics, training = stored.keyed(header, "metrics"), stored.keyed(header, "training")
    found = {stored.short(name, "metrics"): stored.number(metrics, name) for name in metrics}
    target = _target(header, version)
    encoder = Encoder.restore(stored.listed(header, "fields"), tensors)
    stored.check_layout(encoder.parts, stored.listed(header, "columns"))
    if version == 1 and any(part.encoding == "interpolated" for part in encoder.parts):
        raise ValueError("the model has a field that is interpolated, which there is not in version 1")
    computed, learnt = (
        _layers(tensors) if version == 1 else operations.restore(stored.listed(header, "operations"), tensors)
    )
    seen = None
    if version != 1 and "seen" in tensors:
        seen = stored.vector(tensors, "seen", np.uint32)
        if len(seen) != encoder.ids:
            raise ValueError(f"rows are counted of {len(seen)} embedding rows, and the encoder has {encoder.ids}")
    named = {"embedding"} if seen is None else {"embedding", "seen"}
    if odd := tensors.keys() - named - learnt - stored.names_of(encoder.parts):
        raise ValueError(f"the model has the tensor {min(odd)!r}, which it has no use for")
    embedding = stored.floats(tensors, "embedding", 2)
    size = embedding.shape[1]
    if embedding.shape[0] != encoder.ids or size != stored.whole(header, "embedding") or size == 0:
        raise ValueError(f"the embedding is of shape {embedding.shape}, and the encoder has {encoder.ids} rows")
    model = Model(stored.text(header, "architecture"), target, encoder, embedding, computed, found, training, seen)
    if (outputs := model._widths()[-1]) != target.outputs:
        raise ValueError(f"the model has {outputs} outputs, and its task needs {target.outputs}")
    return model


def _layers(tensors: Mapping[str, NDArray[Any]]) -> tuple[tuple[Operation, ...], set[str]]:
    """The operations of version 1, and the names of their tensors."""
    hidden = 0
    while hidden < _MOST_LAYERS and f"layers.{hidden}.weight" in tensors:
        hidden += 1
    if hidden == _MOST_LAYERS:
        raise ValueError(f"the model has more than {_MOST_LAYERS} layers")
    names = [*(f"layers.{place}" for place in range(hidden)), "output"]
    layers = [
        (stored.floats(tensors, f"{name}.weight", 2), stored.floats(tensors, f"{name}.bias", 1)) for name in names
    ]
    return operations.of_layers(layers), {f"{name}.{part}" for name in names for part in ("weight", "bias")}


def _target(header: Mapping[str, Any], version: int) -> Target:
    task = stored.one_of(header, "task", TASKS)
    given = [] if stored.entry(header, "classes") is None else stored.listed(header, "classes")
    classes = [stored.short(label, "classes") for label in given]
    few, many = {"binary": (2, 2), "multiclass": (2, MOST_CLASSES), "regression": (0, 0)}[task]
    if not few <= len(classes) <= many:
        raise ValueError(f"a model of the task {task} has {len(classes)} classes")
    stored.distinct(classes, "class")
    described = stored.keyed(header, "target")
    return Target(
        stored.text(described, "name"),
        stored.family(described),
        task,
        np.empty(0),
        tuple(classes),
        stored.number(described, "mean"),
        stored.deviation(described),
        # Version 1 has none: what its header says there was never looked at.
        scale=None if version == 1 or "scale" not in described else _scale(described, task),
    )


def _scale(described: Mapping[str, Any], task: str) -> LogScale:
    stored.one_of(described, "scale", ("log",))
    shift, most = stored.number(described, "shift"), stored.number(described, "most")
    if task != "regression":
        raise ValueError(f"a model of the task {task} has a target with a scale")
    if not (shift > 0.0 and most > 0.0):
        raise ValueError(f"the target's logarithm has the shift {shift}, and predictions of at most {most}")
    return LogScale(shift, most)
