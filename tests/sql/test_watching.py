"""What other sessions see of a run while it runs, and how they end it before its time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import children, make_pair, query, runs, wait_until
from tests.sql.test_interrupts import Running
from tests.timing import within
from tools.server import Server, temporary_server

PROMPT = 0.5
"""Seconds within which a run notices that it is to stop, and is written down."""

ALLOWANCE = 1.5

RUN = "SELECT * FROM trails.model_selection('train', 'label', '60 s', validation => 'valid', k => 2, u => 1)"

# What holds a script until the file is there.
HOLD = """
def hold(name):
    while not os.path.exists(os.path.join(sys.prefix, "requests", name)):
        send("alive"); time.sleep(0.02)
"""

SCRIPT = (
    HOLD
    + """
asked = receive(); hold("start"); ready(); rows(metric="auc"); request = receive(); hold("plan"); plan()
(a, _), (b, _) = request["candidates"][:2]
hold("train"); epoch(a, 0, 1, 0.6); epoch(b, 0, 1, 0.8)
hold("rung"); epoch(a, 1, 2, 0.7)
checkpoint(asked, 0, 0, b"weights")
hold("go"); result([row(b, 0.8), row(a, 0.7)])
"""
)

FILES = "base/pgsql_tmp"


class Selecting(Running):
    """A statement in its own session and thread, which keeps its rows."""

    rows: list[tuple[Any, ...]] | None = None

    def _run(self, statement: str) -> None:
        try:
            self.rows = query(self.connection, statement)
        except psycopg2.Error as error:
            self.error = error
        self.ended = time.monotonic()

    @property
    def code(self) -> str | None:
        return getattr(self.error, "pgcode", None)


class Stage:
    """A session that selects by a script, and a witness."""

    def __init__(self, stub: Stub, connect: Callable[..., Any], witness: Any) -> None:
        self.stub, self.connect, self.witness = stub, connect, witness

    def let(self, *names: str) -> None:
        for name in names:
            (self.stub.path / "requests" / name).touch()

    def select(self, statement: str = RUN, role: str = "postgres") -> Selecting:
        session = self.connect(role=role)
        if role == "postgres":
            query(session, "SET trails.virtualenv = %s", str(self.stub.path))
        return Selecting(session, statement)

    def until(self, condition: str, running: Running | None = None) -> tuple[Any, ...]:
        """The one row of trails.progress of which the condition holds, once there is one."""

        def look() -> Any:
            rows = query(self.witness, f"SELECT * FROM trails.progress WHERE {condition}")
            assert running is None or rows or not running.ended, running.error
            return rows

        (row,) = wait_until(look)
        return tuple(row)

    def run_id(self) -> int:
        self.until("run_id IS NOT NULL")
        ((run,),) = query(self.witness, "SELECT run_id FROM trails.progress")
        return int(run)


@pytest.fixture
def stage(scripted: Any, stub: Stub, connect: Callable[..., Any]) -> Stage:
    stub.script(SCRIPT)
    return Stage(stub, connect, scripted)


@pytest.fixture
def people(stage: Stage) -> Stage:
    """Alice and Bob may select, Carol watches all, Dave may end what others run."""
    for role in ("alice", "bob", "carol", "dave"):
        stage.connect(role=role)
        query(stage.witness, f"GRANT trails_user TO {role}; GRANT SELECT ON train, valid TO {role}")
        query(stage.witness, f"ALTER ROLE {role} SET trails.virtualenv = '{stage.stub.path}'")
    query(stage.witness, "GRANT pg_read_all_stats TO carol; GRANT pg_signal_backend TO dave")
    return stage


def told(session: Any, statement: str) -> psycopg2.Error:
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement)
    return caught.value


def left(session: Any) -> list[str]:
    """The areas that lie in the data directory."""
    ((folder,),) = query(session, "SHOW data_directory")
    place = Path(folder) / FILES
    return sorted(p.name for p in place.glob("pgsql_tmp_trails_*")) if place.exists() else []


def test_each_phase_is_seen_with_what_is_known_of_it(stage: Stage) -> None:
    running = stage.select(RUN.replace("u => 1", "u => 1, name => 'kept'"))
    stage.until("phase = 'starting'", running)
    ((*row,),) = query(
        stage.witness,
        "SELECT pid, run_id, function, database, role, source, model, budget = '60 s', scored > 100, candidates > 2, "
        "rung, epochs, best_metric, stopping FROM trails.progress",
    )
    assert row == [
        running.backend, 1, "model_selection", stage.witness.info.dbname, "postgres", "public.train", "kept", True,
        True, True, None, 0, None, False,
    ]  # fmt: skip
    stage.let("start", "plan")
    stage.until("phase = 'refining' AND metric = 'auc' AND k = 2 AND u = 1", running)
    stage.let("train")
    best = stage.until("epochs = 2 AND rung = 0", running)
    stage.let("rung")
    stage.until("epochs = 3 AND rung = 1 AND best_metric = 0.8", running)
    trials = query(
        stage.witness,
        "SELECT run_id, place, rung, epoch, train_loss, validation_loss, validation_metric, seconds, "
        "at BETWEEN now() - interval '1 hour' AND clock_timestamp() FROM trails.live_trials ORDER BY place",
    )
    assert trials == [
        (1, 1, 0, 1, 0.5, 0.6, 0.6, 0.25, True),
        (1, 2, 0, 1, 0.5, 0.6, 0.8, 0.25, True),
        (1, 3, 1, 2, 0.5, 0.6, 0.7, 0.25, True),
    ]
    live = query(stage.witness, "SELECT architecture FROM trails.live_trials ORDER BY place")
    assert best[best.index(0.8) - 1] == live[1][0], "the best architecture comes before its metric"
    stage.let("go")
    running.join()
    assert running.error is None and running.rows
    assert query(stage.witness, "SELECT count(*) FROM trails.progress") == [(0,)]
    assert query(stage.witness, "SELECT count(*) FROM trails.live_trials") == [(0,)]
    assert query(stage.witness, "SELECT run_id FROM trails.runs") == [(1,)], "the number that was shown"
    assert left(stage.witness) == []


def test_writing_is_a_phase_in_which_there_is_nothing_to_stop(stage: Stage) -> None:
    query(
        stage.witness,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;"
        "CREATE TRIGGER slow BEFORE INSERT ON trails.trials FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    running = stage.select()
    stage.let("start", "plan", "train", "rung", "go")
    stage.until("phase = 'writing'", running)
    assert query(stage.witness, "SELECT trails.stop(1)") == [(False,)]
    assert query(stage.witness, "SELECT trails.cancel(1)") == [(True,)]
    running.join()
    assert running.code == "57014" and query(stage.witness, "SELECT count(*) FROM trails.runs") == [(0,)]
    assert left(stage.witness) == []


def test_the_time_that_remains_only_falls(stage: Stage) -> None:
    running = stage.select()
    stage.until("phase = 'starting'", running)
    measured = []
    for moment, step in enumerate(["start", "plan", "train", "rung", ""] * 4):
        if step and moment < 5:
            stage.let(step)
        measured += query(
            stage.witness,
            "SELECT percent, extract(epoch FROM remaining), extract(epoch FROM elapsed), "
            "abs(extract(epoch FROM clock_timestamp() - started) - extract(epoch FROM elapsed)) FROM trails.progress",
        )
        time.sleep(0.02)
    percents, remaining, elapsed, difference = zip(*measured, strict=True)
    assert list(percents) == sorted(percents) and list(elapsed) == sorted(elapsed)
    assert list(remaining) == sorted(remaining, reverse=True) and remaining[-1] < remaining[0] < 60
    assert max(difference) < 0.1, "started and elapsed say the same"
    for percent, rest in zip(percents, remaining, strict=True):
        assert abs(percent - (60 - float(rest)) / 0.6) < 0.01
    stage.let("go")
    running.join()


def test_a_run_without_a_budget_has_no_percent(stage: Stage) -> None:
    running = stage.select("SELECT * FROM trails.model_selection_workloads('train', 'label', 50, 2)")
    stage.until("phase = 'starting' AND function = 'model_selection_workloads' AND scored = 50", running)
    told = query(stage.witness, "SELECT budget, percent, remaining, elapsed > '0 s' FROM trails.progress")
    assert told == [(None, None, None, True)]
    stage.let("start", "plan", "train")
    stage.until("epochs = 2", running)
    assert query(stage.witness, "SELECT trails.stop(1)") == [(True,)]
    running.join()
    assert running.error is None
    assert query(stage.witness, "SELECT state FROM trails.runs") == [("best so far",)]


@pytest.mark.parametrize("statement", ["selection", "refinement"])
def test_a_stopped_run_returns_and_keeps_the_best_so_far(stage: Stage, statement: str) -> None:
    architectures = "ARRAY['64-64-64-64', '32-32-32-32']"
    running = stage.select(
        RUN if statement == "selection" else
        f"SELECT * FROM trails.refinement_phase('train', 'label', {architectures}, 1, validation => 'valid')"
    )  # fmt: skip
    stage.let("start", "plan", "train", "rung")
    stage.until("epochs = 3", running)
    started = children(running.backend)
    asked = time.monotonic()
    assert query(stage.witness, "SELECT trails.stop(1)") == [(True,)]
    running.join()
    assert within(running.ended - asked, PROMPT, ALLOWANCE)
    assert running.error is None and running.rows
    if statement == "selection":
        assert [(row[0], row[3]) for row in running.rows] == [(1, 0.8), (2, 0.7)]
    assert any("run 1 was stopped by trails.stop" in notice for notice in running.connection.notices)
    runs_ = query(stage.witness, "SELECT state, fault FROM trails.runs")
    assert runs_ == [("best so far", "run 1 was stopped by trails.stop")]
    assert query(stage.witness, "SELECT count(*) FROM trails.checkpoints") == [(1,)], "it can be resumed"
    wait_until(lambda: not any(map(runs, started)), 5)
    assert left(stage.witness) == []
    error = told(stage.witness, "SELECT trails.stop(1)")
    assert error.pgcode == "55000" and "run 1 has ended" in str(error) and "best so far" in error.diag.message_detail


def test_a_resumed_run_can_be_stopped(stage: Stage) -> None:
    running = stage.select()
    stage.let("start", "plan", "train", "rung")
    stage.until("epochs = 3", running)
    query(stage.witness, "SELECT trails.stop(1)")
    running.join()
    stage.stub.script(HOLD + "receive(); ready(); rows(); receive(); plan(); epoch('9-9-9-9', 2, 3, 0.9); hold('no')")
    again = stage.select("SELECT * FROM trails.resume(1, '60 s')")
    stage.until("run_id = 2 AND function = 'resume' AND epochs = 1", again)
    assert query(stage.witness, "SELECT trails.stop(2)") == [(True,)]
    again.join()
    assert again.error is None
    assert query(stage.witness, "SELECT continues, state FROM trails.runs WHERE run_id = 2") == [(1, "best so far")]


@pytest.mark.parametrize("phase", ["starting", "refining"])
def test_a_run_that_is_stopped_before_its_first_epoch_has_nothing(stage: Stage, phase: str) -> None:
    running = stage.select()
    if phase == "refining":
        stage.let("start", "plan")
    stage.until(f"phase = '{phase}'", running)
    asked = time.monotonic()
    assert query(stage.witness, "SELECT trails.stop(1), trails.stop(1)") == [(True, False)]
    running.join()
    assert within(running.ended - asked, PROMPT, ALLOWANCE)
    assert running.code == "57014" and "run 1 was stopped by trails.stop" in str(running.error)
    assert "nothing to return" in str(running.error)
    assert query(stage.witness, "SELECT count(*) FROM trails.runs") == [(0,)]
    assert query(running.connection, "SELECT 1") == [(1,)] and left(stage.witness) == []
    error = told(stage.witness, "SELECT trails.stop(1)")
    assert error.pgcode == "42704" and "no run 1 under way" in str(error)


@pytest.mark.parametrize("phase", ["reading", "filtering"])
def test_reading_and_filtering_are_stopped_at_once(stage: Stage, phase: str) -> None:
    query(
        stage.witness,
        "CREATE FUNCTION slow() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN 1; END $$;"
        "CREATE VIEW slow_view AS SELECT label, colour, slow() AS s FROM train",
    )
    running = stage.select({
        "reading": "SELECT * FROM trails.model_selection('slow_view', 'label', '60 s')",
        "filtering": "SELECT * FROM trails.model_selection('train', 'label', '60 s', space => 'mlp5x20', "
        "n => 100000, tfmem => 'ntk_cond')",
    }[phase])  # fmt: skip
    stage.until(f"phase = '{phase}'", running)
    time.sleep(0.3)
    asked = time.monotonic()
    assert query(stage.witness, "SELECT trails.stop(1)") == [(True,)]
    running.join()
    assert within(running.ended - asked, PROMPT, ALLOWANCE)
    assert running.code == "57014" and "run 1 was stopped by trails.stop" in str(running.error)
    assert not children(running.backend) and left(stage.witness) == []
    # What comes after it in the session is nobody's to stop.
    assert query(running.connection, "SELECT count(*), pg_sleep(0.3) FROM train") == [(3000, "")]


def test_a_cancel_while_reading_is_told_as_one(stage: Stage) -> None:
    query(stage.witness, "CREATE VIEW slow_view AS SELECT label, colour, pg_sleep(60)::text AS s FROM train")
    running = stage.select("SELECT * FROM trails.model_selection('slow_view', 'label', '60 s')")
    stage.until("phase = 'reading'", running)
    query(stage.witness, "SELECT trails.cancel(run_id) FROM trails.progress")
    running.join()
    assert running.code == "57014" and "stopped" not in str(running.error)
    assert left(stage.witness) == []


def test_a_cancelled_run_keeps_nothing(stage: Stage) -> None:
    running = stage.select()
    stage.let("start", "plan", "train", "rung")
    stage.until("epochs = 3", running)
    assert query(stage.witness, "SELECT trails.cancel(1)") == [(True,)]
    running.join()
    assert running.code == "57014"
    assert query(stage.witness, "SELECT count(*) FROM trails.runs") == [(0,)]
    assert query(stage.witness, "SELECT count(*) FROM trails.progress") == [(0,)] and left(stage.witness) == []
    assert told(stage.witness, "SELECT trails.cancel(1)").pgcode == "42704"


@pytest.mark.parametrize("function", ["stop", "cancel"])
def test_what_is_no_run_under_way_is_a_clear_error(stage: Stage, function: str) -> None:
    for argument, state, word in (("99", "42704", "no run 99"), ("NULL", "22023", "run must not be NULL")):
        error = told(stage.witness, f"SELECT trails.{function}({argument})")
        assert error.pgcode == state and word in str(error)
    running = stage.select()
    stage.let("start", "plan", "train", "rung", "go")
    running.join()
    error = told(stage.witness, f"SELECT trails.{function}(1)")
    assert error.pgcode == "55000" and 'Its state is "complete", since ' in error.diag.message_detail


def test_each_role_sees_its_own_and_ends_its_own(people: Stage) -> None:
    running = people.select(role="alice")
    people.let("start", "plan", "train")
    people.until("epochs = 2", running)
    alice, bob, carol, dave = (people.connect(role=role) for role in ("alice", "bob", "carol", "dave"))
    seen = "SELECT count(*) FROM trails.progress"
    assert [query(session, seen)[0][0] for session in (alice, bob, carol, dave)] == [1, 0, 1, 0]
    trials = "SELECT count(*) FROM trails.live_trials"
    assert [query(session, trials)[0][0] for session in (alice, bob, carol, dave)] == [2, 0, 2, 0]
    for function in ("stop", "cancel"):
        error = told(bob, f"SELECT trails.{function}(1)")
        assert error.pgcode == "42704", "what is hidden from Bob is not told by an error either"
        assert str(error) == str(told(bob, f"SELECT trails.{function}(2)")).replace("run 2", "run 1")
        error = told(carol, f"SELECT trails.{function}(1)")
        assert error.pgcode == "42501" and "alice" in error.diag.message_detail
    query(people.witness, "GRANT alice TO bob")
    assert query(bob, seen) == [(1,)], "a member sees it"
    assert query(bob, "SELECT trails.stop(1)") == [(True,)], "and may end it"
    running.join()
    assert running.error is None
    query(people.witness, "REVOKE alice FROM bob")
    assert told(bob, "SELECT trails.stop(1)").pgcode == "42704", "nor is its end told"
    assert told(alice, "SELECT trails.stop(1)").pgcode == "55000"


def test_members_of_pg_signal_backend_end_what_is_no_superusers(people: Stage) -> None:
    dave = people.connect(role="dave")
    running = people.select(role="alice")
    people.until("phase = 'starting'", running)
    assert query(dave, "SELECT trails.cancel(1)") == [(True,)]
    running.join()
    superusers = people.select()
    people.until("phase = 'starting' AND run_id = 2", superusers)
    assert told(dave, "SELECT trails.stop(2)").pgcode == "42704"
    assert told(dave, "SELECT trails.cancel(2)").pgcode == "42704"
    query(people.witness, "GRANT postgres TO dave")
    assert told(dave, "SELECT trails.stop(2)").pgcode == "42501", "membership shows a superuser's run, and no more"
    query(people.witness, "REVOKE postgres FROM dave; SELECT trails.cancel(2)")
    superusers.join()


def test_nobody_without_the_right_looks(people: Stage) -> None:
    stranger = people.connect(role="stranger")
    for statement in ("SELECT * FROM trails.progress", "SELECT * FROM trails.live_trials", "SELECT trails.stop(1)"):
        assert told(stranger, statement).pgcode == "42501"
    query(people.witness, "GRANT USAGE ON SCHEMA trails TO stranger")
    for statement in ("SELECT * FROM trails.progress", "SELECT * FROM trails.live_trials", "SELECT trails.stop(1)"):
        assert told(stranger, statement).pgcode == "42501"
    query(people.witness, "GRANT SELECT ON trails.progress TO stranger; ")
    query(people.witness, "GRANT EXECUTE ON FUNCTION trails.statements_under_way() TO stranger")
    assert query(stranger, "SELECT * FROM trails.progress") == []


def test_several_runs_are_seen_beside_each_other(stage: Stage) -> None:
    first = stage.select()
    stage.until("run_id = 1 AND phase = 'starting'", first)
    second = stage.select()
    stage.until("run_id = 2 AND phase = 'starting'", second)
    seen = query(stage.witness, "SELECT run_id, pid FROM trails.progress")
    assert seen == [(1, first.backend), (2, second.backend)], "the oldest first"
    stage.let("start", "plan", "train", "rung")
    stage.until("run_id = 1 AND epochs = 3", first)
    stage.until("run_id = 2 AND epochs = 3", second)
    assert query(stage.witness, "SELECT trails.stop(2)") == [(True,)]
    second.join()
    assert query(stage.witness, "SELECT run_id, stopping FROM trails.progress") == [(1, False)]
    stage.let("go")
    first.join()
    states = query(stage.witness, "SELECT run_id, state FROM trails.runs ORDER BY 1")
    assert states == [(1, "complete"), (2, "best so far")]


@pytest.fixture
def elsewhere(pg: Server) -> Iterator[Any]:
    """A superuser's session in another database of the server."""
    name = f"elsewhere_{os.getpid()}"
    pg.sql("postgres", f"CREATE DATABASE {name} TEMPLATE trails")
    session = psycopg2.connect(**pg.socket_parameters(name, "postgres"))
    session.autocommit = True
    yield session
    session.close()
    pg.drop_database(name)


def test_another_database_shows_the_run_and_cannot_end_it(stage: Stage, elsewhere: Any) -> None:
    running = stage.select()
    stage.let("start", "plan", "train")
    stage.until("epochs = 2", running)
    shown = query(elsewhere, "SELECT run_id, database, source, epochs FROM trails.progress")
    assert shown == [(1, stage.witness.info.dbname, "public.train", 2)]
    error = told(elsewhere, "SELECT trails.stop(1)")
    assert error.pgcode == "42704", "numbers of runs are a database's own"
    query(stage.witness, "SELECT trails.stop(1)")
    running.join()


def test_the_latest_epochs_are_kept(stage: Stage) -> None:
    stage.stub.script(
        HOLD + "receive(); ready(); rows(); receive(); plan()\n"
        "for n in range(1, 5001): epoch('8-8-8-8', n // 1000, n, 0.5)\n"
        "hold('go')"
    )
    running = stage.select()
    stage.until("epochs = 5000", running)
    ((count, first, last, in_order),) = query(
        stage.witness,
        "SELECT count(*), min(place), max(place), bool_and(place = epoch AND rung = epoch / 1000) "
        "FROM trails.live_trials",
    )
    assert (count, first, last, in_order) == (4096, 905, 5000, True)
    query(stage.witness, "SELECT trails.stop(1)")
    running.join()
    assert query(stage.witness, "SELECT count(*) FROM trails.trials") == [(5000,)], "all are written down"


def test_what_is_read_beside_a_fast_writer_belongs_together(stage: Stage) -> None:
    # An epoch's every number is the same, and so a mixture of two shows.
    stage.stub.script(
        HOLD + "receive(); ready(); rows(); receive(); plan()\n"
        "n = 0\n"
        "while not os.path.exists(os.path.join(sys.prefix, 'requests', 'go')):\n"
        "    n += 1; send('epoch', architecture=str(n), rung=n, epoch=n, train_loss=n, validation_loss=n, "
        "validation_metric=n, seconds=n)\n"
        "result([row('1', 0.5)])"
    )
    running = stage.select()
    stage.until("epochs > 100", running)
    began, looks = time.monotonic(), 0
    while time.monotonic() - began < 3:
        ((whole, epochs),) = query(
            stage.witness,
            "SELECT bool_and(best_architecture = epochs::text AND best_metric = epochs AND rung = epochs), max(epochs) "
            "FROM trails.progress",
        )
        ((alike, newest),) = query(
            stage.witness,
            "SELECT bool_and(architecture = place::text AND place = epoch AND place = rung AND place = train_loss "
            "AND place = validation_metric AND place = seconds), max(place) FROM trails.live_trials",
        )
        assert whole and alike and newest >= epochs
        looks += 1
    assert looks > 10 and newest > 4096
    stage.let("go")
    running.join()


def test_a_filtering_phase_is_seen_without_a_number(session: Any, connect: Callable[..., Any]) -> None:
    statement = "SELECT * FROM trails.filtering_phase('train', 'label', 160000, tfmem => 'ntk_cond')"
    running = Selecting(connect(), statement)
    shown = "SELECT pid, run_id, function, source, model, budget FROM trails.progress WHERE phase = 'filtering'"
    (row,) = wait_until(lambda: query(session, shown) or running.ended)
    assert row == (running.backend, None, "filtering_phase", "public.train", None, None)
    wait_until(
        lambda: query(session, "SELECT 1 FROM trails.progress WHERE scored BETWEEN 1 AND 159999") or running.ended
    )
    assert not running.ended, "it is told on the way"
    query(session, "SELECT pg_cancel_backend(%s)", running.backend)
    running.join()
    assert query(session, "SELECT * FROM trails.progress") == [] and left(session) == []


@pytest.mark.parametrize("how", ["error", "terminated", "client"])
def test_nothing_is_left_of_a_run_that_ends_badly(stage: Stage, how: str) -> None:
    running = stage.select()
    stage.until("phase = 'starting'", running)
    (child,) = children(running.backend)
    assert len(left(stage.witness)) == 1
    if how == "error":
        os.kill(child, signal.SIGKILL)
    elif how == "terminated":
        query(stage.witness, "SELECT pg_terminate_backend(%s)", running.backend)
    else:
        running.connection.cancel()
    running.join()
    assert running.error is not None
    wait_until(lambda: not left(stage.witness), 5)
    assert query(stage.witness, "SELECT * FROM trails.progress") == []


def test_a_run_within_a_run_is_the_one_that_is_shown_as_its_own(stage: Stage) -> None:
    query(
        stage.witness,
        "CREATE FUNCTION inner_run() RETURNS bigint LANGUAGE sql AS $$"
        "SELECT count(*) FROM trails.refinement_phase('valid', 'label', '{32-32-32-32}', 1, '60 s') $$;"
        "CREATE VIEW nested AS SELECT label, colour, CASE WHEN id = 1 THEN inner_run() ELSE 0 END AS n FROM train",
    )
    stage.stub.script(
        HOLD + "receive(); ready(); rows(); request = receive(); plan()\n"
        "a = request['candidates'][0][0]\n"
        "epoch(a, 0, 1, 0.5); hold('inner' if a == '32-32-32-32' else 'outer'); result([row(a, 0.5)])"
    )
    running = stage.select(RUN.replace("'train'", "'nested'").replace(", validation => 'valid'", ""))
    stage.until("function = 'refinement_phase' AND epochs = 1", running)
    seen = query(stage.witness, "SELECT run_id, function, source, phase, epochs FROM trails.progress")
    assert seen == [
        (1, "model_selection", "public.nested", "reading", 0),
        (2, "refinement_phase", "public.valid", "refining", 1),
    ]
    assert query(stage.witness, "SELECT trails.stop(2)") == [(True,)]
    stage.until("function = 'model_selection' AND epochs = 1", running)
    assert query(stage.witness, "SELECT run_id, state FROM trails.runs") == [], "both are of one transaction"
    assert query(stage.witness, "SELECT trails.stop(1)") == [(True,)]
    running.join()
    assert running.error is None
    assert query(stage.witness, "SELECT run_id, state FROM trails.runs ORDER BY 1") == [
        (1, "best so far"),
        (2, "best so far"),
    ]


def test_files_that_are_no_areas_are_passed_over(stage: Stage) -> None:
    running = stage.select()
    stage.until("phase = 'starting'", running)
    ((folder,),) = query(stage.witness, "SHOW data_directory")
    place = Path(folder) / FILES
    (name,) = left(stage.witness)
    real = (place / name).read_bytes()
    forged = {"empty": b"", "short": real[:4096], "other": b"x" * len(real), "copy": real, "long": real + b"x"}
    for which, content in forged.items():
        path = place / f"pgsql_tmp_trails_{which}"
        path.write_bytes(content)
        os.chown(path, (place / name).stat().st_uid, -1)
    os.mkfifo(place / "pgsql_tmp_trails_pipe")
    (place / "pgsql_tmp_trails_link").symlink_to(place / name)
    (place / "pgsql_tmp_trails_folder").mkdir()
    try:
        shown = query(stage.witness, "SELECT run_id, pid FROM trails.progress")
        assert shown == [(1, running.backend)], "a copy is held by nobody"
    finally:
        for path in place.glob("pgsql_tmp_trails_[a-z]*"):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    # The area itself, filled with anything.
    with (place / name).open("r+b") as area:
        area.seek(8)
        area.write(b"\xff" * (len(real) - 8))
    query(stage.witness, "SELECT * FROM trails.progress; SELECT count(*) FROM trails.live_trials")
    query(stage.witness, "SELECT pg_cancel_backend(%s)", running.backend)
    running.join()
    assert left(stage.witness) == []


def test_without_a_place_for_the_area_the_run_goes_on_unseen(stage: Stage, pg: Server) -> None:
    ((folder,),) = query(stage.witness, "SHOW data_directory")
    place = Path(folder) / FILES
    aside = place.with_name("pgsql_tmp_aside")
    if place.exists():
        place.rename(aside)
    place.touch()
    try:
        running = stage.select()
        (child,) = wait_until(lambda: children(running.backend) or running.ended)
        assert runs(child) and query(stage.witness, "SELECT * FROM trails.progress") == []
        stage.let("start", "plan", "train", "rung", "go")
        running.join()
    finally:
        place.unlink()
        if aside.exists():
            aside.rename(place)
    assert running.error is None and running.rows
    assert not any(notice.startswith("WARNING") for notice in running.connection.notices)
    assert "trails.progress cannot show what model_selection does" in pg.log.read_text()


def test_of_a_backend_that_was_killed_nothing_is_seen(pg: Server, cluster: Path, stub: Stub) -> None:
    stub.script(SCRIPT)

    def connected(server: Server) -> Any:
        session = psycopg2.connect(**server.socket_parameters())
        session.autocommit = True
        return session

    with temporary_server(pg.pg_config, pg.virtualenv, copy_data_from=cluster) as server:
        witness, session = connected(server), connected(server)
        query(witness, "ALTER SYSTEM SET remove_temp_files_after_crash = off")
        query(witness, "SELECT pg_reload_conf()")
        make_pair(witness)
        query(session, "SET trails.virtualenv = %s", str(stub.path))
        running = Selecting(session, RUN)
        wait_until(lambda: query(witness, "SELECT 1 FROM trails.progress WHERE phase = 'starting'"))
        (name,) = left(witness)
        os.kill(running.backend, signal.SIGKILL)
        running.join()

        def answers(session: Any = None) -> Any:
            try:
                session = session or connected(server)
                query(session, "SELECT 1")
            except psycopg2.Error:
                return None
            return session

        wait_until(lambda: not answers(witness))
        witness = wait_until(answers)
        assert left(witness) == [name], "the server keeps temporary files, for those who look for the cause"
        assert query(witness, "SELECT * FROM trails.progress") == []
        assert told(witness, "SELECT trails.stop(1)").pgcode == "42704"
