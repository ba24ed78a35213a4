"""Weights of rows: a weight of 2 is the row twice, and metrics are those of scikit-learn."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from trails.errors import InvalidInput
from trails.refinement.dataset import Dataset, class_weights, prepare
from trails.refinement.leaderboard import from_epochs, in_order
from trails.refinement.metrics import measure, value_of
from trails.refinement.protocol import Events
from trails.selection import Selection, select
from trails.settings import Settings
from trails.table.columns import Column, Columns
from trails.table.judged import CHOSEN_BY, is_loss, parse_metric
from trails.table.split import ByColumns
from trails.table.target import Target, learn_target

CPU = torch.device("cpu")


def target_of(task: str) -> Target:
    values = {"binary": np.arange(20) % 2, "multiclass": np.arange(20) % 4, "regression": np.arange(20) * 1.5}[task]
    return learn_target(Column("y", "float64" if task == "regression" else "int64", values))


def drawn(task: str, rows: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Truth and outputs, with ties among the outputs."""
    generator = np.random.default_rng(seed)
    if task == "binary":
        truth = generator.random(rows) < 0.4
        truth[:2] = False, True
        return truth, generator.choice(np.array([-1.5, -0.5, 0.25, 1.0, 2.5], np.float32), rows)
    if task == "multiclass":
        truth = generator.integers(0, 4, rows)
        truth[:4] = range(4)
        return truth, generator.normal(size=(rows, 4)).astype(np.float32)
    return generator.normal(size=rows).astype(np.float32), generator.normal(size=rows).astype(np.float32)


CHOICES = [(task, metric) for task, names in CHOSEN_BY.items() for metric in names]


@settings(deadline=None, max_examples=25)
@pytest.mark.parametrize(("task", "metric"), CHOICES)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(5, 80))
def test_a_row_of_weight_two_is_the_row_twice(task: str, metric: str, seed: int, rows: int) -> None:
    target, (truth, outputs) = target_of(task), drawn(task, rows, seed)
    weights = np.random.default_rng(seed + 1).integers(1, 4, rows)
    twice = np.repeat(np.arange(rows), weights)
    expected = value_of(metric, target, truth[twice], outputs[twice])
    assert value_of(metric, target, truth, outputs, weights * 7.5) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert value_of(metric, target, truth, outputs, np.ones(rows)) == pytest.approx(
        value_of(metric, target, truth, outputs), rel=1e-12, abs=1e-12
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(5, 80))
def test_metrics_are_those_of_scikit_learn(seed: int, rows: int) -> None:
    weights = np.random.default_rng(seed + 1).uniform(0.1, 5, rows)

    def near(task: str, metric: str, expected: float) -> None:
        value = value_of(metric, target_of(task), *drawn(task, rows, seed), weights)
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-7), (task, metric)

    truth, logits = drawn("binary", rows, seed)
    chances, said = 1 / (1 + np.exp(-logits.astype(np.float64))), logits > 0
    near("binary", "auc", oracle.roc_auc_score(truth, logits, sample_weight=weights))
    near("binary", "average_precision", oracle.average_precision_score(truth, logits, sample_weight=weights))
    near("binary", "log_loss", oracle.log_loss(truth, chances, sample_weight=weights))
    near("binary", "brier", oracle.brier_score_loss(truth, chances, sample_weight=weights))
    near("binary", "accuracy", oracle.accuracy_score(truth, said, sample_weight=weights))
    near("binary", "balanced_accuracy", oracle.balanced_accuracy_score(truth, said, sample_weight=weights))
    near("binary", "f1", oracle.f1_score(truth, said, sample_weight=weights, zero_division=0.0))
    near("binary", "mcc", oracle.matthews_corrcoef(truth, said, sample_weight=weights))
    classes, outputs = drawn("multiclass", rows, seed)
    exps = np.exp(outputs.astype(np.float64))
    shares = exps / exps.sum(1, keepdims=True)
    each = [oracle.roc_auc_score(classes == c, shares[:, c], sample_weight=weights) for c in range(4)]
    near("multiclass", "auc", float(np.mean(each)))
    near("multiclass", "accuracy", oracle.accuracy_score(classes, outputs.argmax(1), sample_weight=weights))
    near("multiclass", "log_loss", oracle.log_loss(classes, shares, sample_weight=weights))
    numbers, predicted = drawn("regression", rows, seed)
    std = target_of("regression").std
    near("regression", "r2", oracle.r2_score(numbers, predicted, sample_weight=weights))
    near("regression", "rmse", std * oracle.root_mean_squared_error(numbers, predicted, sample_weight=weights))
    near("regression", "mae", std * oracle.mean_absolute_error(numbers, predicted, sample_weight=weights))


@pytest.mark.parametrize(("task", "metric"), CHOICES)
def test_a_better_model_has_more_of_every_metric_inside_and_losses_are_told_with_their_own_sign(
    task: str, metric: str
) -> None:
    target, (truth, outputs) = target_of(task), drawn(task, 60, 3)
    ideal = {
        "binary": np.where(truth, 3.0, -3.0).astype(np.float32),
        "multiclass": 3.0 * np.eye(4, dtype=np.float32)[truth.astype(np.int64)],
        "regression": truth,
    }[task]
    good, bad = (measure(target, truth, predicted, metric) for predicted in (ideal, outputs))
    assert good[0] > bad[0] and good[1] < bad[1]
    lines: list[bytes] = []
    events = Events(lines.append)
    events.rows(0.1, 0.2, task, metric)
    row: Any = {"architecture": "8", "validation_metric": good[0]}
    events.result([row], True)
    told = json.loads(lines[1])["leaderboard"][0]["validation_metric"]
    assert told == pytest.approx(value_of(metric, target, truth, ideal)) and (told >= 0) and row is not told
    assert json.loads(lines[0])["less_is_better"] == is_loss(metric)


def test_metrics_of_other_tasks_are_refused_with_those_there_are() -> None:
    for metric, task in (("auc", "regression"), ("r2", "binary"), ("f1", "multiclass"), ("base_rate", None)):
        with pytest.raises(InvalidInput, match="cannot be compared by") as caught:
            parse_metric(metric, task)
        names = CHOSEN_BY[task] if task else ("auc", "r2", "mae")
        assert all(name in str(caught.value.hint) for name in names)
    assert parse_metric("log_loss", None) == "log_loss" and parse_metric(None, "binary") is None


def test_the_least_of_a_loss_is_the_best_of_a_leaderboard() -> None:
    epochs = [
        {"architecture": a, "epoch": e, "validation_metric": m, "validation_loss": 0.5, "seconds": 1.0}
        for a, e, m in (("a", 1, 0.5), ("a", 2, 0.6), ("b", 1, 0.4), ("c", 1, None))
    ]
    rows = from_epochs(epochs, {"a": 1.0, "b": 2.0}, less_is_better=True)
    assert [(r["architecture"], r["validation_metric"], r["best_epoch"]) for r in rows] == [
        ("b", 0.4, 1),
        ("a", 0.5, 1),
    ]
    assert [r["architecture"] for r in in_order(rows)] == ["a", "b"]


def test_weights_of_rows_and_classes_are_multiplied_and_one_on_average() -> None:
    target, labels = target_of("binary"), np.array([0, 0, 0, 1], np.float32)
    rows = np.array([1.0, 1.0, 2.0, 4.0])
    assert class_weights(target, labels, "none", rows) == pytest.approx(rows / 2)
    # Both classes weigh the same: 4 against 4 they do already.
    assert class_weights(target, labels, "balanced", rows) == pytest.approx(rows / 2)
    asked = class_weights(target, labels, {"1": 3.0}, rows)
    assert asked == pytest.approx(np.array([1, 1, 2, 12]) / 4)
    huge = class_weights(target, labels, "none", rows * 1e300)
    assert huge == pytest.approx(rows / 2)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1.0, 1e307, 4e307])
def test_balanced_classes_do_not_overflow_whatever_rows_weigh(scale: float) -> None:
    target, labels = target_of("binary"), np.array([0, 0, 0, 1], np.float32)
    rows = np.array([1.0, 1.0, 2.0, 1.0]) * scale
    found = class_weights(target, labels, "balanced", rows)
    assert found is not None and found == pytest.approx(np.array([0.5, 0.5, 1.0, 2.0]))
    # One class is nothing beside the other, by its rows' weights alone.
    rows = np.array([1e308, 1e308, 1.7e308, 1e-308])
    found = class_weights(target, labels, "balanced", rows)
    assert found is not None and found == pytest.approx(np.array([1, 1, 1.7, 3.7]) / 3.7 * 2)


def table(rows: int, seed: int = 0) -> Columns:
    generator = np.random.default_rng(seed)
    a, b = generator.integers(0, 8, rows), generator.integers(0, 5, rows)
    y = (a + b + generator.normal(size=rows) > 5.5).astype(np.int64)
    weight = np.where(np.arange(rows) % 3 == 0, 0.0, generator.integers(1, 4, rows))
    return Columns(
        rows,
        (
            Column("a", "int64", a),
            Column("b", "int64", b),
            Column("w", "float64", weight),
            Column("y", "int64", y),
        ),
    )


def fixed(train: Columns, **more: Any) -> Selection:
    plan: dict[str, Any] = {"budget": float("inf"), "k": 3, "u": 2, "isolated": False, "threads": 1}
    return select(train, "y", None, Settings(**plan, options={"max_epochs": 6}, **more))


def told(found: Selection) -> list[tuple[str, float, float]]:
    return [(row["architecture"], row["validation_metric"], row["validation_loss"]) for row in found.leaderboard]


def test_rows_of_weight_zero_do_not_matter_whatever_they_hold() -> None:
    whole = table(900)
    none = whole["w"].data == 0
    wrong = Columns(
        whole.rows, (*whole.columns[:3], Column("y", "int64", np.where(none, 1 - whole["y"].data, whole["y"].data)))
    )
    first, other = fixed(whole, weight="w"), fixed(wrong, weight="w")
    alone = fixed(whole.take(np.flatnonzero(~none)), weight="w")
    assert told(first) == told(other) == told(alone)
    assert first.held_out["rows_of_weight_0"] == 300
    # The labels matter where the rows do.
    assert told(fixed(wrong.take(np.arange(900)))) != told(fixed(whole))
    assert "w" not in dict(first.model.encoder.columns)


def test_the_weights_of_a_run_are_those_of_its_validation_metric() -> None:
    whole = table(900)
    data: Dataset = prepare(whole, None, "y", 1, CPU, by=ByColumns(weight="w"))
    weights = data.held_weights
    assert weights is not None and weights.mean() == pytest.approx(1.0)
    outputs = np.random.default_rng(0).normal(size=len(data.validation)).astype(np.float32)
    expected = oracle.roc_auc_score(data.validation.truth, outputs, sample_weight=weights)
    assert data.measured(outputs)[0] == pytest.approx(expected)
    assert data.reported(outputs)["auc"] == pytest.approx(expected)
    assert data.train.weights is not None and float(data.train.weights.mean()) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", ["log_loss", "f1", "average_precision"])
def test_a_selection_is_ordered_by_the_metric_that_is_asked_for(metric: str) -> None:
    heard: list[dict[str, Any]] = []
    plan: dict[str, Any] = {"budget": float("inf"), "k": 4, "u": 1, "isolated": False, "threads": 1}
    found = select(table(900), "y", None, Settings(**plan, metric=metric, options={"max_epochs": 4}), hear=heard.append)
    values = [row["validation_metric"] for row in found.leaderboard]
    assert found.metric == metric and values == sorted(values, reverse=not is_loss(metric)) and min(values) > 0
    assert found.model.metrics[metric] == pytest.approx(values[0])
    epochs = [event for event in heard if event["event"] == "epoch"]
    best = {}
    for event in epochs:
        kept = best.setdefault(event["architecture"], event["validation_metric"])
        chosen = min if is_loss(metric) else max
        best[event["architecture"]] = chosen(kept, event["validation_metric"])
    assert best == {row["architecture"]: row["validation_metric"] for row in found.leaderboard}
    if metric == "log_loss":
        assert values == [row["validation_loss"] for row in found.leaderboard]


def test_groups_and_times_of_a_selection_are_no_features() -> None:
    whole = table(900)
    group = Column("customer", "int64", np.arange(900) % 90)
    columns = Columns(900, (*whole.columns, group))
    found = fixed(columns, group_by="customer")
    assert set(dict(found.model.encoder.columns)) == {"a", "b", "w"}
    assert found.held_out["how"] == "group_by" and found.held_out["validation_groups"] == 18
    found = fixed(columns, time_by="customer", weight="w")
    assert set(dict(found.model.encoder.columns)) == {"a", "b"} and found.held_out["from"] > 60
