"""Counts and prices are learnt by their logarithm where that predicts better, and everything is told in their unit."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from tests.refinement.backend import memfd
from trails import ModelSelectorRegressor
from trails.errors import InvalidInput, UnusableData
from trails.model.calibrated import on_line
from trails.refinement import scale_trial
from trails.refinement.calibrated_numbers import FEWEST_ROWS, Line, line
from trails.refinement.checkpoint import digest
from trails.refinement.dataset import Dataset, prepare
from trails.refinement.metrics import report, value_of
from trails.refinement.protocol import Refine
from trails.refinement.ray_messages import pack_data, unpack_data
from trails.refinement.run import as_begun
from trails.select_command import measure
from trails.table.columns import Column, Columns
from trails.table.frames import frame_columns
from trails.table.log_scale import LogScale
from trails.table.target import Target, learn_target
from trails.training.options import Options, parse_options

CPU = torch.device("cpu")
ROWS = 2_000
QUICK: dict[str, Any] = {"budget": None, "space": "mlp2x10", "k": 1, "u": 6, "isolated": False, "n_jobs": 1}


def prices(rows: int = ROWS, seed: int = 1, noise: float = 0.2) -> pd.DataFrame:
    """What makes a price multiplies."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({name: generator.normal(size=rows) for name in "abc"})
    frame["kind"] = generator.choice(["x", "y", "z"], rows)
    logs = 3.0 + 0.9 * frame["a"] + 0.6 * frame["b"] - 0.5 * frame["c"] + (frame["kind"] == "x") * 0.8
    return frame.assign(y=np.exp(logs + noise * generator.normal(size=rows)))


def prepared(frame: pd.DataFrame, budget: float = math.inf, metric: str | None = None, **options: Any) -> Dataset:
    return prepare(
        frame_columns(frame),
        None,
        "y",
        3,
        CPU,
        task="regression",
        metric=metric,
        options=parse_options(options),
        budget=budget,
    )


def spread_of(values: Any) -> Target:
    return learn_target(Column("y", "float64", np.asarray(values, np.float64)), "regression")


# The scale


def test_a_price_is_learnt_by_its_logarithm_and_a_sum_as_it_is() -> None:
    data = prepared(prices())
    shift = float(np.median(data.target.values(data.train.truth)))
    assert data.target.scale is not None
    assert data.target.scale.shift == pytest.approx(shift, rel=1e-5)
    frame = prices()
    frame["y"] = 20.0 + 2.0 * frame["a"] + frame["b"]
    assert prepared(frame).target.scale is None
    # As skewed as a price, and nothing but a sum of what is skewed itself.
    generator = np.random.default_rng(2)
    frame = pd.DataFrame({"amount": np.exp(generator.normal(3, 1.2, ROWS)), "day": generator.integers(0, 90, ROWS)})
    frame["y"] = 3.0 * frame["amount"] + frame["day"]
    column = frame_columns(frame)["y"]
    assert scale_trial.is_skewed(column) and scale_trial.possible_shift(column) is not None
    assert prepared(frame).target.scale is None


def test_where_no_trial_is_worth_its_time_a_number_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> bool:
        raise AssertionError("it is tried")

    monkeypatch.setattr(scale_trial, "fits_better", never)
    assert prepared(prices(), budget=2.0).target.scale is None
    assert prepared(prices(), target_scale="linear").target.scale is None
    below = prices()
    below.loc[7, "y"] = -1.0
    assert prepared(below).target.scale is None
    with pytest.raises(AssertionError, match="it is tried"):
        prepared(prices(), budget=60.0)


def test_a_trial_that_time_ends_says_nothing() -> None:
    data = prepared(prices(), target_scale="log")
    linear = prepared(prices(), target_scale="linear")
    sides = [(found.target, found.train, found.validation) for found in (linear, data)]
    arguments = *sides, data.shape(Options()), Options(), 3, None
    assert scale_trial.fits_better(*arguments)  # type: ignore[arg-type]
    assert not scale_trial.fits_better(*arguments, 0.0)  # type: ignore[arg-type]


def test_who_asks_for_a_logarithm_that_there_is_not_is_told() -> None:
    frame = prices()
    frame.loc[7, "y"] = -1.0
    with pytest.raises(InvalidInput, match='logarithm of the target "y" cannot be learnt') as caught:
        prepared(frame, target_scale="log")
    assert "below 0" in caught.value.detail and "target_scale" in caught.value.hint
    with pytest.raises(InvalidInput, match="target_scale needs a number"):
        prepare(frame_columns(prices()), None, "kind", 3, CPU, options=parse_options({"target_scale": "log"}))
    with pytest.raises(InvalidInput, match="target_scale is one of auto, linear, log"):
        parse_options({"target_scale": "root"})
    # The validation table's rows count as well.
    with pytest.raises(InvalidInput, match="cannot be learnt"):
        prepare(
            frame_columns(prices()), frame_columns(frame), "y", 3, CPU, options=parse_options({"target_scale": "log"})
        )


def test_labels_and_numbers_are_each_others_inverse() -> None:
    values = np.array([0.0, 1e-3, 1.0, 7.0, 1e3, 1e6] * 5)
    column = Column("y", "float64", values)
    target = learn_target(column, "regression").by_logarithm(column, 2.0)
    labels = target.labels(column)
    assert labels.dtype == np.float32 and abs(float(labels.mean())) < 1e-5 and float(labels.std()) == pytest.approx(1.0)
    np.testing.assert_allclose(target.values(labels), values, rtol=1e-4, atol=2e-6)
    assert target.values(np.array([-1e9, 1e9])).tolist() == [0.0, 2e6]


@pytest.mark.parametrize("unit", [1e-280, 1e-8, 1.0, 1e154, 1e280])
def test_prices_of_every_size_are_learnt_by_their_logarithm(unit: float) -> None:
    frame = prices()
    table, y = frame.drop(columns="y"), frame["y"].to_numpy() * unit
    found = ModelSelectorRegressor(**QUICK, options={"target_scale": "log"}).fit(table, y)
    predicted = found.predict(table)
    assert np.isfinite(predicted).all() and (predicted >= 0.0).all()
    assert 1.0 - np.mean((predicted / unit - y / unit) ** 2) / np.var(y / unit) > 0.6


def test_what_is_told_is_of_the_number_and_of_the_model_that_is_kept() -> None:
    table, held = prices(), prices(500, seed=2)
    features = [name for name in table if name != "y"]
    found = ModelSelectorRegressor(**QUICK, options={"target_scale": "log"})
    found.fit(table[features], table["y"], validation=(held[features], held["y"]))
    truth, predicted = held["y"].to_numpy(), found.predict(held[features])
    metrics = found.model_.metrics
    assert metrics["r2"] == pytest.approx(1.0 - np.mean((predicted - truth) ** 2) / np.var(truth), abs=1e-4)
    assert metrics["rmse"] == pytest.approx(math.sqrt(np.mean((predicted - truth) ** 2)), rel=1e-3)
    assert metrics["mae"] == pytest.approx(np.mean(np.abs(predicted - truth)), rel=1e-3)
    assert found.model_.target.scale is not None


def test_test_rows_that_have_no_logarithm_are_judged_in_the_unit() -> None:
    table, test = prices(), prices(400, seed=9)
    test.loc[0, "y"] = -50.0
    found = ModelSelectorRegressor(**{**QUICK, "u": 3}, options={"target_scale": "log"})
    found.fit(table.drop(columns="y"), table["y"])
    selected: Any = SimpleNamespace(model=found.model_, metric="r2")
    metrics, warning = measure(selected, frame_columns(table), frame_columns(test))
    errors = found.predict(test.drop(columns="y")) - test["y"].to_numpy()
    assert warning is None and metrics["rmse"] == pytest.approx(math.sqrt(np.mean(errors**2)), rel=1e-5)


def test_a_run_goes_on_with_the_scale_that_it_was_begun_on() -> None:
    tried, asked = prepared(prices()), prepared(prices(), target_scale="log")
    cheap = prepared(prices(), budget=1.0)
    assert tried.target.scale == asked.target.scale and cheap.target.scale is None
    assert digest(tried) == digest(asked) != digest(cheap)
    other, back = cheap.on_other_scale(), tried.on_other_scale()
    assert other is not None and digest(other) == digest(tried) and other.target.scale == tried.target.scale
    assert back is not None and digest(back) == digest(cheap)
    assert asked.on_other_scale() is None


def test_a_checkpoint_says_which_scale_that_was() -> None:
    tried, cheap = prepared(prices()), prepared(prices(), budget=1.0)
    for data, begun in ((tried, cheap), (cheap, tried), (tried, tried)):
        contents = json.dumps({"__metadata__": {"trails": json.dumps({"digest": digest(begun)})}}).encode()
        blob = len(contents).to_bytes(8, "little") + contents
        file = memfd(blob)
        found = as_begun(data, Refine((), resume=(file, len(blob))))
        assert digest(found) == digest(begun) and found.target.scale == begun.target.scale
        # What is no checkpoint is refused by whoever reads it.
        assert as_begun(data, Refine((), resume=(file, 5))) is data
        os.close(file)
    assert as_begun(tried, Refine(())) is tried


def test_nodes_of_a_cluster_measure_as_the_run_does() -> None:
    data = prepared(prices())
    there = unpack_data(pack_data(data, "key"))
    outputs = (0.7 * data.validation.truth).astype(np.float32)
    assert data.line(outputs) != Line() and there.target.scale == data.target.scale is not None
    assert there.measured(outputs) == data.measured(outputs)


# The line


def held_back(rows: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Labels, and outputs that say too little of them."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=rows).astype(np.float32)
    return truth, (0.8 * truth - 0.3 + 0.1 * generator.normal(size=rows)).astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_line_is_that_of_the_least_squares(weighted: bool) -> None:
    truth, outputs = held_back(500)
    weights = np.random.default_rng(1).integers(1, 5, 500).astype(np.float64) if weighted else None
    target = spread_of([1.0, 2.0, 4.0])
    found = line(target, truth, outputs, None, weights)
    slope, shift = np.polyfit(outputs.astype(float), truth, 1, w=None if weights is None else np.sqrt(weights))
    assert (found.slope, found.shift) == pytest.approx((slope, shift), rel=1e-5)
    before, after = (value_of("rmse", target, truth, put, weights) for put in (outputs, found.of(outputs)))
    assert after < 0.5 * before


@pytest.mark.parametrize("seed", range(5))
def test_a_line_through_logarithms_has_the_least_squared_error_of_the_number(seed: int) -> None:
    generator = np.random.default_rng(seed)
    logs = generator.normal(3.0, 1.0, 3_000)
    values = np.exp(logs + 0.5 * generator.normal(size=3_000))
    column = Column("y", "float64", values)
    target = learn_target(column, "regression").by_logarithm(column, 1e-6)
    truth = target.labels(column)
    outputs = ((logs - target.mean) / target.std).astype(np.float32)
    found = line(target, truth, outputs)
    by_hand = min(
        (float(np.mean((values - factor * np.exp(slope * logs)) ** 2)), slope)
        for slope in np.linspace(0.6, 1.4, 401).tolist()
        for factor in [np.dot(values, np.exp(slope * logs)) / np.dot(np.exp(slope * logs), np.exp(slope * logs))]
    )
    error = float(np.mean((values - target.values(found.of(outputs))) ** 2))
    assert error == pytest.approx(by_hand[0], rel=1e-3)
    assert error < np.mean((values - target.values(outputs)) ** 2)


def test_there_is_no_line_where_it_says_nothing() -> None:
    target = spread_of([1.0, 2.0, 4.0])
    truth, outputs = held_back(500)
    assert line(target, truth, outputs, "mae") == Line()
    assert line(target, *held_back(FEWEST_ROWS - 1)) == Line() != line(target, *held_back(FEWEST_ROWS))
    weights = np.full(500, 1e-9)
    weights[:10] = 1.0
    assert line(target, truth, outputs, None, weights) == Line()
    assert line(target, truth, np.full(500, np.nan, np.float32)) == Line()
    assert line(target, truth, np.ones(500, np.float32)) == Line()
    assert line(target, truth, -truth) == Line(), "upside down"
    # Right up to noise: two numbers that are fitted to it are no gain.
    generator = np.random.default_rng(3)
    for _ in range(20):
        assert line(target, (truth + generator.normal(size=500)).astype(np.float32), truth) == Line()


def test_nothing_is_moved_where_calibration_is_turned_off() -> None:
    truth, outputs = held_back(400)
    data = prepared(prices(), target_scale="linear")
    held = replace(data.validation, truth=truth, labels=torch.from_numpy(truth))
    plain = replace(data, validation=held, calibrate=False)
    assert prepared(prices(), calibrate=False).calibrate is False
    assert plain.reported(outputs) == report(data.target, truth, outputs)
    moved = replace(plain, calibrate=True).reported(outputs)
    assert moved["r2"] > plain.reported(outputs)["r2"] and moved["output_slope"] > 1.0 and "output_shift" in moved


def test_a_model_on_a_line_predicts_what_the_line_says() -> None:
    found = ModelSelectorRegressor(**QUICK).fit(prices().drop(columns="y"), prices()["y"])
    columns = frame_columns(prices(seed=2).drop(columns="y"))
    for scale in (None, LogScale(2.0, 1e4)):
        target = replace(found.model_.target, mean=1.5, std=0.5, scale=scale)
        model = replace(found.model_, target=target)
        outputs = model.outputs(columns)[:, 0]
        expected = target.values(Line(1.2, 0.1).of(outputs))
        np.testing.assert_allclose(on_line(model, 1.2, 0.1).values(columns), expected, rtol=1e-9)
    assert on_line(model, 1e308, 1e308) == model or not math.isinf(on_line(model, 1e308, 1e308).target.std)


def columns_of(y: Any) -> Columns:
    y = np.asarray(y, np.float64)
    return Columns(len(y), (Column("a", "float64", np.arange(len(y), dtype=np.float64)), Column("y", "float64", y)))


@pytest.mark.parametrize("pair", [(0.0, 1e-300), (-1e-300, 1e-300), (1e154, 2e154), (-1e300, 1e300)])
def test_numbers_of_any_size_are_told_apart(pair: tuple[float, float]) -> None:
    data = prepare(columns_of(pair * 30), None, "y", 1, CPU, task="regression")
    for rows in (data.train, data.validation):
        assert set(np.sign(rows.truth)) == {-1.0, 1.0} and np.isfinite(rows.truth).all()
        values = data.target.values(rows.truth)
        assert {min(pair, key=lambda value: abs(value / 2 - found / 2)) for found in values.tolist()} == set(pair)
    assert data.measured(data.validation.truth) == (1.0, 0.0)


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e154])
def test_a_constant_is_told_whatever_its_size(value: float) -> None:
    with pytest.raises(UnusableData, match="one class only"):
        prepare(columns_of([value] * 60), None, "y", 1, CPU, task="regression")
