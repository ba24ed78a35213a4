"""Where the refinement process gets a table's columns from: memory that its caller shares, or a data service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trails.table.columns import Columns


def read_source(source: Mapping[str, Any], target: str, like: Columns | None = None) -> Columns:
    """The columns of one table.

    Args:
        source: A layout with ``fd``, the descriptor that its buffer lies behind (`Columns.from_buffer`); or
            ``{"service": uri, "table": name, "columns": names or None}`` of a data service, whose token is in
            TRAILS_SERVICE_TOKEN.
        target: Name of the target column: rows where it is NULL are not read from a service.
        like: Columns whose kinds these must have too.

    Raises:
        TrailsError: The service cannot be reached, or has no such table; a layout that does not fit.
    """
    if "service" not in source:
        return Columns.from_fd(int(source["fd"]), source)
    from trails.service import read_columns

    return read_columns(str(source["service"]), None, str(source["table"]), source.get("columns"), target, like=like)
