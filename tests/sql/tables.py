"""Small tables that can be learnt, made in SQL, and what the tests look at outside the server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.timing import within

# The label follows from two of the columns; remainders instead of random() make it the same every time.
_ROWS = """
SELECT i::int AS id,
       ((mod(i * 7919, 13) + mod(i * 104729, 7)) IN (2, 3, 4, 7, 8, 12, 13))::int AS label,
       mod(i * 7919, 13)::int AS colour,
       mod(i * 104729, 7)::bigint AS shape,
       mod(i * 31, 101)::smallint AS noise
FROM generate_series(%s::bigint, %s) i
"""


def make_table(connection: Any, name: str, first: int = 1, rows: int = 3000) -> None:
    """`id` (primary key), `label`, and the features `colour`, `shape`, `noise`."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} AS {_ROWS}", (first, first + rows - 1))
        cursor.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")


def make_pair(connection: Any, rows: int = 3000) -> None:
    """`train` and `valid`, with different rows."""
    make_table(connection, "train", 1, rows)
    make_table(connection, "valid", rows + 1, rows // 3)


def query(connection: Any, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


def children(parent: int) -> list[int]:
    """Process ids of the refinement processes that a backend started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            status = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            command = (entry / "cmdline").read_bytes()
            if int(status[1]) == parent and b"trails.refinement.child" in command:
                found.append(int(entry.name))
    return found


def runs(process: int) -> bool:
    """Whether a process has not ended.

    One that has may still be listed: a backend asks once for what it killed, and again in its next run.
    """
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    return False


def shared_memory(backend: int) -> list[str]:
    """The memory files that a backend holds open; none if it has ended."""
    held = []
    with contextlib.suppress(FileNotFoundError):  # it may end at any moment
        for link in Path(f"/proc/{backend}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if "memfd:trails" in target:
                    held.append(target)
    return held


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value of `condition`; fails after `seconds`, or later on a machine that is busy."""
    began = time.monotonic()
    while not (value := condition()):
        assert within(time.monotonic() - began, 0.0, seconds), "waited in vain"
        time.sleep(0.01)
    return value
