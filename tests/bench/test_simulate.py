"""Whole selections on a recorded benchmark: the same as real ones, within every budget, and what is refused."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from tests.bench.records import curve_rows, made_up
from trails.bench.building.build import build
from trails.bench.building.rowsets import Rowsets
from trails.bench.protocol import Protocol
from trails.bench.simulate import Selection, simulate
from trails.bench.store import Store
from trails.bench.table import Benchmark
from trails.errors import BudgetTooSmall, InvalidInput, UnusableData
from trails.halving import halving_rungs, total_epochs
from trails.refinement.protocol import Candidate, Events, Refine, Setting
from trails.refinement.run import refine
from trails.refinement.timings import Timings
from trails.training.options import parse_options


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return made_up(tmp_path_factory.mktemp("bench") / "made_up")


def orders(benchmark: Benchmark, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(benchmark.recorded(1).size).astype(float)


def test_scores_belong_to_architectures_whatever_seed_they_were_trained_with(tmp_path: Path) -> None:
    made_up(tmp_path / "bench", 12)
    store = Store(tmp_path / "bench")
    # A shard with the second seed that has not come to the first places yet.
    store.add([row for place in (5, 6, 9) for row in curve_rows(place, 2, 9)], [])
    common = {"tfmem": "synflow", "batch_seed": 1, "seconds": 1.0, "machine": "here"}
    store.add_scores([{**common, "place": place, "score": float(place == 6)} for place in range(12)])
    benchmark = Benchmark(store.folder)
    found = simulate(benchmark, math.inf, tfmem="synflow", scoring="one", k=1, u=1, training_seed=2)
    assert found.winner == benchmark.architectures[6]


@pytest.mark.parametrize("given", [{"workers": 0}, {"workers": -1}, {"patience": 0}])
def test_no_worker_and_no_patience_are_refused(benchmark: Benchmark, given: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        simulate(benchmark, 20.0, scores=orders(benchmark), **given)  # type: ignore[arg-type]


# The same as real training


@pytest.mark.parametrize(("refinement", "k", "u"), [("sh", 6, 1), ("ua", 4, 2)])
def test_a_selection_on_what_was_built_is_the_real_one(
    protocol: Protocol, tmp_path: Path, refinement: str, k: int, u: int
) -> None:
    build(protocol, tmp_path / "small", 8, seeds=(1,), processes=1)
    benchmark = Benchmark(tmp_path / "small")
    space, merits = benchmark.recorded(1), orders(benchmark)
    found = simulate(benchmark, math.inf, scores=merits, k=k, u=u, eta=2, refinement=refinement, patience=2)

    rowsets = Rowsets.read(protocol, torch.device("cpu"))
    given = protocol.trained_with(eta=2, max_epochs=protocol.epochs, patience=2, refit=False)
    options = parse_options(given)
    best = [space.architecture(int(place)) for place in np.argsort(-merits)]
    candidates = tuple(Candidate(space.format(design), design, -float(n)) for n, design in enumerate(best))
    lines: list[bytes] = []
    setting = Setting("label", 1, time.monotonic(), math.inf, math.inf, MappingProxyType({}), None, threads=1)
    request = Refine(candidates, refinement, k, u, options, space=protocol.space)
    refine(setting, request, rowsets.data, [torch.device("cpu")], Events(lines.append), Timings(setting.started))
    events = [json.loads(line) for line in lines]
    rungs = [(e["rung"], e["candidates"], tuple(e["survivors"])) for e in events if e["event"] == "rung"]
    real = events[-1]["leaderboard"][0]
    assert [(r.rung, r.candidates, r.survivors) for r in found.rungs] == rungs
    assert (found.winner, found.epoch) == (real["architecture"], real["best_epoch"])
    assert found.valid_auc == pytest.approx(real["validation_metric"], abs=1e-6)
    assert found.epochs == sum(1 for e in events if e["event"] == "epoch")


# What is spent


def test_a_fixed_plan_takes_what_its_epochs_took(benchmark: Benchmark) -> None:
    merits, space = orders(benchmark), benchmark.recorded(1)
    found = simulate(benchmark, math.inf, scores=merits, k=9, u=1, eta=3, score_seconds=0.5)
    assert [rung.candidates for rung in found.rungs] == [9, 3, 1]
    assert found.epochs == 9 + 3 * 2 + 1 * 6
    assert (found.n, found.k, found.u) == (space.size, 9, 1)
    first = {space.format(space.architecture(int(place))) for place in np.argsort(-merits)[:9]}
    reached = {name: 1 for name in first}
    reached |= {name: 3 for name in found.rungs[0].survivors} | {name: 9 for name in found.rungs[1].survivors}
    spent = sum(benchmark.seconds(name, epoch=epoch, seed=1) for name, epoch in reached.items())
    assert found.filtering_seconds == 0.5 * space.size
    # Measuring the machine takes 0.6 s, as it does for real.
    assert found.seconds == pytest.approx(found.filtering_seconds + 0.6 + spent, abs=1e-4)
    assert found.refinement_seconds == pytest.approx(found.seconds - found.filtering_seconds)


def test_survivors_that_start_over_pay_for_all_their_epochs_again(benchmark: Benchmark) -> None:
    merits = orders(benchmark)
    going_on = simulate(benchmark, math.inf, scores=merits, k=9, u=1)
    again = simulate(benchmark, math.inf, scores=merits, k=9, u=1, survivors="restart")
    assert (again.winner, again.rungs, again.valid_auc) == (going_on.winner, going_on.rungs, going_on.valid_auc)
    assert again.epochs == 9 * 1 + 3 * 3 + 1 * 9 == total_epochs(halving_rungs(9, 1), restart=True)
    paid = sum(benchmark.seconds(name, epoch=1, seed=1) for name in going_on.rungs[0].survivors)
    paid += sum(benchmark.seconds(name, epoch=3, seed=1) for name in going_on.rungs[1].survivors)
    assert again.seconds - going_on.seconds == pytest.approx(paid, abs=1e-4)


@pytest.mark.parametrize(
    ("refinement", "survivors"),
    [("sh", "continue"), ("sj", "continue"), ("ua", "continue"), ("hyperband", "continue"), ("sh", "restart")],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_every_budget_is_kept(benchmark: Benchmark, survivors: str, refinement: str, workers: int) -> None:
    found: list[Selection] = []
    for budget in (3.0, 10.0, 40.0, 200.0, 1e5):
        one = simulate(
            benchmark,
            budget,
            scores=orders(benchmark),
            score_seconds=0.01,
            refinement=refinement,
            survivors=survivors,  # type: ignore[arg-type]
            workers=workers,
        )
        assert one.seconds <= budget
        found.append(one)
        times = [incumbent.seconds for incumbent in one.trajectory.incumbents]
        aucs = [incumbent.valid_auc for incumbent in one.trajectory.incumbents]
        assert times == sorted(times) and aucs == sorted(aucs) and times[-1] <= one.seconds
        last = one.trajectory.best()
        assert (last.architecture, last.epoch, last.valid_auc) == (one.winner, one.epoch, one.valid_auc)
        assert one.test_auc == benchmark.final(one.winner, epoch=one.epoch, seed=1).auc
    assert found[0].epochs < found[-1].epochs
    if refinement != "hyperband":
        assert found[-1].valid_auc == max(benchmark.best(epoch=epoch, seed=1).auc for epoch in range(1, 10))


def test_a_plan_for_survivors_that_start_over_uses_its_budget_and_no_more(benchmark: Benchmark) -> None:
    for budget in (20.0, 60.0, 150.0):
        one = simulate(benchmark, budget, scores=orders(benchmark), survivors="restart")
        rungs = halving_rungs(one.k, one.u, 3, 9)
        # It is planned with the mean epoch: survivors that take longer may be cut short at the very end.
        assert one.epochs == total_epochs(rungs, restart=True) or one.seconds > 0.9 * budget
        assert 0.8 * budget < one.seconds <= budget


def test_twenty_five_hours_of_a_thousand_take_seconds(tmp_path: Path) -> None:
    large = made_up(tmp_path / "large", 1000, 14, space="mlp3x10")
    simulate(large, 100.0, scores=orders(large))  # curves are converted once
    began = time.monotonic()
    found = simulate(large, 25 * 3600.0, scores=orders(large))
    assert time.monotonic() - began < 20.0  # two, on a machine that does nothing else
    assert found.epochs > 5000


# What is scored


def test_the_best_of_a_table_is_found_with_a_perfect_score_of_a_few(benchmark: Benchmark) -> None:
    perfect = benchmark.column("valid_auc", epoch=9, seed=1)
    best = benchmark.best(epoch=9, seed=1)
    for sampler in ("random", "evolution", "reinforcement"):
        found = simulate(benchmark, math.inf, scores=perfect, sampler=sampler, n=40, k=1, u=9, seed=3)
        assert found.winner == best.architecture and found.n == 40
        fewer = [
            simulate(benchmark, math.inf, scores=perfect, sampler=sampler, n=8, k=1, u=9, seed=seed).winner
            for seed in range(6)
        ]
        assert len(set(fewer)) > 1, "which are scored depends on the seed"


def test_a_pool_is_drawn_by_the_seed_and_kept_to(benchmark: Benchmark) -> None:
    merits = benchmark.column("valid_auc", epoch=9, seed=1)
    names = benchmark.architectures
    for seed in range(5):
        chosen = np.sort(np.random.default_rng(seed).choice(40, 10, replace=False))
        found = simulate(benchmark, math.inf, scores=merits, k=1, u=9, pool=10, seed=seed)
        assert found.winner == names[chosen[np.argmax(merits[chosen])]]
        assert found.n == 10


def test_architectures_whose_score_failed_come_last(benchmark: Benchmark) -> None:
    merits = np.full(40, np.nan)
    merits[7] = 1.0
    found = simulate(benchmark, math.inf, scores=merits, k=1, u=1)
    assert found.winner == benchmark.architectures[7]


def test_candidates_that_fail_in_training_are_passed_over(tmp_path: Path) -> None:
    failing = made_up(tmp_path / "failing", 10, 4, failing=frozenset(range(9)))
    found = simulate(failing, math.inf, scores=-np.arange(10.0), k=10, u=4)
    assert found.winner == failing.best(epoch=4, seed=1).architecture or found.epoch == 1
    assert math.isfinite(found.valid_auc)


# What is refused


def test_what_cannot_be_simulated_is_refused(benchmark: Benchmark) -> None:
    merits = orders(benchmark)
    with pytest.raises(BudgetTooSmall):
        simulate(benchmark, 0.5, scores=merits)
    with pytest.raises(BudgetTooSmall):
        simulate(benchmark, 50.0, scores=merits, score_seconds=2.0, n=40)
    for budget in ("9", math.nan):
        with pytest.raises(InvalidInput, match="a budget is a number of seconds"):
            simulate(benchmark, budget, scores=merits)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="without a budget k must be given"):
        simulate(benchmark, math.inf, scores=merits)
    with pytest.raises(InvalidInput, match="max_epochs is 1 to 9"):
        simulate(benchmark, 10.0, scores=merits, max_epochs=10)
    with pytest.raises(InvalidInput, match="n = 41 is not possible"):
        simulate(benchmark, 10.0, scores=merits, n=41)
    with pytest.raises(InvalidInput, match="a pool of 41"):
        simulate(benchmark, 10.0, scores=merits, pool=41)
    with pytest.raises(InvalidInput, match=r"scores are not of shape \(3,\)"):
        simulate(benchmark, 10.0, scores=np.zeros(3))
    with pytest.raises(InvalidInput, match="no way of survivors 'leave'"):
        simulate(benchmark, 10.0, scores=merits, survivors="leave")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no scheduler"):
        simulate(benchmark, 10.0, scores=merits, refinement="asha")
    with pytest.raises(InvalidInput, match="no architecture"):
        simulate(benchmark, 10.0, scores=merits, training_seed=2)
    with pytest.raises(InvalidInput, match="no training-free metric"):
        simulate(benchmark, 10.0, tfmem="tea_leaves")


def test_a_table_where_all_fail_is_told(tmp_path: Path) -> None:
    rows = [0, 1, 2]
    failing = made_up(tmp_path / "failing", 3, 4, failing=frozenset(rows))
    # Their first epochs stand: it is the second that fails.
    assert simulate(failing, math.inf, scores=np.zeros(3), k=3, u=2).epoch == 1
    with pytest.raises((UnusableData, InvalidInput)):
        simulate(failing, math.inf, scores=np.zeros(3), k=4, u=2)


def test_seconds_that_nobody_measured_are_told(tmp_path: Path) -> None:
    stacked = made_up(tmp_path / "stacked", 6, 3, stacked=2)
    with pytest.raises(UnusableData, match="it is not known how long the epochs of"):
        simulate(stacked, 20.0, scores=np.zeros(6))
