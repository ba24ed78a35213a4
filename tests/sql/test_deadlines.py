"""The budget covers what waits for the server: views that take their time, and locks that others hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import query
from tests.timing import within

Connect = Callable[..., Any]

BUDGET = 2.0
SELECTION = "SELECT * FROM trails.model_selection('{}', 'label', n => 5, budget => '2 s' {})"
PHASE = "SELECT * FROM trails.refinement_phase('{}', 'label', ARRAY['16-16'], space => 'mlp2x20', budget => '2 s' {})"
LATE = "import time; ready(); time.sleep(60)"


def spent(session: Any, statement: str) -> Any:
    """What a statement told that was to end at its budget, and did."""
    began = time.monotonic()
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement)
    seconds = time.monotonic() - began
    assert caught.value.pgcode == "53400", caught.value
    assert seconds > 0.8 * BUDGET and within(seconds, BUDGET, 4.0)
    # What ended it must not end what comes after.
    assert query(session, "SELECT count(*) FROM generate_series(1, 100000)") == [(100_000,)]
    return caught.value.diag


@pytest.fixture
def waiting(scripted: Any, stub: Stub) -> Any:
    """A session with `train`, `valid`, and a view `slow` whose every row takes its time."""
    stub.script(LATE)
    query(scripted, "CREATE VIEW slow AS SELECT * FROM train WHERE pg_sleep(0.05) IS NOT NULL")
    return scripted


@pytest.mark.parametrize("statement", [SELECTION, PHASE])
def test_a_view_that_takes_its_time_ends_with_the_budget_and_is_named(waiting: Any, statement: str) -> None:
    told = spent(waiting, statement.format("slow", ""))
    assert "slow" in told.message_primary and "2 s" in told.message_primary and "read" in told.message_primary
    assert "materialized" in told.message_hint


def test_a_slow_validation_view_ends_with_the_budget_and_is_named(waiting: Any) -> None:
    told = spent(waiting, PHASE.format("train", ", validation => 'slow'"))
    assert "slow" in told.message_primary


@pytest.mark.parametrize(
    ("source", "more", "locked"),
    [
        ("train", "", "train"),
        ("train", ", validation => 'valid'", "valid"),
        ("over", "", "train"),
        ("over", ", validation => 'valid'", "valid"),
    ],
)
def test_a_lock_that_another_session_holds_is_waited_for_until_the_budgets_end(
    waiting: Any, connect: Connect, source: str, more: str, locked: str
) -> None:
    query(waiting, "CREATE VIEW over AS SELECT * FROM train")
    other = connect()
    query(other, f"BEGIN; LOCK TABLE {locked}")
    told = spent(waiting, PHASE.format(source, more))
    assert "locked by another session" in told.message_primary
    assert (source if locked == "train" else locked) in told.message_primary
    assert "pg_blocking_pids" in told.message_hint
    query(other, "ROLLBACK")


def test_a_cancel_or_a_timeout_before_is_told_as_what_it_is(waiting: Any, connect: Connect) -> None:
    query(waiting, "SET statement_timeout = '1 s'")
    with pytest.raises(psycopg2.errors.QueryCanceled, match="statement timeout"):
        query(waiting, PHASE.format("slow", ""))
    query(waiting, "SET statement_timeout = 0; SET lock_timeout = '200 ms'")
    other = connect()
    query(other, "BEGIN; LOCK TABLE train")
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        query(waiting, PHASE.format("train", ""))
    query(other, "ROLLBACK")


def test_a_deadline_ends_with_its_statement(waiting: Any) -> None:
    """Also where a block catches the error and goes on."""
    query(
        waiting,
        "CREATE TABLE told (code text);"
        "CREATE FUNCTION twice() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        "  BEGIN PERFORM * FROM trails.refinement_phase('slow', 'label', ARRAY['16-16'], space => 'mlp2x20',"
        "    budget => '2 s');"
        "  EXCEPTION WHEN configuration_limit_exceeded THEN INSERT INTO told VALUES (SQLSTATE); END;"
        "  PERFORM pg_sleep(3); RETURN (SELECT max(rows) FROM trails.describe_columns('train')); END $$",
    )
    assert query(waiting, "SELECT twice()") == [(3000,)]
    assert query(waiting, "SELECT code FROM told") == [("53400",)]
