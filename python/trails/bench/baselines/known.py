"""What a search on records knows of what it trained: each architecture is trained once, and ranked among the others."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Protocol

import numpy as np

from trails.bench.trainer import RecordedTrainer, Trainer


class Search(Protocol):
    """Searches until the budget is spent, the space is exhausted, or it proposes nothing new; see `BASELINES`."""

    def __call__(self, trainer: RecordedTrainer, seed: int, epochs: int) -> None: ...


class AnySearch(Protocol):
    """A `Search` that needs nothing of tables: it searches cells as well; see `TRAINING_BASED`."""

    def __call__(self, trainer: Trainer, seed: int, epochs: int) -> None: ...


class Known:
    """Architectures that were trained.

    Args:
        trainer: Trains them.
        epochs: To which each is trained.
    """

    def __init__(self, trainer: Trainer, epochs: int) -> None:
        self._trainer, self._epochs = trainer, epochs
        self._auc: dict[int, float] = {}
        self._ascending: list[float] = []

    def __len__(self) -> int:
        return len(self._auc)

    def __contains__(self, index: int) -> bool:
        return index in self._auc

    def train(self, index: int) -> float:
        """The metric of an architecture to choose by; one that is known is answered from memory, without charge.

        Raises:
            OutOfTime: The budget ends before.
        """
        if index not in self._auc:
            auc = self._trainer.train(index, self._epochs)
            self._auc[index] = auc
            if math.isfinite(auc):
                insort(self._ascending, auc)
        return self._auc[index]

    def merit(self, index: int) -> float:
        """Rank among what is known, the best has 1; 0 where training went wrong.

        AUCs of one table differ by little, and by how much hangs on the dataset: ranks are what a search with a fixed
        learning rate can learn from on all of them.
        """
        auc = self._auc[index]
        return bisect_right(self._ascending, auc) / len(self._ascending) if math.isfinite(auc) else 0.0


class Scores:
    """Scores of the architectures of a trainer's space, each charged when it is first asked for.

    Args:
        trainer: Whose clock passes: seconds of scoring one architecture at a time, as recorded.
        tfmem: The metric.
        seed: Of the search; which of the recorded batches a metric reads that reads data.

    Attributes:
        seconds: Of scoring one.
    """

    def __init__(self, trainer: Trainer, tfmem: str, seed: int) -> None:
        self._trainer = trainer
        self.seconds = trainer.scoring_seconds(tfmem)
        self._scores = trainer.merits(tfmem, seed)
        self._charged: set[int] = set()

    def __len__(self) -> int:
        return len(self._charged)

    def of(self, index: int) -> float:
        """The score of an architecture, higher is better.

        Raises:
            OutOfTime: The budget ends before.
        """
        if index not in self._charged:
            self._trainer.charge(self.seconds)
            self._charged.add(index)
        return float(self._scores[index])

    def merits(self) -> Callable[[int], float]:
        """Rank of each in the whole table, the best has 1: what a search on scores alone learns from; not charged."""
        order = np.argsort(np.argsort(self._scores, kind="stable"), kind="stable")
        return lambda index: (float(order[index]) + 1.0) / len(order)

    def best_first(self, indices: list[int]) -> list[int]:
        """Some architectures, highest score first; each is charged."""
        return sorted(indices, key=self.of, reverse=True)
