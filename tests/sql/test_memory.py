"""Memory that reading takes: bounded by a setting, and where the system has no more an error of one statement."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.predicted import columns_of, make_model, make_things, store, things
from tests.sql.tables import query

Connect = Callable[..., Any]

# Rows that come one by one: a function in FROM would keep them all on disk first.
ROWS = "(SELECT generate_series(1, 30000000) AS g) s"

COLUMNS = {
    "numbers": "g AS a, g::bigint AS b, g::float8 AS c, g % 2 AS label",
    "narrow numbers": "(g % 7)::smallint AS a, g::real AS b, g % 2 = 0 AS label",
    "texts": "'t' || g AS a, g % 2 AS label",
    "ids and values": "g || ':0.5' AS a, g % 2 AS label",
    "NULLs": "NULLIF(g % 3, 1)::float8 AS a, NULLIF(g % 5, 2) AS label",
    "dates": "DATE '2000-01-01' + g % 999 AS a, TIMESTAMP '2000-01-01' + g * INTERVAL '1 s' AS b, g % 2 AS label",
}


def limit_memory(witness: Any, session: Any, megabytes: int | None) -> None:
    """Lets the session's backend take so much more address space than it has; None: as much as it likes.

    A process of the server's user may do that, such as one of another session.
    """
    pid, limit = session.get_backend_pid(), "unlimited"
    if megabytes is not None:
        held = re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        assert held is not None
        limit = str((int(held[1]) << 10) + (megabytes << 20))
    query(witness, f"COPY (SELECT) TO PROGRAM 'cat > /dev/null; prlimit --pid {pid} --as={limit}:'")


def refused(session: Any, statement: str, *parameters: Any) -> Any:
    with pytest.raises(psycopg2.Error) as caught:
        query(session, statement, *parameters)
    assert caught.value.pgcode == "53200", caught.value
    return caught.value.diag


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
def test_memory_that_runs_out_while_a_view_is_read_ends_the_statement_alone(connect: Connect, columns: str) -> None:
    witness, session = connect(), connect()
    query(session, f"CREATE VIEW small AS SELECT {columns} FROM (SELECT generate_series(1, 50) AS g) s")
    query(session, f"CREATE VIEW v AS SELECT {columns} FROM {ROWS}")
    for function in ("trails.describe_columns('{}')", "trails.benchmark_reading('{}', 1, 'batches')"):
        query(session, "SELECT * FROM " + function.format("small"))  # what a session loads once is loaded
        limit_memory(witness, session, 40)
        told = refused(session, "SELECT * FROM " + function.format("v"))
        limit_memory(witness, session, None)
        assert "v" in told.message_primary and "rows" in told.message_detail, told.message_primary
        assert "features" in told.message_hint and "sample" in told.message_hint
        assert query(session, "SELECT count(*) FROM " + function.format("small")) > [(0,)]
    assert query(witness, "SELECT 1") == [(1,)]


def test_memory_that_runs_out_while_a_table_is_copied_ends_the_statement_alone(connect: Connect) -> None:
    witness, session = connect(), connect()
    query(witness, "CREATE TABLE t AS SELECT g AS a, g::bigint AS b, g::float8 AS c FROM generate_series(1, 1000000) g")
    query(witness, "CREATE TABLE small AS SELECT * FROM t LIMIT 50")
    query(session, "SELECT * FROM trails.describe_columns('small')")
    limit_memory(witness, session, 8)
    told = refused(session, "SELECT * FROM trails.describe_columns('t')")
    limit_memory(witness, session, None)
    assert "public.t" in told.message_primary and "sample" in told.message_hint
    assert query(session, "SELECT rows FROM trails.describe_columns('t')")[0] == (1_000_000,)
    assert query(witness, "SELECT 1") == [(1,)]


def test_memory_that_runs_out_in_the_interpreter_ends_the_statement_alone(connect: Connect) -> None:
    witness, session = connect(), connect()
    query(session, "CREATE TABLE d_train AS SELECT g AS id, g % 7 AS b, g % 2 AS label FROM generate_series(1, 99) g")
    query(session, "ALTER TABLE d_train ADD PRIMARY KEY (id)")
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        config = Path(place) / "config.ini"
        config.write_text("[MLP_TRAINER]\nnfeat = 4194304\nnemb = 64\n")
        config.chmod(0o644)
        statement = "SELECT models FROM trails.benchmark_filtering_latency_in_db(1, 'd', 32, %s)"
        query(session, statement, None)  # starts the interpreter
        limit_memory(witness, session, 40)
        told = refused(session, statement, str(config))
        limit_memory(witness, session, None)
        assert "interpreter" in told.message_primary and told.message_detail and told.message_hint
        assert query(session, statement, None) == [(1,)] and query(witness, "SELECT 1") == [(1,)]


def test_the_limit_is_kept_while_a_view_is_read_and_a_table_is_refused_before(connect: Connect) -> None:
    session = connect()
    query(session, "CREATE TABLE t AS SELECT g AS a, g::bigint AS b, g % 2 AS y FROM generate_series(1, 400000) g")
    query(session, "CREATE VIEW v AS SELECT * FROM t")
    query(session, "ANALYZE t")
    query(session, "LOAD 'trails'")
    ((default,),) = query(session, "SELECT pg_size_bytes(current_setting('trails.reading_memory_limit'))")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 64 << 20 < default <= machine // 2, "half of the machine, or of the server's control group"
    query(session, "SET trails.reading_memory_limit = '2 MB'")
    for call in ("trails.describe_columns('{}')", "trails.filtering_phase('{}', 'y', n => 2, k => 1)"):
        told = refused(session, "SELECT * FROM " + call.format("v"))
        # What was held when there was no more room.
        held, rows = map(int, re.findall(r"\d+", told.message_detail))
        assert held <= 2 and 50_000 < rows < 150_000
        assert "trails.reading_memory_limit" in told.message_primary + told.message_hint
        told = refused(session, "SELECT * FROM " + call.format("t"))
        assert "About" in told.message_detail and "3 columns" in told.message_detail
        assert "trails.reading_memory_limit" in told.message_hint and "sample" in told.message_hint
    query(session, "SET trails.reading_memory_limit = '10 MB'")
    assert query(session, "SELECT rows FROM trails.describe_columns('t')")[0] == (400_000,)
    query(session, "SET trails.reading_memory_limit = 0")
    assert query(session, "SELECT rows FROM trails.describe_columns('v')")[0] == (400_000,)


def test_both_tables_of_a_run_count_against_the_limit(scripted: Any, stub: Any) -> None:
    query(
        scripted,
        "CREATE TABLE t AS SELECT g % 100::bigint AS a, g % 2 AS y FROM generate_series(1, 200000) g;"
        "CREATE VIEW v AS SELECT * FROM t; SET trails.reading_memory_limit = '4 MB'",
    )
    statement = "SELECT * FROM trails.refinement_phase('v', 'y', ARRAY['16-16'], space => 'mlp2x20', budget => '20 s'"
    stub.script("receive(); ready(); receive(); plan(); epoch('16-16', 0, 1, 0.7); result([row('16-16', 0.75)])")
    assert len(query(scripted, statement + ")")) == 1
    told = refused(scripted, statement + ", validation => 'v')")
    assert "trails.reading_memory_limit" in told.message_hint


def test_counting_texts_keeps_the_limit_too(connect: Connect) -> None:
    session = connect()
    query(session, "CREATE VIEW v AS SELECT 't' || g % 9 AS a FROM (SELECT generate_series(1, 200000) AS g) s")
    query(session, "SET trails.reading_memory_limit = '2 MB'")
    refused(session, "SELECT * FROM trails.describe_columns('v')")
    query(session, "SET trails.reading_memory_limit = '6 MB'")
    assert query(session, "SELECT rows, distinct_texts FROM trails.describe_columns('v')") == [(200_000, 9)]


def test_keys_of_a_prediction_keep_the_limit(connect: Connect) -> None:
    session = connect()
    rows = things(60)
    make_things(session, rows)
    store(session, "m", make_model(columns_of(rows)))
    query(session, "ALTER TABLE things ALTER id TYPE text USING repeat(id::text, 100000)")
    assert query(session, "SELECT count(*) FROM trails.predict('m', 'things')") == [(60,)]
    query(session, "SET trails.reading_memory_limit = '1 MB'")
    told = refused(session, "SELECT count(*) FROM trails.predict('m', 'things')")
    assert "things" in told.message_primary


def test_the_limit_is_a_fence_for_roles(connect: Connect) -> None:
    connect()
    alice = connect("alice")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(alice, "SET trails.reading_memory_limit = 0; SELECT 1")
        query(alice, "SELECT * FROM trails.describe_columns('pg_catalog.pg_class')")
