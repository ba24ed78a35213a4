"""The planner's promises, and the exact cost of successive halving."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trails.coordinator import Plan, Rung, halving_rungs, plan, revise, total_epochs
from trails.errors import BudgetTooSmall, InvalidInput

score_seconds = st.one_of(st.just(0.0), st.floats(1e-6, 0.5))
epoch_seconds = st.floats(1e-3, 50)
budgets = st.floats(1e-3, 1e4)
sizes = st.integers(1, 160_000)
etas = st.integers(2, 5)
caps = st.integers(1, 60)


def cost_by_walking(k: int, u: int, eta: int, max_epochs: int) -> int:
    """Train every candidate epoch by epoch, as a runner would, and count."""
    trained = [0] * k
    alive, target = k, u
    while True:
        for candidate in range(alive):
            while trained[candidate] < target:
                trained[candidate] += 1
        if alive == 1 or target >= max(max_epochs, u):
            return sum(trained)
        alive, target = max(1, alive // eta), min(target * eta, max(max_epochs, u))


@given(st.integers(1, 300), st.integers(1, 10), etas, caps)
def test_cost_is_what_a_runner_spends(k: int, u: int, eta: int, max_epochs: int) -> None:
    rungs = halving_rungs(k, u, eta, max_epochs)
    assert total_epochs(rungs) == cost_by_walking(k, u, eta, max_epochs)
    for number, rung in enumerate(rungs):
        assert rung.candidates == max(1, k // eta**number)
        assert rung.epochs_to == min(u * eta**number, max(max_epochs, u))
    assert rungs[-1].candidates == 1 or rungs[-1].epochs_to == max(max_epochs, u)


def test_known_rungs() -> None:
    assert halving_rungs(9, 1, 3, 30) == [Rung(9, 1), Rung(3, 3), Rung(1, 9)]
    assert total_epochs(halving_rungs(9, 1, 3, 30)) == 9 + 6 + 6
    assert halving_rungs(81, 4, 3, 108) == [Rung(81, 4), Rung(27, 12), Rung(9, 36), Rung(3, 108)]
    assert total_epochs(halving_rungs(81, 4, 3, 108)) == 81 * 4 + 27 * 8 + 9 * 24 + 3 * 72
    assert halving_rungs(1, 5, 3, 30) == [Rung(1, 5)]
    assert halving_rungs(5, 1, 3, 1) == [Rung(5, 1)]


@given(score_seconds, epoch_seconds, budgets, sizes, etas, caps, st.booleans())
def test_a_plan_never_exceeds_its_budget(
    score: float, epoch: float, budget: float, size: int, eta: int, max_epochs: int, whole_space: bool
) -> None:
    try:
        made = plan(score, epoch, budget, space_size=size, eta=eta, max_epochs=max_epochs, whole_space=whole_space)
    except BudgetTooSmall as error:
        assert error.minimum is not None and budget < error.minimum
        return
    assert made.complete
    assert made.filtering_seconds + made.refinement_seconds <= budget
    assert made.filtering_seconds == pytest.approx(made.n * score)
    assert made.refinement_seconds == pytest.approx(made.epochs * epoch)
    assert list(made.rungs) == halving_rungs(made.k, made.u, eta, max_epochs)
    assert made.epochs == total_epochs(made.rungs)
    assert 1 <= made.k <= made.n <= size
    assert 1 <= made.u <= max_epochs
    if whole_space:
        assert made.n == size


@given(
    score_seconds, epoch_seconds, budgets, st.floats(1, 3), sizes, etas, caps, st.booleans(),
    st.one_of(st.none(), st.integers(1, 50)), st.one_of(st.none(), st.integers(1, 12)),
)  # fmt: skip
@example(0.0, 1.0, 15.0, 16 / 15, 160_000, 3, 30, True, None, None)
@example(0.002, 1.0, 40.0, 1.5, 160_000, 3, 30, False, None, None)
def test_more_budget_never_gives_less(
    score: float,
    epoch: float,
    budget: float,
    factor: float,
    size: int,
    eta: int,
    max_epochs: int,
    whole_space: bool,
    k: int | None,
    u: int | None,
) -> None:
    def make(budget: float) -> Plan:
        return plan(
            score, epoch, budget, space_size=size, eta=eta, max_epochs=max_epochs, whole_space=whole_space,
            k=None if k is None else min(k, size), u=u,
        )  # fmt: skip

    try:
        small = make(budget)
    except BudgetTooSmall:
        return
    large = make(budget * factor)
    assert large.k >= small.k
    assert large.u >= small.u
    assert large.n >= small.n
    assert large.epochs >= small.epochs
    assert large.complete >= small.complete


@given(score_seconds, epoch_seconds, budgets, sizes, st.integers(1, 200), st.integers(1, 40), st.booleans())
def test_fixed_k_and_u_are_kept(
    score: float, epoch: float, budget: float, size: int, k: int, u: int, whole_space: bool
) -> None:
    k = min(k, size)
    for fixed_k, fixed_u in ((k, u), (k, None), (None, u)):
        try:
            made = plan(score, epoch, budget, space_size=size, k=fixed_k, u=fixed_u, whole_space=whole_space)
        except BudgetTooSmall as error:
            assert error.minimum is not None and budget < error.minimum
            continue
        assert made.k == fixed_k or fixed_k is None
        assert made.u == fixed_u or fixed_u is None
        assert made.complete == (made.n * score + made.epochs * epoch <= budget)
        if fixed_u is None and not made.complete:
            assert made.u == 1
        if fixed_k is None and not made.complete:
            assert made.k == 1


@given(
    score_seconds, epoch_seconds, st.floats(-1e3, 1e3), sizes, st.booleans(), st.booleans(),
    st.one_of(st.none(), st.integers(1, 1000)), st.one_of(st.none(), st.integers(1, 1000)),
)  # fmt: skip
def test_the_minimum_named_works_and_less_does_not(
    score: float,
    epoch: float,
    budget: float,
    size: int,
    whole_space: bool,
    only_phase1: bool,
    n: int | None,
    k: int | None,
) -> None:
    n = None if n is None or whole_space else min(n, size)
    k = None if k is None else min(k, size, n or size)

    def make(budget: float) -> Plan:
        return plan(score, epoch, budget, space_size=size, whole_space=whole_space, only_phase1=only_phase1, n=n, k=k)

    try:
        make(budget)
    except BudgetTooSmall as error:
        assert error.sqlstate == "53400"
        assert error.minimum is not None
        make(error.minimum)
        named = re.search(r"works is ([0-9.]+) s", error.hint or "")
        assert named is not None
        make(float(named[1]))
        # Three significant digits: what is printed is not needlessly far above.
        assert float(named[1]) <= error.minimum * 1.011 + 1e-12
        with pytest.raises(BudgetTooSmall):
            make(math.nextafter(error.minimum, -math.inf))


@given(st.floats(1e-4, 0.5), epoch_seconds, budgets)
def test_a_hundred_scores_per_candidate_where_scoring_costs(score: float, epoch: float, budget: float) -> None:
    try:
        made = plan(score, epoch, budget, space_size=10**7)
    except BudgetTooSmall:
        return
    if made.k > 1:
        assert made.n == min(100 * made.k, 10**7)
    else:
        assert made.n <= 100


@given(epoch_seconds, budgets)
def test_budget_is_used_and_the_winner_gets_deep(epoch: float, budget: float) -> None:
    """One candidate more would not fit, or would leave the winner too shallow."""
    try:
        made = plan(0.0, epoch, budget, space_size=160_000, whole_space=True)
    except BudgetTooSmall:
        return
    affordable = budget / epoch
    winner = made.rungs[-1].epochs_to + affordable - made.epochs
    assert winner >= min(15, affordable / 2) - 1e-9
    if made.k < 100:
        assert made.u == 1
        rungs = halving_rungs(made.k + 1, 1)
        winner = rungs[-1].epochs_to + affordable - total_epochs(rungs)
        assert total_epochs(rungs) > affordable - 1e-9 or winner < min(15, affordable / 2) + 1e-9
    elif made.u < 30:
        assert total_epochs(halving_rungs(100, made.u + 1)) > affordable - 1e-9


def test_plans_at_known_budgets() -> None:
    def shape(epochs: float) -> tuple[int, int, int]:
        made = plan(0.0, 1.0, epochs, space_size=160_000, whole_space=True)
        return made.k, made.u, made.epochs

    assert shape(1) == (1, 1, 1)
    assert shape(5) == (3, 1, 5)
    assert shape(7) == (4, 1, 6)
    assert shape(9) == (5, 1, 7)
    assert shape(15) == (5, 1, 7)
    assert shape(21) == (8, 1, 18)
    assert shape(81) == (27, 1, 81)
    assert shape(1000) == (100, 5, 995)
    assert shape(3000) == (100, 30, 3000)
    assert shape(6000) == (200, 30, 6000)


def test_only_filtering_spends_all_on_scoring() -> None:
    made = plan(0.01, 5.0, 2.0, space_size=160_000, only_phase1=True)
    assert (made.n, made.u, made.epochs, made.refinement_seconds, made.rungs) == (200, 0, 0, 0.0, ())
    assert plan(0.01, 5.0, 1e9, space_size=160_000, only_phase1=True).n == 160_000
    assert plan(0.01, 5.0, 2.0, space_size=100, only_phase1=True, whole_space=True, k=7).k == 7
    with pytest.raises(BudgetTooSmall):
        plan(0.01, 5.0, 2.0, space_size=1000, only_phase1=True, whole_space=True)


@given(st.integers(1, 100), st.integers(1, 5), etas, caps, st.integers(0, 4), epoch_seconds, st.floats(-5, 2e3))
def test_revising_keeps_within_the_time_left(
    k: int, u: int, eta: int, max_epochs: int, finished: int, epoch: float, left: float
) -> None:
    rungs = halving_rungs(k, u, eta, max_epochs)
    finished = min(finished, len(rungs))
    remaining = rungs[finished:]
    done = rungs[finished - 1].epochs_to if finished else 0
    kept = revise(remaining, epochs_done=done, epoch_seconds=epoch, seconds_left=left, eta=eta)
    assert total_epochs(kept, done) * epoch <= max(left, 0)
    if total_epochs(remaining, done) * epoch <= left:
        assert kept == remaining
    # Whatever one candidate could still train is used, and no rung is wider or deeper than planned.
    if remaining and epoch <= left:
        assert kept
    for before, after in zip(remaining, kept, strict=False):
        assert 1 <= after.candidates <= before.candidates
        assert done < after.epochs_to <= before.epochs_to
    widths = [rung.candidates for rung in kept]
    depths = [rung.epochs_to for rung in kept]
    assert widths == sorted(widths, reverse=True)
    assert depths == sorted(set(depths))
    again = revise(kept, epochs_done=done, epoch_seconds=epoch, seconds_left=left, eta=eta)
    assert again == kept


def test_revising_gives_up_candidates_before_depth() -> None:
    rungs = halving_rungs(9, 1)[1:]
    assert revise(rungs, epochs_done=1, epoch_seconds=1, seconds_left=12) == [Rung(3, 3), Rung(1, 9)]
    assert revise(rungs, epochs_done=1, epoch_seconds=1, seconds_left=11) == [Rung(2, 3), Rung(1, 9)]
    assert revise(rungs, epochs_done=1, epoch_seconds=1, seconds_left=8) == [Rung(1, 3), Rung(1, 9)]
    assert revise(rungs, epochs_done=1, epoch_seconds=1, seconds_left=7) == [Rung(3, 3)]
    assert revise(rungs, epochs_done=1, epoch_seconds=1, seconds_left=1.5) == [Rung(1, 2)]
    assert revise(rungs, epochs_done=1, epoch_seconds=1, seconds_left=0.5) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"score_seconds": -1.0},
        {"score_seconds": math.nan},
        {"epoch_seconds": 0.0},
        {"epoch_seconds": math.inf},
        {"budget": math.nan},
        {"budget": math.inf},
        {"space_size": 0},
        {"k": 0},
        {"k": 1001},
        {"n": 0},
        {"n": 1001},
        {"u": 0},
        {"n": 5, "k": 6},
        {"n": 5, "whole_space": True},
        {"eta": 1},
        {"max_epochs": 0},
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, float]) -> None:
    usual = {"score_seconds": 0.01, "epoch_seconds": 1.0, "budget": 60.0, "space_size": 1000}
    with pytest.raises(InvalidInput):
        plan(**{**usual, **arguments})  # type: ignore[arg-type]
