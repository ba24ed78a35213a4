"""Load a dataset into PostgreSQL with COPY, in one transaction.

Tables ``NAME_train``, ``NAME_valid`` and ``NAME_test``: ``id`` (integer, primary key, 1 to the number of
rows in the order of the file), ``label`` (integer, not null), then one integer column per field, named after
it, which holds the id as in the file; as text instead ``col1`` to ``colN``, which hold ``id:value``.

A table of the same columns is emptied and filled again, so that its views, rights, indexes and comments stay;
any other is replaced by a new one. Either way another session sees the old rows until the commit and the new
ones after it, and after a failure everything is as it was. Rows are frozen as they are written: a
transaction whose snapshot is older than the load sees the new rows, not an empty table.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trails.errors import InvalidInput
from trails.loading.connection import transaction
from trails.loading.fields import Fields
from trails.loading.libsvm import Block, read_blocks
from trails.loading.progress import Progress, Silent
from trails.loading.sources import SPLITS, Dataset

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.sql import Composed

_COLUMNS = """
select c.relkind::text, array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || case when a.attnotnull then ' not null' else '' end order by a.attnum),
       exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indkey::text = '1')
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = (select oid from pg_namespace where nspname = %s) and c.relname = %s
group by c.oid, c.relkind
"""


@dataclass(frozen=True)
class LoadedTable:
    """One table after the load.

    Attributes:
        schema: Its schema.
        name: Its name, without the schema.
        rows: Rows in it.
        seconds: Wall time of reading, checking and copying.
        action: ``created``, ``refilled`` (the same table object) or ``replaced`` (by a new one).
    """

    schema: str
    name: str
    rows: int
    seconds: float
    action: str


def load(
    dataset: Dataset,
    dsn: str | None = None,
    *,
    schema: str | None = None,
    as_text: bool = False,
    progress: Progress | None = None,
) -> list[LoadedTable]:
    """Load the three splits of ``dataset``; all of them or nothing.

    Args:
        dataset: From :func:`trails.loading.sources.find_dataset`.
        dsn: A libpq connection string or URI; None: ``TRAILS_DSN``, else libpq's own environment.
        schema: An existing schema; None: the first of the search_path.
        as_text: Load the published form, TEXT columns ``col1`` to ``colN`` of ``id:value``.
        progress: Told how far it is.

    Raises:
        MalformedLine: A line that does not fit, with file, line and reason.
        UnusableData: An empty or damaged file.
        InvalidInput: No such schema, or a view or other object that has the name of a table.
        DatabaseError: The server refused, or cannot be reached.
    """
    with transaction(dsn) as connection:
        return _load_all(connection, dataset, schema, as_text, progress or Silent())


def _load_all(
    connection: Connection, dataset: Dataset, schema: str | None, as_text: bool, progress: Progress
) -> list[LoadedTable]:
    with connection.cursor() as cursor:
        schema = _existing_schema(cursor, schema)
        # Two loads of the same tables go one after the other instead of into each other's way.
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"trails.load {schema}.{dataset.name}",))
        fields, loaded = dataset.fields, []
        for split in SPLITS:
            if fields is None:
                # Without fields.tsv the first line of the first file sets the number of fields of all.
                fields = Fields.numbered(next(read_blocks(dataset.files[split], block_bytes=1 << 16)).ids.shape[1])
            table = f"{dataset.name}_{split}"
            loaded.append(_load_table(cursor, schema, table, dataset.files[split], fields, as_text, progress))
    return loaded


def _existing_schema(cursor: Any, schema: str | None) -> str:
    if schema is None:
        cursor.execute("select current_schema()")
        (found,) = cursor.fetchone()
        if found is None:
            raise InvalidInput("no schema of the search_path exists", hint="Name one with --schema.")
        return str(found)
    cursor.execute("select from pg_namespace where nspname = %s", (schema,))
    if cursor.fetchone() is None:
        raise InvalidInput(f"there is no schema {schema!r}", hint="Create it with CREATE SCHEMA first.")
    return schema


def _load_table(
    cursor: Any, schema: str, table: str, path: Path, fields: Fields, as_text: bool, progress: Progress
) -> LoadedTable:
    from psycopg2 import sql

    started = time.monotonic()
    names = Fields.numbered(len(fields)).names if as_text else fields.names
    kind = "text" if as_text else "integer"
    target = sql.Identifier(schema, table)
    fresh = sql.Identifier(schema, f"trails_load_{cursor.connection.info.backend_pid}")
    cursor.execute(_COLUMNS, (schema, table))
    found = cursor.fetchone()
    if found is not None and found[0] != "r":
        raise InvalidInput(f"{schema}.{table} exists and is not an ordinary table", hint="Rename or drop it first.")
    same = found is not None and found[2] and found[1] == _expected(names, kind)
    progress.start(table, path.stat().st_size)
    if same:
        # TRUNCATE waits for readers and keeps the table itself; it is undone by a rollback.
        cursor.execute(sql.SQL("truncate {}").format(target))
        into = target
    else:
        cursor.execute(_create(fresh, names, kind))
        into = fresh
    rows = _Rows(read_blocks(path, fields), as_text, progress)
    try:
        cursor.copy_expert(sql.SQL("copy {} from stdin with (freeze)").format(into), rows, 1 << 18)
    except Exception as error:
        # psycopg2 hides an error of read() behind the server's answer to the broken COPY.
        raise (rows.error or error) from None
    if not same:
        if found is not None:
            cursor.execute(sql.SQL("drop table {}").format(target))
        cursor.execute(sql.SQL("alter table {} rename to {}").format(fresh, sql.Identifier(table)))
        # Only now: PostgreSQL names constraints after the table.
        constrain = "alter table {} alter label set not null, add primary key (id)"
        cursor.execute(sql.SQL(constrain).format(target))
    cursor.execute(sql.SQL("analyze {}").format(target))
    seconds = time.monotonic() - started
    progress.finish(rows.count, seconds)
    if rows.other_values and not as_text:
        progress.note(
            f"{table}: {rows.other_values:,} values other than 1 are left out: "
            "integer columns hold ids only, --as-text keeps the values"
        )
    action = "refilled" if same else "created" if found is None else "replaced"
    return LoadedTable(schema, table, rows.count, seconds, action)


def _expected(names: tuple[str, ...], kind: str) -> list[str]:
    return ["id integer not null", "label integer not null", *(f"{name} {kind}" for name in names)]


def _create(table: Any, names: tuple[str, ...], kind: str) -> Composed:
    from psycopg2 import sql

    columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name in names]
    head = sql.SQL("create table {} (id integer, label integer, {})")
    return head.format(table, sql.SQL(", ").join(columns))


class _Rows:
    """A file of COPY's text format, made from blocks of LibSVM lines as it is read."""

    def __init__(self, blocks: Iterator[Block], as_text: bool, progress: Progress) -> None:
        self._blocks = blocks
        self._as_text = as_text
        self._progress = progress
        self._rest = memoryview(b"")
        self.count = 0
        self.other_values = 0
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; empty at the end. An error is kept in ``error`` as well as raised."""
        try:
            if not self._rest and (block := next(self._blocks, None)) is not None:
                self._rest = memoryview(self._encode(block))
                self.count += len(block)
                self.other_values += block.other_values
                self._progress.advance(self.count, block.consumed)
        except BaseException as error:
            self.error = error
            raise
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def _encode(self, block: Block) -> bytes:
        # Checked lines have no character that COPY's text format would have to escape.
        text = block.text if self._as_text else block.without_values()
        lines = text.replace(b" ", b"\t").removesuffix(b"\n").split(b"\n")
        return b"".join([b"%d\t%b\n" % (number, line) for number, line in enumerate(lines, self.count + 1)])
