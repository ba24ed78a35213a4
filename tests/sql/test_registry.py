"""Whose model a name or a table means, whatever roles and relations are called in the meantime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.sql.predicted import make_model, store
from tests.sql.tables import query
from tests.sql.test_dumps import tool
from tools.server import Server
from trails.model.store import Model
from trails.table.columns import Column, Columns

ROWS = 4
Roles = dict[str, Any]


def model(seed: int = 0) -> Model:
    """A network that reads the integer column n."""
    return make_model(Columns(ROWS, (Column("n", "int32", np.arange(ROWS, dtype=np.int32)),)), seed=seed)


@pytest.fixture
def roles(connect: Callable[..., Any]) -> Roles:
    """Sessions of a superuser, alice and bob; everybody may read shared.orders and nobody private.orders."""
    superuser = connect()
    sessions = {"postgres": superuser, "alice": connect(role="alice"), "bob": connect(role="bob")}
    query(
        superuser,
        "GRANT trails_user TO alice, bob; CREATE SCHEMA shared; CREATE SCHEMA private; GRANT USAGE ON SCHEMA shared TO "
        "PUBLIC; CREATE TABLE shared.orders AS SELECT i AS n FROM generate_series(0, 3) i; "
        "CREATE TABLE private.orders AS TABLE shared.orders; GRANT SELECT ON shared.orders TO PUBLIC",
    )
    return sessions


def refused(connection: Any, statement: str, *parameters: Any) -> psycopg2.extensions.Diagnostics:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement, *parameters)
    return caught.value.diag


def whose(connection: Any, source: str = "shared.orders") -> list[tuple[Any, ...]]:
    """Owner and name of the model that answers for a table."""
    found = query(connection, "SELECT owner::text, name FROM trails.find_model(NULL, %s)", source)
    assert len(query(connection, "SELECT * FROM trails.predict(NULL, %s)", source)) == ROWS
    return found


def deployed(session: Any, name: str, source: str | None = "shared.orders", granted: str | None = None) -> None:
    store(session, name, model(), state="deployed", source=source)
    if granted:
        query(session, "SELECT trails.grant_model(%s, %s)", name, granted)


def test_ones_own_model_answers_before_one_that_was_granted_later(roles: Roles) -> None:
    deployed(roles["alice"], "hers")
    deployed(roles["bob"], "his", granted="public")
    query(roles["postgres"], "UPDATE trails.models SET deployed = 'infinity' WHERE name = 'his'")
    assert whose(roles["alice"]) == [("alice", "hers")]
    assert whose(roles["bob"]) == [("bob", "his")]


def test_another_roles_model_answers_only_if_it_was_granted_also_for_superusers(roles: Roles) -> None:
    deployed(roles["bob"], "his")
    for name in ("alice", "postgres"):
        told = refused(roles[name], "SELECT * FROM trails.predict(NULL, 'shared.orders')")
        assert told.sqlstate == "42704" and "granted" in told.message_hint
    # By name, a superuser means what it says.
    assert query(roles["postgres"], "SELECT count(*) FROM trails.predict('bob/his', 'shared.orders')") == [(ROWS,)]
    query(roles["bob"], "SELECT trails.grant_model('his', 'alice')")
    assert whose(roles["alice"]) == [("bob", "his")]
    assert refused(roles["postgres"], "SELECT * FROM trails.predict(NULL, 'shared.orders')").sqlstate == "42704"
    query(roles["bob"], "SELECT trails.grant_model('his', 'postgres')")
    assert whose(roles["postgres"]) == [("bob", "his")]
    query(roles["bob"], "SELECT trails.revoke_model('his', 'alice'), trails.revoke_model('his', 'postgres')")
    query(roles["postgres"], "CREATE ROLE readers; CREATE ROLE all_readers; GRANT all_readers TO readers")
    try:
        query(roles["postgres"], "GRANT readers TO postgres")
        query(roles["bob"], "SELECT trails.grant_model('his', 'all_readers')")
        assert whose(roles["postgres"]) == [("bob", "his")], "a member of a member"
    finally:
        query(roles["postgres"], "DROP ROLE readers, all_readers")


def test_models_of_several_roles_are_an_error_that_names_one(roles: Roles, connect: Callable[..., Any]) -> None:
    deployed(roles["alice"], "hers", granted="public")
    deployed(roles["bob"], "his", granted="public")
    query(roles["postgres"], "UPDATE trails.models SET deployed = 'infinity' WHERE name = 'his'")
    carol = connect(role="carol")
    query(roles["postgres"], "GRANT trails_user TO carol")
    for session in (carol, roles["postgres"]):
        told = refused(session, "SELECT * FROM trails.predict(NULL, 'shared.orders')")
        assert told.sqlstate == "42725" and "alice" in told.message_detail and "'bob/his'" in told.message_hint
    assert query(carol, "SELECT count(*) FROM trails.predict('bob/his', 'shared.orders')") == [(ROWS,)]


def test_no_row_makes_the_others_fail(roles: Roles) -> None:
    """Sources that cannot be looked up: in a schema that the caller may not use, and no names at all."""
    deployed(roles["alice"], "hers")
    for place, source in enumerate(("private.orders", "a.b.c.d.e", '"', "", "1", "nowhere.orders", "ü" * 5000)):
        store(roles["bob"], f"odd {place}", model(), state="deployed", source=None)
        query(roles["postgres"], "UPDATE trails.models SET source = %s WHERE name = %s", source, f"odd {place}")
        query(roles["bob"], "SELECT trails.grant_model(%s, 'public')", f"odd {place}")
    for name in ("alice", "postgres"):
        told = refused(roles[name], "SELECT * FROM trails.find_model(NULL, 'pg_catalog.pg_class')")
        assert told.sqlstate == "42704"
    assert whose(roles["alice"]) == [("alice", "hers")]


def test_a_model_stays_with_its_relation_whatever_that_is_called(roles: Roles) -> None:
    superuser = roles["postgres"]
    deployed(superuser, "m")
    query(superuser, "ALTER TABLE shared.orders RENAME TO sales")
    assert whose(superuser, "shared.sales") == [("postgres", "m")]
    query(superuser, "ALTER SCHEMA shared RENAME TO public2; ALTER TABLE public2.sales SET SCHEMA private")
    assert whose(superuser, "private.sales") == [("postgres", "m")]
    # Another table under the old name is another table.
    query(superuser, "CREATE SCHEMA shared; CREATE TABLE shared.orders AS TABLE private.sales")
    told = refused(superuser, "SELECT * FROM trails.predict(NULL, 'shared.orders')")
    assert told.sqlstate == "42704"
    # Once the first one is gone, the name is what is left.
    query(superuser, "DROP TABLE private.sales")
    assert whose(superuser, "shared.orders") == [("postgres", "m")]


def test_a_restored_database_goes_by_names(roles: Roles, pg: Server, database: str) -> None:
    """There, OIDs are those of other relations."""
    superuser = roles["postgres"]
    deployed(superuser, "m")
    deployed(superuser, "p", source="private.orders")
    dump = tool(pg, "pg_dump", database)
    restored = f"{database}_restored"
    pg.sql("postgres", f"CREATE DATABASE {restored}")
    try:
        tool(pg, "psql", restored, "--quiet", "--set=ON_ERROR_STOP=1", stdin=dump)
        connection = psycopg2.connect(**pg.socket_parameters(restored, "postgres"))
        connection.autocommit = True
        assert whose(connection, "shared.orders") == [("postgres", "m")]
        assert whose(connection, "private.orders") == [("postgres", "p")]
        # The very OIDs of the first database, which mean nothing here.
        query(connection, "CREATE TABLE other AS TABLE shared.orders")
        query(
            connection,
            "UPDATE trails.models SET relation = regexp_replace(relation, '[0-9]+$', 'other'::regclass::oid::text)",
        )
        assert refused(connection, "SELECT * FROM trails.predict(NULL, 'other')").sqlstate == "42704"
        connection.close()
    finally:
        pg.drop_database(restored)


def test_what_is_trained_knows_its_relation(scripted: Any, stub: Any) -> None:
    stub.script(
        "rows = receive(); ready(); request = receive(); plan(k=1, u=1); best = request['candidates'][0][0]\n"
        "epoch(best, 0, 1, 0.7); checkpoint(rows, 0, 0, b'weights'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    query(scripted, "SELECT * FROM trails.model_selection('train', 'label', '40 s', validation => 'valid', k => 1)")
    query(scripted, "ALTER TABLE train RENAME TO first; ALTER TABLE valid RENAME TO train; CREATE TABLE valid ()")
    stub.script(
        "rows = receive(); ready(); request = receive(); plan(k=1, u=1)\n"
        "epoch('8-8-8-8', 1, 2, 0.8); result([row('8-8-8-8', 0.8, 2)])"
    )
    query(scripted, "SELECT * FROM trails.resume(1)")
    assert query(
        scripted, "SELECT source, validation, train_rows, validation_rows FROM trails.runs WHERE run_id = 2"
    ) == [("public.first", "public.train", 3000, 1000)]


def test_a_renamed_role_keeps_what_is_its_own_and_a_new_one_of_the_name_gets_nothing(
    roles: Roles, connect: Callable[..., Any]
) -> None:
    superuser = roles["postgres"]
    deployed(roles["alice"], "hers", granted="bob")
    query(superuser, "ALTER ROLE alice RENAME TO alicia; ALTER ROLE bob RENAME TO robert")
    try:
        for name in ("alicia", "robert"):
            assert query(connect(role=name), "SELECT owner::text, name FROM trails.models") == [("alicia", "hers")]
            assert whose(connect(role=name)) == [("alicia", "hers")]
        query(superuser, "CREATE ROLE alice LOGIN IN ROLE trails_user; CREATE ROLE bob LOGIN IN ROLE trails_user")
        for name in ("alice", "bob"):
            assert query(connect(role=name), "SELECT count(*) FROM trails.models") == [(0,)]
        # What their sessions may have made for themselves would keep them.
        query(superuser, "DROP OWNED BY alice, bob; DROP ROLE alice, bob")
    finally:
        query(superuser, "ALTER ROLE alicia RENAME TO alice; ALTER ROLE robert RENAME TO bob")


@pytest.mark.parametrize("role", ["ann", "Ann \"é'", "123", "a/b@1", "-"])
def test_roles_of_every_name_own_models_and_say_whose(roles: Roles, connect: Callable[..., Any], role: str) -> None:
    session = connect(role=role)
    quoted = '"' + role.replace('"', '""') + '"'
    query(roles["postgres"], f"GRANT trails_user TO {quoted}")
    store(session, "m", model(), source="shared.orders")
    store(session, "m", model(1), version=2, source="shared.orders")
    assert query(session, "SELECT version FROM trails.deploy('m')") == [(2,)]
    named = f"{role}/m"
    assert query(session, "SELECT version FROM trails.deploy(%s)", f"{named}@1") == [(1,)]
    assert query(session, "SELECT version FROM trails.deploy(%s)", named) == [(2,)]
    assert query(session, "SELECT * FROM trails.rollback(%s)", named) == [(1, 2)]
    query(session, "SELECT trails.grant_model(%s, 'bob')", named)
    assert query(roles["bob"], "SELECT count(*) FROM trails.predict(%s, 'shared.orders')", named) == [(ROWS,)]
    assert query(session, "SELECT trails.revoke_model(%s, 'bob')", named) == [(True,)]
    assert refused(session, "SELECT trails.drop_model(%s)", named).sqlstate == "42P08"
    assert query(session, "SELECT trails.drop_model(%s, true)", named) == [(2,)]


@pytest.mark.parametrize("name", ["alice/churn", "/", "churn@3", "churn@", "@"])
def test_a_name_that_could_mean_anothers_model_or_a_version_is_refused(roles: Roles, name: str) -> None:
    store(roles["postgres"], "m", model(), source="shared.orders")
    superuser = roles["postgres"]
    told = refused(superuser, "SELECT trails.import_model(%s, trails.export_model('m'))", name)
    assert told.sqlstate == "22023" and "/" in told.message_hint
    selection = "SELECT trails.model_selection('shared.orders', 'n', name => %s)"
    assert refused(superuser, selection, name).sqlstate == "22023"
    with pytest.raises(psycopg2.errors.CheckViolation):
        store(superuser, name, model())


def test_only_roles_that_there_are_are_granted_anything(roles: Roles) -> None:
    deployed(roles["alice"], "hers")
    told = refused(roles["alice"], "SELECT trails.grant_model('hers', 'nobody here')")
    assert told.sqlstate == "42704" and told.message_hint
    with pytest.raises(psycopg2.errors.UndefinedObject):
        query(roles["postgres"], "INSERT INTO trails.model_grants VALUES ('alice', 'hers', '\"nobody here\"')")
    query(roles["alice"], "SELECT trails.grant_model('hers', 'public')")
    assert query(roles["bob"], "SELECT owner::text, grantee::text FROM trails.model_grants") == [("alice", "-")]


def test_another_roles_model_cannot_be_changed_and_the_functions_give_the_identity_back(
    roles: Roles, connect: Callable[..., Any]
) -> None:
    deployed(roles["alice"], "hers", granted="bob")
    for call in (
        "deploy('alice/hers')",
        "rollback('alice/hers')",
        "drop_model('alice/hers')",
        "grant_model('alice/hers', 'bob')",
        "revoke_model('alice/hers', 'bob')",
    ):
        told = refused(roles["bob"], f"SELECT * FROM trails.{call}")
        assert told.sqlstate == "42501" and "belongs to alice" in told.message_primary
        # In a block that catches the error, the role is what it was.
        query(
            roles["bob"],
            f"DO $$ BEGIN PERFORM trails.{call}; EXCEPTION WHEN OTHERS THEN "
            "IF current_user <> 'bob' THEN RAISE 'who is %', current_user; END IF; END $$",
        )
        assert refused(roles["bob"], "UPDATE trails.models SET state = 'archived'").sqlstate == "42501"
    assert query(roles["alice"], "SELECT version FROM trails.deploy('hers')") == [(1,)]
    # While rows are written as the owner, an error: somebody else holds the name.
    holder = connect()
    holder.autocommit = False
    query(holder, "SELECT * FROM trails.deploy('alice/hers')")
    query(
        roles["alice"],
        "DO $$ BEGIN SET LOCAL lock_timeout = '50ms'; PERFORM trails.deploy('hers'); RAISE 'deployed'; "
        "EXCEPTION WHEN lock_not_available THEN "
        "IF current_user <> 'alice' THEN RAISE 'who is %', current_user; END IF; END $$",
    )
    holder.rollback()
    assert refused(roles["alice"], "UPDATE trails.models SET state = 'archived'").sqlstate == "42501"
    assert query(roles["postgres"], "SELECT version FROM trails.deploy('alice/hers')") == [(1,)], "a superuser may"


def test_an_error_while_rows_are_written_gives_the_identity_back(roles: Roles) -> None:
    deployed(roles["alice"], "hers")
    query(
        roles["postgres"],
        "CREATE FUNCTION shared.failing() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'written as %', current_user; END $$; "
        "CREATE TRIGGER failing BEFORE UPDATE ON trails.models FOR EACH ROW EXECUTE FUNCTION shared.failing()",
    )
    told = refused(roles["alice"], "SELECT * FROM trails.deploy('hers')")
    assert told.message_primary == "written as postgres"
    assert query(roles["alice"], "SELECT current_user::text") == [("alice",)]
    query(
        roles["alice"],
        "DO $$ BEGIN PERFORM trails.deploy('hers'); EXCEPTION WHEN OTHERS THEN "
        "IF current_user <> 'alice' THEN RAISE 'who is %', current_user; END IF; END $$",
    )


def test_nobody_else_can_lock_the_name_of_a_model(roles: Roles, connect: Callable[..., Any]) -> None:
    deployed(roles["alice"], "hers")
    roles["bob"].autocommit = False
    query(
        roles["bob"],
        "SELECT pg_advisory_xact_lock(hashtextextended('trails.models alice/hers', 0)), pg_advisory_xact_lock(0)",
    )
    query(roles["alice"], "SET lock_timeout = '10s'")
    assert query(roles["alice"], "SELECT version FROM trails.deploy('hers')") == [(1,)]


@pytest.mark.parametrize(
    "argument",
    ["base@" + "1" * 200_000, "x" * 10_000_000, "@" * 300_000, "/" * 300_000, "base@" + "9" * 19, "@1", "a//@1"],
    ids=["digits", "long", "at", "slashes", "bigint", "version", "owner"],
)
def test_no_name_is_too_odd_to_be_told_that_there_is_no_such_model(roles: Roles, argument: str) -> None:
    for statement in (
        "SELECT * FROM trails.find_model(%s)",
        "SELECT * FROM trails.deploy(%s)",
        "SELECT * FROM trails.predict(%s, 'shared.orders')",
        "SELECT trails.predict(%s, o) FROM shared.orders o",
        "SELECT trails.export_model(%s)",
    ):
        told = refused(roles["postgres"], statement, argument)
        assert told.sqlstate == "42704" and told.message_hint
        assert len(told.message_primary) < 200, "the argument is shown by its beginning"


def test_a_wrapper_with_its_definers_rights_acts_as_its_definer(roles: Roles) -> None:
    deployed(roles["alice"], "hers")
    query(roles["postgres"], "GRANT CREATE ON SCHEMA shared TO alice")
    query(
        roles["alice"],
        "CREATE FUNCTION shared.redeploy() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog "
        "BEGIN ATOMIC SELECT version FROM trails.deploy('hers'); END; GRANT USAGE ON SCHEMA shared TO bob",
    )
    assert query(roles["bob"], "SELECT shared.redeploy(), current_user::text") == [(1, "bob")]
    assert refused(roles["bob"], "SELECT * FROM trails.deploy('alice/hers')").sqlstate == "42704"


LONG = "x" * 2_000_000
SELECTION = "SELECT * FROM trails.model_selection('shared.orders', 'n', {})"


@pytest.mark.parametrize(
    "statement",
    [
        SELECTION.format("name => %s"),
        SELECTION.format("space => %s"),
        SELECTION.format("tfmem => %s"),
        SELECTION.format("refinement => %s"),
        SELECTION.format("task => %s"),
        SELECTION.format("options => jsonb_build_object(%s::text, 1)"),
        SELECTION.format("options => jsonb_build_object('precision', %s::text)"),
        "SELECT * FROM trails.refinement_phase('shared.orders', 'n', ARRAY[%s])",
        "SELECT * FROM trails.filtering_phase('shared.orders', sampler => %s)",
        "SELECT * FROM trails.benchmark_filtering_latency_in_db(1, %s)",
        "SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 'orders', 1, %s)",
        "SELECT * FROM trails.benchmark_reading('shared.orders', reader => %s)",
        "SELECT * FROM trails.coordinator(1, 1, '60 s', space => %s)",
        "SELECT trails.import_model(%s, '')",
        "SELECT trails.convert_model('', %s)",
        "SELECT trails.grant_model(%s, 'bob')",
    ],
)
def test_no_message_repeats_an_argument_of_any_length(roles: Roles, statement: str) -> None:
    told = refused(roles["postgres"], statement, LONG)
    parts = [told.message_primary, told.message_detail, told.message_hint, told.context]
    assert sum(len(part or "") for part in parts) < 5_000
    assert told.sqlstate != "XX000"


def test_grants_end_with_the_last_model_of_their_name(roles: Roles) -> None:
    superuser, bob = roles["postgres"], roles["bob"]
    deployed(superuser, "m", granted="bob")
    assert query(bob, "SELECT count(*) FROM trails.models") == [(1,)]
    query(superuser, "DELETE FROM trails.models")
    deployed(superuser, "m")
    assert query(bob, "SELECT count(*) FROM trails.models") == [(0,)]
    assert query(superuser, "SELECT * FROM trails.model_grants") == []


def test_a_snapshot_that_does_not_see_a_deployment_is_a_serialization_failure(roles: Roles, connect: Any) -> None:
    superuser, other = roles["postgres"], connect()
    store(superuser, "m", model(), version=1)
    store(superuser, "m", model(1), version=2)
    query(other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    query(superuser, "SELECT trails.deploy('m@2')")
    told = refused(other, "SELECT trails.deploy('m@1')")
    assert told.sqlstate == "40001" and told.message_hint
    query(other, "ROLLBACK")
    assert query(other, "SELECT version FROM trails.deploy('m@1')") == [(1,)]
