"""Adam on one flat vector, and how fast the average of the weights forgets."""

from __future__ import annotations

from torch import Tensor

from trails.training import kernels


def adam_step(
    weights: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int, rate: float, l2: float
) -> None:
    """One fused step of Adam (Kingma and Ba 2015) in place.

    Calls PyTorch's kernel: constructing ``torch.optim.Adam`` imports the compiler (torch._dynamo), which takes
    about as long as importing torch itself, 1.9 s on two cores, and would come off every budget.

    Args:
        weights: float32, any shape.
        gradient: Of the weights; ``l2 * weights`` is added to it.
        mean: First moment, changed.
        square: Second moment, changed.
        step: Number of this step, from 1.
        rate: Learning rate.
        l2: L2 weight.
    """
    kernels.adam(weights, gradient, mean, square, step, rate, l2)


def average_decay(step: int, memory: float) -> float:
    """Weight of the past in the average after ``step`` steps, for a memory of so many steps.

    Early steps use (1 + t) / (10 + t), so that the start is forgotten soon.
    """
    return 0.0 if memory <= 0.0 else min(1.0 - 1.0 / max(1.0, memory), (1 + step) / (10 + step))
