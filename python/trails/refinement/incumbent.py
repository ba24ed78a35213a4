"""What a model that is in use does on the rows that a new run holds out. Imports no torch: the backend asks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check
from trails.filtering.rows import TableRows
from trails.model.store import Model
from trails.refinement.metrics import auc, r2
from trails.table.split import sides

_ROWS_AT_ONCE = 2048


def metric_of(model: Model, rows: TableRows, check: Check = no_check) -> float | None:
    """What a run ranks candidates by, of a model that was trained before.

    Args:
        model: Of whatever run.
        rows: Of the new one; the model's columns are among them.
        check: Called before every few thousand rows; what it raises ends the call.

    Returns:
        AUC, accuracy or R2 on the rows that are held out of these, without those of a class that no training row has;
        None if none are, the model predicts something else, or there is no such metric, as of one class.

    Raises:
        InvalidInput: A column is missing or of another type.
    """
    target, learnt, held = rows.target, rows.learnt, _held_out(rows)
    if target is None or learnt is None or held is None or learnt.task != model.target.task:
        return None
    if learnt.task == "binary" and learnt.classes != model.target.classes:
        return None
    places = np.flatnonzero(held & learnt.known(target))
    found, truth = [], target.take(places)
    for start in range(0, len(places), _ROWS_AT_ONCE):
        check()
        found.append(model.outputs(rows.features.take(places[start : start + _ROWS_AT_ONCE])))
    if not found:
        return None
    outputs = np.concatenate(found)
    if not np.isfinite(outputs).all():
        return None
    if learnt.task == "regression":
        values = outputs[:, 0].astype(np.float64) * model.target.std + model.target.mean
        return r2(truth.data, values) if np.ptp(truth.data) > 0 else None
    labels = learnt.labels(truth)
    if learnt.task == "binary":
        return auc(labels > 0, outputs[:, 0]) if len(np.unique(labels)) == 2 else None
    # By name: the classes of now may be others.
    said = np.array(model.target.classes, object)[outputs.argmax(1)]
    return float(np.mean(said == np.array(learnt.classes, object)[labels.astype(np.int64)]))


def _held_out(rows: TableRows) -> NDArray[np.bool_] | None:
    if rows.held is None or rows.training is None:
        return None
    return sides(rows.held.split)[1] if rows.held.split is not None else ~rows.training
