"""One PostgreSQL server in a data directory of its own: made, started, stopped, connected to.

PostgreSQL refuses to run as root, so root's servers run as the system user `trails`. Nobody else gets in: TCP
listens on the loopback address only and asks for a random password, the Unix socket lies in a directory that
only the server's user may enter.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.account import Account

SUPERUSER = "postgres"
DATABASE = "trails"


class ServerError(Exception):
    """The server could not be made, started or reached; the message is for people."""


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """One PostgreSQL data directory and the server that runs in it.

    Args:
        pg_config: The installation to run. The extension must have been installed into it.
        data_dir: Made by `initdb` on the first start if it is not there. Its parent holds the log.
        virtualenv: Becomes the setting `trails.virtualenv`.
        port: TCP port; a free one is taken at every start if this is None.
        settings: Further configuration parameters, as in postgresql.conf.
        memory_limit: Address space of each of its processes, in MB, as `ulimit -S -v` limits it: a process may lift
            it for itself. None: as much as whoever starts it may have.
    """

    pg_config: Path
    data_dir: Path
    virtualenv: Path | None = None
    port: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        self.pg_config, self.data_dir = Path(self.pg_config), Path(self.data_dir).absolute()
        self._bin = Path(_output([str(self.pg_config), "--bindir"]).strip())
        self.major = self.major_version(self.pg_config)
        self.log = self.data_dir.parent / f"{self.data_dir.name}.log"
        self._account = Account()

    def share_directory(self) -> Path:
        """Where the installation keeps its control files and SQL scripts, below `extension`."""
        return Path(_output([str(self.pg_config), "--sharedir"]).strip())

    @staticmethod
    def major_version(pg_config: Path) -> int:
        """PostgreSQL's major version, say 18."""
        return int(_output([str(pg_config), "--version"]).split()[1].split(".")[0])

    def start(self, timeout: float = 60.0) -> None:
        """Starts the server, whatever state the last one left; returns at once if it runs already.

        Raises:
            ServerError: It did not accept connections within `timeout` seconds; carries the end of the log.
        """
        with self._lock():
            if not self.running():
                if not (self.data_dir / "PG_VERSION").exists():
                    self._initialise()
                self._remove_leftovers()
                self._start(timeout)

    def _start(self, timeout: float) -> None:
        for attempt in range(3):
            sockets = self._configure(self.port or free_port())
            command = [str(self._bin / "pg_ctl"), "start", "-w", "-t", str(int(timeout)), "-s"]
            command += ["-D", str(self.data_dir), "-l", str(self.log)]
            if self.memory_limit is not None:
                command = ["prlimit", f"--as={self.memory_limit << 20}:", "--", *command]
            if self._account.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return
            shutil.rmtree(sockets, ignore_errors=True)
            log = self._log_end()
            # Somebody may have taken the port in between; a dead server's children may still hold its memory.
            if attempt == 2 or not any(text in log for text in ("could not bind", "still in use")):
                raise ServerError(f"PostgreSQL did not start; the end of {self.log}:\n{log}")
            time.sleep(1.0)

    def stop(self, mode: str = "fast") -> None:
        """Stops the server if it runs; `mode` is pg_ctl's: smart, fast or immediate."""
        if self.running():
            lines = self._pid_file()
            stop = [
                str(self._bin / "pg_ctl"),
                "stop",
                "-w",
                "-t",
                "60",
                "-s",
                "-m",
                mode,
                "-D",
                str(self.data_dir),
            ]
            if (done := self._account.run(stop, capture_output=True, text=True)).returncode != 0:
                raise ServerError(f"PostgreSQL did not stop: {done.stderr.strip()}")
            shutil.rmtree(lines[4], ignore_errors=True)

    def destroy(self) -> None:
        """Stops the server at once and removes its data directory and log."""
        self.stop("immediate")
        shutil.rmtree(self.data_dir, ignore_errors=True)
        self.log.unlink(missing_ok=True)

    def running(self) -> bool:
        """Whether this data directory's postmaster is alive and accepts connections or soon will."""
        return self._postmaster() is not None

    def postmaster_pid(self) -> int:
        """Process id of the running postmaster.

        Raises:
            ServerError: The server does not run.
        """
        if (pid := self._postmaster()) is None:
            raise ServerError("the server is not running")
        return pid

    def uri(self, database: str = DATABASE) -> str:
        """Connection URI of `database` for the superuser, over TCP on the loopback address.

        Raises:
            ServerError: The server does not run.
        """
        self.postmaster_pid()
        password = (self.data_dir / "trails.password").read_text().strip()
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self._pid_file()[3]}/{database}"

    def socket_parameters(self, database: str = DATABASE, role: str = SUPERUSER) -> dict[str, str]:
        """libpq parameters for the Unix socket, where any role is let in without a password.

        Raises:
            ServerError: The server does not run.
        """
        self.postmaster_pid()
        lines = self._pid_file()
        return {"host": lines[4], "port": lines[3], "dbname": database, "user": role}

    def create_database(self, name: str = DATABASE, extension: bool = True) -> bool:
        """Makes the database and the extension in it unless they exist; True if the database is new.

        Raises:
            ServerError: The server does not run, or refused.
        """
        created = not self.sql("postgres", f"SELECT 1 FROM pg_database WHERE datname = {_literal(name)}")
        if created:
            self.sql("postgres", f"CREATE DATABASE {_identifier(name)}")
        if extension:
            self.sql(name, "CREATE EXTENSION IF NOT EXISTS trails")
        return created

    def drop_database(self, name: str) -> None:
        """Drops a database, ending its sessions first; no error if it is not there."""
        self.sql("postgres", f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")

    def has_table(self, name: str, database: str = DATABASE) -> bool:
        """Whether the database holds a table or view of this name in its search path."""
        return self.sql(database, f"SELECT to_regclass({_literal(_identifier(name))}) IS NOT NULL")[0][0] is True

    def sql(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Runs one statement as the superuser, outside a transaction; returns its rows."""
        import psycopg2

        try:
            connection = psycopg2.connect(**self.socket_parameters(database))
            try:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    return list(cursor.fetchall()) if cursor.description else []
            finally:
                connection.close()
        except psycopg2.Error as error:
            raise ServerError(f"{statement}: {error}") from error

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Two starts of one data directory wait for each other; makes the directory's parent."""
        parent = self.data_dir.parent
        if not parent.exists():
            parent.mkdir(parents=True)
            self._account.give(parent)
        with (parent / f"{self.data_dir.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _initialise(self) -> None:
        # A first start that was cut short leaves a directory without PG_VERSION in it or half filled.
        shutil.rmtree(self.data_dir, ignore_errors=True)
        password = secrets.token_urlsafe(18)
        with tempfile.NamedTemporaryFile("w", prefix="trails-") as file:
            file.write(password)
            file.flush()
            self._account.give(Path(file.name))
            making = self.data_dir.with_name(self.data_dir.name + ".partial")
            shutil.rmtree(making, ignore_errors=True)
            command = [str(self._bin / "initdb"), "-D", str(making), "-U", SUPERUSER, "--encoding=UTF8"]
            command += ["--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={file.name}", "--no-sync"]
            done = self._account.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise ServerError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        self._account.write(making / "trails.password", password + "\n")
        rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        self._account.write(making / "pg_hba.conf", rules)
        with (making / "postgresql.conf").open("a") as file_:
            file_.write("\ninclude = 'trails.conf'\n")
        making.rename(self.data_dir)

    def _configure(self, port: int) -> str:
        """Writes the settings of the coming start; returns the socket's directory."""
        sockets = tempfile.mkdtemp(prefix="trails-", dir="/tmp")  # a socket's path may have 107 bytes only
        self._account.give(Path(sockets))
        values = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": sockets}
        if self.virtualenv is not None:
            values["trails.virtualenv"] = str(self.virtualenv)
        lines = [f"{name} = {_literal(value)}" for name, value in (values | dict(self.settings)).items()]
        self._account.write(self.data_dir / "trails.conf", "\n".join(lines) + "\n")
        return sockets

    def _pid_file(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _postmaster(self) -> int | None:
        lines = self._pid_file()
        # The status is the eighth line, written last: before it stands, port and socket may be missing.
        if len(lines) < 8 or not lines[0].isdigit() or not self._lives_here(int(lines[0])):
            return None
        return int(lines[0])

    def _lives_here(self, pid: int) -> bool:
        """Whether that process runs in this data directory: process ids of the dead are given to others."""
        try:
            return Path(f"/proc/{pid}/cwd").resolve(strict=True) == self.data_dir.resolve()
        except OSError:
            return False

    def _remove_leftovers(self) -> None:
        """Clears what a server that died left, so that a recycled process id cannot block the start."""
        lines = self._pid_file()
        if lines and not (lines[0].isdigit() and self._lives_here(int(lines[0]))):
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
            if len(lines) > 4 and Path(lines[4]).name.startswith("trails-"):
                shutil.rmtree(lines[4], ignore_errors=True)

    def _log_end(self) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            return "(no log)"


def _output(command: Sequence[str]) -> str:
    try:
        return subprocess.run(list(command), check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerError(f"{' '.join(command)}: {error}") from error


def _literal(text: str) -> str:
    """SQL and postgresql.conf quote alike, but for backslashes, which do not occur in what is quoted here."""
    if "\\" in text:
        raise ServerError(f"a backslash is not allowed in {text!r}")
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
