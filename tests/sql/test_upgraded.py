"""A database of 0.2.0 with models in it, upgraded: they predict what they did, for whom they did.

The blobs are what that release wrote, `tests/core/stored`; the rows around them are written here as it wrote them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.core.test_encoder import texts
from tests.core.test_model import rows
from tests.core.test_operations import STORED
from tests.sql.earlier import database_of
from tests.sql.tables import query
from tests.sql.test_dumps import tool
from tests.sql.test_stored_models import scores
from tools.server import Server
from trails.model.store import Model

ROLES = ("alice", "bob", "eve")
BINARY, OTHER, NUMBER = "binary-8", "binary-0", "regression-8"
SOURCE = 'public."Odd words"'
RUN = """
INSERT INTO trails.runs (owner, function, source, target, task, metric, model, features, space, refinement, seed,
    train_rows, unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds)
VALUES ('alice', 'model_selection', 'public."Odd words"', 'y', 'binary', 'auc', 'team/shop', '{word,x,n}', 'mlp2x10',
    'sh', 7, 60, 0, 'best so far', now(), now(), 0.1, 1, 2);
INSERT INTO trails.candidates (run_id, architecture, rank, validation_metric) VALUES (1, '16-8', 1, 0.75);
INSERT INTO trails.model_grants (owner, name, grantee) VALUES ('alice', 'shop', 'bob'), ('alice', 'shop', 'carol'),
    ('alice', 'number', 'public'), ('alice', 'team/shop', 'bob'), ('alice', 'not there', 'eve'),
    ('dora', 'shop', 'bob');
"""


@dataclass
class Upgraded:
    """The database, and what its upgrade said."""

    pg: Server
    name: str
    notices: list[str]

    @contextlib.contextmanager
    def session(self, role: str = "postgres") -> Iterator[Any]:
        with contextlib.closing(psycopg2.connect(**self.pg.socket_parameters(self.name, role))) as connection:
            connection.autocommit = True
            yield connection

    def ask(self, role: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.session(role) as connection:
            return query(connection, statement, *values)

    def refusal(self, role: str, statement: str) -> psycopg2.Error:
        with self.session(role) as connection, pytest.raises(psycopg2.Error) as caught:
            query(connection, statement)
        return caught.value


def fill(session: Any) -> None:
    """The rows that the models read."""
    columns = rows(60, 2)
    word, x, n = (columns[name] for name in ("word", "x", "n"))
    assert word.nulls is not None
    spelt = {code: f"word {number}" for number in range(6) for code in texts([f"word {number}"]).data.tolist()}
    words = [None if null else spelt[code] for code, null in zip(word.data.tolist(), word.nulls.tolist(), strict=True)]
    query(session, 'CREATE TABLE "Odd words" (id int PRIMARY KEY, word text, x float8, n int, y text)')
    for cells in zip(range(60), words, x.data.tolist(), n.data.tolist(), strict=True):
        query(session, "INSERT INTO \"Odd words\" VALUES (%s, %s, %s, %s, 'yes')", *cells)


def keep(
    session: Any, owner: str, name: str, stored: str, version: int = 1, state: str = "deployed", **more: Any
) -> None:
    """A model as 0.2.0 kept it."""
    blob = (STORED / f"{stored}.safetensors").read_bytes()
    model = Model.from_bytes(blob)
    query(
        session,
        "INSERT INTO trails.models (owner, name, version, state, run_id, task, architecture, source, target, columns,"
        " classes, encoder, metrics, digest, weights, deployed)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, sha256(%s), %s,"
        " clock_timestamp())",
        owner,
        name,
        version,
        state,
        more.get("run"),
        model.target.task,
        model.architecture,
        more.get("source", SOURCE),
        model.target.name,
        json.dumps(dict(model.encoder.columns)),
        list(model.target.classes) or None,
        json.dumps(model.encoder.describe()),
        json.dumps(dict(model.metrics)),
        psycopg2.Binary(blob),
        psycopg2.Binary(blob),
    )


@pytest.fixture(scope="module")
def upgraded(pg: Server) -> Iterator[Upgraded]:
    with database_of(pg, "0.2.0") as name:
        made = Upgraded(pg, name, [])
        for role in ROLES:
            pg.sql("postgres", f"CREATE ROLE {role} LOGIN IN ROLE trails_user")
        with made.session() as session:
            fill(session)
            query(session, RUN)
            query(session, f"GRANT SELECT ON {SOURCE} TO {', '.join(ROLES)}")
            keep(session, "alice", "shop", OTHER, 1, "archived", run=1)
            keep(session, "alice", "shop", BINARY, 2)
            keep(session, "alice", "number", NUMBER, state="candidate")
            keep(session, "alice", "team/shop", OTHER, state="candidate")
            keep(session, "alice", "team@shop", OTHER, state="candidate")
            keep(session, "alice", "lost", OTHER, source="no.such.table.at all")
            keep(session, "bob", "claimed", OTHER, state="candidate", run=1)
            keep(session, "dora", "shop", OTHER)
            keep(session, "emil, who is gone", "shop", OTHER)
            query(session, "ALTER EXTENSION trails UPDATE")
            made.notices += session.notices
        yield made
    for role in ROLES:
        pg.sql("postgres", f"DROP ROLE {role}")


def check(upgraded: Upgraded, role: str, model: str | None, stored: str, source: str = SOURCE) -> None:
    """What a role is told is what the release's file comes to; tests/core holds that to what the release said."""
    found = upgraded.ask(role, "SELECT score FROM trails.predict(%s, %s, 'y') ORDER BY key::int", model, source)
    expected = scores(Model.from_bytes((STORED / f"{stored}.safetensors").read_bytes()), rows(60, 2))
    np.testing.assert_allclose([score for (score,) in found], expected, rtol=1e-4, atol=1e-5)


def test_models_predict_what_they_did(upgraded: Upgraded) -> None:
    for model, stored in (("shop@1", OTHER), ("shop@2", BINARY), ("shop", BINARY), ("number", NUMBER), ("lost", OTHER)):
        check(upgraded, "alice", model, stored)
    check(upgraded, "alice", None, BINARY)


def test_grants_hold_for_those_who_had_them_and_for_nobody_else(upgraded: Upgraded) -> None:
    check(upgraded, "bob", "alice/shop", BINARY)
    # What dora left is granted to him as well.
    assert upgraded.refusal("bob", f"SELECT * FROM trails.predict(NULL, '{SOURCE}')").pgcode == "42725"
    check(upgraded, "bob", "shop_2", OTHER)
    for role in ("bob", "eve"):
        check(upgraded, role, "alice/number", NUMBER)
    assert upgraded.refusal("eve", f"SELECT * FROM trails.predict('alice/shop', '{SOURCE}')").pgcode == "42704"
    assert upgraded.refusal("bob", "SELECT trails.deploy('alice/shop@1')").pgcode == "42501"
    grants = upgraded.ask("alice", "SELECT name, grantee::text FROM trails.model_grants ORDER BY 1, 2")
    assert grants == [("number", "-"), ("shop", "bob"), ("team_shop", "bob")]
    upgraded.pg.sql("postgres", "CREATE ROLE carol LOGIN IN ROLE trails_user")
    try:
        named = upgraded.ask("carol", "SELECT name FROM trails.models")
        assert named == [("number",)], "a role that is made anew under an old name was granted nothing"
    finally:
        upgraded.pg.sql("postgres", "DROP ROLE carol")


def test_what_is_deployed_stays_so_and_rollback_goes_back(upgraded: Upgraded) -> None:
    assert upgraded.ask("alice", "SELECT version, replaced FROM trails.rollback('shop')") == [(1, 2)]
    check(upgraded, "alice", "shop", OTHER)
    assert upgraded.ask("alice", "SELECT version, replaced FROM trails.deploy('shop@2', 0.5)") == [(2, 1)]


def test_models_follow_their_tables_now(upgraded: Upgraded) -> None:
    upgraded.ask("postgres", 'ALTER TABLE "Odd words" RENAME TO "Words"')
    try:
        check(upgraded, "alice", None, BINARY, '"Words"')
    finally:
        upgraded.ask("postgres", 'ALTER TABLE "Words" RENAME TO "Odd words"')


def test_what_belonged_to_roles_that_are_gone_is_nobodys(upgraded: Upgraded) -> None:
    nobodys = "SELECT name, version, state FROM trails.models WHERE owner = '-'::regrole ORDER BY 1"
    assert upgraded.ask("postgres", nobodys) == [("shop", 1, "deployed"), ("shop_2", 1, "deployed")]
    upgraded.pg.sql("postgres", "CREATE ROLE dora LOGIN IN ROLE trails_user")
    try:
        assert upgraded.ask("dora", "SELECT name FROM trails.models") == [("number",)]
    finally:
        upgraded.pg.sql("postgres", "DROP ROLE dora")


def test_names_that_cannot_stay_are_told(upgraded: Upgraded) -> None:
    told = " ".join(upgraded.notices)
    for old, new in (("team/shop", "team_shop"), ("team@shop", "team_shop_2"), ("shop", "shop_2")):
        assert f'the model "{old}" of the role' in told and f'is called "{new}" now' in told
    check(upgraded, "alice", "team_shop", OTHER)
    assert upgraded.ask("alice", "SELECT model FROM trails.runs") == [("team_shop",)]


def test_runs_read_and_belong_to_whom_they_did(upgraded: Upgraded) -> None:
    assert upgraded.ask("alice", "SELECT rank, metric, validation_metric FROM trails.leaderboard(1)") == [
        (1, "auc", 0.75)
    ]
    [(recipe,)] = upgraded.ask("alice", "SELECT trails.recipe(1)")
    assert "An earlier release made this run" in recipe and "Odd words" in recipe
    made_of = "SELECT made_of ->> 'seed' FROM trails.models WHERE name = %s ORDER BY version"
    assert upgraded.ask("alice", made_of, "shop") == [("7",), (None,)]
    assert upgraded.ask("bob", made_of, "claimed") == [(None,)], "a run of another's is no business of his"
    assert upgraded.ask("bob", "SELECT count(*) FROM trails.runs") == [(0,)]


def test_new_functions_work_on_old_models_or_say_what_they_lack(upgraded: Upgraded) -> None:
    asked = f"'shop', '{SOURCE}'"
    assert upgraded.ask("alice", f"SELECT sum(rows)::int FROM trails.confusion_matrix({asked})") == [(60,)]
    assert dict(upgraded.ask("alice", f"SELECT metric, value FROM trails.evaluate({asked}) WHERE class IS NULL"))
    assert upgraded.ask("alice", f"SELECT count(*) FROM trails.explain({asked}, keys => '{{7}}', top => 3)") == [(3,)]
    assert upgraded.ask("alice", "SELECT count(*) > 0 FROM trails.encoding('shop')") == [(True,)]
    assert upgraded.ask("alice", "SELECT count(*) FROM trails.networks('shop')") == [(1,)]
    refused = upgraded.refusal("alice", f"SELECT * FROM trails.drift({asked})")
    assert refused.pgcode == "55000" and "how its training rows were spread" in str(refused)
    assert refused.diag.message_hint
    assert upgraded.refusal("alice", "SELECT * FROM trails.resume(1)").pgcode == "55000"


def everything(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
    """All rows, by the names of their columns: an upgraded table has them in another order."""
    tables = ("runs", "candidates", "trials", "timings", "models", "model_grants")
    return {table: query(connection, f"SELECT to_jsonb(t)::text FROM trails.{table} t ORDER BY 1") for table in tables}


def test_a_dump_of_the_upgraded_database_is_restored(upgraded: Upgraded) -> None:
    with upgraded.session() as connection:
        before = everything(connection)
    restored = "upgraded_restored"
    dump = tool(upgraded.pg, "pg_dump", upgraded.name)
    upgraded.pg.sql("postgres", f"CREATE DATABASE {restored}")
    try:
        tool(upgraded.pg, "psql", restored, "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", stdin=dump)
        other = Upgraded(upgraded.pg, restored, [])
        with other.session() as connection:
            assert everything(connection) == before
        check(other, "bob", "alice/shop", BINARY)
    finally:
        upgraded.pg.drop_database(restored)
