"""Schedulers on recorded learning curves, against simulations by hand."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trails.coordinator import Rung, halving_rungs
from trails.errors import InvalidInput, UnusableData
from trails.refinement.recorded import run_recorded
from trails.refinement.schedulers import Hyperband, RungEnd, SuccessiveHalving, make_scheduler

NAMES = ("sh", "sj", "ua", "hyperband")

CURVES = {
    "early": [0.80, 0.81, 0.82, 0.82],
    "late": [0.70, 0.78, 0.88, 0.90],
    "middle": [0.75, 0.79, 0.84, 0.85],
    "poor": [0.60, 0.61, 0.62, 0.63],
}


def test_halving_by_hand() -> None:
    halving = SuccessiveHalving(list(CURVES), [Rung(4, 1), Rung(2, 2), Rung(1, 4)])
    outcome = run_recorded(halving, CURVES)
    # "late" is out after one epoch, though it would have been the best.
    assert outcome.history == (
        RungEnd(0, 4, ("early", "middle")),
        RungEnd(1, 2, ("early",)),
        RungEnd(2, 1, ("early",)),
    )
    assert (outcome.winner, outcome.metric, outcome.epochs_reached) == ("early", 0.82, 4)
    assert outcome.epochs == 4 * 1 + 2 * 1 + 1 * 2


def test_uniform_allocation_and_rejects_by_hand() -> None:
    outcome = run_recorded(make_scheduler("ua", list(CURVES), epochs=15), CURVES)
    assert (outcome.winner, outcome.metric, outcome.epochs) == ("late", 0.88, 12)
    # n = 10, K = 4: (10 - 4) / (19 / 12) = 3.79, so epochs 1, 2 and 2: the second and the third phase are one.
    outcome = run_recorded(make_scheduler("sj", list(CURVES), epochs=10), CURVES)
    assert outcome.history == (RungEnd(0, 4, ("early", "middle", "late")), RungEnd(1, 3, ("early",)))
    assert (outcome.metric, outcome.epochs_reached, outcome.epochs) == (0.81, 2, 7)


def test_hyperband_by_hand() -> None:
    hyperband = Hyperband(list(CURVES), [[Rung(3, 1), Rung(1, 3)], [Rung(2, 3)]])
    outcome = run_recorded(hyperband, CURVES)
    # The second bracket has "poor", and "early" again, which is at three epochs already.
    assert outcome.history == (RungEnd(0, 3, ("early",)), RungEnd(1, 1, ("early",)), RungEnd(2, 2, ("early",)))
    assert (outcome.metric, outcome.epochs) == (0.82, 3 + 2 + 0 + 3)


def test_a_repeated_candidate_is_judged_by_the_best_it_has_come_to() -> None:
    curves = {"a": [0.5, 0.6, 0.9], "b": [0.7, 0.1, 0.1]}
    hyperband = Hyperband(["a", "b"], [[Rung(1, 3)], [Rung(2, 1), Rung(1, 3)]])
    outcome = run_recorded(hyperband, curves)
    # 0.9 against 0.7, though one epoch is asked for, where it had 0.5: its weights of epoch 3 are there to go on from.
    assert outcome.history[1].survivors == ("a",)
    assert (outcome.winner, outcome.metric, outcome.epochs) == ("a", 0.9, 3 + 1)


def test_a_candidate_is_judged_by_its_best_epoch() -> None:
    curves = {"peak": [0.5, 0.9, 0.6, 0.7], "slope": [0.6, 0.7, 0.8, 0.8]}
    outcome = run_recorded(SuccessiveHalving(list(curves), [Rung(2, 3), Rung(1, 4)]), curves)
    assert outcome.history[0].survivors == ("peak",)  # 0.9 against 0.8, not 0.6 against 0.8
    assert (outcome.winner, outcome.metric, outcome.epochs_reached) == ("peak", 0.9, 4)


def test_patience_ends_a_training() -> None:
    curves = {"peak": [0.5, 0.9, 0.6, 0.7, 0.7, 0.99], "slope": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}
    outcome = run_recorded(SuccessiveHalving(list(curves), [Rung(2, 6)]), curves, patience=3)
    assert (outcome.winner, outcome.metric, outcome.epochs_reached, outcome.epochs) == ("peak", 0.9, 5, 5 + 6)
    assert run_recorded(SuccessiveHalving(list(curves), [Rung(2, 6)]), curves).metric == 0.99


def halving_by_hand(curves: dict[str, list[float]], u: int, eta: int, cap: int) -> tuple[str, int]:
    """Who is left, and epochs, with nothing but lists: train, sort, cut."""
    alive, trained, spent, target = list(curves), dict.fromkeys(curves, 0), 0, u
    while True:
        best = {name: max(curves[name][:target]) for name in alive}
        for name in alive:
            spent += target - trained[name]
            trained[name] = target
        alive = sorted(alive, key=best.__getitem__, reverse=True)
        if len(alive) == 1 or target == cap:
            return alive[0], spent
        alive, target = alive[: max(1, len(alive) // eta)], min(cap, target * eta)


@given(st.integers(1, 40), st.integers(1, 4), st.integers(2, 4), st.integers(4, 12), st.integers(0, 99))
def test_halving_equals_a_simulation(count: int, u: int, eta: int, cap: int, seed: int) -> None:
    draw = random.Random(seed).random
    curves = {f"c{number}": [round(draw(), 1) for _ in range(cap)] for number in range(count)}  # with ties
    outcome = run_recorded(SuccessiveHalving(list(curves), halving_rungs(count, u, eta, cap)), curves)
    left, spent = halving_by_hand(curves, u, eta, cap)
    assert outcome.history[-1].survivors == (left,) and outcome.epochs == spent
    # Of equals the leaderboard may have another one first.
    assert outcome.metric == max(curves[outcome.winner][: outcome.epochs_reached])


@given(
    st.sampled_from(NAMES),
    st.permutations(range(25)),
    st.integers(25, 1500),
    st.integers(2, 4),
    st.integers(1, 30),
)
def test_without_noise_the_best_wins(name: str, quality: list[int], epochs: int, eta: int, cap: int) -> None:
    """Curves rise and never cross, so whoever trains the best one finds it."""
    curves = {f"c{n}": [q + 1 - 0.5**epoch for epoch in range(1, cap + 1)] for n, q in enumerate(quality)}
    scheduler = make_scheduler(name, list(curves), epochs=epochs, eta=eta, max_epochs=cap)
    outcome = run_recorded(scheduler, curves)
    assert outcome.epochs <= epochs
    if name in ("ua", "sj"):  # these two train everyone as soon as everyone can have an epoch
        assert outcome.winner == f"c{quality.index(24)}"
    assert outcome.metric == curves[outcome.winner][outcome.epochs_reached - 1]
    assert outcome.history[-1].survivors == (outcome.winner,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", [0, 7, 26])
def test_a_budget_for_all_finds_the_best_wherever_it_stands(name: str, place: int) -> None:
    curves = {f"c{n}": [0.5 + 0.01 * epoch + 0.1 * (n == place) for epoch in range(27)] for n in range(27)}
    scheduler = make_scheduler(name, list(curves), epochs=1000, max_epochs=27)
    assert run_recorded(scheduler, curves).winner == f"c{place}"


def test_an_epoch_that_was_not_recorded() -> None:
    with pytest.raises(InvalidInput, match=r"epoch 5 of early was not recorded: its curve has 4 epochs") as caught:
        run_recorded(make_scheduler("ua", list(CURVES), epochs=20), CURVES)
    assert caught.value.hint is not None and "max_epochs = 4" in caught.value.hint
    for name in NAMES:
        assert run_recorded(make_scheduler(name, list(CURVES), epochs=99, max_epochs=4), CURVES).epochs_reached == 4


@pytest.mark.parametrize("curves", [{"a": [0.5]}, {"a": [0.5], "b": []}])
def test_a_candidate_without_a_curve(curves: dict[str, list[float]]) -> None:
    with pytest.raises(InvalidInput, match="no learning curve was recorded of b"):
        run_recorded(make_scheduler("ua", ["a", "b"], epochs=2), curves)


def test_failures() -> None:
    curves = {**CURVES, "early": [0.99, math.nan, math.nan, math.nan]}
    halving = SuccessiveHalving(list(curves), [Rung(4, 1), Rung(2, 2), Rung(1, 4)])
    outcome = run_recorded(halving, curves)
    assert outcome.history[1] == RungEnd(1, 1, ("middle",))
    assert (outcome.winner, outcome.metric, outcome.epochs_reached) == ("early", 0.99, 1)  # its best epoch stands
    for name in NAMES:
        with pytest.raises(UnusableData, match="every candidate failed"):
            run_recorded(make_scheduler(name, ["a", "b"], epochs=4), {"a": [math.nan] * 4, "b": [math.nan] * 4})


def test_jobs_out_elsewhere() -> None:
    scheduler = make_scheduler("ua", ["a", "b"], epochs=2)
    scheduler.next_job()
    with pytest.raises(ValueError, match="handed out before"):
        run_recorded(scheduler, {"a": [0.5], "b": [0.6]})
