"""A trained model as one safetensors blob: weights, encoder and everything that prediction needs. NumPy only.

The format is read in the server too, by the crate ``trails_model``; docs/model_format.md has the rules that both keep.
Tensors: ``embedding`` (ids, size); for every
hidden layer ``layers.{i}.weight`` (inputs, outputs) and ``layers.{i}.bias`` (outputs), BatchNorm folded in;
``output.weight`` and ``output.bias``; and what each field learnt (`Encoder.tensors`). Everything else is JSON in the
header. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, shown
from trails.table import stored
from trails.table.columns import Columns
from trails.table.encoder import Encoder
from trails.table.target import MOST_CLASSES, TASKS, Target

FORMAT, VERSION = "trails.model", 1

_LARGEST_CONTENTS = 1 << 25
_MOST_LAYERS = 64

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Model:
    """A trained network with its encoder.

    Args:
        architecture: Such as ``256-64``.
        target: What it predicts; its ``keys`` are not stored.
        encoder: From columns to embedding rows.
        embedding: float32, shape (ids, size).
        layers: Weight (inputs, outputs) and bias (outputs,) of every hidden layer and, last, of the output; float32.
        metrics: Of the validation rows.
        training: What else is worth knowing: rows, epochs, seed, options.
    """

    architecture: str
    target: Target
    encoder: Encoder
    embedding: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The model as one blob; the same model gives the same bytes."""
        from safetensors.numpy import save

        tensors: dict[str, NDArray[Any]] = {"embedding": self.embedding}
        for name, (weight, bias) in zip(self._names(), self.layers, strict=True):
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, bias
        tensors |= self.encoder.tensors()
        target = self.target
        header = {
            "format": FORMAT,
            "version": VERSION,
            "task": target.task,
            "architecture": self.architecture,
            "embedding": self.embedding.shape[1],
            "target": {"name": target.name, "kind": target.kind, "mean": target.mean, "std": target.std},
            "classes": list(target.classes) or None,
            "columns": [{"name": name, "kind": kind} for name, kind in self.encoder.columns],
            "fields": self.encoder.describe(),
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
        *hidden, (weight, bias) = self.layers
        found = np.empty((columns.rows, len(bias)), np.float32)
        for start in range(0, columns.rows, _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, columns.rows))
            embedded = self.embedding[encoded.ids[part]]
            if encoded.values is not None:
                embedded *= encoded.values[part, :, None]
            row = embedded.reshape(len(embedded), -1)
            for inner, shift in hidden:
                row = row @ inner
                row += shift
                np.maximum(row, 0.0, out=row)
            found[part] = row @ weight + bias
        return found

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
        return self.outputs(columns)[:, 0].astype(np.float64) * self.target.std + self.target.mean

    def _names(self) -> list[str]:
        return [*(f"layers.{place}" for place in range(len(self.layers) - 1)), "output"]


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
    if (form, version) != (FORMAT, VERSION):
        raise InvalidInput(
            f"the model is of another version of Trails: {form} {version}",
            hint=f"This release reads {FORMAT} {VERSION}.",
        )
    metrics, training = stored.keyed(header, "metrics"), stored.keyed(header, "training")
    found = {stored.short(name, "metrics"): stored.number(metrics, name) for name in metrics}
    target = _target(header)
    encoder = Encoder.restore(stored.listed(header, "fields"), tensors)
    stored.check_layout(encoder.parts, stored.listed(header, "columns"))
    hidden = 0
    while hidden < _MOST_LAYERS and f"layers.{hidden}.weight" in tensors:
        hidden += 1
    if hidden == _MOST_LAYERS:
        raise ValueError(f"the model has more than {_MOST_LAYERS} layers")
    names = [*(f"layers.{place}" for place in range(hidden)), "output"]
    possible = {"embedding", *(f"{name}.{part}" for name in names for part in ("weight", "bias"))}
    if odd := tensors.keys() - possible - stored.names_of(encoder.parts):
        raise ValueError(f"the model has the tensor {min(odd)!r}, which it has no use for")
    embedding = _floats(tensors, "embedding", 2)
    size = embedding.shape[1]
    if embedding.shape[0] != encoder.ids or size != stored.whole(header, "embedding") or size == 0:
        raise ValueError(f"the embedding is of shape {embedding.shape}, and the encoder has {encoder.ids} rows")
    inputs = encoder.fields * size
    layers = []
    for name in names:
        weight, bias = _floats(tensors, f"{name}.weight", 2), _floats(tensors, f"{name}.bias", 1)
        if weight.shape != (inputs, len(bias)) or len(bias) == 0:
            raise ValueError(
                f"{name} has weights of shape {weight.shape} and {len(bias)} biases, and reads {inputs} numbers"
            )
        layers.append((weight, bias))
        inputs = len(bias)
    if inputs != target.outputs:
        raise ValueError(f"the model has {inputs} outputs, and its task needs {target.outputs}")
    return Model(stored.text(header, "architecture"), target, encoder, embedding, tuple(layers), found, training)


def _target(header: Mapping[str, Any]) -> Target:
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
    )


def _floats(tensors: Mapping[str, NDArray[Any]], name: str, dimensions: int) -> NDArray[np.float32]:
    if name not in tensors:
        raise ValueError(f"the model has no tensor {name}")
    found: NDArray[np.float32] = tensors[name]
    if found.dtype != np.float32 or found.ndim != dimensions:
        raise ValueError(f"tensor {name} is of type {found.dtype} and shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"tensor {name} holds numbers that are not finite")
    return found
