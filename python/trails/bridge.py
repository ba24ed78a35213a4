"""What the extension calls: plain arguments and NumPy arrays in, plain tuples out.

The arrays are the extension's own buffers, not copies. Everything here runs inside a PostgreSQL backend, so it
must import neither torch nor anything that is slow to import, and long work calls ``check`` at least every 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.coordinator import plan as _plan
from trails.filtering.latency import LatencyScorer, parse_config
from trails.filtering.shortlist import shortlist_space
from trails.space.mlp import EMBEDDING, parse_space
from trails.table.columns import Column
from trails.table.columns import useless_features as _useless_features
from trails.table.target import check_two_classes
from trails.tfmem import get_tfmem

__all__ = [
    "LatencyScorer",
    "check_space",
    "check_target",
    "filter_space",
    "latency_scorer",
    "plan",
    "useless_features",
]


def check_space(space: str, tfmem: str, k: int | None) -> None:
    """Refuse names and numbers that no run could use, before anything is started.

    Raises:
        InvalidInput: Unknown space or metric, or more candidates than the space has.
    """
    size = parse_space(space).size
    get_tfmem(tfmem)
    if k is not None:
        _plan(0.0, 1.0, 1.0, space_size=size, k=k, u=1)


ArrayColumn = tuple[str, NDArray[Any], NDArray[np.uint8] | None]
"""Name; int32 or int64 (rows,) values; uint8 (rows,) mask, 1 where NULL, or None without NULLs."""


def check_target(target: ArrayColumn) -> None:
    """Refuse a target that is not two classes.

    Raises:
        UnusableData: Fewer than two rows, one class, or more than two.
    """
    name, values, _ = target
    check_two_classes(name, values)


def useless_features(columns: Sequence[ArrayColumn]) -> list[tuple[str, str]]:
    """Features that no network can learn from, with the reason."""
    features = [Column(name, "int64", values, nulls=nulls) for name, values, nulls in columns]
    return list(_useless_features(features).items())


def filter_space(
    space: str, tfmem: str, fields: int, seed: int, k: int | None, check: Callable[[], None]
) -> tuple[list[str], NDArray[np.float64], int, int, float]:
    """Score a whole space and return the architectures that refinement may choose from, best score first.

    Args:
        space: Name of the space.
        tfmem: Name of the metric.
        fields: Features of a row.
        seed: Of the scores.
        k: Candidates that the caller wants, if fixed.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        Architectures; float64 scores; how many were scored; how many of these failed; seconds.
    """
    architectures = parse_space(space)
    ranking = shortlist_space(architectures, fields * EMBEDDING, seed, k or 0, tfmem, check)
    names = [architectures.format(architectures.architecture(int(i))) for i in ranking.indices]
    return names, ranking.scores, ranking.scored, ranking.failed, ranking.seconds


def plan(
    score_seconds: float, epoch_seconds: float, budget: float, only_phase1: bool, space: str
) -> tuple[int, int, int, float, float]:
    """The coordinator alone: n, k, u, and the planned seconds of filtering and of refinement."""
    planned = _plan(score_seconds, epoch_seconds, budget, space_size=parse_space(space).size, only_phase1=only_phase1)
    return planned.n, planned.k, planned.u, planned.filtering_seconds, planned.refinement_seconds


def latency_scorer(config: str | None, n: int, fields: int) -> LatencyScorer:
    """The scorer of the latency benchmark, from the text of a configuration file or the defaults."""
    return LatencyScorer(parse_config(config), n, fields)
