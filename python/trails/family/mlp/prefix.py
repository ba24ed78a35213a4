"""Sums and products over the beginnings of a layer, for every width it may have: what prefix sharing is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# At most this many bank rows in one matrix product: it then takes a few milliseconds at 512 units.
_ROWS = 256


def prefix_sums(rows: NDArray[Any], widths: tuple[int, ...]) -> NDArray[Any]:
    """Sums of the first ``width`` entries along the first axis, for every width: (widths, ...)."""
    sums = np.add.reduceat(rows, (0, *widths[:-1]), axis=0)
    return np.cumsum(sums, axis=0, out=sums)


def running_products(
    layer: NDArray[Any], vectors: NDArray[Any], widths: tuple[int, ...], stop: int, check: Callable[[], None]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """For each of the first ``stop`` widths n: its position and layer[:n].T @ vectors[..., :n, :].

    The array is overwritten by the next step.

    Args:
        layer: (widest, outputs).
        vectors: (..., widest, columns).
        widths: Widths the layer may have, increasing.
        stop: How many of them are wanted.
        check: Called before every product.
    """
    sums = np.zeros((*vectors.shape[:-2], layer.shape[1], vectors.shape[-1]), vectors.dtype)
    product = np.empty_like(sums)
    start = 0
    for position, width in enumerate(widths[:stop]):
        for row in range(start, width, _ROWS):
            rows = slice(row, min(row + _ROWS, width))
            check()
            np.matmul(layer[rows].T, vectors[..., rows, :], out=product)
            sums += product
        start = width
        yield position, sums


def into_space_order(backwards: NDArray[Any], scores: NDArray[Any], check: Callable[[], None]) -> None:
    """Write an array whose axes have the last layer first to one that has the first layer first.

    Beginnings grow at the front while layers are added, so that is how they come out.

    Args:
        backwards: (widths of layer L, ..., widths of layer 1).
        scores: (widths of layer 1, ..., widths of layer L); written to.
        check: Called before every width of layer 1.
    """
    for position in range(scores.shape[0]):
        check()
        scores[position] = backwards[..., position].transpose()
