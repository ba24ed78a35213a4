"""A run as the catalogue has it."""

from __future__ import annotations

from typing import Any

from trails.errors import InvalidInput, shown
from trails.loading.connection import readable
from trails.service.catalogue import psycopg2

_RUN = """
SELECT pg_catalog.to_jsonb(r) || pg_catalog.jsonb_build_object(
    'budget', pg_catalog.date_part('epoch', budget), 'seconds', total_seconds)
FROM trails.runs r
"""
_NEWEST = f"{_RUN} ORDER BY run_id DESC LIMIT 1"
_NAMED = f"{_RUN} WHERE run_id OPERATOR(pg_catalog.=) %s"
_PARTS = {
    "candidates": "SELECT pg_catalog.to_jsonb(t) FROM trails.candidates t WHERE run_id OPERATOR(pg_catalog.=) %s",
    "trials": "SELECT pg_catalog.to_jsonb(t) FROM trails.trials t WHERE run_id OPERATOR(pg_catalog.=) %s",
}


def read_run(connection: Any, run_id: int | None = None) -> dict[str, Any]:
    """A run that the connection's role may see, as figures take it.

    Args:
        connection: Of psycopg2. Whether a transaction goes on afterwards is its own matter.
        run_id: None for the newest one.

    Returns:
        ``run``, a row of ``trails.runs`` with ``budget`` and ``seconds`` in seconds; ``candidates`` and ``trials``, its
        rows of these tables.

    Raises:
        InvalidInput: There is no such run.
        DatabaseError: What the server answered.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(*((_NEWEST,) if run_id is None else (_NAMED, (run_id,))))
            found = cursor.fetchone()
            if found is None:
                which = "no run" if run_id is None else f"no run {shown(run_id)}"
                raise InvalidInput(f"there is {which} that this role may see", hint="SELECT run_id FROM trails.runs")
            parts: dict[str, Any] = {"run": found[0]}
            for table, query in _PARTS.items():
                cursor.execute(query, (found[0]["run_id"],))
                parts[table] = [row[0] for row in cursor.fetchall()]
    except psycopg2.Error as error:
        raise readable(error) from error
    return parts
