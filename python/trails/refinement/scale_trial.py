"""Whether a number is learnt as it is or by its logarithm: tried, where it may pay.

Counts, prices and durations have many small values and a long tail of large ones, and what makes them large multiplies
more often than it adds. Which scale serves them is not to be seen in the values: a linear fit, which is cheap, gains by
the logarithm wherever effects multiply, and a network need not. So a small network learns a part of the rows for a few
epochs on either scale, and the scale that predicts the validation rows better, by the metric that candidates are
compared by and in the target's own unit, is taken. Where they are alike within the noise of these rows, the number
stays as it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trails.checks import pieces
from trails.errors import InvalidInput, shown
from trails.family.networks import Shape
from trails.family.registry import get_family
from trails.refinement.calibrated_numbers import line
from trails.table.columns import Column
from trails.table.target import Target, as_validated
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.weights import Training, derived_seed

_MOST_ROWS, _MOST_HELD, _FEWEST_HELD = 4096, 8192, 100
"""Training and validation rows that are tried on at most, and validation rows that say something."""

_DESIGN, _EPOCHS = (64, 32), 5
_ERRORS = 1.0
"""How many standard errors the logarithm must be better by."""

_SKEWED = 2.0
"""How many times as far from the median 95 % must lie as 5 % do."""

_QUANTILES_OF = 1 << 18
_SMALLEST, _LARGEST = 1e-290, 1e290

_BUDGET_SHARE = 0.05
_MOST_OF_BUDGET = 3 * _BUDGET_SHARE
"""What a trial may be expected to take, and what it may take where the machine turns out to be slow or busy."""

_SECONDS_PER_BATCH, _SECONDS_PER_NUMBER = 1.2e-3, 20e-9
"""Of a batch, and of each number of an embedded row in it: measured 0.8 to 1.1 ms and 10 to 15 ns on one core."""

Sides = tuple[Target, EncodedRows, EncodedRows]
"""A target, and the training and validation rows with its labels."""


def on_its_scale(
    plain: Sides,
    columns: tuple[Column, Column],
    shape: Shape,
    options: Options,
    seed: int,
    budget: float,
    metric: str | None,
) -> tuple[Sides, Callable[[], Sides] | None]:
    """The rows with the labels that networks learn, as the option ``target_scale`` says.

    Args:
        plain: The target as it is, and the rows with its labels.
        columns: Of the target, of the training and of the validation rows.
        shape: What the rows ask of a network.
        options: How to train.
        seed: Of the run.
        budget: Seconds of the run.
        metric: By which candidates are compared; None for that of the task.

    Returns:
        The rows, and what makes those of the other scale, for a run that was begun on that; None if there is none.

    Raises:
        InvalidInput: A logarithm is asked for that there is not.
    """
    target, train, held = plain
    asked = options.target_scale
    if target.task != "regression":
        if asked == "log":
            raise InvalidInput(f"option target_scale needs a number to predict, and the task is {target.task}")
        return plain, None
    shift = possible_shift(*columns)
    if shift is None:
        if asked == "log":
            raise InvalidInput(
                f'the logarithm of the target "{shown(target.name)}" cannot be learnt',
                detail="Its values must not be below 0, some must be above, and all within 1e-290 to 1e290.",
                hint="Leave option target_scale out, or give a view whose target is of another scale.",
            )
        return plain, None

    def by_logarithm() -> Sides:
        column, held_column = columns
        scaled = target.by_logarithm(column, shift)
        labels, held_labels = scaled.labels(column), as_validated(scaled, held_column).labels(held_column)
        return scaled, _relabelled(train, labels), _relabelled(held, held_labels)

    if asked == "linear" or (asked == "auto" and not is_skewed(columns[0])):
        return plain, None
    if asked == "log":
        return by_logarithm(), None
    if is_affordable(len(train), shape, budget):
        logarithm = by_logarithm()
        ends = time.monotonic() + _MOST_OF_BUDGET * budget
        if fits_better(plain, logarithm, shape, options, seed, metric, ends):
            return logarithm, lambda: plain
    return plain, by_logarithm


def possible_shift(*columns: Column) -> float | None:
    """What would be added to a number before its logarithm is taken, None where it has none.

    It is the median of the numbers above 0: those far below it are learnt nearly as they are, those far above nearly by
    their logarithm. Were it smaller, the smallest numbers would count most, and in the target's unit they count least.

    Args:
        columns: Of the target; the first one of training rows.
    """
    if any(float(column.data[piece].min()) < 0.0 for column in columns for piece in pieces(len(column.data))):
        return None
    some = _evenly(columns[0])
    positive = some[some > 0.0]
    shift = float(np.median(positive)) if len(positive) else 0.0
    return shift if shift > _SMALLEST and float(some.max()) < _LARGEST else None


def is_skewed(column: Column) -> bool:
    """Whether the large values of training rows lie so much farther out than the small ones that a trial may pay."""
    low, middle, high = np.quantile(_evenly(column), [0.05, 0.5, 0.95]).tolist()
    return bool(high - middle > _SKEWED * (middle - low))


def is_affordable(rows: int, shape: Shape, budget: float) -> bool:
    """Whether a trial takes a small share of the budget: by the rows alone, so that it is the same in every run."""
    some = min(rows, _MOST_ROWS)
    batches = max(1, some // 64)
    each = batches * _SECONDS_PER_BATCH + some * shape.inputs * _SECONDS_PER_NUMBER
    return 2 * _EPOCHS * each <= _BUDGET_SHARE * budget


def fits_better(
    plain: Sides,
    logarithm: Sides,
    shape: Shape,
    options: Options,
    seed: int,
    metric: str | None,
    ends: float = math.inf,
) -> bool:
    """Whether a small network predicts the validation rows better where it learns the logarithm.

    Args:
        plain: The target as it is, with rows.
        logarithm: The same rows, learnt by the logarithm.
        shape: What the rows ask of a network.
        options: How to train.
        seed: Of the run.
        metric: By which candidates are compared; None for that of the task.
        ends: When it is given up, on the monotonic clock.
    """
    held = len(plain[2])
    if held < _FEWEST_HELD:
        return False
    chosen = {name: _some(rows, most, seed) for name, rows, most in _parts(plain)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # batches are small, and the number of cores must not decide
    try:
        errors = [_errors(side, chosen, shape, options, seed, metric, ends) for side in (plain, logarithm)]
    finally:
        torch.set_num_threads(threads)
    if any(found is None for found in errors):
        return False
    gained = np.asarray(errors[0]) - np.asarray(errors[1])
    weights = plain[2].weights
    each = None if weights is None else weights.cpu()[chosen["held"]].numpy().astype(np.float64)
    mean = float(np.average(gained, weights=each))
    spread = float(np.average((gained - mean) ** 2, weights=each))
    rows = float(len(gained)) if each is None else float(each.sum()) ** 2 / max(float(np.dot(each, each)), 1e-300)
    return mean > _ERRORS * math.sqrt(spread / max(rows, 1.0))


def _relabelled(rows: EncodedRows, labels: NDArray[Any]) -> EncodedRows:
    return replace(rows, labels=torch.from_numpy(labels).to(rows.labels.device), truth=labels)


def _evenly(column: Column) -> NDArray[np.float64]:
    some: NDArray[np.float64] = column.data[:: -(-len(column.data) // _QUANTILES_OF)].astype(np.float64)
    return some


def _parts(side: Sides) -> tuple[tuple[str, EncodedRows, int], tuple[str, EncodedRows, int]]:
    return ("train", side[1], _MOST_ROWS), ("held", side[2], _MOST_HELD)


def _some(rows: EncodedRows, most: int, seed: int) -> torch.Tensor:
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(derived_seed(seed, "scale", len(rows))))
    return drawn[:most].sort().values


def _errors(
    side: Sides,
    chosen: Mapping[str, torch.Tensor],
    shape: Shape,
    options: Options,
    seed: int,
    metric: str | None,
    ends: float,
) -> NDArray[np.float64] | None:
    """What the metric adds up of each validation row, in the target's unit: squared errors, or absolute ones. Of the
    epoch where that is the least; None if no epoch has finite outputs, or time ended it."""
    networks, (target, train, held) = get_family("mlp").networks, side
    cpu = torch.device("cpu")
    learnt, judged = train.to(cpu).take(chosen["train"]), held.to(cpu).take(chosen["held"])
    each = None if judged.weights is None else judged.weights.numpy().astype(np.float64)
    layout = networks.layout(shape, _DESIGN)
    begun = Training.begin(networks.initial(layout, derived_seed(seed, "scale")))
    stack = networks.stack([layout], [begun], learnt, options, seed, ["scale"], "regression")
    truth, best, least = target.values(judged.truth), None, math.inf
    for epoch in range(1, _EPOCHS + 1):
        stack.train_epoch(epoch, lambda _: time.monotonic() < ends)
        if time.monotonic() >= ends:
            return None
        predicted = stack.predict(judged)
        outputs = np.full(len(judged), np.nan) if predicted is None else predicted[0].numpy()
        if not np.isfinite(outputs).all():
            break
        if options.calibrate:
            outputs = line(target, judged.truth, outputs, metric, each).of(outputs)
        # In a unit, because the square of a number beyond 1e154 is infinite.
        unit = float(truth.max()) or 1.0
        errors = np.abs(target.values(outputs) / unit - truth / unit)
        if metric != "mae":
            errors = errors**2
        if (mean := float(np.average(errors, weights=each))) < least:
            best, least = errors, mean
    return best
