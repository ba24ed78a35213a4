"""From every released version to this one: what was recorded stays, and what there is equals a fresh installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from tests.sql.earlier import VERSIONS, database_of
from tests.sql.tables import make_pair, query
from tools.server import Server

ODD = "Analyst 'é\""

_OBJECTS = """
SELECT 'function', p.oid::regprocedure::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
       p.prosrc, concat_ws(' ', p.provolatile, p.proparallel, p.proisstrict, p.prosecdef, p.proconfig,
           p.prosqlbody IS NULL),
       obj_description(p.oid, 'pg_proc'), (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(p.proacl) a)
FROM pg_proc p WHERE p.pronamespace = 'trails'::regnamespace
UNION ALL
SELECT 'column', a.attrelid::regclass::text || '.' || a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull::text, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text || a.attstorage::text,
           col_description(a.attrelid, a.attnum),
           (SELECT string_agg(x::text, ',' ORDER BY x::text) FROM unnest(a.attacl) x)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'trails'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'relation', c.oid::regclass::text, c.relkind::text, c.relrowsecurity::text, obj_description(c.oid, 'pg_class'),
       (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(c.relacl) a), NULL, NULL
FROM pg_class c WHERE c.relnamespace = 'trails'::regnamespace
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL, NULL
FROM pg_constraint WHERE connamespace = 'trails'::regnamespace
UNION ALL
SELECT 'policy', polrelid::regclass::text, polname, polcmd::text, pg_get_expr(polqual, polrelid),
       pg_get_expr(polwithcheck, polrelid), NULL, NULL FROM pg_policy
UNION ALL
SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid), NULL, NULL, NULL, NULL, NULL
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'trails'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled::text, NULL, NULL, NULL
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'dumped', unnest(extconfig)::regclass::text, NULL, NULL, NULL, NULL, NULL, NULL
FROM pg_extension WHERE extname = 'trails'
"""


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old_database(pg: Server, version: str) -> Iterator[Any]:
    """A superuser's session in a database with an earlier release's objects."""
    with database_of(pg, version) as name:
        connection = psycopg2.connect(**pg.socket_parameters(name, "postgres"))
        connection.autocommit = True
        make_pair(connection)
        yield connection
        connection.close()


def test_an_upgrade_equals_a_fresh_installation_and_keeps_runs(
    old_database: Any, version: str, session: Any, connect: Callable[..., Any]
) -> None:
    connect(role=ODD)
    copied = (
        "function, source, target, features, space, refinement, seed, train_rows, unusable_rows, state, started,"
        " finished, reading_seconds, refinement_seconds, total_seconds"
    )
    values = (
        "'model_selection', 'public.train', 'label', '{colour}', 'mlp4x20', 'sh', 1, 3000, 0, 'best so far', now(),"
        " now(), 0.1, 1, 2"
    )
    value = "validation_auc"
    if version != "0.1.0":
        copied, values, value = f"{copied}, task, metric", f"{values}, 'binary', 'auc'", "validation_metric"
    query(
        old_database,
        f"""
        INSERT INTO trails.runs ({copied}) VALUES ({values});
        INSERT INTO trails.candidates (run_id, architecture, rank, {value}) VALUES (1, '8-8-8-8', 1, 0.75);
        INSERT INTO trails.trials (run_id, architecture, rung, epoch, {value}, seconds)
        VALUES (1, '8-8-8-8', 0, 1, 0.75, 1);
        INSERT INTO trails.checkpoints VALUES (1, 0, 'x');
        """,
    )
    for owner in (ODD, "somebody who was dropped"):
        query(
            old_database,
            f"INSERT INTO trails.runs (owner, {copied}) SELECT %s, {copied} FROM trails.runs WHERE run_id = 1",
            owner,
        )
    query(old_database, "ALTER EXTENSION trails UPDATE")
    owners = query(old_database, "SELECT owner::oid FROM trails.runs ORDER BY run_id")
    roles = [query(old_database, "SELECT oid FROM pg_roles WHERE rolname = %s", name) for name in ("postgres", ODD)]
    assert owners == [*roles[0], *roles[1], (0,)]
    query(old_database, "DELETE FROM trails.runs WHERE run_id > 1")
    # How types are spelt depends on what a session sees.
    plain = psycopg2.connect(session.dsn)
    fresh, upgraded = (set(query(connection, _OBJECTS)) for connection in (plain, old_database))
    plain.close()
    assert upgraded - fresh == set() and fresh - upgraded == set()
    assert query(old_database, "SELECT task, metric, state FROM trails.runs") == [("binary", "auc", "best so far")]
    assert query(old_database, "SELECT rank, metric, validation_metric FROM trails.leaderboard(1)") == [
        (1, "auc", 0.75)
    ]
    with pytest.raises(psycopg2.Error) as caught:
        query(old_database, "SELECT * FROM trails.resume(1)")
    told = ("55000", "no checkpoint") if version == "0.1.0" else ("22023", "the checkpoint cannot be read")
    assert caught.value.pgcode == told[0] and told[1] in str(caught.value)
    rows = query(
        old_database,
        "SELECT model FROM trails.model_selection('train', 'label', '40 s', k => 1, u => 1, name => 'new')",
    )
    assert rows == [("new@1",)]
    assert query(old_database, "SELECT count(*) FROM trails.predict('new', 'train')") == [(3000,)]


CHANGED = {
    "0.1.0": (
        "model_selection('train', 'label')",
        "profile_refinement('train', 'label')",
        "benchmark_reading('train')",
    ),
    "0.2.0": (
        "model_selection('train', 'label')",
        "model_selection_workloads('train', 'label', 10, 1)",
        "refinement_phase('train', 'label', '{8-8-8-8}')",
        "filtering_phase('train', 'label')",
    ),
}
"""Functions whose arguments are others now."""

SAME = {
    "0.1.0": (),
    "0.2.0": ("describe_columns('train')", "predict('m', 'train'::regclass)", "encoding('m')", "resume(1)"),
}
"""Functions whose arguments are the same, while what they find is not."""


def test_functions_of_an_earlier_release_are_an_error_before_the_upgrade(old_database: Any, version: str) -> None:
    """The new library is there as soon as it is installed, the new functions only after ALTER EXTENSION."""
    pid = old_database.info.backend_pid
    for call in CHANGED[version]:
        with pytest.raises(psycopg2.Error) as caught:
            query(old_database, f"SELECT * FROM trails.{call}")
        assert "argument" in str(caught.value)
    for call in SAME[version]:
        with pytest.raises(psycopg2.Error) as caught:
            query(old_database, f"SELECT * FROM trails.{call}")
        assert caught.value.pgcode == "55000" and version in caught.value.diag.message_primary, call
        assert "ALTER EXTENSION trails UPDATE" in caught.value.diag.message_hint
    query(old_database, "ALTER EXTENSION trails UPDATE")
    assert query(old_database, "SELECT count(*) > 10 FROM trails.tfmems()") == [(True,)]
    assert query(old_database, "SELECT pg_backend_pid()") == [(pid,)]


def test_what_a_dba_granted_and_took_away_stays_so(old_database: Any, version: str) -> None:
    if version == "0.1.0":
        pytest.skip("it has no role that is granted anything")
    query(old_database, "REVOKE EXECUTE ON FUNCTION trails.predict_score(text, record) FROM trails_user")
    imports = "trails.import_model(text, bytea, regclass, boolean)"
    query(old_database, f"GRANT EXECUTE ON FUNCTION {imports} TO trails_user")
    query(old_database, "ALTER EXTENSION trails UPDATE")
    may = "SELECT has_function_privilege('trails_user', %s, 'EXECUTE'), has_function_privilege('public', %s, 'EXECUTE')"
    wanted = {
        "trails.predict_score(text, record)": (False, False),
        imports: (True, False),
        "trails.evaluate(text, regclass, name, double precision, name)": (True, False),
    }
    assert {function: query(old_database, may, function, function)[0] for function in wanted} == wanted


def test_an_upgrade_refuses_a_schema_that_others_may_fill(old_database: Any, connect: Callable[..., Any]) -> None:
    connect(role=ODD)
    quoted = '"' + ODD.replace('"', '""') + '"'
    for given, taken in (
        (f"GRANT CREATE ON SCHEMA trails TO {quoted}", f"REVOKE CREATE ON SCHEMA trails FROM {quoted}"),
        (f"ALTER SCHEMA trails OWNER TO {quoted}", "ALTER SCHEMA trails OWNER TO CURRENT_USER"),
    ):
        query(old_database, given)
        with pytest.raises(psycopg2.Error) as caught:
            query(old_database, "ALTER EXTENSION trails UPDATE")
        assert caught.value.pgcode == "55000" and caught.value.diag.message_hint
        query(old_database, taken)
    query(old_database, "ALTER EXTENSION trails UPDATE")
