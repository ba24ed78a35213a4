"""What the reader makes of every type: `trails.describe_columns` against what SQL says of the same cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import query

# One column of each type that can be read: its kind, and values among them the ends of what the type holds.
TYPES: dict[str, tuple[str, list[str | None]]] = {
    "boolean": ("boolean", ["true", "false", None, "true"]),
    "smallint": ("int32", ["-32768", "32767", None, "0"]),
    "integer": ("int32", ["-2147483648", "2147483647", None, "7"]),
    "bigint": ("int64", ["-9223372036854775808", "9223372036854775807", None, "1"]),
    "real": ("float32", ["-3.4028235e38", "1e-45", None, "0.1"]),
    "double precision": ("float64", ["-1.7976931348623157e308", "5e-324", None, "0.1"]),
    "numeric": ("float64", ["-1e300", "123456789.123456789123456789", None, "1e-300"]),
    "numeric(8,3)": ("float64", ["-99999.999", "99999.999", None, "0.001"]),
    "date": ("date", ["4713-01-01 BC", "5874897-12-31", None, "2000-02-29"]),
    "timestamp": ("timestamp", ["4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", None, "1969-07-20"]),
    "timestamptz": ("timestamp", ["1900-01-01 00:00:00+05", "2024-02-29 23:59:59.999999-08", None, "2000-01-01+00"]),
    "time": ("time", ["00:00", "24:00", None, "12:34:56.789012"]),
    "interval": ("interval", ["-178000000 years", "178000000 years", None, "1 month -1 day 00:00:00.5"]),
}
TEXTS: dict[str, tuple[str, list[str | None]]] = {
    "text": ("text", ["", "grün", None, "grün", "a:b"]),
    "varchar(9)": ("text", ["red", "blue", None, "red"]),
    "char(6)": ("text", ["red", "blue  ", None, "red   "]),
    "uuid": ("text", ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", None]),
    "mood": ("text", ["sad", "very happy", None, "sad"]),
}
MONTH = "30 * 86400"
SQL_NUMBER = {
    "boolean": "{}::int",
    "timestamptz": "({} AT TIME ZONE 'UTC')",
    # A month is 30 days; the server's own epoch of an interval counts a year as 365.25.
    "interval": f"""EXTRACT(epoch FROM {{}} - date_trunc('month', {{}}))::float8
                    + {MONTH} * (12 * EXTRACT(year FROM {{}}) + EXTRACT(month FROM {{}}))::float8""",
}


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    connection = connect()
    query(connection, "SET search_path = public, trails")
    query(connection, "CREATE TYPE mood AS ENUM ('very happy', 'sad', 'never felt')")
    return connection


def make(session: Any, sql_type: str, values: list[str | None], name: str = "t") -> None:
    query(session, f"DROP TABLE IF EXISTS {name}")
    query(session, f"CREATE TABLE {name} (x {sql_type})")
    for value in values:
        query(session, f"INSERT INTO {name} VALUES (%s::{sql_type})", value)


def described(session: Any, relation: str = "t") -> dict[str, Any]:
    with session.cursor() as cursor:
        cursor.execute("SELECT * FROM trails.describe_columns(%s::regclass)", (relation,))
        names = [column.name for column in cursor.description]
        (row,) = cursor.fetchall()
    return dict(zip(names, row, strict=True))


def ends_in_sql(session: Any, sql_type: str) -> tuple[str, str]:
    """The smallest and the largest value as the server spells what the reader keeps of them."""
    value = SQL_NUMBER.get(sql_type, "{}").replace("{}", "x")
    ((low, high),) = query(session, f"SELECT min({value})::text, max({value})::text FROM t")
    return low, high


@pytest.mark.parametrize("over", ["type", "domain"])
@pytest.mark.parametrize("sql_type", TYPES)
def test_every_type_is_read_as_sql_reads_it(session: Any, sql_type: str, over: str) -> None:
    kind, values = TYPES[sql_type]
    if over == "domain":
        query(session, f"CREATE DOMAIN inner_domain AS {sql_type}")
        query(session, "CREATE DOMAIN outer_domain AS inner_domain CHECK (true)")
        make(session, "outer_domain", values)
    else:
        make(session, sql_type, values)
    found = described(session)
    assert (found["kind"], found["rows"], found["nulls"], found["distinct_texts"]) == (kind, len(values), 1, None)
    low, high = ends_in_sql(session, sql_type)
    if kind in ("float32", "float64", "interval"):
        cast = "real" if kind == "float32" else "float8"
        ((same,),) = query(
            session,
            f"SELECT (%s::{cast}, %s::{cast}) = (%s::{cast}, %s::{cast})",
            found["minimum"], found["maximum"], low, high,
        )  # fmt: skip
        assert same, (found, low, high)
    elif kind == "boolean":
        assert (found["minimum"], found["maximum"]) == ("false", "true")
    else:
        assert (found["minimum"], found["maximum"]) == (low, high)


@pytest.mark.parametrize("sql_type", TEXTS)
def test_texts_are_told_apart_as_sql_tells_them(session: Any, sql_type: str) -> None:
    kind, values = TEXTS[sql_type]
    make(session, sql_type, values)
    found = described(session)
    ((distinct,),) = query(session, "SELECT count(DISTINCT x) FROM t")
    assert (found["kind"], found["rows"], found["nulls"]) == (kind, len(values), 1)
    assert found["distinct_texts"] == distinct and found["minimum"] is None


def test_numerics_are_rounded_as_the_server_rounds_them(session: Any) -> None:
    query(session, "SELECT setseed(0.5)")
    # Of every length, sign and scale; each is a table's only row, so that its exact value is what is shown.
    query(
        session,
        """CREATE TABLE numbers AS SELECT n, ((CASE WHEN random() < 0.5 THEN -1 ELSE 1 END)
             * floor(random() * 1e8)::numeric * pow(10::numeric, floor(random() * 12))
             + floor(random() * 1e15)::numeric / pow(10::numeric, floor(random() * 30))) AS x
           FROM generate_series(1, 300) n""",
    )
    columns = ", ".join(f"(SELECT x FROM numbers WHERE n = {n}) AS c{n}" for n in range(1, 301))
    query(session, f"CREATE TABLE wide AS SELECT {columns}")
    ((wrong,),) = query(
        session,
        """SELECT count(*) FROM trails.describe_columns('wide') d
           JOIN numbers ON column_name = 'c' || n WHERE minimum::float8 <> x::float8""",
    )
    ((read,),) = query(session, "SELECT count(minimum) FROM trails.describe_columns('wide')")
    assert (wrong, read) == (0, 300)


@pytest.mark.parametrize("sql_type", ["real", "double precision", "numeric"])
def test_what_is_no_number_counts_as_null(session: Any, sql_type: str) -> None:
    make(session, sql_type, ["NaN", "1", None, "NaN"])
    found = described(session)
    assert (found["rows"], found["nulls"], float(found["minimum"])) == (4, 3, 1.0)


@pytest.mark.parametrize("sql_type", ["date", "timestamp", "timestamptz", "interval"])
def test_an_open_end_counts_as_null(session: Any, sql_type: str) -> None:
    ((version,),) = query(session, "SELECT current_setting('server_version_num')::int")
    if sql_type == "interval" and version < 170000:
        values, nulls = ["1 day", None], 1
    else:
        values = ["infinity", "-infinity", "1 day" if sql_type == "interval" else "2020-01-01"]
        nulls = 2
    make(session, sql_type, values)
    found = described(session)
    assert (found["nulls"], found["minimum"]) == (nulls, found["maximum"])


@pytest.mark.parametrize("sql_type", ["real", "double precision", "numeric"])
@pytest.mark.parametrize("value", ["Infinity", "-Infinity"])
def test_infinity_is_an_error_that_says_where(session: Any, sql_type: str, value: str) -> None:
    make(session, sql_type, ["1", None, value, "2"])
    with pytest.raises(psycopg2.Error, match=f'column "x" of public.t holds {value}') as caught:
        described(session)
    assert caught.value.pgcode == "22003"
    assert "Row 3" in caught.value.diag.message_detail and "NULLIF" in caught.value.diag.message_hint
    assert query(session, "SELECT 1") == [(1,)]


def test_a_numeric_that_no_double_holds_is_an_error_and_a_tiny_one_is_zero(session: Any) -> None:
    make(session, "numeric", ["1e-400", "-1e-400"])
    assert float(described(session)["minimum"]) == 0.0
    make(session, "numeric", ["1e400"])
    with pytest.raises(psycopg2.Error, match="too large for double precision") as caught:
        described(session)
    assert caught.value.pgcode == "22003"


def test_texts_of_the_form_id_value_are_read_as_such_unless_one_is_not(session: Any) -> None:
    make(session, "text", ["3:1", None, "7:0.5"])
    found = described(session)
    assert (found["kind"], found["minimum"], found["maximum"]) == ("idvalue", "3", "7")
    query(session, "INSERT INTO t VALUES ('seven')")
    found = described(session)
    assert (found["kind"], found["distinct_texts"], found["nulls"]) == ("text", 3, 1)
    make(session, "text", [None, None])
    assert described(session)["kind"] == "text"
    make(session, "char(8)", ["3:1", "7:1"])
    assert described(session)["kind"] == "idvalue"


def test_long_texts_wherever_they_are_stored(session: Any) -> None:
    query(session, "CREATE TABLE t (n int, plain text, packed text, apart text)")
    query(session, "ALTER TABLE t ALTER packed SET STORAGE MAIN, ALTER apart SET STORAGE EXTERNAL")
    query(
        session,
        """INSERT INTO t SELECT n, repeat('é', 100 + mod(n, 3)), repeat('ab', 5000 + mod(n, 4)),
             repeat(md5(mod(n, 5)::text), 400) FROM generate_series(1, 60) n""",
    )
    rows = query(
        session,
        "SELECT column_name, kind, distinct_texts FROM trails.describe_columns('t') WHERE kind = 'text' ORDER BY 1",
    )
    assert rows == [("apart", "text", 5), ("packed", "text", 4), ("plain", "text", 3)]
    assert query(session, "SELECT pg_column_size(packed) < 1000, pg_column_size(apart) > 10000 FROM t LIMIT 1") == [
        (True, True)
    ]
    # A compressed numeric takes the same way.
    query(session, "CREATE TABLE digits AS SELECT (repeat('1', 4000) || '.' || repeat('7', 3000))::numeric / 1e3900 x")
    ((same,),) = query(session, "SELECT minimum::float8 = x::float8 FROM trails.describe_columns('digits'), digits")
    assert same


@pytest.mark.parametrize(
    "sql_type",
    ["integer[]", "json", "jsonb", "bytea", "int4range", "money", "timetz", "bit(3)", "point", "inet", "xml",
     "tsvector", "pair", "name", "oid"],
)  # fmt: skip
def test_other_types_are_left_out_and_refused_by_name(session: Any, sql_type: str) -> None:
    query(session, "CREATE TYPE pair AS (a int, b int)")
    query(session, f"CREATE TABLE t (id int PRIMARY KEY, label int, fine int, odd {sql_type})")
    query(session, "INSERT INTO t SELECT n, mod(n, 2), mod(n, 5) FROM generate_series(1, 200) n")
    rows = query(session, "SELECT column_name, kind, rows, nulls FROM trails.describe_columns('t')")
    assert rows[3] == ("odd", None, None, None) and rows[2] == ("fine", "int32", 200, 0)
    with pytest.raises(psycopg2.Error, match=r'column "odd" of public\.t has type') as caught:
        query(session, "SELECT * FROM trails.filtering_phase('t', 'label', features => ARRAY['fine', 'odd'])")
    assert caught.value.pgcode == "0A000"
    assert "features => ARRAY[...]" in caught.value.diag.message_hint
    assert "numeric, text" in caught.value.diag.message_hint and "view" in caught.value.diag.message_hint
    session.notices.clear()
    assert query(session, "SELECT * FROM trails.filtering_phase('t', 'label', n => 100)")
    told = [notice for notice in session.notices if 'feature "odd" is left out: type' in notice]
    assert len(told) == 1 and "cannot be learned from" in told[0]
    query(session, "ALTER TABLE t DROP fine")
    with pytest.raises(psycopg2.Error, match="no column to learn from") as caught:
        query(session, "SELECT * FROM trails.filtering_phase('t', 'label')")
    assert caught.value.pgcode == "22023" and "view" in caught.value.diag.message_hint


def test_a_domain_over_an_unreadable_type_is_refused_too(session: Any) -> None:
    query(session, "CREATE DOMAIN tags AS text[]")
    make(session, "tags", ["{a,b}"])
    assert described(session)["kind"] is None


def test_a_null_among_the_names_is_refused(session: Any) -> None:
    make(session, "integer", ["1", "2"])
    for statement in (
        "SELECT * FROM trails.describe_columns('t', '{x,NULL}')",
        "SELECT * FROM trails.filtering_phase('t', features => '{x,NULL}')",
        "SELECT * FROM trails.profile_filtering('t', 'x', features => '{NULL}')",
        "SELECT * FROM trails.model_selection('t', 'x', features => ARRAY[NULL]::name[])",
        "SELECT * FROM trails.refinement_phase('t', 'x', ARRAY['8-8-8-8'], features => '{x,NULL}')",
        "SELECT * FROM trails.profile_refinement('t', 'x', features => '{x,NULL}')",
        "SELECT * FROM trails.model_selection_workloads('t', 'x', 10, 2, features => '{x,NULL}')",
    ):
        with pytest.raises(psycopg2.Error, match="features must not hold NULL") as caught:
            query(session, statement)
        assert caught.value.pgcode == "22023" and '"NULL"' in caught.value.diag.message_hint, statement
    query(session, 'CREATE TABLE named ("NULL" int)')
    assert query(session, """SELECT column_name FROM trails.describe_columns('named', '{"NULL"}')""") == [("NULL",)]


def test_named_columns_alone_are_described(session: Any) -> None:
    query(session, """CREATE TABLE "T t" (id int PRIMARY KEY, "Größe ""x"" " real, odd json)""")
    query(session, """INSERT INTO "T t" VALUES (1, 2.5, NULL)""")
    statement = """SELECT column_name, type, kind, minimum FROM trails.describe_columns('"T t"', ARRAY['Größe "x" '])"""
    assert query(session, statement) == [('Größe "x" ', "real", "float32", "2.5")]
    with pytest.raises(psycopg2.Error, match="does not exist") as caught:
        query(session, "SELECT trails.describe_columns('\"T t\"', ARRAY['nothing'])")
    assert caught.value.pgcode == "42703" and "Größe" in caught.value.diag.message_hint


@pytest.mark.parametrize("relation", ["tab", "part", "view_of", "matview_of"])
def test_every_sort_of_relation_is_read(session: Any, relation: str) -> None:
    query(session, "CREATE TABLE tab AS SELECT n AS a, mod(n, 3)::text || 'x' AS b FROM generate_series(1, 30) n")
    if relation == "part":
        query(session, "CREATE TABLE part (a int, b text) PARTITION BY RANGE (a)")
        # The second partition has its columns in another order.
        query(session, "CREATE TABLE low PARTITION OF part FOR VALUES FROM (0) TO (11)")
        query(session, "CREATE TABLE high (b text, gone int, a int)")
        query(session, "ALTER TABLE high DROP gone")
        query(session, "ALTER TABLE part ATTACH PARTITION high FOR VALUES FROM (11) TO (100)")
        query(session, "INSERT INTO part SELECT * FROM tab")
    elif relation == "view_of":
        query(session, "CREATE VIEW view_of AS SELECT * FROM tab")
    elif relation == "matview_of":
        query(session, "CREATE MATERIALIZED VIEW matview_of AS SELECT * FROM tab")
    rows = query(
        session, f"SELECT column_name, kind, rows, distinct_texts, maximum FROM trails.describe_columns('{relation}')"
    )
    assert rows == [("a", "int32", 30, None, "30"), ("b", "text", 30, 3, None)]


def test_a_foreign_table_is_read_through_its_wrapper(session: Any) -> None:
    query(session, "CREATE FOREIGN DATA WRAPPER nothing")
    query(session, "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing")
    query(session, "CREATE FOREIGN TABLE far (a int) SERVER nowhere")
    with pytest.raises(psycopg2.Error, match='foreign-data wrapper "nothing" has no handler'):
        described(session, "far")
    assert query(session, "SELECT 1") == [(1,)]


def test_columns_that_were_added_or_dropped(session: Any) -> None:
    query(session, "CREATE TABLE t AS SELECT n AS a, n AS gone, n::real AS b FROM generate_series(1, 10) n")
    query(session, "ALTER TABLE t DROP gone, ADD late bigint DEFAULT 5, ADD empty text")
    query(session, "INSERT INTO t VALUES (11, 11, 6, 'x')")
    rows = query(session, "SELECT column_name, rows, nulls, minimum, maximum FROM trails.describe_columns('t')")
    assert rows == [
        ("a", 11, 0, "1", "11"),
        ("b", 11, 0, "1.0", "11.0"),
        ("late", 11, 0, "5", "6"),
        ("empty", 11, 10, None, None),
    ]


def test_a_table_without_rows_and_one_without_columns(session: Any) -> None:
    query(session, "CREATE TABLE t (a int, b text)")
    assert query(session, "SELECT column_name, kind, rows FROM trails.describe_columns('t')") == [
        ("a", "int32", 0),
        ("b", "text", 0),
    ]
    query(session, "CREATE TABLE bare ()")
    assert query(session, "SELECT * FROM trails.describe_columns('bare')") == []


def checksums(session: Any, relation: str) -> set[int]:
    """Of the relation's cells in their order, by every way of reading."""
    ways = ("receiver", "batches", "rows")
    found = [
        query(session, "SELECT rows, checksum FROM trails.benchmark_reading(%s, 1, %s)", relation, w) for w in ways
    ]
    assert len({rows for ((rows, _),) in found}) == 1
    return {checksum for ((_, checksum),) in found}


# With a text among them every row is taken apart; without, rows that have no NULLs are copied as they are stored.
@pytest.mark.parametrize("text", ["", ", md5(mod(n, 9)::text) AS t"])
@pytest.mark.parametrize("nulls", ["false", "mod(n, 7) = 0", "mod(n, 1000) = 0", "n > 15000", "true"])
def test_every_way_of_reading_finds_the_same_cells(session: Any, nulls: str, text: str) -> None:
    query(
        session,
        f"""CREATE TABLE t AS SELECT n AS i4, (n * 3000000000) AS i8, mod(n, 2) = 0 AS b, mod(n, 999)::smallint AS i2,
              CASE WHEN mod(n, 5000) = 3 THEN 'NaN' ELSE n / 7.0 END::real AS f4, n / 3.0::float8 AS f8,
              CASE WHEN NOT ({nulls}) THEN mod(n, 11) END AS holes, DATE '2000-01-01' + n AS d,
              TIMESTAMP '2000-01-01' + n * INTERVAL '1 minute' AS m, n::numeric / 7 AS x {text}
            FROM generate_series(1, 20000) n""",
    )
    assert len(checksums(session, "t")) == 1
    # Numbers of any length end the prefix of columns with a fixed place.
    query(session, "ALTER TABLE t DROP x" if text else "ALTER TABLE t DROP f4")
    assert len(checksums(session, "t")) == 1
    query(session, "CREATE TABLE whole AS SELECT * FROM t ORDER BY i4 DESC")
    query(session, "ALTER TABLE whole ADD late int DEFAULT 5")
    query(session, "INSERT INTO whole SELECT * FROM whole LIMIT 10")
    query(session, "CREATE VIEW part_of AS SELECT holes, b, i8 FROM whole WHERE i4 > 100")
    assert len(checksums(session, "whole")) == 1 and len(checksums(session, "part_of")) == 1


def test_rows_of_fixed_width_alone_are_the_same_cells_by_every_way(session: Any) -> None:
    query(
        session,
        """CREATE TABLE t AS SELECT mod(n, 2) = 0 AS b, mod(n, 999)::smallint AS i2, mod(n, 3) = 0 AS c, n AS i4,
             n::real / 7 AS f4,
             mod(n, 5) = 0 AS d, (n * 3000000000) AS i8, n / 3.0::float8 AS f8, DATE '2000-01-01' + n AS day,
             TIMESTAMPTZ '2000-01-01+00' + n * INTERVAL '1 minute' AS m
           FROM generate_series(1, 30000) n""",
    )
    before = checksums(session, "t")
    # The same rows, now with some that have to be taken apart: their cells are the same but for the NULLs.
    query(session, "ALTER TABLE t ADD holes int")
    with_nulls = checksums(session, "t")
    query(session, "UPDATE t SET holes = 1 WHERE mod(i4, 3) > 0")
    query(session, "CREATE VIEW v AS SELECT b, i2, c, i4, f4, d, i8, f8, day, m FROM t ORDER BY i4")
    assert checksums(session, "v") == before and len(before) == 1
    some = checksums(session, "t")
    assert len(with_nulls) == len(some) == 1 and some != with_nulls


def test_in_batches_of_another_reader_errors_say_the_row_of_the_whole(session: Any) -> None:
    query(
        session,
        "CREATE TABLE t AS SELECT CASE n WHEN 9000 THEN 'Infinity' ELSE n::real END x FROM generate_series(1, 9500) n",
    )
    for reader in ("receiver", "batches"):
        with pytest.raises(psycopg2.Error, match="Infinity") as caught:
            query(session, "SELECT * FROM trails.benchmark_reading('t', 1, %s)", reader)
        assert "Row 9000" in caught.value.diag.message_detail
    assert query(session, "SELECT name FROM pg_cursors") == []


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_is_not_utf8_is_refused_at_once(pg: Any, database: str, encoding: str) -> None:
    other = f"{database}_other"
    made = f"CREATE DATABASE {other} TEMPLATE template0 ENCODING {encoding} LC_COLLATE 'C' LC_CTYPE 'C'"
    pg.sql("postgres", made)
    try:
        connection = psycopg2.connect(**pg.socket_parameters(other, "postgres"))
        connection.autocommit = True
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match=encoding) as caught:
            query(connection, "CREATE EXTENSION trails")
        assert "UTF8" in caught.value.diag.message_hint
        connection.close()
    finally:
        pg.drop_database(other)


CALLS = [
    "SELECT * FROM trails.describe_columns('t')",
    "SELECT * FROM trails.filtering_phase('t', 'x', n => 2, k => 1)",
    "SELECT * FROM trails.model_selection('t', 'x', budget => '5 s')",
    "SELECT * FROM trails.predict('m', 't')",
    "SELECT trails.predict('m', t) FROM t",
    "SELECT trails.predict_score('m', t) FROM t",
    "SELECT * FROM trails.encoding('m')",
    "SELECT trails.import_model('m', '')",
    "SELECT * FROM trails.tfmems()",
    "SELECT * FROM trails.benchmark_reading('t')",
    "SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 't')",
]


def test_a_database_of_another_encoding_that_has_the_extension_from_before(pg: Any, database: str) -> None:
    pg.sql(database, "CREATE TABLE t AS SELECT n AS id, n % 2 AS x FROM generate_series(1, 9) n")
    pg.sql(database, "ALTER TABLE t ADD PRIMARY KEY (id)")
    # An earlier release could be installed in one.
    pg.sql("postgres", f"UPDATE pg_database SET encoding = pg_char_to_encoding('LATIN1') WHERE datname = '{database}'")
    connection = psycopg2.connect(**pg.socket_parameters(database, "postgres"))
    connection.autocommit = True
    for statement in CALLS:
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="LATIN1") as caught:
            query(connection, statement)
        assert "UTF8" in caught.value.diag.message_hint, statement
    connection.close()
