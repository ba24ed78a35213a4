"""The experiments on correlations, on a small made-up benchmark whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from benchmarks import (
    ablation_correlation,
    effective_combinations,
    harness,
    parameter_sign,
    plots,
    score_auc_relation,
    search_space_stats,
    tfmem_correlation,
)
from benchmarks._records import latest, open_table, seeds_recorded
from tests.bench.records import MACHINE, made_up
from trails.bench.building.score_one import SCORED, Scored
from trails.bench.protocol import get_protocol
from trails.bench.store import Store
from trails.tfmem import textbook

COUNT = 24
EPOCHS = 14
FAILING = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark in which params tell the final AUC, synflow its reverse, and everything else nothing."""
    folder = tmp_path_factory.mktemp("bench")
    benchmark = made_up(
        folder / "frappe", COUNT, EPOCHS, seeds=(1, 2, 3), space="mlp4x20", failing=frozenset({FAILING})
    )
    aucs = benchmark.column("valid_auc", epoch=EPOCHS, seed=1)
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for metric in SCORED:
        for seed in (1, 2, 3) if metric.needs else (1,):
            known = {"params": aucs, "synflow": -1e7 * aucs}.get(metric.name, generator.random(COUNT))
            rows += [
                {"place": place, "tfmem": metric.name, "batch_seed": seed, "score": float(value), "seconds": 0.001,
                 "machine": MACHINE}
                for place, value in enumerate(np.nan_to_num(known))
            ]  # fmt: skip
    Store(folder / "frappe").add_scores(rows)
    data = folder / "data" / "frappe"
    data.mkdir(parents=True)
    ids = generator.integers(0, 20, (400, 10)) + 20 * np.arange(10)
    lines = [f"{row[0] % 2} " + " ".join(f"{value}:1" for value in row) for row in ids.tolist()]
    for split in ("train", "valid", "test"):
        (data / f"{split}.libsvm").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAILS_BENCH", str(folder))
    monkeypatch.setenv("TRAILS_DATA", str(folder / "data"))


def run(module: Any, results: Path) -> tuple[harness.Document, Sequence[str]]:
    """Run, sum up and draw an experiment; its rows must be JSON that others read too."""
    experiment = cast(harness.Experiment, module)
    document = harness.run(experiment, results=results, dataset="frappe", quick=True, seed=0)
    json.dumps(document.rows, allow_nan=False)
    assert all(row["architectures"] == COUNT for row in document.rows)
    assert plots.draw_files(experiment, document)
    return document, harness.summary(experiment, document)


def test_the_space_is_summed_up_beside_what_was_published(tmp_path: Path) -> None:
    document, lines = run(search_space_stats, tmp_path)
    aucs = open_table("frappe").column("valid_auc", epoch=EPOCHS, seed=1)
    assert f"median {np.nanmedian(aucs):.5f} (published 0.97729" in lines[1]
    assert f"best   {np.nanmax(aucs):.5f} (published 0.98141" in lines[2]
    last = next(row for row in document.rows if row["what"] == "epoch" and row["epoch"] == EPOCHS)
    assert last["valid_quantiles"][-1] == last["best_valid_auc"] and last["failed"] == 1
    assert "24 architectures with three seeds" in "".join(lines)


def test_architectures_with_all_seeds_are_aligned() -> None:
    benchmark = open_table("frappe")
    values = seeds_recorded(benchmark, "valid_auc", EPOCHS)
    assert values.shape == (3, COUNT)
    for seed in (1, 2, 3):
        for place, name in enumerate(benchmark.architectures):
            if place != FAILING:
                assert values[seed - 1, place] == benchmark.query(name, epoch=EPOCHS, seed=seed, split="valid").auc


def test_metrics_that_know_the_answer_correlate_with_it_and_stand_beside_controls(tmp_path: Path) -> None:
    document, lines = run(tfmem_correlation, tmp_path)
    rows = {(row["metric"], row["split"], row["share"]): row for row in document.rows if row["what"] == "score"}
    params, synflow = (rows[name, "valid", 1.0] for name in ("params", "synflow"))
    assert [params[kind] for kind in ("spearman", "kendall", "pearson")] == pytest.approx([1.0, 1.0, 1.0])
    assert params["spearman_interval"] == pytest.approx([1.0, 1.0]) and params["n"] == COUNT - 1
    assert synflow["spearman"] == pytest.approx(-1.0)
    assert rows["params", "valid", 0.5]["n"] == 12
    naswot = rows["naswot", "valid", 1.0]
    assert len(naswot["spearman_batches"]) == 3 and len(params["spearman_batches"]) == 1
    assert naswot["spearman"] == pytest.approx(np.mean(naswot["spearman_batches"]))
    trap = next(row for row in document.rows if row["what"] == "raw sum")
    assert trap["raw_sum_with_synflow"] == pytest.approx(1.0), "the larger numbers decide"
    assert trap["rank_sum_with_synflow"] < 0.99
    told = [line.split()[0] for line in lines]
    assert told.index("params") == 1, "the best first"
    assert {"flops", "weight_norm", "random"} <= set(told)
    assert any("expressflow" in line and "published 0.803" in line for line in lines)


def test_a_larger_table_is_looked_up_anew_and_shown_alone(tmp_path: Path) -> None:
    document, _ = run(search_space_stats, tmp_path)
    before = len(document.rows)
    context = harness.Context(document, "frappe", False, 0)
    search_space_stats.run(context)
    assert len(document.rows) == before, "the same table says nothing new"
    for row in document.rows:
        row["architectures"] -= 1
    search_space_stats.run(context)
    assert len(document.rows) == 2 * before and len(latest(document)) == before


def _designs(count: int) -> list[tuple[int, ...]]:
    space = open_table("frappe").recorded(1)
    return [space.architecture(place) for place in range(count)]


def test_an_ablation_keeps_the_identities_of_positive_networks() -> None:
    scores = ablation_correlation.score_all(_designs(8), Scored.read(get_protocol("frappe")), 3)
    neither = scores["recalibration", "neither", "expressflow"]
    synflow = scores["parameters", "positive", "synflow"]
    assert 5 * neither == pytest.approx(synflow), "every layer of a positive network carries the whole output"
    default = scores["recalibration", "depth and width", "expressflow"]
    assert default == pytest.approx(scores["initialisation", "he", "expressflow"])
    assert scores["initialisation", "lecun", "naswot"] == pytest.approx(scores["initialisation", "he", "naswot"])
    ratio = scores["initialisation", "he", "synflow"] / scores["initialisation", "lecun", "synflow"]
    assert ratio == pytest.approx(np.full(8, 2**2.5))
    assert len(set(scores["data in the batch", "ones", "naswot"])) == 1, "rows of ones cannot be told apart"
    assert not np.allclose(scores["parameters", "signed", "synflow"], synflow)


def test_an_ablation_is_recorded_and_drawn(tmp_path: Path) -> None:
    document, lines = run(ablation_correlation, tmp_path)
    found = {(row["change"], row["to"], row["metric"]): row["spearman"] for row in document.rows}
    assert found["data in the batch", "ones", "naswot"] is None
    assert found["recalibration", "neither", "expressflow"] == found["parameters", "positive", "synflow"]
    assert {row["metric"] for row in document.rows if row["change"] == "controls"} == {
        "params", "weight_norm", "random order",
    }  # fmt: skip
    assert "naswot       ones none" in "\n".join(lines)


def test_signs_change_what_reads_gradients_and_not_what_counts(tmp_path: Path) -> None:
    document, lines = run(parameter_sign, tmp_path)
    found = {(row["metric"], row["data"], row["sign"]): row for row in document.rows}
    assert found["params", "real", "positive"]["with_signed"] == pytest.approx(1.0)
    assert found["weight_norm", "ones", "positive"]["spearman"] == found["weight_norm", "real", "signed"]["spearman"]
    assert found["naswot", "ones", "signed"]["spearman"] is None
    assert found["grad_plain", "real", "positive"]["with_signed"] < 0.99
    assert any(line.split()[0] == "random" for line in lines)


def test_a_search_asks_for_each_once_and_keeps_the_best_of_what_it_saw() -> None:
    space = open_table("frappe").recorded(1)
    scores = np.random.default_rng(1).random(COUNT)
    scores[3] = -np.inf
    for sampler in score_auc_relation.SAMPLERS:
        asked = score_auc_relation.search(space, scores, sampler, 20, 0)
        assert len(set(asked.tolist())) == 20
        best = score_auc_relation.incumbents(asked, scores)
        assert [scores[one] for one in best] == np.maximum.accumulate(scores[asked]).tolist()


def test_searches_are_recorded_and_drawn(tmp_path: Path) -> None:
    _, lines = run(score_auc_relation, tmp_path)
    aucs = open_table("frappe").column("valid_auc", epoch=EPOCHS, seed=1)
    told = next(line for line in lines if "params" in line and "Spearman" in line)
    assert f"best score of all {np.nanmax(aucs):.5f}" in told


def test_a_way_of_refinement_spends_what_it_trains() -> None:
    generator = np.random.default_rng(0)
    valid = np.sort(generator.random((30, 9)), axis=1)
    valid[4, 3:] = -np.inf
    seconds = np.cumsum(generator.uniform(0.5, 1.5, (30, 9)), axis=1)
    curves = effective_combinations.Curves(valid, valid - 0.1, seconds)
    full = effective_combinations.refine(curves, list(range(10)), "full")
    assert full["epochs"] == 90 and full["refinement_seconds"] == pytest.approx(seconds[:10, -1].sum())
    assert full["valid_auc"] == valid[:10].max() and full["test_auc"] == pytest.approx(full["valid_auc"] - 0.1)
    halving = effective_combinations.refine(curves, list(range(9)), "sh")
    # Nine for an epoch, three for two more, one for six more.
    assert halving["epochs"] == 9 + 3 * 2 + 6
    first = np.argsort(-valid[:9, 0])[:3]
    second = first[np.argsort(-valid[first, 2])[:1]]
    assert halving["valid_auc"] == valid[second].max()
    rejects = effective_combinations.refine(curves, list(range(9)), "sj")
    assert 9 <= rejects["epochs"] <= halving["epochs"]


def test_combinations_pay_for_scoring_and_the_right_metric_finds_the_best(tmp_path: Path) -> None:
    document, lines = run(effective_combinations, tmp_path)
    rows = [row for row in document.rows if row["metric"] != "table"]
    assert {(row["metric"], row["way"]) for row in rows} == {
        (metric, way) for metric in effective_combinations.METRICS for way in effective_combinations.WAYS
    }
    # 19 of 24 architectures, a millisecond each; jacflow has two parts.
    for metric, paid in (("snip", 0.019), ("jacflow", 0.038), ("random order", 0.0)):
        assert all(row["filtering_seconds"] == pytest.approx(paid) for row in rows if row["metric"] == metric)
    # Params are the final AUC here, and so its first candidate, trained to the end, is the best of what was seen.
    firsts = [row for row in rows if row["metric"] == "params" and row["way"] == "full" and row["k"] == 1]
    others = [row for row in rows if row["metric"] == "synflow" and row["way"] == "full" and row["k"] == 1]
    for best, worst in zip(firsts, others, strict=True):
        assert best["valid_auc"] > worst["valid_auc"]
    assert "at K = 1, 4, 16" in lines[0]


@pytest.mark.parametrize("design", [(8, 24, 16), (32,)])
def test_the_textbook_leaves_out_what_it_is_told_to(design: tuple[int, ...]) -> None:
    network = textbook.draw_signed_network(design, 12, torch.Generator().manual_seed(0))
    direction = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    through = textbook.synflow(network, 12) / (len(design) + 1)
    assert textbook.expressflow(network, direction, depth=False, width=False) == pytest.approx(through)
    assert textbook.expressflow(network, direction, width=False) == pytest.approx(through, rel=1e-6)
    mean = float(np.mean(design))
    assert textbook.expressflow(network, direction, depth=False) == pytest.approx(mean * through)
    ones = torch.ones(4, 12, dtype=torch.float64)
    assert textbook.synflow(network, 12, ones) == pytest.approx(4 * textbook.synflow(network, 12))
    assert textbook.expressflow(network, direction, ones) == pytest.approx(
        4 * textbook.expressflow(network, direction), rel=1e-4
    )
    assert textbook.synflow(network, 12, positive=False) < textbook.synflow(network, 12)


def test_initialisations_differ_by_their_bounds() -> None:
    from trails.errors import InvalidInput

    drawn = {
        name: textbook.draw_signed_network((8,), 12, torch.Generator().manual_seed(0), initialisation=name)
        for name in textbook.INITIALISATIONS
    }
    bounds = {name: float(network[0].weight.detach().abs().max()) for name, network in drawn.items()}
    assert bounds["he"] / bounds["lecun"] == pytest.approx(2**0.5)
    assert bounds["he"] / bounds["xavier"] == pytest.approx((20 / 12) ** 0.5)
    with pytest.raises(InvalidInput, match="zeros"):
        textbook.draw_signed_network((8,), 12, torch.Generator(), initialisation="zeros")
