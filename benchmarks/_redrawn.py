"""Scores of the first recorded architectures, several times with networks and rows drawn anew, beside their AUC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks._records import FINAL_EPOCH, SEED, open_table, table_size
from benchmarks._statistics import Vector, interval, or_none
from benchmarks.harness import Context, Row
from trails.bench.building.score_one import Scored
from trails.bench.protocol import get_protocol

Key = tuple[str, str, str]
"""A metric and how it was scored."""

Score = Callable[[Sequence[tuple[int, ...]], Scored, int], Mapping[Key, Vector]]
"""Of designs, the dataset's rows and a seed: float64 (designs,) by key, minus infinity where a score failed."""

_MOST = 1000
_DRAWS = 3


@dataclass(frozen=True)
class Redrawn:
    """Scores by key, one array a draw, and the architectures' validation AUC.

    Args:
        scores: float64 (architectures,) each.
        target: float64 (architectures,).
        common: What every row of the experiment says.
        resamples: Of an interval's bootstrap.
        seed: Of these.
    """

    scores: Mapping[Key, list[Vector]]
    target: Vector
    common: Row
    resamples: int
    seed: int

    def correlation(self, key: Key) -> Row:
        """Spearman with the AUC, its interval over the sample, and what it is of."""
        scores = self.scores[key]
        one = interval("spearman", scores, self.target, self.resamples, self.seed)
        return {
            "spearman": or_none(one.value),
            "interval": [or_none(one.low), or_none(one.high)],
            "failed": int(np.isneginf(scores).sum()),
            "scored": one.n,
            **self.common,
        }


def redrawn(context: Context, score_all: Score) -> Redrawn | None:
    """Score them; None where a table of this size was looked at already."""
    assert context.dataset is not None
    benchmark = open_table(context.dataset)
    space, final = benchmark.recorded(SEED), FINAL_EPOCH[context.dataset]
    if context.recorded(architectures=space.size):
        return None
    scored = Scored.read(get_protocol(context.dataset))
    count, draws = min(space.size, 150 if context.quick else _MOST), 1 if context.quick else _DRAWS
    target = benchmark.column("valid_auc", epoch=final, seed=SEED)[:count]
    sound = np.flatnonzero(np.isfinite(target))
    designs = [space.architecture(int(place)) for place in sound]
    found: dict[Key, list[Vector]] = {}
    for number in range(draws):
        context.say(f"{context.dataset}: {len(designs)} networks, draw {number + 1} of {draws}")
        for key, scores in score_all(designs, scored, context.seed + number).items():
            found.setdefault(key, []).append(scores)
    common = {"draws": draws, "epoch": final, "architectures": space.size, "table": table_size(benchmark)}
    return Redrawn(found, target[sound], common, 200 if context.quick else 1000, context.seed)
