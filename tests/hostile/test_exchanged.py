"""Relations whose columns become others while a statement is about to read them."""

from __future__ import annotations

import threading
from typing import Any

import psycopg2
import pytest

from tests.hostile.case import check_error, refused
from tests.hostile.conftest import Sessions
from tests.sql.stub import Stub
from tests.sql.tables import query, wait_until

# One session does it to itself: the view that it reads puts another table in the place of the validation table.
SWAP = """
DROP SCHEMA IF EXISTS swapped CASCADE;
CREATE SCHEMA swapped;
CREATE TABLE swapped.src AS SELECT g, g % 5 AS b, g % 3 AS label, 'c' || g % 4 AS a FROM generate_series(1, 300) g;
CREATE TABLE swapped.v1 (b int, label int, a text);
CREATE TABLE swapped.v2 AS SELECT g % 5 AS b, g % 3 AS label, {} AS a FROM generate_series(1, 60) g;
CREATE FUNCTION swapped.swap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  IF to_regclass('swapped.v2') IS NOT NULL THEN
    ALTER TABLE swapped.v1 RENAME TO v0; ALTER TABLE swapped.v2 RENAME TO v1;
  END IF;
  RETURN 0;
END $$;
CREATE VIEW swapped.sv AS SELECT b, label, a FROM swapped.src, (SELECT swapped.swap() OFFSET 0) z;
"""

REFINEMENT = (
    "SELECT * FROM trails.refinement_phase('swapped.sv', 'label', ARRAY['64-64-64-64'], 1, '5 s',"
    " validation => 'swapped.v1')"
)


@pytest.mark.parametrize("after", ["g::bigint", "g::float8", "true", "ARRAY[g]", "g::numeric"])
def test_a_validation_table_that_its_reader_exchanges(
    sessions: Sessions, scripted: tuple[Any, Stub], after: str
) -> None:
    session, stub = scripted
    if session.closed:
        session = sessions.get("scripted", f"SET trails.virtualenv = '{stub.path}'")
    stub.script("rows = receive(); ready(); receive(); time.sleep(30)")
    query(session, SWAP.format(after))
    try:
        with pytest.raises(psycopg2.Error) as caught:
            query(session, REFINEMENT)
        # Either it is found out, or the table that was named at first is read, which is empty.
        check_error(refused("", "", "55000|22000"), caught.value)
    finally:
        sessions.assert_up("scripted")
        query(sessions.get("witness"), "DROP SCHEMA IF EXISTS swapped CASCADE")


READING = (
    "SELECT * FROM trails.describe_columns('altered')",
    "SELECT count(*) FROM trails.predict('m', 'altered')",
    "SELECT count(*) FROM trails.filtering_phase('altered', 'bought', n => 5)",
    "SELECT * FROM trails.benchmark_reading('altered')",
    "SELECT * FROM trails.benchmark_reading('altered', 1, 'batches')",
    "SELECT * FROM trails.profile_prediction('m', 'altered')",
)

OTHERS = (
    "hour::text AS colour, hour::text AS hour",
    "hour AS colour, colour AS hour",
    "NULL::int AS colour, 2147483647::bigint AS hour",
)
"""Columns in the place of a text and an integer."""

EXCHANGE = "BEGIN; ALTER TABLE altered RENAME TO altered_old; ALTER TABLE altered_new RENAME TO altered"


@pytest.mark.parametrize("statement", READING)
@pytest.mark.parametrize("other", OTHERS)
def test_a_table_that_another_session_exchanges(sessions: Sessions, statement: str, other: str) -> None:
    """The reader waits for who puts another table in its place; it reads the one or the other, or says so."""
    exchanging, reading, witness = sessions.get("exchanging"), sessions.get("reading"), sessions.get("witness")
    query(witness, "DROP TABLE IF EXISTS altered, altered_new, altered_old")
    query(witness, "CREATE TABLE altered AS SELECT * FROM base")
    query(witness, f"CREATE TABLE altered_new AS SELECT id, {other}, amount, seen, bought FROM base")
    query(exchanging, EXCHANGE)
    ended: list[Any] = []

    def read() -> None:
        try:
            ended.append(query(reading, statement))
        except psycopg2.Error as error:
            ended.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    waits = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: ended or query(witness, waits, reading.info.backend_pid) == [("Lock",)], 10)
    query(exchanging, "COMMIT")
    thread.join(60)
    try:
        assert not thread.is_alive()
        if isinstance(ended[0], psycopg2.Error):
            check_error(refused("", "", "55000|42804|42703|0A000"), ended[0])
    finally:
        sessions.assert_up("reading")
        query(sessions.get("exchanging"), "ROLLBACK")
