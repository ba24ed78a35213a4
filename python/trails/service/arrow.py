"""The parts of pyarrow that the service uses, or a clear word that it is missing."""

from __future__ import annotations

from trails.errors import TrailsError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as csv
    import pyarrow.flight as flight
except ImportError:  # pragma: no cover - depends on the environment
    raise TrailsError("pyarrow is not installed", hint="Install it: python -m pip install 'trails[service]'") from None

__all__ = ["csv", "flight", "pa", "pc"]
