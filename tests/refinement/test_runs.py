"""Whole runs of the refinement process: schedulers, stacking, threads, checkpoints, limits, profiles."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from tests.refinement import backend
from tests.refinement.backend import Backend, Event, Outcome, Table, memfd, run
from tests.refinement.test_child import labelled
from tests.timing import within
from trails.errors import InvalidInput
from trails.model.store import Model
from trails.refinement import checkpoint
from trails.refinement.devices import cores
from trails.refinement.metrics import measure
from trails.table.columns import Columns
from trails.table.target import learn_target
from trails.training.options import Options, describe_options, parse_options

CANDIDATES = backend.CANDIDATES[:4]

CALIBRATED = {"temperature", "output_slope", "output_shift", "log_shift"}
"""What is among a model's metrics and is none."""


def learnt(outcome: Outcome) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in outcome.leaderboard]


def epochs_by_candidate(outcome: Outcome) -> dict[str, int]:
    return {row["architecture"]: row["epochs"] for row in outcome.leaderboard}


@pytest.mark.parametrize(
    ("refinement", "u", "expected"),
    [
        # 4 to epoch 1, 1 on to epoch 3.
        ("sh", 1, [1, 1, 1, 3]),
        # 4 for 2 epochs each.
        ("ua", 2, [2, 2, 2, 2]),
        # n = 6 epochs and K = 4 (Audibert and Bubeck): nobody gets more than one before the last phases.
        ("sj", None, None),
        ("hyperband", None, None),
    ],
)
def test_every_scheduler_trains_for_real(
    train: Table, validation: Table, refinement: str, u: int | None, expected: list[int] | None
) -> None:
    outcome = run(train, validation, CANDIDATES, options={"max_epochs": 9}, refinement=refinement, k=4, u=u)
    assert outcome.last["event"] == "result", outcome.last
    assert outcome.last["complete"] is True
    epochs = epochs_by_candidate(outcome)
    if expected is not None:
        assert sorted(epochs.values()) == expected
    assert outcome.leaderboard[0]["validation_metric"] == max(row["validation_metric"] for row in outcome.leaderboard)
    assert sum(epochs.values()) == len(outcome.named("epoch"))
    winners = outcome.named("rung")[-1]["survivors"]
    assert winners == [outcome.leaderboard[0]["architecture"]] or refinement == "hyperband"


def test_an_unknown_scheduler_is_named(train: Table, validation: Table) -> None:
    outcome = run(train, validation, CANDIDATES, refinement="bohb", k=2, u=1)
    assert "bohb" in outcome.last["message"] and "hyperband" in outcome.last["hint"]


def test_threads_and_stacking_do_not_change_the_result(train: Table, validation: Table) -> None:
    fixed: Mapping[str, Any] = {"k": 4, "u": 1}

    def of(together: str, threads: int) -> Outcome:
        # With some dropout: a unit that is 0 in every row of a batch has no deviation, and dividing by none makes last
        # digits first ones.
        options = {"together": together, "dropout": 0.1}
        return run(train, validation, CANDIDATES, options=options, threads=threads, **fixed)

    one, two, stacked = of("never", 1), of("never", 2), of("always", 2)
    assert learnt(two) == learnt(one)
    assert [row["architecture"] for row in stacked.leaderboard] == [row["architecture"] for row in one.leaderboard]
    for mine, theirs in zip(one.leaderboard, stacked.leaderboard, strict=True):
        assert (mine["epochs"], mine["best_epoch"]) == (theirs["epochs"], theirs["best_epoch"])
        # Sums in another order: the last digits of float32 differ, and training spreads them.
        assert mine["validation_metric"] == pytest.approx(theirs["validation_metric"], abs=2e-4)


def test_without_a_budget_the_plan_is_carried_out(train: Table, validation: Table) -> None:
    outcome = run(train, validation, CANDIDATES, budget=None, k=3, u=1)
    assert outcome.last["complete"] is True and sorted(epochs_by_candidate(outcome).values()) == [1, 1, 3]
    refused = run(train, validation, CANDIDATES, budget=None)
    assert refused.last["event"] == "error" and "budget" in refused.last["message"]


def test_candidates_without_scores_stay_without(train: Table, validation: Table) -> None:
    outcome = run(train, validation, [(a, None) for a, _ in CANDIDATES], k=4, u=1)
    assert [row["score"] for row in outcome.leaderboard] == [None] * 4


def test_a_candidate_that_gets_no_better_stops_early(train: Table) -> None:
    generator = np.random.default_rng(0)
    noise = Table({**train.columns, "label": generator.integers(0, 2, train.rows).astype(np.int32)})
    outcome = run(noise, None, CANDIDATES[:1], options={"max_epochs": 30, "patience": 2}, k=1, u=30)
    row = outcome.leaderboard[0]
    assert row["epochs"] - row["best_epoch"] == 2 and row["epochs"] < 30


def test_phases_are_timed_and_rows_are_ready_before_the_request(train: Table, validation: Table) -> None:
    outcome = run(train, validation, CANDIDATES, k=4, u=1)
    (rows,) = outcome.named("rows")
    assert 0 < rows["seconds"] <= rows["first_batch"] < 30
    timings = {row["phase"]: row for row in outcome.last["timings"]}
    assert list(timings) == sorted(timings, key=lambda phase: timings[phase]["begin"])
    assert {"encode", "measure", "rung 0", "rung 1"} <= set(timings)
    for row in timings.values():
        assert row["begin"] > 0 and row["seconds"] >= 0
    last = max(row["begin"] + row["seconds"] for row in timings.values())
    assert last <= outcome.last["at"] - (outcome.deadline - 29.7) + 0.1


def test_signs_of_life_come_every_second(train: Table, validation: Table) -> None:
    with Backend(train, validation) as backend:
        assert backend.process.stdout is not None
        times = []
        while len(times) < 4:
            event: Event = json.loads(backend.process.stdout.readline())
            if event["event"] == "alive":
                times.append(time.monotonic())
        assert within(max(np.diff(times)), 0.0, 4.0)


# Checkpoints


def cut_after(rung: int, train: Table, validation: Table, **changes: Any) -> tuple[bytes, list[Event]]:
    """A run whose process is killed once the checkpoint of ``rung`` is out: the checkpoint, and the events."""
    with Backend(train, validation) as backend:
        backend.send(CANDIDATES, 60.0, **changes)
        events: list[Event] = []
        while (event := backend.event()) is not None:
            events.append(event)
            if event["event"] == "checkpoint" and event["rung"] == rung:
                backend.process.kill()
                return backend.checkpoint(event), events
    raise AssertionError(f"no checkpoint of rung {rung}: {events[-1]}")


def resume(blob: bytes, train: Table, validation: Table, **changes: Any) -> Outcome:
    file = memfd(blob)
    with Backend(train, validation, files=[file]) as backend:
        deadline = backend.send([], 60.0, resume={"fd": file, "length": len(blob)}, **changes)
        events = backend.rest()
        assert backend.process.stderr is not None
        outcome = Outcome(events, backend.process.wait(10), deadline, backend.process.stderr.read().decode())
    os.close(file)
    return outcome


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(train: Table, validation: Table) -> None:
    plan: Mapping[str, Any] = {"k": 4, "u": 1, "options": {"eta": 2, "max_epochs": 4, "patience": 9}}
    whole = run(train, validation, CANDIDATES, **plan)
    assert sorted(epochs_by_candidate(whole).values()) == [1, 1, 2, 4]
    for rung in (0, 1):
        blob, _ = cut_after(rung, train, validation, **plan)
        resumed = resume(blob, train, validation, **plan)
        assert resumed.last["event"] == "result", resumed.last
        assert learnt(resumed) == learnt(whole)
        assert [e["rung"] for e in resumed.named("rung")] == list(range(rung + 1, 3))


def test_a_run_cut_in_the_winners_epochs_goes_on_with_them(train: Table, validation: Table) -> None:
    options = {"max_epochs": 6, "members": 1}
    blob, events = cut_after(1, train, validation, options=options, u=1)
    resumed = resume(blob, train, validation, options=options, u=1)
    winner = resumed.leaderboard[0]
    survivor = [e for e in events if e["event"] == "rung"][-1]["survivors"][0]
    assert winner["architecture"] == survivor
    assert winner["epochs"] == 6 or winner["epochs"] - winner["best_epoch"] >= 3
    assert len(resumed.leaderboard) >= 3


def test_hyperband_goes_on_too_with_the_brackets_that_are_left(train: Table, validation: Table) -> None:
    plan: Mapping[str, Any] = {
        "k": 4,
        "refinement": "hyperband",
        "options": {"eta": 2, "max_epochs": 4, "patience": 9},
    }
    whole = run(train, validation, CANDIDATES, **plan)
    rungs = whole.named("rung")
    assert whole.last["complete"] is True and len(rungs) == 3  # two brackets
    # What the last rung leaves needs no going on with.
    assert [e["rung"] for e in whole.named("checkpoint")] == [0, 1]
    for rung in (0, 1):
        blob, _ = cut_after(rung, train, validation, **plan)
        resumed = resume(blob, train, validation, **plan)
        assert resumed.last["event"] == "result", resumed.last
        assert learnt(resumed) == learnt(whole)
        assert [e["rung"] for e in resumed.named("rung")] == [e["rung"] for e in rungs][rung + 1 :]


def test_a_checkpoint_that_was_made_up_is_refused(train: Table, validation: Table) -> None:
    plan: Mapping[str, Any] = {"k": 4, "refinement": "hyperband", "options": {"eta": 2, "max_epochs": 4}}
    blob, _ = cut_after(0, train, validation, **plan)
    length = int.from_bytes(blob[:8], "little")
    told = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["trails"])

    def forged(**changes: Any) -> bytes:
        return bytes(safetensors.numpy.save(safetensors.numpy.load(blob), {"trails": json.dumps({**told, **changes})}))

    assert checkpoint.from_bytes(forged()).scheduler == told["scheduler"]
    survivor = told["survivors"][0]
    for broken in (
        forged(survivors=[{**survivor, "shape": {**survivor["shape"], "ids": 10**7}}]),
        forged(survivors=[{**survivor, "shape": {**survivor["shape"], "depth": 3}}]),
        forged(survivors=[{**survivor, "design": [64, 64]}]),
        forged(survivors=[{**survivor, "design": 7}]),
        forged(survivors=[]),
        forged(family="perceptron"),
        forged(family=None),
        forged(format="trails.checkpoint.2"),
        forged(format="trails.checkpoint.3"),  # Hyperband's results had no loss
        forged(survivors=[{**survivor, "row": []}]),
        forged(survivors=7),
        forged(fresh=[["8-8"]]),
        forged(fresh=[["eight", 1.0]]),
        forged(rungs="["),
        forged(n=1e999),
        forged(format=json.loads("[" * 900 + "]" * 900)),
    ):
        with pytest.raises(InvalidInput, match="checkpoint") as refused:
            checkpoint.from_bytes(broken)
        assert refused.value.hint == "Start a new run."
    # Which candidates there are is known when the run goes on.
    outcome = resume(forged(scheduler={**told["scheduler"], "entrants": ["8-8-8-8"]}), train, validation, **plan)
    assert outcome.last["event"] == "error" and outcome.last["sqlstate"] == "22023", outcome.last
    assert "checkpoint cannot be read" in outcome.last["message"], outcome.last


def test_a_checkpoint_of_other_rows_or_of_nothing_is_refused(train: Table, validation: Table) -> None:
    blob, _ = cut_after(0, train, validation, k=4, u=1)
    other = Table({**train.columns, "f0": np.roll(train.columns["f0"], 1)})
    refused = resume(blob, other, validation, k=4, u=1)
    assert "rows have changed" in refused.last["message"] and refused.last["sqlstate"] == "22023"
    for broken in (b"", blob[:1000], b"\\x00" * 64, blob[:40] + b"}" + blob[41:]):
        refused = resume(broken, train, validation, k=4, u=1)
        assert "checkpoint cannot be read" in refused.last["message"], refused.last


# Limits


def test_a_memory_limit_too_small_says_what_is_needed(train: Table, validation: Table) -> None:
    refused = run(train, validation, CANDIDATES, k=2, u=1, memory_limit=100 << 20)
    assert refused.last["sqlstate"] == "53200" and "100 MB" in refused.last["message"], refused.last
    needed = int(refused.last["hint"].split("'")[1].removesuffix("MB"))
    assert 100 < needed < 8000
    assert run(train, validation, CANDIDATES, k=2, u=1, memory_limit=needed << 20).last["event"] == "result"


def test_a_candidate_beyond_the_memory_limit_is_an_error_and_what_finished_stays(
    train: Table, validation: Table
) -> None:
    wide = ("20000-20000", 1.0)  # 1.6 GB for each copy of its weights
    outcome = run(train, validation, [CANDIDATES[0], wide], k=2, u=1, memory_limit=3 << 30, threads=1)
    assert outcome.last["event"] == "error" and outcome.last["sqlstate"] == "53200", outcome.last
    assert [e["architecture"] for e in outcome.named("epoch")] == [CANDIDATES[0][0]]
    # The caller returns it, and keeps it where it was given a name.
    assert outcome.model is not None and outcome.model.architecture == CANDIDATES[0][0]
    assert outcome.model.metrics.keys() - CALIBRATED == {"auc", "log_loss", "accuracy"}


def test_a_checkpoint_that_cannot_be_written_does_not_cost_the_run(train: Table, validation: Table) -> None:
    outcome = run(train, validation, CANDIDATES, k=4, u=1, checkpoints=[99_998, 99_999])  # nothing is open there
    assert outcome.last["event"] == "result" and outcome.last["complete"] is True, outcome.last
    assert not outcome.named("checkpoint") and "no checkpoint of rung 0: OSError" in outcome.log


def test_there_are_no_more_threads_than_cores() -> None:
    available = len(os.sched_getaffinity(0))
    assert (cores(0), cores(1), cores(1024)) == (available, 1, available)


def test_what_goes_wrong_with_the_model_does_not_cost_the_leaderboard(train: Table, validation: Table) -> None:
    with Backend(train, validation) as process:
        process.send(CANDIDATES, 60.0, k=2, u=1, models=[99_998, 99_999])  # nothing is open there
        events = process.rest()
    assert events[-1]["event"] == "result" and len(events[-1]["leaderboard"]) == 2
    assert "OSError" in events[-1]["unkept"] and not [e for e in events if e["event"] == "model"]


# Profiles


def test_a_profile_measures_every_architecture(train: Table, validation: Table) -> None:
    with Backend(train, validation) as backend:
        backend.send([], request="profile", architectures=["256-256-256-256", "8-8-8-8"])
        events = backend.rest()
    assert events[-1]["event"] == "profile", events[-1]
    wide, narrow = events[-1]["rows"]
    assert wide["architecture"] == "256-256-256-256" and wide["seconds_alone"] > narrow["seconds_alone"] > 0
    assert wide["parameters"] > narrow["parameters"] and wide["bytes"] > narrow["bytes"]
    for row in (wide, narrow):
        assert row["seconds_alone"] == pytest.approx(row["training_seconds"] + row["evaluation_seconds"])
        assert row["seconds_shared"] > 0
    assert events[-1]["workers"] == 1


# Options


def test_options_are_checked_by_name_kind_and_range() -> None:
    assert parse_options(None) == Options() == parse_options("{}")
    assert parse_options('{"dropout": 0.5, "batch": 64, "winner": false}') == Options(
        dropout=0.5, batch=64, winner=False
    )
    for given, said in (
        ('{"droput": 0.5}', "no option"),
        ('{"dropout": "a lot"}', "a number or auto"),
        ('{"dropout": true}', "a number"),
        ('{"dropout": 1.5}', "0 to 0.95"),
        ('{"batch": 2.5}', "whole number"),
        ('{"batch": true}', "whole number"),
        ('{"winner": 1}', "true or false"),
        ('{"together": "maybe"}', "one of"),
        ('{"eta": 1}', "at least 2"),
        ('{"learning_rate": NaN}', "a number"),
        ("[]", "JSON object"),
        ("{", "not JSON"),
    ):
        with pytest.raises(Exception, match=said):
            parse_options(given)


def test_few_rows_are_regularised_and_many_are_not() -> None:
    assert Options().regularisation(200_000) == Options().regularisation(10**8) == (0.0, 1e-3)
    assert Options().regularisation(5_000) == Options().regularisation(1) == pytest.approx((0.5, 0.04))
    between = [Options().regularisation(rows) for rows in range(5_000, 205_000, 5_000)]
    assert between == sorted(between, reverse=True) and len(set(between)) == len(between)
    assert Options().regularisation(5_000, 0.4) == pytest.approx((0.3, 0.04))
    assert Options().regularisation(5_000, 1.0) == pytest.approx((0.0, 0.04))
    assert Options().regularisation(5_000, 0.0, "regression") == pytest.approx((0.0, 0.04))
    assert parse_options('{"dropout": 0.2}').regularisation(5_000, 0.0, "regression") == pytest.approx((0.2, 0.04))
    assert Options().regularisation(10**6, 1.0) == (0.0, 1e-3)
    assert parse_options('{"dropout": 0.2}').regularisation(5_000, 1.0) == pytest.approx((0.2, 0.04))
    assert parse_options('{"dropout": 0}').regularisation(5_000) == pytest.approx((0.0, 0.04))
    assert parse_options('{"dropout": 0.1, "embedding_l2": 0}').regularisation(10**6) == (0.1, 0.0)
    assert parse_options('{"dropout": "auto", "embedding_l2": "auto"}') == Options()


def test_every_option_is_described_with_its_default() -> None:
    described = describe_options()
    assert parse_options({name: json.loads(default) for name, default, _ in described}) == Options()
    assert all(sentence and math.isfinite(len(sentence)) for _, _, sentence in described)


# Threads


def test_the_fastest_number_of_threads_is_found_and_shares_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from trails.refinement import workers

    current = [1]
    monkeypatch.setattr(workers.torch, "get_num_threads", lambda: current[0])
    monkeypatch.setattr(workers.torch, "set_num_threads", lambda count: current.__setitem__(0, count))
    cores = workers.Cores(6)
    seconds = {1: 3.0, 2: 1.0, 4: 2.0, 6: 5.0, 3: 9.0}
    with cores:
        threads = workers.Threads(cores)
        threads.next(None)
        tried = set()
        for _ in range(30):
            tried.add(current[0])
            threads.next(seconds[current[0]])
        assert tried == {1, 2, 4, 6} and current == [2]
        with cores:  # another one begins: half of the cores each
            for _ in range(30):
                threads.next(seconds[current[0]])
                assert current[0] <= 3
            assert cores.share() == 0.5
    repeatable = workers.Threads(workers.Cores(6, repeatable=True))
    repeatable.next(None)
    assert current == [1]


@pytest.mark.parametrize("values", [2, 3, 50])
def test_the_winner_is_written_as_a_model_that_predicts_what_it_was_ranked_by(
    train: Table, validation: Table, values: int
) -> None:
    table, held = labelled(train, values), labelled(validation, values)
    outcome = run(table, held, CANDIDATES, k=3, u=1, options={"embedding": 6})
    best, model = outcome.leaderboard[0], outcome.model
    assert model is not None and model.architecture == best["architecture"]
    data, layout = held.pack()
    columns = Columns.from_buffer(data, layout)
    target = learn_target(columns["label"])
    # Of a number the model may have another mean and deviation, or its logarithm.
    truth = (model.target if values == 50 else target).labels(columns["label"])
    outputs = model.outputs(columns)
    if values == 2:
        truth = truth != 0
    # The leaderboard's loss is that of the network as it was trained.
    logits = outputs * np.float32(model.metrics.get("temperature", 1.0))
    metric, loss = measure(model.target, truth, logits if values == 3 else logits[:, 0])
    assert metric == pytest.approx(best["validation_metric"], abs=1e-5)
    assert loss == pytest.approx(best["validation_loss"], rel=1e-3)
    assert model.metrics[model.target.metric] == pytest.approx(metric, abs=1e-5)
    told = {2: {"auc", "log_loss", "accuracy"}, 3: {"accuracy", "macro_auc", "log_loss"}, 50: {"r2", "rmse", "mae"}}
    assert model.metrics.keys() - CALIBRATED == told[values]
    assert outcome.last["unkept"] is None
    assert model.target.classes == (() if values == 50 else tuple(map(str, range(values))))
    again = Model.from_bytes(model.to_bytes())
    assert np.array_equal(again.outputs(columns), outputs) and again.to_bytes() == model.to_bytes()


def test_candidates_that_are_equally_good_do_not_cost_the_model(train: Table) -> None:
    """Nothing tells perfect candidates apart, so one that was dropped may have the better score."""
    easy = Table({**train.columns, "label": (train.columns["f0"] % 2).astype(np.int32)})
    outcome = run(easy, easy, CANDIDATES, k=4, u=2)
    assert [row["validation_metric"] for row in outcome.leaderboard[:2]] == [1.0, 1.0]
    assert outcome.model is not None and outcome.model.architecture == outcome.leaderboard[0]["architecture"]


def test_a_model_is_there_before_the_end(train: Table, validation: Table) -> None:
    """A run that something ends early has the model of its last rung."""
    with Backend(train, validation) as process:
        assert process.event() is not None
        process.send(CANDIDATES, 60.0)
        while (event := process.event()) is not None and event["event"] != "model":
            assert event["event"] != "result"
        assert event is not None and process.model(event).target.name == "label"


@pytest.mark.parametrize("values", [2, 3, 50])
def test_a_models_metrics_do_not_depend_on_how_the_run_ended(train: Table, validation: Table, values: int) -> None:
    table, held = labelled(train, values), labelled(validation, values)
    plan: Mapping[str, Any] = {"k": 4, "u": 1, "options": {"eta": 2, "max_epochs": 2}}
    with Backend(table, held) as process:
        process.send(CANDIDATES, 60.0, **plan)
        blobs: list[Model] = []
        saved = b""
        while (event := process.event()) is not None and event["event"] != "result":
            if event["event"] == "model":
                blobs.append(process.model(event))
            if event["event"] == "checkpoint" and event["rung"] == 0:
                saved = process.checkpoint(event)
    told = {2: {"auc", "log_loss", "accuracy"}, 3: {"accuracy", "macro_auc", "log_loss"}, 50: {"r2", "rmse", "mae"}}
    # That of the first rung is what a caller has of a run that is killed then; the last one is the winner.
    assert len(blobs) >= 2
    for model in blobs:
        assert model.metrics.keys() - CALIBRATED == told[values]
    file = memfd(saved)
    with Backend(table, held, files=[file]) as process:
        process.send([], 60.0, resume={"fd": file, "length": len(saved)}, **plan)
        (*_, written) = [event for event in process.rest() if event["event"] == "model"]
        again = process.model(written)
    os.close(file)
    assert again.metrics == blobs[-1].metrics and again.architecture == blobs[-1].architecture


@pytest.mark.parametrize("spoil", [lambda b: b[:-5], lambda b: b[:40] + b"x" + b[41:], lambda b: b"", lambda b: b * 2])
def test_a_spoilt_model_is_refused(train: Table, validation: Table, spoil: Callable[[bytes], bytes]) -> None:
    model = run(train, validation, CANDIDATES, k=1, u=1).model
    assert model is not None
    with pytest.raises(InvalidInput, match="model cannot be read"):
        Model.from_bytes(spoil(model.to_bytes()))
