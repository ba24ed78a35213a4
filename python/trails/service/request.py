"""What a consumer asks for, as JSON: checked on arrival, since anybody with the token can send anything."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from trails.errors import InvalidInput

STATUS = "status"
"""The one action: what the service holds, as JSON."""

MOST_ROWS = 1 << 20
"""Rows of a batch, and of the buffer that is shuffled, at most."""

_LONGEST = 1 << 20
"""Bytes of a request at most."""


@dataclass(frozen=True)
class Request:
    """One stream.

    Args:
        table: A table or view, as in SQL: with its schema or found by the search_path, quoted where necessary.
        columns: Names of the columns, in the order wanted; None for all.
        batch: Rows of a batch; the last one of an epoch may have fewer.
        epochs: How often the rows are sent.
        shuffle: Rows of the buffer within which rows are shuffled; 0 for the table's order.
        seed: Of the shuffling; every epoch has its own order.
        fresh: Whether the table is read anew, whatever the service still holds of it.
        structure: Digest of the columns' names and types that the consumer expects; None for whatever is there.
    """

    table: str
    columns: tuple[str, ...] | None = None
    batch: int = 1024
    epochs: int = 1
    shuffle: int = 0
    seed: int = 0
    fresh: bool = False
    structure: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.table, str) or not self.table:
            raise InvalidInput("a request names a table")
        names = self.columns
        if names is not None and not (isinstance(names, tuple) and names and all(isinstance(n, str) for n in names)):
            raise InvalidInput("the columns of a request are a list of names, or are left out")
        for name, least, most in (("batch", 1, MOST_ROWS), ("epochs", 1, 1 << 31), ("shuffle", 0, MOST_ROWS)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise InvalidInput(f"{name} is a whole number from {least} to {most}, not {value!r}")
        if type(self.seed) is not int or type(self.fresh) is not bool:
            raise InvalidInput("seed is a whole number and fresh is true or false")
        if self.structure is not None and not isinstance(self.structure, str):
            raise InvalidInput("structure is a text")

    def to_bytes(self) -> bytes:
        """The request as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Request:
        """The request that `to_bytes` wrote.

        Raises:
            InvalidInput: Not a request.
        """
        given: Any = None
        if len(text) <= _LONGEST:
            with contextlib.suppress(ValueError, RecursionError):
                given = json.loads(text)
        if not isinstance(given, dict) or not given.keys() <= {field.name for field in fields(cls)}:
            raise InvalidInput("this is no request for a table", hint="Use trails.service.DataClient.")
        if isinstance(given.get("columns"), list):
            given["columns"] = tuple(given["columns"])
        try:
            return cls(**given)
        except TypeError:
            raise InvalidInput("a request names a table") from None
