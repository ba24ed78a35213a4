"""A function's SQL declaration, its Rust arguments, the catalogue and the other ways of calling it say the same.

tests/docs/test_reference.py compares docs/sql_reference.md with the catalogue: arguments, types, defaults, results.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import pytest

import trails
from tests.sql.declared import ROOT, TYPES, Argument, Declared, Extern, externs, functions
from tests.sql.tables import query
from trails import select_command
from trails.settings import Settings

# The one default of an argument, whichever function has it, and what is another on purpose.
_OTHERWISE = {
    ("benchmark_filtering_latency_in_db", "batch_size"): "64",  # of the published study
    ("model_selection_workloads", "u"): "1",  # of the published function
    ("best_threshold", "metric"): "'f1'",  # elsewhere NULL is what models are selected by, which no threshold changes
    ("feature_importance", "budget"): "'10 s'",  # nothing is trained
    ("filtering_phase", "budget"): "NULL",  # as many are scored as n says, however long that takes
    ("feature_importance", "repeats"): "3",  # a deviation needs some
    ("partial_dependence", "points"): "20",  # each costs the whole sample
    ("drift", "threshold"): "0.1",  # of a distance, no probability
    ("retrain", "budget"): "'20 s'",  # a few architectures that are known to be good
    ("retrain", "deploy"): "'if_better'",  # a choice of three
}

# Names of arguments in Python -> in SQL.
_IN_SQL = {"random_state": "seed"}

_LIVE = """
SELECT p.proname::text, p.oid::regprocedure::text,
       ARRAY(SELECT coalesce(p.proargnames[g], '') FROM generate_series(1, p.pronargs) g ORDER BY g),
       ARRAY(SELECT format_type(u.type, NULL) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u (type, place)
             ORDER BY u.place),
       ARRAY(SELECT pg_get_function_arg_default(p.oid, g::int) FROM generate_series(1, p.pronargs) g ORDER BY g),
       ARRAY(SELECT ARRAY[p.proargnames[u.place], format_type(u.type, NULL)]
             FROM unnest(p.proallargtypes) WITH ORDINALITY u (type, place) WHERE p.proargmodes[u.place] = 't'
             ORDER BY u.place),
       CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END || format_type(p.prorettype, NULL),
       l.lanname::text, p.provolatile::text, p.proparallel::text, p.proisstrict
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'trails'::regnamespace
"""


def live(connection: Any) -> dict[tuple[str, tuple[str, ...]], tuple[str, Declared]]:
    """Name and types -> name with types, and the function as the catalogue has it."""
    found = {}
    for name, shown, names, types, defaults, columns, result, language, volatility, parallel, strict in query(
        connection, _LIVE
    ):
        arguments = tuple(Argument(*of) for of in zip(names, types, defaults, strict=True))
        table = tuple((column, kind) for column, kind in columns)
        found[name, tuple(types)] = (
            shown,
            Declared(name, arguments, table, None if table else result, language, volatility, parallel, strict),
        )
    return found


@pytest.mark.parametrize("extern", externs(), ids=lambda extern: extern.declared.name)
def test_rust_takes_and_returns_what_is_declared(extern: Extern) -> None:
    declared = extern.declared
    named = [(name, kind) for name, kind in extern.arguments if name != "fcinfo"]
    by_call = len(named) < len(extern.arguments)
    # A record has no type in Rust: it is taken from the call itself.
    taken = [argument for argument in declared.arguments if not (by_call and argument.type == "record")]
    assert [name for name, _ in named] == [argument.name for argument in taken]
    for (name, kind), argument in zip(named, taken, strict=True):
        inner = re.fullmatch(r"Option<(.*)>", kind)
        assert bool(inner) != declared.strict, f"{name}: only a strict function is never called with NULL"
        assert argument.type in TYPES[inner[1] if inner else kind], f"{name} is {kind}, and declared as {argument.type}"
    columns = re.findall(r"name!\(\s*(\w+), ((?:[^()]|\(\))*?)\s*\)", extern.result)
    if columns:
        assert [name for name, _ in columns] == [name for name, _ in declared.columns]
        for (name, kind), (_, result) in zip(columns, declared.columns, strict=True):
            assert result in TYPES[re.sub(r"^Option<(.*)>$", r"\1", kind)], (
                f"{name} is {kind}, and declared as {result}"
            )
    elif declared.result is not None:
        assert declared.result in TYPES[re.sub(r"^Option<(.*)>$", r"\1", extern.result)]
    else:
        assert by_call, "a table that the function does not return is written through the call"


def test_every_function_of_rust_is_read() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "pg_extension" / "src").rglob("*.rs"))
    assert len(externs()) == len(re.findall(r"#\[pg_extern", sources)) > 25
    everything = sources + "".join(path.read_text() for path in (ROOT / "sql" / "install").glob("*.sql"))
    assert len(functions()) == len(re.findall(r"^\s*CREATE FUNCTION", everything, re.MULTILINE))


def test_the_catalogue_has_what_is_declared(connect: Callable[..., Any]) -> None:
    connection = connect()
    there = live(connection)
    declared = {(f.name, tuple(_type(a.type) for a in f.arguments)): f for f in functions()}
    assert declared.keys() == there.keys()
    for key, of in declared.items():
        shown, found = there[key]
        assert [a.name for a in found.arguments] == [a.name for a in of.arguments], shown
        assert [(n, _type(t)) for n, t in of.columns] == list(found.columns), shown
        assert of.columns or _type(of.result or "") == found.result, shown
        for attribute in ("language", "volatility", "parallel", "strict"):
            assert getattr(of, attribute) == getattr(found, attribute), f"{shown}: {attribute}"
        for argument, known in zip(of.arguments, found.arguments, strict=True):
            assert (argument.default is None) == (known.default is None), f"{shown}: {argument.name}"
            if argument.default is not None:
                same = f"SELECT ({argument.default})::{known.type}::text IS NOT DISTINCT FROM ({known.default})::text"
                assert query(connection, same) == [(True,)], f"{shown}: {argument.name}"


def _type(kind: str) -> str:
    """As format_type spells it; types of the extension have its schema."""
    setof = "SETOF " if kind.startswith("SETOF ") else ""
    return setof + {"tfmem": "trails.tfmem", "trigger": "trigger"}.get(kind, kind.removeprefix("SETOF "))


def test_an_argument_has_one_default_in_every_function() -> None:
    seen: dict[str, tuple[str, str | None]] = {}
    for function in functions():
        for argument in function.arguments:
            if (function.name, argument.name) in _OTHERWISE:
                assert argument.default == _OTHERWISE[function.name, argument.name]
            elif argument.default is not None:
                first, default = seen.setdefault(argument.name, (function.name, argument.default))
                assert argument.default == default, f"{argument.name} of {function.name}, and of {first}"


def sql_defaults() -> dict[str, Any]:
    """Those of trails.model_selection, as Python's values."""
    [selection] = [function for function in functions() if function.name == "model_selection"]
    return {a.name: _value(a.default) for a in selection.arguments if a.default is not None}


def _value(default: str) -> Any:
    text = default.strip("'")
    if default == "NULL":
        return None
    if text == default:
        return int(text)
    return float(text.removesuffix(" s")) if text.endswith(" s") else text


def test_the_settings_of_a_selection_have_the_defaults_of_sql() -> None:
    defaults = {
        field.name: field.default if field.default is not MISSING else None  # options: none
        for field in fields(Settings)
    }
    _assert_equal(defaults, {"device", "threads", "isolated"})


def test_the_estimator_has_the_defaults_of_sql() -> None:
    parameters = inspect.signature(trails.ModelSelector.__init__).parameters.values()
    defaults = {_IN_SQL.get(p.name, p.name): p.default for p in parameters if p.name != "self"}
    # The task is inferred: NULL in SQL.
    assert defaults.pop("task") == "auto"
    _assert_equal(defaults, {"device", "n_jobs", "isolated", "verbose", "progress"})


def test_the_command_has_the_defaults_of_sql() -> None:
    parser = argparse.ArgumentParser()
    select_command.declare(parser)
    actions = {action.dest: action for action in parser._actions if action.dest != "help"}
    elsewhere = {"dataset", "dir", "dsn", "target", "device", "threads", "logs", "save"}
    _assert_equal({name: action.default for name, action in actions.items()}, elsewhere)
    for name, action in actions.items():
        told = re.search(r"\(default: ([\w.]+)\)", action.help or "")
        if told is not None:
            shown = f"{action.default:g}" if isinstance(action.default, float) else str(action.default)
            assert told[1] == shown, name


def test_rust_repeats_the_defaults_of_sql() -> None:
    source = (ROOT / "pg_extension" / "src" / "epoch_costs.rs").read_text()
    found = dict(re.findall(r'const DEFAULT_(TFMEM|BATCH_SIZE): \S+ = "?(\w+)"?;', source))
    defaults = sql_defaults()
    assert found == {"TFMEM": defaults["tfmem"], "BATCH_SIZE": str(defaults["batch_size"])}


def _assert_equal(defaults: dict[str, Any], elsewhere: set[str]) -> None:
    """Each of ``defaults`` is SQL's; ``elsewhere`` are those that SQL has as settings, or not at all."""
    in_sql = sql_defaults()
    assert elsewhere <= defaults.keys() and not elsewhere & in_sql.keys()
    assert defaults.keys() - elsewhere <= in_sql.keys()
    assert {name: defaults[name] for name in defaults.keys() - elsewhere} == {
        name: in_sql[name] for name in defaults.keys() - elsewhere
    }
