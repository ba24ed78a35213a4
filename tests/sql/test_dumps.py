"""Backups, and the extension's own comings and goings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import query
from tools.server import Server

SELECTED = (
    "SELECT * FROM trails.model_selection("
    "'train', 'label', '40 s', validation => 'valid', k => 2, u => 1, name => 'kept')"
)


def tool(pg: Server, program: str, database: str, *arguments: str, stdin: bytes | None = None) -> bytes:
    """Run one of the server's client programs against a database."""
    parameters = pg.socket_parameters(database, "postgres")
    command = [
        str(pg.pg_config.parent / program),
        "-h",
        parameters["host"],
        "-p",
        str(parameters["port"]),
        "-U",
        "postgres",
    ]
    done = subprocess.run([*command, *arguments, database], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert program != "pg_dump" or done.stderr == b"", "a dump has nothing to warn of"
    return done.stdout


def everything(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("runs", "candidates", "trials", "timings", "models", "model_grants")
    return {table: query(connection, f"SELECT t::text FROM trails.{table} t ORDER BY 1") for table in tables}


def test_a_dump_brings_runs_and_models_back(
    session: Any, pg: Server, database: str, connect: Callable[..., Any]
) -> None:
    alice = connect(role="alice")
    query(session, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    query(session, SELECTED)
    query(alice, SELECTED)
    query(session, "SELECT trails.deploy('postgres/kept'), trails.grant_model('postgres/kept', 'alice')")
    before = everything(session)
    assert all(before.values())
    restored = f"{database}_restored"
    dump = tool(pg, "pg_dump", database)
    pg.sql("postgres", f"CREATE DATABASE {restored}")
    try:
        tool(pg, "psql", restored, "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", stdin=dump)
        connection = psycopg2.connect(**pg.socket_parameters(restored, "postgres"))
        connection.autocommit = True
        assert everything(connection) == before
        # Numbers go on where they were.
        rows = query(connection, SELECTED)
        assert rows[0][7] == "kept@2"
        newest = "SELECT (SELECT max(run_id) FROM trails.runs), (SELECT max(model_id) FROM trails.models)"
        assert query(connection, newest)[0] > query(session, newest)[0]
        connection.close()
    finally:
        pg.drop_database(restored)


def test_dropping_the_extension_leaves_nothing_behind(session: Any) -> None:
    """Nothing but the empty schema: PostgreSQL makes it for an extension and does not count it among its objects."""
    objects = """
        SELECT 'class', relname::text FROM pg_class WHERE relnamespace = to_regnamespace('trails')
        UNION ALL SELECT 'proc', proname FROM pg_proc WHERE pronamespace = to_regnamespace('trails')
        UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace = to_regnamespace('trails')
        UNION ALL SELECT 'cast', castsource::regtype::text FROM pg_cast WHERE oid >= 16384
        UNION ALL SELECT 'policy', polname FROM pg_policy
        UNION ALL SELECT 'acl', defaclrole::regrole::text FROM pg_default_acl
    """
    query(session, SELECTED)
    before = sorted(query(session, objects))
    query(session, "DROP EXTENSION trails CASCADE")
    assert query(session, objects) == []
    query(session, "CREATE EXTENSION trails")
    assert sorted(query(session, objects)) == before
    assert query(session, "SELECT count(*) FROM trails.runs") == [(0,)]
    query(session, SELECTED)
    assert query(session, "SELECT run_id, model FROM trails.runs") == [(1, "kept")]


@pytest.mark.parametrize(
    ("prepared", "mended"),
    [
        ("CREATE SCHEMA trails AUTHORIZATION mallory", "ALTER SCHEMA trails OWNER TO CURRENT_USER"),
        (
            "CREATE SCHEMA trails; GRANT CREATE ON SCHEMA trails TO mallory",
            "REVOKE CREATE ON SCHEMA trails FROM mallory",
        ),
        ("CREATE SCHEMA trails; GRANT ALL ON SCHEMA trails TO PUBLIC", "REVOKE CREATE ON SCHEMA trails FROM PUBLIC"),
        (
            "CREATE SCHEMA trails; CREATE FUNCTION trails.format(text, name, text) RETURNS text LANGUAGE sql RETURN $1",
            "DROP SCHEMA trails CASCADE",
        ),
        (
            "CREATE SCHEMA trails; CREATE OPERATOR trails.= (FUNCTION = pg_catalog.texteq, "
            "LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text)",
            "DROP OPERATOR trails.= (pg_catalog.text, pg_catalog.text)",
        ),
        ("CREATE SCHEMA trails; CREATE TYPE trails.text AS (a int)", "DROP TYPE trails.text"),
    ],
    ids=["owner", "granted", "public", "function", "operator", "type"],
)
def test_the_extension_is_not_made_in_a_schema_that_others_have_prepared(
    connect: Callable[..., Any], prepared: str, mended: str
) -> None:
    superuser = connect()
    connect(role="mallory").close()
    query(superuser, f"DROP EXTENSION trails; DROP SCHEMA trails; {prepared}")
    with pytest.raises(psycopg2.Error) as caught:
        query(superuser, "CREATE EXTENSION trails")
    assert caught.value.pgcode == "55000" and caught.value.diag.message_hint
    query(superuser, mended)
    query(superuser, "CREATE EXTENSION trails")
    assert query(superuser, "SELECT count(*) FROM trails.runs") == [(0,)]
