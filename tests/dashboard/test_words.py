"""A run in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from trails.dashboard.words import duration, fault_of, origin, plan

RUN: dict[str, Any] = {
    "run_id": 7,
    "source": "public.t",
    "train_rows": 1000,
    "validation": None,
    "validation_rows": None,
    "split": None,
    "group_by": None,
    "time_by": None,
    "weight": None,
    "held_out": {"how": "drawn", "seed": 0, "training_rows": 800, "validation_rows": 200},
    "function": "model_selection",
    "asked_architectures": None,
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
        "Candidates learnt from 800 rows of public.t and were compared on 200 others, which were drawn.",
        "160,000 architectures of the space mlp4x20 were scored by expressflow, without training in 0.5 s.",
        "8 candidates (as many as the budget holds at the speed that was measured) were planned for the first rung for "
        "2 epochs each, by successive halving, on cpu.",
        "2 rungs: 8 candidates for 16 epochs in all; then 1 candidate for 1 epoch.",
        "It took 59.4 s of a budget of 60 s, and every rung was trained as planned.",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"validation": "public.v", "validation_rows": 1, "held_out": None},
         "learnt from 1,000 rows of public.t and were compared on 1 row of public.v."),
        ({"validation": "public.v", "held_out": {"training_rows": 990, "validation_rows": 70}},
         "learnt from 990 rows of public.t and were compared on 70 rows of public.v."),
        ({"split": "part"}, "compared on 200 others, as part says."),
        ({"group_by": "customer", "held_out": RUN["held_out"] | {"validation_groups": 1}},
         "learnt from 800 rows of public.t and were compared on 200 others, 1 whole group by customer."),
        ({"time_by": "at", "held_out": RUN["held_out"] | {"from": "2024-05-01"}},
         "200 others, the latest by at, from 2024-05-01 on."),
        ({"weight": "w", "held_out": RUN["held_out"] | {"rows_of_weight_0": 3}},
         "which were drawn; a row counts for as much as its w says, and 3 rows for nothing."),
        ({"held_out": None},
         "Of 1,000 rows of public.t candidates learnt from most and were compared on the others, which were drawn."),
        ({"held_out": None, "group_by": "customer"}, "on the others, whole groups by customer."),
        ({"unusable_rows": 3}, "; 3 rows without a target left out."),
        ({"scored": None, "tfmem": None}, "The caller named the candidates: nothing was scored."),
        ({"scored": 1, "failed_scores": 1}, "1 architecture of the space mlp4x20 was scored"),
        ({"failed_scores": 2}, "; 2 scores were no number."),
        ({"asked_k": 8}, "8 candidates (as asked)"),
        ({"asked_architectures": ["8-8"], "k": 1}, "1 candidate (those that were named) was planned"),
        ({"function": "refinement_phase"}, "8 candidates (those that were named) were planned"),
        ({"u": None, "refinement": "hyperband", "device": None}, "were planned for the first rung, by Hyperband."),
        ({"refinement": "new"}, "by new, on cpu."),
        ({"state": "best so far"}, "its budget ended before its plan did, and the best so far is the result."),
        ({"state": "best so far"}, "trails.resume(7) goes on with it."),
        ({"state": "best so far", "fault": "it died"}, "a fault cut it, and the best so far is the result."),
        ({"state": "best so far", "fault": "run 7 was stopped by trails.stop"},
         "It took 59.4 s of a budget of 60 s: it was stopped, and the best so far is the result."),
        ({"budget_seconds": None}, "It took 59.4 s, and every rung"),
    ],
)  # fmt: skip
def test_what_was_otherwise_is_told_otherwise(changes: dict[str, Any], expected: str) -> None:
    assert expected in said(**changes)


def test_what_is_not_known_is_left_out() -> None:
    assert "scored" not in said(scored=None) and "rung" not in "\n".join(plan(RUN | {"k": None, "state": "x"}, []))
    assert "One rung: 8 candidates for 16 epochs in all." in plan(RUN, RUNGS[:1])


def test_what_a_model_keeps_of_its_run_is_told_without_its_end() -> None:
    kept = {name: value for name, value in RUN.items() if value is not None} | {"time_by": "at"}
    told = origin(kept)
    assert told[0] == "Candidates learnt from 800 rows of public.t and were compared on 200 others, the latest by at."
    assert [sentence.split()[0] for sentence in told] == ["Candidates", "160,000", "8"]


def test_what_ended_a_run_in_the_background_is_one_text() -> None:
    job = {"message": "it failed", "detail": "A row is odd.", "hint": None}
    assert fault_of(job) == "it failed. A row is odd."
    assert fault_of({**job, "message": None}) is None


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, ""), (0.0004, "0.0004 s"), (9.97, "9.97 s"), (60.0, "60 s"), (118.8, "119 s"), (120.0, "2 min"),
     (125.4, "2 min 5 s"), (3600.0, "1 h 0 min"), (31_536_000.0, "8,760 h 0 min")],
)  # fmt: skip
def test_seconds_are_told_as_people_say_them(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told
