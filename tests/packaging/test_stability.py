"""What docs/stability.md calls stable is there, what is public is listed, and calls of released versions still work.

Without a server: the sources declare the SQL surface, and tests/sql/test_signatures.py holds the catalogue to them.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import trails
from tests.docs.blocks import Section, sections
from tests.packaging.test_versions import versions
from tests.sql.declared import Argument, Declared, declared_in, functions
from trails.bench import setting as bench
from trails.bench.image import store as image
from trails.cli import COMMANDS
from trails.model import store as model

ROOT = Path(__file__).resolve().parents[2]
PAGE = sections(ROOT / "docs" / "stability.md")
SQL = "".join(path.read_text() for path in sorted((ROOT / "sql" / "install").glob("*.sql")))
RUST = "".join(path.read_text() for path in sorted((ROOT / "pg_extension" / "src").rglob("*.rs")))
RELEASED = sorted((ROOT / "tests" / "sql" / "released").glob("trails--*.sql"))
KINDS = ("stable", "may change")


def section(title: str) -> Section:
    [found] = [page for page in PAGE if page.title == title]
    return found


def listed(title: str, noun: str) -> dict[str, str]:
    """Names of a section's tables, whatever is promised of them -> since when; each once."""
    rows = [row for first in (f"stable {noun}", f"{noun} that may change") for row in section(title).tables(first)]
    names = [row[0] for row in rows]
    assert len(set(names)) == len(names), f"{title}: a name is listed twice"
    assert names, f"{title} lists nothing"
    return {row[0]: row[1] for row in rows}


def in_order(title: str, noun: str) -> None:
    for first in (f"stable {noun}", f"{noun} that may change"):
        names = [row[0] for row in section(title).tables(first)]
        assert names == sorted(names), f"{title}: {first} is not alphabetical"


def helpers() -> set[str]:
    """What the reference calls a part of other functions."""
    [page] = [page for page in sections(ROOT / "docs" / "sql_reference.md") if page.title == "Helpers"]
    return {"trails." + re.match(r"trails\.(\w+)", row[0])[1] for row in page.tables("helper")}  # type: ignore[index]


def check(told: dict[str, str], there: set[str], what: str) -> None:
    assert told.keys() == there, (
        f"{what}: not in docs/stability.md: {sorted(there - told.keys())}; not there: {sorted(told.keys() - there)}"
    )
    known = {*(path.stem.split("--")[1] for path in RELEASED), trails.__version__}
    assert set(told.values()) <= known, f"{what}: there is no such version among {sorted(set(told.values()))}"


def relations(text: str) -> set[str]:
    return {f"trails.{name}" for name in re.findall(r"^CREATE (?:TABLE|VIEW) (?:trails\.)?(\w+)", text, re.MULTILINE)}


def test_every_public_function_is_listed() -> None:
    there = {f"trails.{function.name}" for function in functions()} - helpers()
    check(listed("SQL functions", "function"), there, "functions")


def test_every_table_view_type_and_role_is_listed() -> None:
    there = relations(SQL) | relations(RUST)
    assert {"trails.runs", "trails.progress", "trails.background_runs"} <= there
    check(listed("Tables and views", "table or view") | _tables_that_may_change(), there, "tables")
    types = set(re.findall(r"^CREATE TYPE (\w+)", SQL, re.MULTILINE))
    check(listed("Types", "type"), {f"trails.{name}" for name in types}, "types")
    check(listed("Roles", "role"), set(re.findall(r"CREATE ROLE (\w+)", SQL)), "roles")


def _tables_that_may_change() -> dict[str, str]:
    return {row[0]: row[1] for row in section("Tables and views").tables("table that may change")}


def test_what_users_may_read_is_listed_as_such() -> None:
    granted = " ".join(re.findall(r"GRANT SELECT ON ([^;]*?)\s+TO trails_user", SQL))
    readable = {f"trails.{name}" for name in re.findall(r"\w+", granted)}
    promised = {row[0] for row in section("Tables and views").tables("stable table or view")}
    assert promised <= readable
    assert readable - promised == _tables_that_may_change().keys()


def test_every_setting_is_listed() -> None:
    check(listed("Settings", "setting"), set(re.findall(r'c"(trails\.\w+)"', RUST)), "settings")


def test_every_python_name_is_there() -> None:
    told = listed("Python", "name")
    for name in told:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
    assert {f"trails.{name}" for name in trails.__all__} <= told.keys()
    check(listed("Python", "command"), {f"trails {name}" for name in COMMANDS}, "commands")


def test_every_format_is_listed() -> None:
    rows = section("Files").tables("format", "version", "since")
    told = [int(re.match(r"\d+", row[1])[0]) for row in rows]  # type: ignore[index]
    assert told == [1, model.VERSION, bench.VERSION, image.VERSION]
    assert "trails.bench" == bench.FORMAT in rows[2][0] and image.FORMAT in rows[3][0]
    known = {*(path.stem.split("--")[1] for path in RELEASED), *versions().values()}
    assert {row[2] for row in rows} <= known


def test_lists_are_alphabetical() -> None:
    for title, noun in (
        ("SQL functions", "function"),
        ("Tables and views", "table or view"),
        ("Settings", "setting"),
        ("Python", "name"),
        ("Python", "command"),
    ):
        in_order(title, noun)


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_what_was_released_is_called_since_then(path: Path) -> None:
    version = path.stem.split("--")[1]
    old = {f"trails.{function.name}" for function in declared_in(path.read_text())}
    told = listed("SQL functions", "function")
    assert old - helpers() - gone() <= told.keys()
    for name, since in told.items():
        assert (since <= version) == (name in old), f"{name} is told to be there since {since}"
    tables = listed("Tables and views", "table or view") | _tables_that_may_change()
    for name, since in tables.items():
        assert (since <= version) == (name in relations(path.read_text())), name


def answers(old: Declared, new: Declared, renamed: set[str]) -> str | None:
    """Why a call of the old function would not work with the new one, or be answered otherwise; None if it would."""
    for was, now in zip(old.arguments, new.arguments, strict=False):
        if (was.name, kind(was)) != (now.name, kind(now)):
            return f"argument {was.name} {was.type} is now {now.name} {now.type}"
        if was.default is not None and now.default is None:
            return f"argument {was.name} can no longer be left out"
    if len(new.arguments) < len(old.arguments):
        return f"there is no argument {old.arguments[len(new.arguments)].name}"
    if any(argument.default is None for argument in new.arguments[len(old.arguments) :]):
        return "a new argument has no default"
    for place, column in enumerate(old.columns):
        if column[0] not in renamed and new.columns[place : place + 1] != (column,):
            return f"result column {column[0]} is not where it was"
    return None if (old.result is None) == (new.result is None) else "the result is another"


def kind(argument: Argument) -> str:
    return argument.type.removeprefix("trails.")


def renamed() -> set[str]:
    """Result columns that did not stay, of which the page tells."""
    rows = section("What did not stay").tables("what", "until")
    return {match[1] for row in rows if (match := re.match(r"result column (\w+)", row[0]))}


def gone() -> set[str]:
    """Functions that did not stay."""
    rows = section("What did not stay").tables("what", "until")
    return {match[1] for row in rows if (match := re.match(r"function (trails\.\w+)", row[0]))}


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_calls_of_a_released_version_still_work(path: Path) -> None:
    assert renamed() == {"validation_auc"} and gone() == {"trails.own_model", "trails.lock_model_name"}
    now: dict[str, list[Declared]] = {}
    for function in functions():
        now.setdefault(function.name, []).append(function)
    assert not {name.removeprefix("trails.") for name in gone()} & now.keys()
    for old in declared_in(path.read_text()):
        # Helpers are no promise.
        if f"trails.{old.name}" in gone() | helpers():
            continue
        why = [answers(old, new, renamed()) for new in now[old.name]]
        assert None in why, f"{old.name} of {path.stem}: {why}"


def test_a_call_that_would_not_work_is_seen() -> None:
    def made(arguments: str, result: str = "text") -> Declared:
        [found] = declared_in(f"CREATE FUNCTION f({arguments}) RETURNS {result} LANGUAGE sql AS '';")
        return found

    old = made("a text, b bigint DEFAULT 1", "TABLE (x text, y bigint)")
    same = "TABLE (x text, y bigint)"
    assert answers(old, made("a text, b bigint DEFAULT 2, c text DEFAULT NULL", f"{same[:-1]}, z text)"), set()) is None
    for arguments, result in (
        ("a text", same),
        ("b bigint, a text", same),
        ("a text, b integer DEFAULT 1", same),
        ("a text, other bigint DEFAULT 1", same),
        ("a text, b bigint", same),
        ("a text, b bigint DEFAULT 1, c text", same),
        ("a text, b bigint DEFAULT 1", "TABLE (y bigint, x text)"),
        ("a text, b bigint DEFAULT 1", "TABLE (x text)"),
        ("a text, b bigint DEFAULT 1", "text"),
    ):
        assert answers(old, made(arguments, result), set()) is not None, (arguments, result)


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_columns_of_released_tables_are_still_there(path: Path) -> None:
    now = columns(SQL)
    for table, names in columns(path.read_text()).items():
        assert set(names) - renamed() <= set(now[table]), table
    assert "validation_metric" in now["candidates"] and len(now["runs"]) > 40


def columns(text: str) -> dict[str, list[str]]:
    """The columns of every table that a script makes."""
    text = re.sub(r"--[^\n]*", "", text)
    tables = re.findall(r"^CREATE TABLE (\w+) \(\n(.*?)\n\)", text, re.DOTALL | re.MULTILINE)
    return {name: re.findall(r"^    ([a-z_]+) ", body, re.MULTILINE) for name, body in tables}
