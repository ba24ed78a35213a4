"""The next version of a model: from the last run's best, on the rows of now, deployed only if it does better."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import make_pair, query, wait_until
from tools.server import Server, temporary_server

SELECT = (
    "SELECT count(*) FROM trails.model_selection('train', 'label', '40 s', {}k => 2, u => 1, name => 'm', "
    'options => \'{{"max_epochs": 3, "members": 1}}\')'
)
COLUMNS = "new_model, architecture, metric, value, deployed_model, deployed_value, is_deployed, decision"
RETRAIN = f"SELECT {COLUMNS} FROM trails.retrain('m'{{}}, budget => '40 s')"


def refused(connection: Any, statement: str) -> Any:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    return caught.value.diag


def state(session: Any) -> dict[int, str]:
    return dict(query(session, "SELECT version, state FROM trails.models WHERE name = 'm' ORDER BY 1"))


@pytest.mark.parametrize("held", ["validation => 'valid', ", ""])
def test_a_model_is_trained_again_and_deployed_if_it_is_better(session: Any, held: str) -> None:
    query(session, SELECT.format(held))
    ((_, best),) = query(
        session, "SELECT run_id, array_agg(architecture ORDER BY rank) FROM trails.candidates GROUP BY 1"
    )
    query(session, "ALTER TABLE train RENAME TO visits")  # whatever it is called now
    (first,) = query(session, RETRAIN.format(", deploy => 'never'"))
    assert first[0] == "m@2" and first[1] in best and first[2] == "auc" and first[3] > 0.8
    assert first[4:] == (None, None, False, "not deployed: as it was asked")
    (row,) = query(session, "SELECT function, source, k, model, options FROM trails.runs ORDER BY run_id DESC LIMIT 1")
    assert row[1:] == ("public.visits", 2, "m", {"max_epochs": 3, "members": 1})
    (second,) = query(session, RETRAIN.format(""))
    assert second[0] == "m@3" and second[6:] == (True, "deployed: no version was in use")
    assert state(session) == {1: "candidate", 2: "candidate", 3: "deployed"}
    # The same rows, the same architectures, the same seed: not better than itself.
    (third,) = query(session, RETRAIN.format(""))
    assert third[4] == "m@3" and third[5] is not None
    better = third[3] > third[5]
    assert third[6] is better and third[7] == (
        "deployed: it does better" if better else "not deployed: it does no better"
    )
    if held:
        ((value,),) = query(session, "SELECT value FROM trails.evaluate('m@3', 'valid') WHERE metric = 'auc'")
        assert third[5] == pytest.approx(value)
    # A version in use that has learnt the opposite is worse than anything.
    query(session, "CREATE TABLE wrong AS SELECT id, 1 - label AS label, colour, shape, noise FROM visits")
    query(session, "SELECT * FROM trails.deploy(%s)", first[0])
    (worse,) = query(session, RETRAIN.format(", 'wrong'" if not held else ""))
    if not held:
        assert worse[5] < 0.3 < worse[3] and worse[6] and state(session)[5] == "deployed"
    assert query(session, "SELECT count(*) FROM trails.models WHERE state = 'deployed'") == [(1,)]


def test_what_cannot_be_trained_again_is_refused(session: Any, connect: Callable[..., Any]) -> None:
    query(session, SELECT.format("validation => 'valid', "))
    for wrong in ("NULL", "'sometimes'"):
        assert refused(session, RETRAIN.format(f", deploy => {wrong}")).sqlstate == "22023"
    assert refused(session, "SELECT * FROM trails.retrain('n')").sqlstate == "42704"
    alice = connect(role="alice")
    query(session, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
    query(session, "SELECT trails.grant_model('m', 'alice')")
    assert refused(alice, "SELECT * FROM trails.retrain('postgres/m')").sqlstate == "42501"
    query(session, "SELECT trails.import_model('n', trails.export_model('m'))")
    assert refused(session, "SELECT * FROM trails.retrain('n')").sqlstate == "55000"
    query(session, "ALTER TABLE train RENAME colour TO color")
    assert refused(session, RETRAIN.format("")).sqlstate == "42703"
    query(session, "DROP TABLE train")
    told = refused(session, RETRAIN.format(""))
    assert told.sqlstate == "42P01" and told.message_hint
    query(session, "SELECT trails.drop_run(run_id) FROM trails.runs")
    told = refused(session, RETRAIN.format(""))
    assert told.sqlstate == "55000" and "dropped" in told.message_detail
    assert state(session) == {1: "candidate"}


def test_both_are_judged_with_the_same_threshold(session: Any) -> None:
    query(session, SELECT.format("validation => 'valid', metric => 'accuracy', "))
    query(session, "SELECT * FROM trails.deploy('m@1', threshold => 0.0)")
    (row,) = query(session, RETRAIN.format(""))
    judged = "SELECT value FROM trails.evaluate('m@1', 'valid', threshold => {}) WHERE metric = 'accuracy'"
    ((at_half,),), ((at_none,),) = query(session, judged.format(0.5)), query(session, judged.format(0.0))
    assert row[2] == "accuracy" and row[5] == pytest.approx(at_half) and at_half != pytest.approx(at_none)


def test_a_version_that_was_put_in_use_meanwhile_stays(session: Any, connect: Callable[..., Any]) -> None:
    query(session, SELECT.format("validation => 'valid', "))
    other = connect()
    with ThreadPoolExecutor(1) as pool:
        retrained = pool.submit(query, session, RETRAIN.format(""))
        wait_until(lambda: query(other, "SELECT 1 FROM trails.progress WHERE phase IN ('starting', 'refining')"))
        query(other, "SELECT * FROM trails.deploy('m@1')")
        (row,) = retrained.result()
    assert row[4] is None and row[6:] == (False, "not deployed: another version was put in use meanwhile")
    assert state(session) == {1: "deployed", 2: "candidate"}


@pytest.mark.parametrize(("held", "metric"), [("validation => 'valid', ", "log_loss"), ("", "brier")])
def test_both_are_judged_by_calibrated_probabilities(session: Any, held: str, metric: str) -> None:
    # After an epoch a network is less sure than it could be, so that there is something to calibrate.
    query(
        session,
        SELECT.format(f"{held}metric => '{metric}', ").replace('"max_epochs": 3', '"max_epochs": 1'),
    )
    query(session, "SELECT * FROM trails.deploy('m@1')")
    (row,) = query(session, RETRAIN.format(""))
    told = "SELECT (metrics ->> %s)::float8, (metrics ->> 'temperature')::float8 FROM trails.models WHERE version = %s"
    ((before, warmth),) = query(session, told, metric, 1)
    ((value, temperature),) = query(session, told, metric, 2)
    assert temperature not in (None, 1.0) and warmth not in (None, 1.0)
    assert row[2] == metric and row[3] == pytest.approx(value, rel=1e-6)
    ((uncalibrated,),) = query(
        session, "SELECT min(validation_metric) FROM trails.candidates JOIN trails.runs r USING (run_id) "
                 "WHERE r.run_id = (SELECT run_id FROM trails.models WHERE version = 2)"
    )  # fmt: skip
    assert value < uncalibrated
    if held:
        judged = "SELECT value FROM trails.evaluate(%s, 'valid') WHERE metric = %s"
        ((new,),), ((old,),) = query(session, judged, "m@2", metric), query(session, judged, "m@1", metric)
        assert (row[3], row[5]) == (pytest.approx(new, rel=1e-4), pytest.approx(old, rel=1e-6))
        assert row[6] is (row[3] < row[5])
        # The same rows, architectures and seed: as good as the one in use, which an uncalibrated loss would not be.
        assert row[3] == pytest.approx(before, rel=0.05)


def test_a_standby_tells_of_drift_and_trains_nothing(pg: Server, cluster: Path) -> None:
    with temporary_server(pg.pg_config, pg.virtualenv, copy_data_from=cluster) as server:
        with contextlib.closing(psycopg2.connect(**server.socket_parameters())) as connection:
            connection.autocommit = True
            make_pair(connection)
            query(connection, SELECT.format("validation => 'valid', "))
            query(connection, "SELECT * FROM trails.deploy('m@1')")
            wanted = query(connection, "SELECT * FROM trails.drift('m', 'valid')")
        server.terminate()
        # Without anything to follow it waits for ever, and answers meanwhile.
        (server.data_dir / "standby.signal").touch()
        server.start()
        with contextlib.closing(psycopg2.connect(**server.socket_parameters())) as connection:
            connection.autocommit = True
            # Neither needs an interpreter: one judges without, the other ends before there is one.
            query(connection, "SET trails.virtualenv = ''")
            assert query(connection, "SELECT * FROM trails.drift('m', 'valid')") == wanted and wanted
            for deploy in ("if_better", "never"):
                told = refused(connection, RETRAIN.format(f", deploy => '{deploy}'"))
                assert told.sqlstate == "25006" and "standby" in told.message_primary and "primary" in told.message_hint
            assert state(connection) == {1: "deployed"}
