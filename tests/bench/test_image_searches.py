"""Searches among recorded cells: a schedule is paid whole, budgets are kept, and halving does what a plain one does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.made_up_cells import CELLS, SCORING_SECONDS, quality, scored, seconds, written
from trails.bench.baselines import TRAINING_BASED, training_free
from trails.bench.image.trainer import CellRecords, CellTrainer
from trails.bench.image.two_phase import rungs_of, two_phase
from trails.bench.space import RecordedSpace
from trails.bench.trainer import OutOfTime
from trails.errors import BudgetTooSmall, InvalidInput, UnusableData
from trails.family import Design
from trails.halving import Rung


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> CellRecords:
    benchmark = written(tmp_path_factory.mktemp("cells") / "nasbench201")
    scored(benchmark)
    return CellRecords(benchmark, "c10")


def design_of(trainer: CellTrainer, index: int) -> Design:
    return trainer.space.architecture(index)


steps = st.lists(st.tuples(st.integers(0, len(CELLS) - 1), st.sampled_from((12, 200)), st.booleans()), max_size=20)


@settings(max_examples=80, deadline=None)
@given(steps, st.floats(0.0, 4000.0), st.integers(1, 3))
def test_a_schedule_is_paid_whole_and_nothing_goes_on_from_another(
    records: CellRecords, steps: list[tuple[int, int, bool]], budget: float, workers: int
) -> None:
    trainer = CellTrainer(records, budget=budget, workers=workers)
    paid: set[tuple[int, int]] = set()
    spent, epochs_trained, found, ended = 0.0, 0, [], False
    for index, epochs, again in steps:
        design = design_of(trainer, index)
        if again or (index, epochs) not in paid:
            took = seconds(design, epochs) / workers
            ended = spent + took > budget
            if not ended:
                spent, epochs_trained = spent + took, epochs_trained + epochs
                paid.add((index, epochs))
                found.append((quality(design, epochs), design, epochs))
        try:
            accuracy = trainer.train(index, epochs, again=again)
        except OutOfTime:
            assert ended
            break
        assert not ended and accuracy == pytest.approx(quality(design, epochs), abs=1e-4)
    assert trainer.spent == (budget if ended else pytest.approx(spent))
    assert trainer.epochs == epochs_trained
    if found:
        best = trainer.trajectory.best()
        value, design, epochs = max(found, key=lambda one: one[0])
        assert best.valid_accuracy == pytest.approx(value, abs=1e-4)
        assert (best.architecture, best.epochs) == (trainer.space.format(design), epochs)
        assert best.test_accuracy == pytest.approx(value - (2.0 if epochs == 200 else 1.0), abs=1e-4)
    else:
        assert not trainer.trajectory.incumbents


@pytest.mark.parametrize("name", ["random", "evolution", "reinforcement"])
def test_a_search_without_an_end_trains_every_cell_once(name: str, records: CellRecords) -> None:
    trainer = CellTrainer(records)
    TRAINING_BASED[name](trainer, 1, 200)
    assert trainer.epochs == 200 * len(CELLS)
    assert trainer.spent == pytest.approx(sum(seconds(design, 200) for design in CELLS))
    best = max(CELLS, key=lambda design: quality(design, 200))
    assert trainer.trajectory.best().architecture == trainer.space.format(best)
    short = CellTrainer(records, budget=1000.0)
    TRAINING_BASED[name](short, 1, 200)
    assert short.spent == 1000.0


class Watched(CellTrainer):
    """Remembers what was paid for."""

    def __init__(self, records: CellRecords, budget: float = math.inf) -> None:
        super().__init__(records, budget=budget)
        self.trained: list[tuple[int, int]] = []

    def train(self, index: int, epochs: int, *, again: bool = False) -> float:
        before = self.epochs
        accuracy = super().train(index, epochs, again=again)
        self.trained += [(index, epochs)] * (self.epochs > before)
        return accuracy


def test_hyperband_begins_every_cell_with_the_short_schedule_and_pays_for_the_long_one_from_its_beginning(
    records: CellRecords,
) -> None:
    trainer = Watched(records)
    TRAINING_BASED["tpe_hyperband"](trainer, 1, 200)
    short, long = ([index for index, epochs in trainer.trained if epochs == own] for own in (12, 200))
    assert len(set(short)) == len(short) and set(long) <= set(short) and 0 < len(long) < len(short)
    paid = sum(seconds(design_of(trainer, index), epochs) for index, epochs in trainer.trained)
    assert trainer.spent == pytest.approx(paid + trainer.thought)


def test_a_search_by_score_alone_pays_for_scores_and_one_training(records: CellRecords) -> None:
    trainer = Watched(records)
    training_free(trainer, "naswot", 30, "random", 1, 200)
    ((index, epochs),) = trainer.trained
    assert epochs == 200
    assert trainer.spent == pytest.approx(30 * SCORING_SECONDS + seconds(design_of(trainer, index), 200))
    free = Watched(records)
    training_free(free, "params", len(CELLS), "random", 1, 200)
    ((largest, _),) = free.trained
    counted = records.benchmark.scores("params")
    assert counted[largest] == counted.max()
    assert free.spent == seconds(design_of(free, largest), 200), "counting takes no time"


@pytest.mark.parametrize(
    ("schedules", "k", "eta", "expected"),
    [
        ([12, 200], 1, None, [(1, 200)]),
        ([12, 200], 2, None, [(2, 12), (1, 200)]),
        ([12, 200], 40, None, [(40, 12), (2, 200)]),
        ([12, 200], 40, 3, [(40, 12), (13, 200)]),
        ([4, 12, 36, 108], 81, None, [(81, 4), (27, 12), (9, 36), (3, 108)]),
        ([4, 12, 36, 108], 5, None, [(5, 4), (1, 108)]),
        ([4, 12, 36, 108], 1, None, [(1, 108)]),
        ([200], 7, None, [(7, 200)]),
    ],
)
def test_rungs_are_schedules_and_the_last_one_trains_to_the_end(
    schedules: list[int], k: int, eta: int | None, expected: list[tuple[int, int]]
) -> None:
    assert rungs_of(schedules, k, eta) == [Rung(*rung) for rung in expected]


@pytest.mark.parametrize(("k", "eta"), [(1, None), (7, None), (20, None), (60, None), (9, 3), (27, 3)])
def test_two_phases_do_what_sorting_does(records: CellRecords, k: int, eta: int | None) -> None:
    trainer = Watched(records)
    went = two_phase(trainer, "naswot", seed=1, n=len(CELLS), k=k, eta=eta)
    merits = records.merits("naswot")[records.places(trainer.space)]
    left = sorted(range(len(CELLS)), key=lambda index: -merits[index])[:k]
    expected = []
    for rung in rungs_of([12, 200], k, eta):
        left = left[: rung.candidates]
        expected += [(index, rung.epochs_to) for index in left]
        left.sort(key=lambda index: -quality(design_of(trainer, index), rung.epochs_to))
    assert trainer.trained == expected
    assert went.n == len(CELLS) and went.k == k and went.filtering_seconds == len(CELLS) * SCORING_SECONDS
    paid = sum(seconds(design_of(trainer, index), epochs) for index, epochs in expected)
    assert went.refinement_seconds == pytest.approx(paid)
    assert trainer.spent == pytest.approx(went.filtering_seconds + paid)
    best = trainer.trajectory.best()
    assert (best.architecture, best.epochs) == (trainer.space.format(design_of(trainer, left[0])), 200)
    assert went.ends[-1].survivors == (str(left[0]),)


@settings(max_examples=60, deadline=None)
@given(st.floats(30.0, 60_000.0), st.integers(0, 3), st.sampled_from((None, 20)))
def test_a_planned_selection_trains_all_that_it_planned_within_its_budget(
    records: CellRecords, budget: float, seed: int, n: int | None
) -> None:
    trainer = Watched(records, budget=budget)
    try:
        went = two_phase(trainer, "naswot", seed=seed, n=n)
    except BudgetTooSmall as refused:
        assert refused.minimum is not None and refused.minimum > budget
        return
    assert trainer.spent <= budget and len(trainer.trained) == sum(rung.candidates for rung in went.rungs)
    assert len(went.ends) == len(went.rungs)
    if n is not None:
        assert went.n <= n
    alone = max(seconds(design, 200) for design in CELLS)
    if budget > alone + len(CELLS) * SCORING_SECONDS:
        assert trainer.trajectory.best().epochs == 200, "one can be trained to the end, and is"


def test_a_small_budget_scores_less_and_trains(records: CellRecords) -> None:
    with pytest.raises(BudgetTooSmall) as refused:
        two_phase(CellTrainer(records, budget=1.0), "naswot", seed=1)
    least = refused.value.minimum
    assert least is not None
    for more in (9, 19, 39):
        trainer = CellTrainer(records, budget=least + more * SCORING_SECONDS)
        # The first is that one is scored.
        assert two_phase(trainer, "naswot", seed=1).n == 1 + more
        assert trainer.trajectory.incumbents, "and something is trained"


def test_a_larger_budget_trains_more_and_finds_the_best_in_the_end(records: CellRecords) -> None:
    trained = []
    for budget in (500.0, 3000.0, 10_000.0, 1e6):
        trainer = Watched(records, budget=budget)
        two_phase(trainer, "naswot", seed=1)
        trained.append(len(trainer.trained))
    assert trained == sorted(trained) and trained[0] < trained[-2]
    best = max(CELLS, key=lambda design: quality(design, 200))
    assert trainer.trajectory.best().architecture == trainer.space.format(best)


def test_a_part_of_the_cells_is_searched_where_one_is_given(records: CellRecords) -> None:
    whole = records.space()
    half = RecordedSpace(whole.whole, whole.recorded[::2].tolist())
    trainer = CellTrainer(records, space=half)
    two_phase(trainer, "naswot", seed=1, k=half.size, eta=2)
    names = {half.format(half.architecture(index)) for index in range(half.size)}
    assert {found.architecture for found in trainer.trajectory.incumbents} <= names
    assert trainer.train(3, 12) == pytest.approx(quality(half.architecture(3), 12), abs=1e-4)


def test_cells_without_scores_are_left_out_of_the_space_and_rank_last(tmp_path: Path) -> None:
    benchmark = written(tmp_path / "nasbench201")
    part = written(tmp_path / "part" / "nasbench201", cells=CELLS[:20])
    scored(part, "snip")
    for file in part.folder.glob("score-*.parquet"):
        (benchmark.folder / file.name).write_bytes(file.read_bytes())
    records = CellRecords(benchmark, "c10")
    usable = {tuple(records.space(["snip"]).architecture(i)) for i in range(records.space(["snip"]).size)}
    assert set(CELLS[:20]) <= usable and len(usable) < len(CELLS) == records.space().size
    merits = CellTrainer(records).merits("snip", 1)
    assert np.isneginf(merits).sum() == len(CELLS) - len(usable)
    with pytest.raises(UnusableData, match="was scored by 'naswot'") as refused:
        two_phase(CellTrainer(records), "jacflow", seed=1, k=3)
    assert "bench score-cells --dataset nasbench201" in (refused.value.hint or "")


def test_a_metric_of_which_less_is_better_is_turned(tmp_path: Path) -> None:
    benchmark = written(tmp_path / "nasbench201")
    scored(benchmark, "ntk_cond", sign=-1.0)
    records = CellRecords(benchmark, "c10")
    assert records.merits("ntk_cond").tolist() == (-benchmark.scores("ntk_cond")).tolist()


def test_what_cannot_be_searched_is_refused(records: CellRecords, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no trainings on 'c11' are recorded") as refused:
        CellRecords(records.benchmark, "c11")
    assert refused.value.hint == "Datasets: c10, in16."
    trainer = CellTrainer(records, budget=100.0)
    with pytest.raises(InvalidInput, match="no trainings of 13 epochs on c10 are recorded") as refused:
        trainer.train(0, 13)
    assert refused.value.hint == "Recorded: 12, 200 epochs."
    with pytest.raises(InvalidInput, match="nothing says how many candidates"):
        two_phase(CellTrainer(records), "naswot", seed=1)
    with pytest.raises(InvalidInput, match="9 candidates cannot be chosen from 3 scored cells"):
        two_phase(trainer, "naswot", seed=1, n=3, k=9)
    for wrong in (0, len(CELLS) + 1):
        with pytest.raises(InvalidInput, match=f"k is 1 to {len(CELLS)}"):
            two_phase(trainer, "naswot", seed=1, k=wrong)
    with pytest.raises(InvalidInput, match="eta is at least 2, not 0"):
        two_phase(trainer, "naswot", seed=1, k=2, eta=0)
    with pytest.raises(InvalidInput, match="there is no sampler 'none'"):
        two_phase(trainer, "naswot", seed=1, k=2, sampler="none")
    with pytest.raises(BudgetTooSmall, match="too small to score a cell and train one"):
        two_phase(CellTrainer(records, budget=5.0), "naswot", seed=1)
    unknown = written(tmp_path / "nasbench201", schedules={12: None})
    with pytest.raises(UnusableData, match="was timed") as untimed:
        CellTrainer(CellRecords(unknown, "c10"))
    assert "bench time-cells" in (untimed.value.hint or "")


def test_no_test_accuracy_is_made_up(tmp_path: Path) -> None:
    trainer = CellTrainer(CellRecords(written(tmp_path / "nasbench201", tested=False), "c10"))
    trainer.train(0, 200)
    assert math.isnan(trainer.trajectory.best().test_accuracy)
