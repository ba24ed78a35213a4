"""A cancel that comes while the client is being told something ends the statement as any other, and nothing stays."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import children, make_pair, query, shared_memory, wait_until
from tests.sql.test_interrupts import Running
from tests.sql.test_resume import CONTINUED, cut_run

CANCELS = 30
"""Random moments at which the statement is cancelled."""

RUN = "SELECT * FROM trails.model_selection('train', 'label', '60 s', validation => 'valid', k => 2, u => 1)"

# A report lasts microseconds, and the wait before it no longer: most cancels find the backend in one of the two.
FLOOD = """
rows = receive(); ready(); request = receive(); plan()
(a, _), (b, _) = request["candidates"][:2]
epoch(a, 0, 1, 0.7)
while True:
    os.write(1, b'{"event": "progress", "done": 1.0, "total": 2.0}\\n' * 50)
"""


@pytest.fixture
def witness(connect: Callable[..., Any]) -> Any:
    session = connect()
    make_pair(session)
    return session


def test_cancel_during_a_flood_of_notices_leaves_nothing_in_the_session(
    connect: Callable[..., Any], witness: Any, stub: Stub
) -> None:
    stub.script(FLOOD)
    session = connect()
    query(session, "SET trails.virtualenv = %s", str(stub.path))
    query(session, "SET trails.progress = epochs")
    moments = random.Random(4)
    for _ in range(CANCELS):
        running = Running(session, RUN)
        wait_until(lambda: stub.asked("refine"))
        time.sleep(moments.uniform(0.0, 0.05))
        query(witness, "SELECT pg_cancel_backend(%s)", running.backend)
        running.join()
        assert running.error is not None and running.error.pgcode == "57014"  # type: ignore[attr-defined]
        assert not children(running.backend) and not shared_memory(running.backend)
        stub.forget()
    assert query(session, "SELECT 1") == [(1,)], "the session goes on"


def test_cancel_that_is_pending_when_a_warning_is_told_leaves_nothing_either(scripted: Any, stub: Stub) -> None:
    run, rows = cut_run(scripted, stub)
    # The division fails before anything looks whether the statement has been cancelled; the warning is the first to.
    query(
        scripted,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE x int; BEGIN "
        "x := pg_cancel_backend(pg_backend_pid())::int / 0; RETURN NEW; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON trails.trials FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    best = repr(rows[0][1])
    stub.script(CONTINUED.replace("BEST", best) + f"result([row({best}, 0.9, 4)])")
    # A resumed run holds the checkpoint that it began with until its end.
    with pytest.raises(psycopg2.Error) as caught:
        query(scripted, f"SELECT * FROM trails.resume({run}, budget => '20 s')")
    assert caught.value.pgcode == "57014"
    backend = scripted.info.backend_pid
    assert not children(backend) and not shared_memory(backend)
    assert query(scripted, "SELECT count(*) FROM trails.runs") == [(1,)]
