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
    """What a person is told where somebody else's package is not there; None where it was one of ours, or where one
    that is there cannot be imported, whose own error says why.

    Args:
        error: What the import raised.
        extra: The extra of the command that needs the package, where it has one.
    """
    module = (error.name or "").partition(".")[0]
    is_absent = isinstance(error, ModuleNotFoundError) and module not in ("", "trails")
    return None if not is_absent else _missing([module], extra)


def _missing(modules: list[str], extra: str | None = None) -> MissingPackage:
    extras = [extra] if extra else sorted({EXTRA[module] for module in modules if module in EXTRA})
    verb = "is" if len(modules) == 1 else "are"
    # Only of packages that this file knows is the module's name the one to install.
    hint = f"Install what is missing: python -m pip install 'trails[{','.join(extras)}]'" if extras else None
    return MissingPackage(f"{' and '.join(modules)} {verb} not installed", hint=hint)
