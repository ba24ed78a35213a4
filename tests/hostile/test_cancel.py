"""Every function of the reference ends within 200 ms of a cancel, on a large table, and the server stays up.

The functions are those of the catalogue: one that is not tried here fails the test. Each is cancelled at several
moments, because what cannot be interrupted is often what comes after the reading.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.conftest import TEMPLATE
from tests.hostile.world import connect
from tests.sql.predicted import columns_of, make_model, store
from tests.sql.tables import children, query, runs, shared_memory, wait_until
from tests.sql.test_interrupts import Running
from tests.timing import within
from tools.server import Server

ROWS, FULL_ROWS = 300_000, 5_000_000
LIMIT, FULL_LIMIT = 2.0, 0.2
MOMENTS, FULL_MOMENTS = (0.03, 0.4, 1.2), (0.05, 0.4, 1.0, 2.0, 3.5, 6.0, 9.0)
"""Seconds after its begin at which a statement is cancelled."""

CUTS = 40
"""Selections that a time-out cuts within milliseconds."""

# Of every sort that is read; texts that nearly all differ, a feature that cannot help, and id:value.
TABLE = """
CREATE TABLE big AS
SELECT i AS id, mod(i, 2) AS label, mod(i * 7919, 1009) AS a, mod(i * 104729, 97) / 7.0 AS b, md5(i::text) AS t,
       (mod(i, 5000) || ':' || mod(i, 7)) AS v, i * 3 AS serial, timestamp '2020-01-01' + i * interval '1 minute' AS m,
       CASE WHEN mod(i, 3) > 0 THEN mod(i, 100)::numeric END AS n
FROM generate_series(1::bigint, %s) i;
ALTER TABLE big ADD PRIMARY KEY (id);
CREATE TABLE ids AS SELECT id, label, a, mod(id * 31, 40000) AS c FROM big;
ALTER TABLE ids ADD PRIMARY KEY (id);
CREATE VIEW pictured AS SELECT decode(repeat(t, 12), 'hex') AS image, mod(id, 10) AS label FROM big;
CREATE VIEW judged AS SELECT big.*, CASE label WHEN 1 THEN 'yes' ELSE 'no' END AS y FROM big;
"""

KINDS = {"a": "int64", "b": "float64", "t": "text", "v": "idvalue", "m": "timestamp", "n": "float64"}

CUT = """
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds)
VALUES ('model_selection', 'public.big', 'label', 'binary', 'auc', '{a,b,t,m}', 'mlp4x20', 'sh', 1, %s,
    0, 'best so far', now(), now(), 0, 0, 0);
INSERT INTO trails.checkpoints SELECT run_id, 0, 'x' FROM trails.runs;
INSERT INTO trails.jobs (run_id, owner, source, target, request, settings, state)
VALUES (1, 'postgres', 'public.big', 'label', '{}', '{}', 'complete');
"""

# As if the model had been trained by that run.
RETRAINED = """
UPDATE trails.models SET run_id = (SELECT min(run_id) FROM trails.runs);
INSERT INTO trails.candidates (run_id, architecture, rank)
SELECT min(run_id), '512-512-512-512', 1 FROM trails.runs;
"""

MANY = "(SELECT array_agg(a || '-' || b || '-' || c) FROM generate_series(8, 512, 8) a, generate_series(8, 512, 8) b, "
MANY += "generate_series(8, 120, 8) c)"

# By name; by signature where several have it.
LONG = {
    "benchmark_filtering_latency_in_db": "SELECT * FROM trails.benchmark_filtering_latency_in_db(160000, 'ids', 64)",
    "benchmark_reading": "SELECT * FROM trails.benchmark_reading('big', 100)",
    "best_threshold": "SELECT * FROM trails.best_threshold('m', 'judged')",
    "confusion_matrix": "SELECT * FROM trails.confusion_matrix('m', 'judged')",
    "describe_columns": "SELECT * FROM trails.describe_columns('big')",
    "drift": "SELECT * FROM trails.drift('m', 'judged')",
    "evaluate": "SELECT * FROM trails.evaluate('m', 'judged')",
    "explain": "SELECT * FROM trails.explain('m', 'judged')",
    "feature_importance": "SELECT * FROM trails.feature_importance('m', 'judged', repeats => 1000)",
    "filtering_phase": "SELECT * FROM trails.filtering_phase('big', 'label', 160000, tfmem => 'ntk_cond')",
    "model_selection": "SELECT * FROM trails.model_selection('big', 'label', '60 s')",
    "model_selection_workloads": "SELECT * FROM trails.model_selection_workloads('big', 'label', 1000, 4)",
    "partial_dependence": "SELECT * FROM trails.partial_dependence('m', 'judged', 'a', 500, 100000)",
    "predict(text,record)": "SELECT count(trails.predict('m', big)) FROM big",
    "predict(text,regclass,name)": "SELECT count(*) FROM trails.predict('m', 'big'::regclass)",
    "predict(text,text,name)": "SELECT count(*) FROM trails.predict('m', 'big'::text)",
    "predict_probabilities": "SELECT count(trails.predict_probabilities('m', big)) FROM big",
    "predict_score": "SELECT count(trails.predict_score('m', big)) FROM big",
    "profile_filtering": "SELECT * FROM trails.profile_filtering('big', 'label', tfmem => 'ntk_cond+snip')",
    "profile_prediction": "SELECT * FROM trails.profile_prediction('m', 'big', 50)",
    "profile_refinement": "SELECT * FROM trails.profile_refinement('big', 'label')",
    "refinement_phase": "SELECT * FROM trails.refinement_phase('big', 'label', ARRAY['64-64-64-64', '32-32-32-32'])",
    "retrain": "SELECT * FROM trails.retrain('m', budget => '60 s')",
    "threshold_curve": "SELECT * FROM trails.threshold_curve('m', 'judged', points => NULL)",
    "resume": "SELECT * FROM trails.resume((SELECT max(run_id) FROM trails.runs), '60 s')",
}

# What waits, because another session has deployed the model and is not finished.
WAITING = {
    "deploy": "SELECT trails.deploy('m')",
    "drop_model": "SELECT trails.drop_model('m', true)",
    "grant_model": "SELECT trails.grant_model('m', 'public')",
    "revoke_model": "SELECT trails.revoke_model('m', 'public')",
    "rollback": "SELECT trails.rollback('m')",
}

# What ends at once, whatever the table.
QUICK = {
    "checked_weights": "SELECT trails.checked_weights(m) FROM trails.models m",
    "convert_model": "SELECT trails.convert_model(weights, 'onnx') FROM trails.models",
    "coordinator": "SELECT * FROM trails.coordinator(0.001, 0.5, '60 s')",
    "drop_run": "SELECT trails.drop_run(-1)",
    "encoding": "SELECT * FROM trails.encoding('m')",
    "export_model": "SELECT trails.export_model('m', 'onnx')",
    "find_model": "SELECT * FROM trails.find_model('m')",
    "networks": "SELECT * FROM trails.networks('m')",
    "training_facts": "SELECT trails.training_facts('m')",
    "caller": "SELECT trails.caller()",
    "cancel": "DO $$ BEGIN PERFORM trails.cancel(-1); EXCEPTION WHEN undefined_object THEN NULL; END $$",
    "deployed_models": "SELECT * FROM trails.deployed_models('big', NULL, true)",
    "forget_grants": "DELETE FROM trails.models WHERE name = 'no such model'",
    "forget_runs": "DELETE FROM trails.runs WHERE run_id < 0",
    "import_model": "BEGIN; SELECT trails.import_model('m', trails.export_model('m')); ROLLBACK",
    "is_member": "SELECT trails.is_member('pg_monitor')",
    "job_state": "SELECT trails.job_state(1, 'running')",
    "purge_runs": "SELECT trails.purge_runs('1 day')",
    "submit": "BEGIN; SELECT trails.submit('big', 'label'); ROLLBACK",
    "wait": "SELECT trails.wait(1)",
    "withdraw": "SELECT trails.withdraw(1)",
    "keep_model": "SELECT count(*) FROM (SELECT trails.keep_model(run_id) FROM trails.unregistered_models) k",
    "leaderboard": "SELECT * FROM trails.leaderboard((SELECT max(run_id) FROM trails.runs))",
    "recipe": "SELECT trails.recipe((SELECT max(run_id) FROM trails.runs))",
    "relation_exists": "SELECT trails.relation_exists(trails.relation_identity('big'))",
    "relation_identity": "SELECT trails.relation_identity('big')",
    "shown": "SELECT trails.shown('m')",
    "statements_under_way": "SELECT * FROM trails.progress",
    "stop": "DO $$ BEGIN PERFORM trails.stop(-1); EXCEPTION WHEN undefined_object THEN NULL; END $$",
    "refinement_options": "SELECT * FROM trails.refinement_options()",
    "tfmem_in": "SELECT trails.tfmem_in('naswot')",
    "tfmem_of": "SELECT trails.tfmem_of(ARRAY['naswot', 'synflow'])",
    "tfmem_out": "SELECT trails.tfmem_out('naswot')",
    "tfmem_recv": "CREATE TEMP TABLE binary_input (t trails.tfmem)",
    "tfmem_send": "SELECT trails.tfmem_send('naswot')",
    "tfmems": "SELECT * FROM trails.tfmems()",
    "trials_under_way": "SELECT * FROM trails.live_trials",
}

# Arguments that keep a function at work before it reads anything.
LARGE = {
    "60,000 architectures": f"SELECT * FROM trails.refinement_phase('big', 'label', {MANY}, space => 'mlp3x20')",
    "a version of a million digits": "SELECT trails.predict('m@' || repeat('9', 1000000), big) FROM big",
    # Of one row: a plan for parallel workers would be written out with the name in it, the server's own affair.
    "a name of 100 MB": "SELECT trails.predict(repeat('m/', 50000000), r) FROM (SELECT * FROM big LIMIT 1) r",
    "an option of 100 MB": "SELECT * FROM trails.refinement_phase('big', 'label', '{64-64-64-64}', options =>"
    " jsonb_build_object('x', repeat('y', 100000000)))",
}

# What has a second way, which another process goes.
ELSEWHERE = {
    "filtering_phase on pictures": "SELECT * FROM trails.filtering_phase('pictured', 'label', 15000, "
    "space => 'nasbench201', tfmem => 'jacflow')",
}

CATALOGUE = """
SELECT CASE WHEN count(*) OVER (PARTITION BY p.proname) > 1
            THEN replace(p.oid::regprocedure::text, 'trails.', '') ELSE p.proname END
FROM pg_proc p WHERE p.pronamespace = 'trails'::regnamespace
"""


@dataclass
class Size:
    """How large the table is, and how long an end may take."""

    rows: int
    limit: float
    moments: tuple[float, ...]


@pytest.fixture(scope="module")
def size(request: pytest.FixtureRequest) -> Size:
    if request.config.getoption("full"):
        return Size(FULL_ROWS, FULL_LIMIT, FULL_MOMENTS)
    return Size(ROWS, LIMIT, MOMENTS)


class Table:
    """A database with the large table, the witness who made it, and what the cancels took."""

    def __init__(self, server: Server, database: str, rows: int) -> None:
        self.server, self.database = server, database
        self.witness = self.connect()
        query(self.witness, TABLE, rows)
        query(self.witness, "ANALYZE big; ANALYZE ids")
        query(self.witness, CUT, rows)
        sample = query(self.witness, f"SELECT id, {', '.join(KINDS)} FROM big WHERE id <= 2000")
        model = make_model(columns_of(sample, KINDS))
        model = replace(model, seen=np.ones(model.encoder.ids, np.uint32))
        store(self.witness, "m", model, source="public.big")
        query(self.witness, RETRAINED)
        self.took: dict[str, list[float]] = {}

    def connect(self) -> Any:
        return connect(self.server, self.database, "public")

    def assert_up(self) -> None:
        assert query(self.witness, "SELECT count(*) FROM trails.models") == [(1,)], "the witness session is up"


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest, pg: Server, size: Size) -> Iterator[Table]:
    name = f"cancel_{os.getpid()}"
    pg.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    made = Table(pg, name, size.rows)
    yield made
    made.witness.close()
    pg.drop_database(name)
    if request.config.getoption("full"):
        report(request, made.took)


def report(request: pytest.FixtureRequest, took: dict[str, list[float]]) -> None:
    """Prints what the cancels took, whatever pytest captures."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{'cancelled':35} times  at most")
        for what, seconds in took.items():
            longest = f"{max(seconds) * 1000:5.0f} ms" if seconds else "it ended by itself"
            print(f"{what:35} {len(seconds):5}  {longest}")


def counted(statement: str) -> str:
    """The statement without its rows, which the client may still take in when the server has nothing left to cancel."""
    return re.sub(r"^SELECT \* FROM ", "SELECT count(*) FROM ", statement)


def cancelled_after(table: Table, statement: str, moment: float, wrong: bool = False) -> float | None:
    """Seconds from the cancel to its end; None if it ended before, with an error only if the statement is wrong."""
    session = table.connect()
    try:
        running = Running(session, statement)
        end = time.monotonic() + moment
        while time.monotonic() < end and not running.ended:
            time.sleep(0.005)
        asked = time.monotonic()
        started = children(running.backend)
        if running.ended:
            assert wrong or running.error is None, running.error
            return None
        query(table.witness, "SELECT pg_cancel_backend(%s)", running.backend)
        running.join(120)
        if running.error is None and running.ended - asked < 0.1:
            return None  # it ended by itself just then
        assert isinstance(running.error, psycopg2.Error), "it was cancelled, and went on to its end"
        assert wrong or running.error.pgcode == "57014", running.error
        assert query(session, "SELECT 1") == [(1,)], "the session goes on"
        wait_until(lambda: not any(map(runs, started)), 5)
        assert not children(running.backend) and not shared_memory(running.backend)
        return running.ended - asked
    finally:
        session.close()


def check_promptness(table: Table, size: Size, what: str, statement: str, wrong: bool = False) -> None:
    """Cancels the statement at every moment; one that is late twice of three times is too late."""
    seconds = table.took.setdefault(what, [])
    for moment in size.moments:
        took = cancelled_after(table, statement, moment, wrong)
        if took is not None and took > size.limit:
            again = [cancelled_after(table, statement, moment, wrong) for _ in range(2)]
            took = statistics.median([took, *(late for late in again if late is not None)])
        if took is not None:
            seconds.append(took)
            assert within(took, 0.0, size.limit), f"{what} took {took:.2f} s to end when cancelled after {moment} s"
    table.assert_up()


def test_every_function_is_tried(table: Table) -> None:
    there = {row[0] for row in query(table.witness, CATALOGUE)}
    assert there == LONG.keys() | WAITING.keys() | QUICK.keys()


@pytest.mark.parametrize("function", LONG)
def test_a_function_at_work_ends_when_cancelled(table: Table, size: Size, function: str) -> None:
    # What it goes on from is no checkpoint, which the process finds out once the rows are read.
    check_promptness(table, size, function, counted(LONG[function]), wrong=function == "resume")
    assert table.took[function], "it ended before any cancel: the test tries nothing"


@pytest.mark.parametrize("what", ELSEWHERE)
def test_a_function_at_work_in_another_process_ends_when_cancelled(table: Table, size: Size, what: str) -> None:
    check_promptness(table, size, what, ELSEWHERE[what])
    assert table.took[what], "it ended before any cancel: the test tries nothing"


@pytest.mark.parametrize("what", LARGE)
def test_a_function_at_work_on_its_arguments_ends_when_cancelled(table: Table, size: Size, what: str) -> None:
    check_promptness(table, size, what, LARGE[what], wrong=True)


def test_selections_cut_at_any_moment_leave_nothing_behind(table: Table) -> None:
    """A notice that is told while a cancel is pending must not leave by another way than an error does."""
    session, chance = table.connect(), random.Random(7)
    backend = session.info.backend_pid
    query(session, "CREATE TABLE small AS SELECT id, label, a, b, v FROM big LIMIT 500")
    try:
        for _ in range(CUTS):
            query(session, f"SET statement_timeout = {chance.choice([1, 2, 5, 8, 12, 20, 30, 50, 80, 200])}")
            with pytest.raises(psycopg2.Error) as caught:
                query(session, "SELECT * FROM trails.model_selection('small', 'label', '20 s')")
            assert caught.value.pgcode == "57014"
            query(session, "SET statement_timeout = 0")
            assert not children(backend) and not shared_memory(backend)
    finally:
        query(session, "DROP TABLE small")
        session.close()
    table.assert_up()


@pytest.mark.parametrize("function", WAITING)
def test_a_function_that_waits_ends_when_cancelled(table: Table, size: Size, function: str) -> None:
    holder = table.connect()
    query(holder, "BEGIN; SELECT trails.deploy('m')")
    try:
        took = cancelled_after(table, WAITING[function], 1.0)
        assert took is not None and within(took, 0.0, size.limit)
        table.took[function] = [took]
    finally:
        holder.close()
    table.assert_up()


@pytest.mark.parametrize("function", QUICK)
def test_a_function_that_has_little_to_do_ends_by_itself(table: Table, function: str) -> None:
    session = table.connect()
    try:
        query(session, "SELECT * FROM trails.tfmems()")  # starts the interpreter
        began = time.monotonic()
        query(session, QUICK[function])
        if function == "tfmem_recv":
            copy_binary(session)
        assert within(time.monotonic() - began, 0.0, 1.0)
    finally:
        session.close()


def copy_binary(session: Any) -> None:
    """A value through the type's binary output and input."""
    import io

    file = io.BytesIO()
    with session.cursor() as cursor:
        cursor.copy_expert("COPY (SELECT 'naswot+synflow'::trails.tfmem) TO STDOUT (FORMAT binary)", file)
        file.seek(0)
        cursor.copy_expert("COPY binary_input FROM STDIN (FORMAT binary)", file)
    assert query(session, "SELECT t::text FROM binary_input") == [("naswot+synflow",)]
