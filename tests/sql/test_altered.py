"""Relations that are altered between their description and their reading: an error, and never another type's bytes.

Session A alters in a transaction; session B calls and waits for A's lock; A commits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.predicted import columns_of, make_model, make_things, store, things
from tests.sql.tables import query, wait_until

Connect = Callable[..., Any]

TEXTS = "CREATE TABLE {} AS SELECT g AS id, g % 3 AS label, 'c' || g % 4 AS a FROM generate_series(1, 300) g"
NUMBERS = (
    "CREATE TABLE {} AS SELECT g AS id, g % 3 AS label, 281474976710656 + g::bigint AS a FROM generate_series(1, 300) g"
)

SWAP = "ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t"


@pytest.fixture
def sessions(connect: Connect) -> tuple[Any, Any]:
    """A and B; B's statements are ended after a minute."""
    a, b = connect(), connect()
    query(b, "SET statement_timeout = '60 s'")
    return a, b


def while_waiting(a: Any, b: Any, alter: str, statement: str) -> list[tuple[Any, ...]] | psycopg2.Error:
    """What came of B's statement, which began after A had altered and went on when A had committed."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(query(b, statement))
        except psycopg2.Error as error:
            outcome.append(error)

    pid = b.get_backend_pid()
    query(a, "BEGIN")
    query(a, alter)
    thread = threading.Thread(target=run)
    thread.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
    wait_until(lambda: outcome or query(a, waiting, pid) != [(0,)])
    query(a, "COMMIT")
    thread.join()
    return outcome[0]


def is_altered(outcome: Any) -> bool:
    """Whether it is the error that asks for another try, in a session that goes on."""
    return (
        isinstance(outcome, psycopg2.Error)
        and outcome.pgcode == "55000"
        and "altered meanwhile" in str(outcome)
        and "again" in (outcome.diag.message_hint or "")
    )


READING = [
    "SELECT * FROM trails.describe_columns('t')",
    "SELECT * FROM trails.benchmark_reading('t', 1, 'receiver')",
    "SELECT * FROM trails.benchmark_reading('t', 1, 'batches')",
    "SELECT * FROM trails.benchmark_reading('t', 1, 'rows')",
    "SELECT * FROM trails.filtering_phase('t', 'label', n => 5, k => 1, space => 'mlp2x20')",
]


@pytest.mark.parametrize("statement", READING)
@pytest.mark.parametrize(("old", "new"), [(TEXTS, NUMBERS), (NUMBERS, TEXTS)], ids=["to numbers", "to texts"])
def test_a_table_that_is_swapped_while_a_reader_waits_is_never_read_as_what_it_was(
    sessions: tuple[Any, Any], statement: str, old: str, new: str
) -> None:
    a, b = sessions
    query(a, old.format("t"))
    query(a, new.format("t_new"))
    outcome = while_waiting(a, b, SWAP, statement)
    # The name's new table came too late, or it is an error: no third.
    assert is_altered(outcome), outcome
    assert query(b, "SELECT kind FROM trails.describe_columns('t') WHERE column_name = 'a'")[0][0] in ("text", "int64")
    assert query(a, "SELECT 1") == [(1,)], "the server and its other sessions go on"


@pytest.mark.parametrize("statement", READING[:4])
def test_a_table_that_was_rewritten_while_a_reader_waited_is_read_as_it_is_now(
    sessions: tuple[Any, Any], statement: str
) -> None:
    a, b = sessions
    query(a, TEXTS.format("t"))
    outcome = while_waiting(a, b, "ALTER TABLE t ALTER a TYPE int USING length(a)", statement)
    assert not isinstance(outcome, psycopg2.Error), outcome
    # The snapshot of the waiting statement sees no row of the new file.
    if "describe" in statement:
        assert ("a", "integer", "int32", 300) in [row[:4] for row in outcome]
    else:
        assert outcome[0][0] == 300


def test_a_table_of_a_view_that_was_rewritten_meanwhile_is_not_taken_for_empty(sessions: tuple[Any, Any]) -> None:
    a, b = sessions
    query(a, TEXTS.format("t"))
    query(a, "CREATE VIEW v AS SELECT id, label FROM t UNION ALL SELECT 0, 0")
    outcome = while_waiting(
        a, b, "ALTER TABLE t ALTER a TYPE int USING length(a)", "SELECT * FROM trails.benchmark_reading('v')"
    )
    assert not isinstance(outcome, psycopg2.Error), outcome
    assert outcome[0][0] == 301


def test_a_partition_that_was_emptied_and_filled_meanwhile_is_read_as_it_is_now(sessions: tuple[Any, Any]) -> None:
    a, b = sessions
    query(
        a,
        "CREATE TABLE p (id int, label int) PARTITION BY RANGE (id);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);"
        "INSERT INTO p SELECT g, g % 2 FROM generate_series(0, 199) g",
    )
    alter = "TRUNCATE p1; INSERT INTO p1 SELECT g, g % 2 FROM generate_series(0, 49) g"
    outcome = while_waiting(a, b, alter, "SELECT * FROM trails.benchmark_reading('p')")
    assert not isinstance(outcome, psycopg2.Error), outcome
    assert outcome[0][0] == 150


def test_one_snapshot_for_the_whole_transaction_cannot_see_a_rewritten_table_and_says_so(
    sessions: tuple[Any, Any],
) -> None:
    a, b = sessions
    query(a, TEXTS.format("t"))
    query(b, "BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert query(b, "SELECT 1") == [(1,)]
    query(a, "ALTER TABLE t ALTER a TYPE int USING length(a)")
    with pytest.raises(psycopg2.Error) as caught:
        query(b, "SELECT * FROM trails.describe_columns('t')")
    assert is_altered(caught.value) and "rewritten" in caught.value.diag.message_detail
    query(b, "ROLLBACK")
    assert query(b, "SELECT rows FROM trails.describe_columns('t')")[0] == (300,)


def test_what_the_transaction_itself_has_rewritten_is_read(connect: Connect) -> None:
    session = connect()
    query(session, TEXTS.format("t"))
    for level in ("READ COMMITTED", "REPEATABLE READ"):
        query(session, f"BEGIN ISOLATION LEVEL {level}")
        query(session, "SELECT 1")
        query(session, "ALTER TABLE t ALTER a TYPE varchar(20), ADD b int DEFAULT random() * 10")
        query(session, "TRUNCATE t; INSERT INTO t SELECT g, 0, 'x', 1 FROM generate_series(1, 7) g")
        assert query(session, "SELECT rows FROM trails.describe_columns('t')")[0] == (7,)
        query(session, "ROLLBACK")


# One session alone: the query of the source calls what alters the validation table, which is read after it.
SWAPPING = """
CREATE SCHEMA r;
CREATE TABLE r.src AS SELECT g, g % 5 b, g % 3 label, 'c' || g % 4 a FROM generate_series(1, 300) g;
CREATE TABLE r.v1 (b int, label int, a text);
CREATE TABLE r.v2 AS SELECT g % 5 b, g % 3 label, g::bigint a FROM generate_series(1, 60) g;
CREATE FUNCTION r.swap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {} RETURN 0; END $$;
CREATE VIEW r.sv AS SELECT b, label, a FROM r.src, (SELECT r.swap() OFFSET 0) z;
"""


@pytest.mark.parametrize(
    "alter",
    [
        "IF to_regclass('r.v2') IS NOT NULL THEN ALTER TABLE r.v1 RENAME TO v0; ALTER TABLE r.v2 RENAME TO v1; END IF;",
        "ALTER TABLE r.v1 ALTER a TYPE int8 USING 1; INSERT INTO r.v1 SELECT 1, g % 3, g FROM generate_series(1, 9) g;",
        "ALTER TABLE r.v1 DROP a, ADD a bigint; INSERT INTO r.v1 SELECT 1, g % 3, g FROM generate_series(1, 9) g;",
        "ALTER TABLE r.v1 DROP a; INSERT INTO r.v1 SELECT 1, g % 3 FROM generate_series(1, 60) g;",
        "ALTER TABLE r.v1 RENAME TO v0; CREATE VIEW r.v1 AS SELECT b, label, 8589934592::bigint a FROM r.v2;",
    ],
    ids=["swapped", "another type", "dropped and added", "dropped", "a view"],
)
def test_a_source_whose_query_alters_the_validation_table_ends_the_statement_and_nothing_else(
    connect: Connect, alter: str
) -> None:
    witness, session = connect(), connect()
    query(session, SWAPPING.format(alter))
    with pytest.raises(psycopg2.Error) as caught:
        query(
            session,
            "SELECT * FROM trails.refinement_phase('r.sv', 'label', ARRAY['64-64-64-64'], 1, '30 s',"
            " validation => 'r.v1')",
        )
    error = caught.value
    # A column that is gone is one that the query cannot name any more.
    assert is_altered(error) or error.pgcode == "42703", error
    assert query(session, "SELECT 1") == query(witness, "SELECT 1") == [(1,)]


def test_a_relation_that_was_dropped_while_a_reader_waited_is_an_error_that_says_so(sessions: tuple[Any, Any]) -> None:
    a, b = sessions
    query(a, TEXTS.format("t"))
    outcome = while_waiting(a, b, "DROP TABLE t", "SELECT * FROM trails.describe_columns('t')")
    assert isinstance(outcome, psycopg2.Error) and outcome.pgcode == "42P01"
    assert "again" in outcome.diag.message_hint


def test_children_whose_columns_lie_elsewhere_are_read_as_the_parent_declares_them(connect: Connect) -> None:
    session = connect()
    query(
        session,
        "CREATE TABLE parent (a int, b text, c float8);"
        "CREATE TABLE swapped (c float8, b text, a int); ALTER TABLE swapped INHERIT parent;"
        "CREATE TABLE wider (x text, a int, b text, c float8);"
        "ALTER TABLE wider DROP x; ALTER TABLE wider INHERIT parent;"
        "CREATE TABLE longer (extra bigint[]) INHERITS (parent);"
        "INSERT INTO parent VALUES (1, 'p', 0.5); INSERT INTO swapped VALUES (1.5, 's', 2);"
        "INSERT INTO wider VALUES (3, 'w', 2.5); INSERT INTO longer VALUES (4, 'l', 3.5, '{1}');"
        "ALTER TABLE parent ADD d int DEFAULT 9; INSERT INTO longer VALUES (5, 'm', 4.5, '{2}', 10)",
    )
    described = query(session, "SELECT column_name, minimum, maximum FROM trails.describe_columns('parent')")
    assert described == [("a", "1", "5"), ("b", None, None), ("c", "0.5", "4.5"), ("d", "9", "10")]
    ways = ("receiver", "batches", "rows")
    statement = "SELECT checksum FROM trails.benchmark_reading('parent', 1, %s)"
    assert len({query(session, statement, way)[0] for way in ways}) == 1


def test_a_prediction_waits_for_its_table_and_notices_a_swap(sessions: tuple[Any, Any]) -> None:
    a, b = sessions
    rows = things(60)
    make_things(a, rows)
    store(a, "m", make_model(columns_of(rows)))
    query(
        a,
        "CREATE TABLE new (LIKE things INCLUDING ALL); INSERT INTO new SELECT * FROM things;"
        "ALTER TABLE new ALTER word TYPE bigint USING 281474976710656, ALTER big TYPE text",
    )
    swap = "ALTER TABLE things RENAME TO old; ALTER TABLE new RENAME TO things"
    outcome = while_waiting(a, b, swap, "SELECT count(*) FROM trails.predict('m', 'things')")
    assert is_altered(outcome), outcome
    rewrite = "ALTER TABLE old ALTER id TYPE bigint"
    outcome = while_waiting(a, b, rewrite, "SELECT count(*) FROM trails.predict('m', 'old')")
    assert outcome == [(60,)]
