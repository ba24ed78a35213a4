"""Where to train: what the names of devices stand for on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trails.errors import InvalidInput, shown
from trails.refinement.device_names import CUDA, parse_devices

if TYPE_CHECKING:
    import torch


def automatic() -> str:
    """What the device ``auto`` stands for on this machine: every GPU that PyTorch can use, else the CPU."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ",".join(f"cuda:{number}" for number in range(count)) or "cpu"


def select(names: str) -> list[torch.device]:
    """The devices called ``names``; see `parse_devices`.

    Raises:
        InvalidInput: An unknown name, or a GPU that is not there.
    """
    import torch

    devices = parse_devices(names)
    if devices == ("auto",):
        devices = parse_devices(automatic())
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for name in devices:
        match = CUDA.fullmatch(name)
        if match is not None and int(match[1]) >= count:
            raise InvalidInput(
                f'device "{shown(names)}" is not available',
                detail=f"GPUs that PyTorch can use on this machine: {count}.",
                hint="Use the device auto or cpu.",
            )
    return [torch.device(name) for name in devices]


def cores(threads: int) -> int:
    """CPU threads to train with: ``threads``, or every core that this process may use if it is 0.

    There are never more threads than cores: each holds a candidate, and a thousand of them on four cores only memory.
    """
    available = len(os.sched_getaffinity(0))
    return min(threads, available) if threads > 0 else available
