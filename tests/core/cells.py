"""What tests of cells for pictures share: designs, pictures, and operations counted by running a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trails.tfmem import Batch

CELLS_201 = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    "|none~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|nor_conv_3x3~0|none~1|nor_conv_1x1~2|",
    "|avg_pool_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|avg_pool_3x3~0|none~1|skip_connect~2|",
)
CELLS_101 = (
    "I3M331O.100110100001001010101",
    "I11M3O.110010110001011",
    "I3O.101",
    "IO.1",
    "I1M1MMO.110001001011000001101",
)


def pictures(seed: int, count: int = 6, side: int = 8) -> Batch:
    """Noise with classes."""
    generator = np.random.default_rng(seed)
    return Batch(
        generator.standard_normal((count, 3 * side * side)),
        generator.integers(0, 10, count).astype(float),
        "multiclass",
        10,
    )


def counted(network: nn.Module, side: int) -> int:
    """Operations of one picture as the benchmarks count them, from the shapes that pass through: all but the last
    average over pixels."""
    total = 0

    def count(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        numbers = output[0].numel()
        if isinstance(module, nn.Conv2d):
            total += module.weight[0].numel() * numbers
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()
        elif isinstance(module, nn.BatchNorm2d):
            total += 2 * numbers
        elif isinstance(module, nn.ReLU):
            total += numbers
        elif isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
            assert isinstance(module.kernel_size, int)
            total += module.kernel_size**2 * numbers

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    with torch.no_grad():
        network(torch.randn(2, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total
