"""A database dumped from one server and restored in another: roles first, as the guide says.

The other servers are those whose pg_config TRAILS_RESTORE_TO names, several with colons between them; without it the
installation under test is both. What is dumped by the newer server's tools can be restored there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.predicted import make_model, store
from tests.sql.tables import make_pair, query
from tests.sql.test_dumps import everything
from tests.sql.test_judging import SMALL
from tools.server import DATABASE, Server, major_version, temporary_server

SELECTED = (
    "SELECT * FROM trails.model_selection('train', 'label', '30 s', validation => 'valid', "
    "n => 100, k => 2, u => 1, name => 'kept')"
)
ROLES = ("alice", "Bob the 2nd", "eve")

# What must be said of the same rows before and after.
ASKED = {
    "alice": [
        "SELECT key, prediction, score, probabilities FROM trails.predict('kept', 'valid')",
        "SELECT prediction, score FROM trails.predict(NULL, 'train') LIMIT 50",
        "SELECT t.id, trails.predict_score('kept@1', t), trails.predict_score('kept@2', t) FROM valid t ORDER BY 1",
        "SELECT metric, value FROM trails.evaluate('kept', 'valid')",
        "SELECT feature, metric, value FROM trails.drift('kept', 'valid')",
        "SELECT * FROM trails.leaderboard((SELECT min(run_id) FROM trails.runs))",
        "SELECT trails.recipe(run_id) FROM trails.runs ORDER BY run_id",
        "SELECT name, version, state, deployed, threshold, digest FROM trails.models ORDER BY 1, 2",
    ],
    "Bob the 2nd": [
        "SELECT sum(score) FROM trails.predict('alice/kept', 'valid')",
        "SELECT name, version, owner::text FROM trails.models ORDER BY 1, 2",
    ],
    "eve": ["SELECT count(*) FROM trails.models", "SELECT count(*) FROM trails.runs"],
}


def targets() -> list[Path | None]:
    named = os.environ.get("TRAILS_RESTORE_TO", "")
    return [Path(one) for one in named.split(":") if one] or [None]


def session_of(server: Server, role: str = "postgres", database: str = DATABASE) -> Any:
    connection = psycopg2.connect(**server.socket_parameters(database, role))
    connection.autocommit = True
    return connection


def said(server: Server) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """What each role is told."""
    found = {}
    for role, statements in ASKED.items():
        with contextlib.closing(session_of(server, role)) as session:
            for statement in statements:
                found[role, statement] = query(session, statement)
    return found


@pytest.fixture(scope="module")
def origin(pg: Server, cluster: Path) -> Iterator[Server]:
    """Runs and two versions of a model of alice's, the first deployed again, granted to Bob; one of the superuser's."""
    with temporary_server(pg.pg_config, pg.virtualenv, copy_data_from=cluster) as server:
        with contextlib.closing(session_of(server)) as session:
            make_pair(session)
            for role in ROLES:
                query(session, f'CREATE ROLE "{role}" LOGIN; GRANT trails_user TO "{role}"')
                query(session, f'GRANT SELECT ON train, valid TO "{role}"')
            query(session, "ALTER ROLE alice SET trails.refinement_threads = 1")
            store(session, "everybodys", make_model(SMALL), source="public.train")
            query(session, "SELECT trails.grant_model('everybodys', 'public')")
        with contextlib.closing(session_of(server, "alice")) as session:
            query(session, SELECTED)
            query(session, SELECTED.replace("u => 1", "u => 1, seed => 2"))
            query(session, "SELECT trails.deploy('kept@1', threshold => 0.3)")
            query(session, "SELECT trails.deploy('kept@2', threshold => 0.6)")
            query(session, "SELECT trails.rollback('kept')")
            query(session, "SELECT trails.grant_model('kept', 'Bob the 2nd')")
        yield server


@pytest.fixture(params=targets(), ids=lambda path: "itself" if path is None else f"pg{major_version(path)}")
def empty(request: pytest.FixtureRequest, pg: Server) -> Iterator[Server]:
    """Another cluster, in which OIDs are others, with an empty database and no role of the first one's."""
    with Server(request.param or pg.pg_config, virtualenv=pg.virtualenv, parameters={"fsync": "off"}) as server:
        server.sql("postgres", "CREATE ROLE somebody_else; DROP ROLE somebody_else")
        server.create_database(extension=False)
        yield server


def client(programs: Server, server: Server, program: str, *arguments: str, stdin: bytes | None = None) -> bytes:
    """What a program of one server's installation says of another server; no warning is left unseen."""
    parameters = server.socket_parameters()
    command = [str(programs.pg_config.parent / program), "-h", parameters["host"], "-p", parameters["port"]]
    command += ["-U", parameters["user"], *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0 and done.stderr == b"", f"{program}: {done.stderr.decode()}"
    return done.stdout


def bring_roles(origin: Server, target: Server) -> None:
    roles = client(target, origin, "pg_dumpall", "--roles-only")
    # The superuser is there: that one statement fails.
    kept = [line for line in roles.splitlines() if line != b"CREATE ROLE postgres;"]
    client(target, target, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "postgres", stdin=b"\n".join(kept))


def check(origin: Server, target: Server) -> None:
    """Everything is there, and says the same."""
    with contextlib.closing(session_of(origin)) as there, contextlib.closing(session_of(target)) as here:
        before = everything(there)
        assert all(before.values()) and everything(here) == before
        extension = "SELECT extversion, extowner::regrole::text FROM pg_extension WHERE extname = 'trails'"
        assert query(here, extension) == query(there, extension)
        rights = (  # MAINTAIN is one from 17 on
            "SELECT relname, grantee::regrole::text, privilege_type FROM pg_class, aclexplode(relacl) "
            "WHERE relnamespace = 'trails'::regnamespace AND privilege_type <> 'MAINTAIN' ORDER BY 1, 2, 3"
        )
        assert query(here, rights) == query(there, rights) != []
    told = said(origin)
    assert all(told.values()) and said(target) == told
    assert told["eve", "SELECT count(*) FROM trails.models"] == [(1,)], "the one that is everybody's"


def check_that_it_goes_on(target: Server) -> None:
    """Numbers of runs and versions, states and grants."""
    newest = "SELECT (SELECT max(run_id) FROM trails.runs), (SELECT max(model_id) FROM trails.models)"
    with contextlib.closing(session_of(target, "alice")) as session:
        assert query(session, "SHOW trails.refinement_threads") == [("1",)]
        ((run, model),) = query(session, newest)
        assert query(session, SELECTED)[0][7] == "kept@3"
        ((next_run, next_model),) = query(session, newest)
        assert next_run > run and next_model > model
        query(session, "SELECT trails.deploy('kept@3')")
        deployed = "SELECT version, threshold FROM trails.models WHERE name = 'kept' AND state = 'deployed'"
        assert query(session, deployed) == [(3, None)]
        query(session, "SELECT trails.rollback('kept')")
        assert query(session, deployed) == [(1, 0.3)]
        query(session, "SELECT trails.revoke_model('kept', 'Bob the 2nd')")
    with contextlib.closing(session_of(target, "Bob the 2nd")) as session, pytest.raises(psycopg2.Error) as caught:
        query(session, "SELECT * FROM trails.predict('alice/kept', 'valid')")
    assert caught.value.pgcode == "42704"


def test_a_dump_brings_everything_to_another_server(origin: Server, empty: Server) -> None:
    bring_roles(origin, empty)
    dumped = client(empty, origin, "pg_dump", "--format=custom", DATABASE)
    client(empty, empty, "pg_restore", "--exit-on-error", "--dbname", DATABASE, stdin=dumped)
    check(origin, empty)
    check_that_it_goes_on(empty)


def test_definitions_and_data_can_go_one_after_the_other(origin: Server, empty: Server) -> None:
    """As tools do that create the tables first, and fill them later."""
    bring_roles(origin, empty)
    definitions = client(empty, origin, "pg_dump", "--schema-only", DATABASE)
    client(empty, empty, "psql", "--quiet", "--set=ON_ERROR_STOP=1", DATABASE, stdin=definitions)
    with contextlib.closing(session_of(empty)) as session:
        assert query(session, "SELECT count(*) FROM trails.runs") == [(0,)], "definitions alone bring no run"
        assert not any(everything(session).values())
    data = client(empty, origin, "pg_dump", "--data-only", DATABASE)
    client(empty, empty, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", DATABASE, stdin=data)
    check(origin, empty)


def test_without_the_roles_nothing_is_given_to_others(origin: Server, empty: Server) -> None:
    """Rows of a role that is missing fail as a whole, and loudly: no other role gets them."""
    dumped = client(empty, origin, "pg_dump", "--format=custom", DATABASE)
    with pytest.raises(AssertionError, match='role "alice" does not exist'):
        client(empty, empty, "pg_restore", "--exit-on-error", "--dbname", DATABASE, stdin=dumped)
