"""Processes that share work on this machine's cores, and end with the one that started them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def process_pool(count: int, begin: Callable[..., object] | None = None, *arguments: object) -> ProcessPoolExecutor:
    """A pool of fresh processes.

    Those of a process that is killed would wait for work for ever: each holds both ends of the pipe that it reads from.

    Args:
        count: How many.
        begin: Called in each with ``arguments`` before its first piece of work.
    """
    return ProcessPoolExecutor(count, get_context("spawn"), _begin, (begin, arguments))


def _begin(begin: Callable[..., object] | None, arguments: tuple[object, ...]) -> None:
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
