"""Searches that score before they train: by score alone, KNAS, and searches that training-free scores help along."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from trails.bench.baselines.known import Known, Scores
from trails.bench.baselines.trained import follow
from trails.bench.trainer import OutOfTime, Trainer
from trails.errors import InvalidInput, shown
from trails.filtering.samplers import (
    EvolutionSampler,
    LearningSampler,
    Merit,
    RandomSampler,
    ReinforceSampler,
    Sampler,
    make_sampler,
)
from trails.filtering.samplers.evolution import POPULATION
from trails.space import Space

KNAS_SCORED, KNAS_TRAINED = 100, 5
"""Architectures that KNAS scores, and the best of them that it trains."""

MOVES = 10
"""Proposals of which a search with move proposals trains the one with the best score."""


def training_free(trainer: Trainer, tfmem: str, n: int, sampler: str, seed: int, epochs: int) -> None:
    """Score ``n`` architectures one by one, train the best one alone.

    Args:
        trainer: Whose clock passes.
        tfmem: The metric; seconds of scoring one are charged for each.
        n: Architectures scored; fewer where the table has fewer.
        sampler: Which are scored: ``random``, or ``evolution`` and ``reinforcement`` guided by the scores.
        seed: Of the sampler.
        epochs: To which the best is trained.
    """
    scores = Scores(trainer, tfmem, seed)
    search = make_sampler(sampler, trainer.space, seed, scores.merits())
    with suppress(OutOfTime):
        scored = score_proposals(search, scores, n)
        if scored:
            trainer.train(scores.best_first(scored)[0], epochs)


def knas(trainer: Trainer, seed: int, epochs: int, *, tfmem: str = "knas") -> None:
    """KNAS: 100 random architectures scored by the mean of their gradients' Gram matrix, the best 5 trained.

    Source: Xu, Zhao, Lin, Gao, Sun, Yang: KNAS: Green Neural Architecture Search (ICML 2021).

    Args:
        trainer: Whose clock passes.
        seed: Of the random architectures.
        epochs: To which the best are trained.
        tfmem: The metric; ``random`` for none, to see what the metric is worth: the first five are trained.
    """
    with suppress(OutOfTime):
        sampler = RandomSampler(trainer.space, seed)
        if tfmem == "random":
            best = sampler.ask(KNAS_TRAINED)
        else:
            scores = Scores(trainer, tfmem, seed)
            best = scores.best_first(score_proposals(sampler, scores, KNAS_SCORED))[:KNAS_TRAINED]
        for index in best:
            trainer.train(index, epochs)


def warm_up(trainer: Trainer, tfmem: str, n: int, sampler: str, seed: int, epochs: int) -> None:
    """Score ``n`` random architectures before a search that trains, which begins with what the scores tell.

    Random search trains the ``n`` from the highest score down, and then the others. Evolution has the best of them for
    its first population. Reinforcement learning begins with the policy that has learnt from the scores of ``n``
    architectures which it proposed itself.

    Source: Abdelfattah, Mehrotra, Dudziak, Lane: Zero-Cost Proxies for Lightweight NAS (ICLR 2021).
    """
    scores, known = Scores(trainer, tfmem, seed), Known(trainer, epochs)
    with suppress(OutOfTime):
        learnt = None
        first: list[int] = []
        if sampler == "reinforcement":
            learnt = ReinforceSampler(trainer.space, seed, scores.merits())
            score_proposals(learnt, scores, n)
        else:
            first = scores.best_first(score_proposals(RandomSampler(trainer.space, seed), scores, n))
            first = first[:POPULATION] if sampler == "evolution" else first
        follow(_guided(sampler, trainer.space, seed, known.merit, Guide(first), learnt), known)


def move_proposal(trainer: Trainer, tfmem: str, sampler: str, seed: int, epochs: int, moves: int = MOVES) -> None:
    """Of ``moves`` proposals of a search, train the one with the best score.

    Source: Abdelfattah, Mehrotra, Dudziak, Lane: Zero-Cost Proxies for Lightweight NAS (ICLR 2021).
    """
    scores, known = Scores(trainer, tfmem, seed), Known(trainer, epochs)
    with suppress(OutOfTime):
        follow(_guided(sampler, trainer.space, seed, known.merit, Guide((), moves, scores.of)), known)


def score_proposals(search: Sampler, scores: Scores, n: int) -> list[int]:
    """Score what a sampler proposes, one after the other, until there are ``n`` or no more."""
    scored: list[int] = []
    while len(scored) < n and (asked := search.ask(1)):
        scores.of(asked[0])
        search.tell(asked[0])
        scored += asked
    return scored


class Guide:
    """What scores have a search propose instead of what it would propose itself.

    Args:
        first: Proposed before anything else, in this order.
        moves: Proposals of which the best is chosen.
        score: By which it is chosen.
    """

    def __init__(self, first: Sequence[int] = (), moves: int = 1, score: Callable[[int], float] | None = None) -> None:
        self._first, self._moves, self._score = deque(first), moves, score

    def choose(self, propose: Callable[[], int]) -> int:
        """An unseen index; ``propose`` gives unseen ones."""
        if self._first:
            return self._first.popleft()
        if self._score is None:
            return propose()
        # Of two that score the same, the earlier.
        return max(dict.fromkeys(propose() for _ in range(self._moves)), key=self._score)


class _GuidedRandom(LearningSampler):
    def __init__(self, space: Space, seed: int, merit: Merit, guide: Guide) -> None:
        super().__init__(space, seed, merit)
        self._guide = guide

    def _learn(self, indices: list[int]) -> None:
        """Nothing."""

    def _propose(self) -> int:
        return self._guide.choose(lambda: self._unseen.draw(self._generator))


class _GuidedEvolution(EvolutionSampler):
    def __init__(self, space: Space, seed: int, merit: Merit, guide: Guide) -> None:
        super().__init__(space, seed, merit)
        self._guide = guide

    def _propose(self) -> int:
        return self._guide.choose(super()._propose)


class _GuidedReinforce(ReinforceSampler):
    def __init__(
        self, space: Space, seed: int, merit: Merit, guide: Guide, learnt: ReinforceSampler | None = None
    ) -> None:
        super().__init__(space, seed, merit)
        self._guide = guide
        if learnt is not None:
            self.begin_from(learnt)

    def _propose(self) -> int:
        return self._guide.choose(super()._propose)


def _guided(
    name: str, space: Space, seed: int, merit: Merit, guide: Guide, learnt: ReinforceSampler | None = None
) -> Sampler:
    match name:
        case "random":
            return _GuidedRandom(space, seed, merit, guide)
        case "evolution":
            return _GuidedEvolution(space, seed, merit, guide)
        case "reinforcement":
            return _GuidedReinforce(space, seed, merit, guide, learnt)
    raise InvalidInput(f"scores cannot guide a search called '{shown(name)}'", hint="Known: " + ", ".join(GUIDED) + ".")


GUIDED = ("random", "evolution", "reinforcement")
"""Searches that scores can guide."""
