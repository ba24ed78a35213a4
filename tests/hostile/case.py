"""One hostile statement, and what must come of it.

Cases are written down in files of SQL, each under two lines of comment, and a third if its rows matter:

    -- # a feature named twice
    -- right: 22023, says "colour", hints
    SELECT * FROM trails.filtering_phase('base', 'bought', features => '{colour,colour}');

`right` is `success`, or the SQLSTATEs that are right, joined by `or`. What may follow: `says "..."`, in message or
DETAIL; `hints`, or `hints at "..."`; `tells "..."`, in a NOTICE or WARNING; `as ROLE`; `in MODE`, of the transaction.
What comes before a line `-- then` only prepares the statement.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

LONGEST = 20
"""Seconds that a case may take: what should be refused at once may well run for ever where it is not."""

INTERNAL = "XX"
"""Class of the SQLSTATEs that say that the server or the extension is at fault, never the statement."""

SUCCESS = "00000"

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """A statement that runs in a transaction of its own, which is rolled back.

    Attributes:
        what: A few words; the test's name.
        statement: What is tried.
        states: The SQLSTATEs that it may end with; `SUCCESS` if it may succeed.
        preparing: Statements before it, as the superuser.
        words: What message and DETAIL must hold, without regard to case.
        hint: Whether there must be a HINT.
        hinted: What it must hold.
        rows: What it must return; None if only that it returns.
        told: What a NOTICE or WARNING must hold.
        role: Who tries; the superuser if empty.
        mode: Of the transaction, such as `READ ONLY`.
    """

    what: str
    statement: str
    states: tuple[str, ...] = (SUCCESS,)
    preparing: str = ""
    words: tuple[str, ...] = ()
    hint: bool = False
    hinted: str = ""
    rows: Rows | None = None
    told: tuple[str, ...] = ()
    role: str = ""
    mode: str = ""


def read_cases(path: Path) -> list[Case]:
    """The cases of a file; see the module's text for how they are written."""
    _, *written = re.split(r"^-- # ", path.read_text(), flags=re.MULTILINE)
    return [_case(text) for text in written]


def _case(text: str) -> Case:
    what, right, *rest = text.splitlines()
    name, _, expected = right.partition(": ")
    assert name == "-- right", f"{what}: a case says what is right"
    rows = None
    if rest[0].startswith("-- rows: "):
        rows = ast.literal_eval(rest.pop(0).removeprefix("-- rows: "))
    preparing, _, statement = "\n".join(rest).rpartition("\n-- then\n")
    states, *more = _split(expected)
    told: dict[str, list[str]] = {"says": [], "hints at": [], "tells": [], "as": [], "in": []}
    for part in more:
        if part != "hints":
            keyword = next(key for key in told if part.startswith(f"{key} "))
            told[keyword].append(part.removeprefix(keyword).strip().strip("\"'"))
    return Case(
        what,
        statement.strip(),
        tuple(SUCCESS if state == "success" else state for state in states.split(" or ")),
        preparing,
        tuple(told["says"]),
        any(part.startswith("hints") for part in more),
        "".join(told["hints at"]),
        rows,
        tuple(told["tells"]),
        "".join(told["as"]),
        "".join(told["in"]),
    )


def _split(expected: str) -> list[str]:
    """At commas outside quotes."""
    return re.findall(r"""(?:[^,"']|"[^"]*"|'[^']*')+""", expected.replace(", ", ","))


def refused(what: str, statement: str, states: str, *words: str, hint: bool = False, preparing: str = "") -> Case:
    """A statement that must fail, with one of these SQLSTATEs (joined by `|`), these words, and a HINT."""
    return Case(what, statement, tuple(states.split("|")), preparing, words, hint)


def answers(what: str, statement: str, rows: Rows, *told: str, preparing: str = "") -> Case:
    """A statement that must return these rows, and these words in a notice."""
    return Case(what, statement, preparing=preparing, rows=rows, told=told)


def run(connection: Any, case: Case) -> None:
    """Tries the case on a connection in autocommit mode, which is left as it was, and checks what comes of it."""
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN {case.mode}")
        try:
            cursor.execute(f"SET LOCAL statement_timeout = '{LONGEST} s'")
            if case.preparing:
                cursor.execute(case.preparing)
            if case.role:
                cursor.execute(f"SET LOCAL ROLE {case.role}")
            del connection.notices[:]
            try:
                cursor.execute(case.statement)
                found = list(cursor.fetchall()) if cursor.description else []
            except psycopg2.Error as error:
                check_error(case, error)
            else:
                check_answer(case, found, connection.notices)
        finally:
            if not connection.closed:
                cursor.execute("ROLLBACK")


def check_error(case: Case, error: psycopg2.Error) -> None:
    """Whether the error is one that the case expects, and one that helps its reader."""
    told = error.diag
    assert told.sqlstate is not None, f"the session is gone: {error}"
    shown = f"{told.sqlstate}: {told.message_primary}\nDETAIL: {told.message_detail}\nHINT: {told.message_hint}"
    assert told.sqlstate in case.states, f"{' or '.join(case.states)} is right, and it ended with {shown[:2000]}"
    missing = [word for word in case.words if word.lower() not in shown.lower()]
    assert not missing, f"{missing} is not said: {shown}"
    assert told.message_hint or not case.hint, f"nothing says what to do: {shown}"
    assert case.hinted.lower() in (told.message_hint or "").lower(), shown
    check_readable(shown)


def check_readable(shown: str) -> None:
    """No error repeats a huge argument, or shows frames of Python or Rust."""
    assert len(shown) < 4000, f"an error of {len(shown)} characters: {shown[:400]} ..."
    for leaked in ("Traceback", "panicked", r'File "/\S+\.py"', "called `", r"\.rs:\d+"):
        assert not re.search(leaked, shown), shown


def check_answer(case: Case, found: Rows, notices: Sequence[str]) -> None:
    """Whether the case may succeed, with these rows and notices."""
    assert SUCCESS in case.states, f"it must end with {' or '.join(case.states)}, and returned {found[:3]}"
    if case.rows is not None:
        assert list(found) == list(case.rows)
    everything = " ".join(notices).lower()
    missing = [word for word in case.told if word.lower() not in everything]
    assert not missing, f"{missing} is not told: {notices}"


def internal(cases: Sequence[Case]) -> Iterator[Case]:
    """Cases that expect an internal error, which only corrupted data may cause."""
    return (case for case in cases if any(state.startswith(INTERNAL) and state != "XX001" for state in case.states))
