"""What a server holds while it is under load: memory, descriptors and processes, and files that should go."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from tools.server import DATABASE, Server
from tools.soak.actions import refinement_processes
from tools.soak.load import Session

MB = 1_000_000


@dataclass(frozen=True)
class Held:
    """What one process holds: memory that no other shares (USS) and its part of what is shared (PSS), in MB.

    `descriptors` are those of pipes, sockets and memory files: a server keeps its tables' own open as it likes.
    """

    uss: float
    pss: float
    descriptors: int


@dataclass(frozen=True)
class Sample:
    """The server at one moment.

    Args:
        seconds: Since the load began.
        postmaster: What it holds.
        sessions: What the backends of the sessions that stay hold, by the session's number.
        backends: How many client backends and workers there are.
        children: How many refinement processes.
        shared_memory: Bytes of files below /dev/shm that are not PostgreSQL's own segments.
        temporary: Files among the server's temporary ones.
        database: Size in MB.
    """

    seconds: float
    postmaster: Held | None
    sessions: dict[int, Held]
    backends: int
    children: int
    shared_memory: int
    temporary: int
    database: float


def held(pid: int, data: Path) -> Held | None:
    """What a process of the server whose data lie there holds; None if it has ended."""
    with contextlib.suppress(psutil.Error, OSError):
        memory = psutil.Process(pid).memory_full_info()
        others = [link for link in Path(f"/proc/{pid}/fd").iterdir() if not _leads(link, data)]
        return Held(memory.uss / MB, memory.pss / MB, len(others))
    return None


def _leads(link: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return link.readlink().is_relative_to(folder)
    return True  # it was closed meanwhile


class Watch:
    """Takes samples of a server in a thread of its own, and at the end looks at what is left.

    Args:
        sessions: Those of the load; the backends of those that stay are looked at.
        every: Seconds between two samples.
    """

    def __init__(self, server: Server, sessions: Sequence[Session], every: float) -> None:
        self.samples: list[Sample] = []
        self.ended_runs: dict[int, str] = {}
        self.failed_runs: dict[int, tuple[str, str]] = {}
        self.wrong: list[str] = []
        self._server, self._sessions, self._every = server, sessions, every
        self._postmaster = sessions[0].postmaster()
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            try:
                self.samples.append(self.look())
                self._read_runs()
            except Exception as error:
                self.wrong.append(f"watching: {type(error).__name__}: {error}")

    def look(self) -> Sample:
        """One sample."""
        ((backends, size),) = self._server.sql(
            DATABASE,
            "SELECT count(*) FILTER (WHERE backend_type IN ('client backend', 'trails run')),"
            " pg_database_size(current_database())::float8 FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        )
        return Sample(
            time.monotonic() - self._began,
            held(self._postmaster, self._server.data_dir),
            {s.number: found for s in self._sessions if s.stays and (found := held(s.backend, self._server.data_dir))},
            backends,
            len(refinement_processes(self._postmaster)),
            sum(_size(path) for path in Path("/dev/shm").glob("*trails*")),
            len(list(self._server.data_dir.glob("base/pgsql_tmp/*"))),
            size / MB,
        )

    def _read_runs(self) -> None:
        rows = self._server.sql(
            DATABASE,
            "SELECT run_id, state, sqlstate, message FROM trails.background_runs "
            "WHERE state NOT IN ('queued', 'running')",
        )
        self.ended_runs.update({run: state for run, state, _, _ in rows})
        self.failed_runs.update({run: (code, message) for run, state, code, message in rows if state == "failed"})

    def left(self, seconds: float = 60.0) -> dict[str, Any]:
        """What there still is when the sessions have gone, after waiting for so long at most; empty if nothing is."""
        began, found = time.monotonic(), self._left()
        while found and time.monotonic() - began < seconds:
            time.sleep(0.5)
            found = self._left()
        self._read_runs()
        return found

    def _left(self) -> dict[str, Any]:
        sample = self.look()
        found = {
            key: value
            for key, value in asdict(sample).items()
            if key in ("backends", "children", "shared_memory", "temporary") and value
        }
        counts = {
            "in progress": "SELECT count(*) FROM trails.progress",
            "not ended": "SELECT count(*) FROM trails.background_runs WHERE state IN ('queued', 'running')",
        }
        for what, statement in counts.items():
            ((count,),) = self._server.sql(DATABASE, statement)
            if count:
                found[what] = count
        return found

    def log(self) -> list[str]:
        """Lines of the server's log that tell of a crash or a fault within the server."""
        signs = ("PANIC", "was terminated by signal", "TRAP:", "server process (PID", " XX", "stuck spinlock")
        with self._server.log.open(errors="replace") as lines:
            return [line.strip() for line in lines if any(sign in line for sign in signs)]


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
