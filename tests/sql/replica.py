"""A standby that follows a server of the tests by streaming replication."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.sql.tables import wait_until
from tools.account import Account
from tools.server import QUICK, Server

PRIMARY = {"synchronous_commit": "on"}
"""Settings of a server to follow: what was committed is sent at once."""


@contextlib.contextmanager
def following(primary: Server) -> Iterator[Server]:
    """A hot standby of the primary, made by pg_basebackup, with the same `trails.virtualenv`."""
    rules = primary.data_dir / "pg_hba.conf"
    rules.write_text("local replication all trust\n" + rules.read_text())
    primary.sql("postgres", "SELECT pg_reload_conf()")
    account, parameters = Account(), primary.socket_parameters()
    with tempfile.TemporaryDirectory(prefix="trails-standby-") as folder:
        place = Path(folder)
        account.let_through(place)
        data = place / "data"
        data.mkdir(mode=0o700)
        account.give(data)
        command = [str(primary.pg_config.parent / "pg_basebackup"), "-D", str(data), "--write-recovery-conf"]
        command += ["--wal-method=stream", "--checkpoint=fast", "--no-sync"]
        command += ["-h", parameters["host"], "-p", parameters["port"], "-U", parameters["user"]]
        done = subprocess.run(account.command(command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with Server(primary.pg_config, place, primary.virtualenv, QUICK, auto_start=1) as standby:
            try:
                yield standby
            finally:
                standby.terminate()


def caught_up(primary: Server, standby: Server) -> None:
    """Waits until the standby has replayed what the primary has written."""
    ((written,),) = primary.sql("postgres", "SELECT pg_current_wal_flush_lsn()::text")
    replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
    wait_until(lambda: standby.sql("postgres", replayed, written)[0][0])
