"""The caller's side of refinement outside PostgreSQL: the process is started, told what to do, listened to and ended.

What `pg_extension/src/child.rs` and `refinement.rs` do in a backend. `InProcess` does without a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from trails import limits
from trails.errors import BudgetTooSmall, InvalidInput, TrailsError, UnusableData
from trails.table.columns import Columns

Event = dict[str, Any]
Hear = Callable[[Event], None]

_KINDS: dict[str, type[TrailsError]] = {"InvalidInput": InvalidInput, "UnusableData": UnusableData}

_LAST_MOMENTS = 1.0
"""Seconds in which a killed process is given up."""


def work_seconds(tables: Iterable[Columns | None], given: bool) -> float:
    """A guess at the seconds of encoding and the least training.

    Args:
        tables: Of the run.
        given: Whether k or u is.
    """
    sizes = [(table.rows, len(table)) for table in tables if table is not None]
    cells = sum(rows * columns for rows, columns in sizes) * limits.SECONDS_A_CELL
    alone = cells + (sizes[0][0] * limits.SECONDS_A_ROW if given and sizes else 0.0)
    # On a busy machine everything takes longer.
    return alone * min(max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0), limits.MOST_BUSY)


def budget_to_try(tried: float, work: float) -> float:
    """A budget that is enough where nothing was measured that would tell.

    Args:
        tried: Seconds that were not enough.
        work: See `work_seconds`.
    """
    least = limits.LEAST_TO_TRY
    return float(math.ceil(max(2.0 * tried, least, least / 2 + work)))


class Trainer(ABC):
    """Something that trains candidates. Use it as a context manager: `rows`, then `refine`.

    Args:
        started: When the run began, on the monotonic clock.
        budget: Seconds from then on; infinite without a limit.
    """

    def __init__(self, started: float, budget: float) -> None:
        self._started, self._budget = started, budget
        self._models = tuple(os.memfd_create(f"trails-model-{number}") for number in range(limits.FILES_IN_TURN))
        self._written: tuple[int, int] | None = None

    @abstractmethod
    def rows(self, train: Columns, validation: Columns | None, setting: Mapping[str, Any]) -> None:
        """Hand over the rows; ``setting`` are the other fields of the first request (`trails.refinement.protocol`)."""

    @abstractmethod
    def refine(self, request: Mapping[str, Any], hear: Hear) -> None:
        """Train: ``request`` are the fields of the second request; ``hear`` is told every event, ``result`` last.

        Raises:
            TrailsError: What the training told, or that it ended without a result.
        """

    def model(self) -> bytes | None:
        """The best model so far, as `trails.model.store` writes it; None if there is none yet."""
        if self._written is None:
            return None
        which, length = self._written
        parts, offset = [], 0
        while offset < length:
            part = os.pread(self._models[which], length - offset, offset)
            assert part, "the file is as long as was told"
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Free what it holds."""
        for descriptor in self._models:
            os.close(descriptor)

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _heard(self, event: Event, hear: Hear) -> None:
        if event["event"] == "error":
            raise _error_of(event)
        if event["event"] == "model":
            self._written = int(event["which"]), int(event["length"])
        hear(event)


class OwnProcess(Trainer):
    """Trains in a process of its own, which ends with this one, and of which nothing stays."""

    def __init__(self, started: float, budget: float, threads: int = 0) -> None:
        super().__init__(started, budget)
        self._files = tuple(os.memfd_create(f"trails-{name}") for name in ("train", "validation"))
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        environment = dict(os.environ)
        root = str(Path(__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
        if threads > 0:
            for library in ("OMP", "MKL", "OPENBLAS"):
                environment[f"{library}_NUM_THREADS"] = str(threads)
        # -P: the folder that happens to be the current one must not name code.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-m", "trails.refinement.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            pass_fds=(*self._files, *self._models),
            env=environment,
            process_group=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._events = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        self._pending, self._work = b"", 0.0
        self._tables: tuple[Columns | None, ...] = ()
        self._ready, self._alive = False, time.monotonic()

    def rows(self, train: Columns, validation: Columns | None, setting: Mapping[str, Any]) -> None:
        """See `Trainer.rows`: they are written to memory that both processes see."""
        self._tables = train, validation
        layouts = [
            None if columns is None else {**write_columns(columns, file), "fd": file}
            for columns, file in zip((train, validation), self._files, strict=True)
        ]
        fields = {"train": layouts[0], "validation": layouts[1], "models": self._models, "checkpoints": ()}
        self._send({"request": "rows", **setting, **fields})

    def refine(self, request: Mapping[str, Any], hear: Hear) -> None:
        """See `Trainer.refine`."""
        self._work = work_seconds(self._tables, request.get("k") is not None or request.get("u") is not None)
        self._tables = ()
        self._send({"request": "refine", **request})
        while True:
            event = self._next()
            if event["event"] != "alive":
                self._heard(event, hear)
            if event["event"] == "result":
                return

    def close(self) -> None:
        """End the process if it still runs."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        # One in uninterruptible sleep, or held by a debugger, may take for ever to end; `subprocess` reaps it later.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_MOMENTS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._log.close()
        for descriptor in self._files:
            os.close(descriptor)
        super().close()

    def _send(self, request: Mapping[str, Any]) -> None:
        rest = memoryview(json.dumps(request).encode() + b"\n")
        began = time.monotonic()
        while rest:
            if _is_ready(self._requests, select.POLLOUT):
                try:
                    rest = rest[os.write(self._requests, rest) :]
                except BrokenPipeError:
                    return  # Why it has gone shows when it is listened to.
            elif time.monotonic() - began > limits.SILENCE_BEFORE_READY_SECONDS or self._is_late():
                raise self._hung()

    def _next(self) -> Event:
        """The next event."""
        while b"\n" not in self._pending:
            if _is_ready(self._events, select.POLLIN):
                chunk = os.read(self._events, 1 << 16)
                if not chunk:
                    raise self._death()
                self._pending += chunk
                if len(self._pending) > limits.LONGEST_PROTOCOL_LINE:
                    raise TrailsError("the refinement process sent a line that does not end", sqlstate="38000")
                self._alive = time.monotonic()
            elif time.monotonic() - self._alive > self._longest_silence():
                raise self._hung()
            if self._is_late():
                enough = budget_to_try(self._budget, self._work)
                raise BudgetTooSmall(
                    f"training gave no result within the budget of {self._budget:g} s",
                    hint=f"Try a budget of {enough:g} s.",
                    minimum=enough,
                )
        line, _, self._pending = self._pending.partition(b"\n")
        event: Event = json.loads(line)
        self._ready |= event["event"] == "ready"
        return event

    def _longest_silence(self) -> float:
        return limits.SILENCE_SECONDS if self._ready else limits.SILENCE_BEFORE_READY_SECONDS

    def _is_late(self) -> bool:
        """Whether a process that had to answer before the budget's end is not going to."""
        return time.monotonic() > self._started + limits.LATE_SHARE * self._budget + limits.LATE_SECONDS

    def _hung(self) -> TrailsError:
        return TrailsError("the refinement process hung", self._log_tail(), sqlstate="38000")

    def _death(self) -> TrailsError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        status = self._process.poll()
        if status == -signal.SIGKILL:
            how, hint = (
                "was killed (signal 9), by hand or because memory ran out",
                "Is there enough of it?",
            )
        else:
            how, hint = f"ended with exit status {status}", None
        return TrailsError(f"the refinement process {how}", self._log_tail(), hint, "38000")

    def _log_tail(self) -> str | None:
        length = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, length - limits.LOG_TAIL))
        return self._log.read().decode("utf-8", "replace").strip() or None


def _is_ready(descriptor: int, event: int) -> bool:
    """Whether a pipe is ready, or closed at its other end, within a moment; descriptors above 1023 are too much for
    `select.select`."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(1000 * limits.EVENT_WAIT_SECONDS))


class InProcess(Trainer):
    """Trains in this process: sooner where torch is loaded already, and not safe from what training may do to it."""

    def __init__(self, started: float, budget: float, threads: int = 0) -> None:
        from trails.refinement import process

        super().__init__(started, budget)
        with process.waiting_threads_sleep():
            import torch  # noqa: F401
        self._prepared: tuple[Any, ...] | None = None

    def rows(self, train: Columns, validation: Columns | None, setting: Mapping[str, Any]) -> None:
        """See `Trainer.rows`."""
        from trails.refinement.dataset import prepare
        from trails.refinement.devices import select as select_devices
        from trails.refinement.protocol import parse_setting
        from trails.refinement.timings import Timings

        train_layout, held_layout = (
            # Where the columns lie nobody asks, but how many there are decides what an epoch is thought to take.
            None if table is None else {"rows": table.rows, "columns": [{"name": column.name} for column in table]}
            for table in (train, validation)
        )
        fields = {"train": train_layout, "validation": held_layout, "models": self._models, "checkpoints": ()}
        parsed = parse_setting(json.dumps({"request": "rows", **setting, **fields}))
        devices, timings = select_devices(parsed.device), Timings(self._started)
        with timings.phase("encode"):
            data = prepare(
                train,
                validation,
                parsed.target,
                parsed.seed,
                devices[0],
                task=parsed.task,
                by=parsed.by,
                metric=parsed.metric,
                options=parsed.options,
                budget=parsed.budget,
            )
        self._prepared = parsed, devices, data, timings

    def refine(self, request: Mapping[str, Any], hear: Hear) -> None:
        """See `Trainer.refine`."""
        import torch

        from trails.refinement.devices import cores
        from trails.refinement.protocol import Events, Refine, parse_request
        from trails.refinement.run import refine

        assert self._prepared is not None, "rows come first"
        setting, devices, data, timings = self._prepared
        parsed = parse_request(json.dumps({"request": "refine", **request}))
        assert isinstance(parsed, Refine)
        events = Events(lambda line: self._heard(json.loads(line), hear))
        begun = time.monotonic() - self._started
        events.rows(timings.rows[-1]["seconds"], begun, data.target.task, data.metric, data.held_out)
        for warning in data.warnings:
            events.warning(warning)
        threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
        torch.set_num_threads(cores(setting.threads))
        try:
            refine(setting, parsed, data, devices, events, timings)
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)


def write_columns(columns: Columns, file: int) -> dict[str, Any]:
    """Write columns to a file as `Columns.from_fd` reads them.

    Args:
        columns: What to write.
        file: Descriptor of an empty file.

    Returns:
        Their layout.
    """
    offset = 0

    def append(array: Any) -> int | None:
        nonlocal offset
        if array is None:
            return None
        begin = offset + -offset % limits.ALIGNMENT
        rest = memoryview(np.ascontiguousarray(array).tobytes())
        offset = begin + len(rest)
        written = begin
        while rest:
            count = os.pwrite(file, rest, written)
            rest, written = rest[count:], written + count
        return begin

    entries = []
    for column in columns:
        spelt = column.texts
        texts = None
        if spelt is not None:
            texts = {
                "hashes": append(spelt.hashes),
                "ends": append(spelt.ends),
                "bytes": append(spelt.data),
                "count": len(spelt.hashes),
            }
        entries.append(
            {
                "name": column.name,
                "kind": column.kind,
                "offset": append(column.data),
                "nulls": append(column.nulls),
                "values": append(column.values),
                "texts": texts,
                "reading": column.reading,
            }
        )
    return {"rows": columns.rows, "columns": entries}


def _error_of(event: Event) -> TrailsError:
    detail = event.get("detail") or event.get("traceback")
    told = (event["message"], detail, event.get("hint"), event.get("sqlstate"))
    if event.get("kind") == "BudgetTooSmall":
        return BudgetTooSmall(*told, minimum=event.get("minimum"))
    return _KINDS.get(event.get("kind", ""), TrailsError)(*told)
