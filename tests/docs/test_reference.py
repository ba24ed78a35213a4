"""The SQL reference says of every function, setting, table and option what the catalogue says of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import psycopg2.errorcodes
import pytest

from tests.docs.blocks import ROOT, Section, sections
from tests.sql.tables import query

REFERENCE = ROOT / "docs" / "sql_reference.md"

Signature = tuple[str, tuple[tuple[str, str], ...]]
"""A function's name, and name and type of each of its arguments."""

# Arguments, then their defaults as expressions (NULL where there is none), then columns and type of the result.
_FUNCTIONS = """
SELECT p.proname::text,
       (SELECT array_agg(ARRAY[coalesce(a.name, ''), format_type(a.type, NULL)] ORDER BY a.place) FROM (
            SELECT u.place, u.type, p.proargnames[u.place] AS name
            FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u(type, place)) a),
       (SELECT array_agg(pg_get_function_arg_default(p.oid, g::int) ORDER BY g) FROM generate_series(1, p.pronargs) g),
       (SELECT array_agg(ARRAY[p.proargnames[u.place], format_type(u.type, NULL)] ORDER BY u.place)
            FROM unnest(p.proallargtypes) WITH ORDINALITY u(type, place) WHERE p.proargmodes[u.place] = 't'),
       pg_get_function_result(p.oid),
       p.oid::regprocedure::text
FROM pg_proc p WHERE p.pronamespace = 'trails'::regnamespace
"""


@pytest.fixture(scope="module")
def pages() -> list[Section]:
    return sections(REFERENCE)


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    connection = connect()
    query(connection, "LOAD 'trails'")
    return connection


def under(pages: list[Section], title: str) -> list[Section]:
    """The sections below a heading of level 2."""
    begin = next(place for place, page in enumerate(pages) if (page.level, page.title) == (2, title))
    rest = itertools.takewhile(lambda page: page.level > 2, pages[begin + 1 :])
    return [pages[begin], *rest]


def documented(pages: list[Section]) -> dict[Signature, Section]:
    """The functions that the reference describes; one that takes a type or another is two."""
    found = {}
    for page in pages:
        if page.level == 3 and (heading := re.fullmatch(r"trails\.(\w+)\((.*)\)", page.title)):
            arguments = page.tables("argument", "type", "default")
            names = [name.strip() for name in heading[2].split(",") if name.strip()]
            assert names == [cells[0] for cells in arguments], page.title
            choices = [[(cells[0], kind) for kind in cells[1].split(" or ")] for cells in arguments]
            for chosen in itertools.product(*choices):
                assert (heading[1], chosen) not in found, f"{page.title} is described twice"
                found[heading[1], chosen] = page
    return found


def test_every_function_is_described_and_no_other(pages: list[Section], session: Any) -> None:
    rows = query(session, _FUNCTIONS)
    there = {(row[0], tuple((name, kind) for name, kind in row[1] or ())): row[5] for row in rows}
    helpers = {cells[0] for page in under(pages, "Helpers") for cells in page.tables("helper")}
    described = documented(pages)
    assert described.keys() <= there.keys(), "described, and not there as described"
    not_described = {name for signature, name in there.items() if signature not in described}
    assert not_described == helpers


def test_defaults_are_those_of_the_catalogue(pages: list[Section], session: Any) -> None:
    described = documented(pages)
    for name, arguments, defaults, *_ in query(session, _FUNCTIONS):
        page = described.get((name, tuple((n, kind) for n, kind in arguments or ())))
        if page is None:
            continue
        shown = page.tables("argument", "type", "default")
        for (argument, kind), default, cells in zip(arguments or (), defaults or (), shown, strict=True):
            told = cells[2]
            assert bool(told) == (default is not None), f"{page.title}: {argument}"
            if told:
                same = f"SELECT ({told})::{kind}::text IS NOT DISTINCT FROM ({default})::text"
                assert query(session, same) == [(True,)], f"{page.title}: {argument} is {told}, or {default}"


def test_results_are_those_of_the_catalogue(pages: list[Section], session: Any) -> None:
    described = documented(pages)
    for name, arguments, _, columns, result, _ in query(session, _FUNCTIONS):
        page = described.get((name, tuple((n, kind) for n, kind in arguments or ())))
        if page is None:
            continue
        told = [cells[:2] for cells in page.tables("result", "type")]
        if columns:
            assert told == columns, page.title
        else:
            assert not told and f"Returns `{result}`" in page.text, f"{page.title} returns {result}"


def test_every_function_has_an_example(pages: list[Section]) -> None:
    for (name, _), page in documented(pages).items():
        examples = re.findall(r"```sql\n(.*?)```", page.text, re.DOTALL)
        assert any(f"trails.{name}(" in example for example in examples), f"{page.title} has no example"


def test_settings_are_those_of_the_server(pages: list[Section], session: Any) -> None:
    rows = query(
        session,
        # One default is worked out for each machine.
        "SELECT name, CASE name WHEN 'trails.reading_memory_limit' THEN 'half of the machine''s memory' "
        "ELSE coalesce(boot_val, '') || CASE WHEN boot_val <> '0' THEN coalesce(unit, '') ELSE '' END END, "
        "CASE context WHEN 'user' THEN 'anyone' ELSE context END FROM pg_settings WHERE name LIKE 'trails.%%'",
    )
    told = [tuple(cells[:3]) for page in under(pages, "Settings") for cells in page.tables("setting")]
    assert sorted(told) == sorted(rows)


def test_tables_are_those_of_the_catalogue(pages: list[Section], session: Any) -> None:
    rows = query(
        session,
        "SELECT 'trails.' || c.relname, a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_class c "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "WHERE c.relnamespace = 'trails'::regnamespace AND c.relkind IN ('r', 'v', 'm') ORDER BY c.relname, a.attnum",
    )
    told = [
        (page.title, cells[0], cells[1]) for page in under(pages, "Tables") for cells in page.tables("column", "type")
    ]
    assert told == rows


def test_options_are_those_that_there_are(pages: list[Section], session: Any) -> None:
    rows = query(session, "SELECT name, default_value::text FROM trails.refinement_options()")
    told = [tuple(cells[:2]) for page in under(pages, "Training options") for cells in page.tables("option")]
    assert told == rows


def test_error_codes_exist(pages: list[Section]) -> None:
    told = {cells[0] for page in under(pages, "Errors") for cells in page.tables("SQLSTATE")}
    assert told and all(psycopg2.errorcodes.lookup(code) for code in told)
    for page in documented(pages).values():
        named = re.search(r"^Errors: (.*)", page.text, re.MULTILINE)
        assert named is not None, f"{page.title} says nothing of errors"
        for code in re.findall(r"`([0-9A-Z]{5})`", named[1]):
            assert code in told, f"{page.title}: {code} is not among the error codes"
