"""One database for many hostile statements, a session that tries them, and a witness that must stay up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from tests.conftest import TEMPLATE
from tests.hostile.world import connect, drop_world, make_world
from tests.sql.stub import Stub, stub_environment
from tests.sql.tables import query
from tools.server import Server


class Sessions:
    """Sessions of one database: whoever crashes the server is told so, and the next case gets new ones."""

    def __init__(self, server: Server, database: str) -> None:
        self.server, self.database = server, database
        self._open: dict[str, Any] = {}
        self.witnessed = self._identity()

    def get(self, name: str, settings: str = "") -> Any:
        """The session of that name, opened with `settings` if it is not open."""
        connection = self._open.get(name)
        if connection is None or connection.closed:
            connection = self._open[name] = connect(self.server, self.database)
            if settings:
                query(connection, settings)
        return connection

    def _identity(self) -> tuple[Any, ...]:
        """Of the witness: a crash of any backend takes its process with it."""
        statement = "SELECT pg_backend_pid(), pg_postmaster_start_time(), backend_start FROM pg_stat_activity"
        (found,) = query(self.get("witness"), f"{statement} WHERE pid = pg_backend_pid()")
        return found

    def assert_up(self, *names: str) -> None:
        """The server has not crashed, and these sessions go on."""
        try:
            assert self._identity() == self.witnessed
            for name in names:
                assert query(self.get(name), "SELECT 1") == [(1,)]
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            self._open.clear()
            self.witnessed = self._identity()
            pytest.fail(f"the server crashed, and every session with it: {error}")
        finally:
            self.witnessed = self._identity()

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()


@pytest.fixture(scope="session")
def world(pg: Server) -> Iterator[str]:
    """Name of a database with the tables, models and roles of `tests.hostile.world`."""
    name = f"hostile_{os.getpid()}"
    pg.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    make_world(pg, name)
    yield name
    drop_world(pg, name)


@pytest.fixture(scope="session")
def sessions(pg: Server, world: str) -> Iterator[Sessions]:
    opened = Sessions(pg, world)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def scripted(pg: Server, sessions: Sessions) -> Iterator[tuple[Any, Stub]]:
    """A session whose refinement process follows a script, and the script."""
    assert pg.virtualenv is not None
    with stub_environment(pg.virtualenv) as stub:
        yield sessions.get("scripted", f"SET trails.virtualenv = '{stub.path}'"), stub
