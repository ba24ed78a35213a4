"""The registry: what is kept, which version a name means, deploying, rights, dumps, and what goes in and out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.sql.tables import query
from trails.model.store import Model

SELECT = (
    "SELECT rank, model, validation_metric FROM "
    "trails.model_selection('train', 'label', '40 s', validation => 'valid', k => 2, u => 1{})"
)
COLUMNS = "name, run_id, task, architecture, source, target, columns, classes, encoder, metrics, digest, weights"


def keep(session: Any, name: str = "shapes", more: str = "") -> str:
    """Select with a small plan, keep the winner; its name and version."""
    rows = query(session, SELECT.format(f", name => $${name}$$, seed => 1{more}"))
    assert [row[1] is not None for row in rows] == [True, False]
    return str(rows[0][1])


def refused(connection: Any, statement: str) -> psycopg2.extensions.Diagnostics:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    return caught.value.diag


def state(session: Any, name: str = "shapes") -> dict[int, str]:
    return dict(query(session, "SELECT version, state FROM trails.models WHERE name = %s ORDER BY 1", name))


@pytest.fixture
def kept(session: Any) -> Any:
    """A session with three versions of one model, two of them copies with other weights."""
    keep(session)
    for version in (2, 3):
        query(
            session,
            f"INSERT INTO trails.models ({COLUMNS}, version) SELECT {COLUMNS}, %s FROM trails.models WHERE version = 1",
            version,
        )
    return session


def test_a_selection_with_a_name_keeps_its_winner(session: Any) -> None:
    session.notices.clear()
    assert keep(session, "Größe \"x\" 'y'") == "Größe \"x\" 'y'@1"
    assert "kept as" in session.notices[-1]
    (row,) = query(
        session,
        "SELECT name, version, state, owner::text, task, architecture, source, target::text, columns, classes, "
        "metrics, weights, digest = sha256(weights), run_id, encoder FROM trails.models",
    )
    assert row[:5] == ("Größe \"x\" 'y'", 1, "candidate", "postgres", "binary")
    assert row[6:8] == ("public.train", "label")
    assert row[8] == {"colour": "integer", "shape": "integer", "noise": "integer"} and row[9] == ["0", "1"]
    assert row[12] is True and [field["column"] for field in row[14]] == ["colour", "shape", "noise"]
    best = query(session, f"SELECT architecture, validation_metric, model, metric FROM trails.leaderboard({row[13]})")
    assert best[0][0] == row[5] and best[0][2] == "Größe \"x\" 'y'@1" and best[0][3] == "auc" and best[1][2] is None
    model = Model.from_bytes(bytes(row[11]))
    assert model.metrics["auc"] == row[10]["auc"] == pytest.approx(best[0][1], abs=1e-6)
    assert keep(session, "Größe \"x\" 'y'").endswith("@2")


def test_without_a_name_nothing_is_kept(session: Any) -> None:
    assert [row[1] for row in query(session, SELECT.format(""))] == [None, None]
    assert query(session, "SELECT count(*) FROM trails.models") == [(0,)]


def test_several_classes_and_numbers_are_learnt_and_named(session: Any) -> None:
    query(session, "CREATE VIEW kinds AS SELECT id, colour, shape, noise, (colour + shape) % 4 AS kind FROM train")
    rows = query(
        session, "SELECT * FROM trails.model_selection('kinds', 'kind', '40 s', k => 2, u => 3, name => 'kinds')"
    )
    assert 0.5 < rows[0][3] <= 1.0
    (run,) = query(session, "SELECT task, metric FROM trails.runs")
    assert run == ("multiclass", "accuracy")
    (model,) = query(session, "SELECT classes, metrics FROM trails.models WHERE name = 'kinds'")
    assert model[0] == ["0", "1", "2", "3"]
    assert set(model[1]) - {"temperature"} == {"accuracy", "macro_auc", "log_loss"}

    query(session, "CREATE VIEW amounts AS SELECT id, colour, shape, colour * 10 + shape AS amount FROM train")
    rows = query(
        session, "SELECT * FROM trails.model_selection('amounts', 'amount', '40 s', k => 2, u => 5, name => 'amounts')"
    )
    assert 0.8 < rows[0][3] <= 1.0
    (model,) = query(session, "SELECT task, classes, metrics FROM trails.models WHERE name = 'amounts'")
    assert model[:2] == ("regression", None) and set(model[2]) - {"output_slope", "output_shift"} == {
        "r2",
        "rmse",
        "mae",
    }
    assert model[2]["rmse"] < 20.0


def test_a_column_says_which_rows_are_held_out(session: Any) -> None:
    query(session, "CREATE VIEW split AS SELECT *, id % 10 = 0 AS held FROM train")
    query(
        session,
        "SELECT * FROM trails.model_selection('split', 'label', '40 s', split => 'held', k => 1, u => 1, name => 's')",
    )
    assert query(session, "SELECT features, split::text FROM trails.runs") == [(["colour", "shape", "noise"], "held")]
    (weights,) = query(session, "SELECT weights FROM trails.models")[0]
    training = Model.from_bytes(bytes(weights)).training
    assert (training["rows"], training["validation_rows"]) == (2700, 300)


def test_deploy_and_roll_back(kept: Any) -> None:
    assert query(kept, "SELECT * FROM trails.deploy('shapes@1')") == [("shapes", 1, None)]
    assert query(kept, "SELECT version FROM trails.find_model('shapes')") == [(1,)]
    assert query(kept, "SELECT * FROM trails.deploy('shapes')") == [("shapes", 3, 1)], (
        "the latest, not the deployed one"
    )
    assert query(kept, "SELECT * FROM trails.deploy('shapes@2')") == [("shapes", 2, 3)]
    assert state(kept) == {1: "archived", 2: "deployed", 3: "archived"}
    assert query(kept, "SELECT * FROM trails.rollback('shapes')") == [(3, 2)]
    assert query(kept, "SELECT * FROM trails.rollback('shapes')") == [(1, 3)], "further back, not forth"
    assert refused(kept, "SELECT * FROM trails.rollback('shapes')").sqlstate == "55000"
    assert state(kept) == {1: "deployed", 2: "archived", 3: "archived"}
    found = query(kept, "SELECT version FROM trails.find_model(NULL, 'train', 'label')")
    assert found == query(kept, "SELECT version FROM trails.find_model(NULL, 'train')") == [(1,)]
    assert refused(kept, "SELECT * FROM trails.find_model(NULL, 'valid')").sqlstate == "42704"


def test_a_name_means_the_deployed_version_or_else_the_latest(kept: Any) -> None:
    assert query(kept, "SELECT version FROM trails.find_model('shapes')") == [(3,)]
    assert query(kept, "SELECT version FROM trails.find_model('shapes@2')") == [(2,)]
    assert query(kept, "SELECT version FROM trails.find_model('postgres/shapes@2')") == [(2,)]
    for name in ("nothing", "shapes@9", "shapes@99999999999"):
        told = refused(kept, f"SELECT * FROM trails.find_model('{name}')")
        assert told.sqlstate == "42704" and "trails.models" in told.message_hint
    for statement in (
        "deploy('x')",
        "rollback('x')",
        "drop_model('x')",
        "export_model('x')",
        "grant_model('x', 'postgres')",
    ):
        assert refused(kept, f"SELECT * FROM trails.{statement}").sqlstate == "42704"


def test_dropping_says_what_it_drops(kept: Any) -> None:
    told = refused(kept, "SELECT trails.drop_model('shapes')")
    assert told.sqlstate == "42P08" and "several versions" in told.message_primary and "@3" in told.message_hint
    assert query(kept, "SELECT trails.drop_model('shapes@3')") == [(1,)]
    assert query(kept, "SELECT trails.drop_model('shapes', all_versions => true)") == [(2,)]
    assert query(kept, "SELECT count(*) FROM trails.models") == [(0,)]


def test_a_missing_name_is_said_to_be_missing(session: Any) -> None:
    for call in ("deploy(NULL)", "rollback(NULL)", "drop_model(NULL)", "grant_model(NULL, 'postgres')"):
        assert refused(session, f"SELECT * FROM trails.{call}").sqlstate == "22023"


def test_a_run_in_a_read_only_transaction_is_refused_before_it_begins(session: Any) -> None:
    query(session, "SET default_transaction_read_only = on")
    told = refused(session, SELECT.format(""))
    assert told.sqlstate == "25006" and told.message_hint
    assert query(session, "SELECT count(*) FROM trails.describe_columns('train')") == [(5,)]


def test_two_sessions_deploy_at_once(kept: Any, connect: Callable[..., Any]) -> None:
    first, second = connect(), connect()
    first.autocommit = False
    query(first, "SELECT * FROM trails.deploy('shapes@1')")
    done: list[Any] = []
    waiting = threading.Thread(target=lambda: done.append(query(second, "SELECT * FROM trails.deploy('shapes@2')")))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), "the second waits for the first"
    first.commit()
    waiting.join(30)
    assert done == [[("shapes", 2, 1)]] and state(kept) == {1: "archived", 2: "deployed", 3: "candidate"}


def test_each_role_sees_its_own_models_and_those_granted_to_it(kept: Any, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    query(kept, "GRANT trails_user TO alice")
    assert query(alice, "SELECT * FROM trails.models") == []
    assert refused(alice, "SELECT * FROM trails.find_model('shapes')").sqlstate == "42704"
    query(kept, "SELECT trails.grant_model('shapes', 'alice')")
    assert query(alice, "SELECT count(*) FROM trails.models") == [(3,)]
    assert query(alice, "SELECT version FROM trails.find_model('shapes')") == [(3,)]
    for statement in ("deploy('shapes')", "drop_model('shapes@1')", "grant_model('shapes', 'alice')"):
        assert refused(alice, f"SELECT * FROM trails.{statement}").sqlstate == "42501"
    assert refused(alice, "DELETE FROM trails.models").sqlstate == "42501"
    assert query(kept, "SELECT trails.revoke_model('shapes', 'alice'), trails.revoke_model('shapes', 'alice')") == [
        (True, False)
    ]
    assert query(alice, "SELECT * FROM trails.models") == []
    assert refused(kept, "SELECT trails.grant_model('shapes', 'nobody here')").sqlstate == "42704"
    query(kept, "SELECT trails.grant_model('shapes', 'public')")
    assert query(alice, "SELECT count(*) FROM trails.models") == [(3,)]


def test_models_go_out_and_come_in(kept: Any, connect: Callable[..., Any]) -> None:
    ((blob,),) = query(kept, "SELECT trails.export_model('shapes@1')")
    assert bytes(blob) == bytes(query(kept, "SELECT weights FROM trails.models WHERE version = 1")[0][0])
    import onnxruntime

    kinds = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(double)": np.float64}
    for form, inputs in (("onnx", 1), ("onnx_encoded", 3)):
        ((onnx,),) = query(kept, "SELECT trails.export_model('shapes', format => %s)", form)
        session = onnxruntime.InferenceSession(bytes(onnx))
        given = {put.name: np.zeros((2, inputs), kinds[put.type]) for put in session.get_inputs()}
        assert session.run(None, given)[0].shape == (2, 2)
    assert refused(kept, "SELECT trails.export_model('shapes', format => 'pickle')").sqlstate == "22023"

    assert query(kept, "SELECT trails.import_model('elsewhere', %s, source => 'train', deploy => true)", blob) == [
        ("elsewhere@1",)
    ]
    (row,) = query(kept, "SELECT state, source, task, classes, run_id FROM trails.models WHERE name = 'elsewhere'")
    assert row == ("deployed", "public.train", "binary", ["0", "1"], None)
    alice = connect(role="alice")
    query(kept, "GRANT trails_user TO alice")
    assert refused(alice, "SELECT trails.import_model('x', '\\x00')").sqlstate == "42501"
    for wrong in ("\\x", "\\x00", "\\x0100000000000000ff"):
        assert refused(kept, f"SELECT trails.import_model('x', '{wrong}')").sqlstate == "22023"


def test_a_corrupted_blob_is_found(kept: Any) -> None:
    query(
        kept,
        "UPDATE trails.models SET weights = set_byte(weights, 3000, get_byte(weights, 3000) # 1) WHERE version = 2",
    )
    told = refused(kept, "SELECT trails.export_model('shapes@2')")
    assert told.sqlstate == "XX001" and "SHA-256" in told.message_detail and told.message_hint
    assert query(kept, "SELECT length(trails.export_model('shapes@1')) > 1000") == [(True,)]


def test_a_run_that_is_cut_keeps_the_best_so_far(scripted: Any, stub: Any) -> None:
    """A run whose process dies before it has written a model has its leaderboard, and says what is missing."""
    stub.script(
        "ready(); rows_ = receive(); rows(); request = receive(); plan()\n"
        'epoch(request["candidates"][0][0], 0, 1, 0.7); os.kill(os.getpid(), signal.SIGKILL)'
    )
    scripted.notices.clear()
    rows = query(scripted, SELECT.format(", name => 'lost'"))
    assert rows == [(1, None, 0.7)]
    assert any("the model cannot be kept" in notice for notice in scripted.notices)
    (sent, _) = stub.requests()
    assert len(sent["models"]) == 2 and query(scripted, "SELECT count(*) FROM trails.models") == [(0,)]
    assert json.loads(json.dumps(sent["options"])) == {}
