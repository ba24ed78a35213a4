"""Targets as people have them: one absurd value, numbers of any size, one class in ten thousand rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trails import ModelSelectorClassifier, ModelSelectorRegressor

ROWS = 2_000
QUICK: dict[str, Any] = {"budget": None, "space": "mlp2x10", "k": 2, "u": 8, "isolated": False, "n_jobs": 1}


def made(unit: float = 1.0) -> tuple[pd.DataFrame, np.ndarray[Any, np.dtype[np.float64]]]:
    generator = np.random.default_rng(3)
    table = pd.DataFrame({"a": generator.normal(size=ROWS), "b": generator.choice(["x", "y", "z"], ROWS)})
    y = 10.0 + 2.0 * table["a"].to_numpy() + 3.0 * (table["b"] == "x").to_numpy() + 0.3 * generator.normal(size=ROWS)
    return table, y * unit


@pytest.mark.parametrize("place", range(3))
def test_one_absurd_target_costs_the_others_little(place: int) -> None:
    table, y = made()
    others = np.arange(ROWS) != place
    plain = ModelSelectorRegressor(**QUICK).fit(table, y)
    error = np.abs(plain.predict(table) - y)[others].mean()
    spoilt = y.copy()
    spoilt[place] = 1e6 * np.median(y)
    # A training row or a validation row: the draw is not to matter.
    with pytest.warns(UserWarning, match=r'1 value of "y", of 2000, too far from all others .*e\+07;'):
        found = ModelSelectorRegressor(**QUICK).fit(table, spoilt)
    assert np.abs(found.predict(table) - y)[others].mean() < 1.5 * error < 1.0


@pytest.mark.parametrize("unit", [1e-300, 1e-8, 1e154, 1e300])
def test_targets_of_every_size_are_learnt(unit: float) -> None:
    table, y = made(unit)
    found = ModelSelectorRegressor(**QUICK).fit(table, y)
    assert np.abs(found.predict(table) / unit - y / unit).mean() < 1.0


def test_one_row_in_ten_thousand_of_a_class_is_a_task() -> None:
    generator = np.random.default_rng(5)
    table = pd.DataFrame({"a": generator.normal(size=20_000), "b": generator.normal(size=20_000)})
    y = np.zeros(20_000, int)
    y[[11, 12_345]] = 1
    table.loc[y == 1, "a"] = 9.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ModelSelectorClassifier(**QUICK).fit(table, y)
    shares = found.predict_proba(table)[:, 1]
    assert np.isfinite(shares).all() and shares[y == 1].min() > np.quantile(shares, 0.99)
