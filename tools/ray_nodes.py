"""A Ray cluster of several nodes on this machine, for the demo and for tests; stopped with everything it started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_START_SECONDS = 90.0
_STARTED = "Ray runtime started"
_PORT = re.compile(r"--address='[\d.]+:(\d+)'")


class NodesError(Exception):
    """A node did not start; the message is for people."""


class Nodes:
    """Ray nodes; use as a context manager. The first is the head.

    Args:
        cpus: Trials that each node has room for.
        user: Operating system user to run them as; None for the present one. A program can join the cluster only as
            that user: it shares memory with a node.
        environment: Added to the nodes' environment, which the processes that train inherit.
    """

    def __init__(
        self, cpus: Sequence[int] = (1, 1), user: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._cpus, self._user = list(cpus), user
        self.directory = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # paths of sockets may have 107 bytes only
        if user is not None:
            shutil.chown(self.directory, user)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "HOME": str(self.directory),
            "RAY_USAGE_STATS_ENABLED": "0",
            **(environment or {}),
        }
        self.address = ""
        self._nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Nodes:
        try:
            for number in range(len(self._cpus)):
                self._start(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        numbers = [number for number, node in enumerate(self._nodes) if node.poll() is None]
        started = [process for number in numbers for process in self.processes(number)]
        for number in reversed(numbers):
            self._nodes[number].terminate()  # it ends what it started, in order
        for number in numbers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._nodes[number].wait(10)
        for process in started:
            # A number may have been given to somebody else in the meantime: theirs has no such file open.
            if str(self.directory) in _opened(process):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        for number in numbers:
            self._nodes[number].wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self, number: int) -> None:
        """End a node with all its processes at once, as a machine that loses its power."""
        node = self._nodes[number]
        # Stopped first: otherwise what is killed is started again, and who has lost its parent cannot be found.
        started = [node.pid, *descendants(node.pid)]
        for sent in (signal.SIGSTOP, signal.SIGKILL):
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, sent)
            started = list(dict.fromkeys([*started, *descendants(node.pid)]))
        node.wait(30)

    def processes(self, number: int) -> list[int]:
        """Every process of a node."""
        node = self._nodes[number]
        return [node.pid, *descendants(node.pid)]

    def training(self, number: int | None = None) -> list[int]:
        """Processes that are at work on a task of this moment, on one node or on all."""
        numbers = range(len(self._nodes)) if number is None else [number]
        return [p for n in numbers for p in self.processes(n) if _title(p).startswith("ray::train")]

    def trained(self) -> dict[int, list[str]]:
        """What each node was asked to train: lines of its tasks' logs."""
        lines: dict[int, list[str]] = {number: [] for number in range(len(self._nodes))}
        owners = {process: number for number in lines for process in self.processes(number)}
        for log in sorted(self.directory.glob("session_2*/logs/worker-*.out"), key=lambda path: path.stat().st_mtime):
            owner = owners.get(int(log.stem.rsplit("-", 1)[1]))
            said = log.read_text(errors="replace").splitlines()
            if owner is not None:
                lines[owner] += [line.removeprefix("trails: ") for line in said if line.startswith("trails: ")]
        return lines

    def _start(self, number: int) -> None:
        where = [f"--address={self.address}"]
        if number == 0:  # it finds a port itself, and tells which: one that is found here others may take meanwhile
            where = ["--head", "--port=0", "--include-dashboard=false", f"--temp-dir={self.directory}"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *where]
        command += ["--node-ip-address=127.0.0.1", f"--num-cpus={self._cpus[number]}", "--num-gpus=0"]
        command += ["--object-store-memory=200000000", "--min-worker-port=0", "--max-worker-port=0"]
        # Ray's own choice lies among the ports that the system gives to anybody, and so may be the head's.
        command += ["--dashboard-agent-listen-port=0"]
        log = self.directory / f"node-{number}.log"
        with log.open("wb") as output:
            node = subprocess.Popen(
                command,
                cwd="/",
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                process_group=0,  # Ctrl-C is for the program that uses the nodes
                preexec_fn=_end_with_parent,
            )
        self._nodes.append(node)
        deadline = time.monotonic() + _START_SECONDS
        while _STARTED not in log.read_text(errors="replace"):
            if node.poll() is not None or time.monotonic() > deadline:
                raise NodesError(f"Ray node {number + 1} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        if number == 0:
            found = _PORT.search(log.read_text(errors="replace"))
            if found is None:
                raise NodesError(f"Ray does not tell its port:\n{log.read_text(errors='replace')[-2000:]}")
            self.address = f"127.0.0.1:{found[1]}"


def _end_with_parent() -> None:
    """Have the kernel end this process, which then ends its node, when the program that started it is killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def descendants(process: int) -> list[int]:
    """Ids of all processes that a process has started, and these in turn."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # Between parentheses stands the name, with whatever is in it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [process]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _opened(process: int) -> str:
    """Names of the files that a process has open; nothing if it has ended."""
    names = []
    for link in Path(f"/proc/{process}/fd").glob("*"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(link))
    return "\n".join(names)


def _title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().strip("\0 ")
    except OSError:
        return ""
