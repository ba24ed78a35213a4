"""Regularised evolution: tournaments among the young.

Source: Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture Search (AAAI 2019),
arXiv:1802.01548, algorithm 1.
"""

from __future__ import annotations

from collections import deque

from trails.errors import InvalidInput
from trails.filtering.samplers.base import LearningSampler, Merit
from trails.space import Space

POPULATION = 10
"""Candidates that can become parents, by default."""

TOURNAMENT = 3
"""Draws from the population of which the best becomes the parent, by default."""

# By then the mutant has walked so far from its parent that a random architecture is as good.
_MUTATIONS = 50


class EvolutionSampler(LearningSampler):
    """Mutates the winner of a tournament; whoever is scored joins the population, and the oldest leaves it.

    The first ``population`` candidates are drawn at random. After that each child is the winner of a tournament with
    one position changed to another choice; a child that was proposed before is changed once more, and so on, and if
    that leads nowhere new, a random unseen candidate takes its place.

    Children asked for together have their parents in the same population. A generation is best not much larger than
    ``population``: of a larger one only the last become parents.

    Args:
        space: Where to look.
        seed: With the merits, fixes everything that is proposed.
        merit: Looked up for every contestant, at the time of the tournament.
        population: Candidates that can become parents.
        tournament: Draws from the population, with replacement as in the paper.

    Raises:
        InvalidInput: ``seed`` is negative, or ``population`` or ``tournament`` is not positive.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        merit: Merit,
        population: int = POPULATION,
        tournament: int = TOURNAMENT,
    ) -> None:
        if population < 1 or tournament < 1:
            raise InvalidInput(f"evolution needs a population and a tournament, not {population} and {tournament}")
        super().__init__(space, seed, merit)
        self._random_first = population
        self._tournament = tournament
        self._population: deque[int] = deque(maxlen=population)

    @property
    def population(self) -> tuple[int, ...]:
        """Who could become a parent when candidates were last asked for, oldest first."""
        return tuple(self._population)

    def _learn(self, indices: list[int]) -> None:
        # A full deque drops the other end: the oldest, whatever its merit.
        self._population.extend(indices)

    def _propose(self) -> int:
        if self._asked >= self._random_first and self._population:
            child = self._parent()
            for _ in range(_MUTATIONS):
                child = self._space.mutate(child, self._generator)
                if child in self._unseen:
                    return child
        return self._unseen.draw(self._generator)

    def _parent(self) -> int:
        draws = self._generator.integers(len(self._population), size=self._tournament)
        return max((self._population[draw] for draw in draws.tolist()), key=self._merit_of)
