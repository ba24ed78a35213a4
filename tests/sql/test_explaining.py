"""Explaining in the server: additive models are taken apart exactly, any model's contributions add up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from numpy.typing import NDArray

from tests.sql.predicted import KINDS, columns_of, make_model, make_things, store, things, torch_embedded
from tests.sql.tables import query
from trails.model.store import Model
from trails.table.columns import Column, Columns
from trails.table.target import Task

TRAINED = things(300)
ROWS = things(60, seed=2, first=1001)
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


@pytest.fixture
def sql(connect: Callable[..., Any]) -> Any:
    """A superuser's session with the table `things`."""
    connection = connect()
    make_things(connection, ROWS)
    return connection


def refused(connection: Any, statement: str, *parameters: Any) -> Any:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement, *parameters)
    return caught.value.diag


def additive_parts(model: Model, columns: Columns) -> dict[str, NDArray[np.float64]]:
    """What each column of a model without hidden layers adds to the score, float64 (rows,) by name."""
    embedded = torch_embedded(model, columns).double().numpy()
    weight = model.operations[0].weight.reshape(embedded.shape[1], embedded.shape[2])  # type: ignore[union-attr]
    of_fields = np.einsum("rfe,fe->rf", embedded, weight.astype(np.float64)) * model.target.std
    parts: dict[str, NDArray[np.float64]] = {}
    for place, field in enumerate(model.encoder.parts):
        parts[field.column] = parts.get(field.column, np.zeros(columns.rows)) + of_fields[:, place]
    return parts


def test_an_additive_model_is_taken_apart_exactly(sql: Any) -> None:
    model = make_model(columns_of(TRAINED), "regression", widths=())
    store(sql, "m", model)
    parts = additive_parts(model, columns_of(ROWS))
    keys = [str(row[0]) for row in ROWS]
    found = query(
        sql,
        "SELECT key, feature, contribution, residual FROM trails.explain('m', 'things', top => NULL, samples => 60)",
    )
    assert len(found) == len(ROWS) * len(KINDS)
    for key, feature, contribution, residual in found:
        part = parts[feature]
        assert contribution == pytest.approx(part[keys.index(key)] - part.mean(), abs=1e-4), (key, feature)
        assert abs(residual) < 1e-9


@pytest.mark.parametrize("task", TASKS)
def test_contributions_add_up_to_the_score(sql: Any, task: Task) -> None:
    store(sql, "m", make_model(columns_of(TRAINED), task))
    whole = query(
        sql,
        "SELECT e.key, min(e.score), min(e.baseline), sum(e.contribution), min(e.residual), min(e.prediction), "
        "count(*) "
        "FROM trails.explain('m', 'things', top => NULL, samples => 8) e GROUP BY 1",
    )
    predicted = {
        key: (prediction, score)
        for key, prediction, score in query(sql, "SELECT key, prediction, score FROM trails.predict('m', 'things')")
    }
    assert len(whole) == len(ROWS)
    for key, score, baseline, told, residual, prediction, count in whole:
        assert count == len(KINDS)
        assert (prediction, score) == (predicted[key][0], pytest.approx(predicted[key][1], rel=1e-6))
        assert baseline + told == pytest.approx(score, abs=1e-9) and abs(residual) < 1e-9
    cut = query(
        sql,
        "SELECT count(*), min(score - baseline - residual) - sum(contribution), bool_and(abs(contribution) <= most) "
        "FROM (SELECT *, first_value(abs(contribution)) OVER (PARTITION BY key ORDER BY place) AS most FROM "
        "trails.explain('m', 'things', top => 3, samples => 8) WITH ORDINALITY "
        "e (key, prediction, score, baseline, feature, value, contribution, residual, place)) e GROUP BY key",
    )
    assert len(cut) == len(ROWS)
    for count, left, in_order in cut:
        assert count == 3 and left == pytest.approx(0, abs=1e-9) and in_order


def test_the_baseline_is_the_mean_score_of_the_background(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    query(sql, "CREATE VIEW thirds AS SELECT * FROM things WHERE id % 3 = 0")
    ((mean,),) = query(sql, "SELECT avg(score) FROM trails.predict('m', 'thirds')")
    found = query(
        sql,
        "SELECT DISTINCT key, baseline "
        "FROM trails.explain('m', 'things', background => 'thirds', keys => '{1007,1003}')",
    )
    assert sorted(key for key, _ in found) == ["1003", "1007"]
    assert [baseline for _, baseline in found] == pytest.approx([mean, mean], rel=1e-9)
    by_number = query(sql, "SELECT DISTINCT key FROM trails.explain('m', 'thirds', keys => ARRAY['2', '99'])")
    assert by_number == [("2",)], "without a primary key rows are numbered"


def test_values_are_shown_as_the_server_spells_them(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    names = [name.replace('"', '""') for name in KINDS]
    listed = ", ".join(f'"{name}"::text' for name in names)
    stored = {row[0]: row[1:] for row in query(sql, f"SELECT id::text, {listed} FROM things")}
    for key, feature, value in query(
        sql, "SELECT key, feature, value FROM trails.explain('m', 'things', top => NULL, samples => 2)"
    ):
        assert value == stored[key][list(KINDS).index(feature)], (key, feature)


def test_a_seed_repeats_and_another_differs(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    statement = "SELECT key, feature, contribution FROM trails.explain('m', 'things', samples => 4, seed => %s)"
    first = query(sql, statement, 1)
    assert query(sql, statement, 1) == first != query(sql, statement, 2)


@pytest.fixture
def one_of_ten(connect: Callable[..., Any]) -> Callable[[int], tuple[Any, str]]:
    """A session, and a function that makes a table `t` of ten columns whose label follows from one, and a model."""
    connection = connect()

    def make(seed: int) -> tuple[Any, str]:
        rows = 2000
        random = np.random.default_rng(seed)
        cells = random.integers(0, 4, (rows, 10)).astype(np.int32)
        columns = Columns(rows, tuple(Column(f"c{place}", "int32", cells[:, place]) for place in range(10)))
        model = make_model(columns, widths=(), seed=seed)
        truth = int(random.integers(10))
        embedding = np.zeros_like(model.embedding)
        first = 0
        for place, field in enumerate(model.encoder.parts):
            if place == truth:
                # Categories 0 and 1 for no, 2 and 3 for yes; before them are unknown and NULL.
                embedding[first + 2 : first + 6, 0] = [-3.0, -2.0, 2.0, 3.0]
            first += field.slots
        weight = np.zeros((60, 1), np.float32)
        weight[truth * 6, 0] = 1.0
        target = model.target
        model = Model.of_layers("", target, model.encoder, embedding, ((weight, np.zeros(1, np.float32)),))
        query(connection, "DROP TABLE IF EXISTS t; DELETE FROM trails.models")
        query(connection, f"CREATE TABLE t ({', '.join(f'c{place} int' for place in range(10))}, y text)")
        with connection.cursor() as cursor:
            values = [(*row, "yes" if row[truth] >= 2 else "no") for row in cells.tolist()]
            from psycopg2.extras import execute_values

            execute_values(cursor, "INSERT INTO t VALUES %s", values, page_size=2000)
        store(connection, "m", model, source="public.t")
        return connection, f"c{truth}"

    return make


@pytest.mark.parametrize("seed", range(5))
def test_importance_finds_the_one_column_that_matters(one_of_ten: Callable[[int], tuple[Any, str]], seed: int) -> None:
    connection, truth = one_of_ten(seed)
    rows = query(
        connection,
        "SELECT rank, feature, importance, deviation, repeats, baseline FROM trails.feature_importance('m', 't')",
    )
    assert [row[0] for row in rows] == list(range(1, 11)) and {row[1] for row in rows} == {f"c{n}" for n in range(10)}
    assert rows[0][1] == truth
    assert [row[2] for row in rows[1:]] == [0.0] * 9, "what the model does not look at costs nothing"
    assert all(row[4] == 3 and row[5] == 1.0 for row in rows)
    # Of half and half a shuffle gives half of the rows the other half's answer.
    ((lost, deviation),) = query(
        connection,
        "SELECT importance, deviation FROM trails.feature_importance('m', 't', metric => 'accuracy', repeats => 10) "
        "WHERE rank = 1",
    )
    assert lost == pytest.approx(0.5, abs=0.03) and 0 < deviation < 0.05
    ((loss,),) = query(
        connection, "SELECT importance FROM trails.feature_importance('m', 't', metric => 'log_loss') WHERE rank = 1"
    )
    assert loss > 0.5, "more loss is worse"


def test_importance_is_by_column_and_of_every_task(sql: Any) -> None:
    for task, target, metrics in (
        ("binary", "CASE WHEN id % 2 = 0 THEN 'yes' ELSE 'no' END", ("auc", "f1", "brier")),
        ("multiclass", "(ARRAY['one', 'zwei', '三'])[1 + id % 3]", ("accuracy", "auc", "log_loss")),
        ("regression", "id", ("r2", "rmse", "median_ae")),
    ):
        store(sql, task, make_model(columns_of(TRAINED), task))  # type: ignore[arg-type]
        query(sql, f"DROP VIEW IF EXISTS labelled; CREATE VIEW labelled AS SELECT *, {target} AS y FROM things")
        for metric in metrics:
            rows = query(
                sql,
                "SELECT feature, baseline FROM trails.feature_importance(%s, 'labelled', metric => %s)",
                task,
                metric,
            )
            assert {row[0] for row in rows} == KINDS.keys(), "a date is one column, whatever fields it has"
            wanted = query(
                sql,
                "SELECT value FROM trails.evaluate(%s, 'labelled') WHERE metric = %s AND class IS NULL",
                task,
                metric,
            )
            assert rows[0][1] == pytest.approx(wanted[0][0])


def test_importance_of_a_sample_and_within_a_budget(one_of_ten: Callable[[int], tuple[Any, str]]) -> None:
    connection, truth = one_of_ten(7)
    statement = "SELECT feature, importance FROM trails.feature_importance('m', 't', sample_rows => 200, seed => %s)"
    first = query(connection, statement, 3)
    assert first[0][0] == truth and query(connection, statement, 3) == first != query(connection, statement, 4)
    connection.notices.clear()
    rows = query(
        connection,
        "SELECT repeats, importance FROM trails.feature_importance('m', 't', repeats => 1000000, budget => '0.3 s')",
    )
    assert all(1 <= repeats < 1000000 for repeats, _ in rows)
    assert max(r for r, _ in rows) - min(r for r, _ in rows) <= 1
    assert any("the budget was enough for" in notice for notice in connection.notices)
    rows = query(
        connection,
        "SELECT repeats, importance, deviation FROM trails.feature_importance('m', 't', budget => '1 microsecond')",
    )
    assert rows == [(0, None, None)] * 10


@pytest.mark.parametrize("task", TASKS)
def test_partial_dependence_is_the_mean_with_the_value_everywhere(sql: Any, task: Task) -> None:
    model = make_model(columns_of(TRAINED), task)
    store(sql, "m", model)
    for feature, kind in (
        ("mood", "mood"),
        ("flag", "boolean"),
        ("day", "date"),
        ("ratio", "real"),
        ("published", "text"),
    ):
        points = query(
            sql,
            "SELECT value, class, score, rows FROM trails.partial_dependence('m', 'things', %s, points => 6)",
            feature,
        )
        classes = len(model.target.classes) if task == "multiclass" else 1
        assert 2 * classes <= len(points) <= 6 * classes
        for value, label, score, rows in points:
            place = 1 if label is None else 1 + list(model.target.classes).index(label)
            outcome = (
                "trails.predict_score('m', r)" if label is None else f"(trails.predict_probabilities('m', r))[{place}]"
            )
            columns = ", ".join(
                f"%s::{kind} AS {feature}" if name == feature else '"' + name.replace('"', '""') + '"' for name in KINDS
            )
            ((mean,),) = query(sql, f"SELECT avg({outcome}) FROM (SELECT {columns} FROM things) r", value)
            assert score == pytest.approx(mean, rel=1e-5, abs=1e-6), (feature, value)
            counted = query(sql, f"SELECT count(*) FROM things WHERE {feature} IS NOT DISTINCT FROM %s::{kind}", value)
            assert counted == [(rows,)]
    values = [value for (value,) in query(sql, "SELECT value FROM trails.partial_dependence('m', 'things', 'small')")]
    if task != "multiclass":
        assert values[-1] is None and [int(v) for v in values[:-1]] == sorted(int(v) for v in values[:-1])


def test_bad_arguments_are_told_apart(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    query(
        sql,
        "CREATE VIEW labelled AS SELECT *, 'yes' AS y FROM things; "
        "CREATE VIEW nobody AS SELECT * FROM things WHERE false",
    )
    for statement, state, word in (
        ("feature_importance('m', 'things')", "42703", '"y"'),
        ("feature_importance('m', 'labelled')", "22000", "auc"),
        ("feature_importance('m', 'labelled', metric => 'base_rate')", "22023", "base_rate"),
        ("feature_importance('m', 'labelled', metric => 'r2')", "22023", "r2"),
        ("feature_importance('m', 'labelled', metric => 'accuracy', repeats => 0)", "22023", "repeats"),
        ("feature_importance('m', 'labelled', metric => 'accuracy', sample_rows => 1)", "22023", "sample_rows"),
        ("feature_importance('m', 'labelled', metric => 'accuracy', budget => '0 s')", "22023", "budget"),
        ("feature_importance('m', NULL)", "22023", "source"),
        ("explain('m', 'things', top => 0)", "22023", "top"),
        ("explain('m', 'things', samples => 0)", "22023", "samples"),
        ("explain('m', 'things', keys => ARRAY[NULL])", "22023", "keys"),
        ("explain('m', 'things', background => 'nobody')", "22000", "nobody"),
        ("explain('m', 'nobody')", "22000", "nobody"),
        ("explain('nobody', 'things')", "42704", "nobody"),
        ("partial_dependence('m', 'things', 'nothing')", "42703", "nothing"),
        ("partial_dependence('m', 'things', NULL)", "22023", "feature"),
        ("partial_dependence('m', 'things', 'small', points => 1)", "22023", "points"),
        ("partial_dependence('m', 'nobody', 'small')", "22000", "nobody"),
    ):
        error = refused(sql, f"SELECT * FROM trails.{statement}")
        assert error.sqlstate == state and word in error.message_primary, (statement, error.message_primary)
    assert query(sql, "SELECT * FROM trails.explain('m', 'nobody', background => 'things')") == []


def test_rights_are_the_callers_and_nothing_is_written(sql: Any, connect: Callable[..., Any]) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    query(sql, "CREATE TABLE labelled AS SELECT *, CASE WHEN id % 2 = 0 THEN 'yes' ELSE 'no' END AS y FROM things")
    alice = connect(role="alice")
    query(sql, "GRANT trails_user TO alice; SELECT trails.grant_model('m', 'alice')")
    calls = (
        "feature_importance('postgres/m', 'labelled')",
        "explain('postgres/m', 'labelled', samples => 2)",
        "partial_dependence('postgres/m', 'labelled', 'small')",
    )
    for call in calls:
        assert refused(alice, f"SELECT * FROM trails.{call}").sqlstate == "42501"
    query(sql, "GRANT SELECT ON labelled TO alice; ALTER TABLE labelled ENABLE ROW LEVEL SECURITY")
    query(sql, "CREATE POLICY few ON labelled USING (id % 3 = 0)")
    query(alice, "SET default_transaction_read_only = on")
    for call in calls:
        assert query(alice, f"SELECT * FROM trails.{call}")
    assert query(alice, "SELECT count(DISTINCT key) FROM trails.explain('postgres/m', 'labelled', samples => 2)") == [
        (20,)
    ]
    ((backend,),) = query(alice, "SELECT pg_backend_pid()")
    mapped = Path(f"/proc/{backend}/maps").read_text()
    assert "trails.so" in mapped and "numpy" not in mapped


def test_explaining_can_be_cancelled(sql: Any) -> None:
    keys = np.arange(100, dtype=np.int32)
    columns = Columns(100, (Column("a", "int32", keys), Column("b", "int32", keys)))
    store(sql, "m", make_model(columns, widths=(512, 512)))
    query(
        sql,
        "CREATE VIEW endless AS SELECT i % 100 AS a, i % 7 AS b, CASE WHEN i % 3 = 0 THEN 'yes' ELSE 'no' END AS y "
        "FROM generate_series(1, 3000000) i",
    )
    query(sql, "SET statement_timeout = '500ms'")
    for call in (
        "explain('m', 'endless')",
        "feature_importance('m', 'endless', repeats => 10000, budget => '100 s')",
        "partial_dependence('m', 'endless', 'a', points => 100, sample_rows => 1000000)",
    ):
        assert refused(sql, f"SELECT * FROM trails.{call}").sqlstate == "57014", call


def test_what_does_not_fit_is_an_error(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    query(sql, "CREATE VIEW many AS SELECT * FROM things, generate_series(1, 200)")
    query(sql, "SET trails.reading_memory_limit = '1MB'")
    error = refused(sql, "SELECT * FROM trails.explain('m', 'many', samples => 1, top => NULL)")
    assert error.sqlstate == "53200" and "trails.reading_memory_limit" in error.message_primary
