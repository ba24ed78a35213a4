"""What a consumer gets: types, NULLs, order, batches, epochs, shuffling, names, rights."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from tests.service.conftest import TOKEN, Database, Serve
from trails.errors import InvalidInput, TrailsError
from trails.service import DataClient
from trails.service.client import Batch, request_for
from trails.service.request import Request

EVERY_TYPE = """
CREATE TABLE every (n integer, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision,
    num numeric, t text, v varchar(99), c char(4), u uuid, e mood, d date, ts timestamp, tz timestamptz, tm time,
    iv interval, dom positive)
"""


@pytest.fixture
def every(database: Database) -> Database:
    database.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'so so', 'happy')",
        "CREATE DOMAIN natural_number AS integer CHECK (value >= 0)",
        "CREATE DOMAIN positive AS natural_number CHECK (value > 0)",
        EVERY_TYPE,
        """INSERT INTO every VALUES (1, true, -32768, 2147483647, -9223372036854775808, 0.1, 1e-308, 123.456, 'a', 'b',
            'c', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'so so', '1999-12-31', '2000-01-01 00:00:00.000001',
            '2000-01-01 00:00+01', '23:59:59.999999', '1 year 1 month 1 day 00:00:00.5', 7)""",
        "INSERT INTO every (n) VALUES (2)",
        """INSERT INTO every VALUES (3, false, 0, 0, 0, 'NaN', 'Infinity', 'NaN', '', 'with "quotes", and',
            'a b', NULL, 'happy', 'infinity', '-infinity', '0044-03-15 12:00:00+00 BC', '00:00', '-1 month', 1)""",
    )
    return database


def whole(client: DataClient, table: str, columns: list[str] | None = None, **options: Any) -> pa.Table:
    """All of a table, as Arrow gives it."""
    return pa.Table.from_batches([rows for rows, _ in client.record_batches(request_for(table, columns, **options))])


def test_every_type_arrives_as_it_is(every: Database, client: DataClient) -> None:
    found = whole(client, "every")
    schema = {field.name: str(field.type) for field in found.schema}
    assert schema == {
        "n": "int32",
        "b": "bool",
        "i2": "int16",
        "i4": "int32",
        "i8": "int64",
        "f4": "float",
        "f8": "double",
        "num": "double",
        "t": "string",
        "v": "string",
        "c": "string",
        "u": "string",
        "e": "string",
        "d": "date32[day]",
        "ts": "timestamp[us]",
        "tz": "timestamp[us, tz=UTC]",
        "tm": "time64[us]",
        "iv": "double",
        "dom": "int32",
    }
    # Python's own datetime knows no years before Christ.
    place, moments = found.schema.get_field_index("tz"), found.column("tz").cast(pa.int64())
    first, second, third = found.set_column(place, "tz", moments).to_pylist()
    assert first == {
        "n": 1,
        "b": True,
        "i2": -32768,
        "i4": 2**31 - 1,
        "i8": -(2**63),
        "f4": float(np.float32(0.1)),
        "f8": 1e-308,
        "num": 123.456,
        "t": "a",
        "v": "b",
        "c": "c",
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "e": "so so",
        "d": dt.date(1999, 12, 31),
        "ts": dt.datetime(2000, 1, 1, 0, 0, 0, 1),
        "tz": int(dt.datetime(1999, 12, 31, 23, tzinfo=dt.UTC).timestamp()) * 1_000_000,
        "tm": dt.time(23, 59, 59, 999999),
        # As PostgreSQL compares intervals: a month has 30 days, a year 12 months.
        "iv": (13 * 30 + 1) * 86_400 + 0.5,
        "dom": 7,
    }
    assert [name for name, value in second.items() if value is not None] == ["n"]
    assert np.isnan(third.pop("f4")) and np.isnan(third.pop("num")) and third["f8"] == np.inf
    assert (third["t"], third["v"], third["c"], third["u"]) == ("", 'with "quotes", and', "a b", None)
    assert third["d"] is None and third["ts"] is None, "an open end counts as NULL"
    assert third["iv"] == -30 * 86_400.0 and third["tm"] == dt.time(0)
    ((seconds,),) = every.sql("SELECT extract(epoch FROM tz)::bigint FROM every WHERE n = 3")
    assert third["tz"] == seconds * 1_000_000 < -62_000_000_000_000_000


def test_numpy_batches_say_where_nulls_are(every: Database, client: DataClient) -> None:
    (batch,) = client.stream("every")
    assert (batch.epoch, batch.first, batch.rows) == (0, 0, 3)
    kinds = {name: array.dtype.kind for name, array in batch.data.items()}
    assert kinds["b"] == "b" and kinds["i4"] == "i" and kinds["t"] == "O" and kinds["d"] == "M" and kinds["iv"] == "f"
    assert batch.data["i4"].tolist() == [2**31 - 1, 0, 0] and batch.nulls["i4"].tolist() == [False, True, False]
    assert batch.data["t"].tolist() == ["a", "", ""] and batch.nulls["t"].tolist() == [False, True, False]
    assert batch.data["d"].dtype == "datetime64[D]" and np.isnat(batch.data["d"][1:]).all()
    assert batch.data["tm"].tolist()[0] == 86_400_000_000 - 1
    assert "n" not in batch.nulls


def test_a_null_in_the_only_column_is_a_row(database: Database, client: DataClient) -> None:
    database.sql("CREATE TABLE lonely (t text)", "INSERT INTO lonely VALUES (NULL), (''), (E'a\\n\"b\\r\\n'), (NULL)")
    assert whole(client, "lonely").column("t").to_pylist() == [None, "", 'a\n"b\r\n', None]


def test_an_empty_table_is_an_epoch_of_no_rows(database: Database, client: DataClient) -> None:
    database.sql("CREATE TABLE nothing (a integer, t text)")
    assert list(client.stream("nothing", epochs=3)) == []
    assert whole(client, "nothing").schema.names == ["a", "t"]


def numbers(database: Database, rows: int) -> None:
    database.sql(
        "CREATE TABLE numbers (n integer, t text)",
        f"INSERT INTO numbers SELECT n, 'text ' || n % 100 FROM generate_series(1, {rows}) n",
    )


def test_batches_have_the_size_that_is_asked_for_in_every_epoch(database: Database, client: DataClient) -> None:
    numbers(database, 50_001)
    for size in (1_000, 7_777, 50_001, 60_000):
        batches = list(client.stream("numbers", ["n"], batch=size, epochs=2))
        assert [b.epoch for b in batches] == [0] * (len(batches) // 2) + [1] * (len(batches) // 2)
        for epoch in (0, 1):
            mine = [b for b in batches if b.epoch == epoch]
            assert all(b.rows == size for b in mine[:-1]) and 0 < mine[-1].rows <= size
            assert [b.first for b in mine] == list(range(0, 50_001, size))
            assert np.array_equal(joined(mine), np.arange(1, 50_002))


def joined(batches: list[Batch]) -> np.ndarray[Any, Any]:
    return np.concatenate([batch.data["n"] for batch in batches])


def test_rows_are_shuffled_within_the_buffer_by_seed_and_epoch(database: Database, client: DataClient) -> None:
    numbers(database, 10_500)
    both = list(client.stream("numbers", ["n"], batch=512, epochs=2, shuffle=4_000, seed=5))
    first, second = (joined([b for b in both if b.epoch == epoch]) for epoch in (0, 1))
    for found in (first, second):
        for start in range(0, 10_500, 4_000):
            window = found[start : start + 4_000]
            assert np.array_equal(np.sort(window), np.arange(start, min(start + 4_000, 10_500)) + 1)
            assert not np.array_equal(np.sort(window), window)
    assert not np.array_equal(first, second)
    other_batches = joined(list(client.stream("numbers", ["n"], batch=999, shuffle=4_000, seed=5)))
    other_seed = joined(list(client.stream("numbers", ["n"], batch=512, shuffle=4_000, seed=6)))
    assert np.array_equal(other_batches, first) and not np.array_equal(other_seed, first)


def test_columns_come_in_the_order_that_is_asked_for(every: Database, client: DataClient) -> None:
    assert whole(client, "every", ["t", "n"]).column_names == ["t", "n"]
    # From the same reading, of which less is sent.
    assert whole(client, "every", ["n"]).to_pydict() == {"n": [1, 2, 3]}


def test_views_and_partitions_are_read_as_tables(database: Database, client: DataClient) -> None:
    numbers(database, 100)
    database.sql(
        "CREATE VIEW odd AS SELECT n, n * 0.5 AS half FROM numbers WHERE n % 2 = 1",
        "CREATE MATERIALIZED VIEW kept AS SELECT * FROM odd",
        "CREATE TABLE parted (n integer) PARTITION BY RANGE (n)",
        "CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (50)",
        "CREATE TABLE part_2 PARTITION OF parted FOR VALUES FROM (50) TO (200)",
        "INSERT INTO parted SELECT n FROM numbers",
    )
    for name in ("odd", "kept", "public.odd"):
        found = whole(client, name)
        assert found.column("n").to_pylist() == list(range(1, 100, 2))
        assert found.column("half").to_pylist()[:2] == [0.5, 1.5]
    assert sorted(whole(client, "parted").column("n").to_pylist()) == list(range(1, 101))


def test_names_that_need_quotes_are_quoted(database: Database, client: DataClient) -> None:
    database.sql(
        'CREATE SCHEMA "Odd one"',
        'CREATE TABLE "Odd one"."a ""b""; DROP TABLE x; %s {0}" ("n""; --" integer, "%s {1}" text)',
        """INSERT INTO "Odd one"."a ""b""; DROP TABLE x; %s {0}" VALUES (1, 'x')""",
    )
    found = whole(client, '"Odd one"."a ""b""; DROP TABLE x; %s {0}"', ["%s {1}", 'n"; --'])
    assert found.to_pylist() == [{"%s {1}": "x", 'n"; --': 1}]


@pytest.mark.parametrize(
    ("table", "columns", "sqlstate", "words"),
    [
        ("no_such", None, "42P01", "no_such"),
        ("every", ["n", "nope"], "42703", "nope"),
        ("every", ["n", "n"], "42701", "twice"),
        ("every; DROP TABLE every", None, "42P01", "no table"),
        ("a.b.c.d", None, "42602", "not the name"),
        ("every_n_idx", None, "42809", "neither"),
        ("odd_types", None, "0A000", '"j" of public.odd_types has type jsonb'),
        ("odd_types", ["a"], "0A000", "integer[]"),
    ],
)
def test_what_cannot_be_read_is_named(
    every: Database, client: DataClient, table: str, columns: list[str] | None, sqlstate: str, words: str
) -> None:
    every.sql("CREATE INDEX ON every (n)", "CREATE TABLE odd_types (n integer, j jsonb, a integer[])")
    with pytest.raises(TrailsError, match=r".") as caught:
        list(client.stream(table, columns))
    assert caught.value.sqlstate == sqlstate and words in caught.value.message
    assert every.sql("SELECT count(*) FROM every") == [(3,)]
    assert list(client.stream("odd_types", ["n"])) == []


@pytest.mark.parametrize(
    "changes",
    [{"batch": 0}, {"batch": 1 << 21}, {"epochs": 0}, {"shuffle": -1}, {"shuffle": 1 << 21}, {"columns": []}],
)
def test_requests_out_of_range_are_refused(client: DataClient, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        list(client.stream("numbers", **changes))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x80\x04K\x01.",
        b"[1]",
        b'{"table": 1}',
        b'{"columns": ["a"]}',
        b'{"table": "t", "sql": "SELECT 1"}',
        b'{"table": "t", "batch": true}',
        b'{"table": "t", "columns": "abc"}',
        b'{"table": "t", "columns": [1]}',
        b'{"table": "t", "seed": 1.5}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        Request.from_bytes(text)


def test_every_call_needs_the_token(every: Database, client: DataClient) -> None:
    ticket = flight.Ticket(Request("every").to_bytes())
    with flight.connect(client.uri) as bare:
        for header in (None, b"Bearer " + TOKEN.encode()[:-1] + b"x", b"Bearer ", TOKEN.encode(), b"Basic eDp5"):
            options = flight.FlightCallOptions(headers=[(b"authorization", header)] if header else [])
            for call in (
                lambda options=options: bare.do_get(ticket, options).read_all(),
                lambda options=options: bare.get_flight_info(
                    flight.FlightDescriptor.for_command(ticket.ticket), options
                ),
                lambda options=options: bare.get_schema(flight.FlightDescriptor.for_command(ticket.ticket), options),
                lambda options=options: list(bare.do_action(flight.Action("status", b""), options)),
                lambda options=options: list(bare.list_actions(options)),
                lambda options=options: list(bare.list_flights(options=options)),
            ):
                with pytest.raises((flight.FlightUnauthenticatedError, OSError), match="refuses the token"):
                    call()
    with DataClient(client.uri, TOKEN + "x") as other, pytest.raises(TrailsError) as caught:
        other.schema("every")
    assert caught.value.sqlstate == "28000"


def test_a_service_reads_as_its_role_and_cannot_write(database: Database, serve: Serve) -> None:
    dsn = database.role("reader_of_the_service")
    try:
        database.sql(
            "CREATE TABLE closed (n integer)",
            "CREATE TABLE mine (owner name, n integer)",
            "INSERT INTO mine VALUES ('reader_of_the_service', 1), ('somebody', 2)",
            "ALTER TABLE mine ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY own ON mine USING (owner = current_user)",
            "GRANT SELECT ON mine TO reader_of_the_service",
            "CREATE TABLE log (n integer)",
            "CREATE FUNCTION write() RETURNS integer LANGUAGE sql AS 'INSERT INTO log VALUES (1) RETURNING n'",
            "CREATE VIEW writing AS SELECT write() AS n",
            "GRANT ALL ON log, writing TO reader_of_the_service",
        )
        with DataClient(serve(dsn).uri, TOKEN) as client:
            with pytest.raises(TrailsError, match="permission denied") as caught:
                list(client.stream("closed"))
            assert caught.value.sqlstate == "42501"
            assert [batch.data["n"].tolist() for batch in client.stream("mine", ["n"])] == [[1]]
            with pytest.raises(TrailsError, match="read-only") as caught:
                list(client.stream("writing"))
            assert caught.value.sqlstate == "25006"
    finally:
        database.sql("DROP OWNED BY reader_of_the_service", "DROP ROLE reader_of_the_service")


def test_a_cell_that_cannot_be_cast_is_told(database: Database, client: DataClient) -> None:
    database.sql("CREATE TABLE huge (x numeric)", "INSERT INTO huge VALUES (1), (1e400)")
    with pytest.raises(TrailsError) as caught:
        list(client.stream("huge"))
    assert caught.value.sqlstate == "22003"
