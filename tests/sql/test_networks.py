"""A model of several networks in the server: what it predicts, what it is made of, and who may see that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.sql.predicted import make_model, store
from tests.sql.tables import query
from trails.model import combined
from trails.model.combined import combine
from trails.model.store import Model
from trails.table.columns import Column, Columns

ROWS = 200


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    """A superuser's, with rows to predict."""
    connection = connect()
    query(
        connection,
        "CREATE TABLE things AS SELECT i AS id, i % 7 AS n, i * 0.37 - 20 AS x FROM generate_series(1, 200) i",
    )
    query(connection, "ALTER TABLE things ALTER x TYPE float8, ADD PRIMARY KEY (id)")
    return connection


def columns() -> Columns:
    i = np.arange(1, ROWS + 1)
    return Columns(ROWS, (Column("n", "int32", (i % 7).astype(np.int32)), Column("x", "float64", i * 0.37 - 20)))


def several() -> tuple[Model, list[Model]]:
    """Networks of several widths as one model that says so, and each of them."""
    models = [make_model(columns(), widths=(width, 8), seed=width) for width in (40, 12, 24)]
    networks = [
        {"architecture": f"{width}-8", "weight": weight, "validation_metric": 0.9 - weight / 100, "epochs": 3,
         "best_epoch": 2, "parameters": 10 * width}
        for width, weight in ((40, 2), (12, 1), (24, 1))
    ]  # fmt: skip
    whole = combine(models, (2, 1, 1), training={"rows": ROWS, "epochs": 3, "networks": networks})
    return whole, models


@pytest.mark.parametrize("most", [0, 1 << 20], ids=["side by side", "paths"])
def test_it_predicts_the_weighted_mean(session: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combined, "MOST_PRODUCTS", most)
    model, alone = several()
    store(session, "several", model)
    found = query(session, "SELECT key::int, score FROM trails.predict('several', 'things') ORDER BY 1")
    logits = np.average([one.outputs(columns())[:, 0] for one in alone], axis=0, weights=(2, 1, 1))
    assert [key for key, _ in found] == list(range(1, ROWS + 1))
    np.testing.assert_allclose([score for _, score in found], 1 / (1 + np.exp(-logits)), rtol=1e-4, atol=1e-6)


def test_one_sees_what_it_is_made_of(session: Any) -> None:
    model, (alone, *_) = several()
    store(session, "several", model)
    store(session, "alone", replace(alone, training={"epochs": 5, "best_epoch": 4, "ü": "€"}))
    found = query(session, "SELECT architecture, weight, epochs, parameters FROM trails.networks('several')")
    assert found == [("40-8", 0.5, 3, 400), ("12-8", 0.25, 3, 120), ("24-8", 0.25, 3, 240)]
    assert query(session, "SELECT * FROM trails.networks('alone')") == [("40-8", 1.0, None, 5, 4, None)]
    assert query(session, "SELECT trails.training_facts('alone') ->> 'ü'") == [("€",)]


def test_a_network_of_members_is_not_the_single_one_of_its_run(session: Any) -> None:
    model = several()[1][0]
    told = {"epochs": 9, "best_epoch": 7, "members": 8, "metric": "auc"}
    store(session, "alone", replace(model, training={**told, "members": None}))
    store(session, "members", replace(model, training=told))
    query(
        session,
        "INSERT INTO trails.runs (function, source, target, task, metric, features, budget, space, refinement, seed, "
        "train_rows, unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) "
        "VALUES ('refinement_phase', 'public.things', 'n', 'binary', 'auc', '{x}', '1 min', 'mlp4x20', 'sh', 1, 200, "
        "0, 'complete', now(), now(), 1, 1, 1)",
    )
    query(
        session,
        "INSERT INTO trails.candidates (run_id, architecture, rank, validation_metric, epochs, parameters, seconds) "
        "SELECT run_id, '40-8', 1, 0.7, 5, 400, 1 FROM trails.runs",
    )
    ours = """UPDATE trails.models SET run_id = (SELECT run_id FROM trails.runs), metrics = '{"auc": 0.8}'"""
    query(session, ours)
    found = {name: query(session, "SELECT * FROM trails.networks(%s)", name) for name in ("alone", "members")}
    assert found == {"alone": [("40-8", 1.0, 0.7, 9, 7, 400)], "members": [("40-8", 1.0, 0.8, 9, 7, None)]}


def test_it_is_for_those_who_may_use_the_model(session: Any, connect: Callable[..., Any]) -> None:
    store(session, "several", several()[0])
    alice = connect(role="alice")
    query(session, "GRANT trails_user TO alice")
    for statement in ("SELECT * FROM trails.networks('several')", "SELECT trails.training_facts('several')"):
        with pytest.raises(psycopg2.errors.UndefinedObject):
            query(alice, statement)
    query(session, "SELECT trails.grant_model('several', 'alice')")
    assert len(query(alice, "SELECT * FROM trails.networks('postgres/several')")) == 3


def test_a_corrupted_model_and_one_that_is_not_there_are_named(session: Any) -> None:
    store(session, "several", several()[0])
    query(session, "UPDATE trails.models SET weights = set_byte(weights, 2000, 255 - get_byte(weights, 2000))")
    with pytest.raises(psycopg2.errors.DataCorrupted):
        query(session, "SELECT * FROM trails.networks('several')")
    for name in ("'nobody'", "NULL"):
        with pytest.raises(psycopg2.errors.UndefinedObject):
            query(session, f"SELECT trails.training_facts({name})")
