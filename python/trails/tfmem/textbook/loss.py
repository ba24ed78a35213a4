"""L, the mean loss of a batch: cross-entropy, binary cross-entropy or squared error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional

from trails.errors import InvalidInput

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""The mean loss of logits (B, outputs) and targets (B,), a scalar."""


def mean_loss(logits: Tensor, y: Tensor, loss: Loss | None = None, *, regression: bool = False) -> Tensor:
    """The mean loss of a batch.

    Args:
        logits: (B, outputs).
        y: (B,): class numbers for two or more logits, 0 or 1 for one logit, any number in regression.
        loss: Used instead of the three below.
        regression: Mean squared error of the one output, (f(x) - y)^2 without a factor 1/2.

    Returns:
        A scalar. Without ``loss``: cross-entropy for two or more logits, binary cross-entropy of the sigmoid
        for one.

    Raises:
        InvalidInput: Targets that do not fit the logits.
    """
    if y.shape != logits.shape[:1]:
        raise InvalidInput(f"expected {len(logits)} targets, not an array of shape {tuple(y.shape)}")
    if loss is not None:
        return loss(logits, y)
    outputs = logits.shape[1]
    if regression:
        if outputs != 1:
            raise InvalidInput(f"regression is for networks with one output, not {outputs}")
        return functional.mse_loss(logits[:, 0], y.to(logits.dtype))
    classes = max(2, outputs)
    if bool(((y < 0) | (y >= classes) | (y != y.round())).any()):
        raise InvalidInput(f"targets are whole numbers from 0 to {classes - 1} for {outputs} logits")
    if outputs == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], y.to(logits.dtype))
    return functional.cross_entropy(logits, y.long())
