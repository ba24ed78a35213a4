"""Whatever fails after training, the leaderboard is returned; and nothing waits longer for others than the budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg2
import pytest

from tests.sql.predicted import columns_of, make_model, things
from tests.sql.stub import Stub
from tests.sql.tables import children, query, wait_until
from tests.sql.test_interrupts import Running
from tests.timing import within

BUDGET = 4
RUN = (
    "SELECT rank, architecture, validation_metric, model FROM trails.model_selection('train', 'label', "
    f"budget => '{BUDGET} s', validation => 'valid', k => 2, u => 1, name => 'kept')"
)

ALLOWANCE = 5.0
"""Seconds beyond the budget that a busy machine may take; what is waited for below never ends by itself."""

SCRIPT = """
rows = receive(); ready(); request = receive(); plan()
(a, _), (b, _) = request["candidates"][:2]
epoch(a, 0, 1, 0.8); epoch(b, 0, 1, 0.7)
model(rows)
result([row(a, 0.8), row(b, 0.7)])
"""

# The deadline cuts this one.
CUT = SCRIPT.replace("result(", "checkpoint(rows, 0, 0, b'weights'); result(").replace(
    "0.7)])", "0.7)], complete=False)"
)

# This one ends when it is let go.
HOLD = """
while not os.path.exists(os.path.join(sys.prefix, "go")):
    send("alive"); time.sleep(0.1)
"""

RAISE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'no room for this' USING ERRCODE = 'disk_full', DETAIL = 'the disk is full';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON trails.{} FOR EACH ROW EXECUTE FUNCTION refuse();
"""
MEND = "DROP TRIGGER refuse ON trails.{}"


@cache
def blob() -> bytes:
    return make_model(columns_of(things(300))).to_bytes()


@pytest.fixture
def keeping(scripted: Any, stub: Stub) -> Any:
    """A superuser's session whose runs end at once with a leaderboard of two and a model."""
    stub.keep(blob())
    stub.script(SCRIPT)
    return scripted


def selected(session: Any, statement: str = RUN) -> tuple[str | None, list[str]]:
    """Runs a selection that must return its leaderboard; the model that it kept, and the warnings."""
    session.notices.clear()
    rows = query(session, statement)
    assert [row[0] for row in rows] == [1, 2] and [row[2] for row in rows] == [0.8, 0.7]
    assert query(session, "SELECT 1") == [(1,)]
    return rows[0][3], [notice for notice in session.notices if notice.startswith("WARNING")]


def count(session: Any, table: str) -> int:
    return int(query(session, f"SELECT count(*) FROM trails.{table}")[0][0])


def refused(session: Any, statement: str) -> psycopg2.extensions.Diagnostics:
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement)
    return caught.value.diag


def test_a_model_that_cannot_be_kept_waits_with_its_run(keeping: Any) -> None:
    query(keeping, RAISE.format("models"))
    model, (warning,) = selected(keeping)
    assert model is None and count(keeping, "models") == 0 and count(keeping, "candidates") == 2
    for words in ('not kept as "kept": no room for this', "SQLSTATE 53100: the disk is full", "trails.keep_model(1)"):
        assert words in warning
    assert refused(keeping, "SELECT trails.keep_model(1)").sqlstate == "53100"
    assert count(keeping, "unregistered_models") == 1, "a failure leaves it where it is"
    query(keeping, MEND.format("models"))
    assert query(keeping, "SELECT trails.keep_model(1)") == [("kept@1",)]
    assert query(keeping, "SELECT run_id, source, digest = sha256(weights) FROM trails.models") == [
        (1, "public.train", True)
    ]
    assert count(keeping, "unregistered_models") == 0
    told = refused(keeping, "SELECT trails.keep_model(1)")
    assert told.sqlstate == "55000" and "trails.models" in told.message_hint


def test_a_waiting_model_can_be_kept_under_another_name(keeping: Any) -> None:
    query(keeping, RAISE.format("models"))
    selected(keeping)
    query(keeping, MEND.format("models"))
    assert refused(keeping, "SELECT trails.keep_model(1, 'odd@7')").sqlstate == "22023"
    assert query(keeping, "SELECT trails.keep_model(1, 'another')") == [("another@1",)]


def test_resume_keeps_what_waits_of_a_finished_run(keeping: Any) -> None:
    query(keeping, RAISE.format("models"))
    selected(keeping)
    query(keeping, MEND.format("models"))
    rows = query(keeping, "SELECT rank, validation_metric, model FROM trails.resume(1, '5 s')")
    assert rows == [(1, 0.8, "kept@1"), (2, 0.7, None)]
    assert count(keeping, "runs") == 1, "nothing was trained"
    assert refused(keeping, "SELECT * FROM trails.resume(1, '5 s')").sqlstate == "55000"


def test_a_model_that_the_registry_cannot_read_waits_too(keeping: Any, stub: Stub) -> None:
    stub.keep(b"no model")
    model, (warning,) = selected(keeping)
    assert model is None and "not kept" in warning and "SQLSTATE" in warning
    assert query(keeping, "SELECT convert_from(weights, 'UTF8') FROM trails.unregistered_models") == [("no model",)]


@pytest.mark.parametrize("told", [1 << 20, (1 << 63) - 1])
def test_a_model_that_is_shorter_than_was_told_costs_only_itself(keeping: Any, stub: Stub, told: int) -> None:
    stub.script(SCRIPT.replace("model(rows)", f"send('model', architecture='8', which=0, length={told})"))
    model, (warning,) = selected(keeping)
    assert model is None and "the model cannot be kept" in warning


def test_a_run_that_cannot_be_recorded_still_returns_its_leaderboard_and_keeps_its_model(keeping: Any) -> None:
    query(keeping, "ALTER TABLE trails.runs DROP COLUMN fault")
    model, (warning,) = selected(keeping)
    assert model == "kept@1" and query(keeping, "SELECT run_id FROM trails.models") == [(None,)]
    assert "the run is not recorded" in warning and "SQLSTATE 42703" in warning and '"fault"' in warning
    assert count(keeping, "runs") == 0


def test_a_runs_number_is_drawn_when_it_begins(keeping: Any, stub: Stub) -> None:
    stub.script("rows = receive(); ready(); receive(); os._exit(3)")
    assert refused(keeping, RUN).sqlstate == "38000"
    assert refused(keeping, RUN.replace("'label'", "'nothing'")).sqlstate == "42703"
    stub.script(SCRIPT)
    selected(keeping)
    assert query(keeping, "SELECT run_id FROM trails.runs") == [(2,)], "one that trained nothing leaves a gap"


def test_workloads_of_a_run_that_cannot_be_recorded_have_no_number(keeping: Any) -> None:
    query(keeping, RAISE.format("runs"))
    rows = query(keeping, "SELECT run_id, phase FROM trails.model_selection_workloads('train', 'label', 100, 2)")
    assert {row[0] for row in rows} == {None} and {row[1] for row in rows} >= {"read", "filter", "refine"}


PARTS = {
    "candidates": "without its candidates",
    "trials": "without its learning curves",
    "timings": "without its timings",
}


@pytest.mark.parametrize("table", PARTS)
def test_a_part_of_a_run_that_cannot_be_recorded_costs_only_itself(keeping: Any, table: str) -> None:
    query(keeping, RAISE.format(table))
    model, (warning,) = selected(keeping)
    assert model == "kept@1" and f"run 1 is recorded {PARTS[table]}: no room for this" in warning
    counts = {name: count(keeping, name) for name in ("runs", *PARTS)}
    assert counts.pop(table) == 0 and all(counts.values())


def test_learning_curves_with_an_epoch_twice_cost_only_themselves(keeping: Any, stub: Stub) -> None:
    stub.script(SCRIPT.replace("model(rows)", "epoch(a, 0, 1, 0.8); model(rows)"))
    model, (warning,) = selected(keeping)
    assert model == "kept@1" and "SQLSTATE 23505" in warning
    assert count(keeping, "trials") == 0 and count(keeping, "candidates") == 2


def test_a_checkpoint_that_cannot_be_written_costs_only_itself(keeping: Any, stub: Stub) -> None:
    query(keeping, RAISE.format("checkpoints"))
    stub.script(CUT)
    model, (warning,) = selected(keeping)
    assert model == "kept@1" and "cannot be resumed" in warning
    query(keeping, MEND.format("checkpoints"))
    selected(keeping)
    assert query(keeping, "SELECT run_id, convert_from(weights, 'UTF8') FROM trails.checkpoints") == [(2, "weights")]


def test_what_failed_leaves_the_transaction_as_it_was(keeping: Any) -> None:
    query(keeping, RAISE.format("models"))
    query(keeping, "CREATE TABLE other (a int)")
    query(keeping, "BEGIN")
    query(keeping, "INSERT INTO other VALUES (1)")
    selected(keeping)
    query(keeping, "INSERT INTO other SELECT generate_series(2, 1000)")
    query(keeping, "COMMIT")
    assert query(keeping, "SELECT count(*) FROM other") == [(1000,)] and count(keeping, "runs") == 1


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_an_interrupt_while_the_run_is_recorded_ends_the_statement(
    keeping: Any, connect: Callable[..., Any], how: str
) -> None:
    query(
        keeping,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;"
        "CREATE TRIGGER slow BEFORE INSERT ON trails.trials FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    witness = connect()
    if how == "timeout":
        query(keeping, "SET statement_timeout = '3 s'")
    running = Running(keeping, RUN)
    asleep = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: query(witness, asleep, running.backend) == [("PgSleep",)] or running.ended)
    if how == "cancel":
        query(witness, "SELECT pg_cancel_backend(%s)", running.backend)
    running.join(30)
    assert running.error is not None and running.error.pgcode == "57014"  # type: ignore[attr-defined]
    assert count(witness, "runs") == 0 and count(witness, "models") == 0
    assert not children(running.backend)


def test_a_waiting_model_is_its_owners(keeping: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    query(keeping, RAISE.format("models"))
    for role in ("alice", "bob"):
        connect(role=role)
        query(keeping, f"GRANT trails_user TO {role}; GRANT SELECT ON train, valid TO {role}")
        query(keeping, f"ALTER ROLE {role} SET trails.virtualenv = '{stub.path}'")
    alice, bob = connect(role="alice"), connect(role="bob")
    assert selected(alice)[0] is None
    query(keeping, MEND.format("models"))
    assert query(bob, "SELECT * FROM trails.unregistered_models") == []
    assert refused(bob, "SELECT trails.keep_model(1)").sqlstate == "55000"
    assert query(alice, "SELECT trails.keep_model(1)") == [("kept@1",)]


def test_no_role_can_have_another_model_taken_for_a_runs(keeping: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    connect(role="alice")
    query(keeping, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    query(keeping, f"ALTER ROLE alice SET trails.virtualenv = '{stub.path}'")
    alice = connect(role="alice")
    selected(alice)
    forged = "INSERT INTO trails.unregistered_models (run_id, weights) SELECT 1, weights FROM trails.models"
    assert refused(alice, forged).sqlstate == "42501"
    query(keeping, RAISE.format("models"))
    selected(alice)
    for forgery in ("SET weights = 'x'", "SET run_id = 1"):
        assert refused(alice, f"UPDATE trails.unregistered_models {forgery}").sqlstate == "42501"
    assert query(alice, "SELECT run_id FROM trails.unregistered_models") == [(2,)]
    assert query(alice, "SELECT CURRENT_USER") == [("alice",)]
    assert refused(alice, "DELETE FROM trails.unregistered_models").sqlstate == "42501"
    assert query(alice, "SELECT trails.drop_run(2)") == [(True,)]
    assert query(alice, "SELECT run_id FROM trails.unregistered_models") == []


def test_a_role_that_may_not_record_a_run_learns_it_before_anything_is_trained(
    keeping: Any, stub: Stub, connect: Callable[..., Any]
) -> None:
    alice = connect(role="alice")
    query(keeping, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    query(keeping, f"ALTER ROLE alice SET trails.virtualenv = '{stub.path}'")
    alice = connect(role="alice")
    for table in ("runs", "candidates", "trials", "timings"):
        query(keeping, f"REVOKE INSERT ON trails.{table} FROM trails_user")
        told = refused(alice, RUN)
        assert told.sqlstate == "42501" and told.message_detail == f"The role alice lacks INSERT on trails.{table}."
        assert "trails_user" in told.message_hint
        query(keeping, f"GRANT INSERT ON trails.{table} TO trails_user")
    assert not stub.asked("rows")
    # The columns that are written are enough.
    ((columns,),) = query(
        keeping,
        "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = 'trails.runs'::regclass "
        "AND attnum > 0 AND attname NOT IN ('run_id', 'owner')",
    )
    query(
        keeping,
        f"REVOKE INSERT ON trails.runs FROM trails_user; GRANT INSERT ({columns}) ON trails.runs TO trails_user",
    )
    assert selected(alice) == ("kept@1", [])


# From here on somebody holds what the run wants.


@pytest.fixture
def other(connect: Callable[..., Any]) -> Any:
    """Another session of the same role, in a transaction that does not end."""
    session = connect()
    session.autocommit = False
    return session


def within_the_budget(session: Any, statement: str = RUN) -> tuple[str | None, list[str]]:
    """As `selected`; what the session waits for does not end by itself."""
    query(session, "SET statement_timeout = '60 s'")
    began = time.monotonic()
    found = selected(session, statement)
    assert within(time.monotonic() - began, BUDGET * 1.05 + 0.5, ALLOWANCE)
    return found


def test_a_lock_on_the_registry_is_not_waited_for_beyond_the_budget(keeping: Any, other: Any) -> None:
    query(other, "LOCK TABLE trails.models IN ACCESS EXCLUSIVE MODE")
    model, (warning,) = within_the_budget(keeping)
    assert model is None and "another session held a lock on trails.models" in warning and "SQLSTATE 55P03" in warning
    other.rollback()
    assert query(keeping, "SELECT trails.keep_model(1)") == [("kept@1",)]


def test_a_lock_on_the_catalogue_is_not_waited_for_beyond_the_budget(keeping: Any, other: Any) -> None:
    query(other, "LOCK TABLE trails.runs IN ACCESS EXCLUSIVE MODE")
    # A model's row refers to its run's table, also if it names no run.
    model, (of_run, of_model) = within_the_budget(keeping)
    assert (
        model is None and "the run is not recorded" in of_run and "another session held a lock on trails.runs" in of_run
    )
    assert "run the selection again" in of_model


def test_a_shorter_lock_timeout_of_the_sessions_own_stays(keeping: Any, other: Any) -> None:
    query(other, "LOCK TABLE trails.models IN ACCESS EXCLUSIVE MODE")
    query(keeping, "SET lock_timeout = '20 ms'")
    began = time.monotonic()
    _, (warning,) = selected(keeping, RUN.replace(f"{BUDGET} s", "60 s"))
    assert "SQLSTATE 55P03" in warning and within(time.monotonic() - began, 0.0, 30.0)
    assert query(keeping, "SHOW lock_timeout") == [("20ms",)]


def test_an_open_deploy_of_the_name_is_not_waited_for(keeping: Any, other: Any) -> None:
    assert selected(keeping)[0] == "kept@1"
    query(other, "SELECT * FROM trails.deploy('kept')")
    assert within_the_budget(keeping) == ("kept@2", [])
    other.commit()
    assert query(keeping, "SELECT version, state FROM trails.models ORDER BY 1") == [(1, "deployed"), (2, "candidate")]


def test_a_version_that_another_session_has_not_committed_is_waited_for_within_the_budget(
    keeping: Any, other: Any, connect: Callable[..., Any]
) -> None:
    query(keeping, RAISE.format("models"))
    selected(keeping)
    query(keeping, MEND.format("models"))
    assert query(other, "SELECT trails.keep_model(1)") == [("kept@1",)]
    model, (warning,) = within_the_budget(keeping)
    assert model is None and "SQLSTATE 55P03" in warning and "trails.keep_model(2)" in warning
    # Whoever waits for it takes the next version, or the same if it is given up.
    waiting = Running(connect(), "SELECT trails.keep_model(2)")
    asleep = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: query(keeping, asleep, waiting.backend) == [("Lock",)] or waiting.ended)
    other.commit()
    waiting.join()
    assert query(keeping, "SELECT version, run_id FROM trails.models ORDER BY 1") == [(1, 1), (2, 2)]


def test_no_other_role_can_hold_the_name_of_a_model(keeping: Any, connect: Callable[..., Any]) -> None:
    assert selected(keeping)[0] == "kept@1"
    connect(role="mallory")
    query(keeping, "GRANT trails_user TO mallory; SELECT trails.grant_model('kept', 'mallory')")
    mallory = connect(role="mallory")
    mallory.autocommit = False
    assert query(mallory, "SELECT to_regprocedure('trails.lock_model_name(name, text)')") == [(None,)]
    query(mallory, "SELECT pg_advisory_xact_lock(hashtextextended('trails.models postgres/kept', 0))")
    assert query(mallory, "SELECT count(*) FROM trails.models") == [(1,)]
    for strength in ("UPDATE", "KEY SHARE"):
        query(mallory, "SAVEPOINT before")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(mallory, f"SELECT name FROM trails.models FOR {strength}")
        query(mallory, "ROLLBACK TO before")
    assert within_the_budget(keeping) == ("kept@2", [])
    query(keeping, "SET lock_timeout = '2 s'")
    for call in ("deploy('kept@1')", "deploy('kept@2')", "rollback('kept')", "drop_model('kept@2')"):
        query(keeping, f"SELECT trails.{call}")


def test_resume_waits_for_the_catalogue_no_longer_than_its_budget(keeping: Any, stub: Stub, other: Any) -> None:
    stub.script(CUT)
    selected(keeping)
    query(other, "LOCK TABLE trails.checkpoints IN ACCESS EXCLUSIVE MODE")
    query(keeping, "SET statement_timeout = '30 s'")
    began = time.monotonic()
    told = refused(keeping, "SELECT * FROM trails.resume(1, '3 s')")
    assert told.sqlstate == "55P03" and "another session held a lock" in told.message_primary
    assert within(time.monotonic() - began, 3 * 1.05 + 0.5, ALLOWANCE)


def test_two_sessions_that_keep_models_of_one_name_at_once_get_two_versions(
    keeping: Any, connect: Callable[..., Any], stub: Stub
) -> None:
    second = connect()
    query(second, "SET trails.virtualenv = %s", str(stub.path))
    running = [Running(session, RUN.replace(f"{BUDGET} s", "60 s")) for session in (keeping, second)]
    for one in running:
        one.join()
        assert one.error is None
    assert query(keeping, "SELECT version FROM trails.models ORDER BY 1") == [(1,), (2,)]


def test_the_extension_stays_until_a_run_has_ended(keeping: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    stub.script(SCRIPT.replace("result(", HOLD + "result("))
    other = connect()
    query(other, "SET lock_timeout = '500 ms'")
    running = Running(keeping, RUN.replace(f"{BUDGET} s", "60 s"))
    wait_until(lambda: children(running.backend) or running.ended)
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        query(other, "DROP EXTENSION trails CASCADE")
    (stub.path / "go").touch()
    running.join()
    assert running.error is None, running.error


def test_a_session_without_row_security_has_its_run_recorded(connect: Callable[..., Any], keeping: Any) -> None:
    connect(role="alice")
    query(keeping, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    query(
        keeping,
        "DO $$ BEGIN EXECUTE format('ALTER ROLE alice SET trails.virtualenv = %L', "
        "current_setting('trails.virtualenv')); END $$",
    )
    alice = connect(role="alice")
    query(alice, "SET row_security = off")
    assert selected(alice)[0] == "kept@1"
    query(alice, "RESET row_security")
    assert query(alice, "SELECT count(*) FROM trails.runs") == [(1,)]
