"""Every scheduler, step by step: examples from the papers, and what holds for all of them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trails.coordinator import Rung, halving_rungs, total_epochs
from trails.errors import InvalidInput
from trails.refinement.schedulers import (
    Hyperband,
    Job,
    Limits,
    RungEnd,
    RungScheduler,
    Saved,
    Scheduler,
    SuccessiveHalving,
    SuccessiveRejects,
    UniformAllocation,
    make_scheduler,
    planned_scheduler,
    resume_scheduler,
)
from trails.refinement.schedulers.halving import plan_halving
from trails.refinement.schedulers.hyperband import hyperband_round, plan_hyperband
from trails.refinement.schedulers.rejects import phase_epochs, plan_rejects
from trails.refinement.schedulers.uniform import plan_uniform

QUALITY = {name: value for value, name in enumerate("ihgfedcba")}  # "a" is the best

NAMES = ("sh", "sj", "ua", "hyperband")
names = st.sampled_from(NAMES)
counts = st.integers(1, 60)
budgets = st.integers(1, 3000)
etas = st.integers(2, 5)
caps = st.integers(1, 90)


def run_rung(scheduler: Scheduler) -> tuple[list[Job], RungEnd]:
    jobs = []
    while (job := scheduler.next_job()) is not None:
        jobs.append(job)
        scheduler.report(job.architecture, QUALITY[job.architecture])
    end = scheduler.end_rung()
    assert end is not None
    return jobs, end


@dataclass
class Run:
    """A runner that counts: survivors go on from where they are, failures cost what was asked for."""

    epochs: dict[str, int] = field(default_factory=dict)
    spent: int = 0
    jobs: list[Job] = field(default_factory=list)
    ends: list[RungEnd] = field(default_factory=list)

    def finish(self, scheduler: Scheduler, quality: Mapping[str, float | None], seed: int = 0) -> Run:
        """Run a scheduler to its end, handing out all of a rung and reporting it in a random order."""
        order = random.Random(seed)
        while not scheduler.done:
            rung = []
            while (job := scheduler.next_job()) is not None:
                rung.append(job)
                self.spent += max(0, job.epochs_to - self.epochs.get(job.architecture, 0))
                self.epochs[job.architecture] = max(job.epochs_to, self.epochs.get(job.architecture, 0))
            self.jobs += rung
            order.shuffle(rung)
            for job in rung:
                assert scheduler.end_rung() is None and scheduler.winner is None
                scheduler.report(job.architecture, quality[job.architecture])
            end = scheduler.end_rung()
            assert end is not None
            self.ends.append(end)
        assert scheduler.next_job() is None and scheduler.end_rung() is None
        return self


def letters(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


# A list of rungs


def test_nine_candidates_by_hand() -> None:
    halving = SuccessiveHalving(list("gbicahdef"), halving_rungs(9, 1, 3, 30))
    jobs, end = run_rung(halving)
    assert [job.architecture for job in jobs] == list("gbicahdef")
    assert {(job.rung, job.epochs_to) for job in jobs} == {(0, 1)}
    assert end == RungEnd(0, 9, ("a", "b", "c"))
    jobs, end = run_rung(halving)
    assert jobs == [Job("a", 1, 3), Job("b", 1, 3), Job("c", 1, 3)]
    assert end == RungEnd(1, 3, ("a",))
    jobs, end = run_rung(halving)
    assert jobs == [Job("a", 2, 9)] and end == RungEnd(2, 1, ("a",))
    assert halving.done and halving.next_job() is None and halving.end_rung() is None


def test_results_may_come_in_any_order_and_the_rung_waits_for_all() -> None:
    halving = SuccessiveHalving(["x", "y", "z"], [Rung(3, 1), Rung(1, 3)])
    for _ in range(3):
        assert halving.next_job() is not None
    assert halving.next_job() is None
    halving.report("z", 0.7)
    halving.report("x", 0.7)
    assert halving.end_rung() is None
    halving.report("y", 0.6)
    end = halving.end_rung()
    assert end is not None and end.survivors == ("x",)  # equal results: the better-scored one


def test_failed_candidates_are_out() -> None:
    halving = SuccessiveHalving(["x", "y"], [Rung(2, 1), Rung(1, 3)])
    for metric in (None, 0.2):
        job = halving.next_job()
        assert job is not None
        halving.report(job.architecture, metric)
    assert halving.end_rung() == RungEnd(0, 1, ("y",))
    job = halving.next_job()
    assert job == Job("y", 1, 3)
    halving.report("y", None)
    assert halving.end_rung() == RungEnd(1, 0, ()) and halving.done


def test_giving_up_takes_the_worst_scored_that_wait() -> None:
    halving = SuccessiveHalving(list("abcd"), [Rung(4, 1), Rung(1, 3)])
    job = halving.next_job()
    assert job is not None
    halving.report(job.architecture, 0.5)
    halving.give_up(2)
    assert halving.waiting == ("b",)
    halving.give_up(9)
    assert halving.end_rung() == RungEnd(0, 1, ("a",))


def test_rungs_can_be_replaced_between_rungs_only() -> None:
    halving = SuccessiveHalving(list("abc"), [Rung(3, 1), Rung(3, 3), Rung(1, 9)])
    run_rung(halving)
    halving.replace_rungs([Rung(2, 2)])
    assert halving.waiting == ("a", "b") and halving.rungs_left == (Rung(2, 2),)
    halving.next_job()
    with pytest.raises(ValueError, match="begun"):
        halving.replace_rungs([])


def test_a_plan_is_revised_where_a_scheduler_allows_it() -> None:
    def revised(scheduler: Scheduler, seconds_left: float) -> bool:
        return scheduler.revise(epochs_done=1, epoch_seconds=1.0, seconds_left=seconds_left, eta=3)

    halving = SuccessiveHalving(list("abcdefghi"), halving_rungs(9, 1, 3, 30))
    run_rung(halving)
    assert halving.shortenable == (Rung(3, 3), Rung(1, 9)) and halving.epochs_left(1) == 3 * 2 + 6
    assert not revised(halving, 12.0) and revised(halving, 8.0)
    assert halving.shortenable == (Rung(1, 3), Rung(1, 9)) and halving.waiting == ("a",)
    assert revised(halving, 0.5) and halving.done and halving.brackets_left == ()
    for name in ("sj", "ua", "hyperband"):
        scheduler = make_scheduler(name, list("abcdefghi"), epochs=40, max_epochs=9)
        before = scheduler.brackets_left
        assert scheduler.epochs_left(0) <= 40 and not revised(scheduler, 0.5) and scheduler.brackets_left == before
        assert bool(scheduler.shortenable) == (name != "hyperband")


def test_hyperband_goes_on_without_those_that_are_given_up() -> None:
    hyperband = Hyperband(list("abcd"), [[Rung(3, 1), Rung(1, 3)], [Rung(1, 3)]])
    assert hyperband.next_job() == Job("a", 0, 1) and hyperband.reported == 0
    hyperband.report("a", 0.5)
    hyperband.give_up(1)
    assert hyperband.reported == 1 and hyperband.waiting == ("b",)
    run = Run().finish(hyperband, {"a": 0.5, "b": 0.4, "d": 0.7})
    assert run.ends[0] == RungEnd(0, 2, ("a",)) and hyperband.winner == "d"


def test_what_was_planned_is_spent_by_every_scheduler_in_its_own_way() -> None:
    rungs = halving_rungs(9, 1, 3, 9)
    assert total_epochs(rungs) == 21
    for name in NAMES:
        planned = planned_scheduler(name, letters(9), rungs, max_epochs=9)
        assert 9 <= planned.epochs_left(0) <= 21
        more = planned_scheduler(name, letters(9), rungs, affordable=60, max_epochs=9)
        assert planned.epochs_left(0) <= more.epochs_left(0) <= (21 if name == "sh" else 60)
    assert planned_scheduler("sh", letters(9), rungs).brackets_left == (tuple(rungs),)
    everyone = planned_scheduler("ua", letters(9), halving_rungs(9, 2, 3, 9), affordable=200, max_epochs=9, u=2)
    assert everyone.brackets_left == ((Rung(9, 2),),)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        SuccessiveHalving(["a", "a"], [Rung(2, 1)])
    with pytest.raises(ValueError, match="at least one"):
        SuccessiveHalving([], [Rung(2, 1)])
    with pytest.raises(ValueError, match="not being trained"):
        SuccessiveHalving(["a"], [Rung(1, 1)]).report("a", 0.5)
    with pytest.raises(ValueError, match="differ"):
        Hyperband(["a", "a"], [[Rung(1, 1)]])
    for candidates, brackets in (([], [[Rung(1, 1)]]), (["a"], []), (["a"], [[Rung(1, 1)], []])):
        with pytest.raises(ValueError, match="at least one"):
            Hyperband(candidates, brackets)
    finished = Hyperband(["a"], [[Rung(1, 1)]])
    Run().finish(finished, {"a": 0.5})
    with pytest.raises(ValueError, match="not being trained"):
        finished.report("a", 0.5)


def test_a_metric_that_is_not_a_number_is_a_failure() -> None:
    halving = SuccessiveHalving(list("abc"), [Rung(3, 1), Rung(2, 2)])
    run = Run().finish(halving, {"a": math.nan, "b": 0.1, "c": math.inf})
    assert run.ends == [RungEnd(0, 1, ("b",)), RungEnd(1, 1, ("b",))] and halving.winner == "b"


def test_equal_results_keep_the_order_of_the_rung() -> None:
    halving = SuccessiveHalving(list("abcd"), [Rung(4, 1), Rung(3, 2), Rung(1, 4)])
    metrics = {1: {"a": 0.5, "b": 0.7, "c": 0.5, "d": 0.6}, 2: {"b": 0.8, "d": 0.8, "a": 0.8}, 4: {"b": 0.9}}
    ends = []
    while not halving.done:
        jobs = []
        while (job := halving.next_job()) is not None:
            jobs.append(job)
        for job in reversed(jobs):
            halving.report(job.architecture, metrics[job.epochs_to][job.architecture])
        ends.append(halving.end_rung())
    assert ends == [RungEnd(0, 4, ("b", "d", "a")), RungEnd(1, 3, ("b",)), RungEnd(2, 1, ("b",))]


@pytest.mark.parametrize("name", NAMES)
def test_of_equal_metrics_the_smaller_loss_goes_on(name: str) -> None:
    """As where every candidate has an F1 of 0."""
    losses = {candidate: float(9 - place) for place, candidate in enumerate("abcdefghi")} | {"e": math.nan, "f": 0.5}
    scheduler = make_scheduler(name, list("abcdefghi"), epochs=200, max_epochs=9)
    while not scheduler.done:
        jobs = []
        while (job := scheduler.next_job()) is not None:
            jobs.append(job)
        for job in jobs:
            scheduler.report(job.architecture, 0.0, losses[job.architecture])
        assert "f" in scheduler.needed or not any(job.architecture == "f" for job in jobs)
        end = scheduler.end_rung()
        assert end is not None and "e" not in end.survivors[:1]
        written = scheduler.saved()
        if not scheduler.done:
            read = Saved(written.rungs, json.loads(json.dumps(written.state)))
            scheduler = resume_scheduler(name, list(scheduler.survivors), read, end.rung + 1) or scheduler
    assert scheduler.winner == "f"


# Successive halving within a budget


def test_halving_of_sixteen_by_two() -> None:
    rungs = [Rung(16, 1), Rung(8, 2), Rung(4, 4), Rung(2, 8), Rung(1, 16)]
    assert plan_halving(16, Limits(epochs=48, eta=2)) == rungs
    assert plan_halving(16, Limits(epochs=95, eta=2, max_epochs=100)) == rungs
    doubled = [Rung(rung.candidates, 2 * rung.epochs_to) for rung in rungs]
    assert plan_halving(16, Limits(epochs=96, eta=2, max_epochs=100)) == doubled
    # One epoch less does not hold sixteen; fifteen cost 15 x 1 + 7 x 1 + 3 x 2 + 1 x 4.
    assert plan_halving(16, Limits(epochs=47, eta=2)) == halving_rungs(15, 1, 2)


@given(counts, budgets, etas, caps)
def test_halving_plans_the_most_that_fits(count: int, epochs: int, eta: int, max_epochs: int) -> None:
    rungs = plan_halving(count, Limits(epochs, max_epochs, eta))
    k, u = rungs[0].candidates, rungs[0].epochs_to
    assert total_epochs(rungs) <= epochs
    assert k == count or total_epochs(halving_rungs(k + 1, 1, eta, max_epochs)) > epochs
    assert u == max_epochs or total_epochs(halving_rungs(k, u + 1, eta, max_epochs)) > epochs


def test_a_fixed_first_rung() -> None:
    assert plan_halving(9, Limits(epochs=63, u=3)) == halving_rungs(9, 3)
    assert plan_halving(9, Limits(epochs=600, u=3)) == halving_rungs(9, 3)
    assert plan_halving(9, Limits(epochs=62, u=3)) == halving_rungs(8, 3)
    assert plan_uniform(9, Limits(epochs=20, u=3)) == [Rung(6, 3)]


# Successive rejects


def test_rejects_of_four_by_hand() -> None:
    # logbar(4) = 1/2 + 1/2 + 1/3 + 1/4 = 19/12, (20 - 4) / logbar = 10.105: a fourth, a third, a half of it.
    assert phase_epochs(4, 20) == [3, 4, 6]
    assert plan_rejects(4, Limits(epochs=20)) == [Rung(4, 3), Rung(3, 4), Rung(2, 6)]
    rejects = make_scheduler("sj", list("dbca"), epochs=20)
    run = Run().finish(rejects, QUALITY)
    assert [end.survivors for end in run.ends] == [("a", "b", "c"), ("a", "b"), ("a",)]
    assert run.spent == 3 + 4 + 6 + 6 and rejects.winner == "a"


def test_rejects_of_three_where_the_formula_gives_whole_numbers() -> None:
    # logbar(3) = 4/3, (11 - 3) / logbar = 6: two and three, neither rounded up.
    assert phase_epochs(3, 11) == [2, 3]
    assert plan_rejects(3, Limits(epochs=11)) == [Rung(3, 2), Rung(2, 3)]


def exact_phase_epochs(candidates: int, epochs: int) -> list[int]:
    logbar = Fraction(1, 2) + sum(Fraction(1, i) for i in range(2, candidates + 1))
    return [math.ceil((epochs - candidates) / (logbar * (candidates + 1 - k))) for k in range(1, candidates)]


@given(st.integers(2, 40), st.integers(1, 3000))
@example(5, 107)  # 107 / logbar(5) / 5 is 12 exactly, and a little more in floating point
def test_phases_are_the_papers(candidates: int, more: int) -> None:
    made = phase_epochs(candidates, candidates + more)
    assert made == exact_phase_epochs(candidates, candidates + more)
    assert sum(made) + made[-1] <= candidates + more


@given(st.integers(2, 12), st.integers(0, 100), st.data())
def test_phases_without_an_epoch_change_nothing(count: int, more: int, data: st.DataObject) -> None:
    """The rungs' outcome against dismissing one candidate a phase, for all K - 1 phases."""
    epochs = count + more
    phases = [max(1, n) for n in exact_phase_epochs(count, epochs)]
    value = st.floats(0.0, 1.0) | st.sampled_from([0.25, 0.5])
    curves = {c: data.draw(st.lists(value, min_size=phases[-1], max_size=phases[-1])) for c in letters(count)}
    left = letters(count)
    for reached in phases:
        left.sort(key=lambda c: -curves[c][reached - 1])
        left.pop()
    rejects = make_scheduler("sj", letters(count), epochs=epochs, max_epochs=epochs)
    while not rejects.done:
        while (job := rejects.next_job()) is not None:
            rejects.report(job.architecture, curves[job.architecture][job.epochs_to - 1])
        assert rejects.end_rung() is not None
    assert left == [rejects.winner]


def test_epochs_saved_by_the_cap_lengthen_the_phases_before_it() -> None:
    uncapped = plan_rejects(10, Limits(epochs=100, max_epochs=100))
    capped = plan_rejects(10, Limits(epochs=100, max_epochs=14))
    assert uncapped[-1] == Rung(2, 19) and capped[-1].epochs_to == 14
    assert capped[0].epochs_to > uncapped[0].epochs_to and total_epochs(capped) <= 100
    assert plan_rejects(10, Limits(epochs=10_000, max_epochs=14)) == [Rung(10, 14)]


def test_rejects_with_next_to_nothing() -> None:
    assert plan_rejects(5, Limits(epochs=1)) == [Rung(1, 1)]
    assert plan_rejects(5, Limits(epochs=3)) == [Rung(3, 1)]
    assert plan_rejects(5, Limits(epochs=6)) == [Rung(5, 1)]
    assert plan_rejects(1, Limits(epochs=50)) == [Rung(1, 30)]


# Uniform allocation


@given(counts, budgets, caps)
def test_uniform_allocation_trains_all_alike(count: int, epochs: int, max_epochs: int) -> None:
    (rung,) = plan_uniform(count, Limits(epochs, max_epochs))
    assert rung.candidates == min(count, epochs) and rung.epochs_to <= max_epochs
    assert total_epochs([rung]) <= epochs
    assert rung.epochs_to == max_epochs or rung.candidates * (rung.epochs_to + 1) > epochs


# Hyperband

TABLE = [  # Li et al. 2018, table 1
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(8, 27), (2, 81)],
    [(5, 81)],
]
TABLE_RUNGS = [[Rung(*rung) for rung in bracket] for bracket in TABLE]
TABLE_EPOCHS = sum(total_epochs(bracket) for bracket in TABLE_RUNGS)


def test_the_papers_table() -> None:
    assert hyperband_round(81, 3, 1000) == TABLE_RUNGS
    limits = Limits(epochs=TABLE_EPOCHS, max_epochs=81)
    assert plan_hyperband(1000, limits) == TABLE_RUNGS
    assert plan_hyperband(143, Limits(epochs=10 * TABLE_EPOCHS, max_epochs=81)) == TABLE_RUNGS
    less = plan_hyperband(1000, Limits(epochs=TABLE_EPOCHS - 1, max_epochs=81))
    assert max(rung.epochs_to for bracket in less for rung in bracket) == 80


def test_hyperband_repeats_no_candidate_while_there_are_enough() -> None:
    hyperband = Hyperband(letters(143), TABLE_RUNGS)
    run = Run().finish(hyperband, {name: float(number) for number, name in enumerate(letters(143))})
    first = [job for job in run.jobs if job.rung in (0, 5, 9, 12, 14)]
    assert [job.architecture for job in first] == letters(143)
    assert run.spent == TABLE_EPOCHS
    shape = [(end.candidates, next(j.epochs_to for j in run.jobs if j.rung == end.rung)) for end in run.ends]
    assert shape == [rung for bracket in TABLE for rung in bracket]
    assert [end.rung for end in run.ends] == list(range(15))
    assert hyperband.winner == "c142" and run.ends[-1].survivors == ("c142",)
    assert run.ends[4].survivors == ("c80",)  # a bracket's own winner


def test_the_winner_may_come_from_an_early_bracket() -> None:
    hyperband = Hyperband(list("abcdef"), [[Rung(3, 1), Rung(1, 3)], [Rung(2, 3)]])
    run = Run().finish(hyperband, {**QUALITY, "c": 99.0})
    assert run.ends == [RungEnd(0, 3, ("c",)), RungEnd(1, 1, ("c",)), RungEnd(2, 2, ("c",))]
    assert hyperband.winner == "c"


def test_hyperband_takes_the_best_scored_again_when_candidates_run_out() -> None:
    hyperband = Hyperband(list("abcd"), [[Rung(3, 1), Rung(1, 3)], [Rung(3, 3)]])
    run = Run().finish(hyperband, {"a": 0.9, "b": 0.5, "c": 0.5, "d": 0.9})
    assert [job.architecture for job in run.jobs] == [*"abc", "a", *"abd"]
    assert run.spent == 3 + 2 + 0 + 2 + 3  # "a" is at three epochs already, "b" goes on from one
    assert hyperband.winner == "a"  # equal to "d", and given before it


def test_hyperband_does_not_take_failed_candidates_again() -> None:
    brackets = [[Rung(3, 1), Rung(1, 3)], [Rung(2, 3)], [Rung(2, 3)]]
    hyperband = Hyperband(list("abc"), brackets)
    run = Run().finish(hyperband, {"a": None, "b": 0.5, "c": 0.4})
    assert [job.architecture for job in run.jobs] == [*"abc", "b", *"bc", *"bc"]
    assert hyperband.winner == "b"
    hyperband = Hyperband(list("abcd"), brackets)
    run = Run().finish(hyperband, dict.fromkeys("abcd"))
    assert [job.architecture for job in run.jobs] == list("abcd") and hyperband.winner is None


def test_further_rounds_take_fresh_candidates() -> None:
    one = hyperband_round(9, 3, 1000)
    cost = sum(total_epochs(bracket) for bracket in one)
    assert plan_hyperband(1000, Limits(epochs=2 * cost, max_epochs=9)) == one + one
    assert plan_hyperband(1000, Limits(epochs=2 * cost - 1, max_epochs=9)) == one + one[:2]
    assert plan_hyperband(17 + 9, Limits(epochs=9 * cost, max_epochs=9)) == one + one[:1]


@given(counts, budgets, etas, caps)
def test_hyperband_goes_as_deep_as_fits(count: int, epochs: int, eta: int, max_epochs: int) -> None:
    brackets = plan_hyperband(count, Limits(epochs, max_epochs, eta))
    reached = {bracket[-1].epochs_to for bracket in brackets}
    assert len(reached) == 1  # winners of brackets are compared at the same epoch
    (r,) = reached
    deeper = hyperband_round(r + 1, eta, count)
    assert r == max_epochs or sum(total_epochs(bracket) for bracket in deeper) > epochs
    assert sum(total_epochs(bracket) for bracket in brackets) <= epochs


# All of them


@given(names, counts, budgets, etas, caps, st.integers(0, 9), st.data())
@example("sj", 60, 61, 2, 1, 0, None)
def test_never_over_budget_or_beyond_the_cap_whatever_fails(
    name: str, count: int, epochs: int, eta: int, max_epochs: int, seed: int, data: st.DataObject | None
) -> None:
    candidates = letters(count)
    failing = data.draw(st.sets(st.sampled_from(candidates))) if data is not None else set()
    random_metric = random.Random(seed)
    quality = {c: None if c in failing else random_metric.choice([0.5, random_metric.random()]) for c in candidates}
    scheduler = make_scheduler(name, candidates, epochs=epochs, eta=eta, max_epochs=max_epochs)
    run = Run().finish(scheduler, quality, seed)
    assert run.spent <= epochs
    assert max(run.epochs.values()) <= max_epochs
    # No failed candidate is asked for again, and the best of all that were trained wins; of equals the first.
    assert all(sum(job.architecture == c for job in run.jobs) <= 1 for c in failing)
    trained = [c for c in candidates if c in run.epochs and c not in failing]
    best = max(trained, key=lambda c: quality[c] or 0.0, default=None)
    assert scheduler.winner == best
    # The front of the list is served first.
    assert set(run.epochs) == set(candidates[: len(run.epochs)])


@given(names, counts, budgets, etas, caps)
def test_the_order_of_reports_does_not_matter(name: str, count: int, epochs: int, eta: int, max_epochs: int) -> None:
    quality = {c: float(number % 4) for number, c in enumerate(letters(count))}
    runs = []
    for seed in (1, 2):
        scheduler = make_scheduler(name, letters(count), epochs=epochs, eta=eta, max_epochs=max_epochs)
        runs.append(Run().finish(scheduler, quality, seed))
    assert runs[0].ends == runs[1].ends


@given(names, counts, budgets, etas, caps, st.sets(st.integers(0, 59)), st.integers(0, 9))
def test_nobody_is_trained_further_who_was_not_needed_before(
    name: str, count: int, epochs: int, eta: int, max_epochs: int, failing: set[int], seed: int
) -> None:
    """Weights of the others are freed as soon as that is known, also within a rung; those of the winner are there."""
    quality = {c: None if n in failing else float(n * 7919 % 13) for n, c in enumerate(letters(count))}
    candidates = letters(count)
    scheduler: Scheduler = make_scheduler(name, candidates, epochs=epochs, eta=eta, max_epochs=max_epochs)
    order, kept, best = random.Random(seed), set[str](), dict[str, float]()

    def free() -> None:
        for candidate in kept - scheduler.needed:
            kept.remove(candidate)
            scheduler.dismiss(candidate)

    while not scheduler.done:
        rung = []
        while (job := scheduler.next_job()) is not None:
            assert job.architecture in kept or job.architecture not in best, "it has been freed"
            rung.append(job)
        order.shuffle(rung)
        for job in rung:
            metric = quality[job.architecture]
            scheduler.report(job.architecture, metric)
            best[job.architecture] = -math.inf if metric is None else metric
            if metric is not None:
                kept.add(job.architecture)
            free()
        end = scheduler.end_rung()
        assert end is not None
        free()
        if scheduler.done:
            assert scheduler.saved() == Saved() and set(scheduler.survivors) == {scheduler.winner} - {None}
            break
        # What is written down between two rungs goes on in the same way.
        assert set(scheduler.survivors) <= kept | set(candidates) - set(best)
        written = scheduler.saved()
        read = Saved(written.rungs, json.loads(json.dumps(written.state)))
        resumed = resume_scheduler(name, [c for c in scheduler.survivors if c in kept], read, end.rung + 1)
        assert type(resumed) is type(scheduler) and resumed.entrants == scheduler.entrants
        assert resumed.brackets_left == scheduler.brackets_left and resumed.fresh == scheduler.fresh
        scheduler = resumed
    if scheduler.winner is not None:
        assert scheduler.winner in kept and best[scheduler.winner] == max(best.values())


def test_hyperband_needs_few_of_its_candidates_at_a_time() -> None:
    hyperband = Hyperband(letters(143), TABLE_RUNGS)
    needed, trained = [], set[str]()
    while not hyperband.done:
        while (job := hyperband.next_job()) is not None:
            trained.add(job.architecture)
            hyperband.report(job.architecture, float(job.architecture[1:]))
            needed.append(len(trained & hyperband.needed))
        hyperband.end_rung()
    # All 81 of the first bracket's first rung wait; of those that are in, 27 go on. Nothing is kept of later ones but
    # the winner so far.
    assert max(needed) <= 28 and len(trained) == 143


def test_nothing_is_written_down_in_the_middle_of_a_rung() -> None:
    hyperband = Hyperband(list("abc"), [[Rung(3, 1), Rung(1, 3)], [Rung(2, 3)]])
    hyperband.next_job()
    with pytest.raises(ValueError, match="under way"):
        hyperband.state()
    halving = SuccessiveHalving(list("ab"), [Rung(2, 1), Rung(1, 3)])
    halving.next_job()
    with pytest.raises(ValueError, match="under way"):
        halving.saved()
    assert resume_scheduler("sh", ["a"], Saved(), 1) is None


def test_a_state_that_was_made_up_is_refused() -> None:
    state = Hyperband(list("abc"), [[Rung(3, 1), Rung(1, 3)], [Rung(2, 3)]]).state()
    assert Hyperband.from_state(state).state() == state
    for changes in ({"brackets": []}, {"brackets": [[[1]]]}, {"entrants": []}, {"entrants": "aa"}, {"results": 3}):
        with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
            Hyperband.from_state({**state, **changes})


@pytest.mark.parametrize("name", NAMES)
def test_survivors_go_on(name: str) -> None:
    run = Run().finish(make_scheduler(name, list("fihgedcba"), epochs=200), QUALITY)
    for before, after in zip(run.ends, run.ends[1:], strict=False):
        jobs = [job for job in run.jobs if job.rung == after.rung]
        if set(before.survivors) == {job.architecture for job in jobs}:
            (epochs_before,) = {job.epochs_to for job in run.jobs if job.rung == before.rung}
            assert all(job.epochs_to > epochs_before for job in jobs)
    repeated = len(run.jobs) - len(run.epochs)
    assert (repeated > 0) == (name != "ua")
    assert run.spent < sum(job.epochs_to for job in run.jobs) or name == "ua"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sh", SuccessiveHalving), ("sj", SuccessiveRejects), ("ua", UniformAllocation), ("hyperband", Hyperband)],
)
def test_schedulers_by_name(name: str, kind: type) -> None:
    scheduler = make_scheduler(name, list("abc"), epochs=10)
    assert type(scheduler) is kind
    assert isinstance(scheduler, RungScheduler) == (name != "hyperband")


@pytest.mark.parametrize(
    ("name", "candidates", "arguments", "message"),
    [
        ("bohb", "ab", {"epochs": 9}, "no scheduler 'bohb'"),
        ("sh", "", {"epochs": 9}, "no candidates"),
        ("sh", "aba", {"epochs": 9}, "candidate a is given more than once"),
        ("sh", "ab", {"epochs": 0}, "epochs is at least 1, not 0"),
        ("ua", "ab", {"epochs": -3}, "epochs is at least 1, not -3"),
        ("hyperband", "ab", {"epochs": 9, "eta": 1}, "eta is at least 2, not 1"),
        ("sj", "ab", {"epochs": 9, "eta": 0}, "eta is at least 2, not 0"),
        ("sh", "ab", {"epochs": 9, "u": 0}, "u is at least 1, not 0"),
        ("sj", "ab", {"epochs": 9, "max_epochs": 0}, "max_epochs is at least 1, not 0"),
        ("ua", "ab", {"epochs": 9, "u": 10}, "u = 10 is not possible with epochs = 9"),
        ("sh", "ab", {"epochs": 9, "u": 5, "max_epochs": 4}, "u = 5 is not possible with max_epochs = 4"),
        ("sj", "ab", {"epochs": 9, "u": 2}, "u = 2 is not possible: sj"),
    ],
)
def test_what_is_refused(name: str, candidates: Sequence[str], arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_scheduler(name, list(candidates), **arguments)
    assert message in str(caught.value)
    if name not in NAMES:
        assert caught.value.hint is not None and all(known in caught.value.hint for known in NAMES)
