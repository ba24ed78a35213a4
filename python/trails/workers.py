"""Pieces of work on several threads: numeric code releases the interpreter, so they run side by side.

Inside PostgreSQL only the backend's own thread may run its signal handlers or talk to the server. So workers start
with every signal blocked, and ``check`` is called by the calling thread alone.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
Piece = Callable[[Callable[[], None]], T]
"""A piece of work; it calls its argument at least every 50 ms."""

_LOOK_SECONDS = 0.02


class _Stopped(BaseException):
    """Ends a worker whose caller was interrupted."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run_pieces(pieces: Sequence[Piece[T]], workers: int, check: Callable[[], None]) -> list[T]:
    """Run every piece; results come in the pieces' order.

    Args:
        pieces: None depends on another, nor on how many workers there are.
        workers: Threads; 1 runs everything in the calling thread.
        check: Called at least every 50 ms; what it raises ends the call, once all workers have stopped.
    """
    if workers <= 1 or len(pieces) <= 1:
        return [piece(check) for piece in pieces]
    stop = threading.Event()

    def check_stop() -> None:
        if stop.is_set():
            raise _Stopped

    with _SignalsBlocked():
        # Threads inherit the mask of the one that starts them, and all are started here.
        pool = ThreadPoolExecutor(min(workers, len(pieces)), "trails-filtering")
        futures = [pool.submit(piece, check_stop) for piece in pieces]
    try:
        pending = set(futures)
        while pending:
            check()
            done, pending = wait(pending, _LOOK_SECONDS, "FIRST_EXCEPTION")
            for future in done:
                future.result()  # raises what the piece raised
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


class _SignalsBlocked:
    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
