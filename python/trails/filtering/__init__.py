"""The filtering phase: from a space and a training-free metric to ranked candidates."""

from trails.filtering.shortlist import shortlist_space
from trails.filtering.whole_space import Ranking, rank_scores, rank_space

__all__ = ["Ranking", "rank_scores", "rank_space", "shortlist_space"]
