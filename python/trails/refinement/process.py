"""Settings of a process that trains, to be made before torch is imported."""

from __future__ import annotations

import contextlib
import ctypes
import os


def prepare() -> None:
    """Make this process a good place to train in; call it before torch is imported."""
    _let_waiting_threads_sleep()
    _keep_freed_memory()


def _let_waiting_threads_sleep() -> None:
    """Have OpenMP's threads spin at barriers for some 0.1 ms and then sleep; read once, when torch is imported.

    Two threads that sleep at once are slower than one: a step of 64-64-64-64 takes 9 ms, 2.4 ms with a short spin, and
    3.2 ms with one thread. Two that never sleep wait for each other on cores that are busy with something else: a
    step of 512-256-224-512 took 916 ms beside eight busy processes. `trails.refinement.workers.Threads` looks
    at what is faster at the moment.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")


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
