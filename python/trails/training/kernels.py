"""Operations of PyTorch that training's speed hangs on and that PyTorch does not promise to keep, each with a stand-in.

They are private or undocumented. So each is tried on a small example before it is used: where it is gone, raises or
gives other numbers than the stand-in, which is made of documented operations, the stand-in takes its place. Training is
slower then, and right. No other module names such an operation.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-5
"""Added to BatchNorm's variances."""

_BETA1, _BETA2, _ADAM_EPSILON = 0.9, 0.999, 1e-8


def adam(weights: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int, rate: float, l2: float) -> None:
    """One step of Adam in place; see `trails.training.optimiser.adam_step`."""
    _pick("adam", weights)(weights, gradient, mean, square, step, rate, l2)


def lerp(towards: Sequence[Tensor], from_: Sequence[Tensor], share: float) -> None:
    """Move each of ``towards`` a share of the way to its neighbour in ``from_``, in place."""
    _pick("lerp", towards[0])(towards, from_, share)


def relu_backward(upper: Tensor, outputs: Tensor) -> Tensor:
    """Gradient (any shape) of ReLU's input, from that of its ``outputs``: zero where these are."""
    gradient: Tensor = _pick("relu_backward", upper)(upper, outputs)
    return gradient


def embedding_backward(upper: Tensor, ids: Tensor, count: int) -> Tensor:
    """Gradient (count, size) of a table, from ``upper`` (n, size) of the rows that ``ids`` (n,) took of it."""
    gradient: Tensor = _pick("embedding_backward", upper)(upper, ids, count)
    return gradient


def norm(before: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """BatchNorm of (rows, outputs) in training: the result, and the mean and 1 / standard deviation (outputs,)."""
    made: tuple[Tensor, Tensor, Tensor] = _pick("norm", before)(before, scale, shift)
    return made


def norm_backward(
    upper: Tensor, before: Tensor, scale: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of BatchNorm's input (rows, outputs), scale and shift (outputs,); arguments as in and out of `norm`."""
    made: tuple[Tensor, Tensor, Tensor] = _pick("norm_backward", upper)(upper, before, scale, mean, inverse)
    return made


@cache
def replaced(device: str) -> frozenset[str]:
    """Names of the operations that a stand-in takes the place of.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    found = {name: why for name in _FAST if (why := _trouble(name, device)) is not None}
    for name, why in found.items():
        told = f"PyTorch {torch.__version__} on {device}: {name} is not what Trails knows, and a slower way is taken"
        print(f"trails: {told}: {why}", file=sys.stderr, flush=True)
    return frozenset(found)


def _pick(name: str, tensor: Tensor) -> Callable[..., Any]:
    return (_PLAIN if name in replaced(tensor.device.type) else _FAST)[name]


@torch.inference_mode()
def _trouble(name: str, device: str) -> str | None:
    """Why an operation cannot be used; None if it can."""
    try:
        fast, plain = (_results(functions[name], name, device) for functions in (_FAST, _PLAIN))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    for ours, theirs in zip(plain, fast, strict=True):
        if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6):
            return "it gives other numbers"
    return None


def _results(function: Callable[..., Any], name: str, device: str) -> list[Tensor]:
    """What an operation makes of a small example: what it returns, and what it changes."""

    def numbers(*shape: int, phase: float = 0.0) -> Tensor:
        count = math.prod(shape)
        return torch.sin(torch.arange(count, dtype=torch.float32) * 1.7 + phase).view(shape).to(device)

    upper, before, scale = numbers(6, 5), numbers(6, 5, phase=1.0), 1.0 + 0.1 * numbers(5)
    if name == "adam":
        state = [numbers(9), numbers(9, phase=1.0), 0.1 * numbers(9, phase=2.0), numbers(9, phase=3.0).square()]
        for step in (3, 4):
            function(*state, step, 0.01, 0.1)
        return [state[0], state[2], state[3]]
    if name == "lerp":
        towards = [numbers(4), numbers(7)]
        function(towards, [numbers(4, phase=1.0), numbers(7, phase=2.0)], 0.3)
        return towards
    if name == "relu_backward":
        return [function(upper, before.relu())]
    if name == "embedding_backward":
        ids = torch.tensor([0, 3, 3, 1, 0, 3], dtype=torch.int32, device=device)
        return [function(upper, ids, 7)]
    if name == "norm":
        return list(function(before, scale, numbers(5, phase=4.0)))
    _, mean, inverse = _plain_norm(before, scale, scale)
    return list(function(upper, before, scale, mean, inverse))


# What PyTorch has


def _fast_adam(
    weights: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int, rate: float, l2: float
) -> None:
    torch._fused_adam_(
        [weights],
        [gradient],
        [mean],
        [square],
        [],
        [torch.tensor(float(step), device=weights.device)],
        amsgrad=False,
        beta1=_BETA1,
        beta2=_BETA2,
        lr=rate,
        weight_decay=l2,
        eps=_ADAM_EPSILON,
        maximize=False,
    )


def _fast_lerp(towards: Sequence[Tensor], from_: Sequence[Tensor], share: float) -> None:
    torch._foreach_lerp_([*towards], [*from_], share)


def _fast_relu_backward(upper: Tensor, outputs: Tensor) -> Any:
    return torch.ops.aten.threshold_backward(upper, outputs, 0.0)


def _fast_embedding_backward(upper: Tensor, ids: Tensor, count: int) -> Any:
    return torch.ops.aten.embedding_dense_backward(upper, ids, count, -1, False)


def _fast_norm(before: Tensor, scale: Tensor, shift: Tensor) -> Any:
    return torch.native_batch_norm(before, scale, shift, None, None, True, 0.0, EPSILON)


def _fast_norm_backward(upper: Tensor, before: Tensor, scale: Tensor, mean: Tensor, inverse: Tensor) -> Any:
    return torch.ops.aten.native_batch_norm_backward(
        upper, before, scale, None, None, mean, inverse, True, EPSILON, [True] * 3
    )


# What is documented


def _plain_adam(
    weights: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int, rate: float, l2: float
) -> None:
    gradient = gradient.add(weights, alpha=l2)
    mean.lerp_(gradient, 1.0 - _BETA1)
    square.mul_(_BETA2).addcmul_(gradient, gradient, value=1.0 - _BETA2)
    spread = square.sqrt().div_(math.sqrt(1.0 - _BETA2**step)).add_(_ADAM_EPSILON)
    weights.addcdiv_(mean, spread, value=-rate / (1.0 - _BETA1**step))


def _plain_lerp(towards: Sequence[Tensor], from_: Sequence[Tensor], share: float) -> None:
    for tensor, other in zip(towards, from_, strict=True):
        tensor.lerp_(other, share)


def _plain_relu_backward(upper: Tensor, outputs: Tensor) -> Tensor:
    return upper * (outputs > 0.0)


def _plain_embedding_backward(upper: Tensor, ids: Tensor, count: int) -> Tensor:
    return upper.new_zeros(count, upper.shape[1]).index_add_(0, ids.long(), upper)


def _plain_norm(before: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean = before.mean(0)
    centred = before - mean
    inverse = torch.rsqrt(centred.square().mean(0) + EPSILON)
    return centred.mul_(inverse * scale).add_(shift), mean, inverse


def _plain_norm_backward(
    upper: Tensor, before: Tensor, scale: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    normalised, rows = (before - mean).mul_(inverse), len(before)
    of_scale, of_shift = (upper * normalised).sum(0), upper.sum(0)
    lower = normalised.mul_(of_scale / -rows).add_(upper).sub_(of_shift / rows).mul_(scale * inverse)
    return lower, of_scale, of_shift


_FAST: dict[str, Callable[..., Any]] = {
    "adam": _fast_adam,
    "lerp": _fast_lerp,
    "relu_backward": _fast_relu_backward,
    "embedding_backward": _fast_embedding_backward,
    "norm": _fast_norm,
    "norm_backward": _fast_norm_backward,
}
_PLAIN: dict[str, Callable[..., Any]] = {
    "adam": _plain_adam,
    "lerp": _plain_lerp,
    "relu_backward": _plain_relu_backward,
    "embedding_backward": _plain_embedding_backward,
    "norm": _plain_norm,
    "norm_backward": _plain_norm_backward,
}
