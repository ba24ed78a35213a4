"""Random tables, of any type, name, length and share of NULLs, through everything that trains nothing.

Each is described, filtered on and predicted for; predictions are those of torch on the Python encoder's rows. A table
that cannot be used is refused with an SQLSTATE of its own, and no statement ends with an internal error.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg2
import psycopg2.extras
import pytest

from tests.hostile.conftest import Sessions
from tests.sql.predicted import columns_of, expected, make_model, store
from tests.sql.tables import query
from trails.table.target import Task

SHORT, FULL = 200, 1000
BATCH = 50
"""Tables of one transaction."""

REFUSALS = {"22000", "22003", "22023", "0A000", "22P02", "42703"}
"""What a table that nothing can be learnt from may be refused with."""

Random = np.random.Generator
EPOCH = datetime.datetime(2000, 1, 1)

NAMES = (
    "a", "A", "select", "order", "user", " ", "  two  blanks ", "ctid2", "score", "key", "prediction", "Größe", "日本",
    'with "quotes"', "it's", "a;b--", "%s {0} $1", "\\n", "x" * 63, "é" * 31, "\U0001f600", "model", "row", "y",
    "e\u0301",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A type of columns: what a cell holds in SQL, and what the reader is to make of it."""

    sql: str
    kind: str
    cell: Callable[[Random], Any]
    read: Callable[[Any], Any] = lambda cell: cell


def _pick(*values: Any) -> Callable[[Random], Any]:
    return lambda random: values[int(random.integers(len(values)))]


def _whole(bits: int) -> Callable[[Random], Any]:
    edge = 2 ** (bits - 1)
    return lambda random: _pick(0, 1, -1, -edge, edge - 1, int(random.integers(-20, 20)))(random)


def _day(random: Random) -> datetime.date:
    if random.random() < 0.2:
        return _pick(datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(2000, 2, 29))(random)
    return datetime.date(1990, 1, 1) + datetime.timedelta(days=int(random.integers(20_000)))


def _moment(random: Random) -> datetime.datetime:
    return EPOCH + datetime.timedelta(microseconds=int(random.integers(-(10**15), 10**15)))


def _clock(random: Random) -> datetime.time:
    return (EPOCH + datetime.timedelta(microseconds=int(random.integers(86_400 * 10**6)))).time()


_TEXT = _pick(
    "", " ", "a", "b", "a longer text, with 'quotes'", "日本語", "NULL", "nan", "\t\n", "x" * 5000, "1.5", "e\u0301"
)

KINDS = (
    Kind("boolean", "boolean", _pick(True, False)),
    Kind("smallint", "int32", _whole(16)),
    Kind("integer", "int32", _whole(32)),
    Kind("bigint", "int64", _whole(64)),
    Kind("real", "float32", lambda random: float(np.float32(random.normal() * 10.0 ** random.integers(-30, 30)))),
    Kind("double precision", "float64", _pick(0.0, -0.0, 1e300, -1e-300, math.nan, 1.5)),
    Kind("numeric", "float64", lambda random: decimal.Decimal(int(random.integers(-(10**9), 10**9))).scaleb(-4)),
    Kind("text", "text", _TEXT),
    Kind("varchar", "text", _TEXT),
    Kind("char(6)", "text", _pick("ab", "abc   ", "", " b"), read=lambda cell: cell.rstrip(" ")),
    Kind("uuid", "text", lambda random: str(uuid.UUID(int=int(random.integers(20)) * 10**30)).upper(), read=str.lower),
    Kind("text", "idvalue", lambda random: f"{int(random.integers(40))}:{_pick('1', '0.5', '-3', '7e1')(random)}"),
    Kind("date", "date", _day),
    Kind("timestamp", "timestamp", _moment),
    Kind("time", "time", _clock),
    Kind("interval", "interval", lambda random: datetime.timedelta(seconds=float(np.round(random.normal() * 1e6, 3)))),
)  # fmt: skip

UNREADABLE = (("integer[]", "{1,2}"), ("jsonb", "{}"), ("money", "1"), ("bytea", "x"), ("point", "(1,2)"))
INFINITE = (("double precision", "Infinity"), ("real", "-Infinity"), ("numeric", "1e400"))


@dataclass
class Table:
    """One random table and the rows that a model of its columns is fitted on."""

    name: str
    columns: list[tuple[str, Kind]]
    odd: tuple[str, str] | None
    """Type and value of a further column that cannot be learnt from."""
    rows: list[list[Any]]
    fitted: list[list[Any]]


def random_table(number: int) -> Table:
    random = np.random.default_rng(number)
    names = random.permutation(len(NAMES))
    columns = [(NAMES[place], KINDS[int(random.integers(len(KINDS)))]) for place in names[: int(random.integers(1, 7))]]
    shares = [float(random.choice([0.0, 0.0, 0.1, 0.5, 1.0])) for _ in columns]

    def rows(count: int) -> list[list[Any]]:
        return [
            [
                None if random.random() < share else kind.cell(random)
                for (_, kind), share in zip(columns, shares, strict=True)
            ]
            for _ in range(count)
        ]

    odd = None
    if random.random() < 0.15:
        choices = UNREADABLE + INFINITE
        odd = choices[int(random.integers(len(choices)))]
    count = int(random.choice([0, 1, 2, 3, 7, 12, 50]))
    return Table(f"r{number}", columns, odd, rows(count), rows(12))


def create(cursor: Any, table: Table) -> None:
    columns = [f"{quoted(name)} {kind.sql}" for name, kind in table.columns]
    if table.odd:
        columns.append(f"odd {table.odd[0]} DEFAULT '{table.odd[1]}'")
    cursor.execute(f"CREATE TABLE {table.name} ({', '.join(columns)})")
    if table.rows:
        listed = ", ".join(quoted(name) for name, _ in table.columns)
        psycopg2.extras.execute_values(
            cursor, f"INSERT INTO {table.name} ({listed}) VALUES".replace("%", "%%") + " %s", table.rows
        )


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def read(table: Table, rows: list[list[Any]]) -> Any:
    """The rows as the reader makes them."""
    kinds = {name: kind.kind for name, kind in table.columns}
    cells = [
        (0, *(None if cell is None else kind.read(cell) for cell, (_, kind) in zip(row, table.columns, strict=True)))
        for row in rows
    ]
    return columns_of(cells, kinds)


class Tried:
    """What became of the statements on all tables."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, str]] = Counter()

    def statement(self, cursor: Any, what: str, table: Table, statement: str, *parameters: Any) -> Any:
        """The rows, or None if the table was refused as a table may be."""
        cursor.execute("SAVEPOINT one")
        try:
            cursor.execute(statement, parameters or None)
            self.ended[what, "00000"] += 1
            return cursor.fetchall()
        except psycopg2.Error as error:
            told = f"{table.name} {table.columns} {table.odd} {table.rows[:3]}: {error}"
            assert error.pgcode in REFUSALS, f"{what} of {told}"
            assert table.odd or len(table.rows) < 12 or what == "filtering", told
            self.ended[what, error.pgcode] += 1
            cursor.execute("ROLLBACK TO one")
            return None


def check_described(table: Table, found: Any) -> None:
    assert [row[0] for row in found][: len(table.columns)] == [name for name, _ in table.columns]
    for place, (name, kind) in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        empty = sum(cell is None or cell != cell for cell in cells)
        ids = kind.kind == "idvalue" and any(cell is not None for cell in cells) and published(table)
        said = "text" if kind.kind == "idvalue" and not ids else kind.kind
        assert found[place][2:5] == (said, len(cells), empty), (table.name, name, found[place])


def published(table: Table) -> bool:
    """Whether all columns but one, which may be the target, have the form `id:value`, or say nothing."""
    return sum(not says_nothing(kind, [row[place] for row in table.rows]) for place, (_, kind) in others(table)) < 2


def others(table: Table) -> list[tuple[int, tuple[str, Kind]]]:
    return [column for column in enumerate(table.columns) if column[1][1].kind != "idvalue"]


def says_nothing(kind: Kind, cells: list[Any]) -> bool:
    """Whether a column is empty, or has whole numbers as a key has them, or a single one in all rows."""
    whole = kind.kind in ("int32", "int64") and None not in cells and len(cells) > 1
    return all(cell is None for cell in cells) or (whole and len(set(cells)) in (1, len(cells)))


def check_predicted(table: Table, model: Any, found: Any) -> None:
    wanted = expected(model, read(table, table.rows)) if table.rows else []
    assert len(found) == len(wanted), table.name
    for (_, label, score, shares), (text, number, probabilities) in zip(found, wanted, strict=True):
        assert score == pytest.approx(number, abs=1e-4, rel=1e-4), (table.name, table.columns)
        if probabilities is not None:
            assert shares == pytest.approx(probabilities, abs=1e-4)
            first, second = sorted(probabilities, reverse=True)[:2]
            assert label == text or first - second < 1e-4


def test_random_tables(sessions: Sessions, request: pytest.FixtureRequest) -> None:
    count = FULL if request.config.getoption("full") else SHORT
    session, tried = sessions.get("random"), Tried()
    tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")
    query(session, "SET client_min_messages = error")
    try:
        for start in range(0, count, BATCH):
            with session.cursor() as cursor:
                cursor.execute("BEGIN")
                for number in range(start, start + BATCH):
                    one_table(session, cursor, tried, number, tasks[number % 3])
                cursor.execute("ROLLBACK")
        for what in ("describing", "filtering", "predicting", "row by row"):
            assert tried.ended[what, "00000"] > count / 4, tried.ended
    finally:
        sessions.assert_up("random")


def one_table(session: Any, cursor: Any, tried: Tried, number: int, task: Task) -> None:
    table = random_table(number)
    create(cursor, table)
    described = tried.statement(cursor, "describing", table, f"SELECT * FROM trails.describe_columns('{table.name}')")
    assert (described is None) <= (table.odd in INFINITE), table.name
    if described is not None:
        check_described(table, described)
    named = [name for name, _ in table.columns]
    target, metric = (named[0], "snip") if number % 2 and len(named) > 1 else (None, "synflow+naswot")
    ranked = tried.statement(
        cursor, "filtering", table,
        "SELECT architecture, score FROM trails.filtering_phase(%s, %s, n => 4, k => 4, tfmem => %s,"
        " space => 'mlp2x10', features => %s)",
        table.name, target, metric, [name for name in named if name != target],
    )  # fmt: skip
    assert ranked is None or len(ranked) == 4
    model = make_model(read(table, table.fitted), task, widths=(6,), seed=number)
    store(session, table.name, model, source=None)
    found = tried.statement(
        cursor, "predicting", table, "SELECT * FROM trails.predict(%s, %s::regclass)", table.name, table.name
    )
    if found is not None:
        check_predicted(table, model, found)
    single = tried.statement(
        cursor, "row by row", table, f"SELECT trails.predict_score('{table.name}', t) FROM {table.name} t"
    )
    if found is not None and single is not None:
        assert [row[0] for row in single] == pytest.approx([row[2] for row in found], abs=1e-9)
