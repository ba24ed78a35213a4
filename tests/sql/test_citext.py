"""Texts that are compared without case: citext is not read, and a view with lower() is what it says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.contrib import settings_for
from tests.sql.tables import query
from tools.server import Server, temporary_server

# Five spellings of two words, and of two answers that follow from the words.
_TABLE = """
CREATE TABLE folded AS
SELECT i AS id, (ARRAY['Red', 'RED', 'red', 'Blue', 'bLUE'])[1 + mod(i * 7919, 5)]::citext AS colour, mod(i, 5) AS x,
       (ARRAY['Yes', 'yes', 'YES', 'no', 'No'])[1 + mod(i * 7919, 5)]::citext AS answer
FROM generate_series(1, 2000) i
"""


@pytest.fixture(scope="module")
def session(pg: Server, cluster: Path) -> Iterator[Any]:
    settings = settings_for(pg.pg_config, "citext")
    if settings is None:
        pytest.skip("this server has no citext: TRAILS_CONTRIB may name an installation of 18 that has")
    with (
        temporary_server(pg.pg_config, pg.virtualenv, settings, copy_data_from=cluster) as server,
        contextlib.closing(psycopg2.connect(**server.socket_parameters())) as connection,
    ):
        connection.autocommit = True
        query(connection, "CREATE EXTENSION citext")
        query(connection, _TABLE)
        query(
            connection,
            "CREATE VIEW lowered AS SELECT id, lower(colour) AS colour, x, lower(answer) AS answer FROM folded",
        )
        yield connection


def refused(connection: Any, statement: str) -> Any:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    return caught.value.diag


def test_citext_is_left_out_with_a_notice_and_refused_by_name(session: Any) -> None:
    """Learnt as it is stored, spellings that SQL calls equal would be different categories, and different classes."""
    described = "SELECT column_name, kind FROM trails.describe_columns('folded')"
    assert query(session, described) == [("id", "int32"), ("colour", None), ("x", "int32"), ("answer", None)]
    del session.notices[:]
    query(session, "SELECT * FROM trails.filtering_phase('folded', n => 5, features => NULL)")
    told = [notice for notice in session.notices if "is left out: type citext" in notice]
    assert ["colour" in told[0], "answer" in told[1]] == [True, True]
    for statement in (
        "SELECT * FROM trails.filtering_phase('folded', 'x', n => 5, features => '{colour}')",
        "SELECT * FROM trails.model_selection('folded', 'answer', '10 s')",
        "SELECT trails.submit('folded', 'answer', '10 s')",
    ):
        error = refused(session, statement)
        assert error.sqlstate == "0A000" and "type citext" in error.message_primary and "view" in error.message_hint


def test_a_view_of_lower_learns_without_case(session: Any) -> None:
    described = "SELECT column_name, kind, distinct_texts FROM trails.describe_columns('lowered', '{colour,answer}')"
    assert query(session, described) == [("colour", "text", 2), ("answer", "text", 2)]
    query(
        session,
        "SELECT * FROM trails.model_selection('lowered', 'answer', '15 s', n => 5, k => 1, u => 1, name => 'm')",
    )
    assert query(session, "SELECT classes FROM trails.models") == [(["no", "yes"],)]
    scored = """
        SELECT given.colour, count(DISTINCT folded.colour::text), count(DISTINCT trails.predict_score('m', given))
        FROM folded, LATERAL (SELECT lower(folded.colour) AS colour, 1 AS x) given GROUP BY 1 ORDER BY 1
    """
    assert query(session, scored) == [("blue", 2, 1), ("red", 3, 1)]
    assert query(session, "SELECT value FROM trails.evaluate('m', 'lowered') WHERE metric = 'auc'")[0][0] > 0.99
    # A model of the view says what a row of the table lacks.
    assert refused(session, "SELECT trails.predict('m', f) FROM folded f").sqlstate == "0A000"
