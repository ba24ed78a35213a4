"""Calibrated probabilities: the log loss of the validation rows is the smallest, no row changes its rank."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.core.test_model import made, rows
from tests.core.test_operations import rich
from tests.sql.tables import query
from trails.model.calibrated import at_temperature
from trails.model.operations import Add, Linear
from trails.model.store import Model
from trails.refinement.calibration import FEWEST_ROWS, temperature
from trails.refinement.metrics import cross_entropy, log_loss
from trails.table.target import Target

BINARY = Target("y", "text", "binary", np.empty(0), ("a", "b"))
SEVERAL = Target("y", "text", "multiclass", np.empty(0), ("a", "b", "c"))


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
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
    # Rows that are told apart without a mistake: the best temperature is the least that is allowed.
    assert temperature(BINARY, truth, np.where(truth, 1.0, -1.0).astype(np.float32)) == pytest.approx(0.05, rel=1e-3)


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
