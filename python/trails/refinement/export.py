"""From a trained candidate to the model that is kept and used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trails.model.store import Model
from trails.refinement.dataset import Dataset
from trails.refinement.stack import fold
from trails.refinement.trial import Trial


def model_of(
    trial: Trial, data: Dataset, metrics: Mapping[str, float] | None = None, training: Mapping[str, Any] | None = None
) -> Model:
    """The best epoch of a candidate, with the encoder of its rows.

    Args:
        trial: That has been trained for an epoch at least.
        data: What it was trained on.
        metrics: Of the validation rows, see `trails.refinement.metrics.report`; by default the two that the trial
            knows.
        training: What else is worth knowing.
    """
    best, layout = trial.best, trial.layout
    assert best is not None, "a trial has a best epoch once it has a metric"
    mlp = layout.mlp(best.mlp)
    hidden = fold(mlp, layout.stats(best.stats))
    layers = [*hidden, (mlp.weight, mlp.bias)]
    metric, loss = data.target.metrics
    return Model.of_layers(
        trial.architecture,
        data.target,
        data.encoder,
        _array(layout.table(best.table)),
        tuple((_array(weight), _array(bias).reshape(-1)) for weight, bias in layers),
        metrics or {metric: trial.best_metric, loss: trial.best_loss},
        {
            "rows": len(data.train),
            "validation_rows": len(data.validation),
            "epochs": trial.epochs,
            "best_epoch": trial.best_epoch,
            "seed": trial.seed,
            **(training or {}),
        },
    )


def blob_size(trial: Trial, data: Dataset) -> int:
    """Bytes of a candidate's model, about."""
    learnt = sum(part.categories.nbytes + part.edges.nbytes for part in data.encoder.parts)
    return 4 * trial.layout.parameters + 2 * learnt


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()
