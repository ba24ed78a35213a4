"""Rows that belong together are held out together: whole groups, or the latest rows.

Both sides of a run, the server's backend and the refinement process, find the same rows with these functions, from the
column and the seed alone. Nothing is sorted, so that a caller who cancels is heard at least every 50 ms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check, pieces
from trails.errors import InvalidInput, UnusableData, shown
from trails.table.columns import Column, Family

Mask = NDArray[np.bool_]

_BUCKETS = 1 << 16
"""Groups are drawn by the bucket that their value falls into: few groups have one each, of millions some share one."""

_MOST_DRAWS, _ROWS_DRAWN = 20, 4_000_000
"""A draw that leaves a class on one side alone is repeated: so often at most, and so many rows in all, but 3 times."""

_TIMES: tuple[Family, ...] = ("integer", "number", "date", "timestamp")

_DIGIT_BITS = 16

_FEWEST_EARLIER = 10
"""Rows to train on, of which fewer teach nothing, unless the table has hardly more."""


def held_groups(
    column: Column, strata: NDArray[Any], seed: int, share: float, most: int, check: Check = no_check
) -> Mask:
    """Rows of the groups that are held out: all rows of a group, or none of them.

    Groups come in an order that their values and the seed decide, and are taken while that brings the number of their
    rows nearer to the share. A class should be on both sides; of some draws the one that keeps most classes so counts.

    Args:
        column: Whose value is the row's group. Rows where it is NULL are for training: nobody knows what they belong
            to, so they are never on both sides.
        strata: Whole numbers from 0 on, shape (rows,): the class of each row; all alike where there are none.
        seed: Any whole number of 64 bits.
        share: Of the rows that have a group, how many to hold out, about.
        most: Rows to hold out at most, about.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        bool, shape (rows,); at least one group is held out, and never all of them.

    Raises:
        UnusableData: There are fewer than two groups.
    """
    known = _known(column, check)
    rows = int(np.count_nonzero(known))
    want = max(1, min(round(share * rows), most))
    there = _classes(strata, None, check)
    best: tuple[int, Mask] | None = None
    draws = max(3, min(_MOST_DRAWS, _ROWS_DRAWN // max(1, len(known))))
    for draw in range(draws):
        buckets, sizes = _buckets(column, known, seed, draw, check)
        if np.count_nonzero(sizes) < 2:
            continue
        taken = _nearest(sizes, want)
        held = np.empty(len(known), np.bool_)
        for piece in pieces(len(held), check):
            held[piece] = known[piece] & taken[buckets[piece]]
        of_held = _classes(strata, held, check, len(there))
        missing = int(np.count_nonzero((there > 1) & ((of_held == 0) | (of_held == there))))
        if best is None or missing < best[0]:
            best = missing, held
        if missing == 0:
            break
    if best is None:
        raise UnusableData(
            f'the column "{shown(column.name)}" holds {"one group" if rows else "no group"} only',
            detail=f"{rows} of {len(known)} rows have a group.",
            hint="Whole groups are held out: at least two are needed. Leave group_by out to hold out single rows.",
        )
    return best[1]


def latest(column: Column, share: float, most: int, check: Check = no_check) -> Mask:
    """The latest rows; rows of the same time are on the same side.

    Args:
        column: A date, a timestamp or a number. Rows where it is NULL are for training.
        share: Of the rows that have a time, how many to hold out, about.
        most: Rows to hold out at most, about.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        bool, shape (rows,); the earliest rows are never held out.

    Raises:
        InvalidInput: A type without an order in time.
        UnusableData: There are fewer than two times.
    """
    if column.family not in _TIMES:
        raise InvalidInput(
            f'rows cannot be ordered by the column "{shown(column.name)}", which is of kind {column.family}',
            hint="time_by names a date, a timestamp or a number.",
        )
    known = _known(column, check)
    rows = int(np.count_nonzero(known))
    want = max(1, min(round(share * rows), most))
    # Digit by digit from the largest: which time the last row to hold out has, and how many rows are later.
    prefix, later, equal = 0, 0, rows
    for level in range(64 // _DIGIT_BITS):
        shift = np.uint64(64 - _DIGIT_BITS * (level + 1))
        counts = np.zeros(1 << _DIGIT_BITS, np.int64)
        for piece in pieces(len(known), check):
            keys = _ordered(column.data[piece][known[piece]])
            inside = keys >> shift >> np.uint64(_DIGIT_BITS) == np.uint64(prefix)
            digits = (keys >> shift)[inside] & np.uint64((1 << _DIGIT_BITS) - 1)
            counts += np.bincount(digits.astype(np.int64), minlength=len(counts))
        above = np.cumsum(counts[::-1])[::-1] - counts
        digit = int(np.flatnonzero((later + above < want) & (counts > 0))[0]) if rows else 0
        later, equal = later + int(above[digit]), int(counts[digit])
        prefix = prefix << _DIGIT_BITS | digit
    with_equal = later + equal
    strictly = with_equal >= rows or (later > 0 and want - later <= with_equal - want)
    if rows == 0 or (strictly and later == 0):
        raise UnusableData(
            f'the column "{shown(column.name)}" holds {"one time" if rows else "no time"} only',
            detail=f"{rows} of {len(known)} rows have a time.",
            hint="The latest rows are held out: at least two times are needed. Leave time_by out to draw rows.",
        )
    held = np.zeros(len(known), np.bool_)
    for piece in pieces(len(known), check):
        keys = _ordered(column.data[piece])
        last = np.uint64(prefix)
        held[piece] = known[piece] & ((keys > last) if strictly else (keys >= last))
    return held


def check_earlier(column: Column, held: Mask, share: float, most: int) -> None:
    """Refuse rows of which so many have the latest time that next to none are left to train on.

    Args:
        column: As of `latest`.
        held: What that found.
        share: As there.
        most: As there.

    Raises:
        UnusableData: Fewer than 10 rows are left and less than half of what the share would leave, or less than a tenth
            of that.
    """
    rows, taken, want = _counts(column, held, share, most)
    left, usual = len(held) - taken, len(held) - want
    if left < max(min(_FEWEST_EARLIER, usual / 2), usual / 10):
        raise UnusableData(
            f"too few rows to train on: {left} of {len(held)} are not of the latest times that are held out",
            detail=f'By "{shown(column.name)}" {rows - taken} rows are earlier than the {taken} latest, and '
            f"{len(held) - rows} have no time.",
            hint="Rows of one time are on one side: order by a finer time, or leave time_by out to draw rows.",
        )


def too_many(column: Column, held: Mask, share: float, most: int) -> str | None:
    """A warning where more than twice the share is held out, as rows that belong together stay so; arguments as of
    `check_earlier`, or of the column of groups."""
    rows, taken, want = _counts(column, held, share, most)
    if taken <= 2 * want:
        return None
    return (
        f'{taken} of {rows} rows are held out, where {want} were wanted: rows of the same "{shown(column.name)}" are '
        f"on one side, and {len(held) - taken} are left to train on"
    )


def _counts(column: Column, held: Mask, share: float, most: int) -> tuple[int, int, int]:
    """Rows with a value, rows held out, and rows that should be."""
    absent = column.absent()
    rows = len(held) - (0 if absent is None else int(np.count_nonzero(absent)))
    return rows, int(np.count_nonzero(held)), max(1, min(round(share * rows), most))


def _known(column: Column, check: Check) -> Mask:
    """Rows where the column has a value."""
    known = np.ones(len(column.data), np.bool_)
    for piece in pieces(len(known), check):
        if (absent := column.part(piece).absent()) is not None:
            known[piece] = ~absent
    return known


def _classes(strata: NDArray[Any], rows: Mask | None, check: Check, classes: int = 1) -> NDArray[np.int64]:
    """Rows of every class, of those that are chosen."""
    counts = np.zeros(classes, np.int64)
    for piece in pieces(len(strata), check):
        part = strata[piece] if rows is None else strata[piece][rows[piece]]
        found = np.bincount(part, minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return counts


def _buckets(
    column: Column, known: Mask, seed: int, draw: int, check: Check
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """The bucket of every row, and how many rows each has; the same value is in the same bucket."""
    buckets, sizes = np.empty(len(known), np.uint16), np.zeros(_BUCKETS, np.int64)
    salt = _mixed(np.array([(seed + draw * 0x9E3779B97F4A7C15) % 2**64], np.uint64))
    for piece in pieces(len(known), check):
        buckets[piece] = _mixed(_mixed(_bits(column.data[piece])) ^ salt) >> np.uint64(48)
        sizes += np.bincount(buckets[piece][known[piece]], minlength=_BUCKETS)
    return buckets, sizes


def _nearest(sizes: NDArray[np.int64], want: int) -> Mask:
    """Buckets whose rows together come near to ``want``, the first ones first; one at least, and not all of them."""
    used = np.flatnonzero(sizes)
    taken, total = np.zeros(len(sizes), np.bool_), 0
    for bucket, size in zip(used.tolist(), sizes[used].tolist(), strict=True):
        if abs(total + size - want) < abs(total - want):
            taken[bucket] = True
            total += size
    if not total:
        taken[used[sizes[used].argmin()]] = True
    elif taken[used].all():
        taken[used[sizes[used].argmin()]] = False
    return taken


def _bits(data: NDArray[Any]) -> NDArray[np.uint64]:
    """Values as 64 bits, equal ones alike: minus zero is zero."""
    if data.dtype.kind == "f":
        return (data.astype(np.float64) + 0.0).view(np.uint64)
    return data.astype(np.int64).view(np.uint64)


def _ordered(data: NDArray[Any]) -> NDArray[np.uint64]:
    """Values as 64 bits in the order of the values."""
    bits = _bits(data)
    sign = np.uint64(1 << 63)
    if data.dtype.kind == "f":
        return np.where(bits & sign, ~bits, bits | sign)
    return bits ^ sign


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers that look drawn, the same for the same ones: the last step of SplitMix64."""
    mixed = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result
