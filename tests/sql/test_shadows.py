"""What a session's own types, functions and operators do to Trails' statements: nothing, and nothing of them is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.shadows import TYPES, lay, lay_schema, lay_tables
from tests.sql.tables import make_pair, query

SELECTION = "SELECT rank, model FROM trails.model_selection('train', 'label', '40 s', validation => 'valid', {})"
# One of every kind of function; what they return is compared with what they return to a session without shadows.
STATEMENTS = (
    "SELECT * FROM trails.describe_columns('train')",
    "SELECT rank, architecture, score FROM trails.filtering_phase('train', 'label', k => 2, n => 20, batch_size => 16)",
    "SELECT version FROM trails.find_model('kept')",
    "SELECT version FROM trails.find_model('kept@1')",
    "SELECT name, version FROM trails.deploy('kept')",
    "SELECT version FROM trails.find_model(NULL, 'train', 'label')",
    "SELECT * FROM trails.predict('kept', 'train')",
    "SELECT * FROM trails.predict(NULL, 'train')",
    "SELECT trails.predict('kept', t), trails.predict_probabilities('kept', t) FROM public.train t LIMIT 5",
    "SELECT * FROM trails.encoding('kept')",
    "SELECT trails.export_model('kept')",
    "SELECT rank, model FROM trails.leaderboard(1)",
    "SELECT rows FROM trails.profile_prediction('kept', 'train')",
    "SELECT columns FROM trails.benchmark_reading('train', reader => 'rows')",
    "SELECT models FROM trails.benchmark_filtering_latency_in_db(2, 'train', 8)",
    "SELECT trails.grant_model('kept', 'public')",
    "SELECT trails.revoke_model('kept', 'public')",
    "SELECT trails.import_model('other', trails.export_model('kept'), source => 'train', deploy => true)",
    "SELECT version FROM trails.deploy('other')",
    "SELECT trails.import_model('other', trails.export_model('kept'), source => 'train', deploy => true)",
    "SELECT version, replaced FROM trails.rollback('other')",
    "SELECT trails.drop_model('other', all_versions => true)",
)


@pytest.fixture(autouse=True)
def _sessions_begin_without_shadows(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--shadows"):
        pytest.skip("these tests lay shadows of their own")


def test_every_function_works_beside_types_functions_and_operators_of_the_same_names(
    session: Any, connect: Callable[..., Any]
) -> None:
    query(session, SELECTION.format("k => 2, u => 1, name => 'kept'"))
    wanted = [query(session, statement) for statement in STATEMENTS]
    lay_schema(session)
    tables, domains = connect(), connect()
    lay_tables(tables)
    query(tables, "SET search_path = mine, pg_catalog, public")
    lay(domains)
    for shadowed in (tables, domains):
        for statement, rows in zip(STATEMENTS, wanted, strict=True):
            assert query(shadowed, statement) == rows, statement
    # A whole run, which writes every table of the catalogue, and going on with one.
    assert query(tables, SELECTION.format("k => 1, u => 1, name => 'kept'")) == [(1, "kept@2")]


def test_a_run_that_was_cut_goes_on_beside_them(scripted: Any, stub: Any) -> None:
    lay_schema(scripted)
    lay(scripted)
    stub.script(
        "ready(); receive(); rows(); request = receive(); plan()\n"
        'epoch(request["candidates"][0][0], 0, 1, 0.7); os.kill(os.getpid(), signal.SIGKILL)'
    )
    query(scripted, SELECTION.format("k => 1"))
    query(scripted, "INSERT INTO trails.checkpoints VALUES (1, 0, 'x')")
    with pytest.raises(psycopg2.Error) as caught:
        query(scripted, "SELECT * FROM trails.resume(1)")
    assert "shadow" not in str(caught.value) and caught.value.pgcode == "38000"


@pytest.mark.parametrize("path", ["trails", "pg_catalog", "trails, pg_temp"])
def test_a_wrapper_with_its_definers_rights_runs_nothing_of_its_callers(connect: Callable[..., Any], path: str) -> None:
    """A domain in the caller's temporary schema has a function that notes who runs it."""
    owner = connect()
    make_pair(owner, 300)
    query(
        owner,
        "CREATE FUNCTION public.columns() RETURNS bigint LANGUAGE sql SECURITY DEFINER "
        f"SET search_path = {path} BEGIN ATOMIC "
        "SELECT pg_catalog.count(*) FROM trails.describe_columns('public.train'); END",
    )
    caller = connect(role="mallory")
    query(
        caller,
        "CREATE FUNCTION pg_temp.noted() RETURNS boolean LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_catalog.set_config('mine.ran', current_user, false); RETURN true; END $$",
    )
    for name in TYPES:
        query(caller, f"CREATE DOMAIN pg_temp.{name} AS pg_catalog.{name} CHECK (pg_temp.noted())")
    assert query(caller, "SELECT public.columns()") == [(5,)]
    assert query(caller, "SELECT pg_catalog.current_setting('mine.ran', true)") == [(None,)]


def test_bodies_with_a_fixed_search_path_pass_over_temporary_types(connect: Callable[..., Any]) -> None:
    """What the lint of tests/core relies on: pg_temp, listed last, is the last place where a type is looked for."""
    superuser = connect()
    lay_tables(superuser)
    function = (
        "CREATE FUNCTION public.f() RETURNS pg_catalog.text LANGUAGE plpgsql {} AS $$ BEGIN RETURN 1::text; END $$"
    )
    query(superuser, function.format("SET search_path = pg_catalog, pg_temp"))
    assert query(superuser, "SELECT public.f()") == [("1",)]
    query(superuser, "DROP FUNCTION public.f()")
    query(superuser, function.format("SET search_path = pg_catalog"))
    with pytest.raises(psycopg2.errors.CannotCoerce):
        query(superuser, "SELECT public.f()")
