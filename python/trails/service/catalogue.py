"""Which table is meant, and what its columns are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from trails.errors import InvalidInput, TrailsError
from trails.loading.connection import readable
from trails.service.arrow import pa
from trails.service.types import KIND, SQL_TYPE, Carried, carried, refused

try:
    import psycopg2
    from psycopg2 import sql
except ImportError:  # pragma: no cover - depends on the environment
    raise TrailsError("psycopg2 is not installed", hint="Install it: python -m pip install 'trails[service]'") from None

__all__ = ["Relation", "SourceColumn", "changed", "connected", "find", "psycopg2", "sql"]

_RELATION = """
SELECT c.oid, n.nspname, c.relname, pg_catalog.pg_current_snapshot()::pg_catalog.text,
       c.relkind IN ('r', 'p', 'v', 'm', 'f')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass(%s)
"""

_COLUMNS = """
WITH RECURSIVE base (attnum, attname, declared, type) AS (
    SELECT attnum, attname, pg_catalog.format_type(atttypid, atttypmod), atttypid
    FROM pg_catalog.pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT b.attnum, b.attname, b.declared, t.typbasetype
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype = 'd'
)
SELECT b.attname, b.declared, CASE WHEN t.typtype = 'e' THEN 'enum'
    WHEN t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace THEN t.typname END
FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype <> 'd' ORDER BY b.attnum
"""


@dataclass(frozen=True)
class SourceColumn:
    """One column: its name, its type as SQL shows it, and the base type behind domains (None: not one of ours)."""

    name: str
    declared: str
    base: str | None


@dataclass(frozen=True)
class Relation:
    """A table or view as it was when it was looked up.

    Args:
        oid: Its object id.
        schema: Its schema.
        name: Its name.
        columns: Those that are read, in the order wanted; all of types that are carried.
        snapshot: Which transactions were visible: as long as it is the same, so are the rows.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[SourceColumn, ...]
    snapshot: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @cached_property
    def structure(self) -> str:
        """Digest of the columns' names and types."""
        told = json.dumps([(column.name, column.declared, column.base) for column in self.columns])
        return hashlib.sha256(told.encode()).hexdigest()

    @cached_property
    def carried(self) -> tuple[Carried, ...]:
        """How each column is carried."""
        found = [carried(column.base or "") for column in self.columns]
        return tuple(way for way in found if way is not None)

    @cached_property
    def arrow(self) -> Any:
        """The stream's Arrow schema."""
        return pa.schema(
            [
                pa.field(column.name, way.arrow, metadata={KIND: way.kind, SQL_TYPE: column.base or ""})
                for column, way in zip(self.columns, self.carried, strict=True)
            ],
            metadata={b"trails.relation": str(self)},
        )

    def query(self, limit: int | None = None) -> Any:
        """A SELECT of the columns as COPY is to write them, as psycopg2's composable SQL."""
        written = [
            sql.SQL(way.expression).format(sql.Identifier(column.name))
            for column, way in zip(self.columns, self.carried, strict=True)
        ]
        end = sql.SQL("" if limit is None else f" LIMIT {limit}")
        selected = sql.SQL(", ").join(written)
        return sql.SQL("SELECT {} FROM {}{}").format(selected, sql.Identifier(self.schema, self.name), end)


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[Any]:
    """A psycopg2 connection that can only read; what the server answers becomes `DatabaseError`."""
    try:
        connection = psycopg2.connect(dsn, fallback_application_name="trails data-service")
        try:
            connection.set_client_encoding("UTF8")
            connection.set_session(isolation_level="READ COMMITTED", readonly=True)
            yield connection
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise readable(error) from error
    except SystemError as error:
        # What psycopg2 makes of a session that is terminated in the middle of a COPY.
        if isinstance(error.__cause__, psycopg2.Error):
            raise readable(error.__cause__) from error
        raise


def find(cursor: Any, table: str, columns: tuple[str, ...] | None, needed: str | None = None) -> Relation:
    """Look a table up.

    Args:
        cursor: Of the connection that is to read it.
        table: As in SQL.
        columns: Names of the columns, in the order wanted; None for all.
        needed: Where ``columns`` is None, the one column without which the others are of no use: of these, such as are
            of a type that cannot be streamed are left out with a warning. None to refuse them.

    Raises:
        InvalidInput: There is no such table (SQLSTATE 42P01) or column (42703); a column is named twice.
        TrailsError: It cannot be read from, or a column's type cannot be streamed (0A000).
    """
    try:
        cursor.execute(_RELATION, (table,))
    except (psycopg2.errors.InvalidName, psycopg2.errors.FeatureNotSupported, psycopg2.errors.SyntaxError) as error:
        raise InvalidInput(
            f"{table!r} is not the name of a table",
            str(readable(error)),
            'As in SQL: schema.table, with "double quotes" where SQL needs them.',
            "42602",
        ) from None
    found = cursor.fetchone()
    if found is None:
        raise InvalidInput(
            f"there is no table {table!r}", hint="Name its schema too, as in schema.table.", sqlstate="42P01"
        )
    oid, schema, name, snapshot, readable_kind = found
    if not readable_kind:
        raise TrailsError(f"{schema}.{name} is neither a table nor a view", sqlstate="42809")
    cursor.execute(_COLUMNS, (oid,))
    every = tuple(SourceColumn(*row) for row in cursor.fetchall())
    relation = Relation(oid, schema, name, every, snapshot)
    if columns is None and needed is not None:
        relation = _without_unreadable(relation, needed)
    return replace(relation, columns=_chosen(relation, columns))


def _without_unreadable(relation: Relation, needed: str) -> Relation:
    def can_be_read(column: SourceColumn) -> bool:
        return column.name == needed or carried(column.base or "") is not None

    if not any(can_be_read(column) and column.name != needed for column in relation.columns):
        return relation
    for column in relation.columns:
        if not can_be_read(column):
            warnings.warn(
                f'column "{column.name}" of {relation} is left out: type {column.declared} cannot be learned from',
                stacklevel=5,
            )
    return replace(relation, columns=tuple(filter(can_be_read, relation.columns)))


def _chosen(relation: Relation, names: tuple[str, ...] | None) -> tuple[SourceColumn, ...]:
    known = {column.name: column for column in relation.columns}
    if names is not None:
        for place, name in enumerate(names):
            if name not in known:
                raise InvalidInput(
                    f'there is no column "{name}" in {relation}',
                    hint=f"Columns: {', '.join(list(known)[:50])}.",
                    sqlstate="42703",
                )
            if name in names[:place]:
                raise InvalidInput(f'column "{name}" is named twice', sqlstate="42701")
    chosen = tuple(known.values()) if names is None else tuple(known[name] for name in names)
    if not chosen:
        raise InvalidInput(f"{relation} has no columns")
    for column in chosen:
        if carried(column.base or "") is None:
            raise refused(column.name, column.declared, str(relation))
    return chosen


def changed(relation: Relation) -> TrailsError:
    """The error for a table whose columns are no longer what a consumer was promised."""
    return TrailsError(
        f"the columns of {relation} have changed since the stream was asked for",
        hint="Ask for it again.",
        sqlstate="55000",
    )
