"""The published latency call, word for word, and the reading benchmark."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import make_table, query

CONFIGS = Path(__file__).resolve().parents[2] / "benchmarks" / "config"


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    connection = connect()
    make_table(connection, "frappe_train", rows=500)
    query(connection, "SET search_path = trails, public")
    return connection


@pytest.fixture
def config() -> Iterator[Path]:
    """A copy of the configuration that the server's user can read."""
    with tempfile.TemporaryDirectory(prefix="trails-config-") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "config.ini")
        shutil.copyfile(CONFIGS / "frappe.ini", path)
        path.chmod(0o644)
        yield path


def test_the_published_call_works_as_it_stands(session: Any, config: Path) -> None:
    rows = query(session, f"select benchmark_filtering_latency_in_db(500, 'frappe', 64, '{config}');")
    assert len(rows) == 1 and rows[0][0].startswith("(500,")
    ((models, *phases, total),) = query(
        session, f"select * from benchmark_filtering_latency_in_db(500, 'frappe', 64, '{config}')"
    )
    assert models == 500 and all(seconds > 0 for seconds in phases)
    assert sum(phases) <= total


def test_without_a_file_the_defaults_apply_and_text_columns_work(session: Any) -> None:
    query(session, "CREATE TABLE texts_train AS SELECT id, label, colour || ':1' AS col1 FROM frappe_train")
    query(session, "ALTER TABLE texts_train ADD PRIMARY KEY (id)")
    ((models, *_),) = query(session, "SELECT * FROM benchmark_filtering_latency_in_db(20, 'texts', 64, NULL)")
    assert models == 20


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "words"),
    [
        ("5, 'nowhere'", "42P01", "nowhere_train"),
        ("0, 'frappe'", "22023", "n must be at least 1"),
        ("5, 'frappe', 0", "22023", "batch_size must be at least 1"),
        ("160001, 'frappe'", "22023", "160001"),
        ("NULL, 'frappe'", "22023", "n must not be NULL"),
        ("5, 'keyless'", "22023", "primary key"),
    ],
)
def test_bad_input_is_refused(session: Any, arguments: str, sqlstate: str, words: str) -> None:
    query(session, "CREATE VIEW keyless_train AS SELECT * FROM frappe_train")
    with pytest.raises(psycopg2.Error, match=words) as caught:
        query(session, f"SELECT * FROM benchmark_filtering_latency_in_db({arguments})")
    assert caught.value.pgcode == sqlstate


def test_a_metric_that_is_not_known_lists_those_that_are(session: Any, config: Path) -> None:
    config.write_text("[SYS_PERFORMANCE]\ntfmem = magic\n")
    with pytest.raises(psycopg2.Error, match="magic") as caught:
        query(session, f"SELECT * FROM benchmark_filtering_latency_in_db(5, 'frappe', 64, '{config}')")
    assert "expressflow" in caught.value.diag.message_hint
    config.write_text("not an ini file")
    with pytest.raises(psycopg2.Error, match="configuration"):
        query(session, f"SELECT * FROM benchmark_filtering_latency_in_db(5, 'frappe', 64, '{config}')")


@pytest.mark.parametrize("cache", ["True", "False"])
@pytest.mark.parametrize("metric", ["jacflow", "snip", "express_flow"])
def test_the_metric_and_the_embedding_cache_are_the_files(session: Any, config: Path, metric: str, cache: str) -> None:
    text = config.read_text().replace("tfmem = express_flow", f"tfmem = {metric}")
    config.write_text(text.replace("embedding_cache_filtering = True", f"embedding_cache_filtering = {cache}"))
    query(session, "UPDATE frappe_train SET label = NULL WHERE id <= 100")
    ((models, *phases, total),) = query(
        session, f"select * from benchmark_filtering_latency_in_db(40, 'frappe', 32, '{config}')"
    )
    assert models == 40 and all(seconds > 0 for seconds in phases) and sum(phases) <= total


def test_a_metric_that_reads_targets_needs_the_column_label(session: Any, config: Path) -> None:
    query(session, "CREATE TABLE bare_train AS SELECT id, colour, shape FROM frappe_train")
    query(session, "ALTER TABLE bare_train ADD PRIMARY KEY (id)")
    query(session, "CREATE TABLE odd_train AS SELECT id, colour, label || ':1' AS label FROM frappe_train")
    query(session, "ALTER TABLE odd_train ADD PRIMARY KEY (id)")
    statement = "SELECT models FROM benchmark_filtering_latency_in_db(5, {}, 16, {})"
    config.write_text("[SYS_PERFORMANCE]\ntfmem = naswot\n")
    assert query(session, statement.format("'bare'", f"'{config}'")) == [(5,)]
    config.write_text("[SYS_PERFORMANCE]\ntfmem = snip\n")
    for table, sqlstate in (("bare", "42703"), ("odd", "0A000")):
        with pytest.raises(psycopg2.Error, match="label") as caught:
            query(session, statement.format(f"'{table}'", f"'{config}'"))
        assert caught.value.pgcode == sqlstate
    query(session, "ALTER TABLE bare_train ADD note jsonb")
    with pytest.raises(psycopg2.Error, match="note") as caught:
        query(session, statement.format("'bare'", f"'{config}'"))
    assert caught.value.pgcode == "0A000", "the study is of the whole table"


def test_reading_is_timed(session: Any) -> None:
    rows = query(session, "SELECT * FROM benchmark_reading('frappe_train', 3)")
    assert [row[:2] for row in rows] == [(500, 5)] * 3
    assert all(row[2] > 0 for row in rows)
