"""What Rust and Python must agree on is written once: in ``limits.toml``."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from trails import limits
from trails.model import operations, store
from trails.table import fields, stored, target

ROOT = Path(__file__).resolve().parents[2]
RUST = sorted((ROOT / "pg_extension" / "src").rglob("*.rs"))
PYTHON = [path for path in sorted((ROOT / "python" / "trails").rglob("*.py")) if path != Path(limits.__file__)]
NAMES = sorted(name for name in vars(limits) if name.isupper() and not name.startswith("_"))

_CONSTANT = re.compile(r"\b(?:const|static) ([A-Z][A-Z0-9_]*): [^=;]+ = ([^;]+);")


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Of a Python module."""
    return tuple(ast.walk(ast.parse(path.read_text())))


@cache
def bare(path: Path) -> str:
    """A Rust file without its comments and without its tests."""
    return re.sub(r"//[^\n]*", "", path.read_text().split("#[cfg(test)]")[0])


@cache
def given(path: Path) -> frozenset[str]:
    """Names that a module or a file gives a value to, without a leading underscore."""
    if path.suffix == ".rs":
        return frozenset(found[1] for found in _CONSTANT.finditer(bare(path)))
    names = (node for node in nodes(path) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return frozenset(node.id.removeprefix("_") for node in names)


def number(text: str) -> float:
    """The value of a constant expression of Rust: numbers, products and shifts."""
    return float(eval(re.sub(r"(?<=[0-9])_(?=[0-9])", "", text), {"__builtins__": {}}))


def test_every_entry_is_a_constant_of_the_module_and_says_what_it_is() -> None:
    assert [name.upper() for name in sorted(limits._ENTRIES)] == NAMES
    for name, entry in limits._ENTRIES.items():
        assert set(entry) == {"value", "unit", "what"} and len(entry["what"]) > 10, name
        assert getattr(limits, name.upper()) == entry["value"]


@pytest.mark.parametrize("name", NAMES)
def test_no_limit_is_written_a_second_time(name: str) -> None:
    assert [str(path) for path in (*RUST, *PYTHON) if name in given(path)] == []


def test_numbers_that_only_limits_have_stand_nowhere_else() -> None:
    # Those that are so odd that they mean one of the limits wherever they stand.
    telling = {35e6, 30e-6, 1.03, 0.15, 64 << 20}
    for path in RUST:
        found = {
            float(text.replace("_", ""))
            for text in re.findall(r"(?<![\w.])[0-9][0-9_]*(?:\.[0-9_]+)?(?:e-?[0-9]+)?", bare(path))
        }
        assert not found & telling, path
    for path in PYTHON:
        numbers = {n.value for n in nodes(path) if isinstance(n, ast.Constant) and isinstance(n.value, int | float)}
        # A table of the package has shares of its own.
        assert not numbers & telling or path.name == "small.py", path


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_is_used_on_both_sides(name: str) -> None:
    used = re.compile(rf"\b{name}\b")
    assert any(used.search(bare(path)) for path in RUST), "Rust"
    named = ({getattr(node, "id", None), getattr(node, "attr", None)} for path in PYTHON for node in nodes(path))
    assert any(name in names for names in named), "Python"


def test_a_process_that_lives_is_heard_several_times_before_it_is_thought_to_hang() -> None:
    assert 5 * limits.HEARTBEAT_SECONDS <= limits.SILENCE_SECONDS <= limits.SILENCE_BEFORE_READY_SECONDS


def test_both_readers_of_a_model_refuse_the_same() -> None:
    constants: dict[str, set[float]] = {}
    for path in sorted((ROOT / "crates" / "model" / "src").rglob("*.rs")):
        for found in _CONSTANT.finditer(bare(path)):
            if re.fullmatch(r"[0-9_. <*]+", found[2]):
                constants.setdefault(found[1], set()).add(number(found[2]))
    python = {
        "LARGEST_CONTENTS": store._LARGEST_CONTENTS,
        "MOST_LAYERS": store._MOST_LAYERS,
        "MOST_BYTES": stored.MOST_BYTES,
        "MOST_VALUES": stored.MOST_VALUES,
        "DEEPEST": stored.DEEPEST,
        "LONGEST_TEXT": stored.LONGEST_TEXT,
        "MOST_FIELDS": stored.MOST_FIELDS,
        "MOST_CLASSES": target.MOST_CLASSES,
        "MOST_OPERATIONS": operations.MOST_OPERATIONS,
        "MOST_NUMBERS": operations.MOST_NUMBERS,
        "MOST_WORK": operations.MOST_WORK,
        "LONGEST_FACTOR": fields._LONGEST_FACTOR,
        "NULL": fields.NULL,
        "FIRST_SLOT": fields.FIRST_SLOT,
    }
    header = (ROOT / "crates" / "model" / "src" / "header.rs").read_text()
    assert f"const VERSIONS: [u64; 2] = [1, {store.VERSION}];" in header
    assert {name: constants.get(name) for name in python} == {name: {float(v)} for name, v in python.items()}
