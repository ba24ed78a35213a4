"""Ways of refinement where only some lengths of training are recorded, each a training of its own.

A ladder is these lengths in epochs, shortest first. The product's scheduler runs the rungs; what is planned here is how
many candidates each has, for halving by `trails.bench.image.two_phase.rungs_of`. Whoever wins without the longest
training gets it and pays for it, and a single survivor goes straight there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trails.halving import Rung, largest_fitting, total_epochs
from trails.refinement.schedulers.halving import SuccessiveHalving
from trails.refinement.schedulers.rejects import phase_epochs

Ladder = tuple[int, ...]


@dataclass(frozen=True)
class Refined:
    """What a way of refinement came to.

    Args:
        winner: Its place.
        epochs: Of all trainings.
        seconds: Of all trainings.
    """

    winner: int
    epochs: int
    seconds: float


def _rungs(counts: Sequence[int], ladder: Ladder) -> list[Rung]:
    """Of so many candidates at each length, the first one's at least one; none below one."""
    made: list[Rung] = []
    for count, epochs in zip(counts, ladder, strict=True):
        if count <= 1:
            break
        made.append(Rung(count, epochs))
    if not made or made[-1].epochs_to < ladder[-1]:
        made.append(Rung(1, ladder[-1]))
    return made


@lru_cache(maxsize=4096)
def _rejects(k: int, ladder: Ladder, epochs: int) -> tuple[Rung, ...]:
    def rungs(n: int) -> list[Rung]:
        phases = phase_epochs(k, n)
        reach = [next((k - gone for gone, length in enumerate(phases) if length >= least), 0) for least in ladder]
        # Nobody is dismissed untrained.
        return _rungs([k, *reach[1:]], ladder)

    enough = k * ladder[-1] * (2 + math.ceil(math.log(k)))
    return tuple(rungs(largest_fitting(k, max(k, enough), lambda n: total_epochs(rungs(n), restart=True) <= epochs)))


def rejects(k: int, ladder: Ladder, epochs: int) -> list[Rung]:
    """Successive rejects (Audibert, Bubeck and Munos 2010): a candidate is trained at the longest recorded length
    that its last phase reaches, for as many epochs in all as there are.

    Args:
        k: Candidates.
        ladder: Of the trainings.
        epochs: Of all of them, at most, unless the shortest ones and the winner's last alone are more.
    """
    return _rungs([1] * len(ladder), ladder) if k == 1 else list(_rejects(k, ladder, epochs))


def uniform(k: int, ladder: Ladder, epochs: int) -> list[Rung]:
    """Uniform allocation: everyone is trained for ``epochs``, one of the ladder's, and the best one to its end."""
    return _rungs([k if length == epochs else 1 for length in ladder if length >= epochs],
                  tuple(length for length in ladder if length >= epochs))  # fmt: skip


def expected(rungs: Sequence[Rung], ladder: Ladder, each: NDArray[np.float64]) -> float:
    """Seconds that rungs are expected to take.

    Args:
        rungs: Of trainings.
        ladder: Of the trainings.
        each: float64 (trainings,): of one of each in the mean.
    """
    return float(sum(rung.candidates * each[ladder.index(rung.epochs_to)] for rung in rungs))


def affordable(way: Callable[[int], list[Rung]], budget: float, ladder: Ladder, seconds: NDArray[np.float64]) -> int:
    """How many candidates a budget holds, from the front, while another one would exceed it: 0 where it holds none.

    Args:
        way: The rungs of so many candidates.
        budget: Seconds.
        ladder: Of the trainings.
        seconds: float64 (candidates, trainings), best-scored first; later rungs are expected to take what these take
            in the mean.
    """
    means = np.cumsum(seconds, axis=0) / np.arange(1, len(seconds) + 1)[:, None]
    return largest_fitting(0, len(seconds), lambda k: expected(way(k), ladder, means[k - 1]) <= budget)


def refine(
    places: Sequence[int],
    rungs: Sequence[Rung],
    ladder: Ladder,
    valid: NDArray[np.float64],
    seconds: NDArray[np.float64],
) -> Refined:
    """Let the product's scheduler choose among cells.

    Args:
        places: Of the candidates, best-scored first; at least as many as the first rung takes.
        rungs: See above.
        ladder: Of the trainings.
        valid: float64 (cells, trainings): validation accuracies.
        seconds: float64 (cells, trainings).
    """
    names = {str(place): int(place) for place in places[: rungs[0].candidates]}
    scheduler = SuccessiveHalving(list(names), rungs)
    epochs, spent = 0, 0.0
    while not scheduler.done:
        job = scheduler.next_job()
        if job is None:
            scheduler.end_rung()
            continue
        place, column = names[job.architecture], ladder.index(job.epochs_to)
        epochs += job.epochs_to
        spent += float(seconds[place, column])
        scheduler.report(job.architecture, float(valid[place, column]))
    assert scheduler.winner is not None, "every recorded training has an accuracy"
    return Refined(names[scheduler.winner], epochs, spent)
