"""Cells at the edge of their types, types that nothing reads, and what a target may hold."""

from __future__ import annotations

from tests.hostile.case import Case, answers, refused

_EDGES = {
    "smallint": "(-32768), (32767), (NULL)",
    "integer": "(-2147483648), (2147483647), (NULL)",
    "bigint": "(-9223372036854775808), (9223372036854775807), (NULL)",
    "real": "('3.4e38'), ('1e-45'), ('NaN'), (NULL)",
    "double precision": "('1e308'), ('-1e308'), ('5e-324'), ('NaN'), ('-0'), (NULL)",
    "numeric": "('1e200'), ('-1e-200'), ('NaN'), (0), (NULL)",
    "numeric(1000, 500)": "(('1' || repeat('0', 300))::numeric), (0), (NULL)",
    "boolean": "(true), (false), (NULL)",
    "text": "(''), (' '), (repeat('x', 1000000)), ('NULL'), (E'\\t\\n'), ('日本'), (E'e\\u0301'), (NULL)",
    "varchar(5)": "(''), ('abcde'), (NULL)",
    "char(7)": "('a'), ('       '), (NULL)",
    "uuid": "('00000000-0000-0000-0000-000000000000'), ('ffffffff-ffff-ffff-ffff-ffffffffffff'), (NULL)",
    "date": "('infinity'), ('-infinity'), ('4713-01-01 BC'), ('5874897-12-31'), (NULL)",
    "timestamp": "('infinity'), ('-infinity'), ('4713-01-01 BC'), ('294276-12-31 23:59:59'), (NULL)",
    "timestamptz": "('infinity'), ('4713-01-02 BC'), ('294276-12-30 23:59:59'), (NULL)",
    "time": "('00:00'), ('24:00'), ('23:59:59.999999'), (NULL)",
    "interval": "('0'), ('178000000 years'), ('-178000000 years'), (NULL)",
}

EDGES = [
    answers(
        f"the edges of {sql_type}",
        "SELECT kind IS NOT NULL, rows FROM trails.describe_columns('edge')",
        [(True, rows.count("), (") + 1)],
        preparing=f"CREATE TABLE edge (x {sql_type}); INSERT INTO edge VALUES {rows}",
    )
    for sql_type, rows in _EDGES.items()
]

_INFINITE = {
    "Infinity": ("real", "'Infinity'"),
    "-Infinity": ("double precision", "'-Infinity'"),
    "a numeric infinity": ("numeric", "'Infinity'"),
    "a numeric that no double holds": ("numeric", "10::numeric ^ 400"),
}

_READING = {
    "described": "SELECT * FROM trails.describe_columns('odd')",
    "filtered": "SELECT * FROM trails.filtering_phase('odd', 'bought', n => 5)",
    "as target": "SELECT * FROM trails.filtering_phase('odd', 'x', n => 5)",
    "read in batches": "SELECT * FROM trails.benchmark_reading('odd', 1, 'batches')",
}

INFINITE = [
    refused(
        f"{what}, {where}",
        statement,
        "22003",
        "x",
        preparing=f"CREATE TABLE odd AS SELECT id, hour::{sql_type} AS x, bought FROM base; UPDATE odd SET x = {value}"
        " WHERE id = 7",
    )
    for what, (sql_type, value) in _INFINITE.items()
    for where, statement in _READING.items()
]

_UNREADABLE = {
    "integer[]": "'{1,2}'",
    "json": "'{}'",
    "jsonb": "'{}'",
    "bytea": "'\\x00'",
    "int4range": "'[1,3)'",
    "int4multirange": "'{[1,3)}'",
    "money": "'1.5'",
    "timetz": "'10:00+02'",
    "bit(3)": "B'101'",
    "point": "'(1,2)'",
    "box": "'(1,2),(0,0)'",
    "inet": "'10.0.0.1'",
    "macaddr": "'08:00:2b:01:02:03'",
    "tsvector": "'a'",
    "a_pair": "'(1,a)'",
    "name": "'n'",
    "oid": "5",
    "regclass": "'base'",
    "pg_lsn": "'0/0'",
    '"char"': "'c'",
}


def _unreadable(sql_type: str, value: str) -> list[Case]:
    table = "CREATE TABLE odd AS SELECT id, hour, amount, bought FROM base"
    preparing = f"{table}; ALTER TABLE odd ADD x {sql_type} DEFAULT {value}"
    filtering = "SELECT count(*) FROM trails.filtering_phase('odd', {}, n => 20, k => 3)"
    return [
        answers(
            f"{sql_type} is described without a kind",
            "SELECT kind FROM trails.describe_columns('odd') WHERE column_name = 'x'",
            [(None,)],
            preparing=preparing,
        ),
        refused(
            f"{sql_type} among the features",
            filtering.format("'bought', features => '{hour,x}'"),
            "0A000",
            "x",
            hint=True,
            preparing=preparing,
        ),
        answers(
            f"{sql_type} beside features is left out",
            filtering.format("'bought'"),
            [(3,)],
            '"x"',
            "left out",
            preparing=preparing,
        ),
        refused(f"{sql_type} as target", filtering.format("'x'"), "0A000", "x", hint=True, preparing=preparing),
    ]


UNREADABLE = [case for sql_type, value in _UNREADABLE.items() for case in _unreadable(sql_type, value)]

_LABELS = "'Ménage à 3', '', ' ', 'NULL', 'null', 'nan', E'tab\\tnew\\nline', 'a\"b''c\\d', '日本語'"

_TARGETS = {
    "two texts": "CASE WHEN bought THEN 'yes' ELSE 'no' END",
    "texts of every sort": f"(ARRAY[{_LABELS}])[1 + hour % 9]",
    "padded texts": "(ARRAY['S', 'M'])[1 + bought::int]::char(4)",
    "uuids": "md5(bought::text)::uuid",
    "two numbers": "hour % 2",
    "two doubles": "(hour % 2)::float8",
    "ratings": "1 + hour % 5",
    "halves": "(hour % 5 / 2.0)::numeric(2, 1)",
    "numbers beyond 2^53": "9007199254740993 + hour * 2",
    "huge numbers": "(hour * 3 + amount) * 1e200",
    "tiny numbers": "(hour * 3 + amount) * 1e-300",
    "an outlier": "CASE WHEN id = 1 THEN 1e12 ELSE amount END",
    "numbers half of which are the largest": "CASE WHEN hour > 6 THEN 100.0 ELSE amount END",
    "numbers that NULLs are among": "CASE WHEN hour > 3 THEN amount END",
}

TARGETS = [
    answers(
        f"filtering for {what}",
        "SELECT count(*) FROM trails.filtering_phase('aim', 'y', n => 20, k => 3, tfmem => 'snip')",
        [(3,)],
        preparing=f"CREATE TABLE aim AS SELECT id, hour, amount, {target} AS y FROM base",
    )
    for what, target in _TARGETS.items()
]

_GOOD = {"colour": "'green'::text", "hour": "5", "amount": "1.5::float8", "seen": "timestamp '2024-05-01'"}

_CELLS = {
    "a category that was never seen": {"colour": "'turquoise'::text"},
    "an empty category": {"colour": "''::text"},
    "a category of 1 MB": {"colour": "repeat('x', 1000000)"},
    "a text of combining characters": {"colour": "E'e\\u0301\\u200b'"},
    "no category": {"colour": "NULL::text"},
    "a category of another text type": {"colour": "'red'::varchar(20)"},
    "a padded category": {"colour": "'red'::char(20)"},
    "an integer for a number": {"amount": "1"},
    "a smallint for an integer": {"hour": "5::smallint"},
    "a bigint for an integer": {"hour": "5::bigint"},
    "the smallest bigint for an integer": {"hour": "(-9223372036854775808)"},
    "a bigint for a number": {"amount": "9223372036854775807"},
    "a numeric for a number": {"amount": "1.5::numeric"},
    "a real for a number": {"amount": "1.5::real"},
    "a date for a timestamp": {"seen": "date '2024-05-01'"},
    "a timestamptz for a timestamp": {"seen": "timestamptz '2024-05-01 12:00+02'"},
    "an open end for a timestamp": {"seen": "timestamp 'infinity'"},
    "the first of all timestamps": {"seen": "timestamp '4713-01-01 BC'"},
    "no number": {"amount": "'NaN'::float8"},
    "a NULL for a number": {"amount": "NULL::float8"},
    "a huge number": {"amount": "1e300::float8"},
    "a huge negative number": {"amount": "-1e300::float8"},
    "the smallest number": {"amount": "5e-324::float8"},
    "surplus columns": {"more": "'{}'::json", "yet_more": "ARRAY[1, 2]"},
}


def _row(changed: dict[str, str]) -> str:
    return ", ".join(f'{value} AS "{name}"' for name, value in (_GOOD | changed).items())


CELLS = [
    answers(
        f"{what} is predicted",
        f"SELECT trails.predict_score('m', r) BETWEEN 0 AND 1 FROM (SELECT {_row(changed)}) r",
        [(True,)],
    )
    for what, changed in _CELLS.items()
]

CASES = EDGES + INFINITE + UNREADABLE + TARGETS + CELLS
