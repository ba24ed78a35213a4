"""Settings of a process that trains, to be made before torch is imported."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "30000"}


def prepare() -> None:
    """Make this process, which trains and does nothing else, a good place for it; call it before torch is imported."""
    _let_waiting_threads_sleep()
    _keep_freed_memory()


def _let_waiting_threads_sleep() -> None:
    """Have OpenMP's threads spin at barriers for some 0.1 ms and then sleep; read once, when torch is imported.

    Two threads that sleep at once are slower than one: a step of 64-64-64-64 takes 9 ms, 2.4 ms with a short spin, and
    3.2 ms with one thread. Two that never sleep wait for each other on cores that are busy with something else: a
    step of 512-256-224-512 took 916 ms beside eight busy processes. `trails.refinement.workers.Threads` looks
    at what is faster at the moment.
    """
    for name, value in _WAITING.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def waiting_threads_sleep() -> Iterator[None]:
    """Import torch within it, in a process that is somebody else's: only what torch reads at its import is set.

    Processes that are started later do not inherit it, and the C library's memory is managed as before.
    """
    added = [name for name in _WAITING if name not in os.environ]
    _let_waiting_threads_sleep()
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _keep_freed_memory() -> None:
    """Have the C library reuse freed blocks instead of giving every large one back to the system.

    Every layer's activations are a block of megabytes, and fresh pages cost a fault each: on two cores a step of
    256-256-256-256 took 25 ms with the defaults and 22 ms with this.
    """
    with contextlib.suppress(AttributeError, OSError):  # not every C library has it
        libc = ctypes.CDLL(None)
        mmap_threshold, trim_threshold = -3, -1
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
