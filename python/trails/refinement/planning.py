"""Which candidates to train and how long, from measured speed; or the smallest budget that would do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trails.coordinator import plan
from trails.errors import BudgetTooSmall, InvalidInput
from trails.family.networks import Shape
from trails.halving import halving_rungs
from trails.limits import FILTERING_SHARE
from trails.refinement.costs import Speed, evaluation_work, training_work, work_of
from trails.refinement.protocol import Candidate, Refine, Setting
from trails.refinement.schedulers import Scheduler, planned_scheduler

# A candidate is chosen if the time would hold this many epochs of it alone; fewer if there is none such. Depth buys
# more than width: on Frappe 64-64-64-64 is at test AUC 0.983 after eleven epochs, and a network of ten times its cost
# at 0.978 after three. Forty hold a tournament of nine to sixteen in which the winner gets fifteen or more.
_WORTHWHILE_EPOCHS = (40.0, 21.0, 9.0, 5.0, 3.0, 2.0, 1.2, 1.0)

# Where a model is kept, what is cheaper leaves time for the winner's members and for its training on all rows: on the
# seven tables of `benchmarks tables` (30 s, three seeds) models are as good on the mean as with forty (+0.0004;
# satellite +0.004, bike +0.002, credit -0.002) with layers a quarter as wide, which predict several times as fast.
_EPOCHS_BEFORE_MEMBERS = (160.0, 80.0)

LEAST_SHARE = 0.1
"""An epoch that the time left cannot hold is cut short; one of which it holds less than this is not begun. On
Frappe a third of an epoch is at validation AUC 0.908, half of one at 0.94."""

EVALUATION_SLACK = 1.3
"""A candidate's evaluation may take this much longer than expected."""

# What a busy machine may add to what was measured, where a budget is named: that is a promise.
_SPENT_SLACK = 1.2
_NEEDED_SLACK = 1.5
_SLACK_SECONDS = 0.5

# Of what is added to a budget, the parts that training does not get: measuring takes longer for a better answer, and
# filtering scores more architectures where the caller did not say how many.
MEASURING_SHARE = 0.05

MEASURING_SECONDS = 0.6
"""What measuring takes at most, as it does of the share above. With less left the budget is too small, and there is no
time to measure by how much."""

_ASSUMED_SECONDS_PER_CELL = 50e-9
_ASSUMED_BATCH = 1024


@dataclass(frozen=True)
class Spent:
    """The parts of a budget that training cannot have.

    Args:
        before: Seconds from the statement's beginning until training could begin, as they were this time.
        after: Seconds kept for what comes after it: writing the model, and the caller's own work.
        filtering: Seconds of `before` that scoring took.
    """

    before: float
    after: float
    filtering: float = 0.0

    @classmethod
    def until(cls, setting: Setting, now: float, reserve: float = 0.0, filtering: float = 0.0) -> Spent:
        """Of a run that could begin to train ``now``.

        Args:
            setting: Of the run.
            now: On the clock that the setting is in.
            reserve: Seconds that this process keeps for itself, beside those that its caller does.
            filtering: Seconds that scoring took.
        """
        callers = setting.started + setting.budget - setting.deadline if math.isfinite(setting.deadline) else 0.0
        return cls(now - setting.started, reserve + callers, filtering)


@dataclass(frozen=True)
class Choice:
    """What to train.

    Args:
        candidates: Of the first rung.
        scheduler: That decides among them; nothing was handed out yet.
        u: Epochs of the first rung.
        epochs: Model-epochs in all.
        epoch_seconds: Mean over the candidates, as a share of the machine.
    """

    candidates: tuple[Candidate, ...]
    scheduler: Scheduler
    u: int
    epochs: int
    epoch_seconds: float


def choose(setting: Setting, request: Refine, speed: Speed, workers: int, seconds_left: float, spent: Spent) -> Choice:
    """Pick candidates and a scheduler for the time left.

    With K and U open, candidates too expensive to learn anything in the time left are passed over. The
    coordinator's plan needs one cost per epoch; candidates differ, so it is planned again with the mean of
    those it picked. Other schedulers than successive halving get the candidates that it would train, and the
    model-epochs that the time holds; where the plan is fixed, those that it would spend.

    Args:
        setting: Of the run.
        request: What to train.
        speed: As measured.
        workers: Places where candidates are trained at the same time.
        seconds_left: For training and evaluation.
        spent: The rest of the budget.

    Raises:
        BudgetTooSmall: ``seconds_left`` does not hold the least training that has a result; see `least_training`.
        InvalidInput: K, U, eta or the number of epochs is out of range; no limit of time and no K.
    """
    if request.k is not None and not 1 <= request.k <= len(request.candidates):
        raise InvalidInput(
            f"k = {request.k} is not possible: {len(request.candidates)} candidates were ranked",
            hint=f"k is 1 to {len(request.candidates)}.",
        )
    epoch = {c.architecture: speed.costs.of(c.design).epoch for c in request.candidates}
    if math.isinf(seconds_left):
        if request.k is None:
            raise InvalidInput("without a budget k must be given", hint="Give k, or a budget.")
        u, picked = request.u or 1, request.candidates[: request.k]
    else:
        members = bool(setting.models) and request.options.members != 1
        pool = _worthwhile(request, epoch, seconds_left, members)
        needed = least_training(speed, first_group(request, pool, workers, speed.stacked), workers)
        if needed > seconds_left:
            raise too_small(setting, spent, needed)
        k, u = _split(request, pool, epoch, seconds_left)
        picked = tuple(pool[:k])
    mean = statistics.fmean(epoch[c.architecture] for c in picked)
    scheduler = _scheduler(request, [c.architecture for c in picked], u, mean, seconds_left)
    return Choice(picked, scheduler, scheduler.brackets_left[0][0].epochs_to, scheduler.epochs_left(0), mean)


def _worthwhile(request: Refine, epoch: Mapping[str, float], seconds_left: float, members: bool) -> list[Candidate]:
    """Candidates worth training in the time left, best score first; ``members``: the winner may get several."""
    if request.k is not None or request.u is not None:
        return list(request.candidates)
    for epochs in (*(_EPOCHS_BEFORE_MEMBERS if members else ()), *_WORTHWHILE_EPOCHS):
        pool = [c for c in request.candidates if epochs * epoch[c.architecture] <= seconds_left]
        if pool:
            return pool
    return [min(request.candidates, key=lambda c: epoch[c.architecture])]


def _split(
    request: Refine, pool: Sequence[Candidate], epoch: Mapping[str, float], seconds_left: float
) -> tuple[int, int]:
    """K and U by the coordinator."""
    mean, k, u = epoch[pool[0].architecture], 0, 1
    for _ in range(8):
        planned = plan(
            0.0,
            min(mean, seconds_left),
            seconds_left,
            space_size=len(pool),
            eta=request.options.eta,
            max_epochs=request.options.max_epochs,
            k=request.k,
            u=request.u,
            whole_space=True,
        )
        same, k, u = planned.k == k, planned.k, planned.u
        if same:
            break
        mean = statistics.fmean(epoch[c.architecture] for c in pool[:k])
    return k, u


def _scheduler(request: Refine, candidates: Sequence[str], u: int, mean: float, seconds_left: float) -> Scheduler:
    options = request.options
    free = not request.fixed and math.isfinite(seconds_left)
    return planned_scheduler(
        request.refinement,
        candidates,
        halving_rungs(len(candidates), u, options.eta, options.max_epochs),
        affordable=int(seconds_left / mean) if free else None,
        eta=options.eta,
        max_epochs=options.max_epochs,
        u=request.u,
    )


def first_group(request: Refine, candidates: Sequence[Candidate], workers: int, stacked: int) -> Sequence[Candidate]:
    """Those of ``candidates`` that are trained at the same time at first, where the time is short.

    Nobody has a result before all of them have: they share the machine. A plan that is free begins with one.
    """
    return candidates[: min(request.k or 1, workers * stacked)]


def least_training(speed: Speed, group: Sequence[Candidate], workers: int) -> float:
    """Wall seconds of the least training of ``group`` side by side that is worth it, evaluation included.

    That is a tenth of an epoch, and a batch at least.
    """
    costs = speed.costs
    active = min(workers, math.ceil(len(group) / speed.stacked))
    training = sum(max(LEAST_SHARE * costs.of(c.design).training, costs.batch(c.design)) for c in group)
    evaluation = sum(costs.of(c.design).evaluation for c in group)
    idle = speed.wall(active) / active
    return active * speed.begin_seconds + idle * (training + EVALUATION_SLACK * evaluation)


def too_small(setting: Setting, spent: Spent, needed: float) -> BudgetTooSmall:
    """The error that names the smallest budget that works.

    Args:
        setting: Of the run.
        spent: What the budget goes to beside training; not what a training took that came to nothing.
        needed: Seconds for the least training of one model that is worth it, evaluation included.
    """
    budget = setting.budget
    enough = _SPENT_SLACK * spent.before + spent.after + _NEEDED_SLACK * needed + _SLACK_SECONDS
    # Scoring that took a good part of a tenth of the budget may have been ended by it.
    grows = MEASURING_SHARE + (FILTERING_SHARE if spent.filtering > 0.5 * FILTERING_SHARE * budget else 0.0)
    minimum = max(enough, (enough - grows * budget) / (1.0 - grows), 1.1 * budget + _SLACK_SECONDS)
    minimum = math.ceil(10 * minimum) / 10
    rest = spent.before + spent.after
    return BudgetTooSmall(
        f"a budget of {budget:g} s is too small to train one model",
        detail=f"All but training takes {rest:.1f} s, the least of one model about {needed:.1f} s.",
        hint=f"The smallest budget that works is about {minimum:g} s.",
        minimum=minimum,
    )


def assumed_training(setting: Setting, request: Refine, seconds_per_product: float, workers: int) -> float:
    """A guess at measuring and the least training, where there is no time to measure.

    Args:
        setting: Of the run.
        request: What to train.
        seconds_per_product: See `trails.refinement.speed.seconds_per_product`.
        workers: Places where candidates are trained at the same time.
    """
    columns: Sequence[Any] = setting.train["columns"]
    fields, rows = max(1, len(columns) - 1), int(setting.train["rows"])
    drawn = request.options.validation_share * rows
    held = drawn if setting.validation is None else int(setting.validation["rows"])
    of = work_of(request.family, Shape(fields, fields, request.options.embedding))
    steps_per_row = max(1, rows // _ASSUMED_BATCH) / max(1, rows)
    works = [of(candidate.design) for candidate in request.candidates]
    work = [LEAST_SHARE * training_work(w, steps_per_row) * rows + evaluation_work(w) * held / 3 for w in works]
    free = request.k is None and request.u is None
    group = [min(work, default=0.0)] if free else work[: min(request.k or 1, workers)]
    return seconds_per_product * sum(group) + _ASSUMED_SECONDS_PER_CELL * (rows + held) * fields + MEASURING_SECONDS
