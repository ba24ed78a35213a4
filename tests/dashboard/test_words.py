"""A run in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from trails.dashboard.words import duration, plan

RUN: dict[str, Any] = {
    "run_id": 7,
    "source": "public.t",
    "train_rows": 1000,
    "validation": None,
    "validation_rows": None,
    "split": None,
    "unusable_rows": 0,
    "scored": 160000,
    "failed_scores": 0,
    "space": "mlp4x20",
    "tfmem": "expressflow",
    "filtering_seconds": 0.5,
    "k": 8,
    "u": 2,
    "asked_k": None,
    "asked_u": None,
    "refinement": "sh",
    "device": "cpu",
    "total_seconds": 59.4,
    "budget_seconds": 60.0,
    "state": "complete",
    "fault": None,
}
RUNGS = [{"rung": 0, "candidates": 8, "epochs": 16}, {"rung": 1, "candidates": 1, "epochs": 1}]


def said(**changes: Any) -> str:
    return "\n".join(plan(RUN | changes, RUNGS))


def test_a_plan_is_told_from_rows_to_its_end() -> None:
    assert said().split("\n") == [
        "Candidates learnt from 1,000 rows of public.t and were compared on rows of these that were drawn and held "
        "out.",
        "160,000 architectures of the space mlp4x20 were scored by expressflow, without training in 0.5 s.",
        "8 candidates (as many as the budget holds at the speed that was measured) went into the first rung for "
        "2 epochs each, by successive halving, on cpu.",
        "2 rungs: 8 candidates for 16 epochs in all; then 1 candidate for 1 epoch.",
        "It took 59.4 s of a budget of 60 s, and every rung was trained as planned.",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"validation": "public.v", "validation_rows": 1}, "compared on 1 row of public.v."),
        ({"split": "part"}, "compared on the rows that part says."),
        ({"unusable_rows": 3}, "; 3 rows without a target left out."),
        ({"scored": None, "tfmem": None}, "The caller named the candidates: nothing was scored."),
        ({"scored": 1, "failed_scores": 1}, "1 architecture of the space mlp4x20 was scored"),
        ({"failed_scores": 2}, "; 2 scores were no number."),
        ({"asked_k": 8}, "8 candidates (as asked)"),
        ({"u": None, "refinement": "hyperband", "device": None}, "went into the first rung, by Hyperband."),
        ({"refinement": "new"}, "by new, on cpu."),
        ({"state": "best so far"}, "its budget ended before its plan did, and the best so far is the result."),
        ({"state": "best so far"}, "trails.resume(7) goes on with it."),
        ({"state": "best so far", "fault": "it died"}, "a fault cut it"),
        ({"budget_seconds": None}, "It took 59.4 s, and every rung"),
    ],
)  # fmt: skip
def test_what_was_otherwise_is_told_otherwise(changes: dict[str, Any], expected: str) -> None:
    assert expected in said(**changes)


def test_what_is_not_known_is_left_out() -> None:
    assert "scored" not in said(scored=None) and "rung" not in "\n".join(plan(RUN | {"k": None, "state": "x"}, []))
    assert "One rung: 8 candidates for 16 epochs in all." in plan(RUN, RUNGS[:1])


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, ""), (0.0004, "0.0004 s"), (9.97, "9.97 s"), (60.0, "60 s"), (118.8, "119 s"), (120.0, "2 min"),
     (125.4, "2 min 5 s"), (3600.0, "1 h 0 min"), (31_536_000.0, "8,760 h 0 min")],
)  # fmt: skip
def test_seconds_are_told_as_people_say_them(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told
