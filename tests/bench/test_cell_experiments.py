"""The experiments on recorded cells for pictures, on small made-up benchmarks whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import (
    _together,
    effective_combinations_cells,
    harness,
    nku_tradeoff_cells,
    plots,
    refinement_algorithms_cells,
    score_auc_relation,
    tfmem_correlation_cells,
)
from benchmarks._cells import RANDOM, best_first, drawn, missing, open_cells
from benchmarks._ladders import affordable, expected, refine, rejects, uniform
from benchmarks.effective_combinations import WAYS
from trails.bench.image.score_table import add
from trails.bench.image.store import ImageSetting, write
from trails.bench.image.two_phase import rungs_of
from trails.errors import InvalidInput
from trails.halving import Rung, total_epochs
from trails.space import Nasbench201Space, picture_space

EXPERIMENTS = (
    effective_combinations_cells,
    nku_tradeoff_cells,
    refinement_algorithms_cells,
    tfmem_correlation_cells,
)
COUNT = 240
LADDERS = {"nasbench201": (12, 200), "nasbench101": (4, 12, 36, 108)}
LONG = LADDERS["nasbench101"]


def _made(folder: Path, name: str) -> None:
    """Cells whose naswot and synflow tell the final accuracy but for a tenth of them, and snip nothing."""
    space, generator = picture_space(name), np.random.default_rng(3)
    indices = np.sort(generator.choice(space.size if name == "nasbench101" else 2000, COUNT, replace=False)).tolist()
    ladder = LADDERS[name]
    height = 60 + 30 * generator.random(COUNT)
    alike = space.representatives[indices] if isinstance(space, Nasbench201Space) else np.array(indices)
    height = height[np.unique(alike, return_inverse=True)[1]]
    architectures, accuracies, published = [], [], []
    for place, index in enumerate(indices):
        text = space.format(space.architecture(index))
        known: dict[str, Any] = {"index": index}
        architectures.append(known | {"published": str(place), "architecture": text, "parameters": 1, "flops": 1})
        for dataset in ("c10", "c100", "in16") if name == "nasbench201" else ("c10",):
            for step, epochs in enumerate(ladder):
                noise = generator.normal(0, 3.0 / (1 + step) ** 2)
                for split, runs in (("valid", "one"), ("test", "one"), ("test", "mean")):
                    reached = height[place] * (1 - 0.5 / (1 + step)) + noise * (split == "valid")
                    what = {"dataset": dataset, "epochs": epochs, "split": split, "runs": runs, "accuracy": reached}
                    accuracies.append(known | what | {"seconds": epochs * (1.0 + place % 3)})
        if place % 2:
            other = {"row": place, "dataset": "c10", "tfmem": "synflow", "score": float(height[place]), "seconds": 1.0}
            published.append(known | other)
    write(folder, ImageSetting(name, {}), {"architecture": architectures, "accuracy": accuracies,
                                           "published_score": published})  # fmt: skip
    rows: list[Mapping[str, object]] = []
    for index in np.unique(alike).tolist():
        own = float(height[np.flatnonzero(alike == index)[0]]) if index % 10 else -np.inf
        for metric, score in (("naswot", own), ("synflow", own), ("snip", float(generator.random()))):
            rows.append({"index": index, "tfmem": metric, "batch_seed": 1, "score": score, "seconds": 0.25})
    add(folder, rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    for name in LADDERS:
        _made(folder / name, name)
    return folder


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAILS_BENCH", str(folder))


@pytest.fixture(scope="module")
def ran(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[ModuleType, str], harness.Document]:
    """Runs an experiment reduced, once."""

    @cache
    def run(module: ModuleType, dataset: str) -> harness.Document:
        experiment, results = cast(harness.Experiment, module), tmp_path_factory.mktemp("results")
        return harness.run(experiment, results=results, dataset=dataset, quick=True, seed=0)

    return run


Ran: TypeAlias = Callable[[ModuleType, str], harness.Document]


@pytest.mark.parametrize(
    ("module", "dataset"),
    [
        (effective_combinations_cells, "c10"),
        (nku_tradeoff_cells, "nasbench101"),
        (refinement_algorithms_cells, "nasbench101"),
        (refinement_algorithms_cells, "c100"),
        (tfmem_correlation_cells, "c10"),
        (tfmem_correlation_cells, "nasbench101"),
    ],
)
def test_an_experiment_runs_draws_and_sums_up(module: ModuleType, dataset: str, ran: Ran) -> None:
    document, experiment = ran(module, dataset), cast(harness.Experiment, module)
    json.dumps(document.rows, allow_nan=False)
    before = len(document.rows)
    module.run(harness.Context(document, dataset, True, 0))
    assert len(document.rows) == before, "the same table says nothing new"
    told = "\n".join(harness.summary(experiment, document))
    assert f"{COUNT} of" in told and " nan" not in told
    figures = [file for file in plots.draw_files(experiment, document) if file.suffix == ".svg"]
    assert figures and all("survivors start over" in file.read_text() for file in figures)


# Accuracies and scores


def test_scores_are_turned_shared_and_failed_apart_from_missing() -> None:
    cells = open_cells("c10")
    jacflow, naswot = cells.merits("jacflow"), cells.merits("naswot")
    failed = np.isneginf(naswot)
    assert failed.any() and np.isneginf(jacflow[failed]).all() and np.isfinite(jacflow[~failed]).all()
    for place in range(COUNT):
        alike = np.flatnonzero(cells.classes == cells.classes[place])
        assert len(set(naswot[alike].tolist())) == 1
    assert np.isnan(cells.merits("grasp")).all() and not cells.scored("grasp").any()
    published = cells.merits("synflow (published)")
    assert np.isfinite(published).sum() == COUNT // 2 == cells.few.sum() and not cells.covers(
        "synflow (published)", cells.many
    )
    assert cells.covers("synflow (published)", cells.few) and cells.many.all() and set(cells.sets) == {"many", "few"}
    assert cells.merits(RANDOM, 1).tolist() != cells.merits(RANDOM, 2).tolist()
    assert cells.seconds_of_scoring("jacflow") == 0.5 and cells.seconds_of_scoring("params") == 0.0
    assert cells.seconds[7].tolist() == [12 * 2.0, 200 * 2.0]
    assert f"{COUNT} of 15,625 cells" in cells.told(cells.many)


def test_a_winner_is_judged_by_test_pictures_where_there_are_any() -> None:
    cells, other = open_cells("in16"), open_cells("nasbench101")
    asked = {"dataset": "in16", "epochs": 200, "runs": "mean"}
    assert cells.final.tolist() == cells.benchmark.column("test", **asked).tolist()  # type: ignore[arg-type]
    assert "test accuracy" in cells.final_is
    assert other.final.tolist() == other.valid[:, -1].tolist() and "validation accuracy" in other.final_is


def test_experiments_without_recordings_are_left_out_and_say_how_they_are_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing("c10") is None
    jobs, left_out = _together.plan(["tfmem_correlation_cells"], "all", only_records=True)
    assert [job.dataset for job in jobs] == ["c10", "c100", "in16", "nasbench101"] and not left_out
    (tmp_path / "nasbench101").symlink_to(folder / "nasbench101")
    monkeypatch.setenv("TRAILS_BENCH", str(tmp_path))
    jobs, left_out = _together.plan(["tfmem_correlation_cells"], "all", only_records=True)
    assert [job.dataset for job in jobs] == ["nasbench101"]
    assert [one.job.dataset for one in left_out] == ["c10", "c100", "in16"]
    assert "python -m trails bench convert --dataset nasbench201" in left_out[0].why
    with pytest.raises(InvalidInput, match="holds no benchmark"):
        open_cells("c10")


def test_experiments_on_cells_look_up_and_measure_nothing() -> None:
    assert all(_together.on_records(module.__name__.rpartition(".")[2]) for module in EXPERIMENTS)


# Rungs of separate schedules


def test_uniform_allocation_trains_all_alike_and_the_best_one_to_the_end() -> None:
    assert uniform(9, LONG, 12) == [Rung(9, 12), Rung(1, 108)]
    assert uniform(9, LONG, 108) == [Rung(9, 108)] and uniform(1, LONG, 4) == [Rung(1, 108)]


@given(k=st.integers(1, 90), share=st.floats(1.0, 20.0), ladder=st.sampled_from([LONG, (12, 200)]))
@settings(max_examples=60, deadline=None)
def test_rejects_train_everyone_once_and_never_more_than_there_is(
    k: int, share: float, ladder: tuple[int, ...]
) -> None:
    epochs = int(share * k * ladder[0]) + ladder[-1]
    rungs = rejects(k, ladder, epochs)
    assert total_epochs(rungs, restart=True) <= max(epochs, k * ladder[0] + ladder[-1])
    assert rungs[0] == (Rung(k, ladder[0]) if k > 1 else Rung(1, ladder[-1])) and rungs[-1].epochs_to == ladder[-1]
    counts = [rung.candidates for rung in rungs]
    assert counts == sorted(counts, reverse=True) and counts[-1] >= 1
    more = rejects(k, ladder, 2 * epochs)
    assert all(
        any(m.epochs_to == r.epochs_to and m.candidates >= r.candidates for m in more)
        for r in rungs
        if r.candidates > 1
    )


@pytest.mark.parametrize("k", [9, 27, 64, 200])
def test_rejects_come_to_the_rungs_of_halving_but_for_rounding(k: int) -> None:
    rungs = rungs_of(LONG, k)
    found = rejects(k, LONG, total_epochs(rungs, restart=True))
    for one, other in zip(rungs, found, strict=True):
        assert one.epochs_to == other.epochs_to and abs(one.candidates - other.candidates) <= 1 + 0.1 * one.candidates


def _by_hand(places: Sequence[int], rungs: Sequence[Rung], ladder: tuple[int, ...], valid: Any, seconds: Any) -> Any:
    alive, epochs, spent = list(places), 0, 0.0
    for number, rung in enumerate(rungs):
        alive = alive[: rung.candidates]
        column = ladder.index(rung.epochs_to)
        epochs += len(alive) * rung.epochs_to
        spent += sum(seconds[place, column] for place in alive)
        alive.sort(key=lambda place: -valid[place, column])
        if number == len(rungs) - 1:
            return alive[0], epochs, spent
    raise AssertionError


@pytest.mark.parametrize(
    "way", [lambda k: rungs_of(LONG, k), lambda k: rejects(k, LONG, 40 * k), lambda k: uniform(k, LONG, 36)]
)
@pytest.mark.parametrize("k", [1, 2, 10, 40])
def test_the_scheduler_chooses_and_pays_as_one_does_by_hand(way: Any, k: int) -> None:
    generator = np.random.default_rng(k)
    valid = generator.integers(0, 6, (50, len(LONG))).astype(np.float64)
    seconds = generator.uniform(1, 9, (50, len(LONG)))
    places = generator.permutation(50)[:45].tolist()
    found = refine(places, way(k), LONG, valid, seconds)
    winner, epochs, spent = _by_hand(places, way(k), LONG, valid, seconds)
    assert (found.winner, found.epochs) == (winner, epochs) and found.seconds == pytest.approx(spent)


def test_as_many_are_taken_as_a_budget_holds() -> None:
    seconds = np.random.default_rng(1).uniform(1, 2, (40, 1)) * np.array(LONG)

    def way(k: int) -> list[Rung]:
        return rungs_of(LONG, k)

    for budget in (0.0, 100.0, 200.0, 500.0, 900.0):
        costs = [expected(way(k), LONG, seconds[:k].mean(axis=0)) for k in range(1, 41)]
        k = affordable(way, budget, LONG, seconds)
        assert k == 0 or costs[k - 1] <= budget
        assert k == 40 or costs[k] > budget, "another one would not fit"
    assert affordable(way, 0.0, LONG, seconds) == 0 and affordable(way, 1e9, LONG, seconds) == 40
    assert expected([Rung(3, 4), Rung(1, 108)], LONG, np.array([1.0, 2.0, 3.0, 4.0])) == 3 * 1.0 + 4.0


def test_pools_are_drawn_and_ranked_best_first() -> None:
    chosen = np.arange(20) % 2 == 0
    places = drawn(chosen, 5, 1)
    assert len(set(places.tolist())) == 5 and chosen[places].all() and places.tolist() == sorted(places)
    scores = np.array([1.0, 3.0, np.nan, 3.0, -np.inf])
    assert best_first(np.arange(5), scores) == [1, 3, 0, 4, 2], "a cell without a score comes last"


# What experiments compute


def test_a_metric_that_knows_the_answer_has_one_and_isomorphic_cells_are_paired(ran: Ran) -> None:
    document = ran(tfmem_correlation_cells, "c10")
    rows = {(r["metric"], r["set"], r["target"], r["share"]): r for r in document.rows if r["what"] == "score"}
    assert rows["synflow (published)", "few", "final", 1.0]["spearman"] == pytest.approx(1.0, abs=1e-3)
    assert 0.5 < rows["jacflow", "many", "final", 1.0]["spearman"] < 1.0, "what failed ranks last"
    assert abs(rows["snip", "many", "final", 1.0]["spearman"]) < 0.25
    assert rows["jacflow", "many", "final", 0.5]["n"] == COUNT // 2
    assert rows["jacflow", "many", "final", 1.0]["failed"] > 0
    low, high = rows["jacflow", "many", "final", 1.0]["spearman_interval"]
    assert low <= rows["jacflow", "many", "final", 1.0]["spearman"] <= high
    above = {(r["metric"], r["set"]): r for r in document.rows if r["what"] == "difference"}
    expected = rows["jacflow", "many", "final", 1.0]["spearman"] - rows["params", "many", "final", 1.0]["spearman"]
    assert above["jacflow", "many"]["above_size"] == pytest.approx(expected)
    assert above["jacflow", "many"]["interval"][0] > 0.0, "it knows the answer, and size does not"
    assert ("params", "many") not in above
    told = {row["of"]: row for row in document.rows if row["what"] == "ceiling" and row["share"] == 1.0}
    assert told["an isomorphic cell"]["spearman"] == pytest.approx(1.0), "they were given the same accuracy"
    assert told["one run (of the mean's)"]["spearman"] == pytest.approx(1.0)
    assert told["validation accuracy, 12 epochs"]["spearman"] < told["validation accuracy, 200 epochs"]["spearman"]


def test_scores_guide_searches_of_cells_too(ran: Ran) -> None:
    document = ran(score_auc_relation, "c10")
    cells = open_cells("c10")
    told = "\n".join(score_auc_relation.summarise(document))
    best = cells.valid[int(np.argmax(cells.merits("jacflow"))), -1]
    assert f"best score of all {best:.2f}" in told and f"200 epochs: {COUNT} of 15,625 cells" in told
    assert {row["metric"] for row in document.rows} == {"jacflow", "params"}, "expressflow was not computed"
    assert plots.draw_files(cast(harness.Experiment, score_auc_relation), document)


def test_a_pair_is_of_two_cells_of_one_class() -> None:
    classes = np.random.default_rng(0).integers(0, 30, 60)
    places = np.flatnonzero(np.arange(60) % 3 > 0)
    first, second = tfmem_correlation_cells.pairs(classes, places, 4)
    assert (classes[first] == classes[second]).all() and (first != second).all()
    several = [one for one in set(classes[places].tolist()) if (classes[places] == one).sum() > 1]
    assert sorted(classes[first].tolist()) == sorted(several) and set(first) | set(second) <= set(places.tolist())
    assert [len(one) for one in tfmem_correlation_cells.pairs(classes, places[:1], 0)] == [0, 0]


def test_scoring_is_paid_and_what_is_not_scored_is_left_out(ran: Ran) -> None:
    document = ran(effective_combinations_cells, "c10")
    rows = [row for row in document.rows if row["metric"] != "table" and row["set"] == "many"]
    assert {row["metric"] for row in rows} == {"jacflow", "synflow", "naswot", "snip", "params", RANDOM}
    for metric, each in (("jacflow", 0.5), ("snip", 0.25), ("params", 0.0), (RANDOM, 0.0)):
        assert all(row["filtering_seconds"] == each * COUNT / 2 for row in rows if row["metric"] == metric)
    assert {row["way"] for row in rows} == set(WAYS)
    few = {row["metric"] for row in document.rows if row["set"] == "few"}
    assert "synflow" in few and "synflow (published)" not in few, "scores of others stand for what is not computed here"
    full = [row["epochs"] for row in rows if row["way"] == "full" and row["k"] == 16]
    assert set(full) == {16 * 200}
    assert "no score of it: zen" in "\n".join(effective_combinations_cells.summarise(document))


@pytest.mark.parametrize(("ratio", "budget"), [(1, 2000.0), (4, 1200.0), (30, 300.0)])
def test_a_fixed_time_holds_scoring_and_training(ratio: int, budget: float) -> None:
    cells = open_cells("nasbench101")
    merits = cells.merits("jacflow")
    one = nku_tradeoff_cells.select(cells, merits, budget, ratio, 0.5, 0)
    assert one is not None and one["n"] == ratio * one["k"]
    more = rungs_of(cells.ladder, one["k"] + 1)
    assert 0.5 * ratio * (one["k"] + 1) + total_epochs(more, restart=True) * 3 > budget, "another one would not fit"
    assert nku_tradeoff_cells.select(cells, merits, 1.0, ratio, 0.5, 0) is None, "not one is trained"
    assert nku_tradeoff_cells.select(cells, merits, 1e9, ratio, 0.5, 0) is None, "there are too few cells"
