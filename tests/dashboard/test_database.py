"""Connections of a dashboard: how many, for how long, and what becomes of them at its end."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import psycopg2.extensions
import pytest

from tests.dashboard.conftest import Database, Start
from tests.dashboard.site import Site
from tests.timing import within
from trails.dashboard import database as dashboard


@pytest.fixture
def reader(shop: Database) -> Iterator[dashboard.Database]:
    made = dashboard.Database(shop.dsn(), timeout=0.5)
    yield made
    made.close()


def test_who_waits_for_a_connection_in_vain_is_told(reader: dashboard.Database) -> None:
    with ExitStack() as held:
        for _ in range(dashboard.CONNECTIONS):
            held.enter_context(reader.reading())
        began = time.monotonic()
        found = reader.find("SELECT 1 AS one")
        assert within(time.monotonic() - began, 0.5, 1.0)
        assert isinstance(found.fault, dashboard.Unreachable) and "all connections" in found.fault.message
    assert reader.rows("SELECT 1 AS one") == [{"one": 1}]


def test_who_waits_for_a_connection_at_the_end_is_told(shop: Database) -> None:
    made = dashboard.Database(shop.dsn(), timeout=60)
    told: list[dashboard.Found] = []
    with made.reading() as cursor, ExitStack() as held:
        for _ in range(dashboard.CONNECTIONS - 1):
            held.enter_context(made.reading())
        waiting = [threading.Thread(target=lambda: told.append(made.find("SELECT 1 AS one"))) for _ in range(3)]
        for one in waiting:
            one.start()
        ending = threading.Thread(target=made.close)
        ending.start()
        with pytest.raises(psycopg2.extensions.QueryCanceledError):
            cursor.execute("SELECT pg_sleep(60)")
    for one in [*waiting, ending]:
        one.join(20)
        assert not one.is_alive()
    told.append(made.find("SELECT 1 AS one"))
    assert ["the dashboard is ending" in str(found.fault) for found in told] == [True] * 4


def test_acting_does_not_fail_because_of_what_others_changed(shop: Database, reader: dashboard.Database) -> None:
    shop.sql("CREATE TABLE counted AS SELECT 0 AS n")
    with reader.reading(acting=True) as cursor:
        cursor.execute("SELECT n FROM public.counted")
        shop.sql("UPDATE counted SET n = n + 1")
        cursor.execute("UPDATE public.counted SET n = n + 1")
    assert shop.sql("SELECT n FROM counted") == [(2,)]
    with reader.reading() as cursor:
        before = dashboard.rows_of(cursor, "SELECT n FROM public.counted")
        shop.sql("UPDATE counted SET n = 9")
        assert dashboard.rows_of(cursor, "SELECT n FROM public.counted") == before
    shop.sql("DROP TABLE counted")


@pytest.mark.parametrize(("given", "expected"), [("", "30000"), (" tcp_user_timeout=1234", "1234")])
def test_a_server_that_vanishes_is_noticed_as_soon_as_the_connection_string_says(
    shop: Database, given: str, expected: str
) -> None:
    made = dashboard.Database(shop.dsn() + given)
    with made.reading() as cursor:
        assert cursor.connection.info.dsn_parameters["tcp_user_timeout"] == expected
    made.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    began = time.monotonic()
    while not condition():
        assert within(time.monotonic() - began, 0.0, 20.0)
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_though_a_statement_runs(shop: Database, start: Start, number: int) -> None:
    shop.sql("CREATE VIEW sleeper AS SELECT l.* FROM later l WHERE pg_sleep(600) IS NOT NULL")
    try:
        site = start("--timeout", "600", dsn=shop.dsn())
        asked = threading.Thread(target=ask, args=(site,))
        asked.start()
        mine = "SELECT count(*) FROM pg_locks WHERE relation = 'sleeper'::regclass AND granted"
        until(lambda: shop.sql(mine)[0][0] > 0)
        began = time.monotonic()
        site.process.send_signal(number)
        _, site.log = site.process.communicate(timeout=120)
        asked.join()
        assert site.process.returncode == 0 and within(time.monotonic() - began, 4.0, 6.0)
        assert "Traceback" not in site.log
        until(lambda: shop.sql(mine)[0][0] == 0)
    finally:
        shop.sql("DROP VIEW sleeper")


def ask(site: Site) -> None:
    """A page that takes long, from a browser that may be left without an answer."""
    with suppress(OSError, http.client.HTTPException):
        site.get("/models/buyers?source=sleeper")
