"""Numbers that the package and the extension must agree on; ``limits.toml`` beside this file says what each one is.

The extension makes constants of the same file when it is built.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

_ENTRIES: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _real(name: str) -> float:
    value = _ENTRIES[name]["value"]
    assert isinstance(value, float), name
    return value


def _whole(name: str) -> int:
    value = _ENTRIES[name]["value"]
    assert isinstance(value, int), name
    return value


RESERVE_SECONDS = _real("reserve_seconds")
SMALLEST_BUDGET = _real("smallest_budget")
LEAST_TO_TRY = _real("least_to_try")
FILTERING_SHARE = _real("filtering_share")
SECONDS_A_CELL = _real("seconds_a_cell")
SECONDS_A_ROW = _real("seconds_a_row")
MOST_BUSY = _real("most_busy")
HEARTBEAT_SECONDS = _real("heartbeat_seconds")
SILENCE_SECONDS = _real("silence_seconds")
SILENCE_BEFORE_READY_SECONDS = _real("silence_before_ready_seconds")
EVENT_WAIT_SECONDS = _real("event_wait_seconds")
LATE_SHARE = _real("late_share")
LATE_SECONDS = _real("late_seconds")
WRITTEN_A_SECOND = _real("written_a_second")
FILES_IN_TURN = _whole("files_in_turn")
LOG_TAIL = _whole("log_tail")
LONGEST_PROTOCOL_LINE = _whole("longest_protocol_line")
ALIGNMENT = _whole("alignment")
MOST_SPELLINGS = _whole("most_spellings")
LONGEST_SPELLING = _whole("longest_spelling")
LONGEST_SHOWN = _whole("longest_shown")
