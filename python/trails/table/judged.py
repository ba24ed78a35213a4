"""By which metrics candidates may be compared, and which of these are losses. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping

from trails.errors import InvalidInput, shown

CHOSEN_BY: Mapping[str, tuple[str, ...]] = {
    "binary": ("auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1", "mcc"),
    "multiclass": ("accuracy", "auc", "log_loss", "balanced_accuracy"),
    "regression": ("r2", "rmse", "mae"),
}
"""By task, the first one where none is named; named as ``trails.evaluate`` names them."""

_LOSSES = frozenset({"log_loss", "brier", "rmse", "mae", "median_ae", "mape", "calibration_error"})
"""The last three are told of models, and nothing is chosen by them."""


def is_loss(metric: str) -> bool:
    """Whether a metric gets better as it gets smaller."""
    return metric in _LOSSES


def parse_metric(metric: str | None, task: str | None) -> str | None:
    """The metric that a caller named; None for that of the task.

    Args:
        metric: Its name.
        task: What is learnt, as far as that is known.

    Raises:
        InvalidInput: There is no such metric, or the task has none of that name.
    """
    if metric is None:
        return None
    known = CHOSEN_BY.get(task or "")
    if known is None:
        known = tuple(dict.fromkeys(name for names in CHOSEN_BY.values() for name in names))
    if metric not in known:
        of = f" of the task {task}" if task in CHOSEN_BY else ""
        raise InvalidInput(
            f'candidates cannot be compared by "{shown(metric)}"', hint=f"metric is one{of}: {', '.join(known)}."
        )
    return metric
