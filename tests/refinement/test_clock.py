"""Recorded time: it passes when it is told to, and what is done together takes turns."""

from __future__ import annotations

import random
import time

import pytest

from trails.refinement.clock import MONOTONIC, Clock, RecordedClock


def test_time_stands_still_until_it_is_told_to_pass() -> None:
    clock = RecordedClock(10.0)
    assert clock.now() == clock.now() == 10.0
    clock.advance(2.5)
    assert clock.now() == 12.5
    for seconds in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="cannot pass"):
            clock.advance(seconds)


def test_who_is_furthest_behind_goes_on_whatever_the_threads_do() -> None:
    def told() -> tuple[list[tuple[float, int]], float]:
        clock, steps = RecordedClock(), []

        def work(place: int) -> None:
            draw = random.Random(place)
            for _ in range(20):
                time.sleep(0.001 * random.random())  # real time is nothing to it
                clock.advance(draw.choice([0.5, 1.0, 2.0]))
                steps.append((clock.now(), place))

        clock.together([lambda place=place: work(place) for place in range(4)])  # type: ignore[misc]
        return steps, clock.now()

    steps, ended = told()
    assert len(steps) == 80 and told() == (steps, ended)
    assert steps == sorted(steps) and ended == steps[-1][0]


def test_machines_share_what_there_is_to_do() -> None:
    clock, pieces, done = RecordedClock(100.0), [5.0, 1.0, 1.0, 1.0, 3.0], []

    def machine(name: str) -> None:
        while pieces:
            clock.advance(seconds := pieces.pop(0))
            done.append((name, seconds, clock.now()))

    clock.together([lambda: machine("one"), lambda: machine("two")])
    ends = [(name, ended) for name, _, ended in done]
    assert ends == [("two", 101.0), ("two", 102.0), ("two", 103.0), ("one", 105.0), ("two", 106.0)]
    assert clock.now() == 106.0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("clock", [RecordedClock(), MONOTONIC])
def test_what_one_raises_ends_that_one_alone(clock: Clock) -> None:
    done: list[str] = []

    def fail() -> None:
        raise ValueError("on purpose")

    clock.together([lambda: done.append("one"), fail, lambda: done.append("three")])
    assert sorted(done) == ["one", "three"]
    clock.together([lambda: done.append("four")])
    assert done[-1] == "four"


def test_what_is_done_together_is_not_divided_again() -> None:
    clock, refused = RecordedClock(), []

    def work() -> None:
        try:
            clock.together([lambda: None])
        except RuntimeError as error:
            refused.append(str(error))

    clock.together([work])
    clock.together([])
    assert refused == ["what is done together cannot be divided again"] and clock.now() == 0.0
