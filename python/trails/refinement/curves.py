"""Learning curves: what every epoch of a candidate came to and how long it took, as a run told it or a benchmark did.

Imports no torch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trails.errors import InvalidInput


@dataclass(frozen=True)
class RecordedEpoch:
    """One epoch of a training.

    Args:
        metric: Of the validation rows, higher is better; not finite where training failed in this epoch.
        loss: Of the validation rows; where metrics are equal, the lower one is better.
        train_loss: Mean over the training rows.
        training_seconds: Wall time of training, on a machine that does nothing else.
        evaluation_seconds: The same of the evaluation after it.
    """

    metric: float
    loss: float = 0.0
    train_loss: float = 0.0
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether training failed."""
        return not math.isfinite(self.metric)

    @property
    def seconds(self) -> float:
        """Training and evaluation."""
        return self.training_seconds + self.evaluation_seconds


@dataclass(frozen=True)
class Curve:
    """How a candidate learns.

    Args:
        epochs: First to last; nothing is known of later ones.
        parameters: Trained numbers of its network.
    """

    epochs: tuple[RecordedEpoch, ...]
    parameters: int = 0

    @classmethod
    def of_metrics(cls, metrics: Iterable[float]) -> Curve:
        """Of the metric after epoch 1, 2, ... alone, which takes no time."""
        return cls(tuple(RecordedEpoch(float(metric)) for metric in metrics))


def curves_of(
    epochs: Iterable[Mapping[str, Any]],
    parameters: Mapping[str, int] | None = None,
    *,
    failed: Collection[str] = (),
    evaluation_share: float = 0.0,
    less_is_better: bool = False,
) -> dict[str, Curve]:
    """Learning curves of what a real run reported.

    An epoch that was cut short by the run's deadline is one of fewer seconds here.

    Args:
        epochs: As `Events.epoch` tells them, rows of ``trails.trials`` have the same names: ``architecture``,
            ``epoch``, ``validation_metric``, ``validation_loss``, ``train_loss``, ``seconds``; in any order. A metric
            that is not finite, or NULL, is a training that failed in this epoch.
        parameters: Of each network; 0 where it is not known.
        failed: Candidates whose training failed after their last epoch: that is no epoch, and is not told.
        evaluation_share: Of an epoch's seconds, those of its evaluation, which are not told either.
        less_is_better: Whether the metric is a loss with its own sign, which is how ``trails.trials`` has one
            (`trails.table.judged.is_loss`); `Events.epoch` tells it negated.

    Raises:
        InvalidInput: An epoch is missing, such as those before the checkpoint of a run that was resumed, or is there
            twice.
    """
    found: dict[str, dict[int, RecordedEpoch]] = defaultdict(dict)
    for told in epochs:
        architecture, number, seconds = str(told["architecture"]), int(told["epoch"]), float(told["seconds"])
        if number in found[architecture]:
            raise InvalidInput(f"epoch {number} of {architecture} is there twice")
        evaluation, metric = evaluation_share * seconds, _number(told["validation_metric"])
        found[architecture][number] = RecordedEpoch(
            -metric if less_is_better else metric,
            _number(told["validation_loss"]),
            _number(told["train_loss"]),
            seconds - evaluation,
            evaluation,
        )
    for architecture in failed:
        known = found[architecture]
        last = known.get(len(known), RecordedEpoch(math.nan))
        known[len(known) + 1] = replace(last, metric=math.nan)
    sizes = parameters or {}
    return {name: Curve(_in_order(name, numbered), sizes.get(name, 0)) for name, numbered in found.items()}


def recorded_epoch(curves: Mapping[str, Curve], architecture: str, number: int) -> RecordedEpoch:
    """Epoch ``number``, from 1, of a candidate.

    Raises:
        InvalidInput: It was not recorded.
    """
    curve = curves.get(architecture)
    if curve is None or not curve.epochs:
        raise InvalidInput(f"no learning curve was recorded of {architecture}")
    if number > len(curve.epochs):
        shortest = min(len(c.epochs) for c in curves.values() if c.epochs)
        raise InvalidInput(
            f"epoch {number} of {architecture} was not recorded: its curve has {len(curve.epochs)} epochs",
            hint=f"With max_epochs = {shortest} no curve ends too early.",
        )
    return curve.epochs[number - 1]


def _number(value: Any) -> float:
    """A number, of which a table has NULL where it is not finite."""
    return math.nan if value is None else float(value)


def _in_order(architecture: str, numbered: Mapping[int, RecordedEpoch]) -> tuple[RecordedEpoch, ...]:
    missing = set(range(1, len(numbered) + 1)) - set(numbered)
    if missing:
        raise InvalidInput(f"epoch {min(missing)} of {architecture} was not recorded")
    return tuple(epoch for _, epoch in sorted(numbered.items()))


def as_curves(curves: Mapping[str, Curve | Sequence[float]]) -> dict[str, Curve]:
    """Curves, where some may be given by their metrics alone."""
    return {name: c if isinstance(c, Curve) else Curve.of_metrics(c) for name, c in curves.items()}
