"""Which servers `make test-all` finds."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools.dependencies import ROOT

PG_CONFIG = """#!/bin/bash
case $1 in
    --version) echo "PostgreSQL {major}.3 (here)" ;;
    --bindir) echo "{bindir}" ;;
esac
"""


def installed(place: Path, major: int, server: bool = True) -> Path:
    """The `pg_config` of a made-up installation."""
    bindir = place / "bin"
    bindir.mkdir(parents=True)
    for name in ("pg_config", "postgres")[: 1 + server]:
        (bindir / name).write_text(PG_CONFIG.format(major=major, bindir=bindir))
        (bindir / name).chmod(0o755)
    return bindir / "pg_config"


def listed(home: Path, debian: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "TRAILS_HOME": str(home), "TRAILS_DEBIAN": str(debian), **variables}
    return subprocess.run(
        ["tools/test_all.sh", "--list"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


def test_each_version_is_told_with_the_server_or_that_there_is_none(tmp_path: Path) -> None:
    debian = tmp_path / "debian"
    old = installed(debian / "15", 15)
    installed(debian / "14", 14)
    installed(debian / "16", 16, server=False)
    named, other = installed(tmp_path / "built", 17), installed(tmp_path / "second", 17)
    done = listed(tmp_path / "home", debian, TRAILS_SERVERS=f"{tmp_path}/nowhere:{named}:{other}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"PostgreSQL 15: {old}",
        "PostgreSQL 16: none found",
        f"PostgreSQL 17: {named}",
        "PostgreSQL 18: none found",
    ]


def test_pg_config_comes_first(tmp_path: Path) -> None:
    installed(tmp_path / "debian" / "15", 15)
    chosen = installed(tmp_path / "mine", 15)
    done = listed(tmp_path / "home", tmp_path / "debian", PG_CONFIG=str(chosen))
    assert f"PostgreSQL 15: {chosen}" in done.stdout.splitlines()


def test_without_any_server_it_says_how_to_name_one(tmp_path: Path) -> None:
    done = listed(tmp_path / "home", tmp_path / "debian")
    assert done.returncode == 1 and "TRAILS_SERVERS" in done.stderr and done.stdout.count("none found") == 4
