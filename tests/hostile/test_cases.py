"""Hostile statements by the hundred: none crashes the server, none succeeds wrongly, every error tells what to do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.hostile.case import Case, internal, read_cases, run
from tests.hostile.conftest import Sessions
from tests.hostile.generated import blobs, calls, options, shadows, types

SUITES: dict[str, list[Case]] = {
    path.stem: read_cases(path) for path in sorted((Path(__file__).parent / "cases").glob("*.sql"))
} | {
    "blobs": blobs.CASES,
    "calls": calls.CASES,
    "options": options.CASES,
    "shadows": shadows.CASES,
    "types": types.CASES,
}

ALL = [(suite, case) for suite, cases in SUITES.items() for case in cases]


@pytest.mark.parametrize("case", [case for _, case in ALL], ids=[f"{suite}: {case.what}" for suite, case in ALL])
def test_case(sessions: Sessions, case: Case) -> None:
    try:
        run(sessions.get("attacker"), case)
    finally:
        sessions.assert_up("attacker")


def test_there_are_enough_cases_and_none_is_there_twice() -> None:
    written = [case for suite, case in ALL if (Path(__file__).parent / "cases" / f"{suite}.sql").exists()]
    assert len(written) >= 200 and len(ALL) >= 500
    assert not list(internal([case for _, case in ALL]))
    names = Counter((suite, case.what) for suite, case in ALL)
    tried = Counter((case.preparing, case.statement, case.role, case.mode) for _, case in ALL)
    assert not [name for name, count in names.items() if count > 1]
    assert not [statement for (_, statement, *_), count in tried.items() if count > 1]
