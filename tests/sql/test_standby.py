"""A physical standby that follows its primary: it predicts, judges, explains and looks, and says where to go to write.

What a lone server in recovery does is in test_judging.py, test_retrain.py and test_background.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.background import follow, go, submit, wait, wait_for_training
from tests.sql.replica import PRIMARY, caught_up, following
from tests.sql.stub import Stub, stub_environment
from tests.sql.tables import make_pair, query, wait_until
from tests.sql.test_interrupts import Running
from tools.server import Server, temporary_server

SELECTED = (
    "SELECT * FROM trails.model_selection('train', 'label', '30 s', validation => 'valid', "
    "n => 100, k => 1, u => 1, name => '{}')"
)


class Replicated:
    """A primary with the model `m@1`, deployed and granted to alice, its standby, and a superuser's session on each."""

    def __init__(self, primary: Server, standby: Server, connect: Callable[..., Any]) -> None:
        self.primary, self.standby, self.connect = primary, standby, connect
        self.there, self.here = connect(primary), connect(standby)

    def caught_up(self) -> None:
        caught_up(self.primary, self.standby)

    def write(self, statement: str) -> None:
        """On the primary, and waits until it can be seen on the standby."""
        query(self.there, statement)
        self.caught_up()


@pytest.fixture(scope="module")
def replicated(pg: Server, cluster: Path) -> Iterator[Replicated]:
    with contextlib.ExitStack() as stack:

        def connect(server: Server, role: str = "postgres") -> Any:
            session = stack.enter_context(contextlib.closing(psycopg2.connect(**server.socket_parameters(role=role))))
            session.autocommit = True
            return session

        primary = stack.enter_context(
            temporary_server(pg.pg_config, pg.virtualenv, PRIMARY, copy_data_from=cluster),
        )
        with contextlib.closing(psycopg2.connect(**primary.socket_parameters())) as session:
            session.autocommit = True
            make_pair(session)
            query(session, "CREATE ROLE alice LOGIN; GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
            query(session, SELECTED.format("m"))
            query(session, "SELECT trails.deploy('m@1'), trails.grant_model('m', 'alice')")
        standby = stack.enter_context(following(primary))
        found = Replicated(primary, standby, connect)
        found.caught_up()
        yield found


def refused(connection: Any, statement: str) -> Any:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    return caught.value.diag


@pytest.mark.parametrize(
    "call",
    [
        "SELECT * FROM trails.predict('postgres/m', 'valid')",
        "SELECT t.id, trails.predict('postgres/m', t), trails.predict_score('postgres/m', t), "
        "trails.predict_probabilities('postgres/m', t) FROM valid t",
        "SELECT * FROM trails.evaluate('postgres/m', 'valid')",
        "SELECT * FROM trails.explain('postgres/m', 'valid', keys => '{3001,3002}')",
        "SELECT * FROM trails.feature_importance('postgres/m', 'valid')",
        "SELECT * FROM trails.drift('postgres/m', 'valid')",
        "SELECT * FROM trails.encoding('postgres/m')",
        "SELECT * FROM trails.describe_columns('valid')",
        "SELECT architecture, score FROM trails.filtering_phase('train', 'label', n => 50)",
        "SELECT name, version, state, owner::text FROM trails.models",
        "SELECT * FROM trails.training_facts('postgres/m')",
        "SELECT trails.find_model('postgres/m')",
        "SELECT trails.export_model('postgres/m')",
    ],
)
def test_what_writes_nothing_says_what_the_primary_says(replicated: Replicated, call: str) -> None:
    here, there = replicated.connect(replicated.standby, "alice"), replicated.connect(replicated.primary, "alice")
    found = query(here, call)
    assert found == query(there, call) and found


def test_a_session_of_the_standby_follows_the_registry(replicated: Replicated) -> None:
    score = "SELECT sum(trails.predict_score('m', t)) FROM valid t"
    first = query(replicated.here, score)
    try:
        replicated.write(SELECTED.format("m").replace("u => 1", "u => 1, seed => 2"))
        assert query(replicated.here, score) == first, "a version that is not deployed"
        replicated.write("SELECT trails.deploy('m@2')")
        second = query(replicated.here, score)
        assert second == query(replicated.there, score) != first
        replicated.write("SELECT trails.rollback('m')")
        assert query(replicated.here, score) == first
        replicated.write("SELECT trails.revoke_model('m', 'alice')")
        alice = replicated.connect(replicated.standby, "alice")
        assert refused(alice, "SELECT * FROM trails.predict('postgres/m', 'valid')").sqlstate == "42704"
        replicated.write("SELECT trails.grant_model('m', 'alice'), trails.drop_model('m@2')")
        assert refused(replicated.here, score.replace("'m'", "'m@2'")).sqlstate == "42704"
    finally:
        query(replicated.there, "SELECT trails.deploy('m@1')")


WRITES = {
    "select": SELECTED.format("other"),
    "phase": "SELECT * FROM trails.refinement_phase('train', 'label', '{8-8-8-8}')",
    "submit": "SELECT trails.submit('train', 'label')",
    "retrain": "SELECT * FROM trails.retrain('m')",
    "deploy": "SELECT trails.deploy('m@1')",
    "rollback": "SELECT trails.rollback('m')",
    "grant": "SELECT trails.grant_model('m', 'public')",
    "revoke": "SELECT trails.revoke_model('m', 'alice')",
    "drop model": "SELECT trails.drop_model('m@1')",
    "import": "SELECT trails.import_model('other', trails.export_model('m'))",
    "drop run": "SELECT trails.drop_run(1)",
    "drop checkpoint": "SELECT trails.drop_run(1, checkpoint_only => true)",
    "keep": "SELECT trails.keep_model(1)",
    "purge": "SELECT trails.purge_runs('1 day')",
}


@pytest.mark.parametrize("name", WRITES)
def test_what_writes_is_refused_before_it_begins(replicated: Replicated, name: str) -> None:
    told = refused(replicated.here, WRITES[name])
    assert told.sqlstate == "25006", told.message_primary
    assert query(replicated.here, "SELECT count(*) FROM trails.progress") == [(0,)]


def test_each_server_shows_what_runs_there(replicated: Replicated, pg: Server) -> None:
    """A run of the primary is a row of trails.background_runs on the standby, and none of trails.progress."""
    assert pg.virtualenv is not None
    with stub_environment(pg.virtualenv) as stub:
        _watch(replicated, stub)


def _watch(replicated: Replicated, stub: Stub) -> None:
    follow(replicated.there, stub, 50.0)
    run = submit(replicated.there)
    worker = wait_for_training(replicated.there, stub, run)
    replicated.caught_up()
    state = f"SELECT state, pid, message FROM trails.background_runs WHERE run_id = {run}"
    progress = "SELECT source FROM trails.progress"
    assert query(replicated.here, state) == [("running", worker, None)]
    assert query(replicated.here, f"SELECT trails.wait({run}, '0 s')") == [("running",)]
    assert query(replicated.there, progress) == [("public.train",)] and query(replicated.here, progress) == []
    told = refused(replicated.here, f"SELECT trails.stop({run})")
    assert told.sqlstate == "25006" and "primary" in told.message_hint
    # What runs on the standby itself is seen there.
    looking = replicated.connect(replicated.standby)
    running = Running(looking, "SELECT * FROM trails.filtering_phase('train', 'label', 160000, tfmem => 'ntk_cond')")
    wait_until(lambda: query(replicated.here, progress))
    assert query(replicated.here, "SELECT pid FROM trails.progress") == [(running.backend,)]
    looking.cancel()
    running.join()
    assert getattr(running.error, "pgcode", None) == "57014" and query(replicated.here, progress) == []
    go(stub)
    assert wait(replicated.there, run) == "complete"
    replicated.caught_up()
    assert query(replicated.here, f"SELECT trails.wait({run})") == [("complete",)]
    leaderboard = f"SELECT * FROM trails.leaderboard({run})"
    assert query(replicated.here, leaderboard) == query(replicated.there, leaderboard) != []
    query(replicated.there, "ALTER DATABASE trails RESET trails.virtualenv")


def test_a_standby_that_is_promoted_goes_on(replicated: Replicated) -> None:
    """The last of this file: there is no standby after it."""
    ((last,),) = query(replicated.there, "SELECT max(run_id) FROM trails.runs")
    replicated.caught_up()
    query(replicated.here, "SELECT pg_promote()")
    session = replicated.connect(replicated.standby)
    assert query(session, SELECTED.format("m"))[0][7].startswith("m@")
    assert query(session, "SELECT max(run_id) FROM trails.runs")[0][0] > last
    query(session, "SELECT trails.deploy('m')")
    assert query(session, "SELECT count(*) FROM trails.predict('m', 'valid')") == [(1000,)]
