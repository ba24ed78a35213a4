"""Any table in: mixed types through filtering and training, validation tables, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import query

# The label follows from the text.
MIXED = """
SELECT i AS id,
       mod(i, 7) < 3 AS label,
       ('name ' || mod(i, 7))::{text} AS name,
       CASE WHEN mod(i, 13) > 0 THEN mod(i * 31, 100) / 7.0 END::{number} AS amount,
       mod(i, 2) = 0 AS flag,
       DATE '2020-01-01' + mod(i, 500) AS day,
       TIMESTAMPTZ '2020-01-01 12:00+02' + mod(i * 17, 5000) * INTERVAL '1 hour' AS moment,
       TIME '08:00' + mod(i, 600) * INTERVAL '1 minute' AS clock,
       mod(i, 90) * INTERVAL '1 day' AS span,
       (mod(i, 50) || ':' || mod(i, 3) / 2.0) AS published
FROM generate_series(%s::int, %s) i
"""


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    connection = connect()
    query(connection, "SET search_path = public, trails")
    return connection


def make_mixed(
    session: Any, name: str, first: int, rows: int, text: str = "text", number: str = "double precision"
) -> None:
    query(session, f"CREATE TABLE {name} AS " + MIXED.format(text=text, number=number), first, first + rows - 1)
    query(session, f"ALTER TABLE {name} ADD PRIMARY KEY (id)")


def trained(session: Any, arguments: str = "") -> float:
    """The best validation AUC of one architecture after a few epochs."""
    ((epochs, metric),) = query(
        session,
        f"""SELECT count(*), max(validation_metric) FROM trails.refinement_phase(
              'train', 'label', ARRAY['16-16'], budget => '30 s', space => 'mlp2x20',
              options => '{{"max_epochs": 6, "batch": 64}}' {arguments})""",
    )
    assert epochs > 0
    return float(metric)


def refused(session: Any, statement: str) -> psycopg2.Error:
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement)
    assert query(session, "SELECT 1") == [(1,)]
    return caught.value


def test_a_table_of_mixed_types_is_filtered_and_trained_on(session: Any) -> None:
    query(session, "CREATE TYPE name_of AS ENUM ('name 0', 'name 1', 'name 2', 'name 3', 'name 4', 'name 5', 'name 6')")
    make_mixed(session, "train", 1, 2500, text="name_of", number="numeric(12, 6)")
    kinds = dict(query(session, "SELECT column_name, kind FROM trails.describe_columns('train')"))
    assert kinds == {
        "id": "int32", "label": "boolean", "name": "text", "amount": "float64", "flag": "boolean", "day": "date",
        "moment": "timestamp", "clock": "time", "span": "interval", "published": "text",
    }  # fmt: skip
    assert len(query(session, "SELECT * FROM trails.filtering_phase('train', 'label', n => 50, k => 3)")) == 3
    assert trained(session) > 0.9, "the label follows from the name"


# What a validation table may have where the source has another type of the same family.
@pytest.mark.parametrize(("text", "number"), [("varchar(20)", "real"), ("char(12)", "numeric"), ("text", "real")])
def test_a_validation_table_may_differ_within_families(session: Any, text: str, number: str) -> None:
    make_mixed(session, "train", 1, 2000)
    make_mixed(session, "valid", 2001, 600, text, number)
    query(session, "ALTER TABLE valid ALTER id TYPE bigint")
    assert trained(session, ", validation => 'valid'") > 0.9, "texts are the same texts there, whatever their type"


@pytest.mark.parametrize(
    ("column", "sql_type", "using", "words"),
    [
        ("name", "integer", "1", ["name", "integer", "text"]),
        ("amount", "date", "'2020-01-01'::date", ["amount", "date", "double precision"]),
        ("flag", "integer", "1", ["flag", "integer", "boolean"]),
        ("day", "timestamp", "day::timestamp", ["day", "timestamp", "date"]),
        ("moment", "time", "moment::time", ["moment", "time", "timestamp"]),
        ("clock", "interval", "clock::interval", ["clock", "interval", "time"]),
        ("published", "integer", "1", ["published", "integer", "text"]),
        ("label", "text", "label::text", ["label", "text", "boolean"]),
    ],
)
def test_a_validation_table_of_another_family_is_refused_before_anything_is_read(
    session: Any, column: str, sql_type: str, using: str, words: list[str]
) -> None:
    make_mixed(session, "train", 1, 300)
    make_mixed(session, "valid", 301, 100)
    query(session, f"ALTER TABLE valid ALTER {column} TYPE {sql_type} USING {using}")
    error = refused(
        session,
        "SELECT * FROM trails.refinement_phase('train', 'label', ARRAY['16-16'], space => 'mlp2x20', "
        "budget => '30 s', validation => 'valid')",
    )
    assert error.pgcode == "42804"
    assert all(word in str(error) for word in words) and "valid" in str(error)
    hint = error.diag.message_hint
    assert f"CAST({column} AS " in hint or "There is no cast" in hint or "id:value" in hint


def test_a_validation_table_without_a_column_says_which(session: Any) -> None:
    make_mixed(session, "train", 1, 300)
    make_mixed(session, "valid", 301, 100)
    query(session, "ALTER TABLE valid DROP amount")
    error = refused(
        session,
        "SELECT * FROM trails.refinement_phase('train', 'label', ARRAY['16-16'], space => 'mlp2x20', "
        "budget => '30 s', validation => 'valid')",
    )
    assert error.pgcode == "42703" and "amount" in str(error) and "every feature" in error.diag.message_detail


def test_what_was_id_value_must_be_so_in_the_validation_table(session: Any) -> None:
    make_mixed(session, "train", 1, 300)
    make_mixed(session, "valid", 301, 100)
    query(session, "UPDATE valid SET published = 'nothing' WHERE id = 350")
    error = refused(
        session,
        "SELECT * FROM trails.refinement_phase('train', 'label', ARRAY['16-16'], space => 'mlp2x20', "
        "budget => '30 s', validation => 'valid', options => '{\"id_values\": [\"published\"]}')",
    )
    assert error.pgcode == "22P02" and "published" in str(error)
    assert "nothing" in error.diag.message_detail and "Row" in error.diag.message_detail


def test_what_was_text_is_text_in_the_validation_table_whatever_it_looks_like(session: Any) -> None:
    make_mixed(session, "train", 1, 1500)
    make_mixed(session, "valid", 1501, 300)
    query(session, "UPDATE train SET published = 'nothing' WHERE id = 1500")
    assert trained(session, ", validation => 'valid'") > 0.9


def test_a_text_target_is_a_label_whatever_it_looks_like(session: Any) -> None:
    make_mixed(session, "train", 1, 1500)
    query(session, "ALTER TABLE train ALTER label TYPE text USING CASE WHEN label THEN '1:1' ELSE '2:1' END")
    assert trained(session) > 0.9


@pytest.mark.parametrize(
    ("value", "number"), [("NULL", "double precision"), ("'NaN'", "double precision"), ("'NaN'", "numeric")]
)
def test_rows_whose_target_is_no_value_are_left_out_and_counted(session: Any, value: str, number: str) -> None:
    query(
        session,
        f"""CREATE TABLE numbers AS SELECT mod(i, 9) AS a, mod(i, 10) AS b,
              CASE WHEN mod(i, 10) = 0 THEN {value} ELSE mod(i, 9)::{number} * 1.5 END::{number} AS y
            FROM generate_series(1, 1000) i""",
    )
    session.notices.clear()
    query(session, "SELECT * FROM trails.filtering_phase('numbers', 'y', n => 20, k => 1)")
    assert any("100 rows have no target" in notice for notice in session.notices)


def test_a_thousand_features_are_possible_and_more_are_not(session: Any) -> None:
    columns = ", ".join(f"mod(i * {n}, 7)::smallint AS c{n}" for n in range(1, 1001))
    query(session, f"CREATE TABLE wide AS SELECT i, mod(i, 2) AS label, {columns} FROM generate_series(1, 60) i")
    error = refused(session, "SELECT * FROM trails.filtering_phase('wide', 'label', n => 1, k => 1)")
    assert error.pgcode == "54011" and "1001" in str(error) and "features => ARRAY[...]" in error.diag.message_hint
    query(session, "ALTER TABLE wide DROP i")
    assert len(query(session, "SELECT * FROM trails.filtering_phase('wide', 'label', n => 1, k => 1)")) == 1


def test_a_column_that_the_primary_key_only_includes_is_a_feature(session: Any) -> None:
    query(session, "CREATE TABLE t (a int, b int, y int, id int, PRIMARY KEY (id) INCLUDE (a) DEFERRABLE)")
    query(session, "INSERT INTO t SELECT g % 7, g % 5, g % 2, g FROM generate_series(1, 99) g")
    query(session, "UPDATE t SET a = 1")
    query(session, "SET trails.progress = 'phases'")
    del session.notices[:]
    query(session, "SELECT * FROM trails.filtering_phase('t', 'y', n => 1, k => 1)")
    assert any('feature "a" is left out' in notice for notice in session.notices), "it was looked at"
    assert not any('"id"' in notice for notice in session.notices)


def test_rows_are_read_as_the_caller(session: Any, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    query(session, "CREATE TABLE secret AS SELECT i AS a, mod(i, 2) AS b, 'x' AS c FROM generate_series(1, 50) i")
    query(session, "GRANT SELECT (a, b) ON secret TO alice")
    query(session, "GRANT USAGE ON SCHEMA trails TO alice")
    query(session, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA trails TO alice")
    described = "SELECT column_name, rows FROM trails.describe_columns('secret', {})"
    assert query(alice, described.format("ARRAY['a', 'b']")) == [("a", 50), ("b", 50)]
    error = refused(alice, described.format("NULL"))
    assert error.pgcode == "42501"
    query(session, "GRANT SELECT ON secret TO alice")
    query(session, "ALTER TABLE secret ENABLE ROW LEVEL SECURITY")
    query(session, "CREATE POLICY few ON secret USING (a <= 20)")
    assert query(alice, described.format("NULL")) == [("a", 20), ("b", 20), ("c", 20)]
    assert query(alice, "SELECT rows FROM trails.benchmark_reading('secret', 1, 'batches')") == [(20,)]


def test_a_query_that_fails_while_it_is_read_leaves_nothing_behind(session: Any) -> None:
    query(session, "CREATE VIEW broken AS SELECT 1 / (9000 - i) AS x FROM generate_series(1, 20000) i")
    for reader in ("receiver", "batches", "rows"):
        error = refused(session, f"SELECT * FROM trails.benchmark_reading('broken', 1, '{reader}')")
        assert error.pgcode == "22012"
        # Caught in a subtransaction, the statement goes on.
        query(
            session,
            f"""DO $$ BEGIN
                  BEGIN PERFORM trails.benchmark_reading('broken', 1, '{reader}');
                  EXCEPTION WHEN division_by_zero THEN NULL; END;
                  PERFORM trails.benchmark_reading('pg_catalog.pg_class', 1, 'batches');
                END $$""",
        )
    assert query(session, "SELECT name FROM pg_cursors") == []


@pytest.mark.parametrize("reader", ["receiver", "batches", "rows"])
def test_reading_can_be_cancelled(session: Any, reader: str) -> None:
    query(session, "CREATE VIEW endless AS SELECT i FROM generate_series(1, 2000000000) i")
    query(session, "SELECT * FROM trails.benchmark_reading('pg_catalog.pg_class', 1)")
    query(session, "SET statement_timeout = '400 ms'")
    error = refused(session, f"SELECT * FROM trails.benchmark_reading('endless', 1, '{reader}')")
    assert error.pgcode == "57014"


def test_a_reader_that_is_not_known_is_refused(session: Any) -> None:
    query(session, "CREATE TABLE t (a int, b json)")
    error = refused(session, "SELECT * FROM trails.benchmark_reading('t', 1, 'magic')")
    assert error.pgcode == "22023" and "batches" in error.diag.message_hint


def test_all_readers_agree(session: Any) -> None:
    make_mixed(session, "mixed", 1, 500)
    query(session, "ALTER TABLE mixed DROP clock, DROP span")
    for reader in ("receiver", "batches", "rows"):
        assert query(session, f"SELECT rows, columns FROM trails.benchmark_reading('mixed', 1, '{reader}')") == [
            (500, 8)
        ]
