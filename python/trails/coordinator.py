"""Splits a time budget between the phases: how many architectures to score, how many to train, how long.

Filtering scores N architectures and keeps the best K; refinement is successive halving
(:mod:`trails.halving`). Everything here is arithmetic on measured seconds; nothing is read, run or timed.

Time that the rungs leave over is not lost: the runner trains the winner further with it. So depth can wait,
while K cannot be mended later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trails.errors import BudgetTooSmall, InvalidInput
from trails.halving import (
    DEFAULT_ETA,
    DEFAULT_MAX_EPOCHS,
    Rung,
    halving_rungs,
    largest_fitting,
    revise,
    total_epochs,
)

__all__ = [
    "DEFAULT_ETA",
    "DEFAULT_MAX_EPOCHS",
    "SCORED_PER_CANDIDATE",
    "Plan",
    "Rung",
    "halving_rungs",
    "plan",
    "revise",
    "total_epochs",
]

SCORED_PER_CANDIDATE = 100
"""N / K where scoring costs something: the published study's ratio."""

# How deep the winner gets at least, as far as max_epochs allows. The study reads final AUC at epoch 14
# (Frappe), 10 (Criteo) and 1 (UCI Diabetes); on Frappe validation AUC grows until about epoch 12. Budgets of less than
# 30 epochs give the winner half: in 7 epochs K = 4 (6 in rungs, the winner at 4 with the epoch left) and not K = 5
# (7 in rungs, the winner at 3).
_WINNER_EPOCHS = 15
_WINNER_SHARE = 0.5

# More candidates than this bought nothing in the published study (Frappe, K at a fixed 100 minutes: 1 .97889,
# 5 .97945, 10 .98009, 20 .98024, 100 .98023). Beyond it a budget buys a deeper first rung, whose ranking is
# less noisy.
_ENOUGH_CANDIDATES = 100


@dataclass(frozen=True)
class Plan:
    """How a budget is spent.

    Args:
        n: Architectures scored.
        k: Candidates trained in the first rung.
        u: Epochs of the first rung; 0 if nothing is trained.
        filtering_seconds: Planned wall time of scoring.
        refinement_seconds: Planned wall time of all rungs.
        epochs: Model-epochs of all rungs: candidates times epochs, summed.
        rungs: The rungs, first to last.
        complete: Whether all this fits the budget. Always true unless the caller fixed ``k`` or ``u`` beyond
            it; such a plan is cut when time is up.
    """

    n: int
    k: int
    u: int
    filtering_seconds: float
    refinement_seconds: float
    epochs: int
    rungs: tuple[Rung, ...] = ()
    complete: bool = True


def plan(
    score_seconds: float,
    epoch_seconds: float,
    budget: float,
    *,
    space_size: int,
    eta: int = DEFAULT_ETA,
    max_epochs: int = DEFAULT_MAX_EPOCHS,
    only_phase1: bool = False,
    n: int | None = None,
    k: int | None = None,
    u: int | None = None,
    whole_space: bool = False,
    restart: bool = False,
) -> Plan:
    """Choose N, K and U to fill a budget.

    K grows first, at one epoch in the first rung, as long as the winner still gets deep enough; from 100
    candidates on, U grows; when every candidate could be trained for ``max_epochs``, K grows again. N is 100
    K where scoring is paid per architecture, and the whole space where it is scored at once.

    Args:
        score_seconds: Wall time to score one architecture; what was spent already belongs off ``budget``.
        epoch_seconds: Wall time of one epoch of one candidate, evaluation included.
        budget: Seconds for both phases.
        space_size: Architectures in the space.
        eta: One in how many candidates survives a rung.
        max_epochs: Epochs after which no candidate is trained further.
        only_phase1: Spend all of the budget on scoring.
        n: Architectures to score, if fixed.
        k: Candidates to train, if fixed.
        u: Epochs of the first rung, if fixed.
        whole_space: All architectures are scored at once; ``n`` is the space's size.
        restart: Survivors of a rung start over in the next, as in the published study. Then nothing is kept back for
            the winner, which gets no more than the last rung's epochs.

    Returns:
        A plan that costs no more than ``budget``, unless ``k`` or ``u`` were fixed beyond it (then
        ``complete`` is false); larger budgets never give smaller plans.

    Raises:
        BudgetTooSmall: Scoring the least there is to score and one epoch of one model exceed ``budget``;
            ``minimum`` is the smallest budget that works.
        InvalidInput: An argument is out of range.
    """
    _check_arguments(score_seconds, epoch_seconds, budget, space_size, n, k, u, whole_space)
    halving_rungs(1, 1, eta, max_epochs)  # refuses a bad eta or max_epochs
    least_n = space_size if whole_space else n or k or 1
    train_seconds = 0.0 if only_phase1 else epoch_seconds
    minimum = least_n * score_seconds + train_seconds
    if budget < minimum:
        raise _too_small(budget, minimum, least_n, score_seconds, train_seconds)
    if only_phase1:
        most = least_n if whole_space or n else space_size
        n = largest_fitting(least_n, most, lambda n: n * score_seconds <= budget)
        return Plan(n, k or 1, 0, n * score_seconds, 0.0, 0)

    most_k = space_size if n is None else n
    fixed_n = space_size if whole_space else n

    def scored(k: int) -> int:
        return min(space_size, SCORED_PER_CANDIDATE * k) if fixed_n is None else fixed_n

    def fits(k: int, u: int, n: int | None = None) -> bool:
        epochs = total_epochs(halving_rungs(k, u, eta, max_epochs), restart=restart)
        return (n or scored(k)) * score_seconds + epochs * epoch_seconds <= budget

    def deep_enough(k: int, u: int) -> bool:
        if restart:
            return True
        rungs = halving_rungs(k, u, eta, max_epochs)
        affordable = (budget - scored(k) * score_seconds) / epoch_seconds
        winner = rungs[-1].epochs_to + affordable - total_epochs(rungs)
        return winner >= min(_WINNER_EPOCHS, max_epochs, _WINNER_SHARE * affordable)

    def widest(u: int, most: int) -> int:
        largest = largest_fitting(1, most, lambda k: fits(k, u))
        return next((k for k in range(largest, 1, -1) if deep_enough(k, u)), 1)

    if k is None and u is None:
        enough = min(_ENOUGH_CANDIDATES, most_k)
        k, u = widest(1, enough), 1
        if k == enough:
            u = largest_fitting(1, max_epochs, lambda u: fits(enough, u))
        if u == max_epochs and k == enough:
            k = largest_fitting(enough, most_k, lambda k: fits(k, max_epochs))
    elif k is None:
        assert u is not None
        k = widest(u, most_k)
    elif u is None:
        u = largest_fitting(1, max_epochs, lambda u: fits(k, u))

    if fixed_n is None:
        # One candidate, or a fixed number of them, may not afford 100 scores each: then score as many as fit.
        fixed_n = largest_fitting(k, scored(k), lambda n: fits(k, u, n))
    rungs = halving_rungs(k, u, eta, max_epochs)
    epochs = total_epochs(rungs, restart=restart)
    complete = fits(k, u, fixed_n)
    return Plan(fixed_n, k, u, fixed_n * score_seconds, epochs * epoch_seconds, epochs, tuple(rungs), complete)


def _check_arguments(
    score_seconds: float,
    epoch_seconds: float,
    budget: float,
    space_size: int,
    n: int | None,
    k: int | None,
    u: int | None,
    whole_space: bool,
) -> None:
    if not (math.isfinite(score_seconds) and score_seconds >= 0):
        raise InvalidInput(f"seconds per scored architecture are zero or more, not {score_seconds}")
    if not (math.isfinite(epoch_seconds) and epoch_seconds > 0):
        raise InvalidInput(f"seconds per epoch are more than zero, not {epoch_seconds}")
    if not math.isfinite(budget):
        raise InvalidInput(f"a budget is a finite number of seconds, not {budget}")
    if space_size < 1:
        raise InvalidInput(f"a space has at least one architecture, not {space_size}")
    for name, value in (("n", n), ("k", k)):
        if value is not None and not 1 <= value <= space_size:
            raise InvalidInput(
                f"{name} = {value} is not possible: the space has {space_size} architectures",
                hint=f"{name} is 1 to {space_size}.",
            )
    if u is not None and u < 1:
        raise InvalidInput(f"u = {u} is not possible: the first rung has at least one epoch")
    if n is not None and k is not None and k > n:
        raise InvalidInput(f"k = {k} candidates cannot be chosen from n = {n} scored architectures")
    if whole_space and n not in (None, space_size):
        raise InvalidInput(
            f"n = {n} is not possible: this metric scores all {space_size} architectures at once",
            hint="Leave n out.",
        )


def _too_small(budget: float, minimum: float, n: int, score_seconds: float, train_seconds: float) -> BudgetTooSmall:
    least = "score the architectures" if train_seconds == 0 else "train one model for one epoch"
    parts = f"Scoring {n} architectures takes {n * score_seconds:.3g} s"
    parts += f", one epoch {train_seconds:.3g} s." if train_seconds else "."
    return BudgetTooSmall(
        f"a budget of {budget:.6g} s is too small to {least}",
        detail=parts,
        hint=f"The smallest budget that works is {_round_up(minimum)} s.",
        minimum=minimum,
    )


def _round_up(seconds: float) -> str:
    """Three significant digits, never below ``seconds``, so that the number printed works when typed."""
    if seconds == 0:
        return "0"
    digits = 2 - math.floor(math.log10(seconds))
    text = f"{seconds:.{max(0, digits)}f}"
    if float(text) < seconds:
        text = f"{float(text) + 10.0 ** -max(0, digits):.{max(0, digits)}f}"
    return text
