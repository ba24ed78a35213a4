"""The estimator and the command on tables of a database, read by a connection of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.service.conftest import Database
from trails import ModelSelector
from trails.cli import main
from trails.errors import InvalidInput, TrailsError
from trails.service.reader import key_of, read_table


@pytest.fixture
def tables(database: Database) -> Database:
    """Orders that are paid if customer and shop agree."""
    make = """CREATE TABLE {0} AS SELECT n AS id, n * 7919 % 10 AS customer, 'shop ' || n % 6 AS shop,
        date '2020-01-01' + n % 700 AS day, (n * 31 % 1000) / 7.0 AS price,
        CASE WHEN n % 97 > 0 THEN ((n * 7919 % 10 < 5) = (n % 6 < 3)) END AS paid FROM generate_series({1}) n"""
    database.sql(
        make.format("orders_train", "1, 3000"),
        make.format("orders_valid", "3001, 4000"),
        make.format("orders_test", "4001, 5000"),
        *(f"ALTER TABLE orders_{part} ADD PRIMARY KEY (id)" for part in ("train", "valid", "test")),
    )
    return database


@pytest.fixture
def connection(tables: Database) -> Iterator[Any]:
    found = psycopg2.connect(tables.dsn)
    yield found
    found.close()


def selector(**changes: Any) -> ModelSelector:
    plan: dict[str, Any] = {"budget": None, "k": 1, "u": 15, "options": {"max_epochs": 15}, "isolated": False}
    return ModelSelector(**{**plan, **changes})


def test_a_table_is_learnt_from_and_predicted(connection: Any) -> None:
    found = selector().fit(connection, "orders_train", target="paid", validation="orders_valid")
    assert found.task_ == "binary" and found.classes_.tolist() == [False, True]
    assert found.feature_names_in_.tolist() == ["customer", "shop", "day", "price"], "the key is no feature"
    assert found.rows_left_out_ == 3000 // 97 + (4000 // 97 - 3000 // 97)
    assert found.model_.training["rows"] == 3000 - 3000 // 97
    with connection.cursor() as cursor:
        cursor.execute("SELECT (id * 7919 % 10 < 5) = (id % 6 < 3) FROM orders_test")
        truth = np.array([row[0] for row in cursor.fetchall()])
    predicted = found.predict(connection, "orders_test")
    assert predicted.shape == (1000,) and predicted.dtype == np.bool_ and (predicted == truth).mean() > 0.97
    probabilities = found.predict_proba(connection, "orders_test")
    assert np.array_equal(probabilities.argmax(1) == 1, predicted)
    columns, _ = read_table(connection, "orders_test")
    plain = np.array([columns["customer"].data, columns["price"].data], object)
    with pytest.raises(ValueError, match="2 features"):
        found.predict(plain.T)


def test_the_callers_transaction_is_read_in_and_stays_open(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE mine AS SELECT * FROM orders_train LIMIT 7")
    assert read_table(connection, "mine")[0].rows == 7
    connection.rollback()
    with pytest.raises(InvalidInput) as caught:
        read_table(connection, "mine")
    assert caught.value.sqlstate == "42P01"


@pytest.mark.parametrize("autocommit", [False, True])
def test_rows_come_in_their_order_while_another_session_scans_the_table(tables: Database, autocommit: bool) -> None:
    tables.sql(
        "CREATE TABLE large AS SELECT n, (SELECT repeat('x', (pg_size_bytes(current_setting('shared_buffers'))"
        " / 4 * 5 / 4 / 40000)::int)) AS pad FROM generate_series(1, 40000) n"
    )
    with psycopg2.connect(tables.dsn) as other, psycopg2.connect(tables.dsn) as mine:
        with other.cursor() as cursor:
            cursor.execute("DECLARE c CURSOR FOR SELECT ctid FROM large; MOVE 20000 IN c")
        mine.autocommit = autocommit
        columns, _ = read_table(mine, "large", ["n"])
        assert np.array_equal(columns["n"].data, np.arange(1, 40001))
        with mine.cursor() as cursor:
            cursor.execute("SHOW synchronize_seqscans")
            assert cursor.fetchone() == ("on",), "the session's own setting is back"
            cursor.execute("SELECT n FROM large LIMIT 1")
            assert cursor.fetchone() != (1,), "the server would begin in the middle"
    mine.close()
    other.close()


def test_a_column_that_the_key_only_includes_is_a_feature(tables: Database, connection: Any) -> None:
    tables.sql("CREATE TABLE keyed (a int, b int, c int, PRIMARY KEY (c, a) INCLUDE (b))")
    assert key_of(connection, "keyed") == {"a", "c"}


def test_mistakes_with_tables_are_named(tables: Database, connection: Any) -> None:
    tables.sql("CREATE TABLE odd (a jsonb, paid boolean)", "CREATE VIEW other AS SELECT 'x' AS customer, true AS paid")
    for arguments, words in (
        (("orders_train",), "target"),
        ((None, "paid"), "target"),
        (("no_such", "paid"), "no_such"),
        (("orders_train", "nope"), "nope"),
        (("odd", "paid"), "jsonb"),
        (("orders_train", "paid", 7), "name of a table"),
        (("orders_train", "paid", "other"), "shop"),
    ):
        table, target, validation = (*arguments, None, None)[:3]
        with pytest.raises((ValueError, TrailsError), match=words):
            selector().fit(connection, table, target=target, validation=validation)
    with pytest.raises(ValueError, match="target names a column"):
        selector().fit(np.zeros((20, 2)), np.arange(20) % 2, target="paid")
    found = selector().fit(connection, "orders_train", target="paid")
    with pytest.raises(ValueError, match="table is needed"):
        found.predict(connection)
    tables.sql("CREATE VIEW worse AS SELECT id, customer::text, shop, day, price FROM orders_test")
    with pytest.raises(ValueError, match='"customer" has type text') as caught:
        found.predict(connection, "worse")
    assert isinstance(caught.value, InvalidInput) and caught.value.sqlstate == "42804"


def test_unreadable_columns_are_left_out_and_whole_numbers_stand_for_numbers(tables: Database, connection: Any) -> None:
    tables.sql(
        "ALTER TABLE orders_train ADD note jsonb, ADD cost money",
        "CREATE VIEW whole AS SELECT id, customer, shop, day, price::int AS price, paid FROM orders_valid",
        "CREATE VIEW same AS SELECT id, customer, shop, day, price::int::float8 AS price FROM orders_valid",
    )
    quick = selector(u=1, options={"max_epochs": 1})
    with pytest.warns(UserWarning, match='"note" of public.orders_train is left out: type jsonb') as told:
        found = quick.fit(connection, "orders_train", target="paid", validation="whole")
    assert any('"cost"' in str(warning.message) for warning in told)
    assert found.feature_names_in_.tolist() == ["customer", "shop", "day", "price"]
    probabilities = found.predict_proba(connection, "whole")
    assert np.array_equal(probabilities, found.predict_proba(connection, "same"))


@pytest.mark.parametrize("parts", [("train", "valid", "test"), ("train",)])
def test_the_command_reads_tables(
    tables: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], parts: tuple[str, ...]
) -> None:
    for part in {"valid", "test"} - set(parts):
        tables.sql(f"DROP TABLE orders_{part}")
    plan = ["--k", "1", "--u", "15", "--options", '{"max_epochs": 15}', "--logs", str(tmp_path / "logs")]
    assert main(["--dataset", "orders", "--dsn", tables.dsn, "--target", "paid", *plan]) == 0
    told = capsys.readouterr()
    assert ("test_auc 0.9" in told.out or "test_auc 1.0" in told.out) == ("test" in parts)
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert main(["--dataset", "nothing", "--dsn", tables.dsn, "--target", "paid", *plan]) == 2
    assert "nothing_train" in capsys.readouterr().err
