"""Rows come in the order in which they are stored, whatever other sessions do, and errors say which row is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.predicted import columns_of, make_model, make_things, store, things
from tests.sql.tables import query

Connect = Callable[..., Any]


def scanned_half_way(connect: Connect, table: str) -> Any:
    """A session that has read half of a table, where the next scan would join in."""
    session = connect()
    query(session, "BEGIN")
    query(session, f"DECLARE c CURSOR FOR SELECT ctid FROM {table}")
    query(session, "SELECT 1")
    ((rows,),) = query(session, f"SELECT count(*) FROM {table}")
    query(session, f"MOVE {rows // 2} IN c")
    return session


# Tables of more than a quarter of shared_buffers are scanned together; rows of more than 2 kB would be compressed.
ROWS = 40_000
PADDING = f"(SELECT repeat('x', (pg_size_bytes(current_setting('shared_buffers')) / 4 * 5 / 4 / {ROWS})::int))"


def test_the_rows_of_a_large_table_come_in_their_order_while_another_session_scans_it(connect: Connect) -> None:
    session = connect()
    query(session, f"CREATE TABLE t AS SELECT g AS a, g % 2 AS y, {PADDING} AS pad FROM generate_series(1, {ROWS}) g")
    ways = ("receiver", "batches", "rows")
    statement = "SELECT checksum FROM trails.benchmark_reading('t', 1, %s)"
    before = [query(session, statement, way) for way in ways]
    other = scanned_half_way(connect, "t")
    assert query(session, "SELECT a FROM t LIMIT 1") != [(1,)], "the server would begin in the middle"
    assert [query(session, statement, way) for way in ways] == before
    assert query(session, "SHOW synchronize_seqscans") == [("on",)], "the session's own setting is back"
    query(other, "ROLLBACK")


def test_predictions_without_a_key_are_numbered_in_the_order_of_the_rows(connect: Connect) -> None:
    session = connect()
    rows = things(200)
    make_things(session, rows)
    store(session, "m", make_model(columns_of(rows)))
    copies = ROWS // len(rows)
    query(session, f"CREATE TABLE many AS SELECT t.*, {PADDING} AS pad FROM things t, generate_series(1, {copies}) g")
    statement = "SELECT key, score FROM trails.predict('m', 'many') WHERE key IN ('1', '2', '3', '19999')"
    before = query(session, statement)
    other = scanned_half_way(connect, "many")
    assert query(session, statement) == before
    query(other, "ROLLBACK")


BAD = [
    ("id int PRIMARY KEY, x real", "SELECT g + 100, CASE g WHEN 7 THEN 'Infinity' ELSE g::real END", "(id = 107)"),
    ("x real, a int, b text, PRIMARY KEY (b, a)", "SELECT CASE g WHEN 7 THEN 'Infinity' ELSE g::real END, g, 'k' || g",
     "(a = 7, b = k7)"),
    ("x real", "SELECT CASE g WHEN 7 THEN 'Infinity' ELSE g::real END", None),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "rows", "key"), BAD)
@pytest.mark.parametrize("partitioned", [False, True])
def test_a_bad_cell_is_told_with_the_primary_key_of_its_row(
    connect: Connect, columns: str, rows: str, key: str | None, partitioned: bool
) -> None:
    session = connect()
    if partitioned and key is not None:
        by = "a" if "a int" in columns else "id"
        query(session, f"CREATE TABLE t ({columns}) PARTITION BY HASH ({by})")
        query(session, "CREATE TABLE p PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    else:
        query(session, f"CREATE TABLE t ({columns})")
    query(session, f"INSERT INTO t {rows} FROM generate_series(1, 9) g")
    for call in ("trails.describe_columns('t', '{x}')", "trails.benchmark_reading('t', 1, 'batches')"):
        with pytest.raises(psycopg2.Error, match="Infinity") as caught:
            query(session, f"SELECT * FROM {call}")
        detail = caught.value.diag.message_detail
        assert "Row 7" in detail and (key is None or key in detail), detail
        assert (key is None) == ("(" not in detail)


def test_a_role_that_may_not_read_the_key_is_told_the_number_alone(connect: Connect) -> None:
    session, alice = connect(), connect("alice")
    query(session, "CREATE TABLE t (id int PRIMARY KEY, x real); INSERT INTO t VALUES (5, 1), (6, 'Infinity')")
    query(session, "GRANT trails_user TO alice; GRANT SELECT (x) ON t TO alice; GRANT USAGE ON SCHEMA public TO alice")
    with pytest.raises(psycopg2.Error, match="Infinity") as caught:
        query(alice, "SELECT * FROM trails.describe_columns('t', '{x}')")
    assert "Row 2" in caught.value.diag.message_detail and "6" not in caught.value.diag.message_detail
