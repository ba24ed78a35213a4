"""What the experiments in a database share: a throw-away server with the dataset loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg2

from benchmarks.harness import Context
from tools.server import temporary_server
from trails.loading.copy import load
from trails.loading.sources import find_dataset


@contextlib.contextmanager
def loaded(context: Context, datasets: Sequence[str]) -> Iterator[Any]:
    """A superuser's autocommit connection to a server of its own, with the datasets' tables loaded and vacuumed."""
    with temporary_server() as server:
        for dataset in datasets:
            context.say(f"loading {dataset}")
            load(find_dataset(dataset), server.uri())
        connection = psycopg2.connect(server.uri())
        try:
            connection.autocommit = True
            run(connection, "VACUUM ANALYZE")
            run(connection, "SET search_path = trails, public")
            context.note(server=run(connection, "SHOW server_version")[0][0])
            yield connection
        finally:
            connection.close()


def run(connection: Any, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []
