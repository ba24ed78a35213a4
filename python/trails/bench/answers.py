"""What a recorded benchmark answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """A metric with everything that it is of.

    Args:
        architecture: As its space writes it.
        epoch: From 1.
        seed: Of the training.
        split: ``train``, ``valid`` or ``test``.
        auc: 0 to 1; NaN where the training went wrong.
        loss: Log loss in nats.
    """

    architecture: str
    epoch: int
    seed: int
    split: str
    auc: float
    loss: float


@dataclass(frozen=True)
class Curve:
    """A learning curve, epoch 1 first.

    Args:
        architecture: As its space writes it.
        seed: Of the training.
        train_loss: float32 (epochs,), in nats, mean over an epoch's batches before their steps.
        train_auc: float32 (epochs,).
        valid_auc: float32 (epochs,).
        valid_loss: float32 (epochs,), in nats.
        train_seconds: float32 (epochs,): of the epoch's training, on one core.
        valid_seconds: float32 (epochs,): of predicting the validation rows.
        measured: Whether seconds are; else it was trained in a stack, and they are estimated, or NaN.
    """

    architecture: str
    seed: int
    train_loss: NDArray[np.float32]
    train_auc: NDArray[np.float32]
    valid_auc: NDArray[np.float32]
    valid_loss: NDArray[np.float32]
    train_seconds: NDArray[np.float32]
    valid_seconds: NDArray[np.float32]
    measured: bool
