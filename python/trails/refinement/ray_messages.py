"""What the run and its tasks on a Ray cluster send each other. Imports no ray.

Tensors cross between machines as NumPy arrays, which Ray maps from its object store instead of copying them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trails.family import Design, get_family
from trails.family.networks import Shape
from trails.refinement.costs import Seconds
from trails.refinement.dataset import Dataset
from trails.refinement.trial import EpochResult, Trial
from trails.table.encoder import Encoder
from trails.table.target import Target
from trails.training.knots import Between, Knots
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.weights import Training, Weights

# What lies in the object store is read-only, and only read.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")

_Numbers = NDArray[np.float32] | None
_Between = tuple[NDArray[np.int64], NDArray[np.float32]] | None
PackedRows = tuple[NDArray[np.int32], _Numbers, NDArray[Any], NDArray[Any], _Numbers, _Between]
PackedWeights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class PackedData:
    """A `Dataset` as arrays; ``key`` is the same for every task of a run."""

    key: str
    train: PackedRows
    validation: PackedRows
    encoder: Encoder
    target: Target
    chosen: str | None = None
    calibrate: bool = False


@dataclass(frozen=True)
class PackedTraining:
    """A `Training` as arrays: weights, both moments, average."""

    parts: tuple[PackedWeights, ...]
    steps: int


@dataclass(frozen=True)
class Known:
    """What is known of a candidate when a task begins; its `PackedTraining` comes beside it."""

    family: str
    architecture: str
    shape: Shape
    design: Design
    seed: int
    epochs: int
    best_epoch: int
    best_metric: float
    best_loss: float

    @classmethod
    def of(cls, trial: Trial) -> Known:
        """Of a trial of the run."""
        numbers = trial.epochs, trial.best_epoch, trial.best_metric, trial.best_loss
        return cls(trial.family.name, trial.architecture, trial.layout.shape, trial.design, trial.seed, *numbers)

    def trial(self, training: PackedTraining | None) -> Trial:
        """The trial once more, on the node; None for one that was never trained."""
        family = get_family(self.family)
        layout = family.networks.layout(self.shape, self.design)
        made = Trial(family, self.architecture, None, layout, self.seed, self.epochs, self.best_epoch)
        made.best_metric, made.best_loss = self.best_metric, self.best_loss
        # Copies: a retry starts from the same numbers, and the store's are read-only.
        made.training = None if training is None else unpack_training(training, torch.clone)
        return made


@dataclass(frozen=True)
class TrainingTask:
    """What a task is asked for.

    Args:
        trials: To train together.
        epochs_to: Epochs that each has behind it in the end.
        options: How to train.
        seconds: Until an evaluation has to be given up, from the task's beginning: machines' clocks differ.
        reserve: Seconds to keep for the last evaluation.
        gpu: Whether a GPU is reserved for the task.
    """

    trials: tuple[Known, ...]
    epochs_to: int
    options: Options
    seconds: float
    reserve: float
    gpu: bool


@dataclass(frozen=True)
class Progress:
    """Model-epochs that the task has done so far."""

    epochs: float


@dataclass(frozen=True)
class Epoch:
    """An epoch is over; ``failed`` and ``best`` as the trials stand, the latter where this epoch is the best."""

    number: int
    results: tuple[EpochResult, ...]
    seconds: Seconds
    failed: tuple[bool, ...]
    best: tuple[PackedWeights | None, ...]


@dataclass(frozen=True)
class Done:
    """The last message of a task; before it comes a `PackedTraining` of every trial."""

    in_time: bool


Message = Progress | Epoch | PackedTraining | Done


@dataclass(frozen=True)
class Measured:
    """What a node takes before an epoch's first batch, for a chunk of validation rows, and for an epoch of the first
    candidate."""

    begin: float
    chunk: float
    epoch: Seconds


def pack_rows(rows: EncodedRows) -> PackedRows:
    """Rows as arrays."""
    values, weights = (None if part is None else _array(part) for part in (rows.values, rows.weights))
    between = None if rows.between is None else (_array(rows.between.fields), _array(rows.between.shares))
    return _array(rows.ids), values, _array(rows.labels), rows.truth, weights, between


def unpack_rows(packed: PackedRows, encoder: Encoder) -> EncodedRows:
    """Rows in the memory of the arrays, which ``encoder`` encoded."""
    ids, values, labels, truth, weights, between = packed
    return EncodedRows(
        torch.from_numpy(ids),
        None if values is None else torch.from_numpy(values),
        torch.from_numpy(labels),
        truth,
        None if weights is None else torch.from_numpy(weights),
        Knots.of(encoder),
        None if between is None else Between(*map(torch.from_numpy, between)),
    )


def pack_data(data: Dataset, key: str) -> PackedData:
    """The data set as arrays."""
    train, validation = pack_rows(data.train), pack_rows(data.validation)
    return PackedData(key, train, validation, data.encoder, data.target, data.chosen, data.calibrate)


def unpack_data(packed: PackedData) -> Dataset:
    """The data set in the memory of the arrays."""
    train, validation = (unpack_rows(rows, packed.encoder) for rows in (packed.train, packed.validation))
    return Dataset(train, validation, packed.encoder, packed.target, chosen=packed.chosen, calibrate=packed.calibrate)


def pack_weights(weights: Weights) -> PackedWeights:
    """Weights as arrays."""
    return {name: _array(tensor) for name, tensor in weights.vectors.items()}


def unpack_weights(packed: PackedWeights, take: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> Weights:
    """Weights in the memory of the arrays, or what ``take`` makes of them."""
    return Weights({name: take(torch.from_numpy(array)) for name, array in packed.items()})


def pack_training(training: Training) -> PackedTraining:
    """Training as arrays."""
    return PackedTraining(tuple(pack_weights(part) for part in training.parts()), training.steps)


def unpack_training(packed: PackedTraining, take: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> Training:
    """Training in the memory of the arrays, or what ``take`` makes of them."""
    weights, mean, square, average = (unpack_weights(part, take) for part in packed.parts)
    return Training(weights, mean, square, average, packed.steps)


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.cpu().numpy()
    return array
