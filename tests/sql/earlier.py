"""Databases that an earlier release has made, with the new library installed and nothing upgraded yet."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.postgres import ask
from tools.server import Server

RELEASED = Path(__file__).parent / "released"
VERSIONS = sorted(re.sub(r"trails--(.*)\.sql", r"\1", path.name) for path in RELEASED.glob("trails--*.sql"))


@contextlib.contextmanager
def database_of(pg: Server, version: str, name: str = "upgraded") -> Iterator[str]:
    """The name of a database with the objects of a release; dropped at the end."""
    script = Path(ask(pg.pg_config, "--sharedir")) / "extension" / f"trails--{version}.sql"
    assert not script.exists(), "an old release's script must not be installed: its functions do not fit this library"
    pg.sql("postgres", f"CREATE DATABASE {name}")
    shutil.copy(RELEASED / script.name, script)
    try:
        pg.sql(name, f"CREATE EXTENSION trails VERSION '{version}'")
        yield name
    finally:
        script.unlink()
        pg.drop_database(name)
