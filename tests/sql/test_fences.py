"""What a superuser lets others take, and what is deleted of what they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.background import follow, submit, wait
from tests.sql.stub import Stub
from tests.sql.tables import query

SCRIPT = """
asked = receive(); ready(); request = receive(); plan(k=1, u=1)
best = request["candidates"][0][0]
epoch(best, 0, 1, 0.9)
result([row(best, 0.9)])
"""
RUN = "SELECT * FROM trails.model_selection('train', 'label', '{}', validation => 'valid', n => 10, k => 1, u => 1)"
FENCES = (
    "max_runs", "max_queued_runs", "max_budget", "max_refinement_threads", "max_refinement_memory",
    "max_filtering_threads",
)  # fmt: skip


def refused(session: Any, statement: str) -> psycopg2.extensions.Diagnostics:
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement)
    return caught.value.diag


def test_fences_are_for_superusers(session: Any, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    query(session, "GRANT trails_user TO alice")
    query(alice, "SELECT trails.relation_exists(NULL)")  # loads the library
    for fence in FENCES:
        assert refused(alice, f"SET trails.{fence} = 1").sqlstate == "42501"
        query(session, f"SET trails.{fence} = 1")


def test_a_setting_that_is_misspelt_is_an_error(session: Any) -> None:
    query(session, "LOAD 'trails'")
    assert refused(session, "SET trails.max_run = 1").sqlstate == "42602"


def test_a_larger_budget_is_refused(scripted: Any, stub: Stub) -> None:
    stub.script(SCRIPT)
    query(scripted, "SET trails.max_budget = '30s'")
    assert len(query(scripted, RUN.format("30 s"))) == 1
    statements = (
        RUN.format("31 s"),
        "SELECT trails.submit('train', 'label', '31 s')",
        "SELECT * FROM trails.model_selection_workloads('train', 'label', 10, 1)",
        "SELECT * FROM trails.resume(1, '31 s')",
        "SELECT * FROM trails.filtering_phase('train', 'label', 1, space => 'nasbench201', budget => '31 s')",
    )
    query(scripted, "UPDATE trails.runs SET state = 'best so far'; INSERT INTO trails.checkpoints VALUES (1, 0, 'x')")
    for statement in statements:
        told = refused(scripted, statement)
        assert told.sqlstate == "53400" and "trails.max_budget" in told.message_hint, statement


def test_threads_and_memory_are_made_less_and_that_is_told(scripted: Any, stub: Stub) -> None:
    stub.script(SCRIPT)
    query(scripted, "SET trails.max_refinement_threads = 2; SET trails.max_refinement_memory = '3GB'")
    query(scripted, "SET trails.max_filtering_threads = 1")
    query(scripted, RUN.format("30 s"))
    [rows] = [request for request in stub.requests() if request["request"] == "rows"]
    assert (rows["threads"], rows["memory_limit"]) == (2, 3 << 30), "what asks for all gets what is allowed"
    assert not any("allows" in notice for notice in scripted.notices)
    stub.forget()
    query(scripted, "SET trails.refinement_threads = 3; SET trails.refinement_memory_limit = '4GB'")
    query(scripted, "SET trails.filtering_threads = 2")
    query(scripted, RUN.format("30 s"))
    [rows] = [request for request in stub.requests() if request["request"] == "rows"]
    assert (rows["threads"], rows["memory_limit"]) == (2, 3 << 30)
    told = "".join(scripted.notices)
    for fence in (
        "max_refinement_threads allows 2",
        "max_refinement_memory allows 3072 MB",
        "max_filtering_threads allows 1",
    ):
        assert fence in told
    stub.forget()
    query(scripted, "SET trails.refinement_threads = 1; SET trails.refinement_memory_limit = '2GB'")
    query(scripted, RUN.format("30 s"))
    [rows] = [request for request in stub.requests() if request["request"] == "rows"]
    assert (rows["threads"], rows["memory_limit"]) == (1, 2 << 30), "less than the fence stays"


def test_old_runs_are_purged(scripted: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    stub.script(SCRIPT)
    for _ in range(4):
        query(scripted, RUN.format("30 s"))
    alice = connect(role="alice")
    query(scripted, "GRANT trails_user TO alice")
    assert query(alice, "SELECT trails.purge_runs('0 s')") == [(0,)], "they are another's"
    assert query(scripted, "SELECT trails.purge_runs('1 day')") == [(0,)]
    runs = [run for (run,) in query(scripted, "SELECT run_id FROM trails.runs ORDER BY 1")]
    query(scripted, "UPDATE trails.runs SET finished = finished - interval '2 days' WHERE run_id <= %s", runs[2])
    query(
        scripted,
        "INSERT INTO trails.models (name, version, run_id, task, architecture, target, columns, encoder, metrics, "
        "digest, weights) VALUES ('m', 1, %s, 'binary', '8', 'label', '{}', '{}', '{}', '', '')",
        runs[0],
    )
    assert query(scripted, "SELECT trails.purge_runs('1 day', keep => 2)") == [(1,)]
    left = "SELECT run_id FROM trails.runs ORDER BY 1"
    assert query(scripted, left) == [(runs[0],), (runs[2],), (runs[3],)], "a model came from the first"
    assert query(scripted, "SELECT count(DISTINCT run_id) FROM trails.trials") == [(3,)]
    assert query(scripted, "SELECT trails.purge_runs('1 day', with_models => true)") == [(2,)]
    assert query(scripted, left) == [(runs[3],)]
    assert query(scripted, "SELECT run_id FROM trails.models") == [(None,)]
    for wrong in ("NULL", "'-1 s'", "'1 s', -1", "'1 s', NULL", "'1 s', 0, NULL"):
        assert refused(scripted, f"SELECT trails.purge_runs({wrong})").sqlstate == "22023"


def test_rows_of_the_background_go_with_their_runs_or_alone(session: Any, stub: Stub) -> None:
    follow(session, stub, 0.0)
    kept, failed = submit(session), submit(session)
    assert {wait(session, kept), wait(session, failed)} == {"complete"}
    query(session, "DELETE FROM trails.runs WHERE run_id = %s", failed)
    assert query(session, "SELECT trails.purge_runs('0 s', keep => 1)") == [(1,)]
    assert query(session, "SELECT run_id FROM trails.jobs") == [(kept,)]
    assert query(session, "SELECT trails.purge_runs('0 s')") == [(1,)]
    assert query(session, "SELECT count(*) FROM trails.jobs") == [(0,)]
