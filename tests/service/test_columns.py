"""From a stream to columns that a model trains from: kinds, targets, texts, and a training run."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import xxhash

from tests.service.conftest import TOKEN, Database
from trails.errors import InvalidInput, TrailsError
from trails.service import DataClient, read_columns
from trails.table.columns import Column, Columns
from trails.table.texts import MOST_SPELLINGS, parse_idvalue, text_column


def test_kinds_are_those_of_the_extension(database: Database, client: DataClient) -> None:
    database.sql(
        "CREATE TYPE mood AS ENUM ('1:1', 'happy')",
        """CREATE TABLE t (b boolean, i2 smallint, i8 bigint, f4 real, num numeric, t text, iv text, pairs text, e mood,
            d date, ts timestamptz, tm time, gap interval, label integer)""",
        """INSERT INTO t VALUES
            (true, -5, 1::bigint << 40, 0.5, 'NaN', 'ä', '3:1', '7:0.5', '1:1', '2000-01-02', '2000-01-01 00:00:01+00',
                '00:00:01', '1 day', 1),
            (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
            (false, 7, 0, 'NaN', 2.5, '', '4:1', '7:1', '1:1', '1999-12-31', 'infinity', '24:00', '-00:00:01', 0),
            (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1)""",
    )
    found = client.columns("t", target="label")
    assert client.left_out == 1 and found.rows == 3
    assert {column.name: column.kind for column in found} == {
        "b": "boolean",
        "i2": "int32",
        "i8": "int64",
        "f4": "float32",
        "num": "float64",
        "t": "text",
        "iv": "text",
        "pairs": "text",
        "e": "text",
        "d": "date",
        "ts": "timestamp",
        "tm": "time",
        "gap": "interval",
        "label": "int32",
    }
    data = {column.name: column.data.tolist() for column in found}
    assert data["b"] == [1, 0, 0] and data["i2"] == [-5, 7, 0] and data["i8"] == [1 << 40, 0, 0]
    published = client.columns("t", ["iv", "pairs", "label"], target="label")
    assert published["iv"].data.tolist() == [3, 4, 0] and published["iv"].values is None
    assert published["pairs"].data.tolist() == [7, 7, 0]
    assert published["pairs"].values is not None and published["pairs"].values.tolist() == [0.5, 1.0, 1.0]
    assert data["d"][:2] == [1, -1] and data["ts"][0] == 1_000_000 and data["tm"][:2] == [10**6, 86_400 * 10**6]
    assert data["gap"][:2] == [86_400.0, -1.0] and data["label"] == [1, 0, 1]
    absent = {column.name: np.flatnonzero(column.absent()).tolist() for column in found if column.nulls is not None}
    assert absent["num"] == [0, 2] and absent["f4"] == [1, 2] and absent["ts"] == [1, 2] and absent["t"] == [2]
    assert "label" not in absent
    assert found["t"].data[0] == np.uint64(xxhash.xxh3_64_intdigest("ä".encode())).astype(np.int64)
    texts = found["t"].texts
    assert texts is not None and texts.spellings() == {int(found["t"].data[0]): "ä", int(found["t"].data[1]): ""}
    assert all(column.data.flags.owndata or column.data.base is None for column in found)


def test_a_text_target_is_never_idvalue_and_an_all_null_text_is_text(database: Database, client: DataClient) -> None:
    database.sql("CREATE TABLE t (f text, label text)", "INSERT INTO t VALUES (NULL, '1:1'), (NULL, '2:1')")
    assert [column.kind for column in client.columns("t", target="label")] == ["text", "text"]
    assert [column.kind for column in client.columns("t")] == ["text", "idvalue"]


def test_a_key_without_its_constraint_says_nothing_of_the_form(database: Database, client: DataClient) -> None:
    database.sql(
        """CREATE TABLE p AS SELECT n AS id, n % 2 AS label, n % 9 || ':1' AS a, '3:' || 10 + n % 40 AS b
            FROM generate_series(1, 120) n""",
        "CREATE VIEW seen AS SELECT *, 7 AS version FROM p",
        "CREATE TABLE drawn AS SELECT * FROM p ORDER BY md5(id::text) LIMIT 60",
        "CREATE TABLE learnt AS SELECT *, id % 50 AS visits, id % 40 AS days, 1.5 AS other FROM p",
        "CREATE TABLE times AS SELECT id, label, b FROM p",
    )
    for table, kinds in (
        ("p", ["idvalue", "idvalue"]),
        ("seen", ["idvalue", "idvalue"]),
        ("drawn", ["idvalue", "idvalue"]),
        ("learnt", ["text", "time"]),
    ):
        columns = client.columns(table, target="label")
        assert [columns[name].kind for name in "ab"] == kinds, table
    assert client.columns("times", target="label")["b"].kind == "time", "no other column is of ids"


def test_readings_are_for_columns_of_text_alone(database: Database, client: DataClient) -> None:
    database.sql(
        "CREATE TYPE size AS ENUM ('7', 'XL')",
        "CREATE TABLE s AS SELECT n::text AS t FROM generate_series(1, 90) n",
        "CREATE TABLE e AS SELECT '7'::size AS t",
    )
    train = client.columns("s")
    assert train["t"].reading == "number"
    with pytest.raises(InvalidInput, match='"t" has type text'):
        client.columns("e", like=train)


def test_one_other_text_makes_a_column_text_however_late(database: Database, client: DataClient) -> None:
    database.sql("CREATE TABLE t AS SELECT n || ':1' AS f FROM generate_series(1, 200000) n")
    assert client.columns("t")["f"].kind == "idvalue"
    database.sql("INSERT INTO t VALUES ('x')")
    found = client.columns("t", fresh=True)["f"]
    assert found.kind == "text" and len(np.unique(found.data)) == 200_001
    assert found.texts is not None and len(found.texts.hashes) == MOST_SPELLINGS


def test_validation_rows_have_the_kinds_of_training_rows(database: Database, client: DataClient) -> None:
    database.sql(
        "CREATE TABLE train (p text, t text, i bigint, x real)",
        "INSERT INTO train VALUES ('1:1', 'a', 1, 1)",
        "CREATE TABLE valid (p text, t text, i smallint, x numeric)",
        "INSERT INTO valid VALUES (NULL, '5:1', 1, 1)",
        "CREATE TABLE wrong (p text, t integer, i text, x date)",
        "INSERT INTO wrong VALUES ('x', 1, 'x', '2000-01-01')",
    )
    # Alone it is of the published form; beside the others it would be text.
    train = Columns(1, (*client.columns("train", ["p"]), *client.columns("train", ["t", "i", "x"])))
    assert train["p"].kind == "idvalue"
    valid = client.columns("valid", like=train)
    assert [column.family for column in valid] == [column.family for column in train]
    for name in ("p", "t", "i", "x"):
        with pytest.raises(InvalidInput, match=f'"{name}"') as caught:
            client.columns("wrong", [name], like=train)
        assert caught.value.sqlstate == "42804"


def test_types_that_lose_nothing_are_read_as_those_of_the_training_rows(database: Database, client: DataClient) -> None:
    database.sql(
        "CREATE TABLE train (x real, i bigint, s timestamp, d date, b boolean, t text)",
        "INSERT INTO train VALUES (1.5, 1, '2020-01-01 12:00', '2020-01-01', true, 'a')",
        "CREATE VIEW other AS SELECT 3 AS x, 2.0::float8 AS i, date '2020-01-02' AS s, timestamp '2020-01-02' AS d,"
        " 1 AS b, NULL::int AS t",
        "CREATE VIEW nothing AS SELECT NULL AS x, NULL AS i, NULL AS s, NULL AS d, NULL AS b, NULL AS t",
        "CREATE VIEW late AS SELECT timestamp '2020-01-02 12:00' AS d",
    )
    train = client.columns("train")
    other, nothing = client.columns("other", like=train), client.columns("nothing", like=train)
    for found in (other, nothing):
        assert [column.family for column in found] == [column.family for column in train]
    assert [other[name].data.tolist() for name in "xib"] == [[3.0], [2], [1]]
    assert other["s"].data.tolist() == [7306 * 86_400_000_000] and other["d"].data.tolist() == [7306]
    assert all(column.absent() is not None for column in nothing)
    with pytest.raises(InvalidInput, match='"d"') as caught:
        client.columns("late", like=train)
    assert caught.value.sqlstate == "42804" and '"d"::date' in (caught.value.hint or "")


@pytest.mark.parametrize("kind", ["real", "double precision", "numeric"])
def test_infinite_numbers_are_refused_with_their_place(database: Database, client: DataClient, kind: str) -> None:
    database.sql(f"CREATE TABLE t (x {kind})", "INSERT INTO t VALUES (1), (NULL), ('NaN'), ('-Infinity')")
    with pytest.raises(TrailsError, match=r'"x" of public.t .* row 4') as caught:
        client.columns("t")
    assert caught.value.sqlstate == "22003" and caught.value.hint


def test_a_target_that_is_not_there_is_named(database: Database, client: DataClient) -> None:
    database.sql("CREATE TABLE t (x integer)")
    with pytest.raises(InvalidInput, match='"label"'):
        client.columns("t", target="label")
    assert client.columns("t").rows == 0


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("0:1", (0, 1.0)),
        ("2147483647:-1e3", (2**31 - 1, -1000.0)),
        ("5:.5", (5, 0.5)),
        *((text, None) for text in ("", ":", "1", "1:", ":1", "a:1", "-1:1", "1:x", "1:nan", "1:inf", "1:1e39")),
        *((text, None) for text in ("2147483648:1", "99999999999:1", "1:1 ", " 1:1", "1:1_0", "\u0661:1", "1:1\n")),
    ],
)
def test_idvalue_is_parsed_as_the_extension_does(text: str, parsed: tuple[int, float] | None) -> None:
    assert parse_idvalue(text) == parsed


def test_long_texts_are_cut_at_a_character_and_hashed_whole() -> None:
    one, two = "é" * 100 + "xa", "é" * 100 + "xb"
    column = text_column("t", [one, None, two, one, "a" + "é" * 100])
    assert column.data[0] == column.data[3] != column.data[2]
    assert column.texts is not None
    assert list(column.texts.spellings().values()) == ["é" * 100, "é" * 100, "a" + "é" * 99]


def test_a_model_trains_from_streamed_columns(database: Database, client: DataClient) -> None:
    database.sql(
        """CREATE TABLE t AS SELECT n % 12 AS a, 'text ' || n % 7 AS b, (n * 7919) % 1000 / 10.0 AS x,
            CASE WHEN (n % 12 < 6) = (n % 7 < 3) THEN 'yes' ELSE 'no' END AS label FROM generate_series(1, 8000) n"""
    )
    table = read_columns(client.uri, TOKEN, "t", ["label", "x", "a", "b"], "label")
    generator = np.random.default_rng(0)
    order = generator.permutation(table.rows)
    ranked = _train(table.take(np.sort(order[:6000])), table.take(np.sort(order[6000:])))
    assert ranked[0].best_metric > 0.95


def _train(train: Columns, validation: Columns) -> list[Any]:
    import torch

    from trails.refinement.dataset import prepare
    from trails.refinement.protocol import Candidate, Events, Refine, Setting
    from trails.refinement.run import refine
    from trails.refinement.timings import Timings
    from trails.training.options import parse_options

    started = time.monotonic()
    setting = Setting("label", 1, started, math.inf, math.inf, {"columns": [], "rows": train.rows}, None)
    candidates = tuple(Candidate(name, tuple(map(int, name.split("-"))), 1.0) for name in ("32-32", "16-16"))
    request = Refine(candidates, "sh", 2, 4, parse_options({"max_epochs": 12}), 1e-6, 2)
    cpu = torch.device("cpu")
    data = prepare(train, validation, "label", 1, cpu)
    return list(refine(setting, request, data, [cpu], Events(lambda line: None), Timings(started)))


def test_streamed_and_plain_columns_are_one_and_the_same_type(database: Database, client: DataClient) -> None:
    database.sql("CREATE TABLE t AS SELECT n AS a FROM generate_series(1, 3) n")
    found = client.columns("t")["a"]
    plain = Column("a", "int32", np.array([1, 2, 3], np.int32))
    assert found.kind == plain.kind and found.data.dtype == plain.data.dtype and found.data.tolist() == [1, 2, 3]
