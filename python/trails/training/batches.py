"""How rows are divided among epochs and batches, and in which order they come."""

from __future__ import annotations

import torch
from torch import Tensor

from trails.training.options import Options
from trails.training.weights import derived_seed

EVALUATION_ROWS = 4096
"""Validation rows predicted at once."""


def batches_of(rows: int, options: Options) -> int:
    """Batches of an epoch; all of nearly the same size, so that none is left with a single row.

    Small tables get so many batches as the option ``least_batches`` says, but 64 rows in each at least.
    """
    rows = rows_of_epoch(rows, options)
    size = min(options.batch, max(min(64, options.batch), rows // options.least_batches))
    return max(1, -(-rows // size))


def passes_of(rows: int, options: Options) -> int:
    """Epochs that it takes to see every row once: above one for very large tables, which learn much in a part."""
    return -(-rows // options.epoch_rows)


def rows_of_epoch(rows: int, options: Options) -> int:
    """Rows of an epoch; the last of several may have some more."""
    return rows // passes_of(rows, options)


def order_of_epoch(rows: int, epoch: int, seed: int, options: Options) -> Tensor:
    """Numbers of an epoch's rows, shuffled, int64; several epochs may make one pass over all.

    Args:
        rows: Of the table.
        epoch: Its number, from 1.
        seed: Of the run; the order is the same for every candidate.
        options: How many rows an epoch has.
    """
    passes = passes_of(rows, options)
    number, part = divmod(epoch - 1, passes)
    drawn = derived_seed(seed, epoch) if passes == 1 else derived_seed(seed, "pass", number)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(drawn))
    return order[rows * part // passes : rows * (part + 1) // passes]
