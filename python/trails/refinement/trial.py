"""One candidate in training: how far it is, its best epoch, and what its training goes on from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.family.base import Family
from trails.family.design import Design
from trails.family.networks import Layout, Networks, Shape
from trails.refinement.leaderboard import is_better, standing
from trails.refinement.protocol import Candidate, LeaderboardRow
from trails.training.weights import Training, Weights, derived_seed


@dataclass(frozen=True)
class EpochResult:
    """A candidate finished an epoch, or the part of one that time allowed.

    Args:
        architecture: Of the candidate.
        epoch: Its number, from 1.
        train_loss: Mean over the rows seen, in nats.
        metric: Of the validation rows, by the averaged weights; higher is better. See `Target.metric`.
        loss: Of the validation rows: log loss in nats, or the root mean square error in the target's unit.
        seconds: Wall time, evaluation included; candidates stacked together share theirs equally.
        finished: Whether all training rows were seen.
        outputs: What it predicts for the validation rows, float32 (rows,) or (rows, outputs), if this is the best epoch
            of the candidate so far.
    """

    architecture: str
    epoch: int
    train_loss: float
    metric: float
    loss: float
    seconds: float
    finished: bool = True
    outputs: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)


@dataclass
class Trial:
    """Everything that is known of a candidate in this run.

    Args:
        family: What its network is one of.
        architecture: Such as ``256-256-128-64``.
        score: That filtering gave it; None where there was no filtering.
        layout: Of its own weights.
        seed: Of the run; with the architecture it decides the initial weights and dropout.
        members: That share weights and predict together; 1 for a network alone.
    """

    family: Family
    architecture: str
    score: float | None
    layout: Layout
    seed: int
    epochs: int = 0
    best_epoch: int = 0
    best_metric: float = -math.inf
    best_loss: float = math.inf
    seconds: float = 0.0
    failed: bool = False
    training: Training | None = field(default=None, repr=False)
    best: Weights | None = field(default=None, repr=False)
    members: int = 1

    @classmethod
    def of(cls, family: Family, candidate: Candidate, shape: Shape, seed: int) -> Trial:
        """Of a candidate that was never trained."""
        layout = family.networks.layout(shape, candidate.design)
        return cls(family, candidate.architecture, candidate.score, layout, seed)

    def fresh(self, architecture: str | None = None) -> Trial:
        """The same candidate, never trained and without a score, or one alike of another name."""
        return Trial(self.family, architecture or self.architecture, None, self.layout, self.seed, members=self.members)

    def with_members(self, members: int) -> Trial | None:
        """The same architecture of so many members, never trained; None where its family has no such networks."""
        networks = self.family.networks.with_members(members)
        if networks is None:
            return None
        layout = networks.layout(self.layout.shape, self.layout.design)
        return Trial(self.family, self.architecture, None, layout, self.seed, members=members)

    @property
    def networks(self) -> Networks[Any]:
        """How its network is trained and used."""
        networks = self.family.networks if self.members == 1 else self.family.networks.with_members(self.members)
        assert networks is not None, "who has members is of a family that has them"
        return networks

    @property
    def design(self) -> Design:
        """What the network is made from, as its space reads the architecture."""
        return self.layout.design

    @property
    def steps(self) -> int:
        """Optimiser steps so far: only candidates of the same number are stacked."""
        return 0 if self.training is None else self.training.steps

    @property
    def ranked(self) -> bool:
        """Whether it has a validation metric."""
        return self.best_epoch > 0

    @property
    def alive(self) -> bool:
        """Whether it can be trained further."""
        return self.training is not None and not self.failed

    def begin(self) -> Training:
        """What training goes on from; fresh weights at the first call."""
        if self.training is None:
            seed = derived_seed(self.seed, self.architecture)
            self.training = Training.begin(self.networks.initial(self.layout, seed))
        return self.training

    def stale(self, patience: int) -> bool:
        """Whether so many epochs have passed without a better one."""
        return self.epochs - self.best_epoch >= patience

    def is_better(self, metric: float, loss: float) -> bool:
        """Whether an epoch would be the best so far; see `trails.refinement.leaderboard`."""
        return is_better(metric, loss, self.best_metric, self.best_loss)

    def add(self, result: EpochResult, weights: Weights | None) -> None:
        """Take an epoch in; ``weights``, the averaged ones, are kept if it is the best so far."""
        self.epochs = result.epoch
        self.seconds += result.seconds
        if self.is_better(result.metric, result.loss):
            self.best_metric, self.best_loss, self.best_epoch = result.metric, result.loss, result.epoch
            self.best = weights

    def release(self, best: bool = True) -> None:
        """Free optimiser state and weights, those of the best epoch only if ``best``; the trial's numbers stay."""
        self.training = None
        if best:
            self.best = None

    def row(self) -> LeaderboardRow:
        """The trial on the leaderboard."""
        return {
            "architecture": self.architecture,
            "score": self.score,
            "validation_metric": self.best_metric,
            "validation_loss": self.best_loss,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "parameters": self.layout.parameters,
            "seconds": self.seconds,
        }


def ranking(trials: Iterable[Trial]) -> list[Trial]:
    """Trials that have a metric, best first, of equal ones that of the smallest loss; of those that are equal in that
    too, the ones that still have weights, then as they were offered.

    The first one is the first of the leaderboard too: of the best so far the one offered first keeps its weights.
    """
    return sorted((trial for trial in trials if trial.ranked), key=_behind)


def best(trials: Iterable[Trial]) -> Trial | None:
    """The first of the `ranking`, without the others' order: it is asked for after every epoch of every candidate."""
    return min((trial for trial in trials if trial.ranked), key=_behind, default=None)


def _behind(trial: Trial) -> tuple[float, float, bool]:
    return *standing(trial.best_metric, trial.best_loss), trial.best is None
