"""What `fit` is told of the rows: groups and times that are held out together, and what each row counts for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from trails import ModelSelector, ModelSelectorClassifier, ModelSelectorRegressor
from trails.errors import InvalidInput, TrailsError, UnusableData
from trails.run import Run

FIXED: dict[str, Any] = {
    "budget": None,
    "k": 2,
    "u": 2,
    "isolated": False,
    "n_jobs": 1,
    "options": {"max_epochs": 4},
}
ROWS = 600


def rows(seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    X = np.random.default_rng(seed).integers(0, 6, (ROWS, 3)).astype(np.float64)
    return X, X[:, 0] + X[:, 1] > 5


def told(selector: ModelSelector) -> list[tuple[str, float]]:
    return [(row["architecture"], row["validation_metric"]) for row in selector.leaderboard_]


@pytest.mark.parametrize("kind", ["numbers", "texts", "series", "missing"])
def test_groups_are_held_out_as_a_whole(kind: str) -> None:
    X, y = rows()
    numbers = np.arange(ROWS) % 30
    groups: Any = {
        "numbers": numbers,
        "texts": [f"customer {number}" for number in numbers],
        "series": pd.Series(numbers, index=np.arange(ROWS)[::-1]),
        "missing": [None if number == 0 else f"g{number}" for number in numbers],
    }[kind]
    selector = ModelSelector(**FIXED).fit(X, y, groups=groups)
    found = selector.held_out_
    assert found["how"] == "group_by" and found["validation_groups"] == 6 and found["validation_rows"] == 120
    assert found["training_groups"] == (23 if kind == "missing" else 24)
    assert selector.n_features_in_ == 3 and len(selector.model_.encoder.columns) == 3
    assert selector.predict(X).shape == (ROWS,)


def test_the_latest_rows_are_held_out() -> None:
    X, y = rows()
    days = pd.date_range("2026-01-01", periods=ROWS, freq="h")
    selector = ModelSelector(**FIXED).fit(X, y, times=np.asarray(days))
    assert selector.held_out_["how"] == "time_by" and selector.held_out_["validation_rows"] == 120
    assert selector.held_out_["from"].startswith(str(days[480]))


@pytest.mark.parametrize("isolated", [False, True])
def test_rows_of_weight_zero_are_as_if_they_were_not_there(isolated: bool) -> None:
    X, y = rows()
    weight = np.where(np.arange(ROWS) % 3 == 0, 0, np.random.default_rng(1).integers(1, 4, ROWS))
    there = weight > 0
    plan = FIXED | {"isolated": isolated, "metric": "log_loss"}
    weighted = ModelSelectorClassifier(**plan).fit(X, y ^ ~there, sample_weight=weight)
    alone = ModelSelectorClassifier(**plan).fit(X[there], y[there], sample_weight=weight[there].tolist())
    alike = ModelSelectorClassifier(**plan).fit(X[there], y[there])
    assert told(weighted) == told(alone) != told(alike)
    assert weighted.held_out_["rows_of_weight_0"] == 200
    assert weighted.metric_ == "log_loss" and told(weighted)[0][1] <= told(weighted)[1][1]
    assert (weighted.predict_proba(X) == alone.predict_proba(X)).all()


def test_validation_rows_have_weights_of_their_own() -> None:
    (X, y), (other, labels) = rows(), rows(5)
    weight, held = np.full(ROWS, 2.0), np.where(np.arange(ROWS) % 2, 1.0, 3.0)
    selector = ModelSelector(**FIXED).fit(X, y, sample_weight=weight, validation=(other, labels, held))
    assert selector.held_out_["how"] == "validation" and selector.held_out_["validation_rows"] == ROWS
    twice = np.repeat(np.arange(ROWS), held.astype(int))
    repeated = ModelSelector(**FIXED).fit(X, y, validation=(other[twice], labels[twice]))
    assert [name for name, _ in told(selector)] == [name for name, _ in told(repeated)]
    for (_, one), (_, same) in zip(told(selector), told(repeated), strict=True):
        assert one == pytest.approx(same, abs=1e-6)
    with pytest.raises(InvalidInput, match="X, y and their sample_weight"):
        ModelSelector(**FIXED).fit(X, y, sample_weight=weight, validation=(other, labels))
    with pytest.raises(InvalidInput, match="a pair of X and y"):
        ModelSelector(**FIXED).fit(X, y, validation=(other, labels, held))


def test_numbers_are_compared_by_the_metric_that_is_asked_for_and_shown_in_its_order() -> None:
    X, _ = rows()
    selector = ModelSelectorRegressor(**FIXED | {"k": 3}, metric="mae").fit(X, X[:, 0] * 2 + X[:, 1])
    values = [value for _, value in told(selector)]
    assert values == sorted(values) and values[0] == pytest.approx(selector.model_.metrics["mae"])
    run = Run({"source": "X", "metric": "mae"}, selector.leaderboard_[::-1], selector.curves_)
    assert [row["validation_metric"] for row in run.leaderboard] == values
    shown = selector._repr_html_()
    assert shown.index(f"<td>{values[0]:.5f}</td>") < shown.index(f"<td>{values[-1]:.5f}</td>")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"groups": np.arange(5)}, InvalidInput, r"groups has the shape \(5,\), and X has 600 rows"),
        ({"sample_weight": np.ones((ROWS, 2))}, InvalidInput, r"sample_weight has the shape \(600, 2\)"),
        ({"sample_weight": np.zeros(ROWS)}, UnusableData, "zero in every row"),
        ({"sample_weight": np.where(np.arange(ROWS) < 7, -1.0, 1.0)}, UnusableData, "negative in 7 rows"),
        ({"sample_weight": np.where(np.arange(ROWS) < 7, np.nan, 1.0)}, UnusableData, "NULL in 7 rows"),
        ({"groups": np.zeros(ROWS)}, UnusableData, "one group only"),
        ({"times": np.zeros(ROWS)}, UnusableData, "one time only"),
        ({"times": ["now"] * ROWS}, InvalidInput, "cannot be ordered"),
        ({"times": np.arange(ROWS), "groups": np.arange(ROWS)}, InvalidInput, "group_by and time_by cannot both"),
        ({"groups": np.arange(ROWS), "validation": rows(1)}, InvalidInput, "validation and group_by cannot both"),
    ],
)
def test_what_says_nothing_of_the_rows_is_a_value_error(
    given: dict[str, Any], error: type[TrailsError], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ModelSelector(**FIXED).fit(*rows(), **given)
    assert isinstance(caught.value, error)


@pytest.mark.parametrize("metric", ["ndcg", "r2"])
def test_a_metric_of_another_task_is_a_value_error(metric: str) -> None:
    with pytest.raises(ValueError, match="cannot be compared by") as caught:
        ModelSelector(**FIXED, metric=metric).fit(*rows())
    assert isinstance(caught.value, InvalidInput) and "auc" in str(caught.value.hint)


@pytest.mark.parametrize("kind", [ModelSelector, ModelSelectorClassifier])
@pytest.mark.parametrize("names", [["a", "b", "c", "d"], [0, 1, 2, 3]])
def test_a_class_of_held_out_rows_alone_is_none_of_the_models(kind: type[ModelSelector], names: list[Any]) -> None:
    X, _ = rows()
    X[:, 0] %= 3
    known = [names[place] for place in (0, 2, 3)]
    y = np.array(known)[X[:, 0].astype(int)]
    y[-30:] = names[1]
    fitted = kind(**FIXED | {"u": 12, "options": {"max_epochs": 12}}).fit(X, y, times=np.arange(ROWS))
    assert fitted.classes_.tolist() == known
    assert fitted.predict_proba(X).shape == (ROWS, 3)
    assert np.mean(fitted.predict(X)[:480] == y[:480]) > 0.9


@pytest.mark.parametrize("how", ["times", "groups", "weights"])
def test_of_three_classes_two_may_be_left_to_learn(how: str) -> None:
    X, y = rows()
    y = np.where(y, "yes", "no").astype(object)
    y[-60:] = "later"
    told: dict[str, Any] = {
        "times": {"times": np.arange(ROWS)},
        "groups": {"groups": np.r_[np.arange(ROWS - 60) % 9, np.full(60, 100)]},
        "weights": {"sample_weight": np.r_[np.ones(ROWS - 60), np.zeros(60)]},
    }[how]
    for seed in range(20):
        fitted = ModelSelectorClassifier(**FIXED, random_state=seed).fit(X, y, **told)
        if len(fitted.classes_) == 2:
            break
    assert fitted.classes_.tolist() == ["no", "yes"] and fitted.task_ == "binary"
    assert set(fitted.predict(X)) <= {"no", "yes"}


def test_weights_of_any_ratio_are_metrics_of_numbers() -> None:
    X, y = rows()
    weight = np.exp(-np.arange(ROWS) / 2.0)
    for metric in ("average_precision", "auc", "log_loss", "f1"):
        fitted = ModelSelectorClassifier(**FIXED | {"metric": metric}).fit(X, y, sample_weight=weight)
        assert all(np.isfinite(row["validation_metric"]) for row in fitted.leaderboard_)


def test_validation_rows_that_begin_alike_end_no_run() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(9_000, 2))
    y = np.where(np.arange(9_000) < 4_500, 0.0, np.abs(X[:, 0]))
    fitted = ModelSelectorRegressor(**FIXED | {"u": 1}).fit(X, y, validation=(X, y))
    assert fitted.leaderboard_
