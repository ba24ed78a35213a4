"""Builds the sdist and the wheel of the Python package: ``python tools/package.py [FOLDER]``, else into ``dist/``.

Nothing is fetched: setuptools is the interpreter's own, as in ``pip install --no-build-isolation``. The sources are
copied first, so that what a build leaves behind does not lie in the tree.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SOURCES = ("pyproject.toml", "LICENSE", "python")
"""What the package is made of; `tools/setup.sh` and the Dockerfile copy the same."""

_BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, "build_" + sys.argv[1])(sys.argv[2]), file=sys.stderr)
"""


def copied(folder: Path) -> Path:
    """The package's sources in a folder of their own, without what earlier builds and runs left."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)
    return folder


def build(kind: str, sources: Path, out: Path) -> Path:
    """Build one of them.

    Args:
        kind: ``sdist`` or ``wheel``.
        sources: The folder of pyproject.toml.
        out: Where it goes; made if it is not there.

    Returns:
        The file.

    Raises:
        RuntimeError: The build failed; the message has the end of its log.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".building-") as folder:
        # The files' times in the archives: of the last commit, so that the same sources give the same bytes.
        environment = {"SOURCE_DATE_EPOCH": committed(), **os.environ}
        done = subprocess.run(
            [sys.executable, "-c", _BUILD, kind, folder],
            cwd=sources,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the {kind} was not built:\n{(done.stdout + done.stderr)[-4000:]}")
        [made] = Path(folder).iterdir()
        return made.replace(out / made.name)


def committed() -> str:
    """Seconds since 1970 of the last commit; of 1980, the earliest that zip knows, where there is no repository."""
    try:
        top = _git("rev-parse", "--show-toplevel")
        # Unpacked within another repository, this one has no commits.
        found = _git("log", "-1", "--format=%ct") if top and Path(top).resolve() == ROOT.resolve() else ""
    except OSError:
        found = ""
    return found or "315532800"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> None:
    """Build both and say where they are."""
    parser = argparse.ArgumentParser(description="Build the sdist and the wheel of the Python package.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist", help="where they go (default: dist)")
    out = parser.parse_args().folder.resolve()
    with tempfile.TemporaryDirectory() as folder:
        sources = copied(Path(folder))
        for kind in ("sdist", "wheel"):
            print(build(kind, sources, out))


if __name__ == "__main__":
    main()
