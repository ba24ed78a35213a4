"""Fields: what a network looks up for a row. A column is one field, or several where it has parts (a date's weekday).

The same rules are written once more in Rust, for prediction in the server (crate ``trails_model``); tests compare them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.table.columns import Column, Family

UNKNOWN, NULL, FIRST_SLOT = 0, 1, 2
"""Slots of every field: 0 for a category that it does not know, 1 for NULL, everything else from 2 on."""

Part = Literal["value", "month", "weekday", "hour"]
Encoding = Literal["categories", "bins", "scaled", "interpolated"]

PARTS: Mapping[Family, tuple[Part, ...]] = {
    "date": ("value", "month", "weekday"),
    "timestamp": ("value", "month", "weekday", "hour"),
}
"""Parts of the families that have several; all others are one field, ``value``."""

_LONGEST_FACTOR = 10.0
"""Standardised values are cut here: one row must not drown a batch."""

_CLIPPED_AT, _FARTHEST = 3.0, 1e100
"""Positions of knots stay within this; squares of what is farther out would be infinite."""

_DENSE_SLACK = 4
"""A lookup table may be this many times longer than the rows it serves: above, binary search is cheaper."""

_DENSE_ALWAYS = 1 << 16
_MICROSECONDS_A_DAY = 86_400_000_000
_MICROSECONDS_AN_HOUR = 3_600_000_000
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Field:
    """How one field is looked up, and what it learnt from the training rows.

    Args:
        column: Name of the column.
        kind: Family of the column's type.
        part: Which part of the column's value; ``value`` is the whole of it.
        encoding: ``categories``: a slot for each of ``categories``. ``bins``: a slot for each interval between
            ``edges``. ``scaled``: one slot, whose vector is multiplied by the standardised value. ``interpolated``: a
            slot for each knot of ``edges``; between two of them the vector is, too, and beyond the first and the last
            one it is that knot's.
        categories: int64, sorted, distinct.
        edges: float64, sorted, distinct: a value equal to an edge lies above it. Of ``interpolated`` the knots.
        buckets: Slots that share the categories beyond ``categories``, by hash; 0 to have them all unknown.
        scale: Of an ``idvalue`` column: its values are divided by it, so that a field in the thousands does not
            drown the others.
        mean: Of the training values, for ``scaled``; of ``interpolated`` their median.
        std: Their standard deviation; of ``interpolated`` what stands for it, see `positions`.
        spellings: Text by category, where the column is text.
        reading: How the column's texts are read (`trails.table.readings`), where it is a column of texts and of another
            kind by that.
    """

    column: str
    kind: Family
    part: Part = "value"
    encoding: Encoding = "categories"
    categories: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    edges: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))
    buckets: int = 0
    scale: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    spellings: Mapping[int, str] = field(default_factory=dict)
    reading: str | None = None

    @property
    def slots(self) -> int:
        """Embedding rows of the field, the unknown and the NULL slot included."""
        if self.encoding == "categories":
            return FIRST_SLOT + len(self.categories) + self.buckets
        if self.encoding == "interpolated":
            return FIRST_SLOT + len(self.edges)
        return FIRST_SLOT + 1 + (len(self.edges) if self.encoding == "bins" else 0)

    def slots_of(self, column: Column) -> NDArray[np.int32]:
        """Slot of every row, int32 (rows,); what counts as NULL is not looked at."""
        if self.encoding == "scaled":
            return np.full(len(column.data), FIRST_SLOT, np.int32)
        if self.encoding == "bins":
            places = np.searchsorted(self.edges, number_of(column), side="right")
            return (places + FIRST_SLOT).astype(np.int32)
        if self.encoding == "interpolated":
            places = np.searchsorted(self.edges, number_of(column), side="right") - 1
            return (np.maximum(places, 0) + FIRST_SLOT).astype(np.int32)
        keys = keys_of(column, self.part)
        table = self._table
        if len(self.categories) == 0:
            slots = np.zeros(len(keys), np.int32)
        elif table is not None:
            low, high = self.categories[0], self.categories[-1]
            inside = (keys >= low) & (keys <= high)
            # Clipping first keeps the subtraction from overflowing for keys far outside.
            wide = keys.astype(np.int64, copy=False)
            slots = table[(wide if inside.all() else np.clip(wide, low, high)) - low]
            slots[~inside] = UNKNOWN
        else:
            wide = keys.astype(np.int64, copy=False)
            places = np.searchsorted(self.categories, wide)
            places[places == len(self.categories)] = 0
            found = self.categories[places] == wide
            slots = np.where(found, places + FIRST_SLOT, UNKNOWN).astype(np.int32)
        if self.buckets and (unknown := slots == UNKNOWN).any():
            first = FIRST_SLOT + len(self.categories)
            slots[unknown] = first + _bucket_of(keys[unknown].astype(np.int64), self.buckets)
        return slots

    def factors_of(self, column: Column) -> NDArray[np.float32] | None:
        """What the embedded vectors are multiplied by, float32 (rows,); None when all are 1."""
        if self.encoding == "scaled":
            with np.errstate(over="ignore", invalid="ignore"):
                factors = (number_of(column) - self.mean) / self.std
            return np.clip(factors, -_LONGEST_FACTOR, _LONGEST_FACTOR).astype(np.float32)
        if self.kind == "idvalue" and (column.values is not None or self.scale != 1.0):
            # Values that are not there are 1, and are scaled as others are: a row must not depend on its batch.
            values = np.ones(len(column.data), np.float32) if column.values is None else column.values
            scaled: NDArray[np.float32] = values / np.float32(self.scale)
            return scaled
        return None

    def shares_of(self, column: Column, slots: NDArray[np.int32]) -> NDArray[np.float32] | None:
        """How much of the vector is the next slot's, from 0 to 1, float32 (rows,); None when all is the slot's own.

        Below the first knot and from the last one on a value is at it.

        Args:
            column: As of `slots_of`.
            slots: What that found.
        """
        if self.encoding != "interpolated":
            return None
        places, last = slots - FIRST_SLOT, len(self.edges) - 1
        low, ways = self.edges[places], np.append(np.diff(self.edges), np.inf)
        # Values that are absent may be anything; those at the last knot or beyond have an endless way to the next.
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.maximum(number_of(column) - low, 0.0) / ways[places]
        found[places == last] = 0.0
        shares: NDArray[np.float32] = found.astype(np.float32)
        return shares

    @property
    def positions(self) -> NDArray[np.float32]:
        """Where the knots of ``interpolated`` lie in the middle of things, float32 (knots,): their distance from the
        median in spreads, clipped smoothly, so that one far out does not outweigh all others.

        z / sqrt(1 + (z / 3)^2), as Holzmueller et al. (Better by Default, NeurIPS 2024) clip what a network reads.
        Training begins with vectors that lie on a line in this; prediction has no use for it.
        """
        with np.errstate(over="ignore"):
            z = np.clip((self.edges - self.mean) / self.std, -_FARTHEST, _FARTHEST)
        clipped: NDArray[np.float64] = z / np.sqrt(1.0 + np.square(z / _CLIPPED_AT))
        return clipped.astype(np.float32)

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
        table[self.categories - low] = np.arange(FIRST_SLOT, FIRST_SLOT + len(self.categories), dtype=np.int32)
        return table


def keys_of(column: Column, part: Part) -> NDArray[Any]:
    """What categories are told apart by: the number, the text's hash, the id, or the part of a date.

    Args:
        column: Of any kind; a number has no categories.
        part: ``month`` is 1 to 12, ``weekday`` 1 (Monday) to 7, ``hour`` 0 to 23 (UTC).

    Returns:
        int32 or int64, shape (rows,).

    Raises:
        InvalidInput: The column holds numbers.
    """
    if column.data.dtype.kind == "f":
        raise InvalidInput(f'column "{column.name}" holds numbers, which are not categories')
    if part == "value":
        return column.data
    if part == "hour":
        return column.data % _MICROSECONDS_A_DAY // _MICROSECONDS_AN_HOUR
    days = column.data.astype(np.int64)
    if column.family == "timestamp":
        days //= _MICROSECONDS_A_DAY
    if part == "weekday":
        return (days + 5) % 7 + 1  # 2000-01-01 was a Saturday
    months = (days + _EPOCH).astype("datetime64[D]").astype("datetime64[M]")
    return months.astype(np.int64) % 12 + 1


_EPOCH = 10_957
"""Days from 1970-01-01, where NumPy counts from, to 2000-01-01."""


def number_of(column: Column) -> NDArray[np.float64]:
    """The column's value as a number, float64 (rows,): days, microseconds and seconds as they are."""
    return column.data.astype(np.float64, copy=False)


def _bucket_of(keys: NDArray[np.int64], buckets: int) -> NDArray[np.int32]:
    mixed = keys.view(np.uint64) * _MIX >> np.uint64(32)
    return (mixed % np.uint64(buckets)).astype(np.int32)
