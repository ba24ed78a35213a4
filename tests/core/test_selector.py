"""The estimator: scikit-learn's own checks, every kind of column, budgets, and training in a process of its own."""

from __future__ import annotations

import datetime as dt
import decimal
import fcntl
import json
import math
import os
import resource
import select as select_module
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from tests.timing import within
from trails import ModelSelector, ModelSelectorClassifier, ModelSelectorRegressor
from trails.cli import main
from trails.errors import BudgetTooSmall, InvalidInput, TrailsError, UnusableData
from trails.model.store import Model
from trails.selection import select
from trails.selector import _networks_of
from trails.settings import Settings
from trails.table.columns import Column, Columns
from trails.table.conform import conform
from trails.table.frames import column_of, frame_columns
from trails.table.texts import text_column
from trails.trainer import OwnProcess, _is_ready, budget_to_try, work_seconds, write_columns

ROOT = Path(__file__).resolve().parents[2]

FIXED: dict[str, Any] = {"budget": None, "k": 1, "u": 30, "isolated": False, "n_jobs": 1}
"""A plan that does not depend on the machine's speed, in this process."""

OPTIONS = {"max_epochs": 30, "winner": False}
ESTIMATORS = (
    ModelSelectorClassifier(**FIXED, options=OPTIONS),
    ModelSelectorRegressor(**FIXED, options=OPTIONS),
    ModelSelector(**{**FIXED, "u": 8}, options=OPTIONS),
)


def checks() -> list[Any]:
    """Every check that scikit-learn has for these estimators."""
    found = []
    for estimator in ESTIMATORS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that they do not inherit from BaseEstimator
            every = list(estimator_checks_generator(estimator))
        for number, (made, check) in enumerate(every):
            function = check.func if isinstance(check, partial) else check
            # The first needs a setting that is read when scipy is imported; it runs in a process of its own below. The
            # second repeats rows in place of weights: batches hold others then, and the digits differ.
            if function.__name__ not in ("check_array_api_input", "check_sample_weight_equivalence_on_dense_data"):
                found.append(pytest.param(made, check, id=f"{type(made).__name__}-{number}-{function.__name__}"))
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), checks())
def test_scikit_learn_finds_nothing_wrong(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def python(code: str, **environment: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'python'}:{ROOT}", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_array_api_dispatch_changes_nothing() -> None:
    code = """
import warnings
from sklearn.utils.estimator_checks import check_array_api_input
from tests.core.test_selector import ESTIMATORS
warnings.simplefilter("ignore")
for estimator in ESTIMATORS:
    check_array_api_input(type(estimator).__name__, estimator, array_namespace="numpy", expect_only_array_outputs=False)
print("checked")
"""
    assert python(code, SCIPY_ARRAY_API="1") == "checked"


def test_importing_trails_imports_nothing_heavy() -> None:
    code = "import sys, trails; print([m for m in ('numpy', 'sklearn', 'torch', 'pandas') if m in sys.modules])"
    assert python(code) == "[]"


def test_scikit_learn_and_pandas_are_not_needed() -> None:
    code = """
import sys
for name in ("sklearn", "pandas", "pyarrow", "psycopg2"):
    sys.modules[name] = None
import numpy as np
from trails import ModelSelectorClassifier
X = np.random.default_rng(0).normal(size=(300, 3))
selector = ModelSelectorClassifier(budget=None, k=1, u=5, isolated=False, options={"max_epochs": 5})
try:
    selector.predict(X)
except ValueError as error:
    print(error)
print(selector.fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0) > 0.9, selector)
"""
    told = python(code)
    assert "not fitted yet" in told and "True ModelSelectorClassifier(budget=None," in told


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    """A data frame with a column of every kind, some of it missing."""
    generator = np.random.default_rng(seed)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(0, 1000, rows), "D")
    table = pd.DataFrame(
        {
            "number": generator.normal(size=rows),
            "whole": generator.integers(0, 9, rows),
            "nullable": pd.array(generator.integers(-5, 5, rows), "Int64"),
            "flag": generator.random(rows) < 0.5,
            "text": generator.choice(["red", "green", "blue"], rows),
            "category": pd.Categorical(generator.choice(["a", "b"], rows)),
            "moment": days.tz_localize("Europe/Berlin"),
            "day": [moment.date() for moment in days],
            "span": pd.to_timedelta(generator.integers(0, 100, rows), "h"),
            "clock": [dt.time(int(hour), 30) for hour in generator.integers(0, 24, rows)],
            "constant": 1,
        }
    )
    for name in ("number", "nullable", "text", "moment", "span", "clock"):
        table.loc[generator.random(rows) < 0.1, name] = None
    return table


def labels(table: pd.DataFrame) -> pd.Series:
    """Follow two of the columns."""
    return (table["text"].fillna("none").isin(["red", "none"])) ^ (table["whole"] > 4)


def selector(kind: type[ModelSelector] = ModelSelector, **changes: Any) -> ModelSelector:
    return kind(**{**FIXED, "u": 20, "options": {"max_epochs": 20}, **changes})


def test_a_data_frame_of_every_kind_is_learnt_from() -> None:
    train, test = frame(3_000), frame(1_000, 1)
    found = selector().fit(train, labels(train))
    assert found.task_ == "binary" and found.metric_ == "auc" and found.classes_.tolist() == [False, True]
    assert found.left_out_ == {"constant": "the same in every row"}
    assert found.score(test, labels(test)) > 0.95
    probabilities = found.predict_proba(test)
    assert probabilities.shape == (1_000, 2) and np.allclose(probabilities.sum(1), 1)
    assert (found.classes_[probabilities.argmax(1)] == found.predict(test)).all()
    kinds = dict(found.model_.encoder.columns)
    assert kinds == {
        "number": "number",
        "whole": "integer",
        "nullable": "integer",
        "flag": "boolean",
        "text": "text",
        "category": "text",
        "moment": "timestamp",
        "day": "date",
        "span": "interval",
        "clock": "time",
    }
    best = found.leaderboard_[0]
    assert best["architecture"] == found.model_.architecture
    assert best["validation_metric"] == max(row["validation_metric"] for row in found.leaderboard_)
    assert len(found.curves_) == best["epochs"] and {row["phase"] for row in found.timings_} >= {"filter", "refine"}
    unlike = test.assign(text=7)
    with pytest.raises(ValueError, match='"text"') as caught:
        found.predict(unlike)
    assert isinstance(caught.value, TrailsError) and caught.value.sqlstate == "42804"


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (["no", "yes"], "binary", ["no", "yes"]),
        (["b", "c", "a"], "multiclass", ["a", "b", "c"]),
        ([7, -3], "binary", [-3, 7]),
        ([10, 9, 2, 1], "multiclass", [1, 2, 9, 10]),
        ([0.5, 1.5], "binary", [0.5, 1.5]),
    ],
)
def test_labels_come_back_as_they_were_given(y: list[Any], task: str, classes: list[Any]) -> None:
    X = np.random.default_rng(0).integers(0, len(y), (1_200, 3))
    truth = np.array(y)[X[:, 1]]
    found = selector().fit(X, truth)
    assert found.task_ == task and found.classes_.tolist() == classes
    assert found.predict(X).dtype == truth.dtype and found.score(X, truth) > 0.95
    probabilities = found.predict_proba(X)
    assert probabilities.shape == (1_200, len(classes))
    assert [found.model_.target.classes[place] for place in probabilities[:9].argmax(1)] == [str(v) for v in truth[:9]]


def test_numbers_are_predicted_in_their_unit() -> None:
    X = np.random.default_rng(0).uniform(-2, 2, (3_000, 2))
    y = 1e4 + 50 * X[:, 0] ** 2
    found = selector(options={"max_epochs": 60}, u=60).fit(X, y)
    assert found.task_ == "regression" and not hasattr(found, "predict_proba") and not hasattr(found, "classes_")
    assert found.score(X, y) > 0.9 and abs(found.predict(X).mean() - y.mean()) < 10
    # The same object, for another task.
    assert found.fit(X, y > y.mean()).classes_.tolist() == [False, True]


def test_a_stored_model_predicts_the_same(tmp_path: Path) -> None:
    table = frame(500)
    found = selector().fit(table, labels(table))
    found.save(tmp_path / "model.safetensors")
    model = Model.from_bytes((tmp_path / "model.safetensors").read_bytes())
    assert np.allclose(model.probabilities(frame_columns(table)), found.predict_proba(table), atol=1e-5)


def test_validation_rows_may_be_given() -> None:
    train, valid = frame(1_000), frame(400, 1)
    found = selector().fit(train, labels(train), validation=(valid, labels(valid)))
    assert found.model_.training["rows"] == 1_000 and found.model_.training["validation_rows"] == 400
    with pytest.raises(ValueError, match="pair"):
        selector().fit(train, labels(train), validation=7)
    with pytest.raises(ValueError, match="inconsistent"):
        selector().fit(train, labels(train), validation=(valid, labels(train)))


def unlike(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows in other types, none of which loses anything."""
    changed = table.assign(
        whole=table["whole"].astype(float),
        nullable=[None if pd.isna(value) else float(value) for value in table["nullable"]],
        flag=table["flag"].astype(int),
        day=pd.to_datetime(table["day"]),
        number=table["number"].round(),
        text=None,
        moment=None,
        clock=None,
        span=float("nan"),
    )
    changed["number"] = changed["number"].astype("Int64")
    return changed


def test_other_types_that_lose_nothing_are_taken_in_validation_and_prediction() -> None:
    train, valid = frame(1_000), frame(300, 1)
    truth = labels(train)
    same = valid.assign(number=valid["number"].round(), text=None, moment=pd.NaT, clock=None, span=pd.NaT)
    for kind in ("text", "clock"):
        same[kind] = same[kind].astype(object)
    found = [selector(u=3).fit(train, truth, validation=(table, labels(valid))) for table in (same, unlike(valid))]
    assert found[0].leaderboard_[0]["validation_loss"] == found[1].leaderboard_[0]["validation_loss"]
    for one in found:
        assert np.array_equal(one.predict_proba(same), one.predict_proba(unlike(valid)))


@pytest.mark.parametrize(
    ("name", "values", "cast"),
    [
        ("number", "a", 'X["number"].astype("float64")'),
        ("whole", 1.5, 'X["whole"].astype("Int64")'),
        ("text", 7, 'X["text"].astype(str)'),
        ("moment", 7, 'X["moment"].astype("datetime64[us]")'),
        ("day", pd.Timestamp("2020-01-01 12:00"), 'X["day"].dt.date'),
    ],
)
def test_a_type_that_would_lose_something_is_refused_with_the_cast(name: str, values: Any, cast: str) -> None:
    train, valid = frame(200), frame(100, 1).assign(**{name: values})
    with pytest.raises(ValueError, match=f'"{name}"') as caught:
        selector(u=1).fit(train, labels(train), validation=(valid, labels(frame(100, 1))))
    assert isinstance(caught.value, InvalidInput) and caught.value.sqlstate == "42804" and cast in caught.value.hint


def test_a_class_that_only_validation_has_is_left_out_with_a_warning() -> None:
    X = np.random.default_rng(0).integers(0, 4, (400, 2))
    y = X[:, 0] % 2
    with pytest.warns(UserWarning, match=r"20 validation rows are left out: .* \(7\)"):
        found = selector(u=2).fit(X, y, validation=(X[:100], np.where(np.arange(100) % 5 == 0, 7, y[:100])))
    assert found.task_ == "binary" and found.classes_.tolist() == [0, 1] and found.model_.target.classes == ("0", "1")


def test_few_rows_are_validated_on_themselves_and_that_is_said() -> None:
    X = np.arange(24.0).reshape(12, 2)
    with pytest.warns(UserWarning, match="too few rows"):
        found = selector().fit(X, ["a"] * 11 + ["b"])
    assert set(found.predict(X)) <= {"a", "b"}


def test_cross_validation_is_stratified_by_the_classifier() -> None:
    X = np.random.default_rng(0).integers(0, 4, (900, 3))
    scores = cross_val_score(selector(ModelSelectorClassifier), X, X[:, 0] == 3, cv=3, scoring="roc_auc")
    assert len(scores) == 3 and scores.min() > 0.95


def test_a_clone_has_the_parameters_and_nothing_that_was_learnt() -> None:
    X = np.random.default_rng(0).integers(0, 4, (60, 2))
    fitted = selector(ModelSelectorClassifier, tfmem="naswot").fit(X, X[:, 0] > 1)
    copied = clone(fitted)
    assert copied is not fitted and copied.get_params() == fitted.get_params() and not hasattr(copied, "model_")
    assert copied.set_params(k=2, space="mlp2x10") is copied and fitted.k == 1
    assert (copied.get_params()["k"], copied.get_params()["space"]) == (2, "mlp2x10")
    assert repr(copied).startswith("ModelSelectorClassifier(budget=None,") and "k=2" in repr(copied)


def test_a_pipeline_and_a_search_over_a_grid_take_it() -> None:
    X = np.random.default_rng(0).normal(size=(300, 3))
    y = np.where(X[:, 0] > 0, "yes", "no")
    pipeline = make_pipeline(StandardScaler(), selector(ModelSelectorClassifier))
    grid = {"modelselectorclassifier__u": [1, 8], "modelselectorclassifier__space": ["mlp2x10"]}
    found = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert set(found.cv_results_["param_modelselectorclassifier__u"]) == {1, 8}
    assert found.best_estimator_[-1].space == "mlp2x10"
    assert found.score(X, y) > 0.9 and set(found.classes_) == {"yes", "no"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "ranking"}, "ranking"),
        ({"tfmem": "nonsense"}, "nonsense"),
        ({"space": "cnn"}, "cnn"),
        ({"refinement": "bohb"}, "bohb"),
        ({"options": {"momentum": 1}}, "momentum"),
        ({"device": "tpu"}, "tpu"),
        ({"k": None}, "k must be given"),
        ({"budget": "a minute"}, "a minute"),
        ({"random_state": "x"}, "random_state"),
        ({"k": 0}, "k"),
    ],
)
def test_wrong_parameters_are_named_before_anything_is_trained(changes: dict[str, Any], words: str) -> None:
    X = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ValueError, match=words) as caught:
        selector(**changes).fit(X, X[:, 0] > 0)
    assert isinstance(caught.value, InvalidInput)
    with pytest.raises(ValueError, match="momentum"):
        ModelSelector().set_params(momentum=1)


@pytest.mark.parametrize(
    ("kind", "y", "words"),
    [
        (ModelSelector, [1] * 50, "one class"),
        (ModelSelectorClassifier, np.linspace(0, 1, 50), "Unknown label type"),
        (ModelSelectorRegressor, ["a", "b"] * 25, "no number"),
        (ModelSelector, [None, "b"] * 25, "one class"),
        (ModelSelector, [None] * 50, "NaN"),
        (ModelSelector, np.full(50, np.nan), "NaN"),
        (ModelSelector, [None] * 42 + ["a", "b"] * 4, "8 sample"),
        (ModelSelectorRegressor, np.append(np.full(20, np.nan), np.append(np.arange(29.0), np.inf)), "infinity"),
        (ModelSelector, [dt.date(2020, 1, 1), dt.date(2020, 1, 2)] * 25, "Unknown label type"),
        (ModelSelector, [1, "b"] * 25, "several kinds|'<' not supported|one"),
        (ModelSelector, ["x" * 201, "b"] * 25, "longer than 200"),
    ],
)
def test_targets_that_cannot_be_learnt_are_named(kind: type[ModelSelector], y: Any, words: str) -> None:
    X = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ValueError, match=words):
        selector(kind).fit(X, np.asarray(y, object) if isinstance(y, list) else y)


MISSING: dict[str, Any] = {
    "floats": lambda y: np.where(np.arange(len(y)) % 5 == 3, np.nan, y.astype(float)),
    "objects": lambda y: np.array([None if n % 5 == 3 else bool(v) for n, v in enumerate(y)], object),
    "texts": lambda y: np.array([math.nan if n % 5 == 3 else f"is {v}" for n, v in enumerate(y)], object),
    "a series": lambda y: pd.Series(y.astype(float)).mask(np.arange(len(y)) % 5 == 3),
    "a nullable series": lambda y: pd.Series(y.astype(int), dtype="Int64").mask(np.arange(len(y)) % 5 == 3),
    "categories": lambda y: pd.Series(y.astype(str)).mask(np.arange(len(y)) % 5 == 3).astype("category"),
    "a column": lambda y: pd.DataFrame({"y": MISSING["floats"](y)}),
}


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_rows_without_a_label_are_left_out_and_counted(kind: str) -> None:
    table = frame(250)
    wanted, there = labels(table), np.arange(250) % 5 != 3
    groups, weights = np.arange(250) // 2, np.linspace(1, 2, 250)
    index = pd.RangeIndex(1000, 1250)  # rows are told by place
    y = MISSING[kind](wanted.to_numpy() if hasattr(wanted, "to_numpy") else np.asarray(wanted))
    if hasattr(y, "index"):
        y.index = index
    held = table[:60], (y.iloc[:60] if hasattr(y, "iloc") else y[:60]), weights[:60]
    found = selector(k=1, u=1).fit(table, y, sample_weight=weights, validation=held)
    assert found.rows_left_out_ == 50 + 12
    assert found.held_out_["training_rows"] == 200 and found.held_out_["validation_rows"] == 48
    few = y.iloc[there] if hasattr(y, "iloc") else y[there]
    if kind in ("objects", "texts"):
        few = np.array(few.tolist())
    held = table[:60][there[:60]], few[:48], weights[:60][there[:60]]
    same = selector(k=1, u=1).fit(table[there], few, sample_weight=weights[there], validation=held)
    assert same.rows_left_out_ == 0 and same.model_.to_bytes() == found.model_.to_bytes()
    grouped = selector(k=1, u=1).fit(table, y, groups=groups)
    assert grouped.rows_left_out_ == 50 and grouped.held_out_["training_rows"] < 200


def test_infinite_numbers_and_double_names_are_refused() -> None:
    table = frame(100)
    with pytest.raises(UnusableData, match='"number" contains infinity'):
        selector().fit(table.assign(number=math.inf), labels(table))
    with pytest.raises(InvalidInput, match="flag"):
        selector().fit(table.rename(columns={"whole": "flag"}), labels(table))


def test_a_key_as_the_only_feature_is_refused_with_the_reason() -> None:
    with pytest.raises(UnusableData, match="no feature can help") as caught:
        selector().fit(np.arange(100)[:, None], np.arange(100) % 2)
    assert "different in every row" in (caught.value.detail or "")


# Columns of what lies in memory


@pytest.mark.parametrize(
    ("values", "kind", "data"),
    [
        (np.array([True, False]), "boolean", [1, 0]),
        (np.array([1, 2], np.int8), "int32", [1, 2]),
        (np.array([1, 2**40]), "int64", [1, 2**40]),
        (np.array([1.5, np.nan], np.float16), "float32", [1.5, 0]),
        (np.array([1.5, np.nan]), "float64", [1.5, 0]),
        (np.array(["2000-01-02", "NaT"], "datetime64[D]"), "timestamp", [86_400_000_000, 0]),
        (np.array(["1999-12-31T23:59:59.999999999"], "datetime64[ns]"), "timestamp", [-1]),
        (np.array([90, "NaT"], "timedelta64[s]"), "interval", [90.0, 0.0]),
        (np.array([None, True], object), "boolean", [0, 1]),
        (np.array([None, 3, False], object), "int32", [0, 3, 0]),
        (np.array([decimal.Decimal("1.5"), 2, None], object), "float64", [1.5, 2, 0]),
        (np.array([dt.date(2000, 1, 3), None], object), "date", [2, 0]),
        (np.array([dt.datetime(2000, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))]), "timestamp", [0]),
        (np.array([dt.time(0, 0, 1), None], object), "time", [1_000_000, 0]),
        (np.array([dt.timedelta(minutes=1), None], object), "interval", [60.0, 0.0]),
    ],
)
def test_arrays_become_columns(values: Any, kind: str, data: list[Any]) -> None:
    found = column_of("c", values)
    assert found.kind == kind and found.data.tolist() == data
    missing = [value is None or value != value for value in values.tolist()]
    nulls = np.zeros(len(values), np.uint8) if found.nulls is None else found.nulls
    assert nulls.tolist() == missing


def test_ids_and_values_are_for_tables_of_a_database() -> None:
    with pytest.raises(InvalidInput, match="tables of a database") as caught:
        ModelSelector(budget=30, options={"id_values": ["c"]}).fit({"c": np.array(["1:1", "2:1"] * 40)}, [0, 1] * 40)
    assert "categories" in f"{caught.value.hint}"


def test_texts_become_hashes_with_their_spelling() -> None:
    found = column_of("c", np.array(["b", None, "a", "b"], object))
    assert found.kind == "text" and found.data[0] == found.data[3] and found.nulls is not None
    assert found.texts is not None and list(found.texts.spellings().values()) == ["b", "a"]
    assert column_of("c", np.array(["b"])).data[0] == found.data[0]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, "a"], object),
        np.array([2**63], np.uint64),
        np.array([2**70], object),
        np.array([1j], object),
        np.array([1j]),
        np.array([b"x"], "V1"),
    ],
)
def test_what_is_of_no_kind_is_refused(values: Any) -> None:
    with pytest.raises(InvalidInput, match='"c"'):
        column_of("c", values)


def test_columns_take_the_family_that_a_model_wants_where_their_values_allow() -> None:
    floats = column_of("c", np.array([1.0, np.nan, 0.0]))
    assert conform(floats, "integer").data.tolist() == [1, 0, 0]
    assert conform(floats, "boolean").kind == "boolean"
    assert conform(column_of("c", np.array([True])), "integer").kind == "int32"
    assert conform(column_of("c", np.array([3])), "number").data.dtype == np.float64
    assert conform(column_of("c", np.array([dt.date(2000, 1, 2)])), "timestamp").data.tolist() == [86_400_000_000]
    assert conform(column_of("c", np.array([None, None], object)), "text").nulls is not None
    for values, family in ((np.array([1.5]), "integer"), (np.array([2]), "boolean"), (np.array(["a"]), "number")):
        with pytest.raises(InvalidInput) as caught:
            conform(column_of("c", values), family)
        assert caught.value.sqlstate == "42804"


def test_columns_survive_the_way_to_the_process() -> None:
    columns = Columns(
        3,
        (
            Column("i", "int32", np.array([1, 2, 3], np.int32), None, np.array([0, 1, 0], np.uint8)),
            Column("p", "idvalue", np.array([1, 2, 3], np.int32), np.array([0.5, 1, 2], np.float32)),
            text_column("t", ["ä", None, ""]),
            Column("f", "float64", np.array([1.5, 2.5, 3.5])[::-1]),
        ),
    )
    file = os.memfd_create("test")
    try:
        found = Columns.from_fd(file, write_columns(columns, file))
        for mine, theirs in zip(columns, found, strict=True):
            assert (mine.name, mine.kind) == (theirs.name, theirs.kind)
            for part in ("data", "values", "nulls"):
                one, other = getattr(mine, part), getattr(theirs, part)
                assert (one is None) == (other is None) and (one is None or np.array_equal(one, other))
        spelt = found["t"].texts
        assert spelt is not None and list(spelt.spellings().values()) == ["ä", ""]
    finally:
        os.close(file)


# A process of its own


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "trails.refinement.child" in child.cmdline()]


def table_of(rows: int) -> tuple[Columns, str]:
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 12, (rows, 4)).astype(np.int32)
    weights = generator.normal(size=(4, 12))
    logits = 1.5 * sum(weights[field, ids[:, field]] for field in range(4))
    truth = (generator.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.int32)
    features = (Column(f"f{field}", "int32", np.ascontiguousarray(ids[:, field])) for field in range(4))
    return Columns(rows, (*features, Column("label", "int32", truth))), "label"


def test_a_fixed_plan_gives_the_same_in_a_process_of_its_own() -> None:
    X = np.random.default_rng(0).integers(0, 9, (1_000, 3))
    y = X.sum(1) > 12
    here = selector(k=2, u=2).fit(X, y)
    there = selector(k=2, u=2, isolated=True).fit(X, y)
    assert not children()
    assert np.array_equal(here.predict_proba(X), there.predict_proba(X))
    without = [[{k: v for k, v in row.items() if k != "seconds"} for row in s.leaderboard_] for s in (here, there)]
    assert without[0] == without[1]


def test_a_host_process_is_left_as_it_was() -> None:
    code = """
import ctypes, os
import numpy as np
from trails import ModelSelectorClassifier

before = dict(os.environ)
X = np.random.default_rng(0).integers(0, 9, (200, 3))
ModelSelectorClassifier(budget=None, k=1, u=1, isolated=False, n_jobs=1).fit(X, X.sum(1) > 12)
assert dict(os.environ) == before, "and so are the processes that it starts"
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
block = libc.malloc(64 << 20)
for line in open("/proc/self/maps"):
    begin, end = (int(part, 16) for part in line.split()[0].split("-"))
    if begin <= block < end:
        assert "[heap]" not in line, "large blocks go back to the system when they are freed"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_does_not_end_does_not_hold_its_caller() -> None:
    # One that is traced is its tracer's to reap first, killed or not.
    code = """
import ctypes, sys, time
seize = 0x4206
print(ctypes.CDLL(None).ptrace(seize, int(sys.argv[1]), None, None), flush=True)
time.sleep(60)
"""
    with OwnProcess(time.monotonic(), math.inf):
        began = time.monotonic()
        while not children():  # started, it has no command line for a moment
            assert time.monotonic() - began < 20.0
        (held,) = children()
        tracer = subprocess.Popen([sys.executable, "-c", code, str(held.pid)], stdout=subprocess.PIPE)
        try:
            assert tracer.stdout is not None
            if tracer.stdout.readline() != b"0\n":
                pytest.skip("ptrace is not allowed here")
            began = time.monotonic()
        except BaseException:
            tracer.kill()
            raise
    assert within(time.monotonic() - began, 0.0, 20.0)
    tracer.kill()
    tracer.wait()


def test_the_budget_is_kept_and_used() -> None:
    train, target = table_of(60_000)
    events: list[str] = []
    began = time.monotonic()
    found = select(train, target, None, Settings(budget=14.0), hear=lambda event: events.append(event["event"]))
    assert within(time.monotonic() - began, 14.0 * 1.05, 0.5) and not children()
    assert found.seconds > 5.0 and found.leaderboard[0]["validation_metric"] > 0.8 and found.scored == 160_000
    assert events[-1] == "result" and {"filtered", "ready", "rows", "plan", "epoch", "model"} <= set(events)
    assert found.model.metrics["auc"] == pytest.approx(found.leaderboard[0]["validation_metric"])


def test_a_budget_that_holds_nothing_is_refused() -> None:
    train, target = table_of(1_000)
    for budget in (0.5, -1.0, -math.inf):
        with pytest.raises(BudgetTooSmall) as caught:
            select(train, target, None, Settings(budget=budget))
        assert caught.value.minimum == 10.0 and "10 s" in (caught.value.hint or "")
    with pytest.raises(InvalidInput, match="NaN"):
        select(train, target, None, Settings(budget=math.nan))
    assert not children()


def test_a_host_with_many_open_files_can_wait_for_its_process() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    ends = os.pipe()
    try:
        high = fcntl.fcntl(ends[0], fcntl.F_DUPFD, 2000)
        os.write(ends[1], b"x")
        assert high >= 2000 and _is_ready(high, select_module.POLLIN)
        os.close(high)
    finally:
        for descriptor in ends:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_budget_that_is_only_guessed_at_grows_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.5, 0.5))
    train, _ = table_of(1_000)
    assert budget_to_try(0.0, work_seconds((train, None), True)) == 10.0
    assert budget_to_try(12.0, 0.0) == 24.0
    large = Columns(10_000_000, train.columns)
    assert budget_to_try(2.0, work_seconds((large, None), False)) == 5.0 + 10.0 * len(train)
    assert budget_to_try(2.0, work_seconds((large, large), True)) == 5.0 + 20.0 * len(train) + 300.0
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0 * (os.cpu_count() or 1), 0.0, 0.0))
    assert budget_to_try(2.0, work_seconds((large, None), False)) == 5.0 + 30.0 * len(train)


def test_a_process_that_is_killed_leaves_the_best_so_far() -> None:
    train, target = table_of(20_000)
    settings = Settings(budget=math.inf, k=4, u=1, options={"max_epochs": 27})

    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "model":
            for child in children():
                child.kill()

    found = select(train, target, None, settings, hear=kill)
    assert found.fault is not None and "killed" in found.fault and not found.complete
    assert len(found.leaderboard) == 4 and found.leaderboard[0]["validation_metric"] > 0.6
    assert found.model.outputs(train).shape == (20_000, 1)


def test_a_process_that_is_killed_before_there_is_a_model_is_an_error() -> None:
    train, target = table_of(1_000)

    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "filtered":
            for child in children():
                child.kill()

    with pytest.raises(TrailsError, match="was killed") as caught:
        select(train, target, None, Settings(budget=30.0), hear=kill)
    assert caught.value.sqlstate == "38000" and not children()


def test_an_interrupt_ends_the_process() -> None:
    train, target = table_of(1_000)

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        select(train, target, None, Settings(budget=30.0), hear=interrupt)
    assert not children()


@pytest.mark.parametrize("isolated", [True, False])
def test_an_option_may_name_a_column_that_is_left_out(isolated: bool) -> None:
    train, target = table_of(1_000)
    constant = Column("constant", "int32", np.zeros(train.rows, np.int32))
    options = {"categories": ["constant"], "winner": False}
    for tfmem in ("expressflow", "naswot"):
        settings = Settings(budget=30.0, options=options, isolated=isolated, tfmem=tfmem, space="mlp2x10", k=1, u=1)
        assert "constant" in select(Columns(train.rows, (*train, constant)), target, None, settings).left_out


def test_what_the_process_tells_is_an_error_here_too() -> None:
    train, target = table_of(1_000)
    with pytest.raises(InvalidInput, match="no_such"):
        select(train, target, None, Settings(budget=30.0, options={"categories": ["no_such"]}))
    with pytest.raises(InvalidInput, match="class_weights") as caught:
        select(train, target, None, Settings(budget=30.0, options={"class_weights": {"2": 3.0}}))
    assert caught.value.hint and not children()


# The command


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset whose label follows the first field."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    for split, rows in (("train", 2_000), ("valid", 500), ("test", 500)):
        ids = generator.integers(0, 20, (rows, 5)) + 20 * np.arange(5)
        lines = [f"{row[0] % 2} " + " ".join(f"{value}:1" for value in row) for row in ids.tolist()]
        (folder / f"{split}.libsvm").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("TRAILS_DATA", str(folder.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_selects_and_writes_its_log(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["--k", "2", "--u", "3", "--options", '{"max_epochs": 3}', "--seed", "4"]
    assert main(["--budget", "30", "--dataset", "mine", *plan, "--save", "model.safetensors"]) == 0
    told = capsys.readouterr()
    assert "test_auc 1.0" in told.out and "160,000 architectures scored" in told.err
    (log,) = (dataset / "logs_default").iterdir()
    assert log.name.startswith("mine_") and log.name.endswith("_seed4.log") and str(log.name) in told.out
    lines = log.read_text().splitlines()
    words = {line.split()[2]: line.split(" ", 3) for line in (" ".join(line.split()) for line in lines)}
    assert {"settings", "filtered", "plan", "epoch", "candidate", "timings", "result"} <= set(words)
    result = json.loads(words["result"][3])
    assert result["test_auc"] > 0.99 and result["trained"] == 2 and result["scored"] == 160_000
    assert json.loads(words["settings"][3])["budget"] == 30.0
    assert sum(line.split()[2] == "epoch" for line in lines) == 6
    model = Model.from_bytes((dataset / "model.safetensors").read_bytes())
    assert model.architecture == result["architecture"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--dataset", "mine", "--budget", "0.1"], 1, "too small"),
        (["--dataset", "mine", "--options", "[]"], 2, "JSON object"),
        (["--dataset", "mine", "--options", "{"], 2, "not JSON"),
        (["--dataset", "mine", "--target", "price"], 2, "label"),
        (["--dataset", "mine", "--refinement", "bohb"], 2, "bohb"),
        (["select", "--dataset", "mine", "--logs", "data/mine/train.libsvm"], 2, "no log can be written"),
    ],
)
def test_the_commands_mistakes_are_one_line(
    dataset: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    assert main(arguments) == status
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("trails: error:") and words in error
    for log in (dataset / "logs_default").glob("*"):
        assert " failed " in log.read_text()


def test_a_network_of_members_is_not_the_single_one_of_the_leaderboard() -> None:
    single = {"architecture": "8-8", "validation_metric": 0.7, "epochs": 5, "best_epoch": 4, "parameters": 400}
    told = {"epochs": 9, "best_epoch": 7}

    def networks_of(**training: Any) -> list[dict[str, Any]]:
        model = SimpleNamespace(training=training, metrics={"auc": 0.8, "log_loss": 0.4})
        return _networks_of(cast("Any", SimpleNamespace(model=model, metric="auc", leaderboard=[single])))

    assert networks_of(**told) == [{**single, "weight": 1}]
    of_members = {"architecture": "8-8", "validation_metric": 0.8, "parameters": None, "weight": 1, **told}
    assert networks_of(**told, members=8) == [of_members]
    assert networks_of(networks=[{**single, "weight": 2}]) == [{**single, "weight": 2}]


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["select", "--help"], ["--dataset", "frappe", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        told = capsys.readouterr().out
        assert caught.value.code == 0 and "--budget" in told and "examples:" in told
