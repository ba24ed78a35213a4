"""What a model that is in use does on the rows that a new run holds out. Imports no torch: the backend asks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check
from trails.filtering.rows import TableRows
from trails.model.store import Model
from trails.refinement.metrics import value_of
from trails.table.target import Target, as_validated

_ROWS_AT_ONCE = 2048


def metric_of(model: Model, rows: TableRows, metric: str | None = None, check: Check = no_check) -> float | None:
    """What a run compares candidates by, of a model that was trained before.

    Args:
        model: Of whatever run.
        rows: Of the new one; the model's columns are among them.
        metric: One of `trails.table.judged.CHOSEN_BY`; None for that of the task.
        check: Called before every few thousand rows; what it raises ends the call.

    Returns:
        The metric, a loss with its own sign, on the rows that are held out of these, without those of a class that no
        training row has; None if none are, the model predicts something else, or there is no such metric, as of one
        class.

    Raises:
        InvalidInput: A column is missing or of another type.
    """
    target, learnt, held = rows.target, rows.learnt, rows.held_rows
    if target is None or learnt is None or held is None or learnt.task != model.target.task:
        return None
    if set(learnt.classes) != set(model.target.classes) and learnt.task != "regression":
        return None
    places = np.flatnonzero(held & learnt.known(target))
    found, truth = [], target.take(places)
    for start in range(0, len(places), _ROWS_AT_ONCE):
        check()
        found.append(model.outputs(rows.features.take(places[start : start + _ROWS_AT_ONCE])))
    if not found:
        return None
    outputs = in_terms_of(learnt, model, np.concatenate(found))
    labels = as_validated(learnt, truth).labels(truth)
    if not np.isfinite(outputs).all() or (labels == labels[0]).all():
        return None
    weights = None if rows.weight is None else _within_one(rows.weight.data[places].astype(np.float64))
    value = value_of(
        metric or learnt.metric, learnt, labels > 0 if learnt.task == "binary" else labels, outputs, weights
    )
    return value if np.isfinite(value) else None


def _within_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of 1 at most, whose sums do not overflow; a mean is the same by them."""
    largest = weights.max()
    return weights / largest if largest > 0 else weights


def in_terms_of(learnt: Target, model: Model, outputs: NDArray[np.float32]) -> NDArray[Any]:
    """A model's outputs as a network of this target, no logarithm, would have them: classes in order, scale."""
    if learnt.task == "regression":
        # Halves, as in `Target.labels`.
        half = 0.5 if learnt.std > 1.0 else 1.0
        values = model.target.values(outputs[:, 0])
        standardised: NDArray[np.float64] = (values * half - learnt.mean * half) / (learnt.std * half)
        return standardised
    if learnt.task == "binary":
        return outputs[:, 0] if learnt.classes == model.target.classes else -outputs[:, 0]
    return outputs[:, [model.target.classes.index(name) for name in learnt.classes]]
