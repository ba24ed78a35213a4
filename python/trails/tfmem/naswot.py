"""NASWOT: how well the ReLUs of an untrained network tell the rows of a batch apart.

With the code c_b of row b, one bit for every ReLU that is open, K = sum over ReLUs of c c' + (1 - c)(1 - c)' counts
on how many ReLUs two rows agree, and the score is log det K.

Source: Mellor, Turner, Storkey and Crowley, Neural architecture search without training, arXiv:2006.04647.
:func:`trails.tfmem.textbook.naswot` is this formula word for word.

**Ties.** K is singular when the codes cannot tell some rows from the rest, and its log det is minus infinity.
Such a network gets -(rows - rank K) instead: K holds whole numbers, so that the log det of a regular one is at
least 0, and every singular one ranks behind it, the worse the more rows are lost.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.tfmem.batch import Batch
from trails.tfmem.signals import Signals

Single: TypeAlias = NDArray[np.float32]

# The shift makes the factor of a singular kernel exist. It is above what rounding makes of a pivot that is 0 (1e-11),
# and moves the log det of a regular kernel by less than 1e-6. The pivots of regular kernels are ratios of whole
# numbers, in practice above 0.1; below this one, eigenvalues decide whether a kernel is singular.
_SHIFT = 1e-9
_SUSPICIOUS_PIVOT = 1e-3


def naswot_of(signals: Signals) -> float:
    """The score of one network.

    Raises:
        InvalidInput: Fewer than two rows.
    """
    check_rows(signals.batch)
    doubled = np.zeros((len(signals.batch.x),) * 2, np.float32)
    for layer in signals.layers[:-1]:
        codes = np.where(layer.normalised > 0, np.float32(1), np.float32(-1))
        doubled += codes.shape[1] + codes @ codes.T
    return float(log_determinants(doubled[None])[0])


def log_determinants(doubled: Single | NDArray[np.float64]) -> NDArray[np.float64]:
    """log det of kernels given doubled (n, rows, rows); -(rows - rank) of singular ones."""
    rows = doubled.shape[-1]
    kernels = np.multiply(doubled, 0.5, dtype=np.float64)
    kernels.reshape(len(doubled), -1)[:, :: rows + 1] += _SHIFT
    pivots = np.square(np.diagonal(np.linalg.cholesky(kernels), axis1=-2, axis2=-1))
    scores: NDArray[np.float64] = np.log(pivots).sum(axis=-1)
    suspicious = np.flatnonzero((pivots < _SUSPICIOUS_PIVOT).any(axis=-1))
    if suspicious.size:
        eigenvalues = np.linalg.eigvalsh(np.multiply(doubled[suspicious], 0.5, dtype=np.float64))
        least = rows * np.finfo(np.float64).eps * eigenvalues[:, -1:]
        lost = np.count_nonzero(eigenvalues <= least, axis=-1)
        scores[suspicious] = np.where(lost > 0, -lost.astype(np.float64), scores[suspicious])
    return scores


def check_rows(batch: Batch) -> None:
    """Refuse a batch with nothing to compare.

    Raises:
        InvalidInput: Fewer than two rows.
    """
    if len(batch.x) < 2:
        raise InvalidInput("naswot compares rows: it needs a batch of two or more, not of 1")
