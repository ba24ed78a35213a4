"""What an error carries, and that it survives the way between processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
import traceback

import pytest

from trails.errors import BudgetTooSmall, Interrupted, InvalidInput, TrailsError, UnusableData


@pytest.mark.parametrize(
    ("kind", "sqlstate"),
    [(TrailsError, "XX000"), (InvalidInput, "22023"), (BudgetTooSmall, "53400"), (UnusableData, "22000")],
)
def test_each_class_has_its_sqlstate(kind: type[TrailsError], sqlstate: str) -> None:
    assert kind("message").sqlstate == sqlstate
    assert kind("message", sqlstate="42501").sqlstate == "42501"


def test_every_field_survives_pickling() -> None:
    error = BudgetTooSmall("message", "detail", "hint", "53401", minimum=1.25)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is BudgetTooSmall
    assert vars(copy) == vars(error)
    assert str(copy) == "message"


def test_a_traceback_shows_detail_and_hint() -> None:
    text = "".join(traceback.format_exception(InvalidInput("message", detail="the cause", hint="the cure")))
    assert "DETAIL: the cause" in text
    assert "HINT: the cure" in text


def test_interrupted_is_not_an_exception_that_libraries_catch() -> None:
    assert not issubclass(Interrupted, Exception)


def test_the_package_imports_neither_numpy_nor_torch() -> None:
    code = "import sys, trails; print(sorted({'numpy', 'torch', 'psycopg2', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
