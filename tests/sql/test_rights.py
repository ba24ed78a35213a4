"""Who may do what: the functions run as their caller, and each role sees its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import query

RUN = "SELECT * FROM trails.model_selection('train', 'label', '40 s', validation => 'valid', k => 1, u => 1)"


def sqlstate_of(connection: Any, statement: str) -> str:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    return str(caught.value.pgcode)


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
    assert query(analyst, "SELECT owner::text FROM trails.runs") == [("Analyst 'é\"",)]


def test_each_role_sees_its_own_runs_and_the_superuser_all(session: Any, connect: Callable[..., Any]) -> None:
    alice, bob = connect(role="alice"), connect(role="bob")
    query(session, "GRANT trails_user TO alice, bob; GRANT SELECT ON train, valid TO alice, bob")
    query(alice, RUN)
    for table in ("runs", "candidates", "trials", "timings"):
        assert query(alice, f"SELECT count(*) > 0 FROM trails.{table}") == [(True,)]
        assert query(bob, f"SELECT count(*) FROM trails.{table}") == [(0,)]
        assert query(session, f"SELECT count(*) > 0 FROM trails.{table}") == [(True,)]
    assert query(bob, "DELETE FROM trails.runs RETURNING run_id") == []
    forged = (
        'INSERT INTO trails.runs SELECT (jsonb_populate_record(NULL::trails.runs, \'{"owner": "alice"}\'::jsonb)).*'
    )
    assert sqlstate_of(bob, forged) in {"42501", "428C9", "23502"}
    assert query(session, "SELECT count(*) FROM trails.runs") == [(1,)]


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
    with pytest.raises(psycopg2.Error):
        query(alice, "LOAD 'trails'; SET trails.virtualenv = '/tmp'")
    with pytest.raises(psycopg2.Error):
        query(alice, "SELECT trails.coordinator(1, 1, '60 s'); SET trails.virtualenv = '/tmp'")


def test_configuration_files_are_for_roles_that_may_read_server_files(
    session: Any, connect: Callable[..., Any], tmp_path: Path
) -> None:
    alice = connect(role="alice")
    query(session, "GRANT trails_user TO alice; GRANT SELECT ON train TO alice")
    statement = "SELECT * FROM trails.benchmark_filtering_latency_in_db(2, 'train', 8, '/nowhere/config.ini')"
    assert sqlstate_of(alice, statement) == "42501"
    query(session, "GRANT pg_read_server_files TO alice")
    assert sqlstate_of(alice, statement) == "58P01"
