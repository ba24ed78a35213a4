"""Keeping the process within a memory limit, and saying what would have been enough."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trails.errors import TrailsError

if TYPE_CHECKING:
    import torch

_MB = 1 << 20

_PER_CELL = 24
"""Bytes of a cell of the table at most: ids and values as read, encoded, and in the epoch's order."""

_LEAST_FOR_TRAINING = 64 * _MB


class OutOfMemory(TrailsError):
    """The memory limit does not hold what is asked for (SQLSTATE 53200, out_of_memory)."""

    default_sqlstate = "53200"


def used() -> int:
    """Bytes of this process that count against the limit: private and writable."""
    return next(int(line.split()[1]) * 1024 for line in _lines("/proc/self/status") if line.startswith("VmData:"))


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def available(device: torch.device) -> int:
    """Bytes that may still be taken on ``device``."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    free = next(int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:"))
    return free if limit == resource.RLIM_INFINITY else max(0, min(free, limit - used()))


def enforce(limit: int, *tables: Mapping[str, Any] | None) -> None:
    """Let this process have no more than ``limit`` bytes from now on.

    Args:
        limit: Bytes; 0 for no limit.
        tables: Layouts of the columns that are going to be encoded.

    Raises:
        OutOfMemory: The libraries and these tables alone need more; the hint says how much.
    """
    if limit == 0:
        return
    # What a service holds is not known before it is read.
    cells = sum(int(t["rows"]) * (len(t["columns"]) + 1) for t in tables if t is not None and "rows" in t)
    needed = used() + cells * _PER_CELL + _LEAST_FOR_TRAINING
    if needed > limit:
        raise too_small(limit, needed)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def too_small(limit: int, needed: int) -> OutOfMemory:
    """The error that names the limit and what was needed, both in bytes."""
    return OutOfMemory(
        f"a memory limit of {limit // _MB} MB is too small for refinement",
        detail=f"About {-(-needed // _MB)} MB are needed.",
        hint=f"SET trails.refinement_memory_limit = '{-(-needed * 5 // 4 // _MB)}MB'; 0 is no limit.",
    )


def shortage(limit: int, error: BaseException) -> OutOfMemory:
    """What to tell of an allocation that failed.

    Args:
        limit: Bytes; 0 for no limit.
        error: Of the allocation.
    """
    if limit > 0:
        return too_small(limit, 2 * limit)
    return OutOfMemory(
        "refinement ran out of memory",
        detail=str(error).strip() or type(error).__name__,
        hint="Train narrower architectures, or rows of fewer categories.",
    )


def is_shortage(error: BaseException) -> bool:
    """Whether ``error`` says that memory could not be had, on the CPU or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
