"""The experiments that repeat selections on records: they run on any table, and their rows are what they say."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks import harness, k_at_fixed_time, nku_tradeoff, noise_in_top_k, plots, refinement_algorithms
from benchmarks._records import open_table
from benchmarks._selections import begin, half, reachable, row_of, seed_noise
from tests.bench.records import MACHINE, made_up
from trails import bench
from trails.bench.candidates import recorded
from trails.bench.simulate import simulate
from trails.bench.store import Store
from trails.bench.table import Benchmark
from trails.errors import InvalidInput

COUNT, EPOCHS = 24, 6


@pytest.fixture
def frappe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """A made-up benchmark of that name, scored by ExpressFlow better than by chance."""
    folder = tmp_path / "bench" / "frappe"
    made = made_up(folder, COUNT, EPOCHS, seeds=(1, 2))
    setting = folder / "setting.json"
    setting.write_text(json.dumps({**json.loads(setting.read_text()), "dataset": "frappe"}))
    final = made.column("valid_auc", epoch=EPOCHS, seed=1)
    scores = final + np.random.default_rng(0).normal(0, final.std(), COUNT)
    fixed = {"tfmem": "expressflow", "batch_seed": 1, "seconds": 0.002, "machine": MACHINE}
    Store(folder).add_scores([{"place": place, "score": float(s), **fixed} for place, s in enumerate(scores)])
    whole = {"architectures": 100, "seconds": 0.25, "tfmem": "expressflow", "batch_seed": 1, "machine": MACHINE}
    Store(folder).add_whole_space([whole])
    monkeypatch.setattr("benchmarks._selections.FINAL_EPOCH", {"frappe": EPOCHS})
    monkeypatch.setenv("TRAILS_BENCH", str(tmp_path / "bench"))
    return bench.open("frappe")


EXPERIMENTS = (k_at_fixed_time, nku_tradeoff, noise_in_top_k, refinement_algorithms)


@pytest.mark.parametrize("module", EXPERIMENTS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_an_experiment_runs_draws_and_sums_up(
    frappe: Benchmark, module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_RUNS", 2)
    document = harness.run(module, results=tmp_path / "results", dataset="frappe", quick=True, seed=0)  # type: ignore[arg-type]
    assert document.rows and not any(np.isnan(row["test_auc"]) for row in document.rows)
    for row in document.rows:
        assert row.get("regret", 0.0) >= 0.0 and row["seconds"] > 0.0 and 1 <= row["best_epoch"] <= EPOCHS
        answer = frappe.final(row["winner"], epoch=row["best_epoch"], seed=1)
        assert row["test_auc"] == answer.auc
    files = plots.draw(module, document)  # type: ignore[arg-type]
    assert sum(".svg" in str(file) for file in files) >= 1
    told = harness.summary(module, document)  # type: ignore[arg-type]
    assert f"{COUNT} of 100 architectures recorded" in told[0] and any("published" in line for line in told)


def test_a_share_of_the_top_is_replaced_and_no_more(frappe: Benchmark) -> None:
    pool, merits = 12, frappe.merits("expressflow")
    for share, kept in ((0.0, {6}), (0.5, {3}), (0.7, {1, 2}), (1.0, {0})):
        for seed in range(5):
            scores = noise_in_top_k.replaced(frappe, pool, 6, share, seed)
            chosen = set(np.flatnonzero(scores > 0).tolist())
            places = recorded(frappe, 1).drawn(pool, seed).places
            best = set(places[np.argsort(-merits[places])][:6].tolist())
            assert len(chosen) == 6 and chosen <= set(places.tolist())
            assert len(chosen & best) in kept


def test_what_is_replaced_is_the_share_in_the_mean_though_five_have_no_third(frappe: Benchmark) -> None:
    pool, k, seeds = 20, 5, range(100)
    merits = frappe.merits("expressflow")
    for share in (0.3, 0.5, 0.7):
        replaced = []
        for seed in seeds:
            places = recorded(frappe, 1).drawn(pool, seed).places
            best = places[np.argsort(-merits[places], kind="stable")][:k]
            scores = noise_in_top_k.replaced(frappe, pool, k, share, seed)
            replaced.append(k - int((scores[best] > 0).sum()))
        assert np.mean(replaced) / k == pytest.approx(share, abs=0.04)


def test_what_a_pool_holds_is_the_best_of_its_curves(frappe: Benchmark) -> None:
    assert half(frappe) == COUNT // 2
    for seed in range(4):
        places = recorded(frappe, 1).drawn(8, seed).places
        names = [frappe.architectures[place] for place in places]
        curves = [frappe.curve(name, seed=1) for name in names]
        best = max(range(8), key=lambda place: curves[place].valid_auc.max())
        epoch = int(curves[best].valid_auc.argmax()) + 1
        valid, test = reachable(frappe, 8, seed)
        assert valid == float(curves[best].valid_auc.max())
        assert test == frappe.final(names[best], epoch=epoch, seed=1).auc
        everything = simulate(frappe, 1e6, pool=8, seed=seed)
        assert row_of(everything, (valid, test))["regret"] == 0.0


def test_noise_between_seeds_is_their_pooled_deviation(frappe: Benchmark) -> None:
    aucs = np.stack([frappe.column("test_auc", epoch=EPOCHS, seed=seed) for seed in (1, 2)])
    assert seed_noise(open_table("frappe")) == pytest.approx(np.sqrt(aucs.var(axis=0, ddof=1).mean()))


def test_rows_of_a_table_that_has_grown_since_are_not_added_to(frappe: Benchmark, tmp_path: Path) -> None:
    document = harness.Document(tmp_path / "rows.json", "k_at_fixed_time", "", {}, [{}])
    context = harness.Context(document, "frappe", quick=False, seed=0)
    begin(context, frappe, 5)
    begin(context, frappe, 5)
    context.record({"winner": "8-8"})
    begin(context, frappe, 5)
    made_up(tmp_path / "bench" / "more", COUNT + 1, EPOCHS)
    with pytest.raises(
        InvalidInput, match=f"are of {COUNT} of 100 architectures recorded, and now there are 25"
    ) as told:
        begin(context, bench.open("more"), 5)
    assert told.value.hint == "Start over with --fresh."


def test_the_ratio_is_shown_where_the_time_and_not_the_table_holds_candidates_down(tmp_path: Path) -> None:
    rows = [{"part": "ratio", "time": 20, "ratio": ratio, "k": k} for ratio, k in ((1, 7), (2, 6), (4, 5), (8, 3))]
    document = harness.Document(tmp_path / "rows.json", "nku_tradeoff", "", {}, [{"recorded": 24}], rows)
    # 4 x 6 = 24 architectures are there for a sixth candidate; 8 x 4 = 32 are not.
    assert list(nku_tradeoff._by_ratio(document, 20)) == [1, 2, 4] and not nku_tradeoff._by_ratio(document, 60)
