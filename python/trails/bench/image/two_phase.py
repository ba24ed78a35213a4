"""The product's two phases on recorded cells: score, then train the best by successive halving over whole schedules.

Cells are scored one at a time. The first rung trains the best K of them by the shortest schedule that is recorded, each
further rung one in eta by the next longer one. Survivors start over, since no schedule goes on from another, and pay
for all of it, as in the published study. Books of the rungs are the product's (`trails.refinement.schedulers`), and so
is N / K (`trails.coordinator`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from trails.bench.baselines.by_score import score_proposals
from trails.bench.baselines.known import Scores
from trails.bench.image.trainer import CellTrainer
from trails.bench.trainer import OutOfTime
from trails.coordinator import SCORED_PER_CANDIDATE
from trails.errors import BudgetTooSmall, InvalidInput
from trails.filtering.samplers import check_sampler, make_sampler
from trails.halving import Rung, halving_rungs, largest_fitting
from trails.refinement.schedulers import RungEnd, SuccessiveHalving


@dataclass(frozen=True)
class TwoPhase:
    """How a selection among cells went.

    Args:
        n: Cells scored.
        rungs: What was planned to be trained; none where scoring took the whole budget.
        filtering_seconds: That scoring took.
        refinement_seconds: That training took.
        ends: Every rung's end, first to last; a cell is named by its index in the trainer's space.
    """

    n: int
    rungs: tuple[Rung, ...]
    filtering_seconds: float
    refinement_seconds: float
    ends: tuple[RungEnd, ...]

    @property
    def k(self) -> int:
        """Candidates of the first rung."""
        return self.rungs[0].candidates if self.rungs else 0


def rungs_of(schedules: Sequence[int], k: int, eta: int | None = None) -> list[Rung]:
    """Rungs of K candidates, one for each schedule as long as there are candidates to compare.

    The last one trains by the longest schedule: what is handed over is trained to the end.

    Args:
        schedules: Epochs, ascending.
        k: Candidates of the first rung.
        eta: One in how many survives a rung. None for the factor between schedules, so that rungs cost alike: 17 for
            12 and 200 epochs, 3 for 4, 12, 36 and 108.

    Raises:
        InvalidInput: A number is out of range.
    """
    steps = len(schedules) - 1
    # A root of whole numbers, such as 27 ** (1 / 3), may lie a hair above the whole number that it is.
    if eta is None:
        eta = max(2, math.ceil((schedules[-1] / schedules[0]) ** (1.0 / max(1, steps)) - 1e-9))
    # Rungs of the product whose every epoch is a schedule.
    levels = halving_rungs(k, 1, eta, eta**steps)
    rungs = [Rung(level.candidates, epochs) for level, epochs in zip(levels, schedules, strict=False)]
    return [*rungs[:-1], Rung(rungs[-1].candidates, schedules[-1])]


def two_phase(
    trainer: CellTrainer,
    tfmem: str,
    *,
    seed: int,
    n: int | None = None,
    k: int | None = None,
    eta: int | None = None,
    sampler: str = "evolution",
) -> TwoPhase:
    """Score N cells, train the best K of them; what comes of it is in the trainer's trajectory.

    Args:
        trainer: Whose clock passes; with a budget unless ``k`` is given.
        tfmem: The metric.
        seed: Of the sampler.
        n: Cells scored; None for 100 for each candidate, at most all, and fewer where a small budget would not hold a
            training after them.
        k: Candidates of the first rung, at most ``n``; None for as many as the budget surely holds, which is known once
            they are scored, since their seconds are. The last schedule is then the longest that the budget holds for a
            cell of mean size, and cells for which it does not are passed over.
        eta: See `rungs_of`.
        sampler: Which cells are scored, guided by the scores; see `trails.filtering.samplers`.

    Raises:
        InvalidInput: A number is out of range; there is neither K nor a budget.
        BudgetTooSmall: Scoring one cell and training it by the shortest schedule exceed the budget.
        UnusableData: No cell was scored by the metric.
    """
    scores, size = Scores(trainer, tfmem, seed), trainer.space.size
    for name, value in (("n", n), ("k", k)):
        if value is not None and not 1 <= value <= size:
            raise InvalidInput(f"{name} is 1 to {size}, the cells to select among, not {value}")
    if k is None and math.isinf(trainer.budget):
        raise InvalidInput("without a budget nothing says how many candidates to train", hint="Name k, or a budget.")
    if n is not None and k is not None and k > n:
        raise InvalidInput(f"{k} candidates cannot be chosen from {n} scored cells")
    check_sampler(sampler)
    began, ends = trainer.spent, list[RungEnd]()
    schedules = _affordable(trainer, scores.seconds) if k is None else trainer.records.schedules
    if n is None:
        n = min(size, SCORED_PER_CANDIDATE * (k or _planned(trainer, schedules, scores.seconds, eta)))
        if k is None:
            n = min(n, _scorable(trainer, schedules, scores.seconds))
    rungs: list[Rung] = []
    filtered = began
    with suppress(OutOfTime):
        if n == size:
            scored = list(range(size))
        else:
            scored = score_proposals(make_sampler(sampler, trainer.space, seed, scores.merits()), scores, n)
        best, filtered = scores.best_first(scored), trainer.spent
        if k is None:
            best = _affordable_of(trainer, schedules[-1], best)
            k = _held(trainer, schedules, best, eta) if best else 0
        if k:
            rungs = rungs_of(schedules, k, eta)
            _refine(trainer, best[:k], rungs, ends)
    filtering = (filtered if rungs else trainer.spent) - began
    return TwoPhase(len(scores), tuple(rungs), filtering, trainer.spent - began - filtering, tuple(ends))


def _refine(trainer: CellTrainer, best: Sequence[int], rungs: Sequence[Rung], ends: list[RungEnd]) -> None:
    scheduler = SuccessiveHalving([str(index) for index in best], rungs)
    while not scheduler.done:
        job = scheduler.next_job()
        if job is not None:
            accuracy = trainer.train(int(job.architecture), job.epochs_to)
            scheduler.report(job.architecture, accuracy if math.isfinite(accuracy) else None)
        elif (end := scheduler.end_rung()) is not None:
            ends.append(end)


def _affordable(trainer: CellTrainer, score_seconds: float) -> list[int]:
    """Schedules by which a mean cell can be trained within what is left, once one is scored."""
    left = trainer.budget - trainer.spent - score_seconds
    means = {epochs: float(trainer.training_seconds(epochs).mean()) for epochs in trainer.records.schedules}
    found = [epochs for epochs, mean in means.items() if mean <= left]
    if not found:
        needed = score_seconds + min(means.values())
        raise BudgetTooSmall(
            f"a budget of {trainer.budget:.6g} s is too small to score a cell and train one",
            hint=f"{needed:.3g} s suffice for one of mean size.",
            minimum=needed,
        )
    return found


def _affordable_of(trainer: CellTrainer, epochs: int, cells: Sequence[int]) -> list[int]:
    """Those of some cells of which one can be trained for so many epochs with what is left."""
    seconds, left = trainer.training_seconds(epochs), trainer.budget - trainer.spent
    return [index for index in cells if seconds[index] <= left]


def _planned(trainer: CellTrainer, schedules: Sequence[int], score_seconds: float, eta: int | None) -> int:
    """Candidates that the budget holds, scoring included, if they are as large as the mean."""
    left = trainer.budget - trainer.spent
    means = {epochs: float(trainer.training_seconds(epochs).mean()) for epochs in schedules}

    def fits(k: int) -> bool:
        training = sum(rung.candidates * means[rung.epochs_to] for rung in rungs_of(schedules, k, eta))
        return min(trainer.space.size, SCORED_PER_CANDIDATE * k) * score_seconds + training <= left

    return largest_fitting(1, trainer.space.size, fits)


def _scorable(trainer: CellTrainer, schedules: Sequence[int], score_seconds: float) -> int:
    """Cells, at least one, that can be scored before a mean one is trained by the cheapest schedule."""
    left = trainer.budget - trainer.spent - min(float(trainer.training_seconds(epochs).mean()) for epochs in schedules)
    return largest_fitting(1, trainer.space.size, lambda n: n * score_seconds <= left)


def _held(trainer: CellTrainer, schedules: Sequence[int], best: Sequence[int], eta: int | None) -> int:
    """Candidates that what is left surely holds, whichever of them survive; each alone can be trained to the end."""
    left = trainer.budget - trainer.spent
    seconds = {epochs: trainer.training_seconds(epochs)[list(best)] for epochs in schedules}

    def fits(k: int) -> bool:
        first, *later = rungs_of(schedules, k, eta)
        most = [np.sort(seconds[rung.epochs_to][:k])[-rung.candidates :].sum() for rung in later]
        return float(seconds[first.epochs_to][:k].sum() + sum(most)) <= left

    return largest_fitting(1, len(best), fits)
