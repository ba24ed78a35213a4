"""The package as others get it: its wheel and sdist, and environments that hold nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tools.package import build, copied

BASE = ("numpy", "sortedcontainers", "xxhash")


@dataclass(frozen=True)
class Built:
    """What was built from the sources at hand; ``again`` is the wheel that the sdist gives."""

    sdist: Path
    wheel: Path
    again: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel in it, and a folder to run in."""

    folder: Path
    working: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command as somebody would who never saw the repository."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRAILS", "PG"))}
        return subprocess.run(
            [*map(str, command)], cwd=self.working, env=kept, capture_output=True, text=True, check=False, timeout=600
        )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    sources = copied(folder)
    sdist = build("sdist", sources, folder / "out")
    wheel = build("wheel", sources, folder / "out")
    shutil.unpack_archive(sdist, folder / "unpacked")
    [unpacked] = (folder / "unpacked").iterdir()
    return Built(sdist, wheel, build("wheel", unpacked, folder / "again"))


def _environment(folder: Path, wheel: Path, packages: Sequence[Path]) -> Environment:
    """A fresh environment with the wheel; ``packages`` are folders with what it depends on, in place of downloads."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    made = Environment(folder / "venv", folder)
    pip = [sys.executable, "-m", "pip", "--python", str(made.python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    [site] = (made.folder / "lib").glob("python*/site-packages")
    (site / "packages.pth").write_text("".join(f"{package}\n" for package in packages))
    return made


@pytest.fixture(scope="session")
def base(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """As `pip install trails` makes it: what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "packages").mkdir()
    for name in BASE:
        of = distribution(name)
        for top in {Path(file).parts[0] for file in of.files or ()} - {"..", "__pycache__"}:
            (folder / "packages" / top).symlink_to(Path(str(of.locate_file(top))))
    return _environment(folder, built.wheel, [folder / "packages"])


@pytest.fixture(scope="session")
def trained(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """As `pip install 'trails[train]'` makes it, but for torch and the rest, which are those of the tests."""
    site = Path(str(distribution("torch").locate_file("")))
    return _environment(tmp_path_factory.mktemp("trained"), built.wheel, [site])
