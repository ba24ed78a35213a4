"""What time it is in a run: the machine's, or one that was recorded and passes only when it is told to.

A clock also knows what happens at the same time, because a recorded one has to: it lets that go on which is furthest
behind. Imports no torch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

Activity = Callable[[], None]


class Clock(Protocol):
    """Tells a run the time."""

    def now(self) -> float:
        """Seconds since some moment in the past."""

    def together(self, works: Sequence[Activity]) -> None:
        """Do pieces of work at the same time, and wait for all; what one raises ends that one alone."""


class MonotonicClock:
    """The machine's clock, CLOCK_MONOTONIC, which all its processes share."""

    def now(self) -> float:
        """Seconds since the machine was started, about."""
        return time.monotonic()

    def together(self, works: Sequence[Activity]) -> None:
        """See `Clock.together`: each on a thread of its own."""
        threads = [threading.Thread(target=work, name="worker") for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


MONOTONIC = MonotonicClock()


class RecordedClock:
    """Stands still until it is told how much time passes.

    Pieces of work that are done `together` have a time each. One of them runs at any moment: the one whose time is
    the earliest, the first of those that are equally early. So what comes of them is the same every time, and is what
    machines side by side would come to. Whoever lets time pass must hold no lock that the others wait for.

    Args:
        start: What it shows at first.

    Example:
        >>> clock, told = RecordedClock(), []
        >>> def work(name, seconds):
        ...     clock.advance(seconds)
        ...     told.append((name, clock.now()))
        >>> clock.together([lambda: work("slow", 3.0), lambda: work("quick", 1.0)])
        >>> told, clock.now()
        ([('quick', 1.0), ('slow', 3.0)], 3.0)
    """

    def __init__(self, start: float = 0.0) -> None:
        self._alone = start
        self._times: dict[int, float] = {}
        """Of the pieces of work that are not done yet, by their places."""
        self._turn: int | None = None
        self._changed = threading.Condition()

    def now(self) -> float:
        """What time it is for whoever asks."""
        return self._alone if self._turn is None else self._times[self._turn]

    def advance(self, seconds: float) -> None:
        """Let time pass for whoever says so; the others, if there are any, come first as far as they are behind.

        Raises:
            ValueError: Time cannot go back, nor be something else than a number.
        """
        if not seconds >= 0.0:
            raise ValueError(f"{seconds} s cannot pass")
        own = self._turn
        if own is None:
            self._alone += seconds
            return
        with self._changed:
            self._times[own] += seconds
            self._next()
            self._changed.wait_for(lambda: self._turn == own)

    def together(self, works: Sequence[Activity]) -> None:
        """See `Clock.together`. The time afterwards is that of the last to end.

        Raises:
            RuntimeError: Within another `together`.
        """
        if self._turn is not None:
            raise RuntimeError("what is done together cannot be divided again")
        if not works:
            return
        ended: list[float] = []

        def take_turns(place: int, work: Activity) -> None:
            with self._changed:
                self._changed.wait_for(lambda: self._turn == place)
            try:
                work()
            finally:
                with self._changed:
                    ended.append(self._times.pop(place))
                    self._next()

        self._times = dict.fromkeys(range(len(works)), self._alone)
        threads = [threading.Thread(target=take_turns, args=item, name="worker") for item in enumerate(works)]
        for thread in threads:
            thread.start()
        with self._changed:
            self._next()
        for thread in threads:
            thread.join()
        self._alone = max(ended)

    def _next(self) -> None:
        """Give the turn to who is furthest behind."""
        turn = min(self._times, key=lambda place: (self._times[place], place), default=None)
        if turn != self._turn:
            self._turn = turn
            self._changed.notify_all()
