"""Trainings in stacks: the same curves as alone, seconds kept apart, and estimated from what was timed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bench.records import curve_rows, made_up
from trails.bench.building.build import build
from trails.bench.building.rowsets import Rowsets
from trails.bench.building.timing import time_alone
from trails.bench.building.train import stacks_of, train, train_stack
from trails.bench.estimate import Sized, fit
from trails.bench.plan import Shard, Training, trainings
from trails.bench.protocol import Protocol
from trails.bench.simulate import simulate
from trails.bench.store import Store
from trails.bench.table import Benchmark
from trails.bench.trainer import RecordedTrainer
from trails.errors import InvalidInput, UnusableData


@pytest.fixture
def rowsets(protocol: Protocol) -> Rowsets:
    return Rowsets.read(protocol, torch.device("cpu"))


def test_a_stack_learns_what_each_learns_alone(protocol: Protocol, rowsets: Rowsets) -> None:
    # A gentle rate: rounding is not spread within a few epochs, as it is by Adam's first large steps.
    gentle = replace(protocol, options={**protocol.options, "learning_rate": 1e-4, "embedding_rate": 1e-4})
    rowsets = Rowsets.read(gentle, torch.device("cpu"))
    some = list(trainings(100, 5, (1,), Shard()))
    together = train_stack(rowsets, gentle, some, "here")
    for training, stacked in zip(some, together, strict=True):
        alone = train(rowsets, gentle, training, "here")
        for column in ("train_loss", "valid_loss", "test_loss", "train_auc", "valid_auc", "test_auc"):
            found, expected = ([row[column] for row in one.curve] for one in (stacked, alone))
            assert np.allclose(found, expected, atol=2e-4), column
        assert np.allclose(stacked.predictions[0]["test"], alone.predictions[0]["test"], atol=2e-3)
        assert [row["epoch"] for row in stacked.curve] == [1, 2, 3]
        assert all(row["stacked"] == 5 and row["stack_seconds"] > 0.0 for row in stacked.curve)
        assert all(row["train_seconds"] is None and row["valid_seconds"] is None for row in stacked.curve)
        assert all(row["train_seconds"] > 0.0 and row["stack_seconds"] is None for row in alone.curve)


def test_seeds_are_not_stacked_together(protocol: Protocol, rowsets: Rowsets) -> None:
    some = list(trainings(100, 10, (1, 2), Shard()))
    stacks = stacks_of(rowsets, protocol, some, 4)
    assert sorted(training for stack in stacks for training in stack) == sorted(some)
    assert all(len({training.seed for training in stack}) == 1 and len(stack) <= 4 for stack in stacks)
    with pytest.raises(InvalidInput, match="different seeds cannot be stacked"):
        train_stack(rowsets, protocol, [Training(0, 1, 5), Training(0, 2, 5)], "here")


def test_stacks_hold_what_memory_holds(protocol: Protocol, rowsets: Rowsets, monkeypatch: pytest.MonkeyPatch) -> None:
    some = list(trainings(100, 20, (1,), Shard()))
    largest = max(rowsets.trial(protocol, t.index, 1).layout.training_bytes(4096) for t in some)
    monkeypatch.setattr("trails.refinement.memory.available", lambda device: 4 * largest)
    stacks = stacks_of(rowsets, protocol, some, 16)
    sizes = {t: rowsets.trial(protocol, t.index, 1).layout.training_bytes(4096) for t in some}
    assert all(len(stack) * max(sizes[t] for t in stack) <= 2 * largest for stack in stacks), "half of the memory"
    assert len(next(stack for stack in stacks if any(sizes[t] == largest for t in stack))) == 2
    assert max(map(len, stacks)) > 2, "more of the smaller ones"
    assert sorted(training for stack in stacks for training in stack) == some
    firsts = [min(training.place for training in stack) for stack in stacks]
    assert firsts == sorted(firsts), "in the sample's order, whatever their size"


def test_one_that_fails_leaves_the_others_of_its_stack_alone(
    protocol: Protocol, rowsets: Rowsets, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trails.family.mlp.stack import MlpStack

    some = list(trainings(100, 3, (1,), Shard()))
    sound = train_stack(rowsets, protocol, some, "here")
    train_epoch = MlpStack.train_epoch

    def failing(self: MlpStack, epoch: int, keep_going: object) -> torch.Tensor:
        losses = train_epoch(self, epoch, lambda share: True).clone()
        if epoch == 2:
            losses[1] = torch.nan
        return losses

    monkeypatch.setattr(MlpStack, "train_epoch", failing)
    hurt = train_stack(rowsets, protocol, some, "here")
    assert [len(one.curve) for one in hurt] == [3, 2, 3]
    assert np.isnan(hurt[1].curve[1]["valid_auc"]) and not hurt[1].predictions
    assert [row["valid_auc"] for row in hurt[2].curve] == [row["valid_auc"] for row in sound[2].curve]


def test_a_builder_of_stacks_needs_times_before_it_tells_seconds(protocol: Protocol, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    assert build(protocol, folder, 6, seeds=(1,), processes=1, stacked=3) == 6
    assert build(protocol, folder, 8, seeds=(1,), processes=1, stacked=1) == 2
    benchmark = Benchmark(folder)
    stacked, alone = benchmark.architectures[0], benchmark.architectures[7]
    assert benchmark.estimate is None and benchmark.measured(alone, seed=1)
    measured = benchmark.seconds(alone, epoch=3, seed=1)
    with pytest.raises(UnusableData, match="trained in a stack") as refused:
        benchmark.seconds(stacked, epoch=3, seed=1)
    assert "bench time --dataset small" in (refused.value.hint or "")
    assert time_alone(protocol, folder, 9, processes=1) == 9
    assert time_alone(protocol, folder, 9, processes=1) == 0
    again = Benchmark(folder)
    assert again.estimate is not None and again.estimate.timed == 9
    assert again.seconds(stacked, epoch=3, seed=1) > 0.0 and not again.measured(stacked, seed=1)
    assert not again.curve(stacked, seed=1).measured
    assert again.seconds(alone, epoch=3, seed=1) == measured


def test_the_fit_finds_the_numbers_that_made_the_seconds() -> None:
    generator = np.random.default_rng(0)
    sized = Sized(generator.uniform(1e4, 2e6, 200), generator.integers(2, 6, 200).astype(np.float64))
    train = 5000 * (2e-12 * sized.flops + 1e-7 * sized.layers + 3e-7)
    valid = 1000 * (1e-12 * sized.flops + 2e-8 * sized.layers + 1e-7)
    found = fit(sized, train, valid, 5000, 1000, ["here"] * 200)
    assert found.train == pytest.approx((2e-12, 1e-7, 3e-7), rel=1e-6)
    assert found.valid == pytest.approx((1e-12, 2e-8, 1e-7), rel=1e-6)
    assert found.error < 1e-9 and found.timed == 200
    # Of seconds that scatter the error is told.
    noisy = fit(sized, train * generator.lognormal(0.0, 0.1, 200), valid, 5000, 1000, ["here"] * 200)
    assert 0.03 < noisy.error < 0.12 < noisy.error90
    # Where all have as many layers, two of the three numbers are one.
    same = Sized(sized.flops, np.full(200, 4.0))
    seconds = 5000 * (2e-12 * same.flops + 7e-7)
    estimate = fit(same, seconds, valid, 5000, 1000, ["here"] * 200)
    assert np.allclose(estimate.seconds(same, 5000, 1000)[0], seconds)


def test_an_estimate_of_too_few_or_of_two_machines_is_refused() -> None:
    sized = Sized(np.linspace(1e4, 1e6, 9), np.full(9, 4.0))
    seconds = np.linspace(1, 2, 9)
    with pytest.raises(InvalidInput, match="7 timed architectures are too few"):
        fit(Sized(sized.flops[:7], sized.layers[:7]), seconds[:7], seconds[:7], 10, 10, ["here"] * 7)
    with pytest.raises(InvalidInput, match="machines that differ"):
        fit(sized, seconds, seconds, 10, 10, ["here"] * 8 + ["there"])
    # Another commit is no other machine.
    names = ["a core, torch 2, trails 0.1 (abc)"] * 8 + ["a core, torch 2, trails 0.2 (def)"]
    assert fit(sized, seconds, seconds, 10, 10, names).timed == 9


def test_curves_can_be_looked_up_while_too_few_are_timed(protocol: Protocol, tmp_path: Path) -> None:
    benchmark = made_up(tmp_path / "small", 12, stacked=4)
    time = {"train_seconds": 1.0, "valid_seconds": 0.5, "machine": "here"}
    Store(tmp_path / "small").add_times([{"place": place, **time} for place in range(3)])
    again = Benchmark(tmp_path / "small")
    assert again.estimate is None
    assert (again.column("valid_auc", epoch=2, seed=1) == benchmark.column("valid_auc", epoch=2, seed=1)).all()
    with pytest.raises(UnusableData, match="trained in a stack"):
        again.seconds(again.architectures[0], epoch=1, seed=1)
    with pytest.raises(InvalidInput, match="3 timed architectures are too few"):
        time_alone(protocol, tmp_path / "small", 3, processes=1)


def test_estimated_seconds_are_those_of_the_fit(tmp_path: Path) -> None:
    made_up(tmp_path / "small", 2)
    store = Store(tmp_path / "small")
    nan = float("nan")
    store.add(
        [
            {**row, "train_seconds": nan, "valid_seconds": nan, "stack_seconds": 9.0, "stacked": 8}
            for place in range(2, 30)
            for row in curve_rows(place, 1, 9)
        ],
        [],
    )
    space = Benchmark(tmp_path / "small").space
    benchmark = Benchmark(tmp_path / "small")
    trainer = RecordedTrainer(benchmark)
    trainer.train(0, 2)
    for clock in (lambda: trainer.train(5, 2), lambda: simulate(benchmark, 60.0, tfmem="params")):
        with pytest.raises(UnusableData, match="it is not known how long"):
            clock()
    flops = [space.flops(space.parse(name), 30) for name in benchmark.architectures]
    store.add_times(
        [
            {"place": p, "train_seconds": 600 * (1e-7 * flops[p] + 1e-4), "valid_seconds": 0.01, "machine": "here"}
            for p in range(20)
        ]
    )
    benchmark = Benchmark(tmp_path / "small")
    trainer = RecordedTrainer(benchmark)
    trainer.train(25, 4)
    assert trainer.spent == pytest.approx(benchmark.seconds(benchmark.architectures[25], epoch=4, seed=1))
    for place in (2, 25):
        spent = benchmark.seconds(benchmark.architectures[place], epoch=4, seed=1)
        assert spent == pytest.approx(4 * (600 * (1e-7 * flops[place] + 1e-4) + 0.01), rel=1e-4)
    column = benchmark.column("train_seconds", epoch=1, seed=1)
    assert np.isfinite(column).all() and column[0] == pytest.approx(curve_rows(0, 1, 9)[0]["train_seconds"])
