"""Two readers of one format: what Python refuses the server refuses, and the other way round."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.core.forged import Parts, forged, mutated, verdict
from tests.core.test_encoder import texts
from tests.core.test_forged_models import ALL, IDS, models
from tests.core.test_model import made, rows
from tests.core.test_operations import STORED, rich
from tests.sql.predicted import store
from tests.sql.tables import query
from tests.timing import within
from trails.model.store import Model
from trails.table.columns import Columns
from trails.table.target import TASKS, Task

PREDICT = "SELECT trails.predict_probabilities('m', r) FROM (SELECT 'word 1'::text AS word, 0.5 AS x, 3 AS n) r"


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    """A superuser's session with a model `m`, whose blob the tests replace behind everybody's back."""
    connection = connect()
    store(connection, "m", made("binary"))
    query(connection, "SET trails.model_cache_size = 0")
    return connection


def put(session: Any, blob: bytes) -> None:
    with session.cursor() as cursor:
        data = psycopg2.Binary(blob)
        cursor.execute("UPDATE trails.models SET weights = %s, digest = sha256(%s)", (data, data))


def refusal(session: Any) -> str | None:
    """Why the server does not read the model; None if it does."""
    try:
        query(session, "SELECT count(*) FROM trails.encoding('m')")
    except psycopg2.Error as error:
        assert error.pgcode == "XX001" and error.diag.message_hint, error
        assert len(str(error)) < 3_000
        return str(error.diag.message_detail)
    return None


@pytest.mark.parametrize(("sound", "forgeries", "name"), ALL, ids=IDS)
def test_a_forged_model_is_refused_by_whoever_reads_it(
    session: Any, sound: Parts, forgeries: dict[str, Any], name: str
) -> None:
    blob = forged(sound, name, forgeries)
    put(session, blob)
    began = time.monotonic()
    assert refusal(session) is not None
    for statement in (PREDICT, "SELECT trails.export_model('m', 'onnx')"):
        with pytest.raises(psycopg2.Error) as caught:
            query(session, statement)
        assert caught.value.pgcode in ("XX001", "22023") and len(str(caught.value)) < 3_000
        assert "Traceback" not in str(caught.value)
    with pytest.raises(psycopg2.Error) as caught, session.cursor() as cursor:
        cursor.execute("SELECT trails.import_model('other', %s)", (psycopg2.Binary(blob),))
    assert caught.value.pgcode == "22023"
    assert within(time.monotonic() - began, 0.0, 20.0)
    assert query(session, "SELECT count(*) FROM trails.models") == [(1,)]


@pytest.mark.parametrize("place", range(12))
def test_both_readers_refuse_the_same_of_many_damaged_models(session: Any, place: int) -> None:
    parts = models()[place]
    read = 0
    for seed in range(1000 + place, 4000, 12):
        blob = mutated(parts, seed)
        found = verdict(blob)
        put(session, blob)
        why = refusal(session)
        assert isinstance(found, str) == (why is not None), f"seed {seed}: Python {found}, Rust {why}"
        read += why is None
    assert 5 < read < 220
    assert query(session, "SELECT 1") == [(1,)]


def predicted(session: Any, columns: Columns) -> list[float]:
    """The scores of rows of a model of `tests.core.test_model`, in order."""
    word, x, n = (columns[name] for name in ("word", "x", "n"))
    assert word.nulls is not None
    spelt = {code: f"word {number}" for number in range(6) for code in texts([f"word {number}"]).data.tolist()}
    words = [None if null else spelt[code] for code, null in zip(word.data.tolist(), word.nulls.tolist(), strict=True)]
    cells = zip(range(columns.rows), words, x.data.tolist(), n.data.tolist(), strict=True)
    query(session, "DROP TABLE IF EXISTS predicted_rows")
    query(session, "CREATE TEMP TABLE predicted_rows (place int, word text, x float8, n int)")
    for row in cells:
        query(session, "INSERT INTO predicted_rows VALUES (%s, %s, %s, %s)", *row)
    found = query(session, "SELECT trails.predict_score('m', r) FROM predicted_rows r ORDER BY place")
    return [score for (score,) in found]


def scores(model: Model, columns: Columns) -> np.ndarray[Any, Any]:
    """What Python makes of the rows."""
    if model.target.task == "regression":
        return model.values(columns)
    shares = model.probabilities(columns)
    return shares[:, 1] if model.target.task == "binary" else shares.max(1)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("leading", [True, False])
@pytest.mark.parametrize("bins", [0, 8])
def test_every_operation_predicts_in_the_server_what_it_does_in_python(
    session: Any, task: Task, leading: bool, bins: int
) -> None:
    model, columns = rich(task, leading, bins), rows(60, 2)
    query(session, "DELETE FROM trails.models")
    store(session, "m", model)
    np.testing.assert_allclose(predicted(session, columns), scores(model, columns), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("bins", [0, 8])
def test_a_model_of_an_earlier_release_predicts_the_same_in_both_versions(session: Any, task: Task, bins: int) -> None:
    blob, columns = (STORED / f"{task}-{bins}.safetensors").read_bytes(), rows(60, 2)
    model = Model.from_bytes(blob)
    query(session, "DELETE FROM trails.models")
    store(session, "m", model, weights=blob)
    put(session, blob)
    old = predicted(session, columns)
    put(session, model.to_bytes())
    assert predicted(session, columns) == old
    np.testing.assert_allclose(old, scores(model, columns), rtol=1e-4, atol=1e-5)
