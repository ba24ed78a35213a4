"""NASWOT of a whole space; :mod:`trails.tfmem.naswot` is the formula, whose names are used here.

A layer's codes depend on the widths before it alone, and the kernel of its first n units is (n + S S') / 2 with
S = 2 c - 1: kernels of all widths are sums over the beginnings of one kernel. So 160,000 architectures need 8,421
forward steps, and one Cholesky factor each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from trails.checks import no_check
from trails.family.mlp.bank import SignedBank, draw_signed_bank
from trails.family.mlp.grid import Grid
from trails.family.mlp.prefix import running_products
from trails.family.mlp.signals import normalise
from trails.tfmem.batch import Batch
from trails.tfmem.naswot import Single, check_rows, log_determinants
from trails.tfmem.network import Matrix
from trails.workers import run_pieces

# Numbers in the kernels that are factored in one call: 40 kernels of 32 rows. Threads that must ask for the interpreter
# less often get less in each other's way; more no longer fit the processor's cache.
_AT_A_TIME = 40 * 32 * 32


def naswot(
    space: Grid,
    batch: Batch,
    seed: int,
    check: Callable[[], None] = no_check,
    workers: int = 1,
    batch_norm: bool = False,
) -> NDArray[np.float64]:
    """Score every architecture of a space exactly.

    Args:
        space: The space.
        batch: The rows, at least two.
        seed: Draws the shared weights.
        check: Called at least every 50 ms; what it raises ends the call.
        workers: Threads; any number gives the same scores.
        batch_norm: Whether a BatchNorm stands between every hidden layer and its ReLU.

    Returns:
        float64 (space.size,) in the space's order; higher is better.

    Raises:
        InvalidInput: Fewer than two rows.
    """
    check_rows(batch)
    bank = draw_signed_bank(space.layers, space.widths[-1], batch.inputs, batch.outputs, seed, check)
    walk = _Walk(space, bank, len(batch.x), batch_norm)
    first = walk.seen(bank.layers[0].T @ batch.x.T, batch.inputs)
    count = len(space.widths)
    scores = np.empty((count,) * space.layers)
    nothing = np.zeros((len(batch.x),) * 2, np.float32)
    if space.layers == 2:
        scores[...] = walk.last_two(first, nothing, check)
        return scores.reshape(-1)
    kernels = walk.doubled_kernels(first, nothing)

    def score_first(position: int) -> Callable[[Callable[[], None]], None]:
        def piece(check: Callable[[], None]) -> None:
            width = space.widths[position]
            check()
            linear = walk.seen(bank.layers[1][:width].T @ np.maximum(first[:width], 0.0), width)
            scores[position] = walk.rest(linear, 1, kernels[position], check)

        return piece

    run_pieces([score_first(position) for position in range(count)], workers, check)
    return scores.reshape(-1)


class _Walk:
    """The steps from one layer's linear outputs to the scores of all that can follow.

    A column is a row of the batch. Kernels are kept doubled, n + S S', in single precision: whole numbers of a few
    thousand are exact there.
    """

    def __init__(self, space: Grid, bank: SignedBank, rows: int, batch_norm: bool) -> None:
        self._widths, self._layers = space.widths, space.layers
        self._bank, self._rows, self._batch_norm = bank, rows, batch_norm

    def seen(self, linear: Matrix, fan_in: int) -> Matrix:
        """What the ReLUs see, from a product with the bank's entries (widest, rows)."""
        if not self._batch_norm:
            return linear  # the factor is positive: it opens and shuts no ReLU, here or later
        return normalise((linear * np.sqrt(6.0 / fan_in)).T)[0].T

    def rest(self, linear: Matrix, layer: int, kernel: Single, check: Callable[[], None]) -> NDArray[np.float64]:
        """Scores of all that begins alike up to hidden layer ``layer`` (counted from 0), (widths, ...).

        Args:
            linear: What that layer's ReLUs see (widest, rows).
            layer: Its number.
            kernel: Sum of the doubled kernels of the layers before it (rows, rows).
            check: Called before every step.
        """
        if layer == self._layers - 2:
            return self.last_two(linear, kernel, check)
        kernels = self.doubled_kernels(linear, kernel)
        scores = np.empty((len(self._widths),) * (self._layers - layer))
        for position, after in self._following(linear, layer, check):
            scores[position] = self.rest(after, layer + 1, kernels[position], check)
        return scores

    def last_two(self, linear: Matrix, kernel: Single, check: Callable[[], None]) -> NDArray[np.float64]:
        """Scores by widths of the last layer but one and of the last (widths, widths).

        Args:
            linear: What the ReLUs of the last layer but one see (widest, rows).
            kernel: Sum of the doubled kernels of the layers before it (rows, rows).
            check: Called before every step.
        """
        count = len(self._widths)
        codes = np.empty((count, *linear.shape), np.float32)
        for position, after in self._following(linear, self._layers - 2, check):
            _codes(after, codes[position])
        doubled = self.doubled_kernels(linear, kernel)
        scores = np.empty((count, count))
        size = max(1, _AT_A_TIME // doubled[0].size)
        group = np.empty((max(1, size // count), *doubled.shape), np.float32)
        filled = 0
        for position, _ in enumerate(self._grow(codes, doubled)):
            check()
            group[filled] = doubled
            filled += 1
            if filled == len(group) or position == count - 1:
                kernels = group[:filled].reshape(-1, *doubled.shape[1:])
                parts = []
                for start in range(0, len(kernels), size):
                    check()
                    parts.append(log_determinants(kernels[start : start + size]))
                determinants = np.concatenate(parts).reshape(filled, count)
                scores[:, position + 1 - filled : position + 1] = determinants.T
                filled = 0
        return scores

    def doubled_kernels(self, linear: Matrix, before: Single) -> Single:
        """Doubled kernels up to a layer, for all of its widths: (widths, rows, rows).

        Args:
            linear: What the layer's ReLUs see (widest, rows).
            before: Doubled kernel of the layers before (rows, rows).
        """
        kernel = before.copy()
        codes = _codes(linear, np.empty(linear.shape, np.float32))
        return np.stack([kernel.copy() for _ in self._grow(codes, kernel)])

    def _grow(self, codes: Single, doubled: Single) -> Iterator[None]:
        """Add a layer's kernel to ``doubled``, unit by unit: one step for each of its widths.

        Args:
            codes: (..., widest, rows).
            doubled: (..., rows, rows).
        """
        start = 0
        for width in self._widths:
            segment = codes[..., start:width, :]
            doubled += np.swapaxes(segment, -1, -2) @ segment
            doubled += np.float32(width - start)
            start = width
            yield

    def _following(self, linear: Matrix, layer: int, check: Callable[[], None]) -> Iterator[tuple[int, Matrix]]:
        """For every width of hidden layer ``layer``: its position and what the next layer's ReLUs see."""
        following = self._bank.layers[layer + 1]
        products = running_products(following, np.maximum(linear, 0.0), self._widths, len(self._widths), check)
        for position, sums in products:
            yield position, self.seen(sums, self._widths[position])


def _codes(linear: Matrix, codes: Single) -> Single:
    """+1 where a ReLU is open, -1 where it is shut, into ``codes``."""
    codes[...] = linear > 0
    codes *= 2.0
    codes -= 1.0
    return codes
