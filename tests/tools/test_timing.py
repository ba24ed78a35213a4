"""What the tests forgive a machine."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import timing
from tests.timing import crowding, within


@contextmanager
def company(processes: int) -> Iterator[None]:
    """Others that compute on this process's core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    others = [multiprocessing.get_context("fork").Process(target=_spin, daemon=True) for _ in range(processes)]
    try:
        for other in others:
            other.start()
        time.sleep(0.1)
        yield
    finally:
        for other in others:
            other.kill()
            other.join()
        os.sched_setaffinity(0, allowed)


def _spin() -> None:
    while True:
        pass


def test_a_crowd_is_noticed_while_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    with company(3):
        assert crowding() > 2.0


def test_only_the_slack_grows_with_the_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "crowding", lambda: 1.0)
    assert within(10.9, 10.0, 1.0) and not within(11.1, 10.0, 1.0)
    monkeypatch.setattr(timing, "crowding", lambda: 3.0)
    assert within(12.9, 10.0, 1.0) and not within(13.1, 10.0, 1.0)
