"""Connections to a server, and what it answers in our words; psycopg2 is imported when one is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trails.errors import TrailsError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


class DatabaseError(TrailsError):
    """What the server or the connection answered, with its SQLSTATE."""

    default_sqlstate = "08000"


@contextmanager
def transaction(dsn: str | None) -> Iterator[Connection]:
    """A connection in one transaction: committed where the block ends, rolled back where it raises.

    Args:
        dsn: A libpq connection string or URI; None: ``TRAILS_DSN``, else libpq's own environment.

    Raises:
        DatabaseError: The server refused, or cannot be reached.
    """
    try:
        import psycopg2
    except ImportError:
        raise TrailsError(
            "psycopg2 is not installed", hint="Install it: python -m pip install psycopg2-binary"
        ) from None
    try:
        connection = psycopg2.connect(os.environ.get("TRAILS_DSN", "") if dsn is None else dsn)
        try:
            connection.set_client_encoding("UTF8")
            with connection:
                yield connection
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise readable(error) from error


def readable(error: Any) -> DatabaseError:
    """A psycopg2 error as ours, with the server's own words."""
    diag = error.diag
    message = diag.message_primary or " ".join(str(error).split()) or type(error).__name__
    detail = " ".join(diag.message_detail.split()) if diag.message_detail else None
    return DatabaseError(message, detail, diag.message_hint, error.pgcode)
