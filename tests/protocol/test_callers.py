"""The package's own caller of the refinement process keeps to the same messages as the backend."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trails import limits, selection, trainer
from trails.errors import TrailsError
from trails.table.columns import Column, Columns

REQUESTS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("messages.json").read_text())["requests"]


def fields_of(request: str) -> set[str]:
    return next(set(message) for message in REQUESTS if message["request"] == request)


def test_it_sends_no_other_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Mapping[str, Any]] = []

    class Asked(trainer.OwnProcess):
        def _send(self, request: Mapping[str, Any]) -> None:
            sent.append(json.loads(json.dumps(request)))

        def _next(self) -> trainer.Event:
            raise TrailsError("that was all")

    monkeypatch.setattr(selection, "OwnProcess", Asked)
    labels, feature = np.arange(200, dtype=np.int32) % 2, np.arange(200, dtype=np.int32) % 7
    table = Columns(200, (Column("y", "int32", labels), Column("x", "int32", feature)))
    with pytest.raises(TrailsError, match="that was all"):
        selection.select(table, "y", settings=selection.Settings(budget=30.0))
    rows, refine = sent
    assert (rows["request"], refine["request"]) == ("rows", "refine")
    # What is left out is what a server's settings say, and the split column, which it has taken out of the table.
    assert fields_of("rows") - set(rows) == {"memory_limit", "ray_address", "ray_gpus", "split"}
    assert fields_of("refine") - set(refine) == {"resume"}
    assert not (set(rows) - fields_of("rows") or set(refine) - fields_of("refine"))
    columns = next(message["train"]["columns"] for message in REQUESTS if message["request"] == "rows")
    assert {frozenset(column) for column in rows["train"]["columns"]} == {frozenset(columns[0])}


def test_a_line_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LONGEST_PROTOCOL_LINE", 1_000)
    read, write = os.pipe()
    os.write(write, b"x" * 2_000)
    # Without a process: only how it is listened to counts.
    caller = trainer.OwnProcess.__new__(trainer.OwnProcess)
    caller._started, caller._budget, caller._alive, caller._ready = time.monotonic(), 60.0, time.monotonic(), True
    caller._events, caller._pending = read, b""
    try:
        with pytest.raises(TrailsError, match="does not end"):
            caller._next()
    finally:
        os.close(read)
        os.close(write)
