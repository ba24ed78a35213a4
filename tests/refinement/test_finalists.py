"""Whether it mattered which of a rung's candidates was picked: candidates that are alike, and some that are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trails.refinement import finalists
from trails.refinement.calibrated_numbers import Line
from trails.refinement.finalists import Finalist, compare, step_of
from trails.table.target import Target

ROWS = 3000


def data_of(truth: NDArray[Any], task: str = "regression", metric: str = "r2", weights: Any = None) -> Any:
    target = Target("y", "number", task, np.empty(0), ("a", "b") if task == "binary" else ())  # type: ignore[arg-type]
    validation = type("Rows", (), {"truth": truth, "__len__": lambda self: len(truth)})()
    of_line = lambda outputs, step: Line()  # noqa: E731
    return SimpleNamespace(validation=validation, target=target, metric=metric, held_weights=weights, line=of_line)


def finalist(name: str, parameters: int, outputs: NDArray[Any]) -> Finalist:
    trial = SimpleNamespace(architecture=name, layout=SimpleNamespace(parameters=parameters))
    return Finalist(trial, 3, outputs.astype(np.float32))  # type: ignore[arg-type]


def field(errors: list[float], seed: int = 0) -> tuple[NDArray[Any], list[Finalist]]:
    random = np.random.default_rng(seed)
    truth = random.normal(size=ROWS)
    return truth, [
        finalist(f"{10 * (place + 1)}-8", 1000 - place, truth + error * random.normal(size=ROWS))
        for place, error in enumerate(errors)
    ]


def test_candidates_that_are_equally_wrong_are_alike_and_the_smallest_would_do() -> None:
    truth, candidates = field([0.5] * 5)
    found = compare(candidates, data_of(truth), 1)
    assert found is not None and found["alike"] == found["candidates"] == 5 and found["epochs"] == 3
    assert (found["smallest"], found["parameters"]) == ("50-8", 996)
    assert 0 < found["spread"] < 3 * found["standard_error"] < 0.1


def test_one_that_is_much_worse_is_not_alike() -> None:
    truth, candidates = field([0.5, 0.5, 2.0])
    found = compare(candidates, data_of(truth), 1)
    assert found is not None and (found["alike"], found["smallest"]) == (2, "20-8")
    assert found["spread"] > 10 * found["standard_error"]
    alone = compare([candidates[0], candidates[2]], data_of(truth), 1)
    assert alone is not None and (alone["alike"], alone["smallest"]) == (1, "10-8")


def test_errors_that_all_make_are_no_noise() -> None:
    random = np.random.default_rng(4)
    truth, common = random.normal(size=ROWS), random.normal(size=ROWS)
    outputs = [truth + common + share * random.normal(size=ROWS) for share in (0.0, 0.15)]
    found = compare([finalist(f"{p}-8", p, o) for p, o in enumerate(outputs, 1)], data_of(truth), 1)
    assert found is not None and found["alike"] == 1


@pytest.mark.parametrize("metric", ["auc", "log_loss", "f1"])
def test_every_metric_has_its_noise(metric: str) -> None:
    random = np.random.default_rng(5)
    truth = random.random(ROWS) < 0.3
    outputs = [3 * truth - 1.5 + random.normal(size=ROWS) for _ in range(4)]
    candidates = [finalist(f"{place}-8", place, output) for place, output in enumerate(outputs, 1)]
    found = compare(candidates, data_of(truth, "binary", metric), 2)
    assert found is not None and found["metric"] == metric and found["alike"] >= 3
    assert found["spread"] >= 0 and found["standard_error"] > 0


def test_weights_count() -> None:
    truth, candidates = field([0.5, 0.5])
    # The second one is right in the only rows that count.
    better = candidates[1].outputs.copy()
    better[:300] = truth[:300]
    weights = np.where(np.arange(ROWS) < 300, 1.0, 0.0)
    found = compare([candidates[0], finalist("20-8", 5, better)], data_of(truth, weights=weights), 1)
    assert found is not None and (found["alike"], found["smallest"]) == (1, "20-8")


def test_nothing_is_said_of_one_of_one_class_or_of_what_is_no_number() -> None:
    truth, candidates = field([0.5, 0.5])
    assert compare(candidates[:1], data_of(truth), 1) is None and compare([], data_of(truth), 1) is None
    one_class = np.ones(ROWS, np.bool_)
    assert compare(candidates, data_of(one_class, "binary", "auc"), 1) is None
    broken = finalist("30-8", 3, np.full(ROWS, np.nan))
    assert compare([candidates[0], broken], data_of(truth), 1) is None


def test_of_many_rows_some_are_looked_at() -> None:
    assert [step_of(rows) for rows in (1, finalists.MOST_ROWS, finalists.MOST_ROWS + 1, 200_000)] == [1, 1, 2, 20]
    assert step_of(10_000, 3) == 1 and step_of(10_000, 1000) == 50
    truth, candidates = field([0.5] * 20)
    found = compare(candidates, data_of(truth), 1)
    assert found is not None and found["candidates"] == finalists.MOST_COMPARED


def test_comparing_one_takes_no_time_and_many_classes_are_compared_on_fewer_rows() -> None:
    several = data_of(np.zeros(10_000))
    several.target = SimpleNamespace(task="multiclass", outputs=100)
    assert finalists.seconds(several, 1) == 0.0
    assert 0.0 < finalists.seconds(several, 2) < finalists.seconds(several, 16) == finalists.seconds(several, 40) < 5.0
