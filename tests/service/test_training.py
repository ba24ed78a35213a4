"""The refinement process trains on rows that it reads from a data service."""

from __future__ import annotations

import pytest

from tests.refinement.backend import CANDIDATES, Backend, Event, Table
from tests.refinement.conftest import make_table
from tests.service.conftest import TOKEN, Database, Serve


def events_of(source: dict[str, object], token: str = TOKEN) -> list[Event]:
    with Backend(
        Table({"unused": make_table(2, 0).columns["f0"]}), None, environment={"TRAILS_SERVICE_TOKEN": token}
    ) as process:
        process.send(CANDIDATES, 30.0, train=source, k=1, u=1)
        return process.rest()


@pytest.fixture
def source(database: Database, serve: Serve) -> dict[str, object]:
    table = make_table(3000, 1)
    names = list(table.columns)
    rows = ",".join(str(tuple(int(table.columns[n][i]) for n in names)) for i in range(table.rows))
    database.sql(f"CREATE TABLE train ({', '.join(f'{n} int' for n in names)})", f"INSERT INTO train VALUES {rows}")
    return {"service": serve().uri, "table": "train", "columns": None}


def test_a_model_is_trained_on_a_stream(source: dict[str, object]) -> None:
    events = events_of(source)
    assert events[-1]["event"] == "result", events[-1]
    assert events[-1]["leaderboard"][0]["validation_metric"] > 0.65, "what can be learnt in an epoch"


def test_a_service_that_refuses_is_one_error(source: dict[str, object]) -> None:
    for change, token in (
        ({"table": "nowhere"}, TOKEN),
        ({}, "another-token"),
        ({"service": "grpc://127.0.0.1:1"}, TOKEN),
    ):
        last = events_of({**source, **change}, token)[-1]
        assert last["event"] == "error" and last["message"], last
