"""A table as an Arrow Flight stream of batches: the service that reads it once, and clients that train from it.

Needs ``trails[service]``: psycopg2 and pyarrow. Nothing is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trails.service.client import DataClient, read_columns
    from trails.service.server import DataService

__all__ = ["DataClient", "DataService", "read_columns"]


def __getattr__(name: str) -> Any:
    if name in ("DataClient", "read_columns"):
        from trails.service import client

        return getattr(client, name)
    if name == "DataService":
        from trails.service.server import DataService

        return DataService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
