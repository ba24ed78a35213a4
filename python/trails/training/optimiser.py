"""Adam on flat vectors, and how fast the average of the weights forgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from trails.training import kernels
from trails.training.options import Options
from trails.training.weights import SLOPES, TABLE, Training

STATISTICS_MEMORY = 10.0
"""Batches that statistics are averaged over at least, as PyTorch's BatchNorm does with its momentum of 0.1: those of
the last batch alone are noise."""


def update(
    training: Training,
    gradients: Mapping[str, Tensor],
    matrices: Sequence[Tensor],
    options: Options,
    *,
    rate: float,
    embedding_l2: float,
    batches: int,
    moved: Callable[[], None] | None = None,
) -> None:
    """One step of all that is trained, in place, and of the average behind it.

    Args:
        training: Its number of steps is counted on.
        gradients: Of the vectors that are trained, by name; others, such as statistics, are only averaged.
        matrices: Views of the weights that decay.
        options: Learning rates, decay, memory of the average.
        rate: Factor of the learning rates.
        embedding_l2: L2 weight on the vector `TABLE`.
        batches: Of an epoch, which the average's memory is counted in. Where that is short, statistics are remembered
            for `STATISTICS_MEMORY` batches all the same.
        moved: If given, called once all vectors have had their step, before they are averaged.
    """
    training.steps += 1
    for name, gradient in gradients.items():
        embedding = name in (TABLE, SLOPES)
        adam_step(
            training.weights[name],
            gradient,
            training.mean[name],
            training.square[name],
            training.steps,
            rate * (options.embedding_rate if embedding else options.learning_rate),
            embedding_l2 if name == TABLE else 0.0,
        )
    if options.weight_decay:
        keep = 1.0 - rate * options.learning_rate * options.weight_decay
        for matrix in matrices:
            matrix.mul_(keep)
    if moved is not None:
        moved()
    memory, average, weights = options.average * batches, training.average, training.weights
    if memory >= STATISTICS_MEMORY:
        kernels.lerp(average.tensors(), weights.tensors(), 1.0 - average_decay(training.steps, memory))
        return
    for name in average.sizes:
        own = memory if name in gradients else STATISTICS_MEMORY
        kernels.lerp([average[name]], [weights[name]], 1.0 - average_decay(training.steps, own))


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
