"""Categories to embedding ids: one vocabulary per column, learnt from training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.table.columns import Column, Columns

UNKNOWN, NULL, FIRST_CATEGORY = 0, 1, 2
"""Slots of every column: 0 for a category not in the training rows, 1 for NULL, categories from 2 on."""

_FORMAT, _VERSION = "trails.encoder", 1

_DENSE_SLACK = 4
"""A lookup table may be this many times longer than the rows it serves: above, binary search is cheaper."""

_DENSE_ALWAYS = 1 << 16
_MAX_IDS = 2**31 - 1


@dataclass(frozen=True)
class Encoded:
    """Rows as a network reads them.

    Args:
        ids: int32, shape (rows, fields), C order: rows of the embedding table.
        values: float32, shape (rows, fields), factors for the embedded vectors; None when all are 1.
    """

    ids: NDArray[np.int32]
    values: NDArray[np.float32] | None


@dataclass(frozen=True)
class Vocabulary:
    """The categories of one column.

    Args:
        name: Name of the column.
        categories: int64, sorted, distinct: what the training rows hold.
        scale: Largest magnitude of the column's training values where above 1, else 1: values are divided
            by it, so that a field in the thousands does not drown the others.
    """

    name: str
    categories: NDArray[np.int64]
    scale: float = 1.0

    @property
    def slots(self) -> int:
        """Embedding rows of the column, the unknown and the NULL slot included."""
        return len(self.categories) + FIRST_CATEGORY

    @cached_property
    def _table(self) -> NDArray[np.int32] | None:
        """Slot by category minus the smallest one; None where that would be too long."""
        if len(self.categories) == 0:
            return None
        low = int(self.categories[0])
        span = int(self.categories[-1]) - low + 1
        if span > max(_DENSE_ALWAYS, _DENSE_SLACK * len(self.categories)):
            return None
        table = np.full(span, UNKNOWN, np.int32)
        table[self.categories - low] = np.arange(FIRST_CATEGORY, self.slots, dtype=np.int32)
        return table

    def slots_of(self, ids: NDArray[Any]) -> NDArray[np.int32]:
        """Slot of every id; `UNKNOWN` for those outside the vocabulary.

        Args:
            ids: int32 or int64, any shape.

        Returns:
            int32, the shape of ``ids``.
        """
        if len(self.categories) == 0:
            return np.full(ids.shape, UNKNOWN, np.int32)
        low, high = self.categories[0], self.categories[-1]
        table = self._table
        if table is not None:
            inside = (ids >= low) & (ids <= high)
            if inside.all():
                inner: NDArray[np.int32] = table[ids.astype(np.int64, copy=False) - low]
                return inner
            # Clipping first keeps the subtraction from overflowing for ids far outside the vocabulary.
            slots: NDArray[np.int32] = table[np.clip(ids.astype(np.int64, copy=False), low, high) - low]
            slots[~inside] = UNKNOWN
            return slots
        wide = ids.astype(np.int64, copy=False)
        place = np.searchsorted(self.categories, wide)
        place[place == len(self.categories)] = 0
        found = self.categories[place] == wide
        return np.where(found, place + FIRST_CATEGORY, UNKNOWN).astype(np.int32)


@dataclass(frozen=True)
class Encoder:
    """Maps columns to global embedding ids, the columns' slots laid end to end."""

    vocabularies: tuple[Vocabulary, ...]

    @classmethod
    def fit(cls, columns: Columns) -> Encoder:
        """Learn the vocabulary of every column.

        Args:
            columns: Features of the training rows.

        Raises:
            InvalidInput: More than 2**31 - 1 categories in all.
        """
        encoder = cls(tuple(Vocabulary(c.name, _categories(c), _scale(c)) for c in columns))
        if encoder.ids > _MAX_IDS:
            raise InvalidInput(f"{encoder.ids} categories do not fit in 32 bits")
        return encoder

    @property
    def fields(self) -> int:
        """Number of columns."""
        return len(self.vocabularies)

    @property
    def ids(self) -> int:
        """Rows of the embedding table."""
        return sum(vocabulary.slots for vocabulary in self.vocabularies)

    @property
    def offsets(self) -> list[int]:
        """First embedding row of every column."""
        ends = np.cumsum([vocabulary.slots for vocabulary in self.vocabularies])
        return [0, *ends[:-1].tolist()] if self.vocabularies else []

    def transform(self, columns: Columns) -> Encoded:
        """Encode rows; categories outside the vocabulary and NULLs get their column's own slot.

        A value that is NaN or infinite counts as NULL: one of them would spoil the whole model.

        Args:
            columns: Features with the names that the encoder was fitted on, in any order.

        Raises:
            InvalidInput: A column is missing.
        """
        ids = np.empty((columns.rows, self.fields), np.int32)
        values: NDArray[np.float32] | None = None
        for field, (vocabulary, offset) in enumerate(zip(self.vocabularies, self.offsets, strict=True)):
            column = columns[vocabulary.name]
            slots = vocabulary.slots_of(column.ids)
            absent = _absent(column)
            if absent is not None:
                slots[absent] = NULL
            np.add(slots, np.int32(offset), out=ids[:, field])
            if column.values is not None:
                if values is None:
                    values = np.ones((columns.rows, self.fields), np.float32)
                values[:, field] = column.values / np.float32(vocabulary.scale)
                if absent is not None:
                    values[absent, field] = 1.0
        return Encoded(ids, values)

    def to_dict(self) -> dict[str, Any]:
        """The encoder as plain JSON types; `from_dict` reads it back."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "columns": [
                {"name": v.name, "scale": v.scale, "categories": v.categories.tolist()} for v in self.vocabularies
            ],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Encoder:
        """The encoder that `to_dict` wrote.

        Raises:
            InvalidInput: Not an encoder, or of a version that this release does not read.
        """
        if stored.get("format") != _FORMAT or stored.get("version") != _VERSION:
            raise InvalidInput(
                f"not an encoder of version {_VERSION}",
                detail=f"Format {stored.get('format')!r}, version {stored.get('version')!r}.",
            )
        return cls(
            tuple(
                Vocabulary(str(c["name"]), np.array(c["categories"], np.int64), float(c["scale"]))
                for c in stored["columns"]
            )
        )


def _categories(column: Column) -> NDArray[np.int64]:
    """Distinct ids of the rows that are there, sorted, int64."""
    absent = _absent(column)
    ids = column.ids if absent is None else column.ids[~absent]
    if len(ids) == 0:
        return np.empty(0, np.int64)
    low, high = int(ids.min()), int(ids.max())
    # Marking what occurs is some twenty times faster than sorting, where the range of ids allows it.
    if high - low + 1 <= max(_DENSE_ALWAYS, _DENSE_SLACK * len(ids)):
        seen = np.zeros(high - low + 1, np.bool_)
        seen[ids.astype(np.int64, copy=False) - low] = True
        return np.flatnonzero(seen).astype(np.int64) + low
    return np.unique(ids).astype(np.int64)


def _scale(column: Column) -> float:
    if column.values is None or len(column.values) == 0:
        return 1.0
    absent = _absent(column)
    magnitudes = np.abs(column.values if absent is None else column.values[~absent])
    return max(1.0, float(magnitudes.max(initial=1.0)))


def _absent(column: Column) -> NDArray[np.bool_] | None:
    """Rows that count as NULL, or None without any."""
    absent = None if column.nulls is None else column.nulls != 0
    if column.values is not None and not (finite := np.isfinite(column.values)).all():
        absent = ~finite if absent is None else absent | ~finite
    return absent
