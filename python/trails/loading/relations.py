"""Tables that hold the rows of several things side by side, told apart by a key column: one thing's rows are replaced
whole, in one transaction.

Made for recorded benchmarks, of which this knows nothing: it takes tables as they are described and rows as CSV.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trails.errors import InvalidInput
from trails.loading.connection import DatabaseError, transaction

_COLUMNS = """
select a.attname, format_type(a.atttypid, a.atttypmod)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = (select oid from pg_namespace where nspname = %s) and c.relname = %s order by a.attnum
"""

_RIGHTS = """
select current_user, current_database(), has_database_privilege(current_database(), 'CREATE'),
       n.oid is not null,
       n.oid is not null and has_schema_privilege(n.oid, 'USAGE') and has_schema_privilege(n.oid, 'CREATE')
from (select 1) one left join pg_namespace n on n.nspname = %s
"""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: Its name.
        type: As `format_type` of the server writes it.
        comment: What it holds, for whoever looks at the table.
    """

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Relation:
    """A table, the first column of which says what its rows are of.

    Args:
        name: Its name.
        comment: What it holds.
        columns: All of them.
        key: Names of the primary key's columns.
        indices: Names of the columns of further indices.
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indices: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Rows:
    """What is put into a table.

    Args:
        relation: The table.
        csv: Lines of CSV in the order of its columns; an empty field without quotes is NULL.
    """

    relation: Relation
    csv: bytes


def replace(tables: Sequence[Rows], key: str, dsn: str | None, schema: str) -> dict[str, int]:
    """Put the rows of one thing into tables, in place of those that it has there, in one transaction.

    The schema and tables that are not there are made. Others read the rows of before until all is done.

    Args:
        tables: With their rows, all of which are of ``key``.
        key: In the first column of every row.
        dsn: See `trails.loading.connection.transaction`.
        schema: Where the tables are, by any name.

    Returns:
        Rows of every table now, by its name.

    Raises:
        DatabaseError: The server refused, or cannot be reached; where a right is missing it says which.
        InvalidInput: A table of that name has other columns.
    """
    with transaction(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"trails.relations {schema}",))
        _make_schema(cursor, schema)
        return {rows.relation.name: _put(cursor, schema, rows, key) for rows in tables}


def _make_schema(cursor: Any, schema: str) -> None:
    from psycopg2 import sql

    cursor.execute(_RIGHTS, (schema,))
    role, database, may_make, there, may_use = cursor.fetchone()
    if there and not may_use:
        grant = f'GRANT USAGE, CREATE ON SCHEMA "{schema}" TO "{role}"'
        raise DatabaseError(
            f"role {role} may not make tables in schema {schema}",
            hint=f"Somebody who may: {grant}; or name another --schema.",
            sqlstate="42501",
        )
    if not there and not may_make:
        grant = f'GRANT CREATE ON DATABASE "{database}" TO "{role}"'
        raise DatabaseError(
            f"role {role} may not make schema {schema} in database {database}",
            hint=f"Somebody who may: {grant}; or name a --schema that is there.",
            sqlstate="42501",
        )
    if not there:
        cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))


def _put(cursor: Any, schema: str, rows: Rows, key: str) -> int:
    from psycopg2 import sql

    relation = rows.relation
    target = sql.Identifier(schema, relation.name)
    expected = [(column.name, column.type) for column in relation.columns]
    cursor.execute(_COLUMNS, (schema, relation.name))
    found = cursor.fetchall()
    if not found:
        _make(cursor, target, relation)
    elif found != expected:
        raise InvalidInput(
            f"{schema}.{relation.name} has other columns",
            detail=f"It has {_told(found)}; needed are {_told(expected)}.",
            hint="Drop or rename it, or name another --schema.",
        )
    else:
        statement = sql.SQL("delete from {} where {} = %s")
        cursor.execute(statement.format(target, sql.Identifier(relation.columns[0].name)), (key,))
    cursor.copy_expert(sql.SQL("copy {} from stdin with (format csv)").format(target), io.BytesIO(rows.csv))
    count = int(cursor.rowcount)
    cursor.execute(sql.SQL("analyze {}").format(target))
    return count


def _make(cursor: Any, target: Any, relation: Relation) -> None:
    from psycopg2 import sql

    def names(of: Sequence[str]) -> Any:
        return sql.SQL(", ").join(map(sql.Identifier, of))

    columns = [sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(c.type)) for c in relation.columns]
    parts = sql.SQL(", ").join([*columns, sql.SQL("primary key ({})").format(names(relation.key))])
    cursor.execute(sql.SQL("create table {} ({})").format(target, parts))
    for index in relation.indices:
        cursor.execute(sql.SQL("create index on {} ({})").format(target, names(index)))
    cursor.execute(sql.SQL("comment on table {} is {}").format(target, sql.Literal(relation.comment)))
    for column in relation.columns:
        at = sql.SQL("{}.{}").format(target, sql.Identifier(column.name))
        cursor.execute(sql.SQL("comment on column {} is {}").format(at, sql.Literal(column.comment)))


def _told(columns: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns)
