"""What the seconds of a recorded benchmark are of."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from trails import __version__


def machine(device: str = "cpu") -> str:
    """This machine's processor or GPU, what computes on it, and the commit of this code where it is a checkout.

    Args:
        device: As PyTorch names it.
    """
    if device != "cpu":
        import torch

        return f"{torch.cuda.get_device_name(device)}, torch {version('torch')}, trails {__version__}{_commit()}"
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo") as file:
        name = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    return f"{name}, one core, torch {version('torch')}, trails {__version__}{_commit()}"


@cache
def _commit() -> str:
    here = Path(__file__).resolve().parent
    asked = ["git", "-C", str(here), "rev-parse", "--short=10", "HEAD"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return f" ({subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()})"
    return ""
