"""What devices are called. Imports no torch, so that a mistake is found before a process is started."""

from __future__ import annotations

import re

from trails.errors import InvalidInput, shown

CUDA = re.compile(r"cuda(?::(\d{1,3}))?")
_HINT = "Devices: auto, cpu, cuda, cuda:N, or several such as 'cuda:0,cuda:1'."


def parse_devices(names: str) -> tuple[str, ...]:
    """Read ``auto``, ``cpu``, ``cuda`` (the first GPU), ``cuda:N``, or several GPUs separated by commas.

    Raises:
        InvalidInput: An unknown name, one that is there twice, or ``auto`` or ``cpu`` among others.
    """
    devices = tuple(name.strip().lower() for name in names.split(","))
    devices = tuple("cuda:0" if name == "cuda" else name for name in devices)
    for name in devices:
        known = CUDA.fullmatch(name) if len(devices) > 1 else name in ("auto", "cpu") or CUDA.fullmatch(name)
        if not known:
            raise InvalidInput(f'unknown device "{shown(names)}"', hint=_HINT)
    if len(set(devices)) < len(devices):
        raise InvalidInput(f'device "{shown(names)}" names a GPU twice', hint=_HINT)
    return devices
