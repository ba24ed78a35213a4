"""Seconds of an architecture alone, where it was trained in a stack and nobody could time it.

    seconds = rows * (a * flops + b * layers + c)

fitted to architectures that were timed alone, so that the relative error is least in the mean of squares. Training
and looking at the validation rows have coefficients of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trails.bench.kind import kind
from trails.errors import InvalidInput

LEAST_TIMED = 8
"""Architectures that a fit of three numbers is made of at least."""

Coefficients = tuple[float, float, float]


@dataclass(frozen=True)
class Sized:
    """What decides the seconds of architectures.

    Args:
        flops: float64 (architectures,): floating-point operations of one row.
        layers: float64 (architectures,): hidden layers.
    """

    flops: NDArray[np.float64]
    layers: NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A fit.

    Args:
        train: Coefficients a, b, c of an epoch's training; seconds a row.
        valid: The same of predicting validation rows.
        timed: Architectures that it was fitted to.
        error: Median of abs(estimated - measured) / measured of an epoch, training and looking together.
        error90: The ninth decile of it.
        machine: That was timed first.
    """

    train: Coefficients
    valid: Coefficients
    timed: int
    error: float
    error90: float
    machine: str

    def seconds(
        self, sized: Sized, train_rows: int, valid_rows: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of an epoch of each architecture: training, and predicting the validation rows once; float64."""
        return _seconds(self.train, sized, train_rows), _seconds(self.valid, sized, valid_rows)


def fit(
    sized: Sized,
    train_seconds: NDArray[np.float64],
    valid_seconds: NDArray[np.float64],
    train_rows: int,
    valid_rows: int,
    machines: Sequence[str],
) -> Estimate:
    """Fit to architectures that were timed alone.

    Args:
        sized: Of those.
        train_seconds: float64 (architectures,): of an epoch's training.
        valid_seconds: float64 (architectures,): of predicting the validation rows.
        train_rows: Rows of an epoch.
        valid_rows: Validation rows.
        machines: Of each.

    Raises:
        InvalidInput: Too few were timed, or on machines that differ in more than the commit of this code.
    """
    timed = len(train_seconds)
    if timed < LEAST_TIMED:
        raise InvalidInput(f"{timed} timed architectures are too few for an estimate", hint=f"Time {LEAST_TIMED}.")
    if len({kind(name) for name in machines}) > 1:
        raise InvalidInput("architectures were timed on machines that differ", detail="; ".join(sorted(set(machines))))
    train, valid = _fit(sized, train_seconds, train_rows), _fit(sized, valid_seconds, valid_rows)
    measured = train_seconds + valid_seconds
    apart = np.abs(_seconds(train, sized, train_rows) + _seconds(valid, sized, valid_rows) - measured) / measured
    return Estimate(train, valid, timed, float(np.median(apart)), float(np.quantile(apart, 0.9)), machines[0])


def _columns(sized: Sized, rows: int) -> NDArray[np.float64]:
    return rows * np.stack([sized.flops, sized.layers, np.ones_like(sized.flops)], axis=1)


def _fit(sized: Sized, seconds: NDArray[np.float64], rows: int) -> Coefficients:
    columns = _columns(sized, rows) / seconds[:, None]
    # Where all have as many layers b and c say the same, and any division between them does; and columns are brought
    # to one size, since flops are millions.
    scale = np.linalg.norm(columns, axis=0)
    found, *_ = np.linalg.lstsq(columns / scale, np.ones_like(seconds), rcond=1e-9)
    a, b, c = (found / scale).tolist()
    return a, b, c


def _seconds(coefficients: Coefficients, sized: Sized, rows: int) -> NDArray[np.float64]:
    # A fit may fall below nothing for what is smaller than all that was timed.
    seconds: NDArray[np.float64] = np.maximum(_columns(sized, rows) @ np.array(coefficients), 0.0)
    return seconds
