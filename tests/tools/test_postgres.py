"""The servers of tests: what they leave, what they survive, who ends them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tools import postgres
from tools.postgres import ServerError
from tools.server import QUICK, Server, default_pg_config

ROOT = Path(__file__).resolve().parents[2]
STARTS_AND_ENDS = """\
import sys
from pathlib import Path
from tools.server import Server, default_pg_config
server = Server(default_pg_config(), *map(Path, sys.argv[1:]))
print(server.base_dir, server.server_pid or 0, flush=True)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that root's server can reach, too, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="trails-postgres-test-") as folder:
        yield Path(folder)


@pytest.fixture
def kept(directory: Path, cluster: Path) -> Iterator[Server]:
    """A server whose directory is named, so that both stay."""
    server = Server(default_pg_config(), directory, parameters=QUICK, copy_data_from=cluster)
    yield server
    server.stop()


def start_elsewhere(*directory: Path) -> tuple[Path, int]:
    """A server that another program starts, which then ends without a word: its directory, its process."""
    command = [sys.executable, "-c", STARTS_AND_ENDS, *map(str, directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    base, pid = done.stdout.split()
    return Path(base), int(pid)


def runs(pid: int) -> bool:
    """Whether a process is there; one that has ended may be there for whoever started it, without a directory."""
    try:
        return bool(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Whether a process ends soon: a server removes its files before it does."""
    deadline = time.monotonic() + 20
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not runs(pid)


def test_a_server_in_a_named_directory_outlives_who_started_it_and_is_stopped_by_another(directory: Path) -> None:
    _, pid = start_elsewhere(directory)
    server = Server(default_pg_config(), directory, auto_start=0)
    assert runs(pid) and server.is_alive() and server.sql("postgres", "SELECT 1") == [(1,)]
    assert os.getsid(pid) == pid, "a terminal's Ctrl-C would reach it"
    assert start_elsewhere(directory) == (directory, 0) and runs(pid), "it runs already, there as well"
    server.terminate()
    assert ends(pid) and not server.is_alive() and (directory / "data" / "PG_VERSION").exists()


def test_a_temporary_server_ends_with_the_program_that_forgot_it() -> None:
    base, pid = start_elsewhere()
    assert ends(pid) and not base.exists()


def test_a_server_starts_again_on_the_same_data_after_it_was_stopped_and_after_it_was_killed(kept: Server) -> None:
    kept.create_database("d", extension=False)
    kept.sql("d", "CREATE TABLE t AS SELECT 42 AS a")
    kept.terminate()
    with pytest.raises(ServerError, match="not running"):
        kept.uri("d")
    kept.start()
    assert kept.sql("d", "TABLE t") == [(42,)]
    sockets = Path(kept.socket_parameters()["host"])
    os.kill(kept.server_pid, signal.SIGKILL)
    kept.child_process.wait(10)
    # The number of a dead server's process may be another's by now.
    file = kept.data_dir / "postmaster.pid"
    file.write_text("\n".join([str(os.getpid()), *file.read_text().splitlines()[1:]]) + "\n")
    kept.start()
    assert kept.sql("d", "TABLE t") == [(42,)] and not sockets.exists()


def test_a_port_that_is_taken_in_between_is_changed_for_another(monkeypatch: pytest.MonkeyPatch, cluster: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = iter([other.getsockname()[1], postgres.get_unused_port()])
        monkeypatch.setattr(postgres, "get_unused_port", lambda: next(ports))
        with Server(default_pg_config(), parameters=QUICK, copy_data_from=cluster) as server:
            assert server.sql("postgres", "SELECT 1") == [(1,)]
            assert server.dsn()["port"] != other.getsockname()[1]


def test_nobody_gets_in_without_the_password_or_the_right_to_enter_the_directory(kept: Server) -> None:
    parameters = kept.dsn(database="postgres")
    psycopg2.connect(**parameters).close()
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(**parameters | {"password": "postgres"})
    private = [kept.data_dir, Path(kept.socket_parameters()["host"]), kept.log, kept.data_dir / "trails.password"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


def test_a_server_that_does_not_start_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, cluster: Path
) -> None:
    made: list[str] = []
    make = tempfile.mkdtemp

    def remember(*arguments: str, **options: str) -> str:
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", remember)
    with pytest.raises(ServerError, match="no_such_setting"):
        Server(default_pg_config(), parameters={"no_such_setting": "1"}, copy_data_from=cluster)
    assert len(made) == 2 and not any(Path(path).exists() for path in made)


def test_settings_and_the_limit_of_memory_reach_the_servers_processes(cluster: Path) -> None:
    settings = {"parameters": {"work_mem": "5MB"}, "memory_limit": 3000, "copy_data_from": cluster}
    with Server(default_pg_config(), **settings) as server:
        assert server.sql("postgres", "SHOW work_mem") == [("5MB",)]
        limits = Path(f"/proc/{server.server_pid}/limits").read_text()
        assert f"Max address space         {3000 << 20}" in limits
