"""A trained model as one safetensors blob: weights, encoder and everything that prediction needs. NumPy only.

The format is read in the server too, by the crate ``trails_model``. Tensors: ``embedding`` (ids, size); for every
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
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, shown
from trails.table.columns import Columns, Family
from trails.table.encoder import Encoder
from trails.table.target import TASKS, Target, Task

FORMAT, VERSION = "trails.model", 1

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
            tensors = load(blob)
            header = header_of(blob)
            if header["format"] != FORMAT or header["version"] != VERSION:
                raise InvalidInput(
                    f"the model is of another version of Trails: {shown(header['format'])} {shown(header['version'])}",
                    hint=f"This release reads {FORMAT} {VERSION}.",
                )
            return _restore(header, tensors)
        except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidInput("the model cannot be read", detail=shown(str(error))) from error
        except RecursionError:
            raise InvalidInput("the model cannot be read", detail="Its header is nested too deeply.") from None

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
    """The JSON part of a blob, unchecked.

    Raises:
        KeyError, TypeError, ValueError, RecursionError: Not a model.
    """
    length = int.from_bytes(blob[:8], "little")
    found: dict[str, Any] = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["trails"])
    return found


def _restore(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Model:
    described, task = header["target"], header["task"]
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}")
    classes = tuple(map(str, header["classes"] or ()))
    target = Target(
        str(described["name"]),
        cast(Family, described["kind"]),
        cast(Task, task),
        np.empty(0),
        classes,
        float(described["mean"]),
        float(described["std"]),
    )
    encoder = Encoder.restore(header["fields"], tensors)
    hidden = sum(name.startswith("layers.") and name.endswith(".weight") for name in tensors)
    names = [*(f"layers.{place}" for place in range(hidden)), "output"]
    layers = tuple((tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in names)
    embedding = tensors["embedding"]
    inputs = encoder.fields * embedding.shape[1]
    for weight, bias in layers:
        if weight.shape != (inputs, len(bias)) or weight.dtype != np.float32 or bias.dtype != np.float32:
            raise ValueError(f"a layer reads {inputs} numbers and has weights of shape {weight.shape}")
        inputs = len(bias)
    if len(embedding) != encoder.ids or inputs != target.outputs:
        raise ValueError("embedding, output and encoder do not belong together")
    return Model(str(header["architecture"]), target, encoder, embedding, layers, header["metrics"], header["training"])
