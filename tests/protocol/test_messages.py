"""What backend and refinement process say to each other: every message of ``messages.json``, as the process reads and
writes it. The Rust tests of ``protocol.rs`` hold the backend to the same file."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from trails.errors import BudgetTooSmall, InvalidInput
from trails.filtering.phase import FilteringRequest
from trails.refinement.protocol import (
    Candidate,
    CellRow,
    Cells,
    Events,
    LeaderboardRow,
    Picture,
    Profile,
    ProfileRow,
    Refine,
    Setting,
    TimingRow,
    parse_cells,
    parse_first,
    parse_request,
    parse_setting,
)
from trails.table.columns import Columns
from trails.training.options import parse_options

Message = dict[str, Any]

MESSAGES: dict[str, list[Message]] = json.loads(Path(__file__).with_name("messages.json").read_text())
REQUESTS, EVENTS = MESSAGES["requests"], MESSAGES["events"]


def requests(name: str) -> list[Message]:
    return [message for message in REQUESTS if message["request"] == name]


def names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def number(value: float | None) -> float:
    return math.inf if value is None else value


def candidate(architecture: str, score: float | None = None) -> Candidate:
    return Candidate(architecture, tuple(map(int, architecture.split("-"))), score)


def test_these_are_all_requests_and_events() -> None:
    assert {message["request"] for message in REQUESTS} == {"rows", "refine", "profile", "cells"}
    sent = {name for name, method in vars(Events).items() if inspect.isfunction(method) and not name.startswith("_")}
    assert {message["event"] for message in EVENTS} == sent


@pytest.mark.parametrize("message", requests("rows"))
def test_the_first_request_is_read_with_every_field(message: Message) -> None:
    setting = parse_setting(json.dumps(message))
    assert parse_first(json.dumps(message)) == setting
    told = {name: value for name, value in message.items() if name != "request"}
    assert names(Setting) == set(told)
    told.update(
        budget=number(told["budget"]),
        deadline=number(told["deadline"]),
        checkpoints=tuple(told["checkpoints"]),
        models=tuple(told["models"] or ()),
        aside=tuple(told["aside"]),
        options=parse_options(told["options"]),
    )
    assert {name: getattr(setting, name) for name in told} == told


@pytest.mark.parametrize("message", requests("refine"))
def test_the_request_for_training_is_read_with_every_field(message: Message) -> None:
    request = parse_request(json.dumps(message))
    told = {name: value for name, value in message.items() if name != "request"}
    assert isinstance(request, Refine) and names(Refine) == set(told)
    told.update(
        candidates=tuple(candidate(*pair) for pair in told["candidates"]),
        options=parse_options(told["options"]),
        resume=told["resume"] and (told["resume"]["fd"], told["resume"]["length"]),
    )
    assert {name: getattr(request, name) for name in told} == told


@pytest.mark.parametrize("message", requests("profile"))
def test_the_request_for_a_profile_is_read_with_every_field(message: Message) -> None:
    request = parse_request(json.dumps(message))
    told = {name: value for name, value in message.items() if name != "request"}
    told.update(candidates=tuple(map(candidate, told.pop("architectures"))), options=parse_options(told["options"]))
    assert isinstance(request, Profile) and names(Profile) == set(told)
    assert {name: getattr(request, name) for name in told} == told


@pytest.mark.parametrize("message", requests("cells"))
def test_the_request_for_scores_of_cells_is_read_with_every_field(message: Message) -> None:
    request = parse_cells(json.dumps(message))
    assert parse_first(json.dumps(message)) == request
    told = {name: value for name, value in message.items() if name != "request"}
    pictures = told.pop("pictures")
    told.update(deadline=number(told["deadline"]), filtering=FilteringRequest(**told["filtering"]))
    told.update({name: value for name, value in pictures.items() if name != "drawn"})
    assert names(Picture) == set(pictures["drawn"][0])
    told["pictures"] = tuple(Picture(**{**picture, "shape": tuple(picture["shape"])}) for picture in pictures["drawn"])
    assert names(Cells) == set(told)
    assert {name: getattr(request, name) for name in told} == told


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadline": math.nan},
        {"pictures": None},
        {"filtering": {}},
        {"pictures": {**requests("cells")[0]["pictures"], "form": "object"}},
        {"pictures": {**requests("cells")[0]["pictures"], "drawn": [{}]}},
    ],
)
def test_a_request_for_scores_that_is_malformed_is_refused(wrong: Message) -> None:
    with pytest.raises(InvalidInput, match="malformed refinement request"):
        parse_first(json.dumps({**requests("cells")[0], **wrong}))


@pytest.mark.parametrize("request_name", ["refine", "profile"])
def test_a_request_names_its_space(request_name: str) -> None:
    message = {name: value for name, value in requests(request_name)[0].items() if name != "space"}
    with pytest.raises(InvalidInput, match="space"):
        parse_request(json.dumps(message))


def test_tables_are_read_as_the_backend_lays_them_out() -> None:
    layout = requests("rows")[0]["train"]
    buffer = bytearray(512)
    buffer[0:20] = b"".join(value.to_bytes(4, "little") for value in (0, 1, 0, 1, 1))
    buffer[384:392] = (4).to_bytes(4, "little") + (8).to_bytes(4, "little")
    buffer[320:336] = (3).to_bytes(8, "little") + (4).to_bytes(8, "little")
    buffer[448:456] = b"BernRome"
    buffer[192:197] = bytes([0, 0, 1, 0, 0])
    columns = Columns.from_buffer(bytes(buffer), layout)
    assert [(c.name, c.kind, c.nulls is not None, c.values is not None) for c in columns] == [
        ("label", "int32", False, False),
        ("user", "idvalue", True, True),
        ("city", "text", False, False),
    ]
    assert columns["label"].data.tolist() == [0, 1, 0, 1, 1]
    spelt = columns["city"].texts
    assert spelt is not None and spelt.spellings() == {3: "Bern", 4: "Rome"}


def written(message: Message) -> Message:
    """What `Events` writes where it is told what the message tells."""
    lines: list[bytes] = []
    events, told = Events(lines.append), {name: value for name, value in message.items() if name != "event"}
    if message["event"] == "error":
        events.error(*error_of(told))
    else:
        told.pop("less_is_better", None)  # the metric says it
        getattr(events, message["event"])(**told)
    (line,) = lines
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    event: Message = json.loads(line)
    return event


def error_of(told: Message) -> tuple[Exception, str | None]:
    if told["kind"] == "BudgetTooSmall":
        return BudgetTooSmall(told["message"], told["detail"], told["hint"], minimum=told["minimum"]), "is not told"
    return RuntimeError(told["message"].rpartition(": ")[2]), told["traceback"]


@pytest.mark.parametrize("message", EVENTS, ids=lambda message: message["event"])
def test_events_are_written_with_every_field(message: Message) -> None:
    assert written(message) == message
    assert list(written(message)) == list(message)


@pytest.mark.parametrize(
    ("row", "rows"),
    [
        (LeaderboardRow, [row for message in EVENTS for row in message.get("leaderboard", ())]),
        (TimingRow, [row for message in EVENTS for row in message.get("timings", ())]),
        (CellRow, [row for message in EVENTS if message["event"] == "ranked" for row in message["rows"]]),
        (ProfileRow, [row for message in EVENTS if message["event"] == "profile" for row in message["rows"]]),
    ],
)
def test_rows_of_events_have_every_field(row: type, rows: list[Message]) -> None:
    assert rows and all(set(told) == set(get_type_hints(row)) for told in rows)
