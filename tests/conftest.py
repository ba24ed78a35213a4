"""For tests that need PostgreSQL: a server with the extension, and a fresh database for each test.

`pytest --shadows` opens every session beside types, functions and operators of its own that are called as pg_catalog's:
see tests/sql/shadows.py.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql import shadows
from tests.sql.stub import unlimited_environment
from tools.postgres import ServerFactory
from tools.server import Server, default_pg_config, temporary_server

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "trails"
_numbers = itertools.count(1)

Connect = Callable[..., Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="hostile tests at their full size: 5,000,000 rows, 1,000 random tables",
    )
    parser.addoption(
        "--memory-limit",
        type=int,
        metavar="MB",
        help="address space of each of the server's processes but the refinement process, as `ulimit -v` limits it",
    )
    parser.addoption("--shadows", action="store_true", help="open sessions beside types that shadow pg_catalog's")


def _script(*command: str) -> str:
    done = subprocess.run([*command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stderr}", pytrace=False)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def pg(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server with the extension as built from these sources. Its data are not kept."""
    _script("tools/setup.sh")
    _script("tools/build.sh")
    virtualenv = Path(_script("tools/setup.sh", "--print", "venv"))
    pg_config = Path(_script("tools/setup.sh", "--print", "pg_config"))
    limit: int | None = request.config.getoption("memory_limit")
    with ExitStack() as stack:
        if limit:
            virtualenv = stack.enter_context(unlimited_environment(virtualenv))
        yield stack.enter_context(temporary_server(pg_config, virtualenv, memory_limit=limit))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A data directory to copy, for tests with servers of their own: sooner there than a new one."""
    factory = ServerFactory(pg_config=default_pg_config(), cache_initialized_db=True)
    yield factory.cache.data_dir
    factory.clear_cache()


@pytest.fixture
def database(pg: Server) -> Iterator[str]:
    """Name of a fresh database with the extension; dropped after the test."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    pg.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield name
    pg.drop_database(name)


@pytest.fixture
def connect(pg: Server, database: str, request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Opens psycopg2 connections to the fresh database, in autocommit mode; closes them after the test.

    `connect(role="alice", **libpq_parameters)`: a role that is not there is made, with no right but to log in.
    It is dropped after the test, and the database before it: what is dropped object by object can meet autovacuum.
    """
    connections: list[Any] = []
    made: list[str] = []

    def open_one(role: str = "postgres", **parameters: Any) -> Any:
        quoted = '"' + role.replace('"', '""') + '"'
        literal = "'" + role.replace("'", "''") + "'"
        if not pg.sql("postgres", f"SELECT 1 FROM pg_roles WHERE rolname = {literal}"):
            pg.sql("postgres", f"CREATE ROLE {quoted} LOGIN")
            made.append(quoted)
        connection = psycopg2.connect(**(pg.socket_parameters(database, role) | parameters))
        connection.autocommit = True
        connections.append(connection)
        if request.config.getoption("--shadows"):
            with contextlib.closing(psycopg2.connect(**pg.socket_parameters(database, "postgres"))) as superuser:
                superuser.autocommit = True
                shadows.lay_schema(superuser)
            shadows.lay(connection)
        return connection

    yield open_one
    for connection in connections:
        connection.close()
    if made:
        pg.drop_database(database)
    for quoted in made:
        pg.sql("postgres", f"DROP ROLE {quoted}")
