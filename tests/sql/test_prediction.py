"""Predictions in the server: what torch computes, for the right model, as the caller, without an interpreter."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.sql.predicted import KINDS, columns_of, expected, make_model, make_things, store, things
from tests.sql.tables import query
from tests.timing import within
from tools.server import Server
from trails.model.store import Model
from trails.table.columns import Column, Columns
from trails.table.fitting import Fitting
from trails.table.target import Task

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
TRAINED = things(400)
OTHERS = things(700, seed=2, first=1001)


@pytest.fixture
def sql(connect: Callable[..., Any]) -> Any:
    """A superuser's session with the table `things`, whose rows no model has been fitted on."""
    connection = connect()
    make_things(connection, OTHERS)
    return connection


def refused(connection: Any, statement: str, *parameters: Any) -> Any:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement, *parameters)
    return caught.value.diag


def check(found: list[tuple[Any, ...]], model: Model, columns: Columns) -> None:
    """Rows of prediction, score, probabilities against torch."""
    wanted = expected(model, columns)
    assert len(found) == len(wanted)
    for (text, score, shares), (label, number, probabilities) in zip(found, wanted, strict=True):
        assert score == pytest.approx(number, abs=1e-5, rel=1e-5)
        if label is None:
            assert float(text) == score and shares is None
            continue
        assert shares == pytest.approx(probabilities, abs=1e-5)
        # Two classes as likely as each other may come out either way.
        first, second = sorted(probabilities, reverse=True)[:2]
        assert text == label or first - second < 1e-5


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "fitting", [Fitting(), Fitting(bins=0), Fitting(bins=5, numbers_as="bins", max_categories=3, buckets=2)]
)
def test_every_kind_of_column_predicts_as_torch_does(sql: Any, task: Task, fitting: Fitting) -> None:
    model = make_model(columns_of(TRAINED), task, fitting=fitting)
    store(sql, "m", model)
    rows = query(
        sql, "SELECT key, prediction, score, probabilities FROM trails.predict('m', 'things') ORDER BY key::int"
    )
    assert [row[0] for row in rows] == [str(row[0]) for row in OTHERS]
    check([row[1:] for row in rows], model, columns_of(OTHERS))
    single = query(
        sql,
        "SELECT trails.predict('m', t), trails.predict_score('m', t), trails.predict_probabilities('m', t) "
        "FROM things t ORDER BY id",
    )
    assert single == [row[1:] for row in rows], "row by row or all at once"


@pytest.mark.parametrize("fitting", [Fitting(), Fitting(bins=0, buckets=0)])
@pytest.mark.parametrize("fitted", ["on NULLs", "on few rows", "on no row"])
def test_encoders_that_learnt_nothing_predict_as_torch_does(sql: Any, fitted: str, fitting: Fitting) -> None:
    columns = columns_of(things(5))
    if fitted == "on NULLs":
        columns = columns_of([(row, *[None] * (len(OTHERS[0]) - 1)) for row in (1, 2)])
    elif fitted == "on no row":
        columns = columns.take(np.empty(0, np.int64))
    for task in TASKS:
        model = make_model(columns, task, fitting=fitting)
        store(sql, task, model)
        found = query(sql, "SELECT prediction, score, probabilities FROM trails.predict(%s, 'things')", task)
        check(found, model, columns_of(OTHERS))
        ((blob,),) = query(sql, "SELECT trails.export_model(%s)", task)
        assert Model.from_bytes(bytes(blob)).to_bytes() == model.to_bytes()


@pytest.mark.parametrize("widths", [(), (1,), (300, 7), (64, 64, 64, 64)])
def test_networks_of_every_shape(sql: Any, widths: tuple[int, ...]) -> None:
    for task in TASKS:
        model = make_model(columns_of(TRAINED), task, widths)
        store(sql, task, model)
        rows = query(sql, "SELECT prediction, score, probabilities FROM trails.predict(%s, 'things')", task)
        check(rows, model, columns_of(OTHERS))


def test_a_table_of_many_batches(sql: Any) -> None:
    columns = Columns(20_001, (Column("n", "int32", (np.arange(20_001) * 7919 % 1009).astype(np.int32)),))
    query(sql, "CREATE TABLE many AS SELECT i * 7919 % 1009 AS n FROM generate_series(0, 20000) i")
    model = make_model(columns)
    store(sql, "m", model)
    query(sql, "SET work_mem = '64kB'")
    rows = query(sql, "SELECT key, prediction, score, probabilities FROM trails.predict('m', 'many')")
    assert [row[0] for row in rows] == [str(number) for number in range(1, 20_002)], "no key: numbered"
    check([row[1:] for row in rows], model, columns)
    assert query(sql, "SELECT count(*) FROM trails.predict('m', 'many') LIMIT 1") == [(20_001,)]


def test_keys_are_the_primary_key_as_text(sql: Any) -> None:
    columns = Columns(2, (Column("n", "int32", np.array([1, 2], np.int32)),))
    store(sql, "m", make_model(columns))
    query(sql, 'CREATE TABLE pairs (n int, "B" text, a date, PRIMARY KEY ("B", a))')
    query(sql, "INSERT INTO pairs VALUES (1, 'x, \"y\"', '2024-02-29'), (2, repeat('z', 3000), '-infinity')")
    keys = query(sql, "SELECT key FROM trails.predict('m', 'pairs')")
    wanted = query(sql, 'SELECT ROW("B", a)::text FROM pairs')
    assert sorted(keys) == sorted(wanted) or sorted(keys) == sorted(query(sql, 'SELECT ROW(a, "B")::text FROM pairs'))
    query(sql, "CREATE VIEW seen AS SELECT n FROM pairs")
    query(sql, "CREATE MATERIALIZED VIEW kept AS SELECT n FROM pairs")
    query(sql, "CREATE TABLE parted (n int, id text PRIMARY KEY) PARTITION BY HASH (id)")
    query(sql, "CREATE TABLE part PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    query(sql, "INSERT INTO parted VALUES (1, 'ä')")
    assert query(sql, "SELECT key FROM trails.predict('m', 'seen')") == [("1",), ("2",)]
    assert query(sql, "SELECT key FROM trails.predict('m', 'kept')") == [("1",), ("2",)]
    assert query(sql, "SELECT key FROM trails.predict('m', 'parted')") == [("ä",)]
    query(sql, "TRUNCATE pairs")
    assert query(sql, "SELECT key FROM trails.predict('m', 'pairs')") == []


def test_literals_regclasses_names_and_rows_all_find_their_function(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)), state="deployed")
    count = [(len(OTHERS),)]
    for arguments in (
        "'m', 'things'",
        "'m', 'things'::regclass",
        "'m', 'public.things', 'y'",
        "model => 'm', source => 'things'",
        "NULL, 'things'",
        "NULL, 'things', 'y'",
        "source => 'things', target => 'y', model => NULL",
    ):
        assert query(sql, f"SELECT count(*) FROM trails.predict({arguments})") == count, arguments
    assert query(sql, "SELECT count(trails.predict('m', t)) FROM things t") == count
    assert query(sql, "SELECT count(trails.predict(model => 'm', \"row\" => t)) FROM things t") == count
    assert query(sql, "SELECT count(p) FROM things t, trails.predict_score('m', t) p") == count
    query(sql, "PREPARE one (text, regclass) AS SELECT count(*) FROM trails.predict($1, $2)")
    assert query(sql, "EXECUTE one ('m', 'things')") == count


def test_a_row_is_any_record_with_the_columns(sql: Any) -> None:
    columns = Columns(
        3, (Column("a", "int32", np.array([1, 2, 3], np.int32)), Column("B", "float64", np.array([0.5] * 3)))
    )
    model = make_model(columns, fitting=Fitting(bins=0))
    store(sql, "m", model)
    (_, score, _) = expected(
        model, Columns(1, (Column("a", "int32", np.array([2], np.int32)), Column("B", "float64", np.array([1.5]))))
    )[0]
    for row in (
        '(SELECT t FROM (SELECT 2 AS a, 1.5::float8 AS "B") t)',
        "(SELECT t FROM (SELECT 'ignored' AS x, 1.5::real AS \"B\", 2::bigint AS a) t)",
        '(SELECT t FROM (SELECT 1.5::numeric AS "B", 2::smallint AS a, ARRAY[1] AS other) t)',
    ):
        assert query(sql, f"SELECT trails.predict_score('m', {row})")[0][0] == pytest.approx(score, abs=1e-6), row
    assert query(sql, "SELECT trails.predict_score('m', NULL::things), trails.predict_probabilities('m', NULL)") == [
        (None, None)
    ]
    missing = refused(sql, "SELECT trails.predict('m', ROW(2, 1.5))")
    assert missing.sqlstate == "42703" and '"a"' in missing.message_primary and "f1" in missing.message_hint
    other = refused(sql, "SELECT trails.predict('m', t) FROM (SELECT 'x'::text AS a, 1.0 AS \"B\") t")
    assert other.sqlstate == "42804" and "integer" in other.message_primary
    assert refused(sql, "SELECT trails.predict(NULL, t) FROM things t").sqlstate == "22023"


def test_a_row_with_a_column_twice_is_refused_where_the_model_reads_it(sql: Any) -> None:
    columns = Columns(3, (Column("amount", "float64", np.array([1.0, 2.0, 3.0])),))
    model = make_model(columns)
    store(sql, "m", model)
    query(sql, "CREATE TABLE base (id int, amount float8); INSERT INTO base VALUES (1, 2.0)")
    for function in ("predict", "predict_score", "predict_probabilities"):
        error = refused(sql, f"SELECT trails.{function}('m', r) FROM (SELECT b.*, 0.5::float8 AS amount FROM base b) r")
        assert error.sqlstate == "42702" and '"amount"' in error.message_primary
        assert "another name" in error.message_hint
    # What the model does not read may be there as often as one likes.
    (_, score, _) = expected(model, Columns(1, (Column("amount", "float64", np.array([2.0])),)))[0]
    found = query(
        sql, "SELECT trails.predict_score('m', r) FROM (SELECT b.*, c.id FROM base b JOIN base c USING (id)) r"
    )
    assert found[0][0] == pytest.approx(score, abs=1e-6)


WIDER = {
    "amount": (
        Column("amount", "float64", np.linspace(-40, 40, 81)), "float8", ("smallint", "integer", "bigint", "boolean")
    ),
    "flag": (Column("flag", "int64", np.array([0, 1, 2], np.int64)), "bigint", ("boolean",)),
    "moment": (
        Column("moment", "timestamp", np.linspace(-(10**15), 10**15, 81).astype(np.int64)), "timestamp", ("date",)
    ),
}  # fmt: skip
"""A column of each family that takes others: as it was trained, the cast to it, and what it takes."""


@pytest.mark.parametrize("name", WIDER)
@pytest.mark.parametrize("fitting", [Fitting(bins=0), Fitting(bins=7), Fitting(bins=7, numbers_as="bins")])
def test_types_that_lose_nothing_are_taken(sql: Any, name: str, fitting: Fitting) -> None:
    column, cast, others = WIDER[name]
    store(sql, "m", make_model(Columns(len(column.data), (column,)), fitting=fitting))
    values = {"boolean": "i % 2 = 0", "date": "DATE '1990-01-01' + i * 300"}
    for other in others:
        value = f"CASE WHEN i % 5 > 0 THEN ({values.get(other, f'(i - 20)::{other}')}) END"
        wider = f"(x::int)::{cast}" if other == "boolean" else f"x::{cast}"
        query(
            sql, f"CREATE TABLE given AS SELECT x AS {name} FROM (SELECT {value} AS x FROM generate_series(1, 60) i) s"
        )
        query(sql, f"CREATE TABLE same AS SELECT {wider} AS {name} FROM (SELECT {name} AS x FROM given) s")
        ((kept, distinct),) = query(sql, f"SELECT count(*), count(DISTINCT {name}) FROM same")
        assert kept == 60 and distinct > 1
        select = "SELECT prediction, score, probabilities FROM trails.predict('m', '{}')"
        single = "SELECT trails.predict_score('m', t) FROM {} t"
        for statement in (select, single):
            assert query(sql, statement.format("given")) == query(sql, statement.format("same")), other
        query(sql, "DROP TABLE given, same")


def test_a_date_beyond_the_last_timestamp_is_an_error(sql: Any) -> None:
    column = WIDER["moment"][0]
    store(sql, "m", make_model(Columns(len(column.data), (column,))))
    query(sql, "CREATE TABLE late (moment date); INSERT INTO late VALUES ('infinity'), (NULL), ('2020-01-01')")
    assert len(query(sql, "SELECT * FROM trails.predict('m', 'late')")) == 3
    query(sql, "INSERT INTO late VALUES ('5874897-12-31')")
    for statement in ("SELECT * FROM trails.predict('m', 'late')", "SELECT trails.predict('m', l) FROM late l"):
        error = refused(sql, statement)
        assert error.sqlstate == "22008" and '"moment"' in error.message_primary and error.message_hint


def test_null_needs_no_type_in_a_row(sql: Any) -> None:
    model = make_model(columns_of(TRAINED))
    store(sql, "m", model)
    names = ", ".join(f'NULL AS "{name.replace(chr(34), chr(34) * 2)}"' for name in KINDS)
    untyped = query(sql, f"SELECT trails.predict_score('m', r) FROM (SELECT {names}) r")
    query(sql, "INSERT INTO things (id) VALUES (9999)")
    assert untyped == query(sql, "SELECT trails.predict_score('m', t) FROM things t WHERE id = 9999")
    column = Columns(3, (Column("a", "date", np.array([1, 2, 3], np.int32)),))
    store(sql, "dates", make_model(column))
    rows = "(VALUES (1, NULL), (2, NULL::text)) r (i, a)"
    assert len(query(sql, f"SELECT trails.predict('dates', r) FROM {rows}")) == 2
    error = refused(sql, "SELECT trails.predict('dates', r) FROM (VALUES (NULL), ('2020-01-01')) r (a)")
    assert error.sqlstate == "42804" and "CAST(a AS date)" in error.message_hint


CASTABLE = {
    "boolean": "true", "smallint": "1", "integer": "1", "bigint": "1", "real": "1", "double precision": "1",
    "numeric": "1", "text": "'2020-01-01 12:00'", "varchar": "'x'", "char(3)": "'x'", "date": "'2020-01-01'",
    "time": "'12:00'", "timestamp": "'2020-01-01'", "timestamptz": "'2020-01-01+00'", "interval": "'1 day'",
    "jsonb": "'1'",
    "uuid": "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "inet": "'::1'", "money": "1", "integer[]": "'{1}'",
}  # fmt: skip


@pytest.mark.parametrize("name", ["flag", "number", "size", "word", "day", "local", "clock", "span", "published"])
def test_the_hint_of_another_type_is_a_cast_that_works(sql: Any, name: str) -> None:
    whole = columns_of(TRAINED)
    store(sql, "m", make_model(Columns(whole.rows, (whole[name],))))
    worked = 0
    for sql_type, value in CASTABLE.items():
        query(sql, f"DROP TABLE IF EXISTS given; CREATE TABLE given AS SELECT {value}::{sql_type} AS {name}")
        single = f"SELECT trails.predict('m', r) FROM (SELECT {{expression}} AS {name} FROM given) r"
        try:
            query(sql, "SELECT * FROM trails.predict('m', 'given')")
            continue
        except psycopg2.Error as error:
            if name == "published" and error.pgcode == "22P02":
                continue  # a text, and of another form
            assert error.pgcode in ("42804", "0A000"), (sql_type, error)
            hint = error.diag.message_hint
        assert refused(sql, single.format(expression=name)).message_hint == hint, sql_type
        if not hint.startswith("Write CAST("):
            assert "id:value" in hint or "There is no cast" in hint, (sql_type, hint)
            continue
        cast = hint.removeprefix("Write ").partition(" in a view")[0]
        try:
            query(sql, single.format(expression=cast))
            worked += 1
        except psycopg2.Error as error:
            # The value may be none of the other type; that there is such a cast is what the hint knows.
            assert error.pgcode in ("22P02", "22007", "22023"), (sql_type, cast, error)
    assert worked > 0 or name == "published"


def test_rows_of_several_types_and_models_at_one_call(sql: Any) -> None:
    columns = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
    models = {name: make_model(columns, seed=seed) for seed, name in enumerate(("first", "second"))}
    for name, model in models.items():
        store(sql, name, model)
    query(sql, "CREATE TABLE base (a int, b int); CREATE TABLE child (c text) INHERITS (base)")
    query(sql, "ALTER TABLE base DROP COLUMN b")
    query(sql, "INSERT INTO base VALUES (1), (2); INSERT INTO child VALUES (3, 'x'), (NULL, 'y')")
    found = query(sql, "SELECT a, m, trails.predict_score(m, b) FROM base b, (VALUES ('first'), ('second')) v (m)")
    assert len(found) == 8
    for a, name, score in found:
        null = np.array([a is None], np.uint8)
        row = Columns(1, (Column("a", "int32", np.array([a or 0], np.int32), None, null),))
        assert score == pytest.approx(expected(models[name], row)[0][1], abs=1e-5)


def test_a_type_that_another_session_alters_is_looked_at_again(sql: Any, connect: Callable[..., Any]) -> None:
    """In a transaction whose snapshot stays the same, at a call site that PL/pgSQL keeps."""
    columns = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
    model = make_model(columns)
    store(sql, "m", model)
    query(sql, "CREATE TYPE pair AS (b text, a int)")
    query(
        sql,
        "CREATE FUNCTION score(cells text) RETURNS float8 LANGUAGE plpgsql AS $$ DECLARE p pair; "
        "BEGIN p := cells::pair; RETURN trails.predict_score('m', p); END $$",
    )
    wanted = [row[1] for row in expected(model, columns)]
    query(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert query(sql, "SELECT score('(x,2)')")[0][0] == pytest.approx(wanted[1], abs=1e-5)
    query(connect(), "ALTER TYPE pair DROP ATTRIBUTE b; ALTER TYPE pair ADD ATTRIBUTE c text")
    query(sql, "LOCK TABLE things IN ACCESS SHARE MODE")  # what others have changed is noticed with the next lock
    assert query(sql, "SELECT score('(3,y)')")[0][0] == pytest.approx(wanted[2], abs=1e-5)
    query(connect(), "ALTER TYPE pair ALTER ATTRIBUTE a TYPE text")
    query(sql, "LOCK TABLE things IN SHARE MODE")
    assert refused(sql, "SELECT score('(3,y)')").sqlstate == "42804"
    query(sql, "ROLLBACK")


def test_unknown_categories_and_nulls_have_slots_of_their_own(sql: Any) -> None:
    columns = Columns(4, (Column("a", "int32", np.array([1, 2, 3, 3], np.int32)),))
    model = make_model(columns, fitting=Fitting(categories=("a",)))
    store(sql, "m", model)
    scores = query(
        sql,
        "SELECT trails.predict_score('m', t) "
        "FROM (VALUES (1, NULL::int), (2, 99), (3, -2147483648), (4, 1)) t (i, a) ORDER BY i",
    )
    null, unknown, other, known = (score for (score,) in scores)
    assert unknown == other and len({null, unknown, known}) == 3


def test_what_is_missing_or_of_another_type_is_refused_before_anything_is_read(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    nobody = refused(sql, "SELECT * FROM trails.predict('nobody', 'things')")
    assert nobody.sqlstate == "42704" and "trails.models" in nobody.message_hint
    assert refused(sql, "SELECT trails.predict('nobody', t) FROM things t").sqlstate == "42704"
    assert refused(sql, "SELECT trails.predict('m@7', t) FROM things t").sqlstate == "42704"
    assert refused(sql, "SELECT trails.predict('m@99999999999', t) FROM things t").sqlstate == "42704"
    assert refused(sql, "SELECT * FROM trails.predict(NULL, 'things')").sqlstate == "42704"
    assert refused(sql, "SELECT * FROM trails.predict('m', NULL::regclass)").sqlstate == "22023"
    assert refused(sql, "SELECT * FROM trails.predict('m', 'nothing')").sqlstate == "42P01"
    query(sql, "CREATE FUNCTION never() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'read'; END $$")
    query(sql, "CREATE VIEW lacking AS SELECT never() = 1 AS flag")
    lacking = refused(sql, "SELECT * FROM trails.predict('m', 'lacking')")
    assert lacking.sqlstate == "42703" and '"small"' in lacking.message_primary
    assert "flag" in lacking.message_hint
    query(sql, "CREATE TABLE other AS SELECT * FROM things; ALTER TABLE other ALTER word TYPE bytea USING NULL")
    assert refused(sql, "SELECT * FROM trails.predict('m', 'other')").sqlstate == "0A000"
    query(sql, "ALTER TABLE other ALTER word TYPE date USING NULL")
    other = refused(sql, "SELECT * FROM trails.predict('m', 'other')")
    assert other.sqlstate == "42804" and "word" in other.message_primary and "text" in other.message_primary
    query(sql, "CREATE INDEX things_word ON things (word)")
    assert refused(sql, "SELECT * FROM trails.predict('m', 'things_word')").sqlstate == "42809"


@pytest.mark.parametrize(("column", "cell"), [("ratio", "Infinity"), ("size", "-Infinity"), ("amount", "1e400")])
def test_a_number_without_end_is_an_error_that_names_it(sql: Any, column: str, cell: str) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    query(sql, f"UPDATE things SET {column} = '{cell}' WHERE id = 1500")
    for statement in ("SELECT * FROM trails.predict('m', 'things')", "SELECT trails.predict('m', t) FROM things t"):
        error = refused(sql, statement)
        assert error.sqlstate == "22003" and f'"{column}"' in error.message_primary and error.message_hint


def test_a_text_that_is_no_id_and_value_is_an_error(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    query(sql, "UPDATE things SET published = 'nothing' WHERE id = 1500")
    for statement in ("SELECT * FROM trails.predict('m', 'things')", "SELECT trails.predict('m', t) FROM things t"):
        error = refused(sql, statement)
        assert error.sqlstate == "22P02" and '"published"' in error.message_primary
    query(sql, "UPDATE things SET published = NULL")
    assert query(sql, "SELECT count(*) FROM trails.predict('m', 'things')") == [(len(OTHERS),)]


def test_long_texts_are_read_wherever_they_are_stored(sql: Any) -> None:
    words = ["kurz", "a" * 5000, "".join(chr(0x4E00 + n * 7 % 9000) for n in range(40_000))]
    query(sql, "CREATE TABLE long (id int PRIMARY KEY, w text); ALTER TABLE long ALTER w SET STORAGE EXTENDED")
    for number, word in enumerate(words):
        query(sql, "INSERT INTO long VALUES (%s, %s)", number, word)
    import xxhash

    hashes = np.array([xxhash.xxh3_64_intdigest(w.encode()) for w in words * 50], np.uint64).view(np.int64)
    model = make_model(Columns(len(hashes), (Column("w", "text", hashes),)))
    store(sql, "m", model)
    wanted = [row[1] for row in expected(model, Columns(3, (Column("w", "text", hashes[:3]),)))]
    assert len(set(wanted)) == 3
    found = query(sql, "SELECT score FROM trails.predict('m', 'long') ORDER BY key")
    assert [row[0] for row in found] == pytest.approx(wanted, abs=1e-5)
    found = query(sql, "SELECT trails.predict_score('m', l) FROM long l ORDER BY id")
    assert [row[0] for row in found] == pytest.approx(wanted, abs=1e-5)


def test_names_and_labels_of_any_spelling(sql: Any) -> None:
    columns = Columns(3, (Column('a"; DROP', "int32", np.array([1, 2, 3], np.int32)),))
    labels = ("nein 'x'", 'ja "ü" 日')
    store(sql, "Größe \"q\" 'x'; --", make_model(columns, classes=labels), source=None)
    query(sql, 'CREATE SCHEMA "Schema.x"; CREATE TABLE "Schema.x"."Table ""t""" ("a""; DROP" int)')
    query(sql, 'INSERT INTO "Schema.x"."Table ""t""" VALUES (1), (2), (3)')
    rows = query(
        sql,
        "SELECT prediction FROM trails.predict(%s, %s)",
        "Größe \"q\" 'x'; --",
        '"Schema.x"."Table ""t"""',
    )
    assert len(rows) == 3 and {row[0] for row in rows} <= set(labels)
    single = query(sql, 'SELECT trails.predict(%s, t) FROM "Schema.x"."Table ""t""" t', "Größe \"q\" 'x'; --@1")
    assert single == rows


@pytest.fixture
def versions(sql: Any) -> tuple[Any, dict[int, Model], Columns]:
    """A session, two versions of a model of one architecture, and the rows of the table `small`."""
    columns = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
    query(sql, "CREATE TABLE small (a int); INSERT INTO small VALUES (1), (2), (3)")
    models = {version: make_model(columns, seed=version) for version in (1, 2)}
    for version, model in models.items():
        store(sql, "m", model, version)
    return sql, models, columns


SMALL = "SELECT prediction, score, probabilities FROM trails.predict({}, 'small')"
SINGLE = (
    "SELECT trails.predict({0}, s), trails.predict_score({0}, s), trails.predict_probabilities({0}, s) FROM small s"
)


@pytest.mark.parametrize("select", [SMALL, SINGLE])
def test_deploying_replacing_and_dropping_take_effect_at_once(
    versions: tuple[Any, dict[int, Model], Columns], select: str
) -> None:
    sql, models, columns = versions

    def now(name: str, version: int) -> None:
        check(query(sql, select.format(f"'{name}'")), models[version], columns)

    now("m", 2)  # none is deployed: the latest
    now("m@1", 1)
    query(sql, "SELECT * FROM trails.deploy('m@1')")
    now("m", 1)
    now("m@2", 2)
    query(sql, "SELECT * FROM trails.deploy('m@2')")
    now("m", 2)
    query(sql, "SELECT * FROM trails.rollback('m')")
    now("m", 1)
    models[1] = replace(models[2], operations=make_model(columns, seed=9).operations)
    blob = models[1].to_bytes()
    query(sql, "UPDATE trails.models SET weights = %s, digest = sha256(%s) WHERE version = 1", blob, blob)
    now("m", 1)
    query(sql, "SELECT trails.drop_model('m@1')")
    now("m", 2)
    query(sql, "SELECT trails.drop_model('m')")
    assert refused(sql, select.format("'m'")).sqlstate == "42704"


def test_a_loop_sees_what_it_deploys_itself_and_what_others_do(
    versions: tuple[Any, dict[int, Model], Columns], connect: Callable[..., Any]
) -> None:
    sql, models, columns = versions
    query(sql, "SELECT * FROM trails.deploy('m@1')")
    query(
        sql,
        """
        CREATE FUNCTION twice(OUT before float8, OUT after float8) LANGUAGE plpgsql AS $$
        DECLARE r small;
        BEGIN
            SELECT * INTO r FROM small WHERE a = 2;
            FOR turn IN 1..2 LOOP
                after := trails.predict_score('m', r);
                IF turn = 1 THEN
                    before := after;
                    PERFORM trails.deploy('m@2');
                END IF;
            END LOOP;
        END $$
        """,
    )
    wanted = [expected(models[version], columns)[1][1] for version in (1, 2)]
    assert list(query(sql, "SELECT * FROM twice()")[0]) == pytest.approx(wanted, abs=1e-5)

    query(sql, "SELECT * FROM trails.deploy('m@1')")
    query(
        sql,
        """
        CREATE FUNCTION waiting() RETURNS float8 LANGUAGE plpgsql AS $$
        DECLARE r small; first float8; now float8;
        BEGIN
            SELECT * INTO r FROM small WHERE a = 2;
            first := trails.predict_score('m', r);
            FOR turn IN 1..3000 LOOP
                now := trails.predict_score('m', r);
                EXIT WHEN now <> first;
                PERFORM pg_sleep(0.01);
            END LOOP;
            RETURN now;
        END $$
        """,
    )
    other = connect()
    deploys = threading.Timer(0.5, lambda: query(other, "SELECT * FROM trails.deploy('m@2')"))
    deploys.start()
    assert query(sql, "SELECT waiting()")[0][0] == pytest.approx(wanted[1], abs=1e-5)
    deploys.join()


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("change", ["trails.deploy('m@2')", "trails.drop_model('m@1')"])
def test_what_a_subtransaction_has_done_is_undone_with_it(
    versions: tuple[Any, dict[int, Model], Columns], level: str, change: str
) -> None:
    sql, models, columns = versions
    query(sql, "SELECT * FROM trails.deploy('m@1')")
    query(
        sql,
        f"""
        CREATE FUNCTION thrice() RETURNS pg_catalog.float8[] LANGUAGE plpgsql AS $$
        DECLARE r small; found pg_catalog.float8[];
        BEGIN
            SELECT * INTO r FROM small WHERE a = 2;
            FOR turn IN 1..3 LOOP
                BEGIN
                    IF turn = 2 THEN PERFORM {change}; END IF;
                    found := found || trails.predict_score('m', r);
                    IF turn = 2 THEN RAISE 'undo it'; END IF;
                EXCEPTION WHEN raise_exception THEN NULL;
                END;
            END LOOP;
            RETURN found;
        END $$
        """,
    )
    query(sql, f"BEGIN ISOLATION LEVEL {level}")
    ((found,),) = query(sql, "SELECT thrice()")
    query(sql, "COMMIT")
    wanted = [expected(models[version], columns)[1][1] for version in (1, 2, 1)]
    assert found == pytest.approx(wanted, abs=1e-5)


def test_a_prepared_statement_follows_the_registry(versions: tuple[Any, dict[int, Model], Columns]) -> None:
    sql, models, columns = versions
    query(sql, "SET plan_cache_mode = force_generic_plan")
    query(sql, "PREPARE p AS " + SINGLE.format("'m'"))
    for version in (1, 2, 1):
        query(sql, "SELECT * FROM trails.deploy(%s)", f"m@{version}")
        check(query(sql, "EXECUTE p"), models[version], columns)


def test_two_models_of_one_architecture_side_by_side(versions: tuple[Any, dict[int, Model], Columns]) -> None:
    sql, models, columns = versions
    rows = query(sql, "SELECT trails.predict_score('m@1', s), trails.predict_score('m@2', s) FROM small s")
    for place, version in enumerate((1, 2)):
        wanted = [row[1] for row in expected(models[version], columns)]
        assert [row[place] for row in rows] == pytest.approx(wanted, abs=1e-5)


def test_models_are_kept_within_the_limit_and_no_longer(sql: Any) -> None:
    """A model whose row has been damaged since goes on predicting only as long as it is remembered."""
    keys = np.arange(30_000, dtype=np.int32)
    columns = Columns(len(keys), (Column("a", "int32", keys),))
    query(sql, "CREATE TABLE small (a int); INSERT INTO small VALUES (1)")
    for seed, name in enumerate("abc"):
        store(sql, name, make_model(columns, widths=(32,), seed=seed))  # some 4 MB each

    def use(name: str) -> str | None:
        try:
            query(sql, SINGLE.format(f"'{name}'"))
        except psycopg2.Error as error:
            return error.pgcode
        return None

    query(sql, "SET trails.model_cache_size = '11MB'")
    assert [use(name) for name in "ab"] == [None, None]
    query(sql, "UPDATE trails.models SET weights = weights || '\\x00'")
    assert [use(name) for name in "ba"] == [None, None]
    assert use("c") == "XX001"
    query(sql, "SET trails.model_cache_size = '6MB'")
    assert [use(name) for name in "ab"] == [None, "XX001"], "b was used less recently"
    query(sql, "SET trails.model_cache_size = 0")
    assert use("a") == "XX001"
    query(sql, "UPDATE trails.models SET weights = substr(weights, 1, length(weights) - 1)")
    assert [use(name) for name in "abc"] == [None] * 3, "without a limit's worth of memory it predicts all the same"


def test_a_corrupted_blob_is_never_used(sql: Any) -> None:
    columns = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
    model = make_model(columns)
    blob = bytearray(model.to_bytes())
    blob[-5] ^= 1
    store(sql, "flipped", model, weights=bytes(blob))
    store(sql, "cut", model, weights=model.to_bytes()[:100])
    store(sql, "empty", model, weights=b"")
    query(sql, "CREATE TABLE small (a int); INSERT INTO small VALUES (1)")
    for name in ("flipped", "cut", "empty"):
        for select in (SMALL, SINGLE):
            error = refused(sql, select.format(f"'{name}'"))
            assert error.sqlstate == "XX001" and f'"{name}"' in error.message_primary and error.message_hint
    query(sql, "UPDATE trails.models SET digest = sha256(weights)")
    for name in ("cut", "empty"):
        error = refused(sql, SMALL.format(f"'{name}'"))
        assert error.sqlstate == "XX001" and "safetensors" in error.message_detail
    query(sql, "UPDATE trails.models SET digest = 'short'")
    assert refused(sql, SMALL.format("'flipped'")).sqlstate == "XX001"
    assert refused(sql, "SELECT * FROM trails.encoding('flipped')").sqlstate == "XX001"


def test_no_interpreter_is_needed(sql: Any, connect: Callable[..., Any]) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    fresh = connect()
    query(fresh, "SET trails.virtualenv = ''")
    assert query(fresh, "SELECT count(*) FROM trails.predict('m', 'things')") == [(len(OTHERS),)]
    assert query(fresh, "SELECT count(trails.predict('m', t)) FROM things t") == [(len(OTHERS),)]
    assert query(fresh, "SELECT count(*) > 17 FROM trails.encoding('m')") == [(True,)]
    query(fresh, "SELECT * FROM trails.profile_prediction('m', 'things')")
    ((backend,),) = query(fresh, "SELECT pg_backend_pid()")
    mapped = Path(f"/proc/{backend}/maps").read_text()
    assert "trails.so" in mapped and "numpy" not in mapped and "torch" not in mapped


def test_roles_predict_with_their_own_and_granted_models_only(sql: Any, connect: Callable[..., Any]) -> None:
    columns = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
    query(sql, "CREATE TABLE small (a int); INSERT INTO small VALUES (1), (2), (3); GRANT SELECT ON small TO PUBLIC")
    alice, bob = connect(role="alice"), connect(role="bob")
    query(sql, "GRANT trails_user TO alice, bob")
    hers, his = make_model(columns, seed=1), make_model(columns, seed=2)
    store(alice, "shared", hers)
    for select in (SMALL, SINGLE):
        assert refused(bob, select.format("'shared'")).sqlstate == "42704"
    query(alice, "SELECT trails.grant_model('shared', 'bob')")
    for select in (SMALL, SINGLE):
        check(query(bob, select.format("'shared'")), hers, columns)
    query(alice, "SELECT trails.revoke_model('shared', 'bob')")
    for select in (SMALL, SINGLE):
        assert refused(bob, select.format("'shared'")).sqlstate == "42704", "remembered, and not any more his to use"
    query(alice, "SELECT trails.grant_model('shared', 'public')")
    store(bob, "shared", his)
    for select in (SMALL, SINGLE):
        check(query(bob, select.format("'shared'")), his, columns)  # his own first
        check(query(bob, select.format("'alice/shared'")), hers, columns)
        check(query(alice, select.format("'shared'")), hers, columns)
    # A session that changes its role changes its models, also in the middle of a function.
    for role, model in (("alice", hers), ("bob", his)):
        query(sql, f"SET ROLE {role}")
        for select in (SMALL, SINGLE):
            check(query(sql, select.format("'shared'")), model, columns)
        query(sql, "RESET ROLE")


def test_rights_on_the_rows_are_the_callers(sql: Any, connect: Callable[..., Any]) -> None:
    columns = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
    query(sql, "CREATE TABLE small (a int, owner name); INSERT INTO small VALUES (1, 'alice'), (2, 'bob'), (3, 'bob')")
    alice = connect(role="alice")
    query(sql, "GRANT trails_user TO alice")
    store(alice, "m", make_model(columns))
    assert refused(alice, SMALL.format("'m'")).sqlstate == "42501"
    query(sql, "GRANT SELECT ON small TO alice; ALTER TABLE small ENABLE ROW LEVEL SECURITY")
    query(sql, "CREATE POLICY own ON small USING (owner = current_user)")
    assert len(query(alice, SMALL.format("'m'"))) == 1
    stranger = connect(role="stranger")
    assert refused(stranger, SMALL.format("'m'")).sqlstate == "42501"


def test_workers_in_parallel_predict_the_same(sql: Any) -> None:
    model = make_model(columns_of(TRAINED))
    store(sql, "m", model)
    alone = query(sql, "SELECT id, trails.predict_score('m', t) FROM things t ORDER BY id")
    version = int(query(sql, "SHOW server_version_num")[0][0])
    query(sql, f"SET {'debug_parallel_query' if version >= 160000 else 'force_parallel_mode'} = on")
    query(sql, "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
    select = "SELECT id, trails.predict_score('m', t) FROM things t ORDER BY id"
    plan = "\n".join(row[0] for row in query(sql, "EXPLAIN " + select))
    assert "Gather" in plan
    assert query(sql, select) == alone
    anonymous = "SELECT id, trails.predict_score('m', t) FROM (SELECT * FROM things OFFSET 0) t ORDER BY id"
    assert query(sql, anonymous) == alone


def test_workers_predict_for_a_table_that_is_made_of_it(sql: Any, connect: Callable[..., Any]) -> None:
    """What a prediction looks up, labels of enums too, counts no command: beside workers that would be an error."""
    store(sql, "m", make_model(columns_of(TRAINED)))
    alone = query(sql, "SELECT id, trails.predict_score('m', t) FROM things t ORDER BY id")
    fresh = connect()
    version = int(query(fresh, "SHOW server_version_num")[0][0])
    query(fresh, f"SET {'debug_parallel_query' if version >= 160000 else 'force_parallel_mode'} = on")
    query(fresh, "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
    query(fresh, "CREATE TABLE scored AS SELECT id, trails.predict_score('m', t) AS score FROM things t")
    assert query(fresh, "SELECT id, score FROM scored ORDER BY id") == alone


def test_a_long_prediction_can_be_cancelled(sql: Any) -> None:
    keys = np.arange(1000, dtype=np.int32)
    model = make_model(Columns(len(keys), (Column("a", "int32", keys),)), widths=(1024, 1024, 1024))
    store(sql, "m", model)
    query(sql, "CREATE VIEW endless AS SELECT (i % 1000)::int AS a FROM generate_series(1, 20000000) i")
    query(sql, "SELECT count(*) FROM (SELECT trails.predict('m', t) FROM (SELECT 1 AS a) t) p")
    query(sql, "SET statement_timeout = '700ms'")
    for statement in (
        "SELECT count(*) FROM trails.predict('m', 'endless')",
        "SELECT trails.predict('m', e) FROM endless e",
    ):
        began = time.monotonic()
        assert refused(sql, statement).sqlstate == "57014"
        assert within(time.monotonic() - began, 0.7, 4.3)
    query(sql, "SET statement_timeout = 0")
    assert query(sql, "SELECT 1") == [(1,)]


def test_an_error_in_the_middle_leaves_the_session_whole(sql: Any) -> None:
    columns = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
    store(sql, "m", make_model(columns))
    query(
        sql,
        "CREATE VIEW failing AS SELECT (CASE WHEN i = 30000 THEN 1 / (i - 30000) ELSE 1 END)::int AS a "
        "FROM generate_series(1, 40000) i",
    )
    query(
        sql,
        "CREATE FUNCTION caught() RETURNS text LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM * FROM trails.predict('m', 'failing'); RETURN 'none'; "
        "EXCEPTION WHEN division_by_zero THEN RETURN 'caught'; END $$",
    )
    for _ in range(5):
        assert query(sql, "SELECT caught()") == [("caught",)]
    assert refused(sql, "SELECT * FROM trails.predict('m', 'failing')").sqlstate == "22012"
    assert query(sql, "SELECT count(*) FROM pg_cursors") == [(0,)]


def test_encoding_shows_what_the_fields_have_learnt(sql: Any) -> None:
    model = make_model(columns_of(TRAINED))
    store(sql, "m", model)
    rows = query(sql, "SELECT * FROM trails.encoding('m')")
    described = model.encoder.describe()
    assert len(rows) == len(described)
    for number, (row, field, part) in enumerate(zip(rows, described, model.encoder.parts, strict=True)):
        (place, column, kind, name, encoding, first, slots, categories, buckets, examples, edges, *_) = row
        assert (place, column, kind, name) == (number + 1, field["column"], field["kind"], field["part"])
        assert (encoding, first, slots) == (field["encoding"], field["first"], field["slots"])
        if encoding == "categories":
            assert (categories, buckets, edges) == (len(part.categories), field["buckets"], None)
            # An empty text looks like one whose spelling was not kept.
            spelt = sum(map(bool, part.spellings.values())) if kind == "text" else categories
            assert len(examples) == min(10, spelt)
        else:
            assert (categories, buckets, examples) == (None, None, None)
            assert edges == part.edges.tolist()
    by_column = {row[1]: row for row in rows if row[3] == "value"}
    assert by_column["flag"][9] == ["false", "true"]
    assert set(by_column["mood"][9]) == {"sad", "so so", "glücklich"}
    assert by_column["published"][11] == 70.0
    store(sql, "scaled", make_model(columns_of(TRAINED), fitting=Fitting(bins=0)))
    ((mean, std),) = query(sql, "SELECT mean, std FROM trails.encoding('scaled') WHERE column_name = 'ratio'")
    ratio = [row[5] for row in TRAINED if row[5] is not None]
    assert (mean, std) == pytest.approx((np.mean(ratio), np.std(ratio)))


def test_a_profile_accounts_for_every_phase(sql: Any) -> None:
    store(sql, "m", make_model(columns_of(TRAINED)))
    rows = query(sql, "SELECT * FROM trails.profile_prediction('m', 'things', 3)")
    assert [row[0] for row in rows] == ["load", "read", "encode", "forward", "write"]
    for phase, count, seconds, rate in rows:
        assert count == len(OTHERS) and 0 < seconds < 60 and math.isfinite(seconds)
        assert (rate is None) if phase == "load" else rate == pytest.approx(count / seconds)
    assert refused(sql, "SELECT * FROM trails.profile_prediction('m', 'things', 0)").sqlstate == "22023"
    assert refused(sql, "SELECT * FROM trails.profile_prediction('nobody', 'things')").sqlstate == "42704"


def test_what_is_not_a_number_of_the_server_starts_no_trouble(pg: Server, sql: Any) -> None:
    """The set is kept on disk beyond work_mem, and nothing of it stays."""
    columns = Columns(3, (Column("a", "int32", np.array([1, 2, 3], np.int32)),))
    store(sql, "m", make_model(columns))
    query(sql, "CREATE VIEW many AS SELECT 1 AS a FROM generate_series(1, 30000)")
    query(sql, "SET work_mem = '64kB'; SET temp_file_limit = '256kB'; SET log_temp_files = -1")
    assert refused(sql, "SELECT count(*) FROM trails.predict('m', 'many')").sqlstate == "53400"
    query(sql, "SET temp_file_limit = -1")
    assert query(sql, "SELECT count(*) FROM trails.predict('m', 'many')") == [(30_000,)]
    directory = pg.data_dir / "base" / "pgsql_tmp"
    assert not directory.exists() or not list(directory.iterdir())
