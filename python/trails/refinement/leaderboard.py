"""Which epoch of a candidate counts, and in which order candidates stand.

One rule for the run, which has its trials, and for whoever has only the epochs that a run told before it ended. The
extension has the same in ``leaderboard.rs``. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

_Row = TypeVar("_Row", bound=Mapping[str, Any])


def is_better(metric: float, loss: float, best_metric: float, best_loss: float) -> bool:
    """Whether an epoch is better than the best so far.

    Where the metric cannot tell, as between AUCs of 1, the loss does: probabilities go on getting better after the
    order of rows is right.

    Args:
        metric: Of the validation rows, higher is better.
        loss: Of the validation rows.
        best_metric: Of the best epoch so far; minus infinity if there is none.
        best_loss: The same; infinite if it is not known.
    """
    return standing(metric, loss) < standing(best_metric, best_loss)


def standing(metric: float, loss: float | None) -> tuple[float, float]:
    """What epochs and candidates are sorted by, the best first: the metric, and where it cannot tell the loss.

    Args:
        metric: Of the validation rows, higher is better.
        loss: Of the validation rows; one that is None or not a number is behind every other.
    """
    return -metric, math.inf if loss is None or math.isnan(loss) else loss


def in_order(rows: Iterable[_Row], less_is_better: bool = False) -> list[_Row]:
    """Rows with a ``validation_metric``, best first, of equal ones that of the smallest ``validation_loss``; what is
    equal then stays in the order given: that of the offer."""
    sign = -1.0 if less_is_better else 1.0
    return sorted(
        rows, key=lambda row: standing(sign * float(row["validation_metric"]), _number(row.get("validation_loss")))
    )


def from_epochs(
    epochs: Iterable[Mapping[str, Any]], scores: Mapping[str, float | None], less_is_better: bool = False
) -> list[dict[str, Any]]:
    """The leaderboard of a run that did not come to tell one.

    Args:
        epochs: Those that were finished, in the order of time, with the fields of `Events.epoch`. One without a metric
            has failed, and counts for nothing.
        scores: Of the candidates, in the order in which they were offered.
        less_is_better: Whether the metric, told with its own sign, is a loss.

    Returns:
        Rows as in `protocol.LeaderboardRow`; ``parameters`` is None, and ``validation_loss`` where no loss was told.
    """
    places = {architecture: place for place, architecture in enumerate(scores)}
    rows: dict[str, dict[str, Any]] = {}
    sign = -1.0 if less_is_better else 1.0
    for epoch in epochs:
        name, metric, loss = epoch["architecture"], epoch["validation_metric"], epoch["validation_loss"]
        if metric is None:
            continue
        row = rows.setdefault(
            name,
            {
                "architecture": name,
                "score": scores.get(name),
                "validation_metric": sign * -math.inf,
                "validation_loss": None,
                "epochs": 0,
                "best_epoch": None,
                "parameters": None,
                "seconds": 0.0,
            },
        )
        row["epochs"] = max(row["epochs"], epoch["epoch"])
        row["seconds"] += epoch["seconds"]
        best = sign * row["validation_metric"]
        if standing(sign * metric, loss) < standing(best, row["validation_loss"]):
            row.update(validation_metric=metric, validation_loss=loss, best_epoch=epoch["epoch"])
    offered = sorted(rows.values(), key=lambda row: places.get(row["architecture"], len(places)))
    return in_order(offered, less_is_better)


def _number(loss: Any) -> float | None:
    return None if loss is None else float(loss)
