"""A server without memory to spare: what does not fit is an error that says so, and every other session stays.

`make test-hostile` runs all of the SQL tests on such a server; here is what reads as much as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.case import Case, read_cases, run
from tests.hostile.conftest import Sessions
from tests.hostile.world import make_world
from tests.sql.stub import unlimited_environment
from tests.sql.tables import query
from tools.server import DATABASE, Server, temporary_server

LIMIT = 500
"""MB of address space, of which a session that has just begun uses a third."""

CASES = read_cases(Path(__file__).parent / "memory.sql")

# 384 MB, and as many hashes as there are texts.
VIEWS = f"""
CREATE VIEW numbers AS SELECT g % 2 AS c, {", ".join(f"g / {i}.0::float8 AS f{i}" for i in range(1, 12))}
FROM generate_series(1, 4000000) g;
CREATE VIEW texts AS SELECT g::text AS a, (g + 1)::text AS b FROM generate_series(1, 3000000) g;
"""


@pytest.fixture(scope="module")
def limited(pg: Server) -> Iterator[Sessions]:
    """Sessions of a server of its own."""
    assert pg.virtualenv is not None
    with (
        unlimited_environment(pg.virtualenv) as environment,
        temporary_server(pg.pg_config, environment, memory_limit=LIMIT) as server,
    ):
        make_world(server, DATABASE)
        opened = Sessions(server, DATABASE)
        query(opened.get("attacker"), VIEWS)
        yield opened
        opened.close()


def test_the_server_is_limited(limited: Sessions) -> None:
    backend = limited.get("attacker").info.backend_pid
    limits = Path(f"/proc/{backend}/limits").read_text().splitlines()
    (space,) = [line.split() for line in limits if line.startswith("Max address space")]
    assert space[3:5] == [str(LIMIT << 20), "unlimited"]


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_what_does_not_fit(limited: Sessions, case: Case) -> None:
    # Of its own: what an earlier one has freed may still be its session's address space.
    session = limited.get(case.what)
    try:
        run(session, case)
    finally:
        limited.assert_up(case.what)
        limited.get(case.what).close()
