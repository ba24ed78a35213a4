"""Trains the winner once more, on the rows that were held out as well: on small tables they are missed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from trails.refinement.dataset import Dataset, class_weights
from trails.refinement.trial import Trial
from trails.training.knots import Between
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.weights import Weights

MOST_ROWS = 200_000
"""Rows in all up to which a fifth more is worth the time."""


def rows_in_all(data: Dataset) -> int:
    """Training and validation rows."""
    return len(data.train) + len(data.validation)


def refit(trial: Trial, data: Dataset, options: Options, keep_going: Callable[[float], bool]) -> Weights | None:
    """Train a candidate from its beginning on all rows, for as many epochs as its best one needed.

    Args:
        trial: That has a best epoch.
        data: What it was trained on.
        options: How.
        keep_going: Called after every batch with the epochs done; False gives up.

    Returns:
        The averaged weights; None if given up, or if they do worse on the rows that were held out than before they were
        trained on, which only happens when training goes wrong.
    """
    rows = _together(data, options)
    again, networks = trial.fresh(), trial.networks
    task, names = data.target.task, [trial.architecture]
    stack = networks.stack([trial.layout], [again.begin()], rows, options, trial.seed, names, task)
    done, going = 0, True

    def going_on(share: float) -> bool:
        nonlocal going
        going = keep_going(done + share)
        return going

    while done < trial.best_epoch:
        stack.train_epoch(done + 1, going_on)
        if not going:
            return None
        done += 1
    weights = stack.averaged(0)
    outputs = networks.predict(trial.layout, weights, data.validation).numpy()
    if not np.isfinite(outputs).all():
        return None
    metric, _ = data.measured(outputs)
    return weights if metric >= trial.best_metric else None


def _together(data: Dataset, options: Options) -> EncodedRows:
    train, held = data.train, data.validation
    truth = np.concatenate([train.truth, held.truth])
    rows = None if data.weights is None else np.concatenate(data.weights)
    weights = class_weights(data.target, truth, options.class_weights, rows)
    values = None
    if train.values is not None or held.values is not None:
        values = torch.cat([_factors(part) for part in (train, held)])
    between = Between.together([(part.between, len(part)) for part in (train, held)], train.ids.shape[1])
    if between is not None:
        between = between.to(train.labels.device)
    return EncodedRows(
        torch.cat([train.ids, held.ids]),
        values,
        torch.cat([train.labels, held.labels]),
        truth,
        None if weights is None else torch.from_numpy(weights).to(train.labels.device),
        train.knots,
        between,
    )


def _factors(rows: EncodedRows) -> Tensor:
    return torch.ones_like(rows.ids, dtype=torch.float32) if rows.values is None else rows.values
