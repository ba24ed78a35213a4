"""Two readers of one format: what Python refuses the server refuses, and the other way round."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.core.forged import FORGED, Parts, forged, mutated, verdict
from tests.core.test_model import made
from tests.sql.predicted import store
from tests.sql.tables import query
from tests.timing import within
from trails.table.target import TASKS

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


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_model_is_refused_by_whoever_reads_it(session: Any, name: str) -> None:
    blob = forged(Parts(made("binary").to_bytes()), name)
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


@pytest.mark.parametrize("task", TASKS)
def test_both_readers_refuse_the_same_of_many_damaged_models(session: Any, task: str) -> None:
    parts = Parts(made(task).to_bytes())  # type: ignore[arg-type]
    read = 0
    for seed in range(1000, 1500):
        blob = mutated(parts, seed)
        found = verdict(blob)
        put(session, blob)
        why = refusal(session)
        assert isinstance(found, str) == (why is not None), f"seed {seed}: Python {found}, Rust {why}"
        read += why is None
    assert 20 < read < 450
    assert query(session, "SELECT 1") == [(1,)]
