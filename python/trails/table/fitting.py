"""What a field learns from the training rows: which categories there are, where the bins of its numbers end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, shown
from trails.table.columns import Column, Columns
from trails.table.fields import Field, Part, keys_of, number_of

NumbersAs = Literal["interpolated", "bins"]

_SMALL = 256
"""Integers with at most so many different values have a vector for each of them, whatever these are."""

_FEW = 2
"""Between so few values there is nothing: they are categories."""

_ROWS_A_DAY, _MOST_DAYS = 10, 1024
"""Dates with so many rows each have a knot for every day, if there are not more days: what was special about a day is
then learnt, and between days that are known lie the others. Of bike (731 days, 24 rows each; test R2, four candidates,
one seed) that makes 0.9589 of 0.9548, and of airquality 0.952 of 0.934; as categories they have 0.9593 and 0.953, which
say nothing of any other day."""

_DENSE = 0.5
"""Integers that take at least this share of the values between their smallest and largest are numbered things (the
published datasets' ids, keys of another table) and so categories; others are amounts, and binned."""

_NUMBERED_THROUGH, _GAP = 3, 0.25
"""Integer columns that are at least so many, and lie one after the other with gaps below this share of the two ranges
beside each, were numbered through: theirs are the ids of one list, as in the published datasets."""

_QUANTILE_ROWS = 1 << 18
"""Rows that quantiles are taken from: more would move no edge by as much as another sample does."""

_EXACT = 1 << 53
"""Whole numbers farther from 0 may not differ in double precision: what is coded so is no amount."""

_LARGEST = 1e150
"""Middle and spread are taken of numbers within this: squares of larger ones would be infinite."""

_LAST_KNOT = 2.0**1022
"""Knots lie within this: what is between two of them must be finite. It is a quarter of the largest number."""

_QUARTILES = 1.349
"""What lies between the quartiles of a normal distribution, in standard deviations."""

_TABLE_SLACK, _TABLE_ALWAYS = 4, 1 << 16
"""Categories are counted in a table where that is at most so many times longer than the rows, or as short as this."""


@dataclass(frozen=True)
class Fitting:
    """How columns become fields.

    Args:
        categories: Integer columns to take as categories whatever they look like.
        numbers: Integer columns to take as numbers.
        bins: Intervals of a number, at most; 0 to standardise its value instead.
        texts: Columns of texts that stay texts, whatever they say.
        id_values: Columns of texts that are ids and their values, ``id:value``, even where other features are not.
        numbers_as: ``interpolated``: a vector for each end of an interval, and between two of them what lies between;
            ``bins``: one for each interval.
        min_count: Rows in which a text must occur to be a category; rarer ones share the unknown slot, which so
            learns what rare texts have in common. None for a share of the rows that hold a text: see `usual_count`.
        max_categories: Categories of a field, the most frequent ones.
        buckets: Where there are more of them, slots that the rest shares by hash.
    """

    categories: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    bins: int = 32
    min_count: int | None = None
    max_categories: int = 1 << 16
    buckets: int = 1 << 10
    numbers_as: NumbersAs = "interpolated"
    texts: tuple[str, ...] = ()
    id_values: tuple[str, ...] = ()

    def check(self, columns: Columns) -> None:
        """Refuse names of columns that are not there, or whose type leaves no choice.

        Raises:
            InvalidInput: There is such a name.
        """
        for what, names in (("categories", self.categories), ("numbers", self.numbers)):
            for name in names:
                if (reading := columns[name].reading) is not None:
                    raise InvalidInput(
                        f'option {what} names the column "{shown(name)}", whose texts are read as {reading}',
                        hint="Named in the option texts instead, it stays one of texts, which are categories.",
                    )
                if columns[name].family != "integer":
                    raise InvalidInput(
                        f'option {what} names the column "{shown(name)}" of kind {columns[name].family}',
                        hint="Only integers can be both: others are always numbers, and texts categories.",
                    )

        for what, names, family in (("texts", self.texts, "text"), ("id_values", self.id_values, "idvalue")):
            for name in names:
                if columns[name].family != family:
                    raise InvalidInput(
                        f'option {what} names the column "{shown(name)}" of kind {columns[name].family}',
                        hint="It is for columns of text.",
                    )

    def among(self, columns: Columns) -> Fitting:
        """The same where some columns were left out since `check`, because they cannot help."""
        there = {column.name for column in columns}
        categories, numbers, texts, ids = (
            tuple(name for name in names if name in there)
            for names in (self.categories, self.numbers, self.texts, self.id_values)
        )
        return replace(self, categories=categories, numbers=numbers, texts=texts, id_values=ids)


def usual_count(rows: int) -> int:
    """Rows in which a text must occur to be a category, where so many ``rows`` hold a text.

    Three rows say something of a text among a thousand. The benchmark ``rare_texts`` takes 1,200 rows at most: income
    gains (AUC 0.895 instead of 0.891 by ten, mean of three draws), traffic is the same, and on 713 rows of titanic
    0.852 instead of 0.858 is within what draws differ by (six draws). Of the raw Criteo extract, 6,400 rows with texts
    without number, 10 gives 0.02 more than 2 (benchmark ``raw_tables``).
    """
    return min(max(rows // 1000, 3), 10)


def numbered_through(columns: Columns) -> tuple[str, ...]:
    """Integer columns that hold the ids of one list, whose first ones are one column's, the next ones another's, and so
    on; none unless all of the table's integers do. No order is worth anything then: they are categories.

    Args:
        columns: Features of the training rows.
    """
    ranges = []
    for column in columns:
        if column.family == "integer":
            absent = column.absent()
            present = column.data if absent is None else column.data[~absent]
            if len(present):
                ranges.append((int(present.min()), int(present.max()), column.name))
    if len(ranges) < _NUMBERED_THROUGH:
        return ()
    ranges.sort()
    for (low, end, _), (begin, high, _) in pairwise(ranges):
        if not 1 <= begin - end <= 2 + _GAP * (end - low + high - begin):
            return ()
    return tuple(name for _, _, name in ranges)


def fit_field(column: Column, part: Part, fitting: Fitting) -> Field:
    """One field of a column, as its training rows are."""
    absent = column.absent()
    present = column if absent is None else column.take(np.flatnonzero(~absent))
    if part != "value" or column.family in ("boolean", "text", "idvalue"):
        return _categories(present, part, fitting)
    if column.family == "integer" and column.name not in fitting.numbers:
        return _integer(present, fitting)
    if column.family == "date" and fitting.numbers_as == "interpolated" and fitting.bins > 0:
        found, _ = _counts(present.data)
        if _FEW < len(found) <= len(present.data) // _ROWS_A_DAY and len(found) <= _MOST_DAYS:
            return _interpolated(present, found.astype(np.float64))
    return _number(present, fitting)


def _integer(column: Column, fitting: Fitting) -> Field:
    """One that nobody called a number."""
    if column.name in fitting.categories or len(column.data) == 0:
        return _categories(column, "value", fitting)
    found, _ = _counts(column.data)
    between = fitting.numbers_as == "interpolated" and fitting.bins > 0 and -_EXACT <= found[0] <= found[-1] <= _EXACT
    if between and _FEW < len(found) <= _SMALL:
        # As many vectors as categories would have, and a direction besides: 4 is closer to 5 than to 50.
        return _interpolated(column, found.astype(np.float64))
    span = int(found[-1]) - int(found[0]) + 1
    if len(found) <= _SMALL or len(found) >= _DENSE * span:
        return _categories(column, "value", fitting)
    return _number(column, fitting)


def _categories(column: Column, part: Part, fitting: Fitting) -> Field:
    found, counts = _counts(keys_of(column, part))
    if column.kind == "text":
        least = usual_count(len(column.data)) if fitting.min_count is None else fitting.min_count
        found, counts = found[counts >= least], counts[counts >= least]
    buckets = 0
    if len(found) > fitting.max_categories:
        # Ties by category, so that the order of rows decides nothing.
        order = np.lexsort((found, -counts))[: fitting.max_categories]
        found, buckets = np.sort(found[order]), fitting.buckets
    spellings = {}
    if column.texts is not None:
        known = column.texts.spellings()
        spellings = {code: known[code] for code in found.tolist() if code in known}
    return Field(
        column.name,
        column.family,
        part,
        "categories",
        categories=found,
        buckets=buckets,
        scale=_scale(column),
        spellings=spellings,
    )


def _number(column: Column, fitting: Fitting) -> Field:
    if fitting.bins == 0:
        # Squares of larger numbers would be infinite.
        numbers = np.clip(number_of(column), -_LARGEST, _LARGEST)
        mean, std = (float(numbers.mean()), float(numbers.std())) if len(numbers) else (0.0, 1.0)
        return Field(column.name, column.family, "value", "scaled", mean=mean, std=std or 1.0)
    step = -(-len(column.data) // _QUANTILE_ROWS) or 1
    edges = _quantiles(number_of(column)[::step], fitting.bins)
    if fitting.numbers_as == "bins":
        return Field(column.name, column.family, "value", "bins", edges=edges)
    numbers = number_of(column)
    ends = (numbers.min(), numbers.max()) if len(numbers) else (0.0,)
    return _interpolated(column, np.unique(np.clip([*ends, *edges], -_LAST_KNOT, _LAST_KNOT)))


def _interpolated(column: Column, knots: NDArray[np.float64]) -> Field:
    """A field of these knots, and where the middle of the column is, by median and quartiles: not by mean and standard
    deviation, which a few numbers far out would decide."""
    step = -(-len(column.data) // _QUANTILE_ROWS) or 1
    numbers = np.clip(number_of(column)[::step], -_LARGEST, _LARGEST)
    median, spread = 0.0, 0.0
    if len(numbers):
        low, median, high = map(float, np.quantile(numbers, (0.25, 0.5, 0.75)))
        # Most rows may hold one value: then the others decide.
        spread = (high - low) / _QUARTILES or float(numbers.std())
    return Field(column.name, column.family, "value", "interpolated", edges=knots, mean=median, std=spread or 1.0)


def _quantiles(numbers: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """The smallest number of each bin but the first, sorted: at most ``bins - 1``.

    What is left over when a bin is filled is shared evenly among the bins after it, so that one value that most rows
    hold (a zero, often) does not cost the others their bins.
    """
    values, counts = np.unique(numbers, return_counts=True)
    ends = np.cumsum(counts)
    edges: list[float] = []
    place, filled = 0, 0
    for left in range(bins, 1, -1):
        target = filled + (len(numbers) - filled) / left
        place = max(place, int(np.searchsorted(ends, target, side="left"))) + 1
        if place >= len(values):
            break
        edges.append(float(values[place]))
        filled = int(ends[place - 1])
    return np.array(edges, np.float64)


def _counts(keys: NDArray[np.int32] | NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct keys, sorted, and how often each occurs."""
    if len(keys) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    low, high = int(keys.min()), int(keys.max())
    # Counting in a table is some twenty times faster than sorting, where the range of keys allows it.
    if high - low + 1 <= max(_TABLE_ALWAYS, _TABLE_SLACK * len(keys)):
        counts = np.bincount(keys.astype(np.int64, copy=False) - low)
        found = np.flatnonzero(counts)
        return found.astype(np.int64) + low, counts[found]
    found, counts = np.unique(keys, return_counts=True)
    return found.astype(np.int64), counts


def _scale(column: Column) -> float:
    """Largest magnitude of an ``idvalue`` column's values where above 1, else 1."""
    if column.values is None or len(column.values) == 0:
        return 1.0
    return max(1.0, float(np.abs(column.values).max(initial=1.0)))
