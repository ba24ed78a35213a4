"""Packages that only a part of Trails needs, and what to install where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from trails.errors import TrailsError

EXTRA = {
    "torch": "train",
    "safetensors": "train",
    "ray": "ray",
    "psycopg2": "postgres",
    "pyarrow": "service",
    "jinja2": "dashboard",
    "starlette": "dashboard",
    "uvicorn": "dashboard",
    "optuna": "bench",
    "PIL": "bench",
    "onnx": "onnx",
    "matplotlib": "plots",
    "tqdm": "progress",
}
"""Module -> the extra of pyproject.toml that brings it."""


class MissingPackage(TrailsError, ImportError):
    """A package that this part of Trails needs is not installed; the hint has the command."""


def require(*modules: str) -> None:
    """See that modules of `EXTRA` can be found, without importing them.

    Raises:
        MissingPackage: One of them is not installed.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise _missing(missing)


def missing(error: ImportError, extra: str | None = None) -> MissingPackage | None:
    """What a person is told where the import of somebody else's package failed; None where it was one of ours.

    Args:
        error: What the import raised.
        extra: The extra of the command that needs the package, where it has one.
    """
    module = (error.name or "").partition(".")[0]
    return None if module in ("", "trails") else _missing([module], extra)


def _missing(modules: list[str], extra: str | None = None) -> MissingPackage:
    extras = [extra] if extra else sorted({EXTRA[module] for module in modules if module in EXTRA})
    wanted = f"'trails[{','.join(extras)}]'" if extras else " ".join(modules)
    verb = "is" if len(modules) == 1 else "are"
    return MissingPackage(
        f"{' and '.join(modules)} {verb} not installed", hint=f"Install what is missing: python -m pip install {wanted}"
    )
