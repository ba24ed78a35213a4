"""Typed views over the column buffer that the backend shares with the refinement process."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, listed, shown

Family = Literal["boolean", "integer", "number", "text", "idvalue", "date", "timestamp", "time", "interval"]

KINDS: Mapping[str, tuple[type[np.generic], Family]] = {
    "boolean": (np.int32, "boolean"),
    "int32": (np.int32, "integer"),
    "int64": (np.int64, "integer"),
    "float32": (np.float32, "number"),
    "float64": (np.float64, "number"),
    "text": (np.int64, "text"),
    "idvalue": (np.int32, "idvalue"),
    "date": (np.int32, "date"),
    "timestamp": (np.int64, "timestamp"),
    "time": (np.int64, "time"),
    "interval": (np.float64, "interval"),
}
"""How a column is stored: the dtype of its data, and the family of types that are encoded in the same way."""


@dataclass(frozen=True)
class Texts:
    """The spelling of the texts of a column, as far as it is kept: texts themselves are held as 64-bit hashes.

    Args:
        hashes: int64, shape (texts,): XXH3 of each whole text's UTF-8 bytes, seed 0.
        ends: uint32, shape (texts,): where each text ends in ``data``.
        data: uint8, shape (bytes,): the texts one after the other; long ones are cut.
    """

    hashes: NDArray[np.int64]
    ends: NDArray[np.uint32]
    data: NDArray[np.uint8]

    def spellings(self) -> dict[int, str]:
        """Text by hash."""
        whole, begin, found = self.data.tobytes(), 0, {}
        for code, end in zip(self.hashes.tolist(), self.ends.tolist(), strict=True):
            found[code] = whole[begin:end].decode("utf-8", "replace")
            begin = end
        return found


@dataclass(frozen=True)
class Column:
    """One column of a table, without copies of its data.

    Args:
        name: Name of the column in the table.
        kind: One of `KINDS`. Booleans are 0 and 1, texts their hashes, ``idvalue`` the ids of the published
            ``id:value`` form, dates days and timestamps microseconds since 2000-01-01 (UTC), times microseconds
            since midnight, intervals seconds.
        data: Of the kind's dtype, shape (rows,). Undefined where ``nulls`` is 1.
        values: float32, shape (rows,), of an ``idvalue`` column; None when every value is 1.
        nulls: uint8, shape (rows,), 1 where the row is NULL; None without NULLs.
        texts: Spellings of a ``text`` column, as far as they are known.
        reading: How its texts were read (`trails.table.readings`), where it is a column of texts in the table and of
            another kind here.
    """

    name: str
    kind: str
    data: NDArray[Any]
    values: NDArray[np.float32] | None = None
    nulls: NDArray[np.uint8] | None = None
    texts: Texts | None = None
    reading: str | None = None

    @property
    def family(self) -> Family:
        """What the kind has in common with others that are encoded in the same way."""
        return KINDS[self.kind][1]

    def absent(self) -> NDArray[np.bool_] | None:
        """bool, shape (rows,): rows that count as NULL, those that are no number included; None without any."""
        absent = None if self.nulls is None else self.nulls != 0
        number = self.data if self.data.dtype.kind == "f" else self.values
        # Adding up tells in one pass and without memory whether there is anything to look for.
        if number is not None and not np.isfinite(number.sum(dtype=np.float64)):
            odd = np.isnan(number) if number is self.data else ~np.isfinite(number)
            absent = odd if absent is None else absent | odd
        return None if absent is None or not absent.any() else absent

    def take(self, rows: NDArray[np.int64]) -> Column:
        """A copy of the column at ``rows``."""
        return replace(
            self,
            data=self.data[rows],
            values=None if self.values is None else self.values[rows],
            nulls=None if self.nulls is None else self.nulls[rows],
        )

    def part(self, rows: slice) -> Column:
        """Views of some rows that follow each other."""
        return replace(
            self,
            data=self.data[rows],
            values=None if self.values is None else self.values[rows],
            nulls=None if self.nulls is None else self.nulls[rows],
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
            layout: ``{"rows": R, "columns": [{"name", "kind", "offset", "nulls", "values", "texts", "reading"}, ...]}``
                with
                byte offsets; ``texts`` is ``{"hashes", "ends", "bytes", "count"}``.

        Raises:
            InvalidInput: An unknown kind, or an offset beyond the buffer.
        """
        rows = int(layout["rows"])

        def view(dtype: Any, offset: Any, name: str, count: int = rows) -> NDArray[Any]:
            if count == 0:
                return np.empty(0, dtype)
            try:
                return np.frombuffer(buffer, dtype, count, int(offset))
            except ValueError as error:
                raise InvalidInput(
                    f'column "{shown(name)}" does not fit in its buffer',
                    detail=f"{count} items of {np.dtype(dtype).name} from byte {offset}: {error}.",
                ) from error

        columns: list[Column] = []
        for entry in layout["columns"]:
            name, kind = str(entry["name"]), entry["kind"]
            if kind not in KINDS:
                raise InvalidInput(
                    f'column "{shown(name)}" has the unknown kind "{kind}"', detail=f"Known kinds: {', '.join(KINDS)}."
                )
            values, nulls, texts = (entry.get(part) for part in ("values", "nulls", "texts"))
            spelt = None
            if texts is not None:
                ends = view(np.uint32, texts["ends"], name, int(texts["count"]))
                size = int(ends[-1]) if len(ends) else 0
                hashes = view(np.int64, texts["hashes"], name, len(ends))
                spelt = Texts(hashes, ends, view(np.uint8, texts["bytes"], name, size))
            columns.append(
                Column(
                    name,
                    str(kind),
                    view(KINDS[kind][0], entry["offset"], name),
                    None if values is None else view(np.float32, values, name),
                    None if nulls is None else view(np.uint8, nulls, name),
                    spelt,
                    None if entry.get("reading") is None else str(entry["reading"]),
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
        if (column := self._by_name.get(name)) is not None:
            return column
        raise InvalidInput(
            f'there is no column "{shown(name)}"', detail=f"Columns: {listed(c.name for c in self.columns)}."
        )

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        """Of several of one name the first counts. A search for each of thousands of columns would look at millions."""
        return {column.name: column for column in reversed(self.columns)}

    def without(self, name: str) -> Columns:
        """All columns but ``name``."""
        return Columns(self.rows, tuple(column for column in self.columns if column.name != name))

    def take(self, rows: NDArray[np.int64]) -> Columns:
        """A copy of the given rows."""
        return Columns(len(rows), tuple(column.take(rows) for column in self.columns))
