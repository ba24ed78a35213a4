"""Batches of the size that a consumer wants, in the order that it wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from trails.service.arrow import pa


def resized(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    """Record batches of ``rows`` rows each, the last one of what is left; slices without copies where possible."""
    parts: list[Any] = []
    waiting = 0
    for batch in batches:
        start = 0
        if parts:
            start = min(rows - waiting, batch.num_rows)
            parts.append(batch.slice(0, start))
            waiting += start
            if waiting < rows:
                continue
            yield pa.concat_batches(parts)
        parts, waiting = [], 0
        while batch.num_rows - start >= rows:
            yield batch.slice(start, rows)
            start += rows
        if start < batch.num_rows:
            parts, waiting = [batch.slice(start)], batch.num_rows - start
    if parts:
        yield parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def shuffled(batches: Iterable[Any], buffer: int, seed: int, epoch: int) -> Iterator[Any]:
    """Record batches of ``buffer`` rows, the rows of each in an order of their own.

    The order depends on seed, epoch and the rows' places alone, not on how they arrive.
    """
    for number, window in enumerate(resized(batches, buffer)):
        generator = np.random.default_rng((seed % 2**64, epoch, number))
        yield window.take(pa.array(generator.permutation(window.num_rows)))


def arranged(batches: Iterable[Any], rows: int, buffer: int, seed: int, epoch: int) -> Iterator[Any]:
    """Batches as a request wants them: see `resized` and `shuffled` (``buffer`` 0 for the table's order)."""
    return resized(shuffled(batches, buffer, seed, epoch) if buffer else batches, rows)
