"""PgBouncer in transaction mode before a server of the tests: its own process, on a free port, with its own files."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
from testing.common.database import get_unused_port

from tests.sql.tables import wait_until
from tools.account import Account
from tools.server import Server

PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
"""Debian has it where only root looks; None where it is not installed."""

_SETTINGS = """
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 100
query_wait_timeout = 60
logfile = {log}
"""


class Pool:
    """A running PgBouncer; connections are closed with it."""

    def __init__(self, database: str, port: int) -> None:
        self.database, self.port = database, port
        self.connections: list[Any] = []

    def parameters(self, role: str = "postgres") -> dict[str, Any]:
        """For libpq, and what takes its names."""
        return {"host": "127.0.0.1", "port": self.port, "dbname": self.database, "user": role}

    def connect(self, role: str = "postgres", autocommit: bool = True) -> Any:
        """A client's connection, which has a server's for as long as a transaction lasts."""
        connection = psycopg2.connect(**self.parameters(role))
        connection.autocommit = autocommit
        self.connections.append(connection)
        return connection


@contextlib.contextmanager
def pooled(pg: Server, database: str, servers: int, roles: Sequence[str] = ("postgres",)) -> Iterator[Pool]:
    """A pool of at most `servers` connections to the database for each role; the roles need no password.

    Raises:
        AssertionError: It did not start; carries its log.
    """
    assert PROGRAM is not None
    account, behind = Account(), pg.socket_parameters(database)
    with tempfile.TemporaryDirectory(prefix="trails-pool-") as folder:
        place, own_port = Path(folder), get_unused_port()
        account.give(place)
        log, users, settings = place / "log", place / "users.txt", place / "pgbouncer.ini"
        account.write(users, "".join(f'"{role}" ""\n' for role in roles))
        account.write(
            settings,
            _SETTINGS.format(
                host=behind["host"], port=behind["port"], own_port=own_port, users=users, servers=servers, log=log
            ),
        )
        process = subprocess.Popen(
            account.command([PROGRAM, "--quiet", str(settings)]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        pool = Pool(database, own_port)

        def answers() -> bool:
            assert process.poll() is None, log.read_text() if log.exists() else "pgbouncer ended"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", own_port), 1.0):
                return True
            return False

        try:
            wait_until(answers)
            yield pool
        finally:
            for connection in pool.connections:
                connection.close()
            process.terminate()
            process.wait(30)
