"""How far rows are from those of training: the distances that a slow count gives, on whatever rows, as the caller."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.sql.predicted import columns_of, make_model, make_things, store, things
from tests.sql.tables import query
from trails.model.store import Model
from trails.table.columns import Column, Columns
from trails.table.fitting import Fitting
from trails.table.texts import text_column

ROWS = 4000
FEWEST = 40


def counted(model: Model, columns: Columns) -> Model:
    """The model with its training rows counted."""
    ids = model.encoder.transform(columns).ids
    return replace(model, seen=np.bincount(ids.ravel(), minlength=model.encoder.ids).astype(np.uint32))


def trained(seed: int = 0) -> Columns:
    random = np.random.default_rng(seed)
    nulls = (random.random(ROWS) < 0.1).astype(np.uint8)
    return Columns(
        ROWS,
        (
            Column("size", "float64", random.normal(size=ROWS), None, nulls),
            text_column("colour", random.choice(["red", "green", "blue"], ROWS, p=[0.5, 0.3, 0.2]).tolist()),
            Column("code", "int32", random.integers(0, 2000, ROWS).astype(np.int32)),
        ),
    )


def fill(connection: Any, name: str, columns: Columns, changed: dict[str, list[Any]] | None = None) -> None:
    size, colour, code = columns
    assert colour.texts is not None
    spelt = colour.texts.spellings()
    sizes = np.where(np.zeros(ROWS) if size.nulls is None else size.nulls, None, size.data.astype(object)).tolist()
    cells = {"size": sizes, "colour": [spelt[key] for key in colour.data.tolist()], "code": code.data.tolist()}
    cells |= changed or {}
    query(connection, f"CREATE TABLE {name} (size float8, colour text, code int)")
    rows = list(zip(*cells.values(), strict=True))
    query(
        connection,
        f"INSERT INTO {name} SELECT * FROM unnest(%s::float8[], %s::text[], %s::int[])",
        *([row[place] for row in rows] for place in range(3)),
    )


@pytest.fixture
def sql(connect: Callable[..., Any]) -> Any:
    connection = connect()
    columns = trained()
    fitting = Fitting(categories=("code",), min_count=1)
    store(connection, "m", counted(make_model(columns, fitting=fitting), columns), source=None)
    return connection


def drifted(connection: Any, table: str, **named: Any) -> dict[str, tuple[Any, ...]]:
    more = "".join(f", {name} => {value}" for name, value in named.items())
    return {row[0]: row[1:] for row in query(connection, f"SELECT * FROM trails.drift('m', '{table}'{more})")}


def test_rows_of_training_have_not_drifted_and_others_alike_hardly(sql: Any) -> None:
    fill(sql, "same", trained())
    found = drifted(sql, "same")
    assert {name: row[0] for name, row in found.items()} == {
        "size": "psi",
        "colour": "jensen_shannon",
        "code": "jensen_shannon",
    }
    for metric, value, anomaly, then, now, unknown in found.values():
        assert abs(value) < 1e-12 and not anomaly and then == now and unknown == (None if metric == "psi" else 0.0)
    assert found["size"][3] == pytest.approx(0.1, abs=0.02)
    fill(sql, "alike", trained(1))
    for _, value, anomaly, *_ in drifted(sql, "alike").values():
        assert value < 0.03 and not anomaly, "2,000 codes of two rows each are chance"
    query(sql, "CREATE VIEW few AS SELECT * FROM alike LIMIT 300")
    assert all(row[1] < 0.1 for row in drifted(sql, "few").values())


def test_what_has_moved_is_found_and_comes_first(sql: Any) -> None:
    columns = trained(2)
    random = np.random.default_rng(5)
    moved = (random.normal(size=ROWS) + 1.5).tolist()
    fill(sql, "moved", columns, {"size": moved, "colour": random.choice(["red", "pink"], ROWS).tolist()})
    found = drifted(sql, "moved")
    assert found["size"][2] and found["size"][4] == 0.0
    assert found["colour"][2] and found["colour"][5] == pytest.approx(0.5, abs=0.05), "pink is not known"
    assert not found["code"][2]
    values = [row[1] for row in found.values()]
    assert values == sorted(values, reverse=True)
    above = drifted(sql, "moved", threshold=math.nextafter(found["size"][1], 0.0))
    assert above["size"][2] and not drifted(sql, "moved", threshold=repr(found["size"][1]))["size"][2]
    # Half of a column that was never NULL.
    fill(sql, "holes", columns, {"colour": [None if n % 2 else "red" for n in range(ROWS)]})
    (_, value, anomaly, then, now, unknown) = drifted(sql, "holes")["colour"]
    assert value > 0.1 and anomaly and (then, now, unknown) == (0.0, 0.5, 0.0)


def test_the_distances_are_those_of_a_slow_count(sql: Any) -> None:
    first, second = trained(), trained(3)
    colours = ["red", "blue", "green", "pink", None]
    fill(sql, "others", second, {"colour": [colours[n % 5] for n in range(ROWS)]})
    then = {"red": 0.0, "green": 0.0, "blue": 0.0}
    assert first["colour"].texts is not None
    spelt = first["colour"].texts.spellings()
    for key in first["colour"].data.tolist():
        then[spelt[key]] += 1 / ROWS
    wanted = 0.0
    for colour in colours:
        p, q = then.get(colour or "", 0.0), 0.2
        mean = (p + q) / 2
        wanted += sum(x / 2 * math.log2(x / mean) for x in (p, q) if x > 0)
    assert drifted(sql, "others")["colour"][1] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("fitting", [Fitting(), Fitting(bins=0), Fitting(bins=5, numbers_as="bins", max_categories=3)])
def test_columns_of_every_kind(connect: Callable[..., Any], fitting: Fitting) -> None:
    connection = connect()
    make_things(connection, things(700, seed=2))
    columns = columns_of(things(700, seed=2))
    store(connection, "m", counted(make_model(columns, fitting=fitting), columns))
    found = query(connection, "SELECT feature, metric, value, is_anomaly FROM trails.drift('m', 'things')")
    assert {row[0] for row in found} == {column.name for column in columns}
    for _, metric, value, anomaly in found:
        assert value < (0.3 if metric == "mean_shift" else 1e-9), "values farther than 10 deviations are cut"
        assert not anomaly or metric == "mean_shift"


def test_what_cannot_be_compared_is_refused(sql: Any, connect: Callable[..., Any]) -> None:
    def refused(statement: str, connection: Any = sql) -> Any:
        with pytest.raises(psycopg2.Error) as caught:
            query(connection, statement)
        return caught.value.diag

    fill(sql, "others", trained(1))
    query(
        sql, "CREATE VIEW nothing AS SELECT * FROM others WHERE false; CREATE VIEW lacking AS SELECT size FROM others"
    )
    assert refused("SELECT * FROM trails.drift('m', 'nothing')").sqlstate == "22000"
    assert refused("SELECT * FROM trails.drift('m', 'lacking')").sqlstate == "42703"
    for threshold in ("0", "-1", "'nan'", "'infinity'"):
        assert refused(f"SELECT * FROM trails.drift('m', 'others', {threshold})").sqlstate == "22023"
    store(sql, "old", make_model(trained(), fitting=Fitting(categories=("code",), min_count=1)), source=None)
    told = refused("SELECT * FROM trails.drift('old', 'others')")
    assert told.sqlstate == "55000" and told.message_hint
    alice = connect(role="alice")
    query(sql, "GRANT trails_user TO alice")
    assert refused("SELECT * FROM trails.drift('m', 'others')", alice).sqlstate == "42704", "nobody granted the model"
    query(sql, "SELECT trails.grant_model('m', 'alice')")
    assert refused("SELECT * FROM trails.drift('postgres/m', 'others')", alice).sqlstate == "42501", "nor the rows"
    query(sql, "GRANT SELECT ON others TO alice")
    assert len(query(alice, "SELECT * FROM trails.drift('postgres/m', 'others')")) == 3
    query(alice, "SET default_transaction_read_only = on")
    assert len(query(alice, "SELECT * FROM trails.drift('postgres/m', 'others')")) == 3


def test_counts_that_do_not_fit_are_refused() -> None:
    columns = trained()
    model = make_model(columns)
    blob = replace(model, seen=np.zeros(model.encoder.ids + 1, np.uint32)).to_bytes()
    with pytest.raises(Exception, match="cannot be read"):
        Model.from_bytes(blob)
