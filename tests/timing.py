"""What a busy machine is forgiven, and an idle one is not."""

from __future__ import annotations

import os
import time

MOST = 10.0
"""A machine that is more crowded than this is no place to measure anything."""

RESERVE = 0.15
"""Seconds that remain of a budget at its deadline: so late may a process be that others keep from its cores."""


def crowding() -> float:
    """How many times as long as alone something takes on this machine, now or within the last minute; at least 1."""
    began, worked = time.monotonic(), time.thread_time()
    while time.thread_time() - worked < 0.1:
        pass
    now = (time.monotonic() - began) / (time.thread_time() - worked)
    return min(MOST, max(1.0, now, os.getloadavg()[0] / (os.cpu_count() or 1)))


def within(took: float, promised: float, slack: float) -> bool:
    """Whether something took less than promised, in seconds.

    The slack is what an idle machine may take beyond that. It grows with the crowd, which is only looked at when it
    is needed: so that a test fails on an idle machine, and passes on one that several suites share.
    """
    return took < promised + slack or took < promised + slack * crowding()
