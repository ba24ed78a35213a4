"""The filtering phase: from a space and training-free metrics to ranked candidates."""

from trails.filtering.pool import Pool, combine_ranks
from trails.filtering.scoring import Scored, Scorer
from trails.filtering.search import ScoredPool, score_pool
from trails.filtering.shortlist import shortlist
from trails.filtering.whole_space import SpaceRanking, rank_scores, rank_space

__all__ = [
    "Pool",
    "Scored",
    "ScoredPool",
    "Scorer",
    "SpaceRanking",
    "combine_ranks",
    "rank_scores",
    "rank_space",
    "score_pool",
    "shortlist",
]
