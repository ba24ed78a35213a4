"""Numbers, dates and times stored as text, from a table to predictions; what is an id and what only looks like one."""

# ruff: noqa: E501
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.core.spelt import CRAFTED, made_up, polls
from tests.sql.predicted import expected, make_model, store
from tests.sql.tables import query
from trails.model.store import Model
from trails.table.columns import Columns
from trails.table.readings import READINGS, poll
from trails.table.texts import text_column

MESSY = """
CREATE TABLE {name} AS SELECT i AS id, to_char(mod(i * 37, 1000) * 1234.5, 'FM999,999,990.00') AS revenue,
    to_char(DATE '2020-01-01' + mod(i, 700), 'DD/MM/YYYY') AS day,
    CASE mod(i, 10) WHEN 0 THEN '?' WHEN 1 THEN ' ' ELSE (mod(i, 24))::text END AS hour,
    mod(i, 24) || ':' || lpad(mod(i, 60)::text, 2, '0') AS opens, 1 + mod(i, 4) || ':' || mod(i, 3) AS score,
    lpad(mod(i, 300)::text, 5, '0') AS zip, mod(i * 37, 1000) > 500 AS bought
FROM generate_series(1, {rows}) i
"""
KINDS = {
    "id": ("int32", None), "revenue": ("float64", "number"), "day": ("date", "date dmy"), "hour": ("float64", "number"),
    "opens": ("time", "time"), "score": ("text", None), "zip": ("text", None), "bought": ("boolean", None),
}  # fmt: skip


@pytest.fixture
def sql(connect: Callable[..., Any]) -> Any:
    return connect()


def described(sql: Any, table: str) -> dict[str, tuple[str, str | None]]:
    rows = query(sql, "SELECT column_name, kind, reading FROM trails.describe_columns(%s)", table)
    return {name: (kind, reading) for name, kind, reading in rows}


def trained(sql: Any, arguments: str = "", table: str = "messy") -> float:
    ((metric,),) = query(
        sql,
        f"""SELECT max(validation_metric) FROM trails.refinement_phase('{table}', 'bought', ARRAY['16-16'],
              budget => '60 s', space => 'mlp2x20' {arguments})""",
    )
    return float(metric)


def test_a_messy_table_is_learnt_as_what_it_says(sql: Any) -> None:
    query(sql, MESSY.format(name="messy", rows=2_000))
    query(sql, MESSY.format(name="later", rows=400))
    query(sql, "ALTER TABLE later ALTER revenue TYPE numeric USING replace(revenue, ',', '')::numeric")
    query(sql, "SET DateStyle = 'ISO, MDY'")
    assert described(sql, "messy") == KINDS
    ((nulls,),) = query(sql, "SELECT nulls FROM trails.describe_columns('messy', ARRAY['hour'::name])")
    assert nulls == 400, "what is missing is NULL"
    sql.notices.clear()
    options = """options => '{"max_epochs": 8}'"""
    assert trained(sql, f""", validation => 'later', {options}, name => 'm'""") > 0.98, "the label is a threshold"
    told = "".join(sql.notices)
    assert 'feature "day" is text and read as date dmy' in told and '{"texts": ["day"]}' in told
    assert 'feature "score" is learnt as text: it looks like id:value' in told
    read = query(sql, "SELECT DISTINCT column_name, kind, reading FROM trails.encoding('m') WHERE reading IS NOT NULL")
    assert {name: reading for name, _, reading in read} == {
        "revenue": "number", "day": "date dmy", "hour": "number", "opens": "time",
    }  # fmt: skip
    parts = query(sql, "SELECT part FROM trails.encoding('m') WHERE column_name = 'day'")
    assert [part for (part,) in parts] == ["value", "month", "weekday"]
    # A real number may stand where a text was read as one; and a row alone predicts as it does in its table.
    for table in ("messy", "later"):
        whole = query(sql, f"SELECT prediction, score FROM trails.predict('m', '{table}') LIMIT 50")
        single = query(sql, f"SELECT trails.predict('m', t), trails.predict_score('m', t) FROM {table} t LIMIT 50")
        assert whole == single
    ((auc,),) = query(sql, "SELECT value FROM trails.evaluate('m', 'messy') WHERE metric = 'auc'")
    assert auc > 0.98
    assert query(sql, "SELECT feature FROM trails.drift('m', 'messy') WHERE is_anomaly") == []
    importance = query(sql, "SELECT feature FROM trails.feature_importance('m', 'messy', repeats => 1) LIMIT 1")
    assert importance == [("revenue",)]


def test_texts_stay_texts_where_that_is_said(sql: Any) -> None:
    query(sql, MESSY.format(name="messy", rows=1_500))
    trained(sql, """, options => '{"max_epochs": 1, "texts": ["day", "opens"], "id_values": ["score"]}', name => 'm'""")
    kinds = dict(query(sql, "SELECT column_name, kind FROM trails.encoding('m') WHERE part = 'value'"))
    assert kinds["day"] == kinds["opens"] == "text" and kinds["score"] == "idvalue" and kinds["revenue"] == "number"
    for options, code in (
        ('{"texts": ["id"]}', "22023"), ('{"texts": ["nothing"]}', "22023"), ('{"numbers": ["revenue"]}', "22023"),
        ('{"texts": ["day"], "categories": ["day"]}', "22023"), ('{"id_values": ["opens", "zip"]}', "22P02"),
        ('{"texts": "day"}', "22023"),
    ):  # fmt: skip
        with pytest.raises(psycopg2.Error) as caught:
            trained(sql, f", options => '{options}'")
        assert caught.value.pgcode == code, options


def test_groups_and_weights_are_what_they_are(sql: Any) -> None:
    query(sql, MESSY.format(name="messy", rows=1_500))
    query(sql, "ALTER TABLE messy ADD shop text")
    query(sql, "UPDATE messy SET shop = mod(id, 60)::text")
    sql.notices.clear()
    short = """options => '{"max_epochs": 1}'"""
    trained(sql, f", features => ARRAY['revenue', 'shop']::name[], group_by => 'shop', {short}, name => 'm'")
    kinds = dict(query(sql, "SELECT column_name, kind FROM trails.encoding('m') WHERE part = 'value'"))
    assert kinds == {"revenue": "number", "shop": "text"}
    told = "".join(sql.notices)
    assert '"revenue" is text and read as number' in told and '"shop" is text' not in told
    with pytest.raises(psycopg2.Error, match='weight "shop" is of kind text'):
        trained(sql, f", weight => 'shop', {short}")
    sql.notices.clear()
    query(sql, "SELECT * FROM trails.filtering_phase('messy', 'bought', space => 'mlp2x20', n => 2, k => 1)")
    told = "".join(sql.notices)
    assert '"revenue" is text and read as number' in told and "the option" not in told, "it takes no options"


def test_validation_rows_of_another_form_are_told(sql: Any) -> None:
    query(sql, MESSY.format(name="messy", rows=1_500))
    query(sql, "CREATE TABLE later AS SELECT * FROM messy LIMIT 500")
    query(sql, "UPDATE later SET day = to_char(to_date(day, 'DD/MM/YYYY'), 'YYYY-MM-DD')")
    sql.notices.clear()
    trained(sql, """, validation => 'later', options => '{"max_epochs": 1}'""")
    warned = [notice for notice in sql.notices if notice.startswith("WARNING")]
    assert len([notice for notice in warned if "is read as" in notice]) == 1, warned
    assert 'column "day" of public.later is read as date dmy' in warned[0] and "only 0 of its 500 texts" in warned[0]


def test_a_model_that_knows_texts_is_trained_again_with_them(sql: Any) -> None:
    query(sql, "CREATE TABLE t AS SELECT i AS id, CASE mod(i, 10) WHEN 0 THEN 'call us' ELSE mod(i, 50)::text END AS price, mod(i, 50) > 20 AS bought FROM generate_series(1, 2000) i")  # fmt: skip
    trained(sql, """, name => 'm', options => '{"max_epochs": 2}'""", "t")
    query(sql, "SELECT * FROM trails.deploy('m')")
    query(sql, "UPDATE t SET price = mod(id, 50)")
    assert described(sql, "t")["price"] == ("float64", "number")
    ((before, decision),) = query(
        sql, "SELECT deployed_value, decision FROM trails.retrain('m', budget => '60 s') WHERE new_model = 'm@2'"
    )
    assert before is not None and "cannot be compared" not in decision
    assert query(sql, "SELECT DISTINCT kind FROM trails.encoding('m@2')") == [("text",)]
    assert query(sql, "SELECT DISTINCT options FROM trails.runs") == [({"max_epochs": 2},)], "nobody asked for it"


def test_only_tables_of_the_published_form_have_ids_unasked(sql: Any) -> None:
    query(sql, "CREATE TABLE published AS SELECT mod(i, 2) AS label, mod(i, 9) || ':1' AS a, mod(i, 7) || ':0.5' AS b, NULL::text AS c FROM generate_series(1, 99) i")  # fmt: skip
    kinds = {"label": ("int32", None), "a": ("idvalue", None), "b": ("idvalue", None), "c": ("text", None)}
    assert described(sql, "published") == kinds
    query(sql, "ALTER TABLE published ADD id serial PRIMARY KEY")
    assert described(sql, "published") == kinds | {"id": ("int32", None)}, "a key says nothing"
    named = query(sql, "SELECT kind FROM trails.describe_columns('published', ARRAY['id', 'label', 'a']::name[])")
    assert named == [("int32",), ("int32",), ("idvalue",)], "not where it is named, either"
    # A view or a copy has the key and not its constraint.
    query(sql, "CREATE VIEW seen AS SELECT * FROM published")
    query(sql, "CREATE TABLE copied AS SELECT * FROM published")
    query(sql, "CREATE TABLE drawn AS SELECT * FROM published ORDER BY md5(id::text) LIMIT 60")
    query(sql, "CREATE VIEW one_class AS SELECT id, 1 AS weight, label, a, b FROM published ORDER BY id DESC")
    for table in ("seen", "copied", "drawn", "one_class"):
        found = described(sql, table)
        assert found["a"] == found["b"] == ("idvalue", None), table
    query(sql, "CREATE TABLE visits AS SELECT *, mod(id, 50) AS visits FROM published")
    assert described(sql, "visits")["a"] == ("text", None), "a column that is learnt from says something"
    query(sql, "CREATE TABLE ages AS SELECT *, '3:' || 10 + mod(id, 40) AS age FROM published")
    assert described(sql, "ages")["age"] == ("idvalue", None), "a time among ids is an id"
    query(sql, "ALTER TABLE published ADD amount float8 DEFAULT 1")
    found = described(sql, "published")
    assert found["a"] == found["b"] == ("text", None)
    query(sql, "CREATE TABLE hours AS SELECT mod(i, 12) || ':30' AS opens, 12 + mod(i, 12) || ':30' AS closes, mod(i, 2) AS label FROM generate_series(1, 99) i")  # fmt: skip
    assert described(sql, "hours") == {"opens": ("text", None), "closes": ("text", None), "label": ("int32", None)}


def test_the_server_reads_columns_as_the_package_does(sql: Any) -> None:
    for number, texts in enumerate(polls()):
        cells = [*texts, *texts[:3], None]
        column = text_column("c", cells, reading="found")
        query(sql, f"CREATE TABLE t{number} (c text, other float8, third float8)")
        with sql.cursor() as cursor:
            cursor.executemany(f"INSERT INTO t{number} VALUES (%s, 1, 2)", [(cell,) for cell in cells])
        ((kind, nulls, reading),) = query(
            sql, f"SELECT kind, nulls, reading FROM trails.describe_columns('t{number}') WHERE column_name = 'c'"
        )
        absent = 0 if column.nulls is None else int(column.nulls.sum())
        assert (kind, nulls, reading) == (column.kind, absent, column.reading), texts[:3]


def test_more_texts_than_are_kept_are_read_all_the_same(sql: Any) -> None:
    query(sql, "CREATE TABLE many AS SELECT CASE WHEN i > 80000 THEN 'none' ELSE (i / 4.0)::text || ' €' END AS price, i AS other FROM generate_series(1, 81000) i")  # fmt: skip
    rows = query(
        sql, "SELECT kind, nulls, minimum, maximum, reading FROM trails.describe_columns('many', ARRAY['price'::name])"
    )
    assert rows == [("float64", 1_000, "0.25", "20000.0", "number")]
    query(sql, "UPDATE many SET price = 'x' || other WHERE other BETWEEN 70000 AND 80000")
    rows = query(sql, "SELECT kind, reading FROM trails.describe_columns('many', ARRAY['price'::name])")
    assert rows == [("text", None)], "of all rows too few are numbers"


def test_any_text_predicts_as_numpy_does(sql: Any) -> None:
    """Cell by cell and reading by reading: what the server makes of a text is what the package makes of it."""
    texts = [*CRAFTED, *made_up(2_000, 7)]
    texts = [text for text in texts if "\0" not in text]
    model, names = reading_model()
    query(sql, f"CREATE TABLE texts (id serial PRIMARY KEY, {', '.join(f'{name} text' for name in names)})")
    with sql.cursor() as cursor:
        places = ", ".join(["%s"] * len(names))
        cursor.executemany(
            f"INSERT INTO texts ({', '.join(names)}) VALUES ({places})", [[text] * len(names) for text in texts]
        )
    store(sql, "m", model, source="public.texts")
    rows = query(sql, "SELECT score FROM trails.predict('m', 'texts') ORDER BY key::int")
    columns = Columns(len(texts), tuple(text_column(name, texts) for name in names))
    wanted = [number for _, number, _ in expected(model, columns)]
    for text, (score,), number in zip(texts, rows, wanted, strict=True):
        assert math.isclose(score, number, abs_tol=1e-4), text
    assert len(set(np.round(wanted, 4))) > 300
    single = query(sql, "SELECT trails.predict_score('m', t) FROM texts t ORDER BY id")
    assert [score for (score,) in single] == [score for (score,) in rows]


def reading_model() -> tuple[Model, list[str]]:
    """A model of a column for each reading, of texts that are read so."""
    found = {}
    for texts in polls():
        reading = poll(texts)
        if reading in READINGS:
            found.setdefault(reading, texts)
    form = found["date dmy"], found["date ymd"], found["date mdy"]
    found |= {f"timestamp {day}": [f"{text} {n % 24}:00" for n, text in enumerate(of)] for day, of in zip(("dmy", "ymd", "mdy"), form, strict=True)}  # fmt: skip
    assert set(found) == set(READINGS)
    columns = [
        text_column(f"c{place}", (texts * 9)[:180], reading=reading)
        for place, (reading, texts) in enumerate(found.items())
    ]
    model = make_model(Columns(180, tuple(replace(column, texts=None) for column in columns)), "regression")
    return model, [column.name for column in columns]
