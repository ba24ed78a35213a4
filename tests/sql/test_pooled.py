"""Sessions that share server connections transaction by transaction, by PgBouncer."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.sql.background import follow, go, state, submit, wait, wait_for_training
from tests.sql.pool import PROGRAM, Pool, pooled
from tests.sql.predicted import expected, make_model, store
from tests.sql.stub import Stub
from tests.sql.tables import children, query, runs, wait_until
from tests.sql.test_interrupts import Running
from tools.server import Server
from trails.table.columns import Column, Columns

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed (Debian's package pgbouncer)")

COLUMNS = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
MODELS = {version: make_model(COLUMNS, seed=version) for version in (1, 2)}
SCORES = {version: [score for _, score, _ in expected(model, COLUMNS)] for version, model in MODELS.items()}

SELECT = "SELECT * FROM trails.model_selection('train', 'label', '60 s', validation => 'valid', k => 1, u => 1)"


@pytest.fixture
def one(pg: Server, database: str, session: Any) -> Iterator[Pool]:
    """A pool with one server connection: whatever a client left behind in it, the next one meets."""
    with pooled(pg, database, 1) as pool:
        yield pool


@pytest.fixture
def two(pg: Server, database: str, session: Any, connect: Callable[..., Any]) -> Iterator[Pool]:
    """Two server connections for each of two roles, and the table `small` with a model `m` of the superuser's."""
    connect(role="alice")
    query(session, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    query(session, "CREATE TABLE small (a int); INSERT INTO small VALUES (1), (2), (3); GRANT SELECT ON small TO alice")
    for version, model in MODELS.items():
        store(session, "m", model, version)
    query(session, "SELECT trails.deploy('m@1')")
    with pooled(pg, database, 2, ("postgres", "alice")) as pool:
        yield pool


def scores(rows: list[tuple[Any, ...]]) -> Any:
    return pytest.approx([row[0] for row in rows], abs=1e-6)


def backend(connection: Any) -> int:
    ((pid,),) = query(connection, "SELECT pg_backend_pid()")
    return int(pid)


def test_many_clients_predict_over_few_connections(two: Pool, session: Any) -> None:
    query(session, "SELECT trails.grant_model('m', 'alice')")
    faults: list[BaseException] = []
    seen: set[int] = set()

    def ask(role: str) -> None:
        try:
            connection = two.connect(role)
            for _ in range(20):
                rows = query(connection, "SELECT trails.predict_score('postgres/m', s), pg_backend_pid() FROM small s")
                assert SCORES[1] == scores(rows)
                seen.update(row[1] for row in rows)
                predicted = query(connection, "SELECT score FROM trails.predict('postgres/m', 'small')")
                assert SCORES[1] == scores(predicted)
        except BaseException as fault:
            faults.append(fault)

    clients = [threading.Thread(target=ask, args=(role,)) for role in ("postgres", "alice") for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(60)
    assert not faults and not any(client.is_alive() for client in clients)
    assert 2 <= len(seen) <= 4, "two for each role"


def test_a_selection_runs_whole_through_the_pool(two: Pool) -> None:
    alice, other = two.connect("alice"), two.connect("alice")
    rows = query(alice, SELECT.replace("60 s", "30 s").replace("u => 1", "u => 1, name => 'mine', n => 100"))
    assert rows[0][7] == "mine@1"
    # Whoever comes next, and whichever connection it gets, finds the model.
    assert len(query(other, "SELECT * FROM trails.predict('mine', 'valid')")) == 1000
    assert query(other, "SELECT owner::text FROM trails.models WHERE name = 'mine'") == [("alice",)]


def test_what_a_transaction_sets_is_over_with_it(one: Pool, scripted: Any, stub: Stub) -> None:
    stub.script(
        "receive(); ready(); rows(); request = receive(); plan(k=1); best = request['candidates'][0][0]\n"
        "epoch(best, 0, 1, 0.9); result([row(best, 0.9)])"
    )
    first, second = one.connect(autocommit=False), one.connect()
    for statement in (
        f"SET LOCAL trails.virtualenv = '{stub.path}'",
        "SET LOCAL trails.refinement_threads = 3",
        "SET LOCAL trails.progress = 'off'",
    ):
        query(first, statement)
    rows = query(first, SELECT)
    pid = backend(first)
    assert rows[0][3] == 0.9, "the script's, so that the setting counted"
    first.commit()
    assert backend(second) == pid
    assert query(second, "SHOW trails.refinement_threads") == [("0",)]
    assert query(second, "SHOW trails.progress") == [("phases",)]
    assert query(second, "SHOW trails.virtualenv") != [(str(stub.path),)]
    asked = [request for request in stub.requests() if "threads" in request]
    assert asked and all(request["threads"] == 3 for request in asked)


def test_a_prepared_statement_of_a_transaction_follows_the_registry(two: Pool) -> None:
    first, other = two.connect(autocommit=False), two.connect()
    query(first, "PREPARE scored AS SELECT trails.predict_score('m', s) FROM small s")
    assert SCORES[1] == scores(query(first, "EXECUTE scored"))
    query(other, "SELECT trails.deploy('m@2')")
    assert SCORES[2] == scores(query(first, "EXECUTE scored"))
    query(other, "SELECT trails.rollback('m')")
    assert SCORES[1] == scores(query(first, "EXECUTE scored"))
    query(first, "DEALLOCATE scored")
    first.commit()


def test_parameters_of_the_protocol_are_taken(two: Pool) -> None:
    """Unnamed statements, parsed and bound by the server; named ones need PgBouncer's `max_prepared_statements`."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg 3 is not installed")
    statement = "SELECT trails.predict_score(%s, s) FROM small s WHERE s.a = %s"
    with psycopg.connect(**two.parameters(), prepare_threshold=None, autocommit=True) as connection:
        for _ in range(3):
            for value, wanted in zip((1, 2, 3), SCORES[1], strict=True):
                assert connection.execute(statement, ("m", value)).fetchone()[0] == pytest.approx(wanted, abs=1e-6)


def test_a_run_is_submitted_watched_stopped_and_waited_for(
    two: Pool, session: Any, stub: Stub, connect: Callable[..., Any]
) -> None:
    listener = connect()
    query(listener, "LISTEN trails")
    follow(session, stub, 50.0)
    submitter, watcher, waiter = two.connect("alice"), two.connect("alice"), two.connect("alice")
    run = submit(submitter)
    worker = wait_for_training(watcher, stub, run)
    assert worker not in {backend(client) for client in (submitter, watcher, waiter)}
    # The submitter's client goes, and so may its server connection: the run stays.
    submitter.close()
    (seen,) = query(watcher, "SELECT run_id, role, phase FROM trails.progress")
    assert seen == (run, "alice", "refining")
    waits = Running(waiter, f"SELECT trails.wait({run}, '1 min')")
    assert query(watcher, f"SELECT trails.stop({run})") == [(True,)]
    waits.join()
    assert waits.error is None
    assert wait(watcher, run) == state(watcher, run) == "best so far"
    assert query(watcher, "SELECT state FROM trails.runs WHERE run_id = %s", run) == [("best so far",)]
    # Who listens on a connection of its own is told; through the pool nobody is.
    wait_until(lambda: select.select([listener], [], [], 0.1)[0] and (listener.poll() or listener.notifies))
    assert json.loads(listener.notifies[0].payload) == {"run": run, "state": "best so far"}


def test_a_submitted_run_takes_the_settings_of_its_transaction_along(one: Pool, session: Any, stub: Stub) -> None:
    follow(session, stub, 0.0)
    first, second = one.connect(autocommit=False), one.connect()
    query(first, "SET LOCAL trails.refinement_threads = 3")
    with_it = submit(first)
    first.commit()
    without = submit(second)
    go(stub)
    assert [wait(second, run) for run in (with_it, without)] == ["complete", "complete"]
    threads = sorted(request["threads"] for request in stub.requests() if "threads" in request)
    assert len(threads) == 2 and threads[1] != threads[0] and 3 in threads


def test_a_submission_that_is_rolled_back_never_begins(one: Pool, session: Any, stub: Stub) -> None:
    follow(session, stub, 0.0)
    first, second = one.connect(autocommit=False), one.connect()
    submit(first)
    first.rollback()
    assert query(second, "SELECT count(*) FROM trails.background_runs") == [(0,)]
    kept = submit(second)
    go(stub)
    assert wait(second, kept) == "complete", "the connection was left as it had been"


@pytest.mark.parametrize("how", ["cancel", "gone"])
def test_a_client_that_gives_up_leaves_nothing_running(one: Pool, scripted: Any, stub: Stub, how: str) -> None:
    stub.script("receive(); ready(); rows(); receive(); plan()\nwhile True: send('alive'); time.sleep(0.05)")
    ((name,),) = query(scripted, "SELECT current_database()")
    query(scripted, f"ALTER DATABASE \"{name}\" SET trails.virtualenv = '{stub.path}'")
    client = one.connect()
    running = Running(client, SELECT)

    def training() -> Any:
        return stub.asked("refine") and query(scripted, "SELECT pid FROM trails.progress")

    ((pid,),) = wait_until(training)
    started = children(pid)
    assert started
    if how == "cancel":
        client.cancel()
    else:
        with socket.socket(fileno=os.dup(client.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
    running.join()
    wait_until(lambda: not any(map(runs, started)))
    if how == "cancel":
        assert getattr(running.error, "pgcode", None) == "57014"
        assert backend(client) == pid, "the connection goes on"
    else:
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
    with contextlib.closing(one.connect()) as other:
        assert query(other, "SELECT count(*) FROM trails.runs") == [(0,)]
        assert query(other, "SELECT count(*) FROM train") == [(3000,)]


def test_an_error_in_one_transaction_is_nothing_to_the_next(one: Pool) -> None:
    first, second = one.connect(), one.connect()
    pid = backend(first)
    with pytest.raises(psycopg2.Error) as caught:
        query(first, SELECT.replace("'label'", "'nothing'"))
    assert caught.value.pgcode == "42703"
    assert backend(second) == pid
    assert query(second, "SELECT count(*) FROM trails.tfmems()")[0][0] > 0
