"""Adam over lists of tensors, with the running average of the weights that validation uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Fused Adam with one learning rate and one L2 weight per group of parameters.

    Calls PyTorch's functional form: constructing ``torch.optim.Adam`` imports the compiler (torch._dynamo),
    which takes about as long as importing torch itself, 1.9 s on two cores, and would come off every
    budget.

    Args:
        groups: Of (parameters, learning rate, L2 weight).
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Tensor], float, float]]) -> None:
        self._groups = [
            (
                list(parameters),
                learning_rate,
                l2,
                [torch.zeros_like(p) for p in parameters],
                [torch.zeros_like(p) for p in parameters],
                [torch.zeros((), device=p.device) for p in parameters],
            )
            for parameters, learning_rate, l2 in groups
        ]

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients and clear them."""
        for parameters, learning_rate, l2, means, squares, steps in self._groups:
            gradients = [p.grad for p in parameters if p.grad is not None]
            adam(
                parameters,
                gradients,
                means,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=_BETA1,
                beta2=_BETA2,
                lr=learning_rate,
                weight_decay=l2,
                eps=_EPSILON,
                maximize=False,
            )
            for parameter in parameters:
                parameter.grad = None


class RunningAverage:
    """Exponential average of tensors that a training loop changes in place.

    Args:
        live: What is trained: parameters, and floating-point buffers such as BatchNorm's statistics.
        average: Tensors of the same shapes that hold the average; overwritten.
        decay: Weight of the past once warm; early steps use (1 + t) / (10 + t), so that the start is
            forgotten soon.
    """

    def __init__(self, live: Sequence[Tensor], average: Sequence[Tensor], decay: float) -> None:
        self._live, self._average, self._decay = list(live), list(average), decay
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the present values in."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._average, self._live, 1.0 - decay)
