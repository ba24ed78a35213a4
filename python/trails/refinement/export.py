"""From a trained candidate to the model that is kept and used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trails.family.networks import ModelFacts
from trails.model.calibrated import at_temperature, on_line
from trails.model.store import Model
from trails.refinement.calibrated_numbers import SHIFT, SLOPE
from trails.refinement.dataset import Dataset
from trails.refinement.trial import Trial
from trails.table.judged import is_loss


def model_of(
    trial: Trial,
    data: Dataset,
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, Any] | None = None,
    seen: NDArray[np.uint32] | None = None,
) -> Model:
    """The best epoch of a candidate, with the encoder of its rows.

    Args:
        trial: That has been trained for an epoch at least.
        data: What it was trained on.
        metrics: Of the validation rows, see `trails.refinement.metrics.report`; by default the two that the trial
            knows. What it calls ``temperature`` the logits are divided by, and a regression's outputs
            are on the line that it names.
        training: What else is worth knowing.
        seen: See `rows_seen`.

    Raises:
        InvalidInput: A stored model cannot say what the network computes.
    """
    assert trial.best is not None, "a trial has a best epoch once it has a metric"
    loss = data.target.metrics[1]
    value = -trial.best_metric if is_loss(data.metric) else trial.best_metric
    facts = ModelFacts(
        trial.architecture,
        data.target,
        data.encoder,
        metrics or {data.metric: value, loss: trial.best_loss},
        {
            "rows": len(data.train),
            "validation_rows": len(data.validation),
            "epochs": trial.epochs,
            "best_epoch": trial.best_epoch,
            "seed": trial.seed,
            **(training or {}),
        },
    )
    model = trial.networks.export(trial.layout, trial.best, facts)
    return replace(calibrated(model, facts.metrics), seen=seen)


def calibrated(model: Model, metrics: Mapping[str, float]) -> Model:
    """The model with its outputs brought to where its metrics are: at a temperature, or on a line."""
    if model.target.task == "regression":
        return on_line(model, metrics.get(SLOPE, 1.0), metrics.get(SHIFT, 0.0))
    return at_temperature(model, metrics.get("temperature", 1.0))


def rows_seen(data: Dataset) -> NDArray[np.uint32]:
    """Training rows by the embedding row that each of their fields has, uint32 (ids,): what later rows are compared
    with."""
    found = torch.zeros(data.encoder.ids, dtype=torch.int64)
    for place in range(data.train.ids.shape[1]):  # a column at a time: counting makes a wide copy
        found += torch.bincount(data.train.ids[:, place], minlength=len(found)).cpu()
    counts: NDArray[np.uint32] = found.clamp(max=2**32 - 1).numpy().astype(np.uint32)
    return counts


def blob_size(trial: Trial, data: Dataset) -> int:
    """Bytes of a candidate's model, about."""
    learnt = sum(part.categories.nbytes + part.edges.nbytes for part in data.encoder.parts)
    return 4 * trial.layout.stored + 2 * learnt + 4 * data.encoder.ids
