"""One reading of a table: COPY's CSV in, Arrow record batches out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from trails.errors import TrailsError
from trails.loading.connection import readable
from trails.service.arrow import csv, pa
from trails.service.catalogue import Relation, changed, connected, find, psycopg2, sql
from trails.service.gather import Gatherer
from trails.table.columns import Columns
from trails.table.texts import OfTexts

FIRST_BYTES, MOST_BYTES = 1 << 16, 1 << 22
"""Of the text that makes a batch: little at first, so that consumers start soon, then more for speed."""

_KEY = """
SELECT a.attname FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
  AND a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])
WHERE i.indrelid = pg_catalog.to_regclass(%s) AND i.indisprimary
"""

_SOUND = (psycopg2.extensions.TRANSACTION_STATUS_IDLE, psycopg2.extensions.TRANSACTION_STATUS_INTRANS)

Deliver = Callable[[Any], None]


class TableReader:
    """Reads a relation once, in a thread of its own, and hands record batches over.

    The rows are those of one statement, hence of one moment, as the role of ``dsn`` may see them. ``deliver`` may
    block: then COPY blocks, and with it the server process, which holds its snapshot meanwhile.

    Args:
        dsn: A libpq connection string.
        relation: What to read.
        most_bytes: Of COPY's text per batch, at most (and one row).
    """

    def __init__(self, dsn: str, relation: Relation, most_bytes: int = MOST_BYTES) -> None:
        self._dsn, self._relation, self._most = dsn, relation, most_bytes
        self._connection: Any = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the reading from another thread; `read` raises `Stopped`, soon."""
        self._stopped.set()
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):  # It has ended already.
                connection.cancel()

    def read(self, deliver: Deliver) -> None:
        """Read everything.

        Args:
            deliver: Called with each record batch of the relation's schema; what it raises ends the reading.

        Raises:
            Stopped: `stop` was called.
            TrailsError: The server refused or went away, the columns have changed, or a cell cannot be carried.
        """
        text = _Text(self._relation, deliver, self._stopped, self._most)
        try:
            with connected(self._dsn) as connection, connection.cursor() as cursor:
                self._connection = connection
                self._read(cursor, text)
        except Exception:
            # psycopg2 hides an error of write() behind its own, and what a cancel leads to is no error.
            if self._stopped.is_set():
                raise Stopped from None
            if text.error is not None:
                raise text.error from None
            raise
        finally:
            self._connection = None

    def _read(self, cursor: Any, text: _Text) -> None:
        relation = self._relation
        _lock(cursor, relation)
        cursor.execute("SET extra_float_digits = 1")
        with _in_order(cursor):
            _copy(cursor, relation, text)


def read_table(
    connection: Any,
    table: str,
    columns: Sequence[str] | None = None,
    *,
    target: str | None = None,
    like: Columns | None = None,
    aside: Collection[str] = (),
    of_texts: OfTexts | None = None,
) -> tuple[Columns, int]:
    """A whole table by a connection of the caller's, in its transaction.

    Args:
        connection: Of psycopg2.
        table: A table or view, as in SQL.
        columns: Names, in the order wanted, the target included; None for all: with a target, for all of types that can
            be read, and a warning names the others.
        target: Name of the target: rows without it are left out.
        like: Columns whose kinds these must have too, or such as stand for them (`trails.table.conform`).
        aside: Names of columns that are no features, such as the primary key.
        of_texts: What is said of columns of text.

    Returns:
        The columns, and how many rows were left out.

    Raises:
        TrailsError: No such table or column, a type that cannot be read, or what the server answers.
    """
    try:
        with connection.cursor() as cursor:
            relation = find(cursor, table, None if columns is None else tuple(columns), target)
            gatherer = Gatherer(relation.arrow, target, like, aside, of_texts)
            text = _Text(relation, gatherer.add, threading.Event(), MOST_BYTES)
            try:
                _lock(cursor, relation)
                with _in_order(cursor):
                    _copy(cursor, relation, text)
                if connection.autocommit:  # The lock was let go of in between.
                    _lock(cursor, relation)
            except Exception:
                if text.error is not None:
                    raise text.error from None
                raise
    except psycopg2.Error as error:
        raise readable(error) from error
    return gatherer.finish(), gatherer.left_out


def key_of(connection: Any, table: str) -> set[str]:
    """Names of the columns of a table's primary key."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_KEY, (table,))
            return {name for (name,) in cursor.fetchall()}
    except psycopg2.Error as error:
        raise readable(error) from error


def _lock(cursor: Any, relation: Relation) -> None:
    """Takes the lock that keeps the columns as they are; only then is it known what COPY will write."""
    cursor.execute(relation.query(limit=0))
    name = sql.Identifier(relation.schema, relation.name).as_string(cursor)
    now = find(cursor, name, tuple(column.name for column in relation.columns))
    if now.structure != relation.structure:
        raise changed(relation)


@contextlib.contextmanager
def _in_order(cursor: Any) -> Iterator[None]:
    """Rows as they are stored: a seed must hold out the same rows whatever other sessions scan meanwhile."""
    wanted = {"synchronize_seqscans": "off", "max_parallel_workers_per_gather": "0"}
    cursor.execute("SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.unnest(%s) AS s (name)", ([*wanted],))
    before = dict(cursor.fetchall())
    _set(cursor, wanted)
    try:
        yield
    finally:
        # A transaction that has failed puts them back itself, and a connection that is gone needs none.
        if cursor.connection.info.transaction_status in _SOUND:
            _set(cursor, before)


def _set(cursor: Any, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        cursor.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))


def _copy(cursor: Any, relation: Relation, text: _Text) -> None:
    copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')").format(relation.query())
    cursor.copy_expert(copy, text, MOST_BYTES)
    text.finish()


class Stopped(Exception):
    """Nobody wants the rest of a reading."""


class _Text:
    """A file that psycopg2 writes rows to; parses them a block at a time."""

    def __init__(self, relation: Relation, deliver: Deliver, stopped: threading.Event, most: int) -> None:
        self._relation, self._deliver, self._stopped, self._most = relation, deliver, stopped, most
        self._rows: list[bytes] = []
        self._bytes, self._enough = 0, min(FIRST_BYTES, most)
        self._count = 0
        self.error: BaseException | None = None
        ways = zip(relation.columns, relation.carried, strict=True)
        names = [column.name for column in relation.columns]
        # One thread parses while others send: more would only take turns with them.
        self._read = csv.ReadOptions(column_names=names, use_threads=False, block_size=(1 << 31) - 1)
        # A NULL in a table of one column is an empty line.
        self._parse = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
        self._convert = csv.ConvertOptions(
            column_types={column.name: way.copied for column, way in ways},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        )

    def write(self, row: bytes) -> None:
        """Take one whole row, which is what psycopg2 passes on."""
        self._rows.append(row)
        self._bytes += len(row)
        if self._bytes >= self._enough:
            self._flush()

    def finish(self) -> None:
        """Hand over what is left."""
        if self._rows:
            self._flush()

    def _flush(self) -> None:
        try:
            if self._stopped.is_set():
                raise Stopped
            batch = self._parsed(b"".join(self._rows))
            self._count += len(self._rows)
            self._rows, self._bytes = [], 0
            self._enough = min(2 * self._enough, self._most)
            self._deliver(batch)
        except BaseException as error:
            self.error = error
            raise

    def _parsed(self, text: bytes) -> Any:
        relation = self._relation
        try:
            table = csv.read_csv(
                pa.py_buffer(text), read_options=self._read, parse_options=self._parse, convert_options=self._convert
            )
        except pa.ArrowInvalid as error:
            raise TrailsError(
                f"rows {self._count + 1} to {self._count + len(self._rows)} of {relation} cannot be carried",
                str(error),
                sqlstate="22000",
            ) from error
        arrays = [
            column.combine_chunks() if column.num_chunks != 1 else column.chunk(0) for column in table.itercolumns()
        ]
        views = [array.view(field.type) for array, field in zip(arrays, relation.arrow, strict=True)]
        return pa.RecordBatch.from_arrays(views, schema=relation.arrow)
