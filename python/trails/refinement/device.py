"""Where to train, and with how many threads."""

from __future__ import annotations

import os
import re

import torch

from trails.errors import InvalidInput

_CUDA = re.compile(r"cuda(?::(\d+))?")


def automatic() -> str:
    """What the device ``auto`` stands for on this machine."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def select(name: str, threads: int) -> torch.device:
    """The device called ``name``; sets the number of threads of this process.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: Threads for work on the CPU; 0 for all cores that this process may use.

    Raises:
        InvalidInput: An unknown name, or a GPU that is not there.
    """
    torch.set_num_threads(threads if threads > 0 else len(os.sched_getaffinity(0)))
    if name == "auto":
        name = automatic()
    if name == "cpu":
        return torch.device("cpu")
    match = _CUDA.fullmatch(name)
    if match is None:
        raise InvalidInput(f'unknown device "{name}"', hint="Devices: auto, cpu, cuda, cuda:N.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(match.group(1) or 0) >= count:
        raise InvalidInput(
            f'device "{name}" is not available',
            detail=f"GPUs that PyTorch can use on this machine: {count}.",
            hint="Use the device auto or cpu.",
        )
    return torch.device(name)
