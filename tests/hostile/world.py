"""The tables, models and roles that hostile statements start from, made once; cases leave them as they were."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path
from typing import Any

import psycopg2

from tests.sql.predicted import columns_of, make_model, make_things, store, things
from tests.sql.tables import query, wait_until
from tools.server import Server

ROLES = ("hostile_ann", "hostile_bob", "hostile_nobody")
"""Two ordinary users, and one who was granted nothing."""

BASE_KINDS = {"colour": "text", "hour": "int32", "amount": "float64", "seen": "timestamp"}


def _base_rows(rows: int) -> list[tuple[Any, ...]]:
    """The features of `base`, worked out here on their own; its key is what comes first."""
    colours = ("red", "green", "blue", "yellow")
    start = datetime.datetime(2024, 1, 1)
    return [
        (
            i,
            colours[i * 7919 % 4],
            i * 31 % 24,
            i * 104729 % 97 + 0.5,
            start + datetime.timedelta(days=i * 7907 % 700),
        )
        for i in range(1, rows + 1)
    ]


def connect(server: Server, database: str, schemas: str = "hostile, public") -> Any:
    """A superuser's session with that search path."""

    def reached() -> Any:
        # After a crash the server is some seconds away.
        with contextlib.suppress(psycopg2.OperationalError):
            return psycopg2.connect(**server.socket_parameters(database))

    connection = wait_until(reached)
    connection.autocommit = True
    query(connection, f"SET search_path = {schemas}")
    return connection


def make_world(server: Server, database: str) -> None:
    """Tables, models and roles, in a database that has the extension."""
    for role in ROLES:
        if not server.sql("postgres", f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            server.sql("postgres", f"CREATE ROLE {role}")
    with contextlib.closing(psycopg2.connect(**server.socket_parameters(database))) as connection:
        connection.autocommit = True
        query(connection, "CREATE SCHEMA hostile")
        query(connection, "SET search_path = hostile, public")
        make_things(connection, things(60))
        query(connection, (Path(__file__).parent / "world.sql").read_text())
        base = columns_of(_base_rows(600), BASE_KINDS)
        store(connection, "m", make_model(base), source="hostile.base")
        store(connection, "m", make_model(base, seed=1), version=2, source="hostile.base")
        store(connection, "c", make_model(base, "multiclass"), source="hostile.base")
        store(connection, "r", make_model(base, "regression"), source="hostile.base")
        store(connection, "t", make_model(columns_of(things(60))), source="hostile.things")
        store(connection, 'O\'Brien "x" 100%', make_model(base), source="hostile.base")


def drop_world(server: Server, database: str) -> None:
    """The database and the roles."""
    server.drop_database(database)
    for role in ROLES:
        server.sql("postgres", f"DROP ROLE IF EXISTS {role}")
