"""One PostgreSQL server in a data directory of its own: testing.postgresql's, and what that lacks.

PostgreSQL refuses to run as root, so root's servers run as the system user `trails`. Nobody else gets in: TCP
listens on the loopback address only and asks for a random password, the Unix socket lies in a directory that
only the server's user may enter.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testing.common.database import get_unused_port
from testing.postgresql import Postgresql, PostgresqlFactory

from tools.account import Account

SUPERUSER = "postgres"
DATABASE = "trails"


class ServerError(Exception):
    """The server could not be made, started or reached; the message is for people."""


class Server(Postgresql):  # type: ignore[misc]  # the package has no types
    """One PostgreSQL data directory and the server that runs in it.

    Args:
        pg_config: The installation to run. The extension must have been installed into it.
        base_dir: Holds data and log, which stay, and so does the server, whoever started it. None: a temporary
            directory, removed with everything in it by `stop`, or when the object is let go of.
        virtualenv: Becomes the setting `trails.virtualenv`.
        parameters: Further configuration parameters, as in postgresql.conf.
        memory_limit: Address space of each of its processes, in MB, as `ulimit -S -v` limits it: a process may lift
            it for itself. None: as much as whoever starts it may have.
        settings: testing.postgresql's, above all `auto_start`: 0 if it is not to be started at once.

    Raises:
        ServerError: It did not start; carries the end of the log.
    """

    DEFAULT_SETTINGS = Postgresql.DEFAULT_SETTINGS | {"auto_start": 1, "postgres_args": "-h 127.0.0.1"}
    DEFAULT_BOOT_TIMEOUT = DEFAULT_KILL_TIMEOUT = 60.0
    subdirectories = ("data",)
    stays = False
    _use_tmpdir: bool

    def __init__(
        self,
        pg_config: Path,
        base_dir: Path | None = None,
        virtualenv: Path | None = None,
        parameters: Mapping[str, str] | None = None,
        memory_limit: int | None = None,
        **settings: Any,
    ) -> None:
        self.pg_config, self.virtualenv, self.memory_limit = Path(pg_config), virtualenv, memory_limit
        self._parameters = {"trails.virtualenv": str(virtualenv)} if virtualenv else {}
        self._parameters |= parameters or {}
        super().__init__(base_dir=base_dir and str(base_dir), **settings)

    def initialize(self) -> None:
        self.name, self.stays = "postgresql", not self._use_tmpdir  # the name of the log
        self.data_dir, self.log = Path(self.get_data_directory()), Path(self.base_dir, f"{self.name}.log")
        self._bin, self._account, self._sockets = Path(ask(self.pg_config, "--bindir")), Account(), ""
        self.settings |= {program: str(self._bin / program) for program in ("initdb", "postgres")}
        super().initialize()

    def initialize_database(self) -> None:
        self._account.let_through(Path(self.base_dir))
        if (self.data_dir / "PG_VERSION").exists():  # a copy, made by whoever this is
            for path in (self.data_dir, *self.data_dir.rglob("*")):
                self._account.give(path)
            return
        # A first start that was cut short leaves the other directory half filled, and never this one.
        making, password = self.data_dir.with_name("data.partial"), secrets.token_urlsafe(18)
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        self._account.give(making)
        with tempfile.NamedTemporaryFile("w", prefix="trails-") as file:
            file.write(password)
            file.flush()
            self._account.give(Path(file.name))
            command = [self.initdb, "-D", str(making), "-U", SUPERUSER, "--encoding=UTF8", "--locale=C.UTF-8"]
            command += ["--auth=scram-sha-256", f"--pwfile={file.name}", "--no-sync"]
            done = subprocess.run(self._account.command(command), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        self._account.write(making / "trails.password", password + "\n")
        rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        self._account.write(making / "pg_hba.conf", rules)
        making.rename(self.data_dir)

    def start(self) -> None:
        """Starts the server, whatever state the last one left; returns at once if it runs already."""
        Path(self.base_dir).mkdir(parents=True, exist_ok=True)
        with Path(self.base_dir, "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two starts of one data directory wait for each other
            if self.is_alive():
                return
            if not (self.data_dir / "PG_VERSION").exists():
                self.setup()
            self._remove_leftovers()
            self.child_process = None
            temporary, self._use_tmpdir = self._use_tmpdir, False  # or one start that fails would remove the data
            try:
                self._start()
            finally:
                self._use_tmpdir = temporary

    def _start(self) -> None:
        for attempt in range(3):
            try:
                super().start()
                return
            except RuntimeError as error:
                log = "\n".join(str(error).splitlines()[-15:])
                # Somebody may have taken the port in between; a dead server's children may still hold its memory.
                if attempt == 2 or not any(text in log for text in ("could not bind", "still in use")):
                    raise ServerError(f"PostgreSQL did not start; the end of its log:\n{log}") from error
                time.sleep(1.0)

    def prestart(self) -> None:
        self.settings["port"] = get_unused_port()
        self._sockets = tempfile.mkdtemp(prefix="trails-", dir="/tmp")  # a socket's path may have 107 bytes only
        self._account.give(Path(self._sockets))
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)

    def get_server_commandline(self) -> list[str]:
        command = [*super().get_server_commandline(), "-k", self._sockets]
        for name, value in self._parameters.items():
            command += ["-c", f"{name}={value}"]
        if self.memory_limit is not None:
            command = ["prlimit", f"--as={self.memory_limit << 20}:", "--", *command]
        return self._account.command(command)

    def is_server_available(self) -> bool:
        # Anybody may answer at a port; this file says what became of this very process.
        lines = self._pid_file()
        state = lines[7].strip() if len(lines) >= 8 else ""
        return state in ("ready", "standby") and lines[0] == str(self.server_pid)

    def poststart(self) -> None:
        """No database called `test`: see `create_database`."""

    def is_alive(self) -> bool:
        """Whether this data directory's postmaster runs, whoever started it, and accepts connections or soon will."""
        lines = self._pid_file()
        # The status is the eighth line, written last: before it stands, port and socket may be missing.
        return len(lines) >= 8 and self._lives_here(lines[0])

    def terminate(self, _signal: int | None = None) -> None:
        """Stops the server if it runs, as `pg_ctl stop -m fast` does, or with another signal; the data stay."""
        sockets = (self._pid_file()[4:5] or [self._sockets])[0]
        if self.child_process is not None:
            super(Postgresql, self).terminate(_signal or signal.SIGINT)
        elif self.is_alive():  # another program's child
            command = [str(self._bin / "pg_ctl"), "stop", "-s", "-t", "60", "-D", str(self.data_dir)]
            done = subprocess.run(self._account.command(command), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ServerError(f"PostgreSQL did not stop: {done.stderr.strip()}")
        if not self.is_alive() and Path(sockets).name.startswith("trails-"):
            shutil.rmtree(sockets, ignore_errors=True)

    def stop(self, _signal: int = signal.SIGQUIT) -> None:
        """Stops the server at once if it runs, and removes its data if they lie in a temporary directory."""
        super().stop(_signal)

    def __del__(self) -> None:
        if not self.stays:
            super().__del__()
        elif self.child_process is not None:
            self.child_process.returncode = 0  # or the interpreter would warn that it still runs

    def dsn(self, **parameters: Any) -> dict[str, Any]:
        """Parameters of a connection over TCP, by default the superuser's; a ServerError if it does not run."""
        if not self.is_alive():
            raise ServerError("the server is not running")
        password = (self.data_dir / "trails.password").read_text().strip()
        found = {"port": int(self._pid_file()[3]), "password": password, "database": DATABASE}
        return dict(super().dsn(**found | parameters))

    def uri(self, database: str = DATABASE) -> str:
        """Connection URI of `database` for the superuser, over TCP on the loopback address."""
        return "postgresql://{user}:{password}@{host}:{port}/{database}".format(**self.dsn(database=database))

    def socket_parameters(self, database: str = DATABASE, role: str = SUPERUSER) -> dict[str, str]:
        """libpq parameters for the Unix socket, where any role is let in without a password."""
        return {"port": str(self.dsn()["port"]), "host": self._pid_file()[4], "dbname": database, "user": role}

    def create_database(self, name: str = DATABASE, extension: bool = True) -> bool:
        """Makes the database and the extension in it unless they exist; True if the database is new."""
        created = not self.sql("postgres", "SELECT 1 FROM pg_database WHERE datname = %s", name)
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
        return self.sql(database, "SELECT to_regclass(%s) IS NOT NULL", _identifier(name))[0][0] is True

    def sql(self, database: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Runs one statement as the superuser, outside a transaction; returns its rows."""
        import psycopg2

        try:
            with contextlib.closing(psycopg2.connect(**self.socket_parameters(database))) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(statement, values or None)
                    return list(cursor.fetchall()) if cursor.description else []
        except psycopg2.Error as error:
            raise ServerError(f"{statement}: {error}") from error

    def _pid_file(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _lives_here(self, pid: str) -> bool:
        """Whether that process runs in this data directory: process ids of the dead are given to others."""
        try:
            return Path(f"/proc/{int(pid)}/cwd").resolve(strict=True) == self.data_dir.resolve()
        except (OSError, ValueError):
            return False

    def _remove_leftovers(self) -> None:
        """Clears what a server that died left, so that a recycled process id cannot block the start."""
        lines = self._pid_file()
        if lines and not self._lives_here(lines[0]):
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
            if len(lines) > 4 and Path(lines[4]).name.startswith("trails-"):
                shutil.rmtree(lines[4], ignore_errors=True)


class ServerFactory(PostgresqlFactory):  # type: ignore[misc]  # the package has no types
    """Servers of the same settings; with `cache_initialized_db`, copies of a data directory that is made once."""

    target_class = Server


def ask(pg_config: Path, question: str) -> str:
    """What `pg_config` answers, say to `--sharedir`."""
    try:
        return subprocess.run([pg_config, question], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerError(f"{pg_config} {question}: {error}") from error


def major_version(pg_config: Path) -> int:
    """PostgreSQL's major version, say 18."""
    return int(ask(pg_config, "--version").split()[1].split(".")[0])


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
