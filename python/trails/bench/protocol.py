"""How the architectures of a recorded benchmark are trained: fixed, whatever the product's defaults become.

The published study's protocol: Adam with one learning rate, no dropout, no L2, no averaged weights, no early stopping,
batches of 1024 rows, embeddings of 10 numbers; 14 epochs on Frappe, 5 on UCI Diabetes, 10 on Criteo.

Source: Xing, Cai, Chen et al.: Database Native Model Selection: Harnessing Deep Neural Networks in Database Systems
(VLDB 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from trails.errors import InvalidInput, shown

SAMPLE_SEED = 2024
"""Of the permutation of a space of which every table holds a prefix."""

SEEDS = (1, 2, 3)
"""Of training; the first places have all of them, the others the first."""

WITH_ALL_SEEDS = 100
"""Places that are trained with every seed: their spread is the ceiling of every correlation."""

PREDICTED_ROWS = 2048
"""Validation and test rows whose predictions are kept, of either, where there are so many."""

TRAIN_ROWS_LOOKED_AT = 32_768
"""Training rows of which an epoch's ``train_auc`` is, the same for all architectures, where there are so many: looking
at all of them would take a fifth of the time of training."""

PREDICTIONS_KEPT = 200
"""Predictions are kept of so many of the best architectures and of as many of the first, which are random ones."""

_OPTIONS: Mapping[str, Any] = {
    "batch": 1024,
    "least_batches": 1,
    "learning_rate": 1e-3,
    "embedding_rate": 1e-3,
    "decay": 0.0,
    "embedding_l2": 0.0,
    "weight_decay": 0.0,
    "dropout": 0.0,
    "average": 0.0,
    "embedding": 10,
    "precision": "full",
    "together": "never",
    "class_weights": "none",
}


LATER: Mapping[str, Any] = {"linear_path": False}
"""What the product's training has got since the first tables were recorded, switched off. The options that a setting
records are those above, so that tables recorded before and after are one."""


@dataclass(frozen=True)
class Protocol:
    """One benchmark: what is trained, on what, for how long.

    Args:
        dataset: Name of the dataset.
        space: Name of the space.
        epochs: Of every training.
        options: Of `trails.refinement.options.Options`, as far as they decide the result.
    """

    dataset: str
    space: str
    epochs: int
    options: Mapping[str, Any]

    def trained_with(self, **more: Any) -> dict[str, Any]:
        """Options to train its architectures with: those that are recorded, what is `LATER`, and ``more``."""
        return {**LATER, **self.options, **more}


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.dataset: protocol
        for protocol in (
            Protocol("frappe", "mlp4x20", 14, _OPTIONS),
            Protocol("uci_diabetes", "mlp4x20", 5, _OPTIONS),
            Protocol("criteo", "mlp4x10", 10, _OPTIONS),
        )
    }
)
"""The benchmark of each dataset."""


def get_protocol(dataset: str) -> Protocol:
    """The benchmark of a dataset.

    Raises:
        InvalidInput: There is none.
    """
    if dataset not in PROTOCOLS:
        raise InvalidInput(f"there is no benchmark of '{shown(dataset)}'", hint=f"There are: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[dataset]
