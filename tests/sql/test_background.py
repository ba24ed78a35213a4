"""Runs in the background: who runs them, in what order, and what is said of them whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.background import SUBMIT, follow, go, state, submit, wait, wait_for_training
from tests.sql.stub import Stub
from tests.sql.tables import children, make_pair, query, wait_until
from tests.timing import within
from tools.server import Server, temporary_server


@pytest.fixture
def quick(session: Any, stub: Stub) -> Any:
    """A superuser's session in a database where runs train for a moment."""
    follow(session, stub, 0.0)
    return session


@pytest.fixture
def slow(session: Any, stub: Stub) -> Any:
    """The same where runs train until `go`, or for 50 s."""
    follow(session, stub, 50.0)
    return session


def refused(session: Any, statement: str) -> psycopg2.extensions.Diagnostics:
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement)
    return caught.value.diag


def limit(session: Any, most: int) -> None:
    ((database,),) = query(session, "SELECT current_database()")
    query(session, f'ALTER DATABASE "{database}" SET trails.max_runs = {most}')


def test_a_run_is_recorded_under_the_number_that_submitting_returned(quick: Any) -> None:
    query(quick, "LISTEN trails")
    run = submit(quick)
    assert wait(quick, run) == "complete"
    rows = query(quick, "SELECT run_id, function, state, owner::text, extract(epoch FROM budget) FROM trails.runs")
    assert rows == [(run, "model_selection", "complete", "postgres", 60)]
    told = "SELECT state, message, submitted <= started, started < finished FROM trails.background_runs"
    assert query(quick, told) == [("complete", None, True, True)]
    quick.poll()
    assert [json.loads(notify.payload) for notify in quick.notifies] == [{"run": run, "state": "complete"}]
    assert {notify.channel for notify in quick.notifies} == {"trails"}
    began = time.monotonic()
    assert wait(quick, run) == "complete" and within(time.monotonic() - began, 0.0, 0.2)


def test_submitting_does_not_wait_and_the_end_is_seen_at_once(slow: Any, stub: Stub) -> None:
    query(slow, "SELECT * FROM trails.filtering_phase('train', 'label', 10)")  # the interpreter is there
    began = time.monotonic()
    run = submit(slow)
    assert within(time.monotonic() - began, 0.0, 0.5)
    wait_for_training(slow, stub, run)
    query(slow, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM trails.jobs")
    assert wait(slow, run, 0) == "running"
    go(stub)
    assert wait(slow, run) == "complete"
    seen = time.time()
    query(slow, "COMMIT")
    ((finished,),) = query(slow, "SELECT extract(epoch FROM finished)::float8 FROM trails.jobs")
    assert within(seen - finished, 0.2, 0.2)


def test_waiting_ends_with_its_own_patience_and_with_the_statements(slow: Any, stub: Stub) -> None:
    run = submit(slow)
    wait_for_training(slow, stub, run)
    began = time.monotonic()
    assert wait(slow, run, 1) == "running"
    waited = time.monotonic() - began
    assert waited > 0.9 and within(waited, 1.0, 1.0)
    query(slow, "SET statement_timeout = 500")
    assert refused(slow, f"SELECT trails.wait({run})").sqlstate == "57014"
    query(slow, "RESET statement_timeout")
    assert state(slow, run) == "running", "it goes on"
    go(stub)
    assert wait(slow, run) == "complete"


def test_what_is_rolled_back_is_never_run(quick: Any) -> None:
    query(quick, "BEGIN")
    submit(quick)
    query(quick, "ROLLBACK")
    query(quick, "BEGIN")
    kept = submit(quick)
    query(quick, "SAVEPOINT s")
    submit(quick)
    query(quick, "ROLLBACK TO s")
    told = refused(quick, f"SELECT trails.wait({kept})")
    assert told.sqlstate == "55000" and "COMMIT" in told.message_hint
    query(quick, "ROLLBACK")
    query(quick, "BEGIN")
    kept = submit(quick)
    query(quick, "SAVEPOINT s")
    submit(quick)
    query(quick, "ROLLBACK TO s; SAVEPOINT t")
    also = submit(quick)
    query(quick, "RELEASE t; COMMIT")
    assert (wait(quick, kept), wait(quick, also)) == ("complete", "complete")
    assert query(quick, "SELECT run_id FROM trails.background_runs ORDER BY 1") == [(kept,), (also,)]
    query(quick, "BEGIN")
    submit(quick)
    assert refused(quick, "PREPARE TRANSACTION 'x'").sqlstate == "0A000"


def test_twenty_runs_go_two_at_a_time_and_in_order(session: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    follow(session, stub, 0.3)
    limit(session, 2)
    submitter = connect()
    runs = [submit(submitter) for _ in range(12)]
    runs += [run for (run,) in query(submitter, SUBMIT.format(budget=60) + " FROM generate_series(1, 8)")]
    assert runs == sorted(runs)
    assert [wait(session, run, 240) for run in runs] == ["complete"] * 20
    rows = query(session, "SELECT run_id, started, finished FROM trails.jobs ORDER BY started")
    # Two whose turn comes at once begin in either order.
    assert all(abs(runs.index(row[0]) - place) <= 1 for place, row in enumerate(rows))
    at_once = [sum(1 for row in rows if row[1] <= begun < row[2]) for _, begun, _ in rows]
    assert max(at_once) == 2


def test_more_run_at_once_without_a_limit(session: Any, stub: Stub) -> None:
    follow(session, stub, 50.0)
    limit(session, 0)
    query(session, SUBMIT.format(budget=60) + " FROM generate_series(1, 5)")
    wait_until(lambda: query(session, "SELECT count(*) FROM trails.background_runs WHERE state = 'running'") == [(5,)])
    go(stub)
    assert {wait(session, run) for (run,) in query(session, "SELECT run_id FROM trails.jobs")} == {"complete"}


def test_it_runs_as_the_role_with_its_rows_and_settings(quick: Any, connect: Callable[..., Any]) -> None:
    alice, bob = connect(role="alice"), connect(role="bob")
    query(quick, "GRANT trails_user TO alice, bob; GRANT SELECT ON train, valid TO alice")
    query(quick, "ALTER TABLE train ENABLE ROW LEVEL SECURITY")
    query(quick, "CREATE POLICY p ON train TO alice USING (id <= current_setting('app.most')::int)")
    query(alice, "SET app.most = '1000'; SET trails.refinement_threads = 1")
    query(alice, "BEGIN")
    run = submit(alice)
    ((settings,),) = query(alice, "SELECT settings FROM trails.jobs")
    query(alice, "COMMIT")
    assert settings["app.most"] == "1000" and settings["trails.refinement_threads"] == "1"
    assert wait(alice, run) == "complete"
    assert query(quick, "SELECT settings FROM trails.jobs") == [({},)], "they are nobody's to read later on"
    assert query(alice, "SELECT owner::text, train_rows FROM trails.runs") == [("alice", 1000)]
    assert query(bob, "SELECT * FROM trails.background_runs") == []
    assert refused(bob, f"SELECT trails.wait({run})").sqlstate == "42704"
    assert query(bob, f"SELECT trails.withdraw({run}), trails.job_state({run}, 'running')") == [(False, "running")]
    query(quick, "ALTER ROLE bob BYPASSRLS; GRANT SELECT ON trails.jobs TO bob")
    query(quick, "UPDATE trails.jobs SET state = 'running', finished = NULL")
    assert state(bob, run) == "running" and state(alice, run) == "failed", "what a row says, and what is true"
    query(quick, "UPDATE trails.jobs SET state = 'complete', finished = now()")
    query(quick, "ALTER ROLE bob NOBYPASSRLS")
    assert query(quick, "SELECT owner::text FROM trails.background_runs") == [("alice",)], "a superuser sees all"
    assert refused(bob, SUBMIT.format(budget=60)).sqlstate == "42501"
    assert refused(bob, "INSERT INTO trails.jobs SELECT * FROM trails.jobs").sqlstate == "42501"
    for forged in ("UPDATE trails.jobs SET owner = 'postgres'", "DELETE FROM trails.jobs"):
        assert refused(alice, forged).sqlstate == "42501"


def test_superusers_settings_are_not_carried(quick: Any) -> None:
    query(quick, "SET trails.max_budget = '1h'; SET work_mem = '5MB'; SET statement_timeout = '1h'")
    query(quick, "SET lock_timeout = '1ms'; BEGIN")
    submit(quick)
    ((settings,),) = query(quick, "SELECT settings FROM trails.jobs")
    query(quick, "COMMIT")
    assert settings["work_mem"] == "5MB"
    assert (
        not {"trails.max_budget", "statement_timeout", "lock_timeout", "role", "transaction_isolation"}
        & settings.keys()
    )


def test_a_run_is_its_roles_wherever_it_is_submitted(quick: Any, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    query(quick, "GRANT trails_user TO alice")
    query(
        quick,
        f"CREATE FUNCTION wrapped() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ {SUBMIT.format(budget=60)} $$",
    )
    ((run,),) = query(alice, "SELECT wrapped()")
    assert wait(quick, run) == "complete"
    assert query(quick, "SELECT owner::text FROM trails.runs") == [("postgres",)]
    assert query(alice, "SELECT count(*) FROM trails.background_runs") == [(0,)]


def test_a_role_that_cannot_log_in_submits_nothing(quick: Any, connect: Callable[..., Any]) -> None:
    connect(role="analysts")
    query(quick, "ALTER ROLE analysts NOLOGIN; GRANT trails_user TO analysts; GRANT SELECT ON train, valid TO analysts")
    query(quick, "SET ROLE analysts")
    told = refused(quick, SUBMIT.format(budget=60))
    assert told.sqlstate == "28000" and "log in" in told.message_primary


@pytest.mark.parametrize("change", ["ALTER ROLE alice NOLOGIN", "REVOKE CONNECT ON DATABASE {} FROM PUBLIC"])
def test_a_role_that_is_kept_out_meanwhile(slow: Any, stub: Stub, connect: Callable[..., Any], change: str) -> None:
    alice = connect(role="alice")
    query(slow, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    limit(slow, 1)
    first = submit(slow)
    wait_for_training(slow, stub, first)
    second, third = submit(alice), submit(slow)
    ((database,),) = query(slow, "SELECT current_database()")
    query(slow, change.format(database))
    assert wait(alice, second) == "failed"
    go(stub)
    assert (wait(slow, first), wait(slow, third)) == ("complete", "complete"), "others go on"
    ((now, code, message),) = query(slow, f"SELECT state, sqlstate, message FROM trails.jobs WHERE run_id = {second}")
    assert (now, code) == ("failed", "28000") and "alice" in message


def test_a_mistake_is_told_at_once(quick: Any) -> None:
    assert refused(quick, "SELECT trails.submit('train', 'nothing')").sqlstate == "42703"
    assert refused(quick, "SELECT trails.submit('train', 'label', space => 'none')").sqlstate == "22023"
    assert refused(quick, "SELECT trails.submit('train', 'label', name => 'a/b')").sqlstate == "22023"
    assert refused(quick, "SELECT trails.submit('train', 'label', '1 ms')").sqlstate == "53400"
    assert refused(quick, "BEGIN READ ONLY; SELECT trails.submit('train', 'label')").sqlstate == "25006"
    query(quick, "ROLLBACK")
    assert query(quick, "SELECT count(*) FROM trails.jobs") == [(0,)]
    assert refused(quick, "SELECT trails.wait(-1)").sqlstate == "42704"


def test_what_goes_wrong_later_leaves_a_row_that_says_so(slow: Any, stub: Stub) -> None:
    limit(slow, 1)
    first = submit(slow)
    wait_for_training(slow, stub, first)
    second = submit(slow)
    query(slow, "DROP TABLE valid")
    go(stub)
    assert (wait(slow, first), wait(slow, second)) == ("complete", "failed")
    asked = "SELECT state, sqlstate, message FROM trails.background_runs WHERE run_id = %s"
    ((now, code, message),) = query(slow, asked, second)
    assert (now, code) == ("failed", "42P01") and "no relation" in message
    assert query(slow, "SELECT run_id FROM trails.runs") == [(first,)]


def test_the_worker_holds_no_snapshot_while_it_trains(slow: Any, stub: Stub) -> None:
    run = submit(slow)
    worker = wait_for_training(slow, stub, run)
    asked = "SELECT backend_xmin, backend_xid, backend_type, usename FROM pg_stat_activity WHERE pid = %s"
    assert query(slow, asked, worker) == [(None, None, "trails run", "postgres")]
    locked = "SELECT count(*) FROM pg_locks WHERE pid = %s AND relation = 'train'::regclass"
    assert query(slow, locked, worker) == [(0,)]
    query(slow, "ALTER TABLE train RENAME TO elsewhere")
    go(stub)
    assert wait(slow, run) == "complete"


def test_a_cancelled_run_says_so_and_its_process_is_gone(slow: Any, stub: Stub) -> None:
    query(slow, "LISTEN trails")
    run = submit(slow)
    worker = wait_for_training(slow, stub, run)
    assert children(worker)
    query(slow, "SELECT pg_cancel_backend(%s)", worker)
    assert wait(slow, run, 10) == "cancelled"
    assert query(slow, "SELECT sqlstate FROM trails.background_runs") == [("57014",)]
    assert query(slow, "SELECT count(*) FROM trails.runs") == [(0,)]
    assert not children(worker)
    slow.poll()
    assert [json.loads(notify.payload)["state"] for notify in slow.notifies] == ["cancelled"]


def test_a_run_that_waits_can_be_withdrawn(slow: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    limit(slow, 1)
    first = submit(slow)
    wait_for_training(slow, stub, first)
    second, third = submit(slow), submit(slow)
    assert (state(slow, second), state(slow, third)) == ("queued", "queued")
    query(slow, f"BEGIN; SELECT trails.withdraw({second}); ROLLBACK")
    assert state(slow, second) == "queued"
    undecided = connect()
    query(undecided, f"BEGIN; SELECT trails.withdraw({second})")
    go(stub)
    assert (wait(slow, first), wait(slow, third)) == ("complete", "complete"), "what is undecided holds nobody up"
    query(undecided, "COMMIT")
    assert (state(slow, second), wait(slow, second)) == ("cancelled", "cancelled")
    assert query(slow, f"SELECT trails.withdraw({first}), trails.withdraw({second})") == [(False, False)]
    assert query(slow, "SELECT run_id FROM trails.runs ORDER BY 1") == [(first,), (third,)]


def test_a_child_that_is_killed_leaves_the_best_so_far(slow: Any, stub: Stub) -> None:
    run = submit(slow)
    (child,) = children(wait_for_training(slow, stub, run))
    time.sleep(0.5)  # the epoch is on its way
    os.kill(child, signal.SIGKILL)
    assert wait(slow, run) == "best so far"
    ((message,),) = query(slow, "SELECT message FROM trails.background_runs")
    assert "killed" in message


@pytest.fixture
def own_server(pg: Server, cluster: Path, stub: Stub) -> Iterator[Server]:
    """A server that the test may crash, whose runs train until `go`; two at once, and a queue."""
    # What was committed is there after a crash.
    settings = {"trails.max_runs": "2", "synchronous_commit": "on"}
    with temporary_server(pg.pg_config, pg.virtualenv, settings, copy_data_from=cluster) as server:
        with contextlib.closing(connected(server)) as session:
            make_pair(session)
            follow(session, stub, 50.0)
        yield server


def connected(server: Server) -> Any:
    session = psycopg2.connect(**server.socket_parameters())
    session.autocommit = True
    return session


def answers(session: Any) -> bool:
    with contextlib.suppress(psycopg2.Error):
        return query(session, "SELECT 1") == [(1,)]
    return False


def reconnected(server: Server) -> Any:
    def attempt() -> Any:
        with contextlib.suppress(psycopg2.Error):
            return connected(server)
        return None

    return wait_until(attempt)


@pytest.mark.parametrize("killed", ["worker", "postmaster", "fast shutdown"])
def test_after_a_crash_nothing_is_said_to_run(own_server: Server, stub: Stub, killed: str) -> None:
    session = connected(own_server)
    first, second, third = submit(session), submit(session), submit(session)
    worker = wait_for_training(session, stub, first)
    wait_until(lambda: state(session, second) == "running")
    started = children(worker)
    assert state(session, third) == "queued" and started
    if killed == "worker":
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not answers(session))  # every session ends
    else:
        own_server.terminate(signal.SIGKILL if killed == "postmaster" else signal.SIGINT)
        wait_until(lambda: not own_server.is_alive())
        own_server.start()
    session.close()
    session = reconnected(own_server)
    rows = query(session, "SELECT run_id, state, sqlstate, message FROM trails.background_runs ORDER BY 1")
    assert [row[:3] for row in rows] == [
        (first, "failed", "57P01"),
        (second, "failed", "57P01"),
        (third, "queued", None),
    ]
    assert "killed" in rows[0][3]
    assert wait(session, first, 5) == "failed"
    wait_until(lambda: not children(worker))
    # What waited is not lost: whoever waits for it has it started.
    go(stub)
    assert wait(session, third) == "complete"
    assert query(session, "SELECT state FROM trails.jobs ORDER BY run_id") == [("failed",), ("failed",), ("complete",)]


def test_a_server_without_room_for_a_worker_says_so(pg: Server, cluster: Path, stub: Stub) -> None:
    # The launcher of logical replication has the one place.
    for most, full in (("0", False), ("1", True)):
        settings = {"max_worker_processes": most}
        with temporary_server(pg.pg_config, pg.virtualenv, settings, copy_data_from=cluster) as server:
            session = connected(server)
            make_pair(session)
            if not full:
                told = refused(session, SUBMIT.format(budget=60))
                assert told.sqlstate == "53400" and "max_worker_processes" in told.message_detail
                continue
            run = submit(session)
            assert any("WARNING" in notice and "max_worker_processes" in notice for notice in session.notices)
            assert wait(session, run, 2) == "queued"


def test_a_run_that_found_no_worker_starts_when_somebody_looks(pg: Server, cluster: Path, stub: Stub) -> None:
    # Beside the launcher of logical replication there is one place, which the first run has.
    settings = {"max_worker_processes": "2", "trails.max_runs": "0"}
    with temporary_server(pg.pg_config, pg.virtualenv, settings, copy_data_from=cluster) as server:
        session = connected(server)
        make_pair(session)
        follow(session, stub, 50.0)
        first = submit(session)
        worker = wait_for_training(session, stub, first)
        second = submit(session)
        assert any("WARNING" in notice and "max_worker_processes" in notice for notice in session.notices)
        for _ in range(3):
            assert wait(session, second, 0) == "queued"
        go(stub)
        assert wait(session, first) == "complete"
        wait_until(lambda: not Path(f"/proc/{worker}").exists())
        time.sleep(1.0)
        # The worker that has ended had the only place until then, and nobody submits anything.
        assert state(session, second) == "queued"
        # Not a moment of patience is asked for, and nobody has any.
        query(session, "SET default_transaction_read_only = on")
        wait_until(lambda: wait(session, second, 0) == "complete")


def test_a_role_may_have_so_many_waiting(slow: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    limit(slow, 1)
    query(slow, "SET trails.max_queued_runs = 2")
    first = submit(slow)
    wait_for_training(slow, stub, first)
    second, third = submit(slow), submit(slow)
    told = refused(slow, SUBMIT.format(budget=60))
    assert told.sqlstate == "53400" and "2 runs waiting" in told.message_primary
    assert "trails.withdraw" in told.message_hint and "trails.max_queued_runs" in told.message_hint
    alice = connect(role="alice")
    query(slow, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    fourth = submit(alice)
    assert refused(alice, "SET trails.max_queued_runs = 0").sqlstate == "42501"
    assert query(slow, f"SELECT trails.withdraw({third})") == [(True,)]
    fifth = submit(slow)
    # Those that one statement submits count, too, and none of them is left.
    assert refused(slow, SUBMIT.format(budget=60) + " FROM generate_series(1, 3)").sqlstate == "53400"
    query(slow, "SET trails.max_queued_runs = 0")
    more = [run for (run,) in query(slow, SUBMIT.format(budget=60) + " FROM generate_series(1, 3)")]
    go(stub)
    runs = [first, second, fifth, *more]
    assert [wait(slow, run, 240) for run in runs] == ["complete"] * len(runs) and wait(alice, fourth) == "complete"


def test_the_hint_of_a_full_queue_takes_nothing_out_of_it(slow: Any, stub: Stub) -> None:
    limit(slow, 1)
    query(slow, "SET trails.max_queued_runs = 2")
    first = submit(slow)
    wait_for_training(slow, stub, first)
    waiting = [submit(slow), submit(slow)]
    hint = refused(slow, SUBMIT.format(budget=60)).message_hint
    statement = hint[hint.index("SELECT") :].partition(" lists them")[0]
    assert sorted(row[0] for row in query(slow, statement)) == waiting
    assert [state(slow, run) for run in waiting] == ["queued", "queued"]
    go(stub)
    assert [wait(slow, run) for run in (first, *waiting)] == ["complete"] * 3


def test_what_waits_is_counted_as_it_is_now(slow: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    limit(slow, 1)
    first = submit(slow)
    wait_for_training(slow, stub, first)
    query(slow, "SET trails.max_queued_runs = 1")
    query(slow, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM trails.jobs")
    second = submit(connect())
    assert refused(slow, SUBMIT.format(budget=60)).sqlstate == "53400"
    query(slow, "ROLLBACK")
    go(stub)
    assert wait(slow, second) == "complete"


def test_workers_that_do_not_come_are_started_less_and_less(slow: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    limit(slow, 1)
    first = submit(slow)
    wait_for_training(slow, stub, first)
    second = submit(slow)
    workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'trails run' AND datname = current_database()"
    wait_until(lambda: query(slow, workers) == [(1,)])
    locker = connect()
    # Rows can be read; a worker gets no further than to those that it locks, and so it says nothing.
    query(locker, "BEGIN; LOCK TABLE trails.jobs IN EXCLUSIVE MODE")
    query(slow, "SET trails.max_runs = 2")
    assert wait(slow, second, 6) == "queued"
    for _ in range(10):
        assert wait(slow, second, 0) == "queued"
        time.sleep(0.1)
    ((started,),) = query(slow, workers)
    # After one second at most, and then after one, two and four: one a second would be six.
    assert 1 <= started - 1 <= 4
    query(locker, "ROLLBACK")
    go(stub)
    assert [wait(slow, run) for run in (first, second)] == ["complete"] * 2


def test_what_runs_in_the_background_is_watched_stopped_and_cancelled_as_any_run(
    session: Any, stub: Stub, connect: Callable[..., Any]
) -> None:
    follow(session, stub, 50.0)
    limit(session, 1)
    submitter = connect()
    stopped, cancelled, *waiting = [submit(submitter) for _ in range(4)]
    wait_for_training(session, stub, stopped)
    wait_until(lambda: query(session, "SELECT 1 FROM trails.progress WHERE epochs = 1"))
    seen = "SELECT run_id, function, role, phase FROM trails.progress"
    assert query(session, seen) == [(stopped, "model_selection", "postgres", "refining")]
    assert query(session, "SELECT run_id, epoch FROM trails.live_trials") == [(stopped, 1)]
    for function, run in zip(("stop", "cancel"), waiting, strict=True):
        assert query(session, f"SELECT trails.{function}({run})") == [(True,)]
        told = refused(session, f"SELECT trails.{function}({run})")
        assert told.sqlstate == "55000" and '"cancelled"' in told.message_detail
    assert query(session, f"SELECT trails.stop({stopped})") == [(True,)]
    assert wait(session, stopped) == "best so far"
    assert "trails.stop" in query(session, "SELECT fault FROM trails.runs WHERE run_id = %s", stopped)[0][0]
    wait_for_training(session, stub, cancelled)
    assert query(session, f"SELECT trails.cancel({cancelled})") == [(True,)]
    assert wait(session, cancelled) == "cancelled"
    assert not query(session, "SELECT 1 FROM trails.progress")
    assert query(session, "SELECT run_id FROM trails.runs") == [(stopped,)]
    told = refused(session, f"SELECT trails.stop({cancelled})")
    assert told.sqlstate == "55000" and '"cancelled"' in told.message_detail


def test_a_run_that_has_just_begun_can_be_stopped(session: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    follow(session, stub, 50.0)
    submitter = connect()
    run = submit(submitter)
    wait_until(lambda: state(session, run) == "running")
    # Its worker may not have come so far as to be seen.
    assert query(session, f"SELECT trails.stop({run})") == [(True,)]
    assert wait(session, run) in ("best so far", "cancelled")


def test_a_run_can_be_ended_while_its_table_is_locked(session: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    follow(session, stub, 50.0)
    limit(session, 1)
    submitter, locker = connect(), connect()
    first, second, third = submit(submitter), submit(submitter), submit(submitter)
    wait_for_training(session, stub, first)
    query(locker, "BEGIN; LOCK TABLE train")
    assert query(session, f"SELECT trails.stop({first})") == [(True,)]
    for function, run in (("stop", second), ("cancel", third)):
        wait_until(lambda run=run: state(session, run) == "running")
        assert query(session, f"SELECT trails.{function}({run})") == [(True,)]
        assert wait(session, run, 20) == "cancelled"
    query(locker, "ROLLBACK")


def test_the_queue_goes_on_when_a_worker_is_terminated(slow: Any, stub: Stub) -> None:
    limit(slow, 1)
    first = submit(slow)
    worker = wait_for_training(slow, stub, first)
    second = submit(slow)
    query(slow, "SELECT pg_terminate_backend(%s)", worker)
    # Nobody waits with trails.wait, which would have a worker started.
    wait_until(lambda: state(slow, second) == "running")
    assert query(slow, "SELECT sqlstate FROM trails.background_runs WHERE run_id = %s", first) == [("57P01",)]
    go(stub)
    assert wait(slow, second) == "complete"


def test_cancels_that_come_late_hit_nothing_but_the_run(slow: Any, stub: Stub) -> None:
    limit(slow, 1)
    first = submit(slow)
    worker = wait_for_training(slow, stub, first)
    second = submit(slow)
    with contextlib.suppress(ProcessLookupError):
        for _ in range(3000):
            os.kill(worker, signal.SIGINT)
            time.sleep(0.001)
    wait_until(lambda: state(slow, second) == "running")
    assert query(slow, "SELECT state FROM trails.jobs WHERE run_id = %s", first) == [("cancelled",)]
    go(stub)
    assert wait(slow, second) == "complete"


def test_a_row_that_somebody_has_locked_is_waited_for(slow: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    ((database,),) = query(slow, "SELECT current_database()")
    query(slow, f"ALTER DATABASE \"{database}\" SET lock_timeout = '50ms'")
    run = submit(slow)
    wait_for_training(slow, stub, run)
    locker = connect()
    query(locker, "BEGIN; SELECT 1 FROM trails.jobs FOR UPDATE")
    go(stub)
    time.sleep(1.0)
    assert state(slow, run) == "running"
    query(locker, "COMMIT")
    assert wait(slow, run) == "complete"


def test_a_run_may_last_longer_than_a_transaction(session: Any, stub: Stub) -> None:
    if session.server_version < 170000:
        pytest.skip("transaction_timeout came with PostgreSQL 17")
    follow(session, stub, 2.0)
    ((database,),) = query(session, "SELECT current_database()")
    query(session, f"ALTER DATABASE \"{database}\" SET transaction_timeout = '500ms'")
    assert wait(session, submit(session)) == "complete"


def test_a_run_that_has_begun_since_the_snapshot_does_not_wait(slow: Any, stub: Stub) -> None:
    limit(slow, 1)
    first = submit(slow)
    wait_for_training(slow, stub, first)
    second = submit(slow)
    query(slow, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM trails.jobs")
    assert query(slow, f"SELECT trails.stop({first})") == [(True,)]
    # As the transaction sees it, it waits still.
    wait_until(lambda: state(slow, second) == "running")
    assert query(slow, f"SELECT trails.withdraw({second})") == [(False,)]
    assert query(slow, f"SELECT trails.cancel({second})") == [(True,)]
    query(slow, "COMMIT")
    assert wait(slow, second) == "cancelled"


def test_one_whose_worker_does_not_come_holds_up_nobody(slow: Any, stub: Stub) -> None:
    limit(slow, 1)
    first = submit(slow)
    wait_for_training(slow, stub, first)
    query(slow, "BEGIN")
    second = submit(slow)
    query(slow, "UPDATE trails.jobs SET offers = 1 WHERE run_id = %s; COMMIT", second)
    # Its worker has come, and seen that it is not its turn.
    wait_until(lambda: query(slow, "SELECT offers FROM trails.jobs WHERE run_id = %s", second) == [(0,)])
    third = submit(slow)
    query(slow, "UPDATE trails.jobs SET offers = 3, offered = now() + interval '1 h' WHERE run_id = %s", second)
    go(stub)
    wait_until(lambda: state(slow, third) == "complete")
    assert state(slow, second) == "queued"
    query(slow, "UPDATE trails.jobs SET offered = NULL WHERE run_id = %s", second)
    assert wait(slow, second) == "complete"


def test_what_ended_without_a_word_can_be_purged(quick: Any) -> None:
    assert wait(quick, submit(quick)) == "complete"
    query(quick, "UPDATE trails.jobs SET state = 'running', finished = NULL")
    query(quick, "SELECT trails.drop_run(run_id) FROM trails.runs")
    assert query(quick, "SELECT trails.purge_runs('0 s')") == [(1,)]
    assert query(quick, "SELECT count(*) FROM trails.jobs") == [(0,)]


def test_the_extension_stays_while_a_run_trains(slow: Any, stub: Stub) -> None:
    run = submit(slow)
    wait_for_training(slow, stub, run)
    query(slow, "SET lock_timeout = '200ms'")
    assert refused(slow, "DROP EXTENSION trails CASCADE").sqlstate == "55P03"
    query(slow, "RESET lock_timeout")
    go(stub)
    assert wait(slow, run) == "complete"


def test_background_runs_can_be_read_whatever_the_plan(quick: Any, connect: Callable[..., Any]) -> None:
    assert wait(quick, submit(quick)) == "complete"
    query(quick, "UPDATE trails.jobs SET state = 'running', finished = NULL")
    name = "debug_parallel_query" if quick.server_version >= 160000 else "force_parallel_mode"
    query(quick, f"SET {name} = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0")
    query(quick, "SET min_parallel_table_scan_size = 0")
    assert query(quick, "SELECT state FROM trails.background_runs") == [("failed",)]


def test_a_standby_says_that_it_ends_no_run(own_server: Server, stub: Stub) -> None:
    with contextlib.closing(connected(own_server)) as session:
        go(stub)
        run = submit(session)
        assert wait(session, run) == "complete"
        query(session, "UPDATE trails.jobs SET state = 'queued', finished = NULL")
    own_server.terminate()
    (own_server.data_dir / "standby.signal").touch()
    own_server.start()
    with contextlib.closing(connected(own_server)) as session:
        for function in ("stop", "cancel", "withdraw"):
            told = refused(session, f"SELECT trails.{function}({run})")
            assert told.sqlstate == "25006" and "standby" in told.message_primary
