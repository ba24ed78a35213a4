"""The statement as its users write it: what comes back, what is recorded, and what is refused."""

from __future__ import annotations

import itertools
import re
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import children, make_table, query, wait_until
from tests.timing import crowding, within

RUN = "SELECT * FROM trails.model_selection('train', 'label', budget => '40 s', validation => 'valid', k => 3, u => 1)"


def test_returns_a_leaderboard_that_the_catalogue_explains(session: Any) -> None:
    rows = query(session, RUN)
    assert [row[0] for row in rows] == [1, 2, 3]
    aucs = [row[3] for row in rows]
    assert aucs == sorted(aucs, reverse=True)
    assert aucs[0] > 0.9, "two of the features decide the label"
    assert all(row[4] >= 1 and row[5] > 0 and row[6] > 0 for row in rows)

    (run,) = query(
        session,
        "SELECT run_id, source, target, validation, features, left_out, n, k, u, train_rows, validation_rows, "
        "unusable_rows, state, total_seconds, extract(epoch FROM budget), owner FROM trails.runs",
    )
    assert run[1:4] == ("public.train", "label", "public.valid")
    assert run[4] == ["colour", "shape", "noise"] and run[5] == {}
    assert run[6:12] == (160_000, 3, 1, 3000, 1000, 0)
    assert run[12] == "complete" and 0 < run[13] <= 42 and run[14] == 40 and run[15] == "postgres"
    candidates = query(
        session, "SELECT architecture, score, validation_metric, rank FROM trails.candidates ORDER BY rank"
    )
    assert [(c[0], c[1], c[2]) for c in candidates] == [(r[1], r[2], r[3]) for r in rows]
    best_epochs = dict(query(session, "SELECT architecture, max(validation_metric) FROM trails.trials GROUP BY 1"))
    assert best_epochs[rows[0][1]] == pytest.approx(aucs[0])
    first_rung = query(session, "SELECT count(*) FROM trails.trials WHERE rung = 0 AND epoch = 1")
    assert first_rung == [(3,)]


def test_same_seed_and_plan_give_the_same_result(session: Any) -> None:
    first, second = (query(session, RUN + " ORDER BY rank") for _ in range(2))
    assert [row[:6] for row in first] == [row[:6] for row in second]


def test_tells_its_phases_as_notices(session: Any) -> None:
    session.notices.clear()
    query(session, RUN)
    told = "".join(session.notices)
    for phrase in (
        "reading public.train",
        "160000 architectures scored",
        "plan: n = 160000, k = 3",
        "rung 0: 3",
    ):
        assert phrase in told
    session.notices.clear()
    query(session, "SET trails.progress = 'off'")
    query(session, RUN)
    assert not session.notices


def test_reads_views_text_booleans_and_nulls(session: Any) -> None:
    query(
        session,
        """
        CREATE TYPE pg_temp.unused AS ENUM ('a');
        CREATE VIEW "Odd ""view"" für 数据" AS
        SELECT label = 1 AS "Ziel Größe", (colour || ':1')::text AS col1, (shape || ':0.5')::varchar AS col2,
               CASE WHEN noise > 50 THEN NULL ELSE noise END AS "Noise, mit NULL", noise > 50 AS flag
        FROM train;
        """,
    )
    rows = query(
        session,
        'SELECT * FROM trails.model_selection($$"Odd ""view"" für 数据"$$, \'Ziel Größe\', \'40 s\', k => 2, u => 1)',
    )
    assert len(rows) == 2 and rows[0][3] > 0.9
    (run,) = query(session, "SELECT source, target, features, validation_rows FROM trails.runs")
    assert run[0] == 'public."Odd ""view"" für 数据"' and run[1] == "Ziel Größe"
    assert run[2] == ["col1", "col2", "Noise, mit NULL", "flag"]
    assert run[3] is None, "held out of the training rows"


def test_a_model_is_kept_though_no_text_is_frequent_enough_to_be_told_apart(session: Any) -> None:
    query(session, "CREATE TABLE m1 (a text, b int, y bool)")
    query(session, "INSERT INTO m1 SELECT 't' || i % 5, i % 2, i % 2 = 0 FROM generate_series(1, 10) i")
    rows = query(
        session,
        "SELECT rank, model FROM trails.model_selection('m1', 'y', budget => '40 s', k => 1, u => 1, name => 'm1')",
    )
    assert rows == [(1, "m1@1")]
    ((predicted,),) = query(session, "SELECT count(prediction) FROM trails.predict('m1', 'm1')")
    assert predicted == 10
    blob = bytes(query(session, "SELECT trails.export_model('m1')")[0][0])
    query(session, "SELECT trails.import_model('again', %s)", blob)
    assert query(session, "SELECT count(prediction) FROM trails.predict('again', 'm1')") == [(10,)]


def test_reads_partitioned_tables_and_named_features(session: Any) -> None:
    query(
        session,
        """
        CREATE TABLE parts (LIKE train) PARTITION BY RANGE (id);
        CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (MINVALUE) TO (1000);
        CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (1000) TO (MAXVALUE);
        INSERT INTO parts SELECT * FROM train;
        """,
    )
    query(
        session,
        "SELECT * FROM trails.model_selection('parts', 'label', '40 s', features => '{shape,colour}', k => 1, u => 1)",
    )
    assert query(session, "SELECT features, train_rows FROM trails.runs") == [(["shape", "colour"], 3000)]


def test_rows_without_a_target_are_counted_and_reported(session: Any) -> None:
    query(session, "UPDATE train SET label = NULL WHERE id <= 25")
    session.notices.clear()
    query(session, RUN)
    assert any("25 rows have no target" in notice for notice in session.notices)
    assert query(session, "SELECT train_rows, unusable_rows FROM trails.runs") == [(2975, 25)]


def test_features_that_cannot_help_are_left_out_and_named(session: Any) -> None:
    query(session, "CREATE VIEW wide AS SELECT label, colour, shape, 7 AS constant, id AS key FROM train")
    query(session, "SELECT * FROM trails.model_selection('wide', 'label', '40 s', k => 1, u => 1)")
    ((features, left_out),) = query(session, "SELECT features, left_out FROM trails.runs")
    assert features == ["colour", "shape"]
    assert set(left_out) == {"constant", "key"}


@pytest.mark.parametrize(
    ("statement", "sqlstate", "words"),
    [
        ("model_selection('nowhere', 'label')", "42P01", ["nowhere"]),
        ("model_selection('train', 'nothing')", "42703", ["nothing", "colour"]),
        ("model_selection('train', 'label', features => '{colour,nothing}')", "42703", ["nothing"]),
        (
            "model_selection('train', 'label', features => '{colour,label}')",
            "22023",
            ["target", "among the features"],
        ),
        ("model_selection('train', 'label', features => '{colour,colour}')", "22023", ["twice"]),
        ("model_selection('train', 'label', features => '{}')", "22023", ["no column"]),
        ("model_selection('empty', 'label')", "22000", ["empty"]),
        ("model_selection('nulls', 'label')", "22000", ["no row with a target", "NULL in all"]),
        ("model_selection('one_row', 'label')", "22000", ["too few"]),
        ("model_selection('one_class', 'label')", "22000", ["one class"]),
        ("model_selection('train', 'noise', task => 'binary')", "22000", ["noise", "101 different values", "compares"]),
        ("model_selection('train', 'label', task => 'ranking')", "22023", ["ranking", "regression"]),
        ("model_selection('train', 'label', name => 'm@3')", "22023", ["m@3", "version"]),
        ("model_selection('train', 'label', name => '')", "22023", ["1 to 200"]),
        ("model_selection('train', 'label', split => 'nothing')", "42703", ["nothing"]),
        ("model_selection('train', 'label', split => 'label')", "22023", ["target"]),
        (
            "model_selection('train', 'label', split => 'noise', validation => 'valid')",
            "22023",
            ["split", "validation"],
        ),
        ("model_selection('train', 'label', split => 'noise')", "22023", ["noise", "train, valid or test"]),
        ("model_selection('train', 'label', options => '{\"numbers\": [\"none\"]}')", "22023", ["none"]),
        ("model_selection('train', 'label', validation => 'one_class')", "22000", ["one"]),
        ("model_selection('train', 'label', validation => 'empty')", "22000", ["empty"]),
        ("model_selection('arrays', 'label', features => '{list}')", "0A000", ["list", "smallint[]", "features =>"]),
        ("model_selection('documents', 'label', features => '{document}')", "0A000", ["document", "jsonb", "view"]),
        ("model_selection('train', 'label', budget => '-5 s')", "53400", ["-5", "too small"]),
        ("model_selection('train', 'label', budget => '0')", "53400", ["too small"]),
        ("model_selection('train', 'label', budget => NULL)", "22023", ["budget", "NULL"]),
        ("model_selection(NULL, 'label')", "22023", ["source", "NULL"]),
        ("model_selection('train', 'label', validation => 'narrow')", "42703", ["shape", "validation"]),
        (
            "model_selection('train', 'label', validation => 'retyped')",
            "42804",
            ["colour", "text", "integer"],
        ),
        ("model_selection('train', 'label', k => 160001)", "22023", ["160001", "160000"]),
        ("model_selection('train', 'label', k => 0)", "22023", ["k must be at least 1"]),
        ("model_selection('train', 'label', u => 0)", "22023", ["u ", "at least 1"]),
        ("model_selection('train', 'label', space => 'cnn')", "22023", ["cnn", "mlp"]),
        ("model_selection('train', 'label', tfmem => 'magic')", "22023", ["magic", "expressflow"]),
        ("model_selection('train_pkey', 'label')", "42809", ["train_pkey", "not a table"]),
    ],
)
def test_bad_input_gets_a_clear_error_and_changes_nothing(
    session: Any, statement: str, sqlstate: str, words: list[str]
) -> None:
    query(
        session,
        """
        CREATE TABLE empty (LIKE train);
        CREATE VIEW nulls AS SELECT NULL::int AS label, colour FROM train;
        CREATE VIEW one_row AS SELECT * FROM train LIMIT 1;
        CREATE VIEW one_class AS SELECT id, 1 AS label, colour, shape, noise FROM train;
        CREATE VIEW arrays AS SELECT label, colour, ARRAY[noise] AS list FROM train;
        CREATE VIEW documents AS SELECT label, colour, to_jsonb(noise) AS document FROM train;
        CREATE VIEW narrow AS SELECT label, colour, noise FROM valid;
        CREATE VIEW retyped AS SELECT label, colour || ':1' AS colour, shape, noise FROM valid;
        """,
    )
    with pytest.raises(psycopg2.Error) as caught:
        query(session, f"SELECT * FROM trails.{statement}")
    diagnostics = caught.value.diag
    assert diagnostics.sqlstate == sqlstate
    told = " ".join(filter(None, [diagnostics.message_primary, diagnostics.message_detail, diagnostics.message_hint]))
    for word in words:
        assert word in told
    assert query(session, "SELECT count(*) FROM trails.runs") == [(0,)]
    wait_until(lambda: not children(session.info.backend_pid), 5)


def in_time(session: Any, statement: str, budget: float) -> tuple[int, list[tuple[Any, ...]]]:
    """How often the budget was too small, and the rows that came within the last one that was named.

    The first works, unless the machine gets busier in between.
    """
    for refusals in itertools.count():
        try:
            return refusals, query(session, statement, f"{budget} s")
        except psycopg2.Error as error:
            hint = error.diag.message_hint or ""
            found = re.search(r"(?:about |')([0-9.]+) s", hint)
            assert error.pgcode == "53400" and found and float(found[1]) > budget, hint
            assert refusals < round(crowding()), hint
            budget = float(found[1])


@pytest.mark.parametrize("budget", [1.0, 2.2])
def test_too_small_a_budget_names_one_that_works(session: Any, budget: float) -> None:
    statement = "SELECT * FROM trails.model_selection('train', 'label', %s, validation => 'valid')"
    refusals, rows = in_time(session, statement, budget)
    assert rows
    assert refusals or budget != 1.0, "torch alone takes longer to import"


def test_too_small_a_budget_for_the_widest_network_on_many_rows_names_one_that_works(session: Any) -> None:
    """With k and u given the best-scored network is trained, whatever it costs, in one thread."""
    make_table(session, "many", 10_000, 150_000)
    query(session, "ANALYZE many")
    statement = "SELECT * FROM trails.model_selection('many', 'label', %s, k => 1, u => 1, name => 'widest')"
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement, "1 s")
    assert caught.value.pgcode == "53400"
    named = re.search(r"'([0-9]+) s'", caught.value.diag.message_hint or "")
    # 5 s, 30 microseconds a row and one a cell, and more on a busy machine.
    assert named is not None and int(named[1]) >= 11 and within(int(named[1]), 11.0, 50.0)
    _, rows = in_time(session, statement, 4.5)
    assert len(rows) == 1
    ((metrics,),) = query(session, "SELECT metrics FROM trails.models WHERE name = 'widest'")
    assert set(metrics) - {"temperature"} == {"auc", "log_loss", "accuracy"}


def test_budget_is_kept_with_time_to_spare_used(session: Any) -> None:
    make_table(session, "larger", 10_000, 60_000)
    query(session, "SELECT * FROM trails.model_selection('larger', 'label', '15 s', validation => 'valid')")
    ((seconds,),) = query(session, "SELECT total_seconds FROM trails.runs")
    assert within(seconds, 15 * 1.05, 0.5)


def test_coordinator_splits_a_budget(session: Any) -> None:
    ((n, k, u, filtering, refinement),) = query(session, "SELECT * FROM trails.coordinator(0.001, 2.0, '60 s')")
    assert n == 100 * k and u >= 1 and filtering + refinement <= 60
    ((_, k_only, u_only, _, nothing),) = query(
        session, "SELECT * FROM trails.coordinator(0.001, 2.0, '60 s', only_phase1 => true)"
    )
    assert (k_only, u_only, nothing) == (1, 0, 0)
    with pytest.raises(psycopg2.Error, match="too small") as caught:
        query(session, "SELECT * FROM trails.coordinator(0.001, 2.0, '1 s')")
    assert caught.value.diag.sqlstate == "53400"


@pytest.mark.parametrize("budget", ["infinity", "1000 years", "366 days", "178000000 years"])
def test_a_budget_without_an_end_is_refused_at_once(session: Any, budget: str) -> None:
    if budget == "infinity" and session.server_version < 170000:
        pytest.skip("intervals have no infinity there")
    for statement in (
        "SELECT * FROM trails.model_selection('train', 'label', %s)",
        "SELECT * FROM trails.refinement_phase('train', 'label', ARRAY['8-8-8-8'], budget => %s)",
        "SELECT * FROM trails.resume(1, %s)",
        "SELECT * FROM trails.coordinator(1, 1, %s)",
    ):
        with pytest.raises(psycopg2.Error) as caught:
            query(session, statement, budget)
        assert caught.value.pgcode == "22023" and "365 days" in str(caught.value), statement
        assert caught.value.diag.message_hint
