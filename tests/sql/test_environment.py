"""A virtual environment that is missing or lacks a package: the error says what mends it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.tables import query
from tools.server import Server

RUN = "SELECT * FROM trails.model_selection('train', 'label', '40 s', validation => 'valid')"


@pytest.fixture
def make_environment(pg: Server) -> Iterator[Callable[..., Path]]:
    """Makes a virtual environment that holds the named packages of the real one only."""
    assert pg.virtualenv is not None
    real = pg.virtualenv
    (packages,) = real.glob("lib/python3*/site-packages")
    interpreter = (real / "bin" / "python").resolve()
    with tempfile.TemporaryDirectory(prefix="trails-environment-") as folder:
        place = Path(folder)
        place.chmod(0o755)

        def make(*names: str) -> Path:
            (place / "bin").mkdir()
            (place / "bin" / "python").symlink_to(interpreter)
            (place / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\ninclude-system-site-packages = false\n")
            own = place / packages.relative_to(real)
            own.mkdir(parents=True)
            for name in names:
                (own / name).symlink_to(packages / name)
            for path in [*place.rglob("*")]:
                if not path.is_symlink():
                    os.chmod(path, 0o755)
            return place

        yield make


def refused(session: Any, environment: Path | str) -> psycopg2.extensions.Diagnostics:
    query(session, "SET trails.virtualenv = %s", str(environment))
    with pytest.raises(psycopg2.Error) as caught:
        query(session, RUN)
    assert query(session, "SELECT count(*) FROM trails.runs") == [(0,)]
    return caught.value.diag


def test_missing_environment(session: Any) -> None:
    diagnostics = refused(session, "/nowhere/environment")
    assert diagnostics.sqlstate == "F0000"
    assert "/nowhere/environment" in diagnostics.message_primary
    assert "python3 -m venv /nowhere/environment" in diagnostics.message_hint


def test_no_environment(session: Any) -> None:
    diagnostics = refused(session, "")
    assert "trails.virtualenv is not set" in diagnostics.message_primary
    assert "ALTER SYSTEM SET trails.virtualenv" in diagnostics.message_hint


def test_environment_without_trails(session: Any, make_environment: Callable[..., Path]) -> None:
    environment = make_environment("numpy", "numpy.libs")
    diagnostics = refused(session, environment)
    assert "No module named 'trails'" in diagnostics.message_primary
    assert f"{environment}/bin/pip install" in diagnostics.message_hint


def test_environment_without_torch(session: Any, make_environment: Callable[..., Path]) -> None:
    environment = make_environment("numpy", "numpy.libs", "sortedcontainers", "trails")
    diagnostics = refused(session, environment)
    assert "No module named 'torch'" in diagnostics.message_primary
    assert f"{environment}/bin/pip install" in diagnostics.message_hint
