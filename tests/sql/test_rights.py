"""Who may do what: the functions run as their caller, and each role sees its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.sql.predicted import make_model, store
from tests.sql.stub import Stub
from tests.sql.tables import query
from trails.table.columns import Column, Columns

RUN = "SELECT * FROM trails.model_selection('train', 'label', '40 s', validation => 'valid', k => 1, u => 1)"


def sqlstate_of(connection: Any, statement: str) -> str:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    return str(caught.value.pgcode)


def denied(connection: Any, statement: str) -> str:
    """The message of a statement that the role has no right to."""
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    assert caught.value.pgcode == "42501", caught.value
    return str(caught.value.diag.message_primary)


def test_nothing_can_be_called_without_usage_of_the_schema(session: Any, connect: Callable[..., Any]) -> None:
    query(session, "GRANT SELECT ON train, valid TO PUBLIC")
    stranger = connect(role="stranger")
    assert sqlstate_of(stranger, RUN) == "42501"
    assert sqlstate_of(stranger, "SELECT * FROM trails.runs") == "42501"


def test_select_on_source_and_validation_is_required(session: Any, connect: Callable[..., Any]) -> None:
    analyst = connect(role="Analyst 'é\"")
    query(session, 'GRANT trails_user TO "Analyst \'é"""')
    assert sqlstate_of(analyst, RUN) == "42501"
    query(session, "GRANT SELECT ON train TO PUBLIC")
    assert sqlstate_of(analyst, RUN) == "42501"
    query(session, "GRANT SELECT ON valid TO PUBLIC")
    assert len(query(analyst, RUN)) == 1
    assert query(analyst, "SELECT owner = quote_ident(current_user)::regrole FROM trails.runs") == [(True,)]


def test_each_role_sees_its_own_runs_and_the_superuser_all(session: Any, connect: Callable[..., Any]) -> None:
    alice, bob = connect(role="alice"), connect(role="bob")
    query(session, "GRANT trails_user TO alice, bob; GRANT SELECT ON train, valid TO alice, bob")
    query(alice, RUN)
    for table in ("runs", "candidates", "trials", "timings"):
        assert query(alice, f"SELECT count(*) > 0 FROM trails.{table}") == [(True,)]
        assert query(bob, f"SELECT count(*) FROM trails.{table}") == [(0,)]
        assert query(session, f"SELECT count(*) > 0 FROM trails.{table}") == [(True,)]
    run = query(alice, "SELECT run_id FROM trails.runs")[0][0]
    assert query(bob, f"SELECT trails.drop_run({run})") == [(False,)]
    for mode in ("SHARE", "EXCLUSIVE", "ACCESS EXCLUSIVE"):
        for table in ("runs", "candidates", "checkpoints", "models", "unregistered_models"):
            assert sqlstate_of(bob, f"BEGIN; LOCK trails.{table} IN {mode} MODE") == "42501", (table, mode)
            query(bob, "ROLLBACK")
    assert query(alice, f"SELECT trails.drop_run({run}), trails.drop_run({run})") == [(True, False)]
    assert query(session, "SELECT count(*) FROM trails.trials") == [(0,)]


RUN_ROW = (
    "INSERT INTO trails.runs ({columns} function, source, target, task, metric, features, space, refinement, seed,"
    " train_rows, unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds)"
    " {override} VALUES ({values} 'model_selection', 's', 't', 'binary', 'auc', '{{}}', 'mlp4x20', 'sh', 1, 1, 0,"
    " 'complete', now(), now(), 0, 0, 0)"
)


@pytest.mark.parametrize(
    ("columns", "values", "override"),
    [("run_id,", "1000,", "OVERRIDING SYSTEM VALUE"), ("owner,", "'alice',", "")],
    ids=["run_id", "owner"],
)
def test_nobody_chooses_a_runs_number_or_owner(
    session: Any, connect: Callable[..., Any], columns: str, values: str, override: str
) -> None:
    connect(role="alice")
    bob = connect(role="bob")
    query(session, "GRANT trails_user TO bob")
    query(bob, RUN_ROW.format(columns="", values="", override=""))  # a row of one's own is none of anybody's business
    forged = RUN_ROW.format(columns=columns, values=values, override=override)
    assert denied(bob, forged) == "permission denied for table runs"
    query(session, f"GRANT INSERT ({columns.strip(',')}) ON trails.runs TO bob")
    if columns == "owner,":
        assert "row-level security policy" in denied(bob, forged)
        query(session, "ALTER ROLE bob BYPASSRLS")
    query(bob, forged)
    assert query(session, "SELECT count(*) FROM trails.runs") == [(2,)]


@pytest.mark.parametrize("table", ["candidates", "trials", "timings", "checkpoints"])
def test_nobody_writes_into_another_roles_run(session: Any, connect: Callable[..., Any], table: str) -> None:
    alice, bob = connect(role="alice"), connect(role="bob")
    query(session, "GRANT trails_user TO alice, bob")
    query(alice, RUN_ROW.format(columns="", values="", override=""))
    row = {
        "candidates": "(run_id, architecture) VALUES (1, '8-8-8-8')",
        "trials": "(run_id, architecture, rung, epoch, seconds) VALUES (1, '8-8-8-8', 0, 1, 1)",
        "timings": "(run_id, place, phase, process, begin_seconds, seconds) VALUES (1, 1, 'read', 'backend', 0, 1)",
        "checkpoints": "(run_id, rung, weights) VALUES (1, 0, '')",
    }[table]
    assert "row-level security policy" in denied(bob, f"INSERT INTO trails.{table} {row}")
    query(session, "ALTER ROLE bob BYPASSRLS")
    query(bob, f"INSERT INTO trails.{table} {row}")


def test_models_are_written_by_the_functions_only(session: Any, connect: Callable[..., Any]) -> None:
    columns = Columns(2, (Column("colour", "int32", np.array([1, 2], np.int32)),))
    bob = connect(role="bob")
    query(session, "GRANT trails_user TO bob")
    store(bob, "m", make_model(columns), source="public.train")
    copied = "name, task, architecture, source, target, columns, classes, encoder, metrics, digest, weights"
    for right, statement in (
        ("INSERT", f"INSERT INTO trails.models ({copied}, version) SELECT {copied}, 2 FROM trails.models"),
        ("UPDATE", "UPDATE trails.models SET deployed = 'infinity', state = 'deployed' WHERE version = 1"),
        ("UPDATE", "UPDATE trails.models SET weights = '', digest = sha256('')"),
        ("UPDATE", "UPDATE trails.models SET source = 'public.valid', relation = NULL"),
    ):
        assert denied(bob, statement) == "permission denied for table models", statement
        query(session, f"GRANT {right} ON trails.models TO bob")
        query(bob, statement)
        query(session, f"REVOKE {right} ON trails.models FROM bob")
    grant = "INSERT INTO trails.model_grants VALUES ('bob', 'm', '-')"
    assert denied(bob, grant) == "permission denied for table model_grants"
    query(session, "GRANT INSERT ON trails.model_grants TO bob")
    query(bob, grant)


def test_a_role_that_could_not_record_a_run_learns_it_before_training(
    scripted: Any, stub: Stub, connect: Callable[..., Any]
) -> None:
    alice = connect(role="alice")
    query(scripted, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    query(scripted, f"ALTER ROLE alice SET trails.virtualenv = '{stub.path}'")
    alice = connect(role="alice")
    stub.script(
        "rows = receive(); ready(); request = receive(); plan(k=1, u=1); best = request['candidates'][0][0]\n"
        "epoch(best, 0, 1, 0.7); result([row(best, 0.7, 1)])"
    )
    for table in ("runs", "candidates", "trials", "checkpoints", "timings"):
        query(scripted, f"REVOKE ALL ON trails.{table} FROM trails_user; GRANT SELECT ON trails.{table} TO trails_user")
        assert denied(alice, RUN) == "permission denied to record a run", table
        assert stub.requests() == [], "nothing was started"
        query(scripted, f"GRANT INSERT ON trails.{table} TO trails_user")
    assert len(query(alice, RUN)) == 1


def test_row_level_security_of_the_source_applies(session: Any, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    query(
        session,
        "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice;"
        "ALTER TABLE train ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY low ON train FOR SELECT TO alice USING (id <= 1500)",
    )
    query(alice, RUN)
    assert query(alice, "SELECT train_rows, validation_rows FROM trails.runs") == [(1500, 1000)]


def test_only_superusers_name_the_code_that_runs(session: Any, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    query(session, "GRANT trails_user TO alice")
    assert denied(alice, "LOAD 'trails'") == 'access to library "trails" is not allowed'
    query(session, "LOAD 'trails'")
    # Set before the library is there it is a placeholder, which the library does not take over; after, it is an error.
    assert denied(alice, "SELECT count(*) FROM trails.coordinator(1, 1, '60 s'); SET trails.virtualenv = '/tmp'") == (
        'permission denied to set parameter "trails.virtualenv"'
    )
    early = "SET trails.virtualenv = '/tmp'; SELECT count(*) FROM trails.coordinator(1, 1, '60 s')"
    assert query(connect(role="alice"), early) == [(1,)]
    query(session, "GRANT SET ON PARAMETER trails.virtualenv TO alice")
    try:
        query(alice, "SET trails.virtualenv = '/tmp'")
        assert sqlstate_of(connect(role="alice"), early) == "F0000", "there is no environment in /tmp"
    finally:
        query(session, "REVOKE SET ON PARAMETER trails.virtualenv FROM alice")


def test_configuration_files_are_for_roles_that_may_read_server_files(
    session: Any, connect: Callable[..., Any], tmp_path: Path
) -> None:
    alice = connect(role="alice")
    query(session, "GRANT trails_user TO alice; GRANT SELECT ON train TO alice")
    statement = "SELECT * FROM trails.benchmark_filtering_latency_in_db(2, 'train', 8, '/nowhere/config.ini')"
    assert sqlstate_of(alice, statement) == "42501"
    query(session, "GRANT pg_read_server_files TO alice")
    assert sqlstate_of(alice, statement) == "58P01"
