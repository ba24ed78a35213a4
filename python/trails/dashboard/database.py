"""Reading for pages: short read-only transactions, each with a timeout, on a few connections that are kept."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from trails.errors import TrailsError
from trails.loading.connection import DatabaseError, readable

try:
    import psycopg2
    import psycopg2.extensions
    from psycopg2.extras import RealDictCursor
except ImportError:  # pragma: no cover - depends on the environment
    raise TrailsError(
        "psycopg2 is not installed", hint="Install it: python -m pip install 'trails[dashboard]'"
    ) from None

Row = dict[str, Any]

CONNECTIONS = 4
"""Statements that run at a time, at most; further requests wait for one of them, as long as a statement may take."""

_NETWORK = {"keepalives_idle": "30", "tcp_user_timeout": "30000"}
"""So that a server that has vanished is noticed; in seconds and milliseconds. The connection string goes before it."""

_ENDING = 5.0
"""Seconds in which statements are cancelled at the end; a server that does not answer by then is left alone."""

_SAFE_PATH = "pg_catalog, pg_temp"


class Unreachable(DatabaseError):
    """No connection. Says nothing of what libpq said, which may repeat parts of the connection string."""


@dataclass(frozen=True)
class Found:
    """The rows of one statement, or why there are none.

    Pages are made of several statements, and what a role may not read is missing from its page and from no other.
    """

    rows: list[Row] = field(default_factory=list)
    fault: TrailsError | None = None

    @property
    def first(self) -> Row | None:
        """The first row; None where there is none."""
        return self.rows[0] if self.rows else None

    def __bool__(self) -> bool:
        return bool(self.rows)


class Database:
    """What pages read from.

    Args:
        dsn: A libpq connection string or URI; it is kept here and nowhere shown.
        timeout: Seconds that a statement may take.
    """

    def __init__(self, dsn: str, timeout: float = 30.0) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._reached = False
        self._closed = False
        self._used: set[Any] = set()
        self._guard = threading.Lock()
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put(None)

    def find(self, statement: str, *values: object, own_path: bool = False) -> Found:
        """Rows of a statement, or the server's refusal. `rows` says what the arguments are."""
        try:
            return Found(self.rows(statement, *values, own_path=own_path))
        except TrailsError as error:
            return Found(fault=error)

    def rows(self, statement: str, *values: object, own_path: bool = False) -> list[Row]:
        """Rows of one statement in a transaction of its own.

        Args:
            statement: With a ``%s`` for each value.
            values: Of the placeholders.
            own_path: Names that the statement's views and functions leave without a schema are looked up along the
                role's own search path, as in its other statements; else in ``pg_catalog`` alone.

        Raises:
            DatabaseError: What the server answered; `Unreachable` where there is none.
        """
        with self.reading(own_path) as cursor:
            return rows_of(cursor, statement, *values)

    @contextmanager
    def reading(self, own_path: bool = False, acting: bool = False) -> Iterator[Any]:
        """A cursor in one transaction, whose statements see the same rows.

        Args:
            own_path: As of `rows`.
            acting: It may write and is committed, and rows that others change meanwhile are no reason to fail. Else it
                is read-only and rolled back.

        Raises:
            DatabaseError: What the server answered; `Unreachable` where there is none.
        """
        try:
            connection = self._idle.get(timeout=self._timeout)
        except queue.Empty:
            raise Unreachable(
                "all connections of the dashboard are in use", hint="Load the page again a little later."
            ) from None
        try:
            self._check()
            connection = self._usable(connection)
            with self._guard:
                self._check()
                self._used.add(connection)
            try:
                isolation = "READ COMMITTED" if acting else "REPEATABLE READ"
                connection.set_session(isolation_level=isolation, readonly=not acting, autocommit=False)
                with connection.cursor(cursor_factory=RealDictCursor) as cursor:
                    cursor.execute(
                        "SELECT pg_catalog.set_config('statement_timeout', %s, true), "
                        "pg_catalog.set_config('search_path', CASE WHEN %s THEN "
                        "pg_catalog.current_setting('search_path') ELSE %s END, true)",
                        (f"{int(self._timeout * 1000)}ms", own_path, _SAFE_PATH),
                    )
                    yield cursor
                if acting:
                    connection.commit()
            except psycopg2.Error as error:
                raise readable(error) from error
            finally:
                with suppress(psycopg2.Error):
                    connection.rollback()
                with self._guard:
                    self._used.discard(connection)
        finally:
            self._idle.put(None if connection is None or connection.closed else connection)

    def _check(self) -> None:
        if self._closed:
            raise Unreachable("the dashboard is ending", hint="Start it again, and open the address that it prints.")

    def _usable(self, connection: Any) -> Any:
        """The connection if it is alive, else a new one: a server that was started anew is no fault of a page."""
        if connection is not None:
            with suppress(psycopg2.Error), connection.cursor() as cursor:
                cursor.execute("SELECT")
                connection.rollback()
                return connection
            connection.close()
        try:
            given = psycopg2.extensions.parse_dsn(self._dsn)
            network = {name: value for name, value in _NETWORK.items() if name not in given}
            made = psycopg2.connect(self._dsn, application_name="trails dashboard", connect_timeout=10, **network)
            made.set_client_encoding("UTF8")
        except psycopg2.Error as error:
            # Whoever starts this is told more than whoever looks at its pages.
            raise unreachable(error, in_full=not self._reached) from None
        self._reached = True
        return made

    def close(self) -> None:
        """Let nothing begin any more, cancel what runs, and close the connections."""
        with self._guard:
            self._closed = True
        until = time.monotonic() + _ENDING
        # A cancel that comes between two statements ends neither.
        while time.monotonic() < until:
            with self._guard:
                used = list(self._used)
            if not used:
                break
            for connection in used:
                with suppress(psycopg2.Error):
                    connection.cancel()
            time.sleep(0.05)
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for connection in idle:
            if connection is not None:
                connection.close()
            # Whoever waits for one is told.
            self._idle.put(None)


def rows_of(cursor: Any, statement: str, *values: object) -> list[Row]:
    """Rows of one more statement of a transaction, as `Database.rows`."""
    cursor.execute(statement, values or None)
    return [dict(row) for row in cursor.fetchall()]


def unreachable(error: Exception, in_full: bool) -> Unreachable:
    """A failed connection without the text of libpq.

    Args:
        error: Of psycopg2.
        in_full: Whether to repeat what the server itself said, which may name role and database.
    """
    if isinstance(error, psycopg2.ProgrammingError):
        return Unreachable(
            "the connection string cannot be read", hint="For instance postgresql://reader@localhost/shop."
        )
    _, fatal, said = " ".join(str(error).split()).partition("FATAL: ")
    return Unreachable(
        "the database cannot be reached",
        said.strip()[:500] if fatal and in_full else None,
        "Is the server running, and are host, port, database and role those of the DSN?",
    )
