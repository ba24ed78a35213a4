"""Typed views over the column buffer that the backend shares with the refinement process."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput

ColumnKind = Literal["int32", "int64", "idvalue"]

_ID_DTYPES: Mapping[str, type[np.int32] | type[np.int64]] = {
    "int32": np.int32,
    "int64": np.int64,
    "idvalue": np.int32,
}

_FIRST_LOOK = 2_000
"""Rows looked at before a whole column: almost every useful feature shows that it is one within them."""


@dataclass(frozen=True)
class Column:
    """One column of a table, without copies of its data.

    Args:
        name: Name of the column in the table.
        kind: ``int32`` and ``int64`` hold category codes as found in the table, ``idvalue`` the ids of the
            published ``id:value`` text form.
        ids: int32 or int64, shape (rows,). Undefined where ``nulls`` is 1.
        values: float32, shape (rows,), of an ``idvalue`` column; None when every value is 1.
        nulls: uint8, shape (rows,), 1 where the row is NULL; None without NULLs.
    """

    name: str
    kind: ColumnKind
    ids: NDArray[np.int32] | NDArray[np.int64]
    values: NDArray[np.float32] | None = None
    nulls: NDArray[np.uint8] | None = None

    def take(self, rows: NDArray[np.int64]) -> Column:
        """A copy of the column at ``rows``."""
        return Column(
            self.name,
            self.kind,
            self.ids[rows],
            None if self.values is None else self.values[rows],
            None if self.nulls is None else self.nulls[rows],
        )


@dataclass(frozen=True)
class Columns:
    """The columns of one table, all of the same length, in the table's order."""

    rows: int
    columns: tuple[Column, ...]

    @classmethod
    def from_buffer(cls, buffer: Any, layout: Mapping[str, Any]) -> Columns:
        """Views over ``buffer``, zero copy.

        Args:
            buffer: Anything with the buffer protocol; the views keep it alive.
            layout: ``{"rows": R, "columns": [{"name", "kind", "offset", "nulls", "values"}, ...]}`` with
                byte offsets.

        Raises:
            InvalidInput: An unknown kind, or an offset beyond the buffer.
        """
        rows = int(layout["rows"])

        def view(dtype: Any, offset: Any, name: str) -> NDArray[Any] | None:
            if offset is None:
                return None
            if rows == 0:
                return np.empty(0, dtype)
            try:
                return np.frombuffer(buffer, dtype, rows, int(offset))
            except ValueError as error:
                raise InvalidInput(
                    f'column "{name}" does not fit in its buffer',
                    detail=f"{rows} rows of {np.dtype(dtype).name} from byte {offset}: {error}.",
                ) from error

        columns: list[Column] = []
        for entry in layout["columns"]:
            name, kind = str(entry["name"]), entry["kind"]
            if kind not in _ID_DTYPES:
                raise InvalidInput(
                    f'column "{name}" has the unknown kind "{kind}"',
                    detail=f"Known kinds: {', '.join(_ID_DTYPES)}.",
                )
            ids = view(_ID_DTYPES[kind], entry["offset"], name)
            if ids is None:
                raise InvalidInput(f'column "{name}" has no offset')
            columns.append(
                Column(
                    name,
                    cast(ColumnKind, kind),
                    ids,
                    view(np.float32, entry.get("values"), name),
                    view(np.uint8, entry.get("nulls"), name),
                )
            )
        return cls(rows, tuple(columns))

    @classmethod
    def from_fd(cls, fd: int, layout: Mapping[str, Any]) -> Columns:
        """Views over a file descriptor (a memfd), mapped read-only; see `from_buffer`."""
        empty = int(layout["rows"]) == 0
        return cls.from_buffer(b"" if empty else mmap.mmap(fd, 0, prot=mmap.PROT_READ), layout)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, name: str) -> Column:
        """The column called ``name``.

        Raises:
            InvalidInput: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise InvalidInput(
            f'there is no column "{name}"', detail=f"Columns: {', '.join(c.name for c in self.columns)}."
        )

    def without(self, name: str) -> Columns:
        """All columns but ``name``."""
        return Columns(self.rows, tuple(column for column in self.columns if column.name != name))

    def take(self, rows: NDArray[np.int64]) -> Columns:
        """A copy of the given rows."""
        return Columns(len(rows), tuple(column.take(rows) for column in self.columns))


def useless_features(columns: Iterable[Column]) -> dict[str, str]:
    """Features that no network can learn from, with the reason.

    A constant tells rows apart as little as no feature; one that differs in every row (a key) can only be
    memorised and is unknown for every new row. Columns of fewer than two rows are never called useless.

    Args:
        columns: Features; on a useful one only the first 2,000 rows are read.

    Returns:
        Name to reason, in the order of ``columns``.
    """
    reasons: dict[str, str] = {}
    for column in columns:
        if len(column.ids) < 2:
            continue
        if _is_constant(column):
            reasons[column.name] = "the same in every row"
        elif _is_unique(column):
            reasons[column.name] = "different in every row"
    return reasons


def _is_constant(column: Column) -> bool:
    return all(_all_same(column, end) for end in (_FIRST_LOOK, len(column.ids)))


def _all_same(column: Column, end: int) -> bool:
    if column.nulls is not None and (nulls := column.nulls[:end]).any():
        return bool(nulls.all())
    parts = (column.ids, column.values)
    return not any((part[:end] != part[0]).any() for part in parts if part is not None)


def _is_unique(column: Column) -> bool:
    return all(_all_different(column, end) for end in (_FIRST_LOOK, len(column.ids)))


def _all_different(column: Column, end: int) -> bool:
    ids = column.ids[:end]
    if column.nulls is not None:
        nulls = column.nulls[:end]
        if int(nulls.sum(dtype=np.int64)) > 1:
            return False
        ids = ids[nulls == 0]
    ordered = np.sort(ids)
    return not bool((ordered[1:] == ordered[:-1]).any())
