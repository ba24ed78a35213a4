"""Where to train: the names of devices, and what they stand for on this machine."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from trails.errors import InvalidInput, shown

if TYPE_CHECKING:
    import torch

_CUDA = re.compile(r"cuda(?::(\d{1,3}))?")
_HINT = "Devices: auto, cpu, cuda, cuda:N, or several such as 'cuda:0,cuda:1'."


def parse_devices(names: str) -> tuple[str, ...]:
    """Read ``auto``, ``cpu``, ``cuda`` (the first GPU), ``cuda:N``, or several GPUs separated by commas.

    Imports nothing, so that a mistake is found before a process is started.

    Raises:
        InvalidInput: An unknown name, one that is there twice, or ``auto`` or ``cpu`` among others.
    """
    devices = tuple(name.strip().lower() for name in names.split(","))
    devices = tuple("cuda:0" if name == "cuda" else name for name in devices)
    for name in devices:
        known = _CUDA.fullmatch(name) if len(devices) > 1 else name in ("auto", "cpu") or _CUDA.fullmatch(name)
        if not known:
            raise InvalidInput(f'unknown device "{shown(names)}"', hint=_HINT)
    if len(set(devices)) < len(devices):
        raise InvalidInput(f'device "{shown(names)}" names a GPU twice', hint=_HINT)
    return devices


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
        match = _CUDA.fullmatch(name)
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
