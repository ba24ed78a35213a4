"""The winner is trained again on the rows that were held out, where that is possible and asked for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.refinement import backend
from tests.refinement.backend import Outcome, Table, run
from tests.refinement.conftest import make_table
from tests.refinement.test_child import labelled
from trails.family import MLP
from trails.family.mlp.stack import MlpStack, predict_alone
from trails.refinement import models
from trails.refinement.dataset import Dataset, encoded_rows, prepare
from trails.refinement.metrics import auc, measure
from trails.refinement.protocol import Candidate
from trails.refinement.refit import refit
from trails.refinement.trial import EpochResult, Trial
from trails.table.columns import Columns
from trails.table.target import learn_target
from trails.training.knots import Between
from trails.training.options import Options, parse_options
from trails.training.weights import Weights

CANDIDATES = backend.CANDIDATES[:3]
EPOCHS = 3


def columns(table: Table) -> Columns:
    data, layout = table.pack()
    return Columns.from_buffer(data, layout)


def trained(data: Dataset, options: Options) -> Trial:
    """A candidate whose best epoch is the third."""
    trial = Trial.of(MLP, Candidate("16-8", (16, 8), None), data.shape(options), 5)
    stack = MlpStack([trial.layout], [trial.begin()], data.train, options, trial.seed, [trial.architecture])
    for epoch in range(1, EPOCHS + 1):
        loss = stack.train_epoch(epoch, lambda _: True)
        trial.add(EpochResult(trial.architecture, epoch, float(loss), 0.1 * epoch, 1.0, 0.0), stack.averaged(0))
    return trial


def outputs(trial: Trial, weights: Weights, data: Dataset) -> Any:
    return predict_alone(trial.layout, weights, data.validation).numpy()


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_it_is_what_training_on_all_rows_gives(train: Table, weights: str) -> None:
    options = parse_options({"class_weights": weights})
    data = prepare(columns(train), None, "label", 5, torch.device("cpu"), options=options)
    trial = trained(data, options)
    again = refit(trial, data, options, lambda _: True)
    assert again is not None and data.drawn

    # All rows in the same order, encoded by the same encoder, as if there had never been a split.
    order = np.concatenate([data.train.truth, data.validation.truth])
    every = type(data.train)(
        torch.cat([data.train.ids, data.validation.ids]),
        None,
        torch.cat([data.train.labels, data.validation.labels]),
        order,
        None
        if weights == "none"
        else torch.tensor(np.where(order, 0.5 / order.mean(), 0.5 / (1 - order.mean())), dtype=torch.float32),
        data.train.knots,
        Between.together([(part.between, len(part)) for part in (data.train, data.validation)], data.encoder.fields),
    )
    stack = MlpStack([trial.layout], [trial.fresh().begin()], every, options, 5, ["16-8"])
    for epoch in range(1, EPOCHS + 1):
        stack.train_epoch(epoch, lambda _: True)
    assert outputs(trial, again, data) == pytest.approx(outputs(trial, stack.averaged(0), data), abs=1e-4)


def test_it_helps_on_rows_that_nobody_has_seen() -> None:
    gains = []
    for seed in range(4):
        data = prepare(columns(make_table(400, seed)), None, "label", 5, torch.device("cpu"))
        options = Options()
        trial = trained(data, options)
        again = refit(trial, data, options, lambda _: True)
        fresh = columns(make_table(5_000, 99))
        truth = fresh["label"].data == 1
        labels = data.target.labels(fresh["label"])
        rows = encoded_rows(data.encoder, fresh.without("label"), labels, data.target, torch.device("cpu"))
        assert trial.best is not None and again is not None
        before, after = (auc(truth, predict_alone(trial.layout, w, rows).numpy()) for w in (trial.best, again))
        gains.append(after - before)
    assert np.mean(gains) > 0.0


def test_it_gives_up_when_time_is_up_and_keeps_nothing_that_went_wrong(train: Table) -> None:
    data, options = prepare(columns(train), None, "label", 5, torch.device("cpu")), Options()
    trial = trained(data, options)
    left = iter([True] * 10)
    assert refit(trial, data, options, lambda _: next(left, False)) is None
    trial.best_metric = 1.0  # no model of noisy labels reaches that
    assert refit(trial, data, options, lambda _: True) is None


def timed(outcome: Outcome) -> set[str]:
    assert outcome.last["event"] == "result", outcome.last
    return {row["phase"] for row in outcome.last["timings"]}


def test_a_run_does_it_where_rows_were_drawn(train: Table, validation: Table) -> None:
    options = {"max_epochs": 3, "members": 1}
    drawn = run(train, None, CANDIDATES, budget=20.0, options=options)
    assert "refit" in timed(drawn)
    assert drawn.model is not None and drawn.model.training["rows"] == train.rows
    metric = drawn.leaderboard[0]["validation_metric"]
    assert drawn.model.metrics["auc"] == pytest.approx(metric, abs=1e-6), "of rows that it had not seen then"

    unasked = run(train, None, CANDIDATES, budget=20.0, options={**options, "refit": False})
    assert "refit" not in timed(unasked)
    assert unasked.model is not None and unasked.model.training["rows"] == 0.8 * train.rows

    assert "refit" not in timed(run(train, validation, CANDIDATES, budget=20.0, options=options))
    assert "refit" not in timed(run(train, None, CANDIDATES, k=2, u=1, options=options)), "a fixed plan is fixed"


@pytest.mark.parametrize("values", [3, 50])
def test_classes_and_numbers_are_trained_again_too(train: Table, values: int) -> None:
    table = labelled(train, values)
    outcome = run(table, None, CANDIDATES, budget=20.0, options={"max_epochs": 3, "members": 1})
    assert "refit" in timed(outcome)
    model = outcome.model
    assert model is not None and model.training["rows"] == table.rows
    found = model.outputs(columns(table))
    target = learn_target(columns(table)["label"])
    metric, _ = measure(target, target.labels(columns(table)["label"]), found if values == 3 else found[:, 0])
    assert metric > outcome.leaderboard[0]["validation_metric"] - 0.02, "it does as well on the rows it was trained on"


def test_it_takes_as_many_threads_as_make_a_batch_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    current, used = 0, list[int]()
    clock: Any = SimpleNamespace(at=0.0)
    clock.now = lambda: clock.at

    def set_threads(count: int) -> None:
        nonlocal current
        current = count

    def training(trial: Any, data: Any, options: Any, keep_going: Callable[[float], bool]) -> None:
        for batch in range(20):
            used.append(current)
            clock.at += 0.1 * current  # beside other work threads wait for one another
            assert keep_going(batch / 20)

    monkeypatch.setattr(torch, "set_num_threads", set_threads)
    monkeypatch.setattr(torch, "get_num_threads", lambda: current)
    monkeypatch.setattr(models, "refit_on_all", training)
    monkeypatch.setattr(models, "cores", lambda threads: threads)
    asked: Any = SimpleNamespace(threads=4, options=None)
    nothing: Any = None
    models.TrainedModels(asked, asked, nothing, nothing, nothing, clock).refit(nothing, lambda _: True)
    assert set(used) == {1, 2, 4} and set(used[-5:]) == {1}
