"""Calibrated probabilities: the log loss of the validation rows is the smallest, no row changes its rank."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest

from tests.core.test_model import made, rows
from tests.core.test_operations import rich
from tests.sql.tables import query
from trails.model.calibrated import at_temperature
from trails.model.operations import Add, Linear
from trails.model.store import Model
from trails.refinement import keeping
from trails.refinement.calibration import FEWEST_ROWS, fits, temperature, temperature_seconds
from trails.refinement.metrics import cross_entropy, log_loss
from trails.table.target import Target
from trails.training.options import Options

BINARY = Target("y", "text", "binary", np.empty(0), ("a", "b"))
SEVERAL = Target("y", "text", "multiclass", np.empty(0), ("a", "b", "c"))


@pytest.mark.parametrize("factor", [0.6, 1.0, 2.5])
def test_a_temperature_undoes_a_factor_of_the_logits(factor: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=20_000) * 2
    truth = random.random(20_000) < 1 / (1 + np.exp(-logits))
    given = (logits * factor).astype(np.float32)
    found = temperature(BINARY, truth, given)
    assert found == pytest.approx(factor, rel=0.03)
    for other in (found * 0.99, found * 1.01, 1.0):
        assert log_loss(truth, given / found) <= log_loss(truth, given / other) + 1e-12
    three = random.normal(size=(9000, 3)) * 2
    shares = np.exp(three) / np.exp(three).sum(1, keepdims=True)
    classes = (shares.cumsum(1) < random.random((9000, 1))).sum(1).astype(np.int64)
    given = (three * factor).astype(np.float32)
    found = temperature(SEVERAL, classes, given)
    assert found == pytest.approx(factor, rel=0.05)
    assert cross_entropy(classes, given / found) <= cross_entropy(classes, given)


def test_there_is_none_where_nothing_can_be_said() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(size=FEWEST_ROWS).astype(np.float32)
    truth = random.random(FEWEST_ROWS) < 0.5
    assert temperature(BINARY, truth, logits) != 1.0
    assert temperature(BINARY, truth[1:], logits[1:]) == 1.0, "a row too few"
    assert temperature(replace(BINARY, task="regression"), truth, logits) == 1.0
    logits[0] = np.inf
    assert temperature(BINARY, truth, logits) == 1.0
    # Rows that are told apart without a mistake say little of others.
    sure = np.where(truth, 1.0, -1.0).astype(np.float32)
    assert temperature(BINARY, truth, sure) == pytest.approx(0.5), "the least that is allowed"
    assert 0.5 < temperature(BINARY, truth, 3 * sure) < 0.6, "a row more of either class"
    assert temperature(BINARY, truth, 20 * sure) == 1.0, "the labels as they are lose nothing already"


def test_rows_of_weight_count_as_many_as_they_say_as_much_as() -> None:
    random = np.random.default_rng(2)
    logits = random.normal(size=5000).astype(np.float32) * 3
    truth = random.random(5000) < 1 / (1 + np.exp(-logits / 2))
    even = temperature(BINARY, truth, logits, np.full(5000, 0.25))
    assert even == pytest.approx(temperature(BINARY, truth, logits), rel=1e-6)
    few = np.where(np.arange(5000) < FEWEST_ROWS - 1, 1.0, 1e-6)
    assert temperature(BINARY, truth, logits, few) == 1.0
    assert temperature(BINARY, truth, logits, np.where(np.arange(5000) < 2500, 1.0, 1e-6)) > 1.5


@pytest.mark.parametrize("target", [BINARY, SEVERAL, replace(SEVERAL, classes=tuple(map(str, range(2000))))])
def test_of_many_rows_a_part_is_looked_at(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = len(target.classes)
    rows = 200_000 if classes < 2000 else 1000
    looked_at: list[tuple[int, ...]] = []
    exp = np.exp

    def counted(x: Any, *others: Any) -> Any:
        looked_at.append(np.shape(x))
        return exp(x, *others)

    random = np.random.default_rng(3)
    logits = random.normal(size=(rows, classes)).astype(np.float32)
    truth = random.integers(0, classes, rows)
    monkeypatch.setattr(np, "exp", counted)
    if target is BINARY:
        assert temperature(target, truth > 0, logits[:, 0]) > 2
    else:
        assert temperature(target, truth, logits) > 2
    assert looked_at and len(looked_at) <= 13
    for used, wide in looked_at:
        assert used >= FEWEST_ROWS and (used * wide <= 1 << 17 or used < 2 * FEWEST_ROWS)
    assert temperature_seconds(target, rows) > 0
    assert temperature_seconds(target, FEWEST_ROWS - 1) == 0


def reserved(options: Options) -> float:
    """Seconds that are kept back for the model of 200,000 validation rows."""
    data = SimpleNamespace(target=BINARY, validation=range(200_000))
    with mock.patch.object(keeping, "blob_size", lambda trial, data: 0):
        keeper = keeping.ModelKeeper(
            cast(Any, SimpleNamespace(models=("a",), budget=10.0)),
            cast(Any, SimpleNamespace(options=options, k=None)),
            cast(Any, data),
            cast(Any, None),
            cast(Any, None),
        )
        return keeper.reserve(cast(Any, [None]))[0]


def test_time_is_kept_back_for_what_calibration_takes() -> None:
    without = reserved(Options(calibrate=False))
    assert reserved(Options()) >= without + temperature_seconds(BINARY, 200_000) > without
    assert reserved(Options(class_weights="balanced")) == without, "nothing is calibrated"


def test_classes_that_weigh_what_a_caller_says_are_not_calibrated() -> None:
    assert fits(Options(), BINARY) and fits(Options(), SEVERAL)
    assert not fits(Options(calibrate=False), BINARY)
    assert not fits(Options(class_weights="balanced"), BINARY)
    assert not fits(Options(class_weights={"a": 2.0}), BINARY)
    assert not fits(Options(), replace(BINARY, task="regression"))


@pytest.mark.parametrize("kind", ["plain", "ends in a sum", "rich"])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_weights_hold_the_temperature_for_whoever_reads_them(kind: str, task: Any) -> None:
    model, columns = rich(task) if kind == "rich" else made(task), rows(100, 3)
    if kind == "ends in a sum":
        *before, last = model.operations
        assert isinstance(last, Linear)
        second = Linear(last.of, last.weight, -last.bias)
        places = len(model.operations), len(model.operations) + 1
        model = replace(model, operations=(*before, last, second, Add(places)))
    cooled = at_temperature(model, 2.5)
    np.testing.assert_allclose(cooled.outputs(columns), model.outputs(columns) / 2.5, rtol=1e-5, atol=1e-6)
    blob = cooled.to_bytes()
    np.testing.assert_array_equal(Model.from_bytes(blob).outputs(columns), cooled.outputs(columns))
    assert at_temperature(model, 1.0) is model


SELECT = (
    "SELECT model FROM trails.model_selection('train', 'label', '40 s', validation => 'valid', k => 1, u => 1, "
    "name => %s, options => %s) WHERE model IS NOT NULL"
)


def test_models_of_a_selection_are_calibrated_unless_that_is_turned_off(session: Any) -> None:
    options = {"max_epochs": 2, "winner": False}
    query(session, SELECT, "warm", json.dumps(options))
    query(session, SELECT, "plain", json.dumps(options | {"calibrate": False}))
    metrics = dict(query(session, "SELECT name, metrics FROM trails.models"))
    assert "temperature" not in metrics["plain"]
    assert metrics["warm"]["temperature"] > 0 and metrics["warm"]["temperature"] != 1.0
    assert metrics["warm"]["log_loss"] < metrics["plain"]["log_loss"]
    assert metrics["warm"]["auc"] == metrics["plain"]["auc"]
    for name, found in metrics.items():
        ((loss,),) = query(session, "SELECT value FROM trails.evaluate(%s, 'valid') WHERE metric = 'log_loss'", name)
        assert loss == pytest.approx(found["log_loss"], rel=1e-4), "what is shown is of what is predicted"
    ordered = "SELECT key FROM trails.predict(%s, 'valid') ORDER BY round(score::numeric, 5), key"
    assert query(session, ordered, "warm")[0] is not None
    assert query(session, "SELECT count(*) FROM trails.drift('warm', 'train') WHERE abs(value) < 1e-9") == [(3,)]
