"""Starts the refinement process as the backend does: memfds for columns, pipes for requests and events."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trails.model.store import Model

PYTHON_ROOT = Path(__file__).resolve().parents[2] / "python"

Event = dict[str, Any]

CANDIDATES: list[tuple[str, float | None]] = [
    ("64-64-32-64", 9.0),
    ("32-64-32-32", 8.0),
    ("32-32-32-32", 7.0),
    ("16-32-16-32", 6.0),
    ("32-16-16-16", 5.0),
    ("16-16-16-16", 4.0),
]
"""Small architectures, best score first."""


@dataclass
class Table:
    """Columns of a table as the backend lays them out."""

    columns: dict[str, np.ndarray[Any, Any]]
    nulls: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    values: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    idvalue: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def pack(self) -> tuple[bytes, dict[str, Any]]:
        """The buffer, every array at a multiple of 64 bytes, and its layout."""
        buffer = bytearray()

        def append(array: np.ndarray[Any, Any] | None) -> int | None:
            if array is None:
                return None
            buffer.extend(bytes(-len(buffer) % 64))
            offset = len(buffer)
            buffer.extend(np.ascontiguousarray(array).tobytes())
            return offset

        entries = []
        for name, ids in self.columns.items():
            nulls, values = self.nulls.get(name), self.values.get(name)
            entries.append(
                {
                    "name": name,
                    "kind": "idvalue" if name in self.idvalue else ids.dtype.name,
                    "offset": append(ids),
                    "nulls": append(None if nulls is None else nulls.astype(np.uint8)),
                    "values": append(None if values is None else values.astype(np.float32)),
                }
            )
        return bytes(buffer), {"rows": self.rows, "columns": entries}


def memfd(data: bytes) -> int:
    """A new memory file with ``data``."""
    fd = os.memfd_create("trails-test")
    os.write(fd, data) if data else None
    return fd


class Backend:
    """One refinement process; use as a context manager.

    Args:
        train: Training rows.
        validation: Validation rows, or None.
        files: Further descriptors that the process inherits.
        environment: Added to its environment.
    """

    def __init__(
        self,
        train: Table,
        validation: Table | None,
        files: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.started = time.monotonic()
        train_bytes, self._train_layout = train.pack()
        self._validation_layout: dict[str, Any] | None = None
        validation_bytes = b""
        if validation is not None:
            validation_bytes, self._validation_layout = validation.pack()
        fds = memfd(train_bytes), memfd(validation_bytes)
        self._train_layout["fd"] = fds[0]
        if self._validation_layout is not None:
            self._validation_layout["fd"] = fds[1]
        self.checkpoints = memfd(b""), memfd(b"")
        self.models = memfd(b""), memfd(b"")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trails.refinement.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(*fds, *self.checkpoints, *self.models, *files),
            env={**os.environ, "PYTHONPATH": str(PYTHON_ROOT), **(environment or {})},
            process_group=0,
        )
        for fd in fds:
            os.close(fd)

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        for fd in (*self.checkpoints, *self.models):
            os.close(fd)

    def event(self) -> Event | None:
        """The next event that is not a sign of life; None when there are no more."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            event: Event = json.loads(line)
            if event["event"] != "alive":
                return event
        return None

    def send(
        self,
        candidates: Sequence[tuple[str, float | None]],
        budget: float | None = 30.0,
        options: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> float:
        """Send both requests; the deadline in seconds of the monotonic clock.

        ``changes`` replaces or adds fields of either request.
        """
        deadline = None if budget is None else self.started + budget - 0.3
        setting: dict[str, Any] = {
            "request": "rows",
            "target": "label",
            "seed": 1,
            "budget": budget,
            "started": self.started,
            "deadline": deadline,
            "device": "cpu",
            "threads": 1,
            "memory_limit": 0,
            "ray_address": None,
            "ray_gpus": 0.0,
            "checkpoints": list(self.checkpoints),
            "train": self._train_layout,
            "validation": self._validation_layout,
            "task": None,
            "split": None,
            "models": list(self.models),
            "encoding": options or {},
        }
        request: dict[str, Any] = {
            "request": "refine",
            "space": "mlp4x20",
            "refinement": "sh",
            "k": None,
            "u": None,
            "options": {"max_epochs": 9, **(options or {})},
            "score_seconds": 2e-6,
            "scored": 160_000,
            "candidates": candidates,
            "resume": None,
        }
        for name, value in changes.items():
            (setting if name in setting and name != "request" else request)[name] = value
        setting["options"] = setting.pop("encoding")
        assert self.process.stdin is not None
        for line in (setting, request):
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()
        return math.inf if deadline is None else deadline

    def checkpoint(self, event: Event) -> bytes:
        """What the process wrote when it sent a ``checkpoint`` event."""
        return os.pread(self.checkpoints[event["which"]], event["length"], 0)

    def model(self, event: Event) -> Model:
        """The model that the process wrote when it sent a ``model`` event."""
        return Model.from_bytes(os.pread(self.models[event["which"]], event["length"], 0))

    def rest(self) -> list[Event]:
        """All further events, each with ``at``, the time it arrived."""
        events: list[Event] = []
        while (event := self.event()) is not None:
            events.append({**event, "at": time.monotonic()})
        return events


@dataclass(frozen=True)
class Outcome:
    """What a process said and how it ended."""

    events: list[Event]
    status: int
    deadline: float
    log: str
    model: Model | None = None
    """The last one that was written."""

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]

    @property
    def last(self) -> Event:
        return self.events[-1]

    @property
    def leaderboard(self) -> list[Mapping[str, Any]]:
        assert self.last["event"] == "result", self.last
        leaderboard: list[Mapping[str, Any]] = self.last["leaderboard"]
        return leaderboard


def run(
    train: Table,
    validation: Table | None,
    candidates: Sequence[tuple[str, float | None]],
    budget: float | None = 30.0,
    options: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Outcome:
    """A whole run: start, wait for ``ready``, ask, collect every event until the process ends."""
    with Backend(train, validation) as backend:
        ready = backend.event()
        assert ready is not None and ready["event"] == "ready", ready
        deadline = backend.send(candidates, budget, options, **changes)
        events = [ready, *backend.rest()]
        status = backend.process.wait(10)
        assert backend.process.stderr is not None
        written = [event for event in events if event["event"] == "model"]
        model = backend.model(written[-1]) if written else None
        return Outcome(events, status, deadline, backend.process.stderr.read().decode(), model)
