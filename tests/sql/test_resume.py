"""`trails.resume`: a run that was cut goes on from its last finished rung."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import children, make_table, query, wait_until
from tests.sql.test_interrupts import Running, cpu_seconds

RUN = (
    "SELECT * FROM trails.model_selection('train', 'label', budget => '40 s', validation => 'valid', k => 3, u => 2, "
    "seed => 5, options => '{\"dropout\": 0.1}')"
)

# Two rungs are planned; the process dies in the second one.
CUT = """
rows = receive(); ready(); request = receive(); plan(k=3, u=2)
(a, _), (b, _), (c, _) = request["candidates"][:3]
epoch(a, 0, 1, 0.5); epoch(a, 0, 2, 0.6); epoch(b, 0, 1, 0.7); epoch(b, 0, 2, 0.8); epoch(c, 0, 1, 0.65)
checkpoint(rows, 0, 1, b"weights of rung 0")
epoch(b, 1, 3, 0.99)
os.kill(os.getpid(), signal.SIGKILL)
"""

CONTINUED = """
rows = receive(); ready(); request = receive(); plan(k=3, u=2)
assert os.pread(request["resume"]["fd"], request["resume"]["length"], 0) == b"weights of rung 0"
epoch(BEST, 1, 3, 0.85); epoch(BEST, 1, 4, 0.9)
"""


def cut_run(session: Any, stub: Stub) -> tuple[int, list[tuple[Any, ...]]]:
    """A run that can be resumed, and its leaderboard."""
    stub.script(CUT)
    rows = query(session, RUN)
    ((run,),) = query(session, "SELECT max(run_id) FROM trails.runs")
    return run, rows


def refused(session: Any, statement: str) -> psycopg2.extensions.Diagnostics:
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement)
    return caught.value.diag


def test_goes_on_from_the_last_finished_rung_as_a_new_run(scripted: Any, stub: Stub) -> None:
    run, before = cut_run(scripted, stub)
    assert query(scripted, "SELECT rung, convert_from(weights, 'UTF8') FROM trails.checkpoints") == [
        (0, "weights of rung 0")
    ]
    best, second, third = (row[1] for row in before)
    asked = stub.requests()
    stub.script(CONTINUED.replace("BEST", repr(best)) + f"result([row({best!r}, 0.9, 4)])")
    rows = query(scripted, f"SELECT * FROM trails.resume({run}, budget => '20 s')")
    assert [(row[0], row[1], row[3], row[4]) for row in rows] == [
        (1, best, 0.9, 4),
        (2, third if before[2][3] > before[1][3] else second, before[1][3], before[1][4]),
        (3, third, before[2][3], before[2][4]),
    ]
    assert [row[2] for row in rows] == [row[2] for row in before], "scores are those of the first run"

    sent_rows, sent = stub.requests()
    for name in ("target", "seed", "device", "threads"):
        assert sent_rows[name] == asked[0][name]
    assert [c["name"] for c in sent_rows["train"]["columns"]] == [c["name"] for c in asked[0]["train"]["columns"]]
    assert sent["candidates"] == [] and sent["scored"] == 0
    for name in ("space", "refinement", "k", "u", "options"):
        assert sent[name] == asked[1][name]

    ((new, *told),) = query(
        scripted,
        "SELECT run_id, function, continues, state, fault, tfmem, scored, k, u, options, seed, "
        "extract(epoch FROM budget) FROM trails.runs ORDER BY run_id DESC LIMIT 1",
    )
    assert told == ["resume", run, "complete", None, "expressflow", None, 3, 2, {"dropout": 0.1}, 5, 20]
    curves = query(
        scripted, "SELECT rung, epoch, validation_metric FROM trails.trials WHERE run_id = %s AND architecture = %s "
        "ORDER BY epoch", new, best,
    )  # fmt: skip
    assert curves == [(0, 1, 0.7), (0, 2, 0.8), (1, 3, 0.85), (1, 4, 0.9)]
    assert query(scripted, "SELECT run_id FROM trails.checkpoints") == [(run,)], "a finished run needs none"


def test_run_cut_again_can_be_resumed_again(scripted: Any, stub: Stub) -> None:
    run, before = cut_run(scripted, stub)
    best = repr(before[0][1])
    stub.script(CONTINUED.replace("BEST", best) + "os._exit(1)")
    query(scripted, f"SELECT * FROM trails.resume({run})")
    assert (
        query(scripted, "SELECT rung, convert_from(weights, 'UTF8') FROM trails.checkpoints ORDER BY run_id")
        == [(0, "weights of rung 0")] * 2
    )
    ((second,),) = query(scripted, "SELECT max(run_id) FROM trails.runs")
    stub.script(CONTINUED.replace("BEST", best) + f"result([row({best}, 0.9, 4)])")
    rows = query(scripted, f"SELECT * FROM trails.resume({second})")
    assert rows[0][3] == 0.9 and len(rows) == 3
    assert query(scripted, "SELECT count(*) FROM trails.trials WHERE run_id = (SELECT max(run_id) FROM trails.runs)") \
        == [(7,)]  # fmt: skip
    query(scripted, f"DELETE FROM trails.runs WHERE run_id = {run}")
    assert query(scripted, "SELECT continues FROM trails.runs ORDER BY run_id") == [(None,), (second,)]


def test_fault_before_anything_new_is_an_error_and_leaves_the_first_run_as_it_was(scripted: Any, stub: Stub) -> None:
    run, _ = cut_run(scripted, stub)
    stub.script("rows = receive(); ready(); receive(); send('error', message='the rows differ', sqlstate='22000')")
    assert refused(scripted, f"SELECT * FROM trails.resume({run})").message_primary == "the rows differ"
    assert query(scripted, "SELECT run_id, state FROM trails.runs") == [(run, "best so far")]


def test_finished_run(scripted: Any, stub: Stub) -> None:
    stub.script(
        "rows = receive(); ready(); request = receive(); plan(); result([row(request['candidates'][0][0], 0.9)])"
    )
    query(scripted, RUN)
    ((run,),) = query(scripted, "SELECT run_id FROM trails.runs")
    diagnostics = refused(scripted, f"SELECT * FROM trails.resume({run})")
    assert diagnostics.sqlstate == "55000" and f"run {run} is finished" in diagnostics.message_primary
    assert "trails.model_selection" in diagnostics.message_hint


def test_run_that_was_cut_before_its_first_rung_ended(scripted: Any, stub: Stub) -> None:
    stub.script(CUT.replace('checkpoint(rows, 0, 1, b"weights of rung 0")', ""))
    query(scripted, RUN)
    ((run,),) = query(scripted, "SELECT run_id FROM trails.runs")
    diagnostics = refused(scripted, f"SELECT * FROM trails.resume({run})")
    assert diagnostics.sqlstate == "55000" and "no checkpoint" in diagnostics.message_primary
    assert "first rung" in diagnostics.message_detail and diagnostics.message_hint


def test_run_that_is_not_there_and_run_of_somebody_else_read_the_same(
    scripted: Any, stub: Stub, connect: Callable[..., Any]
) -> None:
    run, _ = cut_run(scripted, stub)
    alice = connect(role="alice")
    query(scripted, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    hidden, missing = (refused(alice, f"SELECT * FROM trails.resume({number})") for number in (run, 12345))
    assert hidden.sqlstate == missing.sqlstate == "42704"
    assert hidden.message_primary == f"you have no run {run}" and missing.message_primary == "you have no run 12345"
    assert hidden.message_hint == missing.message_hint
    assert query(alice, "SELECT count(*) FROM trails.checkpoints") == [(0,)]


@pytest.mark.parametrize(
    ("change", "sqlstate", "words"),
    [
        ("DROP TABLE train", "42P01", "public.train, the source of run"),
        ("DROP TABLE valid", "42P01", "public.valid, the validation table of run"),
        ("ALTER TABLE train DROP COLUMN shape", "42703", 'column "shape" of public.train does not exist'),
        ("ALTER TABLE train RENAME label TO answer", "42703", 'column "label" of public.train does not exist'),
        ("ALTER TABLE valid DROP COLUMN shape", "42703", 'column "shape" of public.valid does not exist'),
    ],
)
def test_source_or_column_that_is_gone(scripted: Any, stub: Stub, change: str, sqlstate: str, words: str) -> None:
    run, _ = cut_run(scripted, stub)
    query(scripted, change)
    diagnostics = refused(scripted, f"SELECT * FROM trails.resume({run})")
    assert diagnostics.sqlstate == sqlstate and words in diagnostics.message_primary
    assert "start a new one" in diagnostics.message_hint
    assert stub.requests()[1:2] != [], "the log is that of the first run"


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "words"),
    [
        ("NULL", "22023", "run must not be NULL"),
        ("1, budget => NULL", "22023", "budget must not be NULL"),
        ("{run}, budget => '0.5 s'", "53400", "too small"),
    ],
)
def test_arguments(scripted: Any, stub: Stub, arguments: str, sqlstate: str, words: str) -> None:
    run, _ = cut_run(scripted, stub)
    diagnostics = refused(scripted, f"SELECT * FROM trails.resume({arguments.format(run=run)})")
    assert diagnostics.sqlstate == sqlstate and words in diagnostics.message_primary


def test_rights_on_the_source_are_asked_for_again(scripted: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    query(scripted, "CREATE ROLE keeper; GRANT trails_user TO keeper; GRANT SELECT ON train, valid TO keeper")
    try:
        query(scripted, "SET ROLE keeper")
        run, _ = cut_run(scripted, stub)
        query(scripted, "RESET ROLE; REVOKE SELECT ON train FROM keeper; SET ROLE keeper")
        assert refused(scripted, f"SELECT * FROM trails.resume({run})").sqlstate == "42501"
    finally:
        query(scripted, "RESET ROLE; DROP OWNED BY keeper; DROP ROLE keeper")


# From here on with the real process.


def killed_run(connect: Callable[..., Any], session: Any, watch: str) -> int:
    """A run of the real process that is killed in its second rung."""
    make_table(session, "large", 10_000, 20_000)
    running = Running(connect(), watch)
    (child,) = wait_until(lambda: children(running.backend))
    # It writes its checkpoint after the first rung, tells of it at once, and works on, which the server counts.
    wait_until(lambda: running.ended or any(size > 0 for size in checkpoint_sizes(child)), 120)
    reached = cpu_seconds(child)
    wait_until(lambda: running.ended or cpu_seconds(child) > reached + 0.3)
    os.kill(child, signal.SIGKILL)
    running.join()
    assert running.error is None, running.error
    ((run,),) = query(session, "SELECT max(run_id) FROM trails.runs")
    return int(run)


def checkpoint_sizes(child: int) -> list[int]:
    sizes = []
    for number in os.listdir(f"/proc/{child}/fd"):
        try:
            path = f"/proc/{child}/fd/{number}"
            if "trails-checkpoint" in os.readlink(path):
                sizes.append(os.stat(path).st_size)
        except OSError:
            continue
    return sizes


WORKLOAD = (
    "SELECT * FROM trails.model_selection_workloads('large', 'label', 1000, 9, 1, validation => 'valid', seed => 3)"
)


def test_resumed_run_ends_where_an_uninterrupted_one_does(connect: Callable[..., Any], session: Any) -> None:
    run = killed_run(connect, session, WORKLOAD)
    assert query(session, "SELECT run_id FROM trails.checkpoints") == [(run,)]
    resumed = query(session, f"SELECT * FROM trails.resume({run}, '120 s')")
    query(session, WORKLOAD)
    whole = query(
        session,
        "SELECT rank, architecture, validation_metric FROM trails.candidates "
        "WHERE run_id = (SELECT max(run_id) FROM trails.runs) AND rank IS NOT NULL ORDER BY rank",
    )
    assert [(row[0], row[1]) for row in resumed] == [row[:2] for row in whole]
    assert [row[3] for row in resumed] == pytest.approx([row[2] for row in whole], abs=1e-6)


def test_other_rows_are_refused(connect: Callable[..., Any], session: Any) -> None:
    run = killed_run(connect, session, WORKLOAD)
    assert query(session, "SELECT run_id FROM trails.checkpoints") == [(run,)]
    query(session, "DELETE FROM large WHERE id = (SELECT min(id) FROM large)")
    diagnostics = refused(session, f"SELECT * FROM trails.resume({run}, '60 s')")
    assert "rows" in f"{diagnostics.message_primary} {diagnostics.message_detail}"
