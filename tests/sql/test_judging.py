"""Judging in the server: what scikit-learn computes from the outputs of trails.predict, without an interpreter."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from sklearn import metrics as reference

from tests.sql.predicted import columns_of, make_model, make_things, store, things
from tests.sql.tables import query
from tools.server import Server, temporary_server
from trails.table.columns import Column, Columns

TRAINED = things(300)
ROWS = things(700, seed=2, first=1001)
SMALL = Columns(5, (Column("a", "int32", np.arange(5, dtype=np.int32)),))


@pytest.fixture
def sql(connect: Callable[..., Any]) -> Any:
    """A superuser's session with the table `things`."""
    connection = connect()
    make_things(connection, ROWS)
    return connection


@pytest.fixture
def small(connect: Callable[..., Any]) -> Any:
    """A superuser's session with a model `m` of two classes and 1,000 rows of `small`, of five different scores."""
    connection = connect()
    store(connection, "m", make_model(SMALL), source="public.small")
    query(connection, "CREATE TABLE small (id int PRIMARY KEY, a int, y text, w float8)")
    query(
        connection,
        "INSERT INTO small SELECT i, i % 5, CASE WHEN i * 7919 % 11 < 4 + i % 5 THEN 'yes' ELSE 'no' END, i % 4 "
        "FROM generate_series(1, 1000) i",
    )
    return connection


def refused(connection: Any, statement: str, *parameters: Any) -> Any:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement, *parameters)
    return caught.value.diag


def evaluated(connection: Any, *arguments: Any, **named: Any) -> dict[Any, float | None]:
    """Metric, or metric and class, to value."""
    given = ["%s"] * len(arguments) + [f"{name} => %s" for name in named]
    statement = f"SELECT metric, class, value FROM trails.evaluate({', '.join(given)})"
    rows = query(connection, statement, *arguments, *named.values())
    return {metric if label is None else (metric, label): value for metric, label, value in rows}


def label_things(connection: Any, classes: tuple[str, ...]) -> None:
    """A target beside the columns of `things`, NULL in every ninth row, and a weight."""
    listed = ", ".join(["%s"] * len(classes))
    query(
        connection,
        f"CREATE TABLE labelled AS SELECT *, CASE WHEN id %% 9 > 0 THEN (ARRAY[{listed}])"
        f"[1 + (id * 7919 + coalesce(small, 0)) %% {len(classes)}] END AS y, (id %% 4)::real AS w FROM things",
        *classes,
    )
    query(connection, "ALTER TABLE labelled ADD PRIMARY KEY (id)")


def calibration_error(scores: Any, happened: Any, weights: Any = None) -> float:
    """The expected calibration error: 15 bins of equal weight, the rows of one score in the bin of their middle."""
    each = np.ones(len(scores)) if weights is None else weights.astype(np.float64)
    _, level = np.unique(-scores, return_inverse=True)
    here = np.bincount(level, each)
    apart = np.bincount(level, each * scores) - np.bincount(level, each * happened)
    bins = np.floor(15 * (np.cumsum(here) - here / 2) / here.sum()).astype(int)
    return float(np.abs(np.bincount(bins, apart)).sum() / here.sum())


def predicted(connection: Any) -> list[tuple[Any, ...]]:
    return query(
        connection,
        "SELECT l.y, p.prediction, p.score, p.probabilities, l.w FROM trails.predict('m', 'labelled') p "
        "JOIN labelled l ON l.id = p.key::int WHERE l.y IS NOT NULL ORDER BY l.id",
    )


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("by_threshold", [False, True])
def test_two_classes_are_judged_as_by_scikit_learn(sql: Any, by_threshold: bool, weight: str | None) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    label_things(sql, ("no", "yes"))
    rows = predicted(sql)
    actual = np.array([row[0] == "yes" for row in rows])
    scores = np.array([row[2] for row in rows])
    threshold = float(np.quantile(scores, 0.8)) if by_threshold else None
    guessed = scores >= threshold if by_threshold else np.array([row[1] == "yes" for row in rows])
    weights = np.array([row[4] for row in rows]) if weight else None
    found = evaluated(sql, "m", "labelled", threshold=threshold, weight=weight)
    wanted = {
        "auc": reference.roc_auc_score(actual, scores, sample_weight=weights),
        "average_precision": reference.average_precision_score(actual, scores, sample_weight=weights),
        "log_loss": reference.log_loss(actual, scores, sample_weight=weights),
        "brier": reference.brier_score_loss(actual, scores, sample_weight=weights),
        "calibration_error": calibration_error(scores, actual, weights),
        "accuracy": reference.accuracy_score(actual, guessed, sample_weight=weights),
        "balanced_accuracy": reference.balanced_accuracy_score(actual, guessed, sample_weight=weights),
        "precision": reference.precision_score(actual, guessed, sample_weight=weights),
        "recall": reference.recall_score(actual, guessed, sample_weight=weights),
        "f1": reference.f1_score(actual, guessed, sample_weight=weights),
        "mcc": reference.matthews_corrcoef(actual, guessed, sample_weight=weights),
        "base_rate": np.average(actual, weights=weights),
    }
    assert list(found) == list(wanted)
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    counted = query(sql, "SELECT DISTINCT rows FROM trails.evaluate('m', 'labelled')")
    assert counted == [(len(rows),)], "rows without a target are left out"
    assert any("have no target and were left out" in notice for notice in sql.notices)


@pytest.mark.parametrize("weight", [None, "w"])
def test_several_classes_are_judged_as_by_scikit_learn(sql: Any, weight: str | None) -> None:
    classes = ("one", "zwei", "三")
    store(sql, "m", make_model(columns_of(TRAINED), "multiclass", seed=2))
    label_things(sql, classes)
    rows = predicted(sql)
    actual, guessed = [row[0] for row in rows], [row[1] for row in rows]
    assert set(guessed) == set(classes), "a class that is never predicted has no precision, and scikit-learn says 0"
    shares = np.array([row[3] for row in rows])
    weights = np.array([row[4] for row in rows]) if weight else None
    found = evaluated(sql, "m", "labelled", weight=weight)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(actual, guessed, sample_weight=weights))
    assert found["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(actual, guessed, sample_weight=weights)
    )
    places = np.array([classes.index(label) for label in actual])
    assert found["log_loss"] == pytest.approx(
        reference.log_loss(places, shares / shares.sum(1, keepdims=True), sample_weight=weights), rel=1e-6
    )
    top = shares.max(1)
    assert found["calibration_error"] == pytest.approx(calibration_error(top, shares.argmax(1) == places, weights))
    of_each = []
    for place, label in enumerate(classes):
        auc = reference.roc_auc_score(places == place, shares[:, place], sample_weight=weights)
        of_each.append(auc)
        assert found["auc", label] == pytest.approx(auc, rel=1e-9)
        is_, said = places == place, np.array(guessed) == label
        for metric, function in (
            ("precision", reference.precision_score), ("recall", reference.recall_score), ("f1", reference.f1_score)
        ):  # fmt: skip
            assert found[metric, label] == pytest.approx(function(is_, said, sample_weight=weights)), (metric, label)
    assert found["auc"] == pytest.approx(np.mean(of_each))
    ((counted,),) = query(sql, "SELECT rows FROM trails.evaluate('m', 'labelled') WHERE metric = 'f1' AND class = '三'")
    assert counted == actual.count("三")


@pytest.mark.parametrize("rows", [700, 701])
@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("kind", ["integer", "real", "double precision", "numeric"])
def test_numbers_are_judged_as_by_scikit_learn(sql: Any, weight: str | None, kind: str, rows: int) -> None:
    store(sql, "m", make_model(columns_of(TRAINED), "regression"))
    query(
        sql,
        f"CREATE TABLE labelled AS SELECT *, (CASE WHEN id % 9 > 0 THEN 1 + (id * 7919) % 101 END)::{kind} AS y, "
        f"(id % 4)::smallint AS w FROM things LIMIT {rows - 1}",
    )
    found_rows = query(
        sql,
        "SELECT y::float8, trails.predict_score('m', l), w FROM labelled l WHERE y IS NOT NULL",
    )
    actual, scores, weights = (np.array(column, np.float64) for column in zip(*found_rows, strict=True))
    given = weights if weight else None
    found = evaluated(sql, "m", "labelled", weight=weight)
    errors = np.repeat(np.abs(actual - scores), weights.astype(int) if weight else 1)
    wanted = {
        "r2": reference.r2_score(actual, scores, sample_weight=given),
        "rmse": math.sqrt(reference.mean_squared_error(actual, scores, sample_weight=given)),
        "mae": reference.mean_absolute_error(actual, scores, sample_weight=given),
        "median_ae": float(np.median(errors)),
        "mape": reference.mean_absolute_percentage_error(actual, scores, sample_weight=given),
    }
    assert list(found) == list(wanted)
    assert found == pytest.approx(wanted, rel=1e-9)


def test_equal_scores_count_half_and_one_class_has_no_area(small: Any) -> None:
    rows = query(small, "SELECT y = 'yes', trails.predict_score('m', s) FROM small s")
    assert len({score for _, score in rows}) == 5
    found = evaluated(small, "m", "small")
    assert found["auc"] == pytest.approx(reference.roc_auc_score(*zip(*rows, strict=True)), rel=1e-12)
    query(small, "CREATE VIEW positive AS SELECT * FROM small WHERE y = 'yes'")
    found = evaluated(small, "m", "positive")
    assert found["auc"] is None and found["balanced_accuracy"] is None
    assert found["base_rate"] == 1.0 and found["average_precision"] == 1.0
    assert refused(small, "SELECT * FROM trails.threshold_curve('m', 'positive')").sqlstate == "22000"
    error = refused(small, "SELECT * FROM trails.best_threshold('m', 'positive')")
    assert error.sqlstate == "22000" and "one class" in error.message_primary and error.message_hint


def test_the_calibration_error_of_few_different_scores_is_that_of_each(small: Any) -> None:
    """Of a fifth of the rows each has three bins to itself: with bins of equal width some would have been one."""
    rows = query(small, "SELECT trails.predict_score('m', s), y = 'yes' FROM small s")
    wanted = 0.0
    for level in {score for score, _ in rows}:
        happened = [yes for score, yes in rows if score == level]
        wanted += abs(level - sum(happened) / len(happened)) * len(happened) / len(rows)
    assert evaluated(small, "m", "small")["calibration_error"] == pytest.approx(wanted, rel=1e-9)
    query(small, "CREATE VIEW sure AS SELECT * FROM small WHERE y = 'yes'")
    ((short,),) = query(small, "SELECT 1 - avg(trails.predict_score('m', s)) FROM sure s")
    assert evaluated(small, "m", "sure")["calibration_error"] == pytest.approx(short)
    importance = "SELECT count(*) FROM trails.feature_importance('m', 'small', metric => 'calibration_error')"
    assert query(small, importance) == [(1,)]


def test_many_rows_are_ranked_exactly(small: Any) -> None:
    """More rows than are sorted at once, with and without equal scores."""
    keys = np.arange(60_000, dtype=np.int32)
    store(small, "wide", make_model(Columns(len(keys), (Column("a", "int32", keys),)), widths=(8,)))
    query(
        small,
        "CREATE TABLE many AS SELECT i % 60000 AS a, "
        "CASE WHEN i * 7919::bigint % 17 < 3 + i % 7 THEN 'yes' ELSE 'no' END AS y"
        " FROM generate_series(1, 300000) i",
    )
    rows = query(small, "SELECT m.y = 'yes', p.score FROM (SELECT row_number() OVER ()::text AS key, y FROM many) m "
                        "JOIN trails.predict('wide', 'many') p USING (key)")  # fmt: skip
    actual, scores = (np.array(column) for column in zip(*rows, strict=True))
    found = evaluated(small, "wide", "many")
    assert found["calibration_error"] == pytest.approx(calibration_error(scores, actual), rel=1e-9)
    assert found["auc"] == pytest.approx(reference.roc_auc_score(actual, scores), rel=1e-10)
    assert found["average_precision"] == pytest.approx(reference.average_precision_score(actual, scores), rel=1e-10)
    ((threshold, value),) = query(
        small, "SELECT threshold, value FROM trails.best_threshold('wide', 'many', metric => 'mcc')"
    )
    assert value == pytest.approx(reference.matthews_corrcoef(actual, scores >= threshold), rel=1e-9)


def test_a_confusion_matrix_has_every_pair(small: Any) -> None:
    guessed = query(small, "SELECT y, trails.predict('m', s) FROM small s")
    cells = query(small, "SELECT actual, predicted, rows, share FROM trails.confusion_matrix('m', 'small')")
    assert [cell[:2] for cell in cells] == [("no", "no"), ("no", "yes"), ("yes", "no"), ("yes", "yes")]
    for actual, said, rows, share in cells:
        assert rows == guessed.count((actual, said))
        assert share == pytest.approx(rows / sum(label == actual for label, _ in guessed))
    everything = query(small, "SELECT predicted, sum(rows) FROM trails.confusion_matrix('m', 'small', threshold => 0) "
                              "GROUP BY 1 ORDER BY 1")  # fmt: skip
    assert everything == [("no", 0), ("yes", 1000)]


def test_a_threshold_curve_is_what_each_threshold_comes_to(small: Any) -> None:
    rows = query(small, "SELECT y = 'yes', trails.predict_score('m', s) FROM small s")
    actual, scores = (np.array(column) for column in zip(*rows, strict=True))
    curve = query(small, "SELECT * FROM trails.threshold_curve('m', 'small', points => NULL)")
    assert [row[0] for row in curve] == sorted(set(scores.tolist()), reverse=True)
    for threshold, recall, precision, rate, f1, tp, fp, tn, fn in curve:
        said = scores >= threshold
        assert (tp, fp) == (np.sum(said & actual), np.sum(said & ~actual))
        assert (tn, fn) == (np.sum(~said & ~actual), np.sum(~said & actual))
        assert recall == pytest.approx(reference.recall_score(actual, said))
        assert precision == pytest.approx(reference.precision_score(actual, said))
        assert rate == pytest.approx(fp / (fp + tn))
        assert f1 == pytest.approx(reference.f1_score(actual, said))
        cells = "SELECT actual || predicted, rows FROM trails.confusion_matrix('m', 'small', threshold => %s)"
        matrix = dict(query(small, cells, threshold))
        assert matrix == {"yesyes": tp, "noyes": fp, "nono": tn, "yesno": fn}
    thinned = query(small, "SELECT threshold FROM trails.threshold_curve('m', 'small', points => 2)")
    assert thinned == [(curve[0][0],), (curve[-1][0],)]
    assert refused(small, "SELECT * FROM trails.threshold_curve('m', 'small', points => 1)").sqlstate == "22023"


@pytest.mark.parametrize("metric", ["f1", "accuracy", "balanced_accuracy", "mcc"])
def test_no_threshold_is_better_than_the_best(small: Any, metric: str) -> None:
    rows = query(small, "SELECT y = 'yes', trails.predict_score('m', s) FROM small s")
    actual, scores = (np.array(column) for column in zip(*rows, strict=True))
    score_of = {
        "f1": reference.f1_score, "accuracy": reference.accuracy_score,
        "balanced_accuracy": reference.balanced_accuracy_score, "mcc": reference.matthews_corrcoef,
    }[metric]  # fmt: skip
    ((threshold, value, recall),) = query(
        small, "SELECT threshold, value, recall FROM trails.best_threshold('m', 'small', metric => %s)", metric
    )
    every = [score_of(actual, scores >= score) for score in sorted(set(scores.tolist()))]
    assert value == pytest.approx(max(every)) == pytest.approx(score_of(actual, scores >= threshold))
    assert recall == pytest.approx(reference.recall_score(actual, scores >= threshold))
    assert evaluated(small, "m", "small", threshold=threshold)[metric] == pytest.approx(value)


def test_a_deployed_threshold_stays_with_its_version(small: Any) -> None:
    store(small, "m", make_model(SMALL, seed=3), version=2, source="public.small")
    scores = [score for (score,) in query(small, "SELECT trails.predict_score('m@1', s) FROM small s ORDER BY id")]
    threshold = sorted(set(scores))[3]
    plain = query(small, "SELECT trails.predict('m@2', s) FROM small s ORDER BY id")
    query(small, "SELECT trails.deploy('m@1', threshold => %s)", threshold)
    wanted = [("yes" if score >= threshold else "no",) for score in scores]
    single = "SELECT trails.predict('m', s) FROM small s ORDER BY id"
    whole = "SELECT prediction FROM trails.predict('m', 'small') ORDER BY key::int"
    for statement in (single, whole):
        assert query(small, statement) == wanted
    assert evaluated(small, "m", "small") == evaluated(small, "m", "small", threshold=threshold)
    assert query(small, "SELECT score FROM trails.predict('m', 'small') ORDER BY key::int") == [(s,) for s in scores]
    query(small, "SELECT trails.deploy('m@2')")
    assert query(small, single) == plain
    query(small, "SELECT trails.rollback('m')")
    assert query(small, single) == wanted
    assert query(small, "SELECT version, threshold FROM trails.models ORDER BY version") == [(1, threshold), (2, None)]
    query(small, "SELECT trails.deploy('m@1')")
    assert query(small, whole) == wanted, "deployed again without one it keeps it"
    query(small, "SELECT trails.deploy('m@1', threshold => t.threshold) FROM trails.best_threshold('m', 'small') t")
    ((best,),) = query(small, "SELECT threshold FROM trails.best_threshold('m', 'small')")
    assert query(small, "SELECT threshold FROM trails.models WHERE version = 1") == [(best,)]


@pytest.mark.parametrize("threshold", ["-0.1", "1.5", "NaN", "Infinity"])
def test_a_threshold_is_a_probability(small: Any, threshold: str) -> None:
    for statement in (
        "SELECT trails.deploy('m', threshold => %s)",
        "SELECT * FROM trails.evaluate('m', 'small', threshold => %s)",
        "SELECT * FROM trails.confusion_matrix('m', 'small', threshold => %s)",
    ):
        error = refused(small, statement, threshold)
        assert error.sqlstate == "22023" and "0 to 1" in error.message_primary and error.message_hint
    assert query(small, "SELECT state, threshold FROM trails.models") == [("candidate", None)]


def test_what_a_task_has_not_is_refused(small: Any) -> None:
    query(
        small,
        "CREATE TABLE numbers AS SELECT id, a, id::float8 AS y FROM small; "
        "CREATE TABLE three AS SELECT a, 'one' AS y FROM small",
    )
    store(small, "number", make_model(SMALL, "regression"))
    store(small, "several", make_model(SMALL, "multiclass"))
    error = refused(small, "SELECT * FROM trails.confusion_matrix('number', 'numbers')")
    assert (
        error.sqlstate == "22023" and "confusion matrix" in error.message_primary and "evaluate" in error.message_hint
    )
    for model, table in (("number", "numbers"), ("several", "three")):
        for function in ("threshold_curve", "best_threshold"):
            error = refused(small, f"SELECT * FROM trails.{function}(%s, %s)", model, table)
            assert error.sqlstate == "22023" and error.message_hint, (model, function)
        error = refused(small, "SELECT * FROM trails.evaluate(%s, %s, threshold => 0.5)", model, table)
        assert error.sqlstate == "22023" and "two classes" in error.message_primary
        assert refused(small, "SELECT trails.deploy(%s, threshold => 0.5)", model).sqlstate == "22023"
    error = refused(small, "SELECT * FROM trails.best_threshold('m', 'small', metric => 'auc')")
    assert error.sqlstate == "22023" and "balanced_accuracy" in error.message_hint


def test_bad_sources_are_told_apart(small: Any) -> None:
    query(small, "CREATE VIEW unlabelled AS SELECT id, a FROM small; CREATE VIEW lacking AS SELECT id, y FROM small")
    missing = refused(small, "SELECT * FROM trails.evaluate('m', 'unlabelled')")
    assert missing.sqlstate == "42703" and '"y"' in missing.message_primary and "target =>" in missing.message_hint
    lacking = refused(small, "SELECT * FROM trails.evaluate('m', 'lacking')")
    assert lacking.sqlstate == "42703" and '"a"' in lacking.message_primary
    query(small, "CREATE VIEW other AS SELECT id, a, CASE WHEN id = 700 THEN 'maybe' ELSE y END AS y FROM small")
    other = refused(small, "SELECT * FROM trails.evaluate('m', 'other')")
    assert other.sqlstate == "22000" and '"maybe"' in other.message_primary and "Row 700" in other.message_detail
    assert '"no", "yes"' in other.message_detail and other.message_hint
    query(small, "CREATE VIEW numbers AS SELECT id, a, id AS y FROM small")
    assert refused(small, "SELECT * FROM trails.evaluate('m', 'numbers')").sqlstate == "42804"
    query(small, "CREATE VIEW nobody AS SELECT * FROM small WHERE false")
    empty = refused(small, "SELECT * FROM trails.evaluate('m', 'nobody')")
    assert empty.sqlstate == "22000" and "no row" in empty.message_primary
    query(small, "CREATE VIEW future AS SELECT id, a, NULL::text AS y FROM small")
    future = refused(small, "SELECT * FROM trails.evaluate('m', 'future')")
    assert future.sqlstate == "22000" and "none of the 1000 rows" in future.message_primary
    query(small, "CREATE VIEW heavy AS SELECT *, -id AS negative, y AS words FROM small")
    assert refused(small, "SELECT * FROM trails.evaluate('m', 'heavy', weight => 'negative')").sqlstate == "22000"
    assert refused(small, "SELECT * FROM trails.evaluate('m', 'heavy', weight => 'words')").sqlstate == "42804"
    assert refused(small, "SELECT * FROM trails.evaluate('m', 'heavy', weight => 'nothing')").sqlstate == "42703"
    assert refused(small, "SELECT * FROM trails.evaluate('m', NULL)").sqlstate == "22023"
    assert refused(small, "SELECT * FROM trails.evaluate('nobody', 'small')").sqlstate == "42704"
    assert refused(small, "SELECT * FROM trails.evaluate(NULL, 'small')").sqlstate == "42704"


@pytest.mark.parametrize(
    ("kind", "classes", "value"),
    [
        ("boolean", ("false", "true"), "i % 3 = 0"),
        ("integer", ("0", "7"), "CASE WHEN i % 3 = 0 THEN 7 ELSE 0 END"),
        ("double precision", ("0.1", "3"), "CASE WHEN i % 3 = 0 THEN 3 ELSE 0.1 END::float8"),
        ("real", ("0.1", "3"), "CASE WHEN i % 3 = 0 THEN 3 ELSE 0.1 END::real"),
        ("text", ("no", "x" * 200), "CASE WHEN i % 3 = 0 THEN repeat('x', 300) || i ELSE 'no' END"),
    ],
)
def test_targets_of_every_kind(small: Any, kind: str, classes: tuple[str, str], value: str) -> None:
    model = make_model(SMALL, classes=classes)
    family = {"real": "number", "double precision": "number"}.get(kind, kind)
    model = replace(model, target=replace(model.target, kind=family))
    store(small, "odd", model)
    query(small, f'CREATE TABLE odd (a int, "Das ""Ziel""" {kind})')
    query(small, f"INSERT INTO odd SELECT i % 5, {value} FROM generate_series(1, 90) i")
    found = evaluated(small, "odd", "odd", target='Das "Ziel"')
    assert found["base_rate"] == pytest.approx(1 / 3)
    positive = query(small, "SELECT count(*) FROM trails.predict('odd', 'odd') WHERE prediction = %s", classes[1])
    matrix = "SELECT sum(rows) FROM trails.confusion_matrix('odd', 'odd', 'Das \"Ziel\"') WHERE predicted = %s"
    assert query(small, matrix, classes[1]) == positive


def test_the_deployed_model_of_a_table_is_meant_by_null(small: Any) -> None:
    query(small, "SELECT trails.deploy('m')")
    assert evaluated(small, None, "small") == evaluated(small, "m", "small")
    assert evaluated(small, None, "small", "y") == evaluated(small, "m", "small")


def test_rights_and_row_security_are_the_callers(small: Any, connect: Callable[..., Any]) -> None:
    alice, stranger = connect(role="alice"), connect(role="stranger")
    query(small, "GRANT trails_user TO alice")
    statement = "SELECT DISTINCT rows FROM trails.evaluate('postgres/m', 'small')"
    assert refused(stranger, statement).sqlstate == "42501"
    assert refused(alice, statement).sqlstate == "42704"
    query(small, "SELECT trails.grant_model('m', 'alice')")
    assert refused(alice, statement).sqlstate == "42501"
    query(small, "GRANT SELECT (id, a) ON small TO alice")
    assert refused(alice, statement).sqlstate == "42501", "the target is a column like others"
    query(small, "GRANT SELECT ON small TO alice; ALTER TABLE small ENABLE ROW LEVEL SECURITY")
    query(small, "CREATE POLICY even ON small USING (id % 2 = 0)")
    assert query(alice, statement) == [(500,)]
    assert query(small, statement) == [(1000,)]
    assert refused(alice, "SELECT trails.deploy('postgres/m', threshold => 0.5)").sqlstate == "42501"


def test_no_interpreter_and_no_right_to_write_are_needed(small: Any, connect: Callable[..., Any]) -> None:
    fresh = connect()
    query(fresh, "SET trails.virtualenv = ''; SET default_transaction_read_only = on")
    assert len(query(fresh, "SELECT * FROM trails.evaluate('m', 'small')")) == 12
    query(fresh, "SELECT * FROM trails.threshold_curve('m', 'small')")
    query(fresh, "SELECT * FROM trails.best_threshold('m', 'small')")
    query(fresh, "SELECT * FROM trails.confusion_matrix('m', 'small')")
    assert refused(fresh, "SELECT trails.deploy('m', threshold => 0.5)").sqlstate == "25006"
    ((backend,),) = query(fresh, "SELECT pg_backend_pid()")
    mapped = Path(f"/proc/{backend}/maps").read_text()
    assert "trails.so" in mapped and "numpy" not in mapped


def test_a_standby_judges_and_explains(pg: Server, cluster: Path) -> None:
    with temporary_server(pg.pg_config, copy_data_from=cluster) as server:
        with contextlib.closing(psycopg2.connect(**server.socket_parameters())) as connection:
            connection.autocommit = True
            store(connection, "m", make_model(SMALL), source="public.small")
            query(
                connection,
                "CREATE TABLE small AS SELECT i % 5 AS a, CASE WHEN i % 3 = 0 THEN 'yes' ELSE 'no' END AS y "
                "FROM generate_series(1, 100) i",
            )
        server.terminate()
        # Without anything to follow it waits for ever, and answers meanwhile.
        (server.data_dir / "standby.signal").touch()
        server.start()
        with contextlib.closing(psycopg2.connect(**server.socket_parameters())) as connection:
            connection.autocommit = True
            assert query(connection, "SELECT pg_is_in_recovery()") == [(True,)]
            assert evaluated(connection, "m", "small")["base_rate"] == pytest.approx(0.33)
            for call in (
                "confusion_matrix('m', 'small')",
                "threshold_curve('m', 'small')",
                "best_threshold('m', 'small')",
                "feature_importance('m', 'small')",
                "explain('m', 'small', keys => '{1}')",
                "partial_dependence('m', 'small', 'a')",
            ):
                assert query(connection, f"SELECT * FROM trails.{call}"), call
            assert refused(connection, "SELECT trails.deploy('m', threshold => 0.5)").sqlstate == "25006"


def test_scores_that_do_not_fit_are_an_error(small: Any) -> None:
    query(small, "SET trails.reading_memory_limit = '1MB'")
    query(small, "CREATE VIEW endless AS SELECT i % 5 AS a, CASE WHEN i % 3 = 0 THEN 'yes' ELSE 'no' END AS y "
                 "FROM generate_series(1, 400000) i")  # fmt: skip
    error = refused(small, "SELECT * FROM trails.evaluate('m', 'endless')")
    assert error.sqlstate == "53200" and "trails.reading_memory_limit" in error.message_primary
    assert len(query(small, "SELECT * FROM trails.confusion_matrix('m', 'endless')")) == 4, "counts need none"


def test_judging_can_be_cancelled(small: Any) -> None:
    query(small, "CREATE VIEW endless AS SELECT i % 5 AS a, CASE WHEN i % 3 = 0 THEN 'yes' ELSE 'no' END AS y "
                 "FROM generate_series(1, 50000000) i")  # fmt: skip
    query(small, "SET statement_timeout = '400ms'")
    for function in ("evaluate", "confusion_matrix", "threshold_curve", "best_threshold"):
        assert refused(small, f"SELECT * FROM trails.{function}('m', 'endless')").sqlstate == "57014"
    query(small, "SET statement_timeout = 0")
    assert evaluated(small, "m", "small")["base_rate"] is not None
