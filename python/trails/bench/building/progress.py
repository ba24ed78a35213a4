"""How far a builder of recorded benchmarks is, and when it will be over."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Says how far it is and when it will be over.

    Args:
        total: Pieces of work.
        done: What is done with one, such as ``trained``.
        say: Told a line at a time.
    """

    def __init__(self, total: int, done: str, say: Callable[[str], None]) -> None:
        self._total, self._done, self._say, self._began = total, done, say, time.monotonic()

    def tell(self, finished: int) -> None:
        """So many are over."""
        spent = time.monotonic() - self._began
        left = spent / finished * (self._total - finished)
        self._say(f"{finished} of {self._total} {self._done} in {duration(spent)}, about {duration(left)} left")


def duration(seconds: float) -> str:
    """For people."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds_left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds_left} s"
