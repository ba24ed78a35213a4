"""Whole selections on recorded curves: the same as the real runs they come from, and the same as a scheduler alone."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.refinement.backend import Table
from tests.refinement.conftest import make_table
from trails.errors import BudgetTooSmall, InvalidInput, UnusableData
from trails.halving import halving_rungs
from trails.refinement.costs import Seconds
from trails.refinement.curves import Curve, RecordedEpoch, curves_of
from trails.refinement.dataset import Dataset, prepare
from trails.refinement.protocol import Candidate, Events, Refine, Setting
from trails.refinement.recorded import RecordedRun, run_recorded, select_recorded
from trails.refinement.run import refine
from trails.refinement.schedulers import planned_scheduler
from trails.refinement.timings import Timings
from trails.table.columns import Columns
from trails.training.options import Options

ARCHITECTURES = ("32-32", "4-4", "24-8", "8-8", "2-2", "16-16", "8-32", "3-16", "48-4", "1-1")

Event = Mapping[str, Any]


def columns(table: Table) -> Columns:
    return Columns.from_buffer(*table.pack())


def candidates_of(names: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Best score first, and designs that tell them apart."""
    designs = {name: tuple(map(int, name.split("-"))) if "-" in name else (n,) for n, name in enumerate(names)}
    return tuple(Candidate(name, designs[name], 9.0 - n) for n, name in enumerate(names))


@pytest.fixture(scope="module")
def data() -> Dataset:
    train, validation = columns(make_table(1_500, 3)), columns(make_table(700, 4))
    return prepare(train, validation, "label", 1, torch.device("cpu"))


def train_for_real(data: Dataset, request: Refine) -> RecordedRun:
    lines: list[bytes] = []
    setting = Setting("label", 5, time.monotonic(), math.inf, math.inf, {}, None)
    refine(setting, request, data, [torch.device("cpu")], Events(lines.append), Timings(setting.started))
    return RecordedRun(tuple(map(json.loads, lines)), 0.0)


def untimed(rows: list[Event]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("seconds", "at")} for row in rows]


def by_candidate(epochs: list[Event]) -> list[dict[str, Any]]:
    return sorted(untimed(epochs), key=lambda e: (e["architecture"], e["epoch"]))


# The same as real runs


@pytest.mark.parametrize(
    ("refinement", "u", "eta", "patience"), [("sh", 1, 2, 2), ("sh", 2, 3, 9), ("hyperband", None, 2, 9)]
)
def test_a_real_run_and_its_curves_come_to_the_same(
    data: Dataset, refinement: str, u: int | None, eta: int, patience: int
) -> None:
    options = Options(eta=eta, max_epochs=8, patience=patience)
    request = Refine(candidates_of(ARCHITECTURES), refinement, len(ARCHITECTURES), u, options)
    real = train_for_real(data, request)
    assert len(real.rungs) >= 3 and len(real.leaderboard) >= 8  # brackets leave some out
    curves = curves_of(real.named("epoch"), {row["architecture"]: row["parameters"] for row in real.leaderboard})
    for workers in (1, 3):
        recorded = select_recorded(request, curves, workers=workers)
        assert recorded.rungs == real.rungs
        assert recorded.winner == real.winner
        # With every best epoch, its metric and its loss, and how far everyone came.
        assert untimed(recorded.leaderboard) == untimed(real.leaderboard)
        assert by_candidate(recorded.named("epoch")) == by_candidate(real.named("epoch"))
        assert recorded.complete is real.complete is True
    # Seconds are those of the epochs: one machine takes as long as all of them, and measuring before.
    alone = select_recorded(request, curves)
    assert alone.seconds == pytest.approx(0.6 + sum(e["seconds"] for e in real.named("epoch")))


def test_curves_are_made_of_what_was_reported() -> None:
    metrics = {("a", 2): 0.75, ("b", 1): 0.5, ("a", 1): 0.625}
    told = [
        {
            "architecture": a,
            "epoch": n,
            "validation_metric": m,
            "validation_loss": 1 - m,
            "train_loss": 0.5,
            "seconds": 2,
        }
        for (a, n), m in metrics.items()
    ]
    curves = curves_of(told, {"a": 12}, failed=["b"], evaluation_share=0.25)
    first, second = RecordedEpoch(0.625, 0.375, 0.5, 1.5, 0.5), RecordedEpoch(0.75, 0.25, 0.5, 1.5, 0.5)
    assert curves["a"] == Curve((first, second), 12)
    assert [epoch.failed for epoch in curves["b"].epochs] == [False, True] and curves["b"].parameters == 0
    # A table has NULL for a loss that is not finite.
    (unknown,) = curves_of([{**told[1], "train_loss": None}])["b"].epochs
    assert math.isnan(unknown.train_loss) and not unknown.failed
    # A loss has its own sign in a table, and a curve's metric is the better the higher.
    losses = [{**row, "validation_metric": row["validation_loss"]} for row in told]
    by_loss = curves_of(losses, less_is_better=True)
    assert [epoch.metric for epoch in by_loss["a"].epochs] == [-0.375, -0.25]
    request = Refine(candidates_of(("a", "b")), "sh", 2, 1, Options(max_epochs=1))
    assert select_recorded(request, by_loss).winner == select_recorded(request, curves_of(told)).winner == "a"
    with pytest.raises(InvalidInput, match="epoch 2 of a is there twice"):
        curves_of([*told, told[0]])
    with pytest.raises(InvalidInput, match="epoch 1 of a was not recorded"):
        curves_of(told[:1])


# The same as a scheduler alone


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["sh", "ua", "sj", "hyperband"]),
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(2, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 999),
)
def test_a_run_and_its_scheduler_alone_agree(
    name: str, k: int, u: int, eta: int, patience: int, workers: int, seed: int
) -> None:
    """Also where trainings fail, metrics are equal, and candidates are done early."""
    draw, longest = random.Random(seed), 9

    def epoch() -> RecordedEpoch:
        metric = math.nan if draw.random() < 0.04 else round(draw.random(), 1)
        return RecordedEpoch(metric, round(draw.random(), 1), 0.5, draw.uniform(1.0, 9.0), draw.random())

    names = tuple(f"c{number}" for number in range(k))
    curves = {c: Curve(tuple(epoch() for _ in range(longest))) for c in names}
    first = u if name in ("sh", "ua") else None
    options = Options(eta=eta, max_epochs=longest, patience=patience)
    rungs = halving_rungs(k, u, eta, longest)
    if first is None:
        rungs = halving_rungs(k, 1, eta, longest)
    scheduler = planned_scheduler(name, names, rungs, eta=eta, max_epochs=longest, u=first)
    request = Refine(candidates_of(names), name, k, first, options)
    try:
        alone = run_recorded(scheduler, curves, patience=patience)
    except UnusableData:
        with pytest.raises(UnusableData):
            select_recorded(request, curves, workers=workers)
        return
    run = select_recorded(request, curves, workers=workers)
    assert run.rungs == alone.history and run.winner == alone.winner
    best = run.leaderboard[0]
    assert (best["validation_metric"], best["epochs"]) == (alone.metric, alone.epochs_reached)
    failures = alone.epochs - len(run.named("epoch"))  # an epoch in which training fails is told by nobody
    assert 0 <= failures <= k


def test_equal_metrics_are_told_apart_by_the_loss() -> None:
    curves = {
        "a": Curve(tuple(RecordedEpoch(1.0, loss, 0.1, 1.0) for loss in (0.4, 0.3, 0.2, 0.1))),
        "b": Curve(tuple(RecordedEpoch(1.0, 0.3, 0.1, 1.0) for _ in range(4))),
    }
    run = select_recorded(Refine(candidates_of(("a", "b")), "ua", 2, 4, Options(patience=2)), curves)
    rows = {row["architecture"]: (row["best_epoch"], row["epochs"]) for row in run.leaderboard}
    assert rows == {"a": (4, 4), "b": (1, 3)} and run.winner == "a"


# Within a budget


def curves_like(count: int, epochs: int, seconds: float, seed: int = 1) -> dict[str, Curve]:
    """Curves that rise to different heights; candidates differ in what they take."""
    draw = random.Random(seed)
    found = {}
    for number in range(count):
        height, speed, noise = draw.uniform(0.7, 0.95), draw.uniform(0.2, 0.7), draw.random
        own = seconds * draw.uniform(0.5, 1.5)
        metrics = [height * (1 - 0.5 * speed**epoch) + 0.005 * noise() for epoch in range(1, epochs + 1)]
        found[f"c{number}"] = Curve(tuple(RecordedEpoch(m, 1 - m, 1 - m, 0.8 * own, 0.2 * own) for m in metrics))
    return found


def profile_of(curves: Mapping[str, Curve], share: float) -> dict[str, Seconds]:
    first = {name: curve.epochs[0] for name, curve in curves.items()}
    return {name: Seconds(share * e.training_seconds, share * e.evaluation_seconds) for name, e in first.items()}


@pytest.mark.parametrize("refinement", ["sh", "sj", "ua", "hyperband"])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_budget_is_kept_and_used_and_the_same_every_time(refinement: str, workers: int) -> None:
    curves = curves_like(40, 30, 10.0)
    request = Refine(candidates_of(tuple(curves)), refinement, options=Options(), score_seconds=0.01, scored=1000)
    budget = 1500.0
    run = select_recorded(request, curves, budget, workers=workers)
    assert run.seconds <= budget
    assert run.events == select_recorded(request, curves, budget, workers=workers).events
    spent = sum(epoch["seconds"] for epoch in run.named("epoch"))
    assert spent <= workers * (budget - 10.0)
    # What the rungs leave over goes into the winner, as long as it gets better.
    (plan,) = run.named("plan")
    assert plan["k"] > 5 and {"measure", "rung 0", "winner"} <= {row["phase"] for row in run.events[-1]["timings"]}
    first = run.named("rung")[0]
    winner = run.leaderboard[0]
    stale = winner["epochs"] - winner["best_epoch"] >= 3
    assert stale or winner["epochs"] == 30 or run.seconds > 0.9 * budget
    if refinement == "hyperband":  # in brackets: the first rung has those of the first
        assert 0 < first["candidates"] <= plan["k"]
    elif run.complete:
        assert first["candidates"] == plan["k"]
    else:
        assert 0 < first["candidates"] < plan["k"] or len(run.rungs) > 1


def test_more_machines_train_more_in_the_same_time() -> None:
    curves = curves_like(60, 30, 10.0)
    request = Refine(candidates_of(tuple(curves)))
    planned = [select_recorded(request, curves, 500.0, workers=n).named("plan")[0] for n in (1, 2, 4)]
    assert planned[0]["k"] < planned[1]["k"] < planned[2]["k"]
    seconds = [select_recorded(Refine(request.candidates, "ua", 60, 1), curves, workers=n).seconds for n in (1, 4)]
    assert 3.5 < (seconds[0] - 0.6) / (seconds[1] - 0.6) <= 4.0


@pytest.mark.parametrize("workers", [1, 3])
def test_epochs_that_take_longer_than_the_profile_said_shorten_the_plan(workers: int) -> None:
    curves, budget = curves_like(100, 30, 10.0), 800.0
    request = Refine(candidates_of(tuple(curves)))
    as_told = select_recorded(request, curves, budget, workers=workers, profile=profile_of(curves, 1.0))
    slower = select_recorded(request, curves, budget, workers=workers, profile=profile_of(curves, 0.5))
    assert not slower.complete
    (plan,) = slower.named("plan")
    # Candidates are given up rather than depth, and the rest ends in time: with a winner that went through rungs.
    assert plan["k"] > as_told.named("plan")[0]["k"]
    assert slower.rungs[0].candidates < plan["k"] and len(slower.rungs) >= 3
    assert all(rung.candidates == 1 or len(rung.survivors) < rung.candidates for rung in slower.rungs)
    assert slower.seconds <= budget
    assert slower.leaderboard[0]["epochs"] >= 9


def test_twenty_five_hours_take_seconds() -> None:
    curves = curves_like(300, 30, 120.0)
    request = Refine(candidates_of(tuple(curves)), options=Options(patience=30))
    began, budget = time.monotonic(), 25 * 3600.0
    run = select_recorded(request, curves, budget, workers=4)
    assert time.monotonic() - began < 10.0  # one, on a machine that does nothing else
    assert 0.9 * budget < run.seconds <= budget and len(run.named("epoch")) > 1000
    assert run.leaderboard[0]["validation_metric"] > 0.94


def test_what_cannot_be_run_is_refused() -> None:
    curves = curves_like(3, 4, 10.0)
    candidates = candidates_of(tuple(curves))
    with pytest.raises(BudgetTooSmall):
        select_recorded(Refine(candidates), curves, 3.0)
    with pytest.raises(InvalidInput, match="no learning curve was recorded of c9"):
        select_recorded(Refine((*candidates, Candidate("c9", (9,), None)), k=4, u=1), curves)
    with pytest.raises(InvalidInput, match="epoch 5 of c0 was not recorded") as caught:
        select_recorded(Refine(candidates, "ua", 3, 9, Options(patience=9)), curves)
    assert "max_epochs = 4" in (caught.value.hint or "")
    with pytest.raises(InvalidInput, match="without a budget k must be given"):
        select_recorded(Refine(candidates), curves)
    with pytest.raises(InvalidInput, match="checkpoint"):
        select_recorded(Refine(candidates, resume=(0, 0)), curves)
