"""Successive halving, step by step."""

from __future__ import annotations

import pytest

from trails.coordinator import Rung, halving_rungs
from trails.refinement.schedulers import Job, RungEnd, SuccessiveHalving

QUALITY = {name: value for value, name in enumerate("ihgfedcba")}  # "a" is the best


def run_rung(halving: SuccessiveHalving) -> tuple[list[Job], RungEnd]:
    jobs = []
    while (job := halving.next_job()) is not None:
        jobs.append(job)
        halving.report(job.architecture, QUALITY[job.architecture])
    end = halving.end_rung()
    assert end is not None
    return jobs, end


def test_nine_candidates_by_hand() -> None:
    halving = SuccessiveHalving(list("gbicahdef"), halving_rungs(9, 1, 3, 30))
    jobs, end = run_rung(halving)
    assert [job.architecture for job in jobs] == list("gbicahdef")
    assert {(job.rung, job.epochs_to) for job in jobs} == {(0, 1)}
    assert end == RungEnd(0, 9, ("a", "b", "c"))
    jobs, end = run_rung(halving)
    assert jobs == [Job("a", 1, 3), Job("b", 1, 3), Job("c", 1, 3)]
    assert end == RungEnd(1, 3, ("a",))
    jobs, end = run_rung(halving)
    assert jobs == [Job("a", 2, 9)] and end == RungEnd(2, 1, ("a",))
    assert halving.done and halving.next_job() is None and halving.end_rung() is None


def test_results_may_come_in_any_order_and_the_rung_waits_for_all() -> None:
    halving = SuccessiveHalving(["x", "y", "z"], [Rung(3, 1), Rung(1, 3)])
    for _ in range(3):
        assert halving.next_job() is not None
    assert halving.next_job() is None
    halving.report("z", 0.7)
    halving.report("x", 0.7)
    assert halving.end_rung() is None
    halving.report("y", 0.6)
    end = halving.end_rung()
    assert end is not None and end.survivors == ("x",)  # equal results: the better-scored one


def test_failed_candidates_are_out() -> None:
    halving = SuccessiveHalving(["x", "y"], [Rung(2, 1), Rung(1, 3)])
    for metric in (None, 0.2):
        job = halving.next_job()
        assert job is not None
        halving.report(job.architecture, metric)
    assert halving.end_rung() == RungEnd(0, 1, ("y",))
    job = halving.next_job()
    assert job == Job("y", 1, 3)
    halving.report("y", None)
    assert halving.end_rung() == RungEnd(1, 0, ()) and halving.done


def test_giving_up_takes_the_worst_scored_that_wait() -> None:
    halving = SuccessiveHalving(list("abcd"), [Rung(4, 1), Rung(1, 3)])
    job = halving.next_job()
    assert job is not None
    halving.report(job.architecture, 0.5)
    halving.give_up(2)
    assert halving.waiting == ("b",)
    halving.give_up(9)
    assert halving.end_rung() == RungEnd(0, 1, ("a",))


def test_rungs_can_be_replaced_between_rungs_only() -> None:
    halving = SuccessiveHalving(list("abc"), [Rung(3, 1), Rung(3, 3), Rung(1, 9)])
    run_rung(halving)
    halving.replace_rungs([Rung(2, 2)])
    assert halving.waiting == ("a", "b") and halving.rungs_left == (Rung(2, 2),)
    halving.next_job()
    with pytest.raises(ValueError, match="begun"):
        halving.replace_rungs([])


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        SuccessiveHalving(["a", "a"], [Rung(2, 1)])
    with pytest.raises(ValueError, match="at least one"):
        SuccessiveHalving([], [Rung(2, 1)])
    with pytest.raises(ValueError, match="not being trained"):
        SuccessiveHalving(["a"], [Rung(1, 1)]).report("a", 0.5)
