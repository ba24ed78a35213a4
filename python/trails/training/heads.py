"""Losses by task, with their gradients by what a network puts out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trails.table.target import Task
from trails.training.rows import EncodedRows


def _binary(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.squeeze(-1)
    losses = torch.nn.functional.softplus(logits).sub_(logits * labels)
    return losses, torch.sigmoid(logits).sub_(labels).unsqueeze(-1)


def _multiclass(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logs = torch.log_softmax(logits, -1)
    places = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    losses = logs.gather(-1, places).squeeze(-1).neg()
    return losses, logs.exp_().scatter_add_(-1, places, torch.full_like(losses, -1.0).unsqueeze(-1))


def _regression(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    error = outputs.squeeze(-1) - labels
    return error.square() / 2, error.unsqueeze(-1)


HEADS: dict[Task, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}
"""By task: outputs (..., rows, outputs) and labels (rows,) to each row's loss (..., rows) and its gradient by the
outputs. The losses are binary cross-entropy, cross-entropy, and half the squared error of the standardised target."""


def mean_loss(task: Task, outputs: Tensor, rows: EncodedRows) -> tuple[Tensor, Tensor]:
    """The mean loss of ``rows``, each times its weight, and its gradient by the outputs.

    Args:
        task: What is learnt.
        outputs: float32 (..., rows, outputs): logits, or standardised values.
        rows: With the labels.

    Returns:
        The loss (...) in nats, of regression in the target's variance, and the gradient, as ``outputs``.
    """
    losses, upper = HEADS[task](outputs, rows.labels)
    if rows.weights is not None:
        losses, upper = losses * rows.weights, upper.mul_(rows.weights.unsqueeze(-1))
    return losses.mean(-1), upper.div_(len(rows))
