"""A server without the extension, a database per test, and data services that the tests start themselves."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.timing import within
from tools.server import QUICK, Server, default_pg_config
from trails.service import DataClient, DataService

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a token of the tests".replace(" ", "-")
_names = itertools.count(1)


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("PG") or n in ("TRAILS_DSN", "TRAILS_SERVICE_TOKEN")]:
        if name != "PG_CONFIG":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def plain_server() -> Iterator[Server]:
    with Server(default_pg_config(), parameters=QUICK) as server:
        yield server


@dataclass
class Database:
    """A database of its own for one test."""

    server: Server
    name: str

    @property
    def dsn(self) -> str:
        return self.server.uri(self.name)

    def role(self, name: str) -> str:
        """DSN of a new role that may log in and no more."""
        self.sql(f"CREATE ROLE {name} LOGIN")
        return " ".join(f"{k}={v}" for k, v in self.server.socket_parameters(self.name, name).items())

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each on its own; the rows of the last."""
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        try:
            rows: list[tuple[Any, ...]] = []
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                    rows = list(cursor.fetchall()) if cursor.description else []
            return rows
        finally:
            connection.close()

    def readers(self) -> list[int]:
        """Process ids of the services' sessions."""
        found = self.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'trails data-service'")
        return [pid for (pid,) in found]


@pytest.fixture
def database(plain_server: Server) -> Iterator[Database]:
    name = f"service_{next(_names)}"
    plain_server.create_database(name, extension=False)
    yield Database(plain_server, name)
    plain_server.drop_database(name)


Serve = Callable[..., DataService]


@pytest.fixture
def serve(database: Database, tmp_path: Path) -> Iterator[Serve]:
    """Starts a service in this process; ``dsn`` and whatever `DataService` takes may be given."""
    services: list[DataService] = []

    def start(dsn: str | None = None, **options: Any) -> DataService:
        service = DataService(dsn or database.dsn, TOKEN, cache_dir=tmp_path, **options)
        services.append(service)
        return service

    yield start
    for service in services:
        service.close()


@pytest.fixture
def client(serve: Serve) -> Iterator[DataClient]:
    """A consumer of a service with the defaults."""
    with DataClient(serve().uri, TOKEN) as connected:
        yield connected


@dataclass
class Process:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    uri: str
    log: list[str] = field(default_factory=list)


@pytest.fixture
def start_process(database: Database, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts ``python -m trails data-service``; the token lies in ``tmp_path / "token"``."""
    processes: list[subprocess.Popen[str]] = []
    (tmp_path / "token").write_text(TOKEN + "\n")

    def start(*arguments: str | Path, listen: str = "127.0.0.1:0") -> Process:
        command = [sys.executable, "-m", "trails", "data-service", "--listen", listen, "--cache-dir", str(tmp_path)]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "python"), "TRAILS_DSN": database.dsn},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        return Process(process, process.stdout.readline().strip())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    began = time.monotonic()
    while not condition():
        assert within(time.monotonic() - began, 0.0, seconds), "it did not come about"
        time.sleep(0.02)
