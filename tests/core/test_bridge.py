"""What crosses the bridge: every struct of the extension has a class of its name and its fields in `trails.bridge`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import pytest

from trails import bridge

SOURCES = sorted((Path(__file__).resolve().parents[2] / "pg_extension" / "src").rglob("*.rs"))
STRUCT = re.compile(
    r"#\[derive\((?P<derived>[^)]*(?:IntoPyObject|FromPyObject)[^)]*)\)\]\s*"
    r"(?:pub(?:\([a-z]+\))? )?struct (?P<name>\w+)(?:<[^>]*>)?\s*(?P<open>[{(])(?P<body>[^}]*)",
)
FIELD = re.compile(r"^\s*(?:pub(?:\([a-z]+\))? )?(\w+):", re.MULTILINE)
CALL = re.compile(r'call_method[01]?\(\s*(?:intern!\(py, )?"(\w+)"')


def crossing() -> list[tuple[str, bool, set[str]]]:
    """Name, whether it goes to Python, and fields of every struct that crosses."""
    found = []
    for path in SOURCES:
        for struct in STRUCT.finditer(path.read_text()):
            assert struct["open"] == "{", f"{struct['name']} of {path.name} has fields without names"
            lines = [line for line in struct["body"].splitlines() if not line.strip().startswith(("//", "#["))]
            goes = "IntoPyObject" in struct["derived"]
            found.append((struct["name"], goes, set(FIELD.findall("\n".join(lines)))))
    return found


@pytest.mark.parametrize(
    ("name", "goes", "fields"), crossing(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_both_sides_name_the_same_fields(name: str, goes: bool, fields: set[str]) -> None:
    known = set(get_type_hints(getattr(bridge, name)))
    # What comes from Python may know more than the extension asks for.
    assert fields == known if goes else fields <= known


def test_every_class_that_crosses_has_its_struct() -> None:
    classes = {name for name in bridge.__all__ if name[0].isupper()}
    assert classes - {"LatencyScorer", "TrainingRows"} == {name for name, _, _ in crossing()}


def test_what_the_extension_calls_is_there() -> None:
    called = {name for path in SOURCES for name in CALL.findall(path.read_text())}
    known = {*bridge.__all__, *vars(bridge.TrainingRows), *vars(bridge.LatencyScorer)}
    assert {"training_rows", "shortlist", "rank", "costs", "plan"} <= called <= known
    functions = {name for name in bridge.__all__ if name[0].islower()}
    assert functions <= called
