"""Long work on arrays in pieces, so that a caller who cancels is heard at least every 50 ms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Check: TypeAlias = Callable[[], None]
"""Looks whether the caller has cancelled; what it raises ends the work."""

Told: TypeAlias = Callable[[int], None]
"""Hears how much is done so far; returns at once."""

PIECE = 1 << 16
"""Elements between two calls of a check: a sort of so many takes some 5 ms."""


def no_check() -> None:
    """The ``check`` of a caller that nothing can interrupt."""


def not_told(done: int) -> None:
    """The ``told`` of a caller who waits for the end."""


def pieces(count: int, check: Check = no_check, size: int = PIECE) -> Iterator[slice]:
    """Slices of 0 to ``count``, one after the other, with a look at the caller before each."""
    for start in range(0, count, size):
        check()
        yield slice(start, min(start + size, count))


def order_of(values: NDArray[Any], check: Check = no_check) -> NDArray[np.int64]:
    """Where the smallest value is, the next one, and so on; equal ones in the order they have.

    What ``np.argsort(values, kind="stable")`` says, which takes 0.4 s for 3.2 million and hears nobody meanwhile.

    Args:
        values: Numbers without NaN, shape (values,).
        check: Called before every piece.

    Returns:
        int64, shape (values,).
    """
    if values.size <= 2 * PIECE:
        check()
        return np.argsort(values, kind="stable").astype(np.int64, copy=False)
    order, ends = _grouped(values, check)
    for group in _slices(ends, check):
        part = order[group]
        own = values[part]
        if len(own) and (own != own[0]).any():
            order[group] = part[np.argsort(own, kind="stable")]
    return order


def all_different(values: NDArray[Any], check: Check = no_check) -> bool:
    """Whether no two of the values, numbers without NaN of shape (values,), are equal."""
    order, ends = _grouped(values, check)
    for group in _slices(ends, check):
        ordered = np.sort(values[order[group]])
        if (ordered[1:] == ordered[:-1]).any():
            return False
    return True


def _grouped(values: NDArray[Any], check: Check) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order in which values between the same two bounds go together, as they come; and where each group ends.

    Groups follow each other in ascending order, and hold some 100,000 values each unless many are equal.
    """
    sample = np.sort(values[:: max(1, values.size // PIECE)])
    bounds = np.unique(sample[:: max(1, sample.size * PIECE // max(1, values.size))])
    group = np.empty(values.size, np.uint16)
    sizes = np.zeros(len(bounds) + 1, np.int64)
    for piece in pieces(values.size, check):
        group[piece] = np.searchsorted(bounds, values[piece], side="right")
        sizes += np.bincount(group[piece], minlength=len(sizes))
    ends = np.cumsum(sizes)
    free = ends - sizes
    order = np.empty(values.size, np.int64)
    for piece in pieces(values.size, check):
        inside = np.argsort(group[piece], kind="stable")
        counts = np.bincount(group[piece], minlength=len(sizes))
        shifts = np.repeat(free - (np.cumsum(counts) - counts), counts)
        order[np.arange(len(inside)) + shifts] = inside + piece.start
        free += counts
    return order, ends


def _slices(ends: NDArray[np.int64], check: Check) -> Iterator[slice]:
    begin = 0
    for end in ends.tolist():
        check()
        yield slice(begin, end)
        begin = end


def distinct(values: NDArray[Any], most: int, check: Check = no_check) -> NDArray[Any]:
    """Different values, sorted; some ``most + 1`` or more of them if there are more than ``most``.

    Args:
        values: Shape (values,), without NaN.
        most: How many are of interest.
        check: Called before every piece.
    """
    known = values[:0]
    for piece in pieces(len(values), check):
        part = values[piece]
        if len(known):
            places = np.searchsorted(known, part)
            places[places == len(known)] = 0
            part = part[known[places] != part]
        if len(part):
            known = np.union1d(known, part)
        if len(known) > most:
            break
    return known
