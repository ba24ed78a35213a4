"""Several of the networks that a run has trained as the model that it keeps, where they do better than the winner."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.model.combined import combine
from trails.model.store import Model
from trails.refinement.calibrated_numbers import line
from trails.refinement.dataset import Dataset
from trails.refinement.ensemble_selection import FEWEST_ROWS, MOST_NETWORKS, Measure, choose, effective, mean
from trails.refinement.export import calibrated, model_of
from trails.refinement.metrics import report_seconds, value_of
from trails.refinement.protocol import Refine
from trails.refinement.trial import Trial
from trails.table.judged import is_loss
from trails.training.weights import Weights

MOST_ROWS = 20_000
"""Validation rows that networks are chosen on: hundreds of means are tried, and more rows would tell hardly more."""

MOST_BYTES = 128 << 20
"""Of weights that are kept for it beside the winner's: fewer networks of large ones."""

_MEASURED = 350
"""Times that a metric is computed at most, about: to choose on all rows and on both halves, and for the jackknife. A
report, whose seconds are known, is two of them or more."""


def most_networks(request: Refine) -> int:
    """Networks that the model of a run may have.

    With k and u given nothing but what the caller said decides what is trained and kept, so that there is one network
    unless the option is a number.
    """
    asked = request.options.ensemble
    if isinstance(asked, int):
        return asked
    return 1 if asked == "never" or request.fixed else MOST_NETWORKS


def worth_keeping(trials: Iterable[Trial], most: int) -> set[str]:
    """Candidates whose weights may become part of the model: the best that still have them.

    Args:
        trials: Of the run.
        most: How many; the first one whatever its size, the others as far as `MOST_BYTES` hold them.
    """
    there = [trial for trial in trials if trial.best is not None]
    best = heapq.nsmallest(most, there, key=lambda trial: -trial.best_metric)
    kept, left = {trial.architecture for trial in best[:1]}, MOST_BYTES
    for trial in best[1:]:
        left -= 4 * sum(trial.layout.sizes.values())
        if left < 0:
            break
        kept.add(trial.architecture)
    return kept


@dataclass(frozen=True)
class Together:
    """Networks of a run that are kept as one model.

    Args:
        trials: With their weights, the best one first.
        reads: How often each counts.
        outputs: What they put out together for all validation rows, float32 (rows,) or (rows, outputs).
        gain: In the metric over the first one, on rows that they were not chosen on.
        standard_error: Of the gain.
        rows: That they were chosen on.
    """

    trials: tuple[Trial, ...]
    reads: tuple[int, ...]
    outputs: NDArray[np.float32]
    gain: float
    standard_error: float
    rows: int

    def with_weights(self, weights: Sequence[Weights]) -> Together:
        """The same of other weights; what is told of validation rows stays what it was."""
        trials = tuple(replace(trial, best=best) for trial, best in zip(self.trials, weights, strict=True))
        return replace(self, trials=trials)

    def facts(self, metric: str) -> dict[str, Any]:
        """What a model says of it in its ``training``; ``metric`` is what candidates were compared by."""
        sign = -1.0 if is_loss(metric) else 1.0
        networks = [
            {
                "architecture": trial.architecture,
                "weight": reads,
                "validation_metric": sign * trial.best_metric,
                "epochs": trial.epochs,
                "best_epoch": trial.best_epoch,
                "parameters": trial.layout.parameters,
            }
            for trial, reads in zip(self.trials, self.reads, strict=True)
        ]
        chosen = {"gain": self.gain, "standard_error": self.standard_error, "rows": self.rows}
        return {"networks": networks, "ensemble": chosen}


def together(
    ranked: Sequence[Trial], outputs: Sequence[NDArray[np.float32]], data: Dataset, most: int, seed: int
) -> Together | None:
    """Networks that do better together than the first one; None if none do, or there are too few validation rows.

    Args:
        ranked: With their weights, the best one first.
        outputs: What each puts out for the validation rows.
        data: Of the run.
        most: Networks at most.
        seed: Of the run.
    """
    rows = rows_to_choose_on(data, seed)
    if rows is None or len(ranked) < 2:
        return None
    usable = [place for place, output in enumerate(outputs) if np.isfinite(output).all()]
    try:
        select, judge = (_measure(data, name, rows) for name in (data.target.metrics[1], data.metric))
        found = choose([outputs[place][rows] for place in usable], select, judge, seed, most)
    except ValueError:  # a half of the rows has one class only
        return None
    if not found.pays:
        return None
    taken = [(usable[place], int(reads)) for place, reads in enumerate(found.reads) if reads]
    places, reads = zip(*taken, strict=True)
    return Together(
        tuple(ranked[place] for place in places),
        reads,
        mean([outputs[place] for place in places], np.array(reads)),
        found.gain,
        found.standard_error,
        len(rows),
    )


def rows_to_choose_on(data: Dataset, seed: int) -> NDArray[np.intp] | None:
    """Validation rows, ascending, drawn if there are many; None if there are too few for a choice to mean anything."""
    count, weights = len(data.validation), data.held_weights
    if (float(count) if weights is None else effective(weights)) < FEWEST_ROWS:
        return None
    if count <= MOST_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed % 2**64).choice(count, MOST_ROWS, replace=False))


def choosing_seconds(data: Dataset) -> float:
    """About what `together` takes at most."""
    rows = len(data.validation)
    return 0.0 if rows < FEWEST_ROWS else _MEASURED * report_seconds(data.target, min(rows, MOST_ROWS)) / 2


def model_of_several(
    found: Together,
    data: Dataset,
    metrics: Mapping[str, float],
    training: Mapping[str, Any],
    seen: NDArray[np.uint32] | None,
) -> Model:
    """The networks as one model; arguments as of `trails.refinement.export.model_of`.

    Raises:
        InvalidInput: A stored model cannot say what a network computes.
    """
    alone = [model_of(trial, data, training=training) for trial in found.trials]
    whole = combine(alone, found.reads, metrics, {**alone[0].training, **found.facts(data.metric)})
    return replace(calibrated(whole, metrics), seen=seen)


def _measure(data: Dataset, name: str, rows: NDArray[np.intp]) -> Measure:
    """A metric of some of these rows or all; higher is better."""
    weights, truth, sign = data.held_weights, data.validation.truth, -1.0 if is_loss(name) else 1.0

    def measure(outputs: NDArray[Any], of: NDArray[np.intp] | None) -> float:
        places = rows if of is None else rows[of]
        held = None if weights is None else weights[places]
        if data.calibrate:
            # As they are told of every candidate: numbers on the line of the rows that are looked at.
            outputs = line(data.target, truth[places], outputs, data.chosen, held).of(outputs)
        return sign * value_of(name, data.target, truth[places], outputs, held)

    return measure
