"""TabNAS: REINFORCE that rejects what is too large, and corrects its gradient for having done so.

Source: Yang, Bender, Liu, Fortuin, Le, Lu et al.: TabNAS: Rejection Sampling for Neural Architecture Search on Tabular
Datasets (NeurIPS 2022), algorithm 1.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from trails.bench.baselines.known import Known
from trails.bench.trainer import OutOfTime, RecordedTrainer
from trails.space import Space

DRAWS = 1024
"""Architectures of which the probability of a feasible one is estimated, at every step."""

LEARNING_RATE = 0.1
"""Adam's, of the logits."""

BASELINE_DECAY = 0.9
"""Share of the old baseline that each new reward leaves."""

IDLE = 200
"""Steps in a row that train nothing new, after which the policy has converged."""


class Policy:
    """One distribution over the choices of each position, moved by Adam.

    Args:
        counts: Choices of each position.
        learning_rate: Of Adam.

    Attributes:
        logits: float64 (positions, most choices); -inf beyond a position's own.
    """

    def __init__(self, counts: NDArray[np.int64], learning_rate: float = LEARNING_RATE) -> None:
        self._own = np.arange(counts.max()) < counts[:, None]
        self.logits = np.where(self._own, 0.0, -np.inf)
        self._rate, self._steps = learning_rate, 0
        self._mean, self._square = np.zeros(self.logits.shape), np.zeros(self.logits.shape)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of each choice at each position: float64 (positions, most choices)."""
        powers = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def draw(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Places among the choices of designs drawn from it: int64 (count, positions)."""
        bounds = np.cumsum(self.probabilities, axis=1)[:, :-1]
        drawn = np.count_nonzero(generator.random((count, len(bounds), 1)) >= bounds, axis=2)
        # A position's last choice counts for all that rounding leaves of one.
        return np.asarray(np.minimum(drawn, self._own.sum(axis=1) - 1), dtype=np.int64)

    def climb(self, gradient: NDArray[np.float64]) -> None:
        """One step of Adam (Kingma and Ba 2015) up a gradient of the logits, which is forgotten afterwards."""
        self._steps += 1
        self._mean += 0.1 * (gradient - self._mean)
        self._square += 0.001 * (gradient**2 - self._square)
        mean, square = self._mean / (1.0 - 0.9**self._steps), self._square / (1.0 - 0.999**self._steps)
        self.logits = np.where(self._own, self.logits + self._rate * mean / (np.sqrt(square) + 1e-8), -np.inf)


def conditional_gradient(places: NDArray[np.int64], feasible: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Gradient of log P(y | y is feasible), by the logits, estimated from feasible draws of the same policy.

    log P(y) - log P(feasible) has the gradient onehot(y) - p minus the mean of onehot(z) - p over feasible draws z
    (the importance weights of draws of the policy itself are 1), and p falls out.

    Args:
        places: int64 (positions,): the design.
        feasible: int64 (draws, positions), at least one.
        width: Most choices of a position.

    Returns:
        float64 (positions, width).
    """
    choices = np.arange(width)
    own = (places[:, None] == choices).astype(np.float64)
    return np.asarray(own - (feasible[:, :, None] == choices).mean(axis=0))


def size_limit(space: Space, inputs: int) -> int:
    """The median number of parameters of a whole space: half of it is feasible."""
    return int(np.median(space.parameters_at(np.arange(space.size), inputs)))


def tabnas(trainer: RecordedTrainer, seed: int, epochs: int) -> None:
    """TabNAS below the median size of the space.

    Every step draws from the policy until a design is feasible, trains it, and climbs the reward above a moving
    average times the gradient of its log-probability given that it is feasible, the probability of which is estimated
    from `DRAWS` designs. The reward is the rank among what was trained. An architecture that is proposed again is
    answered from memory. It ends where it has proposed nothing new for `IDLE` steps. Its thinking is charged.
    """
    space = trainer.space
    inputs = trainer.benchmark.setting.fields * int(trainer.benchmark.setting.options["embedding"])
    small = space.parameters_at(np.arange(space.size), inputs) <= size_limit(space.whole, inputs)
    if not small.any():
        return
    generator = np.random.default_rng(seed)
    policy = Policy(np.array([len(choices) for choices in space.choices]))
    known, baseline, idle = Known(trainer, epochs), None, 0
    with suppress(OutOfTime):
        while idle < IDLE and len(known) < small.sum():
            with trainer.thinking():
                drawn = policy.draw(DRAWS, generator)
                indices = space.indices(drawn)
                fits = np.flatnonzero(small[indices])
            if not fits.size:
                # The policy has moved where next to nothing is feasible.
                return
            chosen = int(fits[0])
            index = int(indices[chosen])
            idle = idle + 1 if index in known else 0
            known.train(index)
            with trainer.thinking():
                reward = known.merit(index)
                baseline = reward if baseline is None else baseline
                gradient = conditional_gradient(drawn[chosen], drawn[fits], policy.logits.shape[1])
                policy.climb((reward - baseline) * gradient)
                baseline = BASELINE_DECAY * baseline + (1.0 - BASELINE_DECAY) * reward
