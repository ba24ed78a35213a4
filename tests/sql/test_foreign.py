"""Tables of another server, by postgres_fdw: selected on, predicted and judged as the caller's own user mapping may."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.background import follow, go, wait, wait_for_training
from tests.sql.contrib import settings_for
from tests.sql.stub import Stub
from tests.sql.tables import children, make_pair, query, runs, shared_memory, wait_until
from tests.sql.test_interrupts import PROMPT, Running
from tests.timing import within
from tools.server import DATABASE, Server, temporary_server

RUN = (
    "SELECT * FROM trails.model_selection("
    "'far.train', 'label', '{}', validation => 'far.valid', n => 100, k => 1, u => 1)"
)
SLOW = "SELECT * FROM trails.model_selection('far.slow', 'label', '60 s')"
_numbers = itertools.count(1)


def session_of(server: Server, database: str = DATABASE, role: str = "postgres") -> Any:
    connection = psycopg2.connect(**server.socket_parameters(database, role))
    connection.autocommit = True
    return connection


@pytest.fixture(scope="module")
def far(pg: Server, cluster: Path) -> Iterator[Server]:
    """The other server: `train`, `valid`, the latter's rows of even number for `half` alone, and `slow`."""
    with temporary_server(pg.pg_config, copy_data_from=cluster) as server:
        with contextlib.closing(session_of(server)) as connection:
            make_pair(connection)
            query(connection, "DROP EXTENSION trails")
            query(connection, "CREATE ROLE reader LOGIN PASSWORD 'r'; CREATE ROLE half LOGIN PASSWORD 'h'")
            query(connection, "CREATE ROLE nobody LOGIN PASSWORD 'n'")
            query(connection, "CREATE VIEW slow AS SELECT t.* FROM train t WHERE pg_sleep(0.02) IS NOT NULL")
            query(connection, "GRANT SELECT ON train, valid, slow TO reader, half")
            query(connection, "ALTER TABLE train ENABLE ROW LEVEL SECURITY")
            query(connection, "CREATE POLICY all_of_it ON train TO reader USING (true)")
            query(connection, "CREATE POLICY a_half ON train TO half USING (id % 2 = 0)")
        yield server


@pytest.fixture(scope="module")
def near_server(pg: Server, cluster: Path) -> Iterator[Server]:
    settings = settings_for(pg.pg_config, "postgres_fdw")
    if settings is None:
        pytest.skip("this server has no postgres_fdw: TRAILS_CONTRIB may name an installation of 18 that has")
    with temporary_server(pg.pg_config, pg.virtualenv, settings, copy_data_from=cluster) as server:
        for role in ("alice", "bob"):
            server.sql(DATABASE, f"CREATE ROLE {role} LOGIN; GRANT trails_user TO {role}")
        yield server


class Near:
    """A fresh database whose schema `far` has the other server's tables, and sessions in it."""

    def __init__(self, server: Server, database: str) -> None:
        self.server, self.database = server, database
        self._sessions: list[Any] = []

    def session(self, role: str = "postgres") -> Any:
        self._sessions.append(session_of(self.server, self.database, role))
        return self._sessions[-1]

    def close(self) -> None:
        for session in self._sessions:
            session.close()


@pytest.fixture
def near(near_server: Server, far: Server) -> Iterator[Near]:
    name = f"near_{next(_numbers)}"
    near_server.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {DATABASE}")
    near = Near(near_server, name)
    session, there = near.session(), far.dsn()
    query(session, "CREATE EXTENSION postgres_fdw")
    query(
        session,
        f"CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw "
        f"OPTIONS (host '127.0.0.1', port '{there['port']}', dbname '{DATABASE}')",
    )
    query(session, "GRANT USAGE ON FOREIGN SERVER there TO alice, bob; CREATE SCHEMA far")
    map_to(session, "postgres", "postgres", there["password"])
    map_to(session, "alice", "reader", "r")
    query(session, "IMPORT FOREIGN SCHEMA public FROM SERVER there INTO far")
    query(session, "GRANT USAGE ON SCHEMA far TO alice, bob; GRANT SELECT ON ALL TABLES IN SCHEMA far TO alice, bob")
    yield near
    near.close()
    near_server.drop_database(name)


def map_to(session: Any, role: str, user: str, password: str) -> None:
    query(session, f"CREATE USER MAPPING FOR {role} SERVER there OPTIONS (user '{user}', password '{password}')")


def refused(connection: Any, statement: str) -> Any:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    return caught.value.diag


def assert_nothing_left(session: Any, near: Near) -> None:
    backend = session.info.backend_pid
    wait_until(lambda: not any(map(runs, children(backend))), 5)
    assert not shared_memory(backend)
    assert query(session, "SELECT 1") == [(1,)], "the session goes on"
    witness = near.session()
    assert query(witness, "SELECT count(*) FROM trails.runs") == [(0,)]
    assert query(witness, "SELECT count(*) FROM trails.progress") == [(0,)]


def test_a_foreign_table_is_what_a_copy_of_it_is(near: Near) -> None:
    session, alice = near.session(), near.session("alice")
    query(session, "CREATE TABLE copied AS SELECT * FROM far.valid; GRANT SELECT ON copied TO alice")
    query(session, "CREATE TABLE trained AS SELECT * FROM far.train; GRANT SELECT ON trained TO alice")
    described = "SELECT * FROM trails.describe_columns('{}')"
    assert query(alice, described.format("far.train")) == query(alice, described.format("trained"))
    rows = query(alice, RUN.format("20 s").replace("u => 1", "u => 1, name => 'm'"))
    assert rows[0][7] == "m@1"
    assert query(alice, "SELECT source, train_rows, validation_rows FROM trails.runs") == [("far.train", 3000, 1000)]
    # Of the same rows in the same order, whatever they come from.
    for call in (
        "SELECT prediction, score, probabilities FROM trails.predict('m', '{}')",
        "SELECT metric, value FROM trails.evaluate('m', '{}')",
        "SELECT feature, importance FROM trails.feature_importance('m', '{}')",
        "SELECT t.id, trails.predict_score('m', t) FROM {} t ORDER BY 1",
    ):
        found = query(alice, call.format("far.valid"))
        assert found == query(alice, call.format("copied")) and found, call


def test_rows_are_those_that_the_callers_own_mapping_shows(near: Near) -> None:
    session, alice, bob = near.session(), near.session("alice"), near.session("bob")
    told = refused(bob, RUN.format("20 s"))
    assert told.sqlstate == "42704" and "user mapping" in told.message_primary
    assert_nothing_left(bob, near)
    map_to(session, "bob", "nobody", "n")
    told = refused(bob, RUN.format("20 s"))
    assert told.sqlstate == "42501" and "train" in told.message_primary, "the other server's word"
    query(session, "ALTER USER MAPPING FOR bob SERVER there OPTIONS (SET password 'wrong')")
    told = refused(near.session("bob"), RUN.format("20 s"))
    assert told.sqlstate == "08001" and "password" in told.message_detail + told.message_primary
    assert_nothing_left(bob, near)
    query(session, "DROP USER MAPPING FOR bob SERVER there")
    map_to(session, "bob", "half", "h")
    count = "SELECT rows FROM trails.describe_columns('far.train') LIMIT 1"
    assert query(near.session("bob"), count) == [(1500,)]
    assert query(alice, count) == [(3000,)]
    # Neither a right on the foreign table nor one on the server comes with the extension.
    query(session, "REVOKE SELECT ON far.train FROM bob")
    assert refused(bob, count).sqlstate == "42501"


def test_a_server_that_is_not_there_is_the_wrappers_own_error(near: Near) -> None:
    session = near.session()
    query(session, "ALTER SERVER there OPTIONS (SET port '1')")
    for statement in (RUN.format("20 s"), "SELECT * FROM trails.describe_columns('far.train')"):
        told = refused(session, statement)
        assert told.sqlstate == "08001" and 'could not connect to server "there"' in told.message_primary
        assert_nothing_left(session, near)


@pytest.mark.parametrize("how", ["cancel", "timeout", "budget", "the other server's session ends"])
def test_a_slow_server_holds_nobody(near: Near, far: Server, how: str) -> None:
    session, witness = near.session(), session_of(far)
    asleep = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    if how == "timeout":
        query(session, "SET statement_timeout = '2s'")
    running = Running(session, SLOW.replace("60 s", "2 s") if how == "budget" else SLOW)
    ((remote,),) = wait_until(lambda: query(witness, asleep))
    asked = time.monotonic()
    if how == "cancel":
        session.cancel()
    elif how not in ("timeout", "budget"):
        query(witness, "SELECT pg_terminate_backend(%s)", remote)
    running.join()
    codes = {"cancel": ["57014"], "timeout": ["57014"], "budget": ["53400"]}.get(how, ["08006", "57P01"])
    assert getattr(running.error, "pgcode", None) in codes, running.error
    assert how != "cancel" or within(running.ended - asked, PROMPT, 2.0)
    query(session, "SET statement_timeout = 0")
    assert_nothing_left(session, near)
    wait_until(lambda: not query(witness, asleep))
    witness.close()


def test_the_other_servers_transaction_lasts_as_long_as_the_one_here(near: Near, far: Server, stub: Stub) -> None:
    """A selection holds it for its budget, a run in the background for no longer than it reads."""
    session, witness = near.session(), session_of(far)
    open_there = "SELECT state FROM pg_stat_activity WHERE application_name = 'postgres_fdw' AND state <> 'idle'"
    follow(session, stub, 50.0)
    query(session, f"SET trails.virtualenv = '{stub.path}'")
    running = Running(session, RUN.format("60 s"))
    wait_until(lambda: stub.asked("refine"))
    assert query(witness, open_there) == [("idle in transaction",)]
    go(stub)
    running.join()
    assert running.error is None and query(witness, open_there) == []
    follow(session, stub, 50.0)
    ((run,),) = query(session, RUN.format("60 s").replace("* FROM trails.model_selection", "trails.submit"))
    wait_for_training(session, stub, run)
    assert query(witness, open_there) == []
    go(stub)
    assert wait(session, run) == "complete"
    witness.close()
