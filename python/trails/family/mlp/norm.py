"""BatchNorm of one network or of several side by side, forward and backward, written out."""

from __future__ import annotations

import torch
from torch import Tensor

from trails.family.mlp.layout import HiddenLayer
from trails.training import kernels
from trails.training.kernels import EPSILON


def norm(before: Tensor, layer: HiddenLayer, stats: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """In training: the result, and the batch's mean and 1 / standard deviation, each (..., 1, outputs).

    Writes mean and variance of the batch to ``stats``.
    """
    if before.dim() == 2:
        after, mean, inverse = kernels.norm(before, layer.scale.view(-1), layer.shift.view(-1))
        mean, inverse = mean.unsqueeze(0), inverse.unsqueeze(0)
        torch.sub(inverse.pow(-2), EPSILON, out=stats[1])
        stats[0].copy_(mean)
        return after, (mean, inverse)
    torch.mean(before, -2, keepdim=True, out=stats[0])
    centred = before - stats[0]
    torch.mean(centred.square(), -2, keepdim=True, out=stats[1])
    inverse = torch.rsqrt(stats[1] + EPSILON)
    return centred.mul_(inverse * layer.scale).add_(layer.shift), (stats[0].clone(), inverse)


def norm_backward(
    upper: Tensor, before: Tensor, layer: HiddenLayer, saved: tuple[Tensor, Tensor], into: HiddenLayer
) -> Tensor:
    """Gradient of the input; those of scale and shift go to ``into``."""
    mean, inverse = saved
    if before.dim() == 2:
        lower, scale, shift = kernels.norm_backward(
            upper, before, layer.scale.view(-1), mean.view(-1), inverse.view(-1)
        )
        into.scale.copy_(scale)
        into.shift.copy_(shift)
        return lower
    normalised = (before - mean).mul_(inverse)
    rows = before.shape[-2]
    torch.sum(upper * normalised, -2, keepdim=True, out=into.scale)
    torch.sum(upper, -2, keepdim=True, out=into.shift)
    normalised.mul_(into.scale / -rows).add_(upper).sub_(into.shift / rows)
    return normalised.mul_(layer.scale * inverse)
