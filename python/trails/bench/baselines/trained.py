"""Searches that train whatever they propose: at random, by evolution, by reinforcement learning.

They are the product's samplers, whose merit is the rank of a trained architecture by validation instead of that of a
score. They propose nothing twice, and take microseconds to think, which are not charged.
"""

from __future__ import annotations

from contextlib import suppress

from trails.bench.baselines.known import Known
from trails.bench.trainer import OutOfTime, Trainer
from trails.filtering.samplers import Sampler, make_sampler


def random(trainer: Trainer, seed: int, epochs: int) -> None:
    """Uniform without replacement: what every other search has to beat."""
    _sample("random", trainer, seed, epochs)


def evolution(trainer: Trainer, seed: int, epochs: int) -> None:
    """Regularised evolution, population 10, tournaments of 3.

    Source: Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture Search (AAAI 2019).
    """
    _sample("evolution", trainer, seed, epochs)


def reinforcement(trainer: Trainer, seed: int, epochs: int) -> None:
    """REINFORCE on one distribution per position, with a moving average of merits as its baseline.

    Every step is the gradient of one architecture alone: nothing is accumulated.

    Source: Williams: Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning (Machine
    Learning 8, 1992).
    """
    _sample("reinforcement", trainer, seed, epochs)


def _sample(name: str, trainer: Trainer, seed: int, epochs: int) -> None:
    known = Known(trainer, epochs)
    with suppress(OutOfTime):
        follow(make_sampler(name, trainer.space, seed, known.merit), known)


def follow(sampler: Sampler, known: Known) -> None:
    """Train what a sampler proposes, one after the other, until it has nothing more.

    Raises:
        OutOfTime: The budget is spent.
    """
    while asked := sampler.ask(1):
        known.train(asked[0])
        sampler.tell(asked[0])
