"""Training by looking up: a budget is kept exactly, an epoch is paid once, and the best so far only gets better."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.records import made_up
from trails.bench.table import Benchmark
from trails.bench.trainer import OutOfTime, RecordedTrainer, Trajectory
from trails.errors import InvalidInput

EPOCHS = 6


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return made_up(tmp_path_factory.mktemp("bench") / "made_up", 12, EPOCHS, failing=frozenset([4]))


steps = st.lists(
    st.tuples(st.integers(0, 11).filter(lambda place: place != 4), st.integers(1, EPOCHS), st.booleans()), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(steps, st.floats(0.0, 40.0), st.integers(1, 4))
def test_a_budget_is_kept_and_the_best_so_far_only_gets_better(
    benchmark: Benchmark, steps: list[tuple[int, int, bool]], budget: float, workers: int
) -> None:
    trainer = RecordedTrainer(benchmark, budget=budget, workers=workers)
    reached: dict[int, int] = {}
    expected, ended = 0.0, False
    seen: list[float] = []
    for index, epochs, again in steps:
        name = benchmark.architectures[index]
        curve = benchmark.curve(name, seed=1)
        first = 0 if again else reached.get(index, 0)
        for epoch in range(first, epochs):
            second = float(curve.train_seconds[epoch] + curve.valid_seconds[epoch]) / workers
            if expected + second > budget:
                ended = True
                break
            expected += second
            reached[index] = max(epoch + 1, reached.get(index, 0))
            seen.append(float(curve.valid_auc[epoch]))
        try:
            found = trainer.train(index, epochs, again=again)
        except OutOfTime:
            assert ended
            break
        assert not ended and found == float(curve.valid_auc[epochs - 1])
    assert trainer.spent == (budget if ended else pytest.approx(expected, abs=1e-9))
    assert trainer.spent <= budget and trainer.epochs == len(seen)
    incumbents = trainer.trajectory.incumbents
    assert [i.seconds for i in incumbents] == sorted(i.seconds for i in incumbents)
    assert all(a.valid_auc < b.valid_auc for a, b in pairwise(incumbents))
    if seen:
        best = trainer.trajectory.best()
        assert best.valid_auc == max(seen)
        assert best.test_auc == benchmark.final(best.architecture, epoch=best.epoch, seed=1).auc
    else:
        with pytest.raises(InvalidInput, match="nothing was trained"):
            trainer.trajectory.best()


def test_what_is_handed_over_at_a_moment_was_finished_by_then(benchmark: Benchmark) -> None:
    trainer = RecordedTrainer(benchmark)
    for index in (0, 1, 2, 3, 5, 6):
        trainer.train(index, EPOCHS)
    trajectory = trainer.trajectory
    assert trajectory.at(0.0) is None
    for found in trajectory.incumbents:
        assert trajectory.at(found.seconds) == found
        before = trajectory.at(math.nextafter(found.seconds, 0.0))
        assert before is None or before.valid_auc < found.valid_auc
    assert trajectory.at(math.inf) == trajectory.best()
    assert Trajectory().at(5.0) is None


def test_an_epoch_is_paid_once_unless_it_is_trained_again(benchmark: Benchmark) -> None:
    trainer = RecordedTrainer(benchmark)
    name = benchmark.architectures[0]
    trainer.train(0, 3)
    assert trainer.spent == pytest.approx(benchmark.seconds(name, epoch=3, seed=1))
    trainer.train(0, 2)
    trainer.train(0, 3)
    assert trainer.epochs == 3
    trainer.train(0, 5)
    assert trainer.spent == pytest.approx(benchmark.seconds(name, epoch=5, seed=1)) and trainer.epochs == 5
    trainer.train(0, 5, again=True)
    assert trainer.spent == pytest.approx(2 * benchmark.seconds(name, epoch=5, seed=1)) and trainer.epochs == 10


def test_thinking_is_charged_in_real_seconds(benchmark: Benchmark) -> None:
    trainer = RecordedTrainer(benchmark, budget=3.0)
    times = iter([10.0, 12.5, 20.0, 21.0])
    with mock.patch("trails.bench.trainer.perf_counter", lambda: next(times)):
        with trainer.thinking():
            pass
        assert trainer.spent == 2.5
        with pytest.raises(OutOfTime), trainer.thinking():
            pass
    assert trainer.spent == 3.0


def test_a_training_that_failed_is_no_result_and_takes_its_time(benchmark: Benchmark) -> None:
    trainer = RecordedTrainer(benchmark)
    assert math.isnan(trainer.train(4, EPOCHS))
    assert trainer.epochs == 2 and trainer.spent > 0.0
    assert [found.epoch for found in trainer.trajectory.incumbents] == [1]


def test_an_epoch_beyond_the_curve_is_refused(benchmark: Benchmark) -> None:
    with pytest.raises(InvalidInput, match=f"was recorded for {EPOCHS} epochs, not {EPOCHS + 1}"):
        RecordedTrainer(benchmark).train(0, EPOCHS + 1)


def test_only_those_trained_with_the_seed_can_be_trained(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is recorded"):
        RecordedTrainer(made_up(tmp_path / "one", 3, 2), seed=2)


def test_nothing_is_trained_to_no_epoch_and_time_does_not_pass_backwards(benchmark: Benchmark) -> None:
    trainer = RecordedTrainer(benchmark, budget=10.0)
    for epochs in (0, -1):
        with pytest.raises(InvalidInput, match="epochs count from 1"):
            trainer.train(0, epochs)
    for seconds in (-1.0, math.nan):
        with pytest.raises(InvalidInput, match="seconds or more can pass"):
            trainer.charge(seconds)
    assert trainer.spent == 0.0 and trainer.epochs == 0
    for budget, workers in ((math.nan, 1), (-1.0, 1), (1.0, 0)):
        with pytest.raises(InvalidInput, match="and a worker"):
            RecordedTrainer(benchmark, budget=budget, workers=workers)
