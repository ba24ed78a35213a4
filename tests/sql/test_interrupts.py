"""The statement ends when told to, in every phase, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import children, make_pair, make_table, query, runs, shared_memory, wait_until
from tests.timing import within
from tools.server import Server, temporary_server

PROMPT = 0.2
"""Seconds within which a statement promises to end."""

ALLOWANCE = 0.8
"""Added for machines that are not fast; see `within` for those that are busy."""

# Each statement spends seconds in the phase that names it.
PHASES = {
    "reading": "SELECT * FROM trails.model_selection('slow_view', 'label', '60 s')",
    "filtering": "SELECT * FROM trails.model_selection('train', 'label', '60 s', space => 'mlp5x20')",
    "filtering phase": "SELECT * FROM trails.filtering_phase('train', 'label', 160000, tfmem => 'ntk_cond')",
    "refinement": "SELECT * FROM trails.model_selection('large', 'label', '60 s', validation => 'valid')",
    "profile": "SELECT * FROM trails.profile_refinement('large', 'label')",
    "latency benchmark": "SELECT * FROM trails.benchmark_filtering_latency_in_db(5000, 'train', 64)",
}


class Running:
    """A statement running in its own session and thread."""

    def __init__(self, connection: Any, statement: str) -> None:
        self.connection = connection
        self.backend = connection.info.backend_pid
        self.error: BaseException | None = None
        self.ended = 0.0
        connection.notices.clear()
        self._thread = threading.Thread(target=self._run, args=(statement,), daemon=True)
        self._thread.start()

    def _run(self, statement: str) -> None:
        try:
            query(self.connection, statement)
        except psycopg2.Error as error:
            self.error = error
        self.ended = time.monotonic()

    def join(self, seconds: float = 60.0) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the statement did not end"


@pytest.fixture
def tables(connect: Callable[..., Any]) -> Any:
    """The witness session, after it has made the tables."""
    witness = connect()
    make_pair(witness)
    make_table(witness, "large", 10_000, 200_000)
    query(
        witness,
        "CREATE FUNCTION slow() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN 1; END $$;"
        "CREATE VIEW slow_view AS SELECT label, colour, slow() AS s FROM train",
    )
    return witness


def reach(phase: str, running: Running, witness: Any) -> None:
    """Waits until the statement is in its phase."""
    if phase == "refinement":
        # Training has begun when the plan is made; the driver keeps notices to itself until the statement ends.
        (child,) = wait_until(lambda: children(running.backend))
        wait_until(lambda: cpu_seconds(child) > 4.0 or running.ended)
    else:
        wait_until(
            lambda: (
                query(witness, "SELECT state FROM pg_stat_activity WHERE pid = %s", running.backend) == [("active",)]
            )
        )
        time.sleep(0.7)
    assert not running.ended, f"the statement ended before it was in {phase}: {running.error}"


def cpu_seconds(process: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def assert_nothing_left(backend: int, witness: Any, started: list[int]) -> None:
    wait_until(lambda: not any(map(runs, started)), 5)
    assert not children(backend)
    assert not shared_memory(backend)
    assert query(witness, "SELECT count(*) FROM train") == [(3000,)], "the witness session is up"
    assert query(witness, "SELECT count(*) FROM trails.runs") == [(0,)]
    locks = "SELECT count(*) FROM pg_locks WHERE relation IN ('train'::regclass, 'large'::regclass) AND pid = %s"
    assert query(witness, locks, backend) == [(0,)]


@pytest.mark.parametrize("phase", PHASES)
def test_cancel_ends_the_statement_at_once(connect: Callable[..., Any], tables: Any, phase: str) -> None:
    session = connect()
    running = Running(session, PHASES[phase])
    reach(phase, running, tables)
    started = children(running.backend)
    asked = time.monotonic()
    query(tables, "SELECT pg_cancel_backend(%s)", running.backend)
    running.join()
    assert running.error is not None and running.error.pgcode == "57014"  # type: ignore[attr-defined]
    assert within(running.ended - asked, PROMPT, ALLOWANCE)
    assert_nothing_left(running.backend, tables, started)
    assert query(session, "SELECT 1") == [(1,)], "the session goes on"


@pytest.mark.parametrize("phase", PHASES)
def test_statement_timeout_ends_the_statement_in_time(connect: Callable[..., Any], tables: Any, phase: str) -> None:
    limit = 6.0 if phase == "refinement" else 1.5
    session = connect()
    query(session, f"SET statement_timeout = '{limit} s'")
    began = time.monotonic()
    running = Running(session, PHASES[phase])
    running.join()
    assert running.error is not None and running.error.pgcode == "57014"  # type: ignore[attr-defined]
    assert within(running.ended - began, limit + PROMPT, ALLOWANCE)
    query(session, "SET statement_timeout = 0")
    assert_nothing_left(running.backend, tables, [])


@pytest.mark.parametrize("phase", PHASES)
def test_client_that_has_gone_ends_the_statement(connect: Callable[..., Any], tables: Any, phase: str) -> None:
    session = connect()
    running = Running(session, PHASES[phase])
    reach(phase, running, tables)
    started = children(running.backend)
    asked = time.monotonic()
    # Without a word: libpq would ask the server to cancel or say goodbye.
    with socket.socket(fileno=os.dup(session.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: not Path(f"/proc/{running.backend}").exists(), 10)
    assert within(time.monotonic() - asked, PROMPT, ALLOWANCE)
    assert_nothing_left(running.backend, tables, started)
    running.join()


def test_terminated_backend_takes_its_child_along(connect: Callable[..., Any], tables: Any) -> None:
    running = Running(connect(), PHASES["refinement"])
    reach("refinement", running, tables)
    started = children(running.backend)
    query(tables, "SELECT pg_terminate_backend(%s)", running.backend)
    running.join()
    assert running.error is not None
    assert_nothing_left(running.backend, tables, started)


def test_child_killed_before_any_model_is_one_clear_error(connect: Callable[..., Any], tables: Any) -> None:
    running = Running(connect(), PHASES["refinement"])
    (child,) = wait_until(lambda: children(running.backend))
    time.sleep(0.3)
    os.kill(child, signal.SIGKILL)
    running.join()
    assert running.error is not None and running.error.pgcode == "38000"  # type: ignore[attr-defined]
    assert "killed (signal 9)" in str(running.error)
    assert_nothing_left(running.backend, tables, [child])
    assert query(running.connection, "SELECT 1") == [(1,)]


def test_child_killed_later_leaves_the_best_so_far(pg: Server, connect: Callable[..., Any], tables: Any) -> None:
    session = connect()
    # The driver keeps what it is told until the statement ends; the log has it at once.
    query(session, "SET log_min_messages = notice; SET trails.progress = epochs")
    statement = (
        "SELECT * FROM trails.model_selection('train', 'label', '60 s', validation => 'valid', k => 600, u => 1)"
    )
    running = Running(session, statement)
    (child,) = wait_until(lambda: children(running.backend))
    told = re.compile(rf"\[{running.backend}\] NOTICE: +progress: .* best validation")
    wait_until(lambda: told.search(pg.log.read_text()) or running.ended)
    os.kill(child, signal.SIGKILL)
    running.join()
    assert running.error is None
    assert any("killed (signal 9)" in notice and "WARNING" in notice for notice in session.notices)
    ((state, rows),) = query(
        tables,
        "SELECT state, (SELECT count(*) FROM trails.candidates WHERE rank IS NOT NULL) FROM trails.runs",
    )
    assert state == "best so far" and rows >= 1


def test_signal_handlers_of_the_server_are_untouched(connect: Callable[..., Any], tables: Any) -> None:
    session = connect()
    backend = session.info.backend_pid

    def masks() -> list[str]:
        lines = Path(f"/proc/{backend}/status").read_text().splitlines()
        return [line for line in lines if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]

    query(session, "LOAD 'trails'")
    before = masks()
    query(session, "SELECT * FROM trails.benchmark_filtering_latency_in_db(3, 'train')")  # imports NumPy
    assert "numpy" in Path(f"/proc/{backend}/maps").read_text()
    assert "torch" not in Path(f"/proc/{backend}/maps").read_text()
    assert masks() == before
    assert len(list(Path(f"/proc/{backend}/task").iterdir())) == 1, "no library has started a thread"
    # They still work: reload, cancel.
    query(tables, "SELECT pg_reload_conf()")
    running = Running(session, "SELECT pg_sleep(30)")
    time.sleep(0.3)
    query(tables, "SELECT pg_cancel_backend(%s)", backend)
    running.join(30)
    assert running.error is not None and running.error.pgcode == "57014"  # type: ignore[attr-defined]


@pytest.fixture
def own_server(pg: Server, cluster: Path) -> Iterator[Server]:
    """A server that the test may stop or crash."""
    with temporary_server(pg.pg_config, pg.virtualenv, copy_data_from=cluster) as server:
        yield server


def start_refinement(server: Server) -> tuple[Running, list[int]]:
    session = psycopg2.connect(**server.socket_parameters())
    session.autocommit = True
    make_pair(session)
    make_table(session, "large", 10_000, 200_000)
    running = Running(session, PHASES["refinement"])
    return running, wait_until(lambda: children(running.backend))


def test_fast_shutdown_does_not_wait_for_training(own_server: Server) -> None:
    running, started = start_refinement(own_server)
    time.sleep(2.0)
    asked = time.monotonic()
    own_server.terminate()
    assert within(time.monotonic() - asked, 0.0, 5.0)
    running.join()
    wait_until(lambda: not any(map(runs, started)), 5)


def test_child_dies_with_a_backend_that_is_killed(own_server: Server) -> None:
    running, started = start_refinement(own_server)
    time.sleep(1.0)
    os.kill(running.backend, signal.SIGKILL)
    wait_until(lambda: not any(map(runs, started)), 5)
    running.join()


def test_counting_the_texts_of_a_large_table_can_be_ended_at_any_moment(connect: Callable[..., Any]) -> None:
    session = connect()
    query(session, "CREATE VIEW v AS SELECT 't' || g AS a FROM (SELECT generate_series(1, 4000000) AS g) s")
    statement = "SELECT distinct_texts FROM trails.describe_columns('v')"
    began = time.monotonic()
    assert query(session, statement) == [(4_000_000,)]
    whole = time.monotonic() - began
    for share in (0.6, 0.85):
        # A machine that was busy the first time may be done before the timeout; then the faster time is what counts.
        for _ in range(20):
            timeout = share * whole
            query(session, f"SET statement_timeout = '{int(timeout * 1000)} ms'")
            began = time.monotonic()
            try:
                query(session, statement)
            except psycopg2.errors.QueryCanceled:
                canceled = True
            else:
                canceled = False
            took = time.monotonic() - began
            assert within(took, timeout + PROMPT, ALLOWANCE)
            if canceled:
                break
            whole = min(whole, took)
        assert canceled, "no run was canceled"
