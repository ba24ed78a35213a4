"""When each phase of a run began and how long it took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trails.refinement.clock import MONOTONIC, Clock
from trails.refinement.protocol import TimingRow


class Timings:
    """When each phase of a run began and how long it took.

    Args:
        started: The beginning of the statement.
        clock: That shows it.
    """

    def __init__(self, started: float, clock: Clock = MONOTONIC) -> None:
        self._started, self._clock = started, clock
        self.rows: list[TimingRow] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times what is done inside."""
        began = self._clock.now()
        try:
            yield
        finally:
            seconds = self._clock.now() - began
            self.rows.append({"phase": name, "begin": began - self._started, "seconds": seconds})
