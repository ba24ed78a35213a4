"""Reinforcement learning: a distribution over architectures that follows the gradient of the expected merit.

Source: Williams: Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning (Machine
Learning 8, 1992).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.filtering.samplers.base import LearningSampler, Merit
from trails.space import Space

LEARNING_RATE = 0.5
"""Step of the logits per unit of merit above the baseline, by default.

With ranks for merits and 1,000 candidates of 160,000, a fifth of it has hardly left the uniform policy, and twice as
much settles early, which costs where scores are noisy.
"""

BASELINE_DECAY = 0.9
"""Share of the old baseline that each new merit leaves."""

# Draws that may turn out to be known before a random unseen candidate takes their place.
_DRAWS = 100


class ReinforceSampler(LearningSampler):
    """REINFORCE with one independent categorical distribution per position.

    The policy is a softmax over the choices at each position, uniform at first. A candidate with merit r, drawn with
    probabilities p, moves the logits by ``learning_rate * (r - b) * (onehot - p)``, the gradient of its
    log-probability; b is a moving average of merits, the first one to begin with.

    A candidate that was proposed before is drawn again, and if the policy has nothing new to offer, a random unseen
    candidate takes its place. The policy did not choose that one and does not learn from it.

    Args:
        space: Where to look.
        seed: With the merits, fixes everything that is proposed.
        merit: Looked up once for each candidate, at the first call of ``ask`` after it was told. The learning rate
            suits merits between 0 and 1 or 2, such as ranks.
        learning_rate: See above.

    Raises:
        InvalidInput: ``seed`` is negative, or ``learning_rate`` is not positive and finite.
    """

    def __init__(self, space: Space, seed: int, merit: Merit, learning_rate: float = LEARNING_RATE) -> None:
        if not 0.0 < learning_rate < np.inf:
            raise InvalidInput(f"a learning rate is positive and finite, unlike {learning_rate}")
        super().__init__(space, seed, merit)
        self._rate = learning_rate
        counts = np.array([len(choices) for choices in space.choices])
        # Positions with fewer choices than others have places that nothing can move.
        self._logits = np.where(np.arange(counts.max()) < counts[:, None], 0.0, -np.inf)
        self._last = counts - 1
        self._policy = _softmax(self._logits)
        self._baseline: float | None = None
        # The policy that each candidate was drawn from, until it is learnt from.
        self._drawn_from: dict[int, NDArray[np.float64]] = {}

    @property
    def policy(self) -> NDArray[np.float64]:
        """Probability of each choice at each position: float64 (positions, most choices), 0 beyond a position's own."""
        return self._policy.copy()

    def begin_from(self, other: ReinforceSampler) -> None:
        """Take over the policy that another search of the same space has learnt, not what it has proposed."""
        # What it was told last it learns when it is asked for more.
        other.ask(0)
        self._logits, self._policy = other._logits.copy(), other._policy.copy()

    def _learn(self, indices: list[int]) -> None:
        for index in indices:
            policy = self._drawn_from.pop(index, None)
            if policy is None:
                continue
            merit = self._merit_of(index)
            baseline = merit if self._baseline is None else self._baseline
            direction = -policy
            direction[np.arange(len(self._last)), self._places(index)] += 1.0
            self._logits += self._rate * (merit - baseline) * direction
            self._baseline = BASELINE_DECAY * baseline + (1.0 - BASELINE_DECAY) * merit
        self._policy = _softmax(self._logits)

    def _propose(self) -> int:
        # All tries at once; a position's last choice counts for all that rounding leaves of one.
        bounds = np.cumsum(self._policy, axis=1)[:, :-1]
        draws = self._generator.random((_DRAWS, len(self._last), 1))
        places = np.minimum(np.count_nonzero(draws >= bounds, axis=2), self._last)
        for index in self._space.indices(places).tolist():
            if index >= 0 and index in self._unseen:
                self._drawn_from[index] = self._policy
                return int(index)
        return self._unseen.draw(self._generator)

    def _places(self, index: int) -> list[int]:
        """Which of a position's choices an architecture has, for every position."""
        pairs = zip(self._space.choices, self._space.architecture(index), strict=True)
        return [choices.index(value) for choices, value in pairs]


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
