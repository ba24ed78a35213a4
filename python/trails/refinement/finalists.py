"""Whether it mattered which architecture was picked: the spread of a rung's candidates beside what rows make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.refinement.dataset import Dataset
from trails.refinement.ensemble_selection import left_out_once
from trails.refinement.metrics import report_seconds, value_of
from trails.refinement.trial import Trial
from trails.table.judged import is_loss

MOST_ROWS = 10_000
"""Validation rows that finalists are compared on; of more every second one, or third, ..."""

MOST_COMPARED = 16
"""Finalists that are compared, the best of them: of more than that nobody asks about the last."""

_OUTPUTS = 20
"""Numbers that a network puts out for a row above which fewer rows are looked at, so that memory stays bounded."""

_ERRORS = 2.0
"""Standard errors within which two candidates are alike: the best of several is ahead of the others by luck, too."""


@dataclass(frozen=True)
class Finalist:
    """A candidate as it was when the rung ended.

    Args:
        trial: Whose architecture and size count here.
        epochs: That it had been trained for.
        outputs: Of its best epoch then, for some of the validation rows.
    """

    trial: Trial
    epochs: int
    outputs: NDArray[np.float32]


def step_of(rows: int, outputs: int = 1) -> int:
    """Every how many validation rows finalists are compared on: of very many classes fewer are remembered."""
    return -(-rows * max(1, outputs // _OUTPUTS) // MOST_ROWS)


def seconds(data: Dataset, candidates: int) -> float:
    """About what `compare` takes of so many candidates, or of the most that it looks at; 0 of one."""
    if candidates < 2:
        return 0.0
    rows = -(-len(data.validation) // step_of(len(data.validation), data.target.outputs))
    return min(candidates, MOST_COMPARED) * 21 * report_seconds(data.target, rows) / 2


def compare(finalists: Sequence[Finalist], data: Dataset, seed: int) -> dict[str, Any] | None:
    """What is told of a rung's candidates.

    Differences are those of the same rows, so that what all candidates mistake alike is no noise. Between two seeds of
    one architecture they would be larger still: who is alike here is alike.

    Args:
        finalists: Of one rung; the outputs of every `step_of`-th row.
        data: Of the run.
        seed: Of the run.

    Returns:
        ``candidates`` compared, ``epochs`` of each, the ``metric``, its ``spread`` from best to worst and the
        ``standard_error`` of that difference, how many are ``alike``, the best itself included, and of these the
        ``smallest`` with its ``parameters`` and the ``parameters_of_best``. None of fewer than two, or where a metric
        cannot be had of parts of the rows.
    """
    step = step_of(len(data.validation), data.target.outputs)
    truth, weights = data.validation.truth[::step], data.held_weights
    held = None if weights is None else weights[::step]
    rows, sign = np.arange(len(truth)), -1.0 if is_loss(data.metric) else 1.0

    def measure(outputs: NDArray[Any], of: NDArray[np.intp] | None) -> float:
        of = rows if of is None else of
        return sign * value_of(data.metric, data.target, truth[of], outputs, None if held is None else held[of])

    try:
        # Numbers as they are told of each candidate, on the line that all validation rows would have put them on.
        on_line = [replace(f, outputs=data.line(f.outputs, step).of(f.outputs)) for f in finalists]
        found = [(measure(finalist.outputs, rows), finalist) for finalist in on_line]
        # As they are ranked where the metric is the same: in the order in which they are given.
        found = sorted(found, key=lambda pair: -pair[0])[:MOST_COMPARED]
        parts = np.array([left_out_once(finalist.outputs, measure, rows, seed) for _, finalist in found])
    except ValueError:  # one class only
        return None
    if len(found) < 2 or not np.isfinite(parts).all():
        return None
    metrics = np.array([metric for metric, _ in found])
    errors = np.sqrt(np.var(parts[0] - parts, axis=1) * (parts.shape[1] - 1))
    close = metrics[0] - metrics <= _ERRORS * errors
    alike = [finalist for (_, finalist), is_close in zip(found, close.tolist(), strict=True) if is_close]
    smallest = min(alike, key=lambda finalist: finalist.trial.layout.parameters)
    return {
        "candidates": len(found),
        "epochs": min(finalist.epochs for _, finalist in found),
        "metric": data.metric,
        "spread": float(metrics[0] - metrics[-1]),
        "standard_error": float(errors[-1]),
        "alike": len(alike),
        "smallest": smallest.trial.architecture,
        "parameters": smallest.trial.layout.parameters,
        "parameters_of_best": found[0][1].trial.layout.parameters,
    }
