"""Which candidates to train and how long, from measured speed; or the smallest budget that would do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trails.coordinator import plan
from trails.errors import BudgetTooSmall, InvalidInput
from trails.halving import halving_rungs, total_epochs
from trails.refinement.costs import Costs, Seconds
from trails.refinement.protocol import Candidate, Refine, Setting
from trails.refinement.schedulers import Hyperband, RungScheduler, SuccessiveHalving, make_scheduler

# A candidate is chosen if the time would hold this many epochs of it alone; fewer if there is none such. Depth buys
# more than width: on Frappe 64-64-64-64 is at test AUC 0.983 after eleven epochs, and a network of ten times its cost
# at 0.978 after three. Forty hold a tournament of nine to sixteen in which the winner gets fifteen or more.
_WORTHWHILE_EPOCHS = (40.0, 21.0, 9.0, 5.0, 3.0, 2.0, 1.2, 1.0)

LEAST_SHARE = 0.1
"""An epoch that the time left cannot hold is cut short; one of which it holds less than this is not begun. On
Frappe a third of an epoch is at validation AUC 0.908, half of one at 0.94."""

# What a busy machine may add to a prediction, where a promise depends on it.
_SLACK = 1.25
_SLACK_SECONDS = 0.25

MEASURING_SECONDS = 0.6
"""With less than this left the budget is too small, and there is no time to measure by how much."""

# Speed assumed where there is no time to measure: about a third of one core with AVX2.
_ASSUMED_SECONDS_PER_PRODUCT = 0.25e-9
_ASSUMED_SECONDS_PER_CELL = 50e-9


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
    scheduler: RungScheduler | Hyperband
    u: int
    epochs: int
    epoch_seconds: float


def choose(setting: Setting, request: Refine, costs: Costs, seconds_left: float) -> Choice:
    """Pick candidates and a scheduler for the time left.

    With K and U open, candidates too expensive to learn anything in the time left are passed over. The
    coordinator's plan needs one cost per epoch; candidates differ, so it is planned again with the mean of
    those it picked. Other schedulers than successive halving get the candidates that it would train, and the
    model-epochs that the time holds; where the plan is fixed, those that it would spend.

    Raises:
        BudgetTooSmall: A tenth of an epoch of one candidate takes longer than ``seconds_left``.
        InvalidInput: K, U, eta or the number of epochs is out of range; no limit of time and no K.
    """
    if request.k is not None and not 1 <= request.k <= len(request.candidates):
        raise InvalidInput(
            f"k = {request.k} is not possible: {len(request.candidates)} candidates were ranked",
            hint=f"k is 1 to {len(request.candidates)}.",
        )
    epoch = {c.architecture: costs.of(c.widths).epoch for c in request.candidates}
    if math.isinf(seconds_left):
        if request.k is None:
            raise InvalidInput("without a budget k must be given", hint="Give k, or a budget.")
        u, picked = request.u or 1, request.candidates[: request.k]
    else:
        pool = _worthwhile(request, epoch, seconds_left)
        first = costs.of(pool[0].widths)
        if first.epoch > seconds_left and first.share(LEAST_SHARE) > seconds_left:
            raise too_small(setting, seconds_left, first.share(LEAST_SHARE))
        k, u = _split(request, pool, epoch, seconds_left)
        picked = tuple(pool[:k])
    mean = statistics.fmean(epoch[c.architecture] for c in picked)
    scheduler = _scheduler(request, [c.architecture for c in picked], u, mean, seconds_left)
    return Choice(picked, scheduler, _first_epochs(scheduler), _planned_epochs(scheduler), mean)


def _worthwhile(request: Refine, epoch: Mapping[str, float], seconds_left: float) -> list[Candidate]:
    """Candidates worth training in the time left, best score first."""
    if request.k is not None or request.u is not None:
        return list(request.candidates)
    for epochs in _WORTHWHILE_EPOCHS:
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


def _scheduler(
    request: Refine, candidates: Sequence[str], u: int, mean: float, seconds_left: float
) -> RungScheduler | Hyperband:
    options = request.options
    rungs = halving_rungs(len(candidates), u, options.eta, options.max_epochs)
    if request.refinement == "sh":
        return SuccessiveHalving(candidates, rungs)
    epochs = total_epochs(rungs)
    if request.refinement == "ua" and request.u is not None:
        epochs = len(candidates) * request.u
    elif not request.fixed and math.isfinite(seconds_left):
        epochs = int(seconds_left / mean)
    made = make_scheduler(
        request.refinement,
        candidates,
        epochs=max(epochs, len(candidates)),
        eta=options.eta,
        max_epochs=options.max_epochs,
        u=request.u,
    )
    assert isinstance(made, RungScheduler | Hyperband)
    return made


def _first_epochs(scheduler: RungScheduler | Hyperband) -> int:
    """Epochs of the first rung of a fresh scheduler."""
    first = scheduler.brackets_left[0] if isinstance(scheduler, Hyperband) else scheduler.rungs_left
    return first[0].epochs_to


def _planned_epochs(scheduler: RungScheduler | Hyperband) -> int:
    """Model-epochs that a fresh scheduler asks for."""
    if isinstance(scheduler, Hyperband):
        return sum(total_epochs(bracket) for bracket in scheduler.brackets_left)
    return total_epochs(scheduler.rungs_left)


def too_small(setting: Setting, seconds_left: float, needed: float) -> BudgetTooSmall:
    """The error that names the smallest budget that works.

    Args:
        setting: Of the run.
        seconds_left: Time for training that the budget leaves from now on; negative if it is overrun.
        needed: Seconds for the least training of one model that is worth it, evaluation included.
    """
    overhead = setting.budget - seconds_left
    # Everything but training took `overhead`, measured once; it and the epoch may take longer next time.
    minimum = math.ceil(10 * (1.1 * overhead + _SLACK * needed + _SLACK_SECONDS)) / 10
    return BudgetTooSmall(
        f"a budget of {setting.budget:g} s is too small to train one model",
        detail=f"All but training takes {overhead:.1f} s, the least of one model about {needed:.1f} s.",
        hint=f"The smallest budget that works is about {minimum:g} s.",
        minimum=minimum,
    )


def assumed_seconds(setting: Setting, request: Refine) -> float:
    """A careful guess at measuring and one epoch of the cheapest candidate, without measuring."""
    columns: Sequence[Any] = setting.train["columns"]
    fields, rows = len(columns) - 1, int(setting.train["rows"])
    held = 0 if setting.validation is None else int(setting.validation["rows"])
    costs = Costs(
        inputs=fields * request.options.embedding,
        ids=fields,
        embedding=request.options.embedding,
        rows=max(1, rows),
        batches=1,
        profiled=(1,),
        seconds=Seconds(0.0, 0.0),
    )
    cheapest = min((costs.training_work(candidate.widths) for candidate in request.candidates), default=0.0)
    training = _ASSUMED_SECONDS_PER_PRODUCT * cheapest * (rows + held / 3)
    return training + _ASSUMED_SECONDS_PER_CELL * (rows + held) * fields + MEASURING_SECONDS
