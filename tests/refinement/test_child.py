"""The refinement process as the backend sees it: events, deadline, errors, and how it ends."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.refinement.backend import CANDIDATES, Backend, Event, Outcome, Table, run
from tests.timing import RESERVE, crowding, within
from trails.errors import InvalidInput
from trails.refinement.devices import select
from trails.refinement.protocol import parse_request, parse_setting


def changed(table: Table, **columns: np.ndarray[Any, Any]) -> Table:
    return Table({**table.columns, **columns}, table.nulls, table.values, table.idvalue)


def error_of(outcome: Outcome) -> Event:
    assert [e["event"] for e in outcome.events[1:]].count("error") == 1
    assert outcome.last["event"] == "error" and outcome.status == 1
    return outcome.last


@pytest.fixture(scope="module")
def planned(train: Table, validation: Table) -> Outcome:
    return run(train, validation, CANDIDATES, options={"patience": 9}, k=6, u=1)


def test_events_come_in_order_and_add_up(planned: Outcome) -> None:
    assert planned.status == 0
    names = [e["event"] for e in planned.events if e["event"] != "progress"]
    # 6 candidates to epoch 1, 2 on to epoch 3, 1 on to epoch 9; nothing more, as k and u are both fixed.
    rungs = [name for epochs in (6, 4, 6) for name in (*["epoch"] * epochs, "rung")]
    names = [name for name in names if name not in ("checkpoint", "model")]
    assert names == ["ready", "rows", "plan", *rungs, "result"]
    plan = planned.named("plan")[0]
    assert (plan["n"], plan["k"], plan["u"]) == (160_000, 6, 1)
    assert plan["epoch_seconds"] > 0 and plan["refinement_seconds"] > 0
    first = [e for e in planned.named("epoch") if e["rung"] == 0]
    assert [e["architecture"] for e in first] == [a for a, _ in CANDIDATES]
    by_auc = sorted(first, key=lambda e: -e["validation_metric"])
    rung = planned.named("rung")[0]
    assert rung["candidates"] == 6 and rung["survivors"] == [e["architecture"] for e in by_auc[:2]]
    assert planned.last["complete"] is True
    for event in planned.named("progress"):
        assert 0 <= event["done"] <= event["total"]


def test_the_leaderboard_holds_every_candidate_best_first(planned: Outcome) -> None:
    leaderboard = planned.leaderboard
    assert sorted(row["architecture"] for row in leaderboard) == sorted(a for a, _ in CANDIDATES)
    metrics = [row["validation_metric"] for row in leaderboard]
    assert metrics == sorted(metrics, reverse=True)
    assert metrics[0] > 0.75  # there is a signal, and it was found
    epochs = planned.named("epoch")
    for row in leaderboard:
        mine = [e for e in epochs if e["architecture"] == row["architecture"]]
        assert row["score"] == dict(CANDIDATES)[row["architecture"]]
        assert row["epochs"] == len(mine) and [e["epoch"] for e in mine] == list(range(1, len(mine) + 1))
        best = max(mine, key=lambda e: e["validation_metric"])
        assert row["validation_metric"] == best["validation_metric"]
        assert (row["validation_loss"], row["best_epoch"]) == (best["validation_loss"], best["epoch"])
        assert row["parameters"] > 1_000 and row["seconds"] > 0


@pytest.mark.parametrize("seed", [1, -(2**63)])
def test_a_class_that_only_validation_has_is_warned_of(train: Table, validation: Table, seed: int) -> None:
    labels = validation.columns["label"].copy()
    labels[:7] = 5
    outcome = run(train, changed(validation, label=labels), CANDIDATES[5:], k=1, u=1, seed=seed)
    (warning,) = outcome.named("warning")
    assert warning["message"].startswith("7 validation rows are left out") and "(5)" in warning["message"]
    assert outcome.named("rows")[0]["task"] == "binary" and len(outcome.leaderboard) == 1


def test_the_same_seed_and_plan_give_the_same_leaderboard(planned: Outcome, train: Table, validation: Table) -> None:
    def learnt(outcome: Outcome) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in outcome.leaderboard]

    again = run(train, validation, CANDIDATES, budget=45.0, options={"patience": 9}, k=6, u=1)
    assert learnt(again) == learnt(planned)
    # A candidate learns the same whoever trains beside it.
    alone = run(train, validation, CANDIDATES[1:2], k=1, u=1).named("epoch")[0]
    among = next(e for e in planned.named("epoch") if e["architecture"] == CANDIDATES[1][0])
    assert {k: v for k, v in alone.items() if k not in ("seconds", "at")} == {
        k: v for k, v in among.items() if k not in ("seconds", "at")
    }
    other = run(train, validation, CANDIDATES[1:2], k=1, u=1, seed=2).named("epoch")[0]
    assert other["validation_metric"] != alone["validation_metric"]


def test_left_to_itself_it_fills_the_time_or_stops_when_nothing_improves(train: Table, validation: Table) -> None:
    outcome = run(train, validation, CANDIDATES, budget=14.0)
    winner = outcome.leaderboard[0]
    assert within(outcome.last["at"], outcome.deadline - RESERVE, RESERVE)
    assert (
        winner["epochs"] == 9
        or winner["epochs"] - winner["best_epoch"] >= 3
        or (outcome.deadline - outcome.last["at"] < 5)
    )


@pytest.mark.parametrize("budget", [10.0, 14.0])
def test_a_run_that_cannot_finish_answers_before_the_deadline(train: Table, validation: Table, budget: float) -> None:
    # Too many for twelve epochs, and not for a tenth of one, beside other work too.
    rows = np.tile(np.arange(train.rows), 10)
    big = Table({name: column[rows] for name, column in train.columns.items()})
    wide = [(f"512-512-{width}-512", 1e3 - width) for width in (384, 256, 240, 224)]
    with Backend(big, validation) as backend:
        ready = backend.event()
        assert ready is not None
        # Time counts from here: how long the import took on a busy machine is not the point.
        backend.started = time.monotonic() - 2.0
        deadline = backend.send(wide, budget, k=4, u=3)
        events = backend.rest()
    assert events[-1]["event"] == "result", events[-1]
    assert events[-1]["complete"] is False and events[-1]["leaderboard"]
    assert within(events[-1]["at"], deadline - RESERVE, RESERVE)
    progress = [e["at"] for e in events if e["event"] == "progress"]
    assert within(max(np.diff([*progress, events[-1]["at"]])), 0.0, 2.0)


def test_a_budget_too_small_names_one_that_works(train: Table, validation: Table) -> None:
    minimum = 0.5
    for attempt in itertools.count():
        outcome = run(train, validation, CANDIDATES, budget=minimum)
        if outcome.last["event"] == "result":
            break
        error = error_of(outcome)
        assert (error["kind"], error["sqlstate"]) == ("BudgetTooSmall", "53400")
        assert f"{error['minimum']:g} s" in error["hint"] and error["minimum"] > minimum
        # The first answer works; further tries are for a machine that got busier in between.
        assert attempt < 2 * crowding()
        minimum = error["minimum"]
    assert outcome.leaderboard and within(outcome.last["at"], outcome.deadline - RESERVE, RESERVE)


def test_a_measured_minimum_works_too(train: Table, validation: Table) -> None:
    rows = np.tile(np.arange(train.rows), 40)
    big = Table({name: column[rows] for name, column in train.columns.items()})
    wide = [("512-512-512-512", 1.0)]

    def ask(budget: float) -> Event:
        with Backend(big, validation) as backend:
            assert backend.event() is not None
            backend.started = time.monotonic()
            deadline = backend.send(wide, budget)
            last = backend.rest()[-1]
            assert within(last["at"], deadline, 0.5)
            return last

    budget = 1.4
    for attempt in itertools.count():  # the first answer works, unless the machine gets busier in between
        last = ask(budget)
        if last["event"] == "result":
            break
        assert attempt < 2 * crowding()
        assert last["kind"] == "BudgetTooSmall" and last["minimum"] > budget, last
        budget = last["minimum"]
    assert last["event"] == "result" and budget > 1.4


def labels(table: Table, value: int) -> Table:
    return changed(table, label=np.full(table.rows, value, np.int32))


@pytest.mark.parametrize("case", ["train", "validation", "held out"])
def test_one_class_only(train: Table, validation: Table, case: str) -> None:
    first = labels(train, 1) if case != "validation" else train
    second = None if case == "held out" else labels(validation, 1) if case == "validation" else validation
    error = error_of(run(first, second, CANDIDATES))
    assert (error["kind"], error["sqlstate"]) == ("UnusableData", "22000")
    assert "one class only" in error["message"] and error["hint"]


def test_three_values_are_three_classes(train: Table, validation: Table) -> None:
    outcome = run(labelled(train, 3), labelled(validation, 3), CANDIDATES, k=2, u=2)
    assert (outcome.named("rows")[0]["task"], outcome.named("rows")[0]["metric"]) == ("multiclass", "accuracy")
    assert 0.4 < outcome.leaderboard[0]["validation_metric"] <= 1.0  # by chance it is a third


def test_many_values_are_numbers(train: Table, validation: Table) -> None:
    outcome = run(labelled(train, 50), labelled(validation, 50), CANDIDATES, k=2, u=3)
    assert (outcome.named("rows")[0]["task"], outcome.named("rows")[0]["metric"]) == ("regression", "r2")
    best = outcome.leaderboard[0]
    assert 0.3 < best["validation_metric"] <= 1.0
    assert 1.0 < best["validation_loss"] < 15.0  # the target's standard deviation, in its own unit


def labelled(table: Table, values: int) -> Table:
    """A target of so many values that depends on the features."""
    noise = np.random.default_rng(0).normal(0, 0.5, table.rows)
    signal = sum(np.sin(column.astype(float)) for name, column in table.columns.items() if name != "label") + noise
    ranks = np.argsort(np.argsort(signal))
    return changed(table, label=(ranks * values // table.rows).astype(np.int32))


def test_a_task_that_does_not_fit_the_target(train: Table, validation: Table) -> None:
    error = error_of(run(labelled(train, 5), labelled(validation, 5), CANDIDATES, task="binary"))
    assert (error["kind"], error["sqlstate"]) == ("UnusableData", "22000")
    assert "5 different values" in error["message"] and "compares" in error["hint"]
    assert "no task" in error_of(run(train, validation, CANDIDATES, task="ranking"))["message"]


def test_too_few_rows(train: Table) -> None:
    few = Table({name: column[:3] for name, column in train.columns.items()})
    assert "too few rows" in error_of(run(few, None, CANDIDATES))["message"]


@pytest.mark.parametrize(
    ("change", "said"),
    [({"device": "cuda:99"}, "not available"), ({"k": 7}, "k = 7"), ({"target": "no such"}, "no such")],
)
def test_impossible_requests(train: Table, validation: Table, change: dict[str, Any], said: str) -> None:
    error = error_of(run(train, validation, CANDIDATES, **change))
    assert said in error["message"] and error["sqlstate"] == "22023"


def test_malformed_requests_and_unknown_devices() -> None:
    for line in (
        b"",
        b"[]",
        b"{}",
        b'{"request": "dance"}',
        b'{"request": "refine", "candidates": [["8-x", 1]]}',
        b'{"request": "refine", "candidates": [["8-8", 1]], "score_seconds": NaN, "scored": 1}',
        b'{"request": "refine", "candidates": [["8-8", 1]], "score_seconds": 0, "scored": 1e999}',
        b'{"request": "refine", "candidates": [["8-8", 1]], "score_seconds": 0, "scored": 1, "resume": [1, 2]}',
        b'{"request": "rows", "target": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ):
        for parse in (parse_setting, parse_request):
            with pytest.raises(InvalidInput, match="request"):
                parse(line)
    seconds: dict[str, Any] = {"started": 1.0, "budget": 10.0, "deadline": 10.5}
    for changes in (
        {"budget": math.nan},
        {"budget": math.inf},
        {"deadline": math.nan},
        {"deadline": -math.inf},
        {"started": math.inf},
        {"deadline": None},
        {"budget": None},
        {"budget": "soon"},
    ):
        setting = {"request": "rows", "target": "label", "seed": 1, "train": {}, **seconds}
        assert parse_setting(json.dumps(setting)).deadline == 10.5
        with pytest.raises(InvalidInput, match="request"):
            parse_setting(json.dumps({**setting, **changes}))
    for name in ("tpu", "", "cpu,cuda:0", "auto,auto", "cuda:0,cuda:0", "cuda:-1"):
        with pytest.raises(InvalidInput, match="device"):
            select(name)
    with pytest.raises(InvalidInput, match="not available"):
        select("cuda:98,cuda:99")


def test_nulls_unknown_categories_and_values_without_a_validation_table(train: Table) -> None:
    generator = np.random.default_rng(0)
    number = generator.normal(size=train.rows).astype(np.float32)
    # The target follows the number and whether f0 is NULL, and nothing else.
    null = generator.random(train.rows) < 0.5
    label = (number + 2.0 * null + 0.3 * generator.normal(size=train.rows) > 1.0).astype(np.int32)
    table = Table(
        {
            "number": np.full(train.rows, 17, np.int32),
            "f0": train.columns["f0"],
            # Every category but a few is new to the rows held out.
            "rare": generator.integers(0, 2**40, train.rows),
            "label": label,
        },
        nulls={"f0": null},
        values={"number": 1e6 * number},
        idvalue=frozenset({"number", "f0"}),
    )
    outcome = run(table, None, CANDIDATES[:1], k=1, u=4)
    assert outcome.leaderboard[0]["validation_metric"] > 0.95, outcome.leaderboard


def test_validation_rows_are_not_those_it_learnt_from(train: Table) -> None:
    # Labels by the toss of a coin and a key that tells every row apart: held-out rows cannot be predicted.
    generator = np.random.default_rng(0)
    table = Table(
        {
            "label": generator.integers(0, 2, train.rows).astype(np.int32),
            "key": np.arange(train.rows, dtype=np.int32),
            "f": train.columns["f0"],
        }
    )
    outcome = run(table, None, CANDIDATES[:1], k=1, u=3)
    assert abs(outcome.leaderboard[0]["validation_metric"] - 0.5) < 0.06


def test_memory_that_runs_out_on_the_way_is_one_error(train: Table, validation: Table) -> None:
    huge = ("999999-999999", 1.0)  # four terabytes of weights
    outcome = run(train, validation, [CANDIDATES[0], huge], k=2, u=1)
    assert outcome.named("epoch"), "the first candidate was trained"
    error = error_of(outcome)
    assert error["sqlstate"] == "53200" and "alloc" in error["detail"] and error["hint"]


def test_nothing_but_events_reaches_the_pipe_and_the_compiler_stays_unloaded(
    train: Table, validation: Table, tmp_path: Path
) -> None:
    # A library that prints: here a start-up hook, which also reports what was imported.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "leave = os._exit\n"
        "def report(status):\n"
        "    print('printed', flush=True); os.write(1, b'written\\n')\n"
        "    print('compiler loaded:', 'torch._dynamo' in sys.modules, flush=True); leave(status)\n"
        "os._exit = report\n"
    )
    before = os.environ.get("PYTHONPATH")
    import tests.refinement.backend as backend_module

    root = backend_module.PYTHON_ROOT
    try:
        backend_module.PYTHON_ROOT = Path(f"{tmp_path}{os.pathsep}{root}")
        outcome = run(train, validation, CANDIDATES[:1], k=1, u=1)
    finally:
        backend_module.PYTHON_ROOT = root
    assert os.environ.get("PYTHONPATH") == before
    assert outcome.last["event"] == "result"
    assert outcome.log.splitlines() == ["printed", "written", "compiler loaded: False"]


def wait_gone(process: subprocess.Popen[bytes], seconds: float) -> float:
    started = time.monotonic()
    process.wait(seconds)
    return time.monotonic() - started


@pytest.mark.parametrize("when", ["importing", "idle", "training"])
def test_it_ends_at_once_when_the_backend_is_gone(train: Table, validation: Table, when: str) -> None:
    with Backend(train, validation) as backend:
        if when != "importing":
            assert backend.event() is not None
        if when == "training":
            backend.send([("512-512-512-512", 1.0)], 60.0, {"max_epochs": 30})
            while (event := backend.event()) is not None and event["event"] != "progress":
                pass
        else:
            time.sleep(0.3)
        assert backend.process.stdin is not None
        backend.process.stdin.close()
        # 0.3 s on an idle machine; importing holds the interpreter for longer stretches.
        assert within(wait_gone(backend.process, 30), 0.0, 2.0 if when == "importing" else 0.6)
        assert backend.process.returncode == 3


def test_kill_leaves_nothing(train: Table, validation: Table) -> None:
    with Backend(train, validation) as backend:
        assert backend.event() is not None
        backend.send([("512-512-512-512", 1.0)], 60.0)
        while (event := backend.event()) is not None and event["event"] != "progress":
            pass
        group = backend.process.pid
        backend.process.send_signal(signal.SIGKILL)
        backend.process.wait(5)
        with pytest.raises(ProcessLookupError):
            os.killpg(group, 0)


def test_a_reader_that_is_gone_ends_it_without_noise(train: Table, validation: Table) -> None:
    with Backend(train, validation) as backend:
        assert backend.event() is not None
        assert backend.process.stdout is not None and backend.process.stderr is not None
        backend.process.stdout.close()
        backend.send(CANDIDATES, 30.0)
        assert backend.process.wait(20) == 3
        assert backend.process.stderr.read() == b""
