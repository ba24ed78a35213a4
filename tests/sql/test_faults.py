"""The refinement process dies, hangs, raises or talks nonsense: the server stays up, and what finished is kept."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import children, make_table, query, shared_memory, wait_until
from tests.sql.test_interrupts import Running, cpu_seconds
from tests.timing import within

RUN = "SELECT * FROM trails.model_selection('train', 'label', budget => '40 s', validation => 'valid', k => 2, u => 1)"
WORKLOAD = "SELECT * FROM trails.model_selection_workloads('train', 'label', 100, 2)"

TWO_EPOCHS = """
rows = receive(); ready(); request = receive(); plan()
(a, _), (b, _) = request["candidates"][:2]
epoch(a, 0, 1, 0.7); epoch(b, 0, 1, 0.8)
"""


def fault_of(session: Any) -> tuple[str, str | None]:
    ((state, fault),) = query(session, "SELECT state, fault FROM trails.runs")
    return state, fault


# How it ends, what the fault says, what the client is told besides.
FAULTS = {
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "killed (signal 9)", ["refinement_memory_limit"]),
    "aborted": ("os.abort()", "died of signal 6", []),
    "raising": ("print('before', file=sys.stderr); raise ValueError('of no use')", "exit code 1", ["of no use"]),
    "out of memory": (
        "send('error', message='memory ran out', detail='120 MB were needed', hint='Ask for more.', sqlstate='53200')",
        "memory ran out",
        ["120 MB were needed", "Ask for more."],
    ),
    "nonsense": ("os.write(1, b'nonsense\\n'); time.sleep(60)", "not an event", ["nonsense"]),
}


@pytest.mark.parametrize("how", FAULTS)
def test_fault_after_the_first_epochs_returns_the_best_of_them(scripted: Any, stub: Stub, how: str) -> None:
    ending, message, told = FAULTS[how]
    stub.script(TWO_EPOCHS + ending)
    scripted.notices.clear()
    rows = query(scripted, RUN)
    assert [row[3] for row in rows] == [0.8, 0.7]
    assert rows[0][2] is not None, "its score is known"
    (warning,) = [notice for notice in scripted.notices if notice.startswith("WARNING")]
    for words in (message, "the best of what had finished", *told):
        assert words in warning
    state, fault = fault_of(scripted)
    assert state == "best so far" and fault is not None and message in fault
    assert query(scripted, "SELECT architecture, rank, epochs FROM trails.candidates ORDER BY rank") == [
        (row[1], row[0], 1) for row in rows
    ]
    assert query(scripted, "SELECT count(*) FROM trails.trials") == [(2,)]


@pytest.mark.parametrize("how", FAULTS)
def test_fault_before_the_first_epoch_is_one_clear_error(scripted: Any, stub: Stub, how: str) -> None:
    ending, message, told = FAULTS[how]
    stub.script("rows = receive(); ready(); receive(); plan()\n" + ending)
    with pytest.raises(psycopg2.Error) as caught:
        query(scripted, RUN)
    diagnostics = caught.value.diag
    assert diagnostics.sqlstate == ("53200" if how == "out of memory" else "38000")
    assert message in diagnostics.message_primary
    for words in told:
        assert words in f"{diagnostics.message_detail} {diagnostics.message_hint}"
    assert query(scripted, "SELECT count(*) FROM trails.runs") == [(0,)]
    assert query(scripted, "SELECT 1") == [(1,)]


def test_epochs_without_a_metric_are_no_result(scripted: Any, stub: Stub) -> None:
    stub.script("rows = receive(); ready(); receive(); plan(); epoch('8-8-8-8', 0, 1, None); os._exit(1)")
    with pytest.raises(psycopg2.Error, match="exit code 1"):
        query(scripted, RUN)


@pytest.mark.parametrize("statement", [RUN, WORKLOAD])
def test_silent_process_is_ended_after_ten_seconds(scripted: Any, stub: Stub, statement: str) -> None:
    stub.script(TWO_EPOCHS + "time.sleep(120)")
    began = time.monotonic()
    query(scripted, statement)
    seconds = time.monotonic() - began
    assert seconds > 9 and within(seconds, 10.0, 15.0)
    assert fault_of(scripted) == ("best so far", "the refinement process hung: no sign of life for 10 s")
    assert not children(scripted.info.backend_pid)


def test_signs_of_life_keep_a_slow_process_alive(scripted: Any, stub: Stub) -> None:
    stub.script(
        TWO_EPOCHS + "for _ in range(13): time.sleep(1); send('alive')\nresult([row(a, 0.75)], timings=[])",
    )
    rows = query(scripted, WORKLOAD)
    assert {row[1] for row in rows} >= {"read", "filter", "refine", "write"}
    assert fault_of(scripted) == ("complete", None)


def test_process_that_takes_no_request_is_ended(scripted: Any, stub: Stub) -> None:
    # The request with its candidates is longer than a pipe holds.
    stub.script("ready(); time.sleep(120)")
    with pytest.raises(psycopg2.Error, match=r"hung|no result within") as caught:
        query(scripted, "SELECT * FROM trails.model_selection('train', 'label', budget => '30 s')")
    assert caught.value.pgcode in {"38000", "53400"}


def test_late_process_does_not_cost_the_budget(scripted: Any, stub: Stub) -> None:
    stub.script(TWO_EPOCHS + "while True: time.sleep(0.2); send('alive')")
    began = time.monotonic()
    rows = query(scripted, RUN.replace("40 s", "5 s"))
    assert within(time.monotonic() - began, 5 * 1.03 + 0.2, 0.89)
    assert len(rows) == 2
    state, fault = fault_of(scripted)
    assert state == "best so far" and fault == "the refinement process gave no result within the budget of 5 s"


def test_model_that_could_not_be_written_costs_only_itself(scripted: Any, stub: Stub) -> None:
    stub.script(
        TWO_EPOCHS + "send('result', leaderboard=[row(b, 0.8), row(a, 0.7)], complete=True, unkept='OSError: no space')"
    )
    scripted.notices.clear()
    rows = query(scripted, RUN.replace("u => 1)", "u => 1, name => 'kept')"))
    assert [row[3] for row in rows] == [0.8, 0.7]
    (warning,) = [notice for notice in scripted.notices if notice.startswith("WARNING")]
    assert "the model cannot be kept" in warning and "no space" in warning
    assert fault_of(scripted) == ("complete", None)
    assert query(scripted, "SELECT count(*) FROM trails.models") == [(0,)]


def test_checkpoint_that_is_not_there_costs_only_itself(scripted: Any, stub: Stub) -> None:
    stub.script(TWO_EPOCHS + "checkpoint(rows, 0, 0, b'short', length=1 << 20); os._exit(1)")
    scripted.notices.clear()
    assert len(query(scripted, RUN)) == 2
    assert any("checkpoint of the last finished rung cannot be kept" in notice for notice in scripted.notices)
    assert query(scripted, "SELECT count(*) FROM trails.checkpoints") == [(0,)]


def test_checkpoint_that_is_too_large_does_not_cost_the_budget(scripted: Any, stub: Stub) -> None:
    ending = "checkpoint(rows, 0, 0, bytes(200 << 20)); time.sleep(rows['deadline'] - time.monotonic())\n"
    stub.script(TWO_EPOCHS + ending + "result([row(a, 0.7)], complete=False)")
    scripted.notices.clear()
    query(scripted, RUN.replace("40 s", "6 s"))
    assert any("210 MB would exceed the budget" in notice for notice in scripted.notices)
    assert query(scripted, "SELECT count(*) FROM trails.checkpoints") == [(0,)]
    ((seconds,),) = query(scripted, "SELECT total_seconds FROM trails.runs")
    assert within(seconds, 6 * 1.03 + 0.2, 0.42)


def test_a_line_that_does_not_end_is_one_clear_error(scripted: Any, stub: Stub) -> None:
    stub.script("rows = receive(); ready(); receive(); plan()\nwhile True: os.write(1, b'x' * 65536)")
    with pytest.raises(psycopg2.Error, match="a line that does not end") as caught:
        query(scripted, RUN)
    assert caught.value.pgcode == "38000" and not children(scripted.info.backend_pid)


def test_events_without_a_pause_do_not_keep_a_cancel_from_the_statement(
    scripted: Any, stub: Stub, connect: Callable[..., Any]
) -> None:
    stub.script(TWO_EPOCHS + 'while True: os.write(1, b\'{"event": "alive"}\\n\' * 3000)')
    query(scripted, "SET trails.progress = off")
    running = Running(scripted, RUN)
    wait_until(lambda: stub.asked("refine") or running.ended)
    time.sleep(0.5)
    asked = time.monotonic()
    query(connect(), "SELECT pg_cancel_backend(%s)", running.backend)
    running.join()
    assert running.error is not None and running.error.pgcode == "57014"  # type: ignore[attr-defined]
    assert within(running.ended - asked, 0.0, 3.0) and not children(running.backend)


def test_the_process_writes_no_bytecode_beside_the_packages(scripted: Any, stub: Stub) -> None:
    stub.script(TWO_EPOCHS + "assert sys.dont_write_bytecode and sys.flags.isolated\nresult([row(a, 0.75)])")
    query(scripted, RUN)
    assert fault_of(scripted) == ("complete", None)


# A process that is traced is its tracer's to reap: until then its parent waits for it in vain, killed or not, as for
# one in uninterruptible sleep.
HELD = """
import ctypes
PTRACE_SEIZE, PR_SET_PTRACER = 0x4206, 0x59616d61
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(PR_SET_PTRACER, ctypes.c_ulong(-1 & (1 << 64) - 1), 0, 0, 0)
held, seized = os.getpid(), os.pipe()
if os.fork() == 0:
    os.setsid()
    done = libc.ptrace(PTRACE_SEIZE, held, None, None)
    os.write(seized[1], b"y" if done == 0 else b"n")
    os.closerange(0, 1000)
    time.sleep(SECONDS)
    os._exit(0)
if os.read(seized[0], 1) != b"y":
    send("error", message="ptrace is not allowed here", sqlstate="0A000")
"""
HELD_SECONDS = 30


@pytest.mark.parametrize("ending", ["result([row(a, 0.75)])", "os._exit(1)", "time.sleep(120)"])
def test_a_process_that_does_not_end_holds_neither_statement_nor_session(
    scripted: Any, stub: Stub, connect: Callable[..., Any], ending: str
) -> None:
    hold = HELD.replace("SECONDS", str(HELD_SECONDS))
    stub.script(TWO_EPOCHS + hold + ending)
    backend = scripted.info.backend_pid
    began = time.monotonic()
    try:
        query(scripted, RUN.replace("40 s", "6 s"))
    except psycopg2.Error as error:
        if error.pgcode == "0A000":
            pytest.skip("ptrace is not allowed here")
        raise
    assert within(time.monotonic() - began, 6 * 1.03 + 0.2, 8.6)
    # The next run reaps what has ended meanwhile; the session ends, too, while something is left.
    stub.script(TWO_EPOCHS + "result([row(a, 0.75)])")
    query(scripted, RUN)
    scripted.close()
    wait_until(lambda: not query(connect(), "SELECT FROM pg_stat_activity WHERE pid = %s", backend), HELD_SECONDS / 2)


# From here on with the real process.

KILLS = 6
"""Random moments at which the process is killed."""


@pytest.mark.parametrize("number", range(KILLS))
def test_kill_at_a_random_moment(connect: Callable[..., Any], session: Any, number: int) -> None:
    make_table(session, "large", 10_000, 60_000)
    runner = connect()
    running = Running(runner, "SELECT * FROM trails.model_selection('large', 'label', '30 s', validation => 'valid')")
    (child,) = wait_until(lambda: children(running.backend))
    time.sleep(random.Random(number).uniform(0, 12))
    os.kill(child, signal.SIGKILL)
    running.join()
    if running.error is None:
        ((state, fault),) = query(session, "SELECT state, fault FROM trails.runs")
        assert state == "best so far" and "killed (signal 9)" in fault
        assert query(session, "SELECT count(*) > 0 FROM trails.candidates WHERE rank = 1") == [(True,)]
    else:
        assert running.error.pgcode == "38000"  # type: ignore[attr-defined]
        assert "killed (signal 9)" in str(running.error)
    assert query(runner, "SELECT 1") == [(1,)]
    assert not children(running.backend) and not shared_memory(running.backend)


def test_stopped_process_is_noticed_and_ended(connect: Callable[..., Any], session: Any) -> None:
    make_table(session, "large", 10_000, 200_000)
    running = Running(connect(), "SELECT * FROM trails.model_selection_workloads('large', 'label', 100, 20, 5)")
    (child,) = wait_until(lambda: children(running.backend))
    wait_until(lambda: cpu_seconds(child) > 6.0 or running.ended)
    os.kill(child, signal.SIGSTOP)
    stopped = time.monotonic()
    running.join(90)
    assert within(running.ended - stopped, 10.0, 20.0)
    if running.error is None:
        assert "hung" in (fault_of(session)[1] or "")
    else:
        assert "hung: no sign of life for 10 s" in str(running.error)
    assert not children(running.backend)


def test_memory_limit_that_is_too_small_names_itself_and_what_was_needed(session: Any) -> None:
    query(session, "SET trails.refinement_memory_limit = '64 MB'")
    with pytest.raises(psycopg2.Error) as caught:
        query(session, RUN)
    diagnostics = caught.value.diag
    assert diagnostics.sqlstate == "53200"
    told = f"{diagnostics.message_primary} {diagnostics.message_detail} {diagnostics.message_hint}"
    assert "trails.refinement_memory_limit" in told and "64" in told
    query(session, "SET trails.refinement_memory_limit = '16 GB'")
    assert len(query(session, RUN)) == 2
