"""Scores of the architectures that are asked for, by the fastest exact way each metric has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trails.checks import no_check
from trails.errors import InvalidInput
from trails.family.scoring import OneByOne
from trails.space import Space
from trails.tfmem import Batch, ScoringSetting, Tfmem
from trails.workers import run_pieces

AT_ONCE = 400_000
"""Largest space that a metric with a batch scores whole: naswot takes about 12 microseconds an architecture there, and
350 when it is asked for one at a time."""

# Architectures in one piece of work: enough that threads rarely meet, few enough that cancelling is quick.
_PIECE = 32


@dataclass(frozen=True)
class Scored:
    """Scores of some architectures.

    Args:
        scores: float64 (metrics, architectures), in the order asked for.
        seconds: float64 (architectures,): wall time each took, its share where many are scored at once.
    """

    scores: NDArray[np.float64]
    seconds: NDArray[np.float64]


class Scorer:
    """Scores architectures of one space on one setting; what was computed once is kept.

    Args:
        space: The space.
        metrics: In which order scores are returned.
        setting: Inputs, seed, batches, workers.
        check: Called at least every 50 ms; what it raises ends the call.

    Raises:
        InvalidInput: A metric needs rows or targets that the setting does not hold, or the space's family has no way
            to compute it.
    """

    def __init__(
        self, space: Space, metrics: Sequence[Tfmem], setting: ScoringSetting, check: Callable[[], None] = no_check
    ) -> None:
        check_metrics(metrics, space)
        for metric in metrics:
            _check_needs(metric, setting.batches)
        self._scoring = space.family.scoring
        self._space, self._metrics, self._setting, self._check = space, tuple(metrics), setting, check
        self._whole: dict[str, NDArray[np.float64]] = {}
        self._share: dict[str, float] = {}
        self._alone: OneByOne | None = None

    def at_once(self, metric: Tfmem) -> bool:
        """Whether ``metric`` scores the whole space at once here."""
        few = not metric.needs or self._space.size <= AT_ONCE
        return few and self._scoring.at_once(metric, self._space)

    def scores(self, indices: NDArray[np.int64]) -> Scored:
        """Scores of the architectures at ``indices``.

        A score that cannot be computed is NaN or infinite.

        Args:
            indices: int64 (architectures,), no two alike.
        """
        scores = np.empty((len(self._metrics), indices.size))
        seconds = np.zeros(indices.size)
        # Neighbours share layers, and results must not depend on the order that was asked for.
        order = slice(None) if is_increasing(indices) else np.argsort(indices, kind="stable")
        for row, metric in zip(scores, self._metrics, strict=True):
            if self.at_once(metric):
                row[:] = self._whole_space(metric)[indices]
                seconds += self._share[metric.name]
            else:
                row[order], took = self._one_by_one(metric, indices[order])
                seconds[order] += took
        return Scored(scores, seconds)

    def _whole_space(self, metric: Tfmem) -> NDArray[np.float64]:
        if metric.name not in self._whole:
            began = time.perf_counter()
            self._whole[metric.name] = self._scoring.whole_space(metric, self._space, self._setting, self._check)
            self._share[metric.name] = (time.perf_counter() - began) / self._space.size
        return self._whole[metric.name]

    def _one_by_one(self, metric: Tfmem, indices: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._alone is None:
            self._alone = self._scoring.one_by_one(self._space, self._setting, self._check)
        walks = self._alone.walks(metric)
        designs = [self._space.architecture(index) for index in indices.tolist()]

        def score_from(start: int) -> Callable[[Callable[[], None]], list[tuple[float, float]]]:
            def piece(check: Callable[[], None]) -> list[tuple[float, float]]:
                score = walks()
                results = []
                for design in designs[start : start + _PIECE]:
                    check()
                    began = time.perf_counter()
                    # A dead or saturated network divides by zero: that is a failed score, not a warning.
                    with np.errstate(all="ignore"):
                        value = score(design)
                    results.append((value, time.perf_counter() - began))
                return results

            return piece

        pieces = run_pieces(
            [score_from(start) for start in range(0, len(designs), _PIECE)],
            self._setting.workers,
            self._check,
        )
        table = np.array([pair for piece in pieces for pair in piece], dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]


def is_increasing(indices: NDArray[np.int64]) -> bool:
    """Whether the indices are in the space's order: a sort of millions is worth a look."""
    return bool((indices[1:] > indices[:-1]).all())


def jacobian_rows(space: Space, batch: Batch) -> int:
    """Rows of a batch that jacob_cov can use for every architecture of a space, at least two."""
    return space.family.scoring.jacobian_rows(space.choices, len(batch.x), batch.inputs)


def check_metrics(metrics: Sequence[Tfmem], space: Space) -> None:
    """Refuse metrics that cannot be computed of a space's networks.

    Raises:
        InvalidInput: There is such a metric.
    """
    for metric in metrics:
        if not space.family.scoring.knows(metric):
            raise InvalidInput(
                f"metric {metric.name!r} cannot score networks of family {space.family.name!r}",
                hint="Choose another metric, or another space.",
            )


def _check_needs(metric: Tfmem, batches: Sequence[Batch]) -> None:
    if metric.needs and len(batches) < metric.batches:
        raise InvalidInput(f"metric {metric.name!r} needs {metric.batches} batch(es) of rows, not {len(batches)}")
    if "y" in metric.needs and any(batch.y is None for batch in batches):
        raise InvalidInput(f"metric {metric.name!r} needs a target", hint="Name the target column.")
    for batch in batches if metric.needs else ():
        if len(batch.x) < metric.least_rows:
            raise InvalidInput(
                f"metric {metric.name!r} compares rows: it needs a batch of {metric.least_rows} or more, "
                f"not of {len(batch.x)}"
            )
