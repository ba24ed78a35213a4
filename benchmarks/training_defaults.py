"""Validation and test AUC by epoch when one training option differs from its default."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.harness import Context, Document, Row, run_pinned
from trails.table.columns import Columns

DATASETS = ("frappe", "uci_diabetes", "criteo")
ARCHITECTURES = ("256-128-256-128", "96-64-96-64")
VARIANTS: Mapping[str, dict[str, Any]] = {
    "defaults": {},
    "no L2 on embeddings": {"embedding_l2": 0.0},
    "L2 0.01": {"embedding_l2": 1e-2},
    "L2 0.001": {"embedding_l2": 1e-3},
    "L2 0.0001": {"embedding_l2": 1e-4},
    "embedding rate doubled": {"embedding_rate": 8e-3},
    "embedding rate halved": {"embedding_rate": 2e-3},
    "learning rate halved": {"learning_rate": 1e-3},
    "learning rate doubled": {"learning_rate": 4e-3},
    "rates decay by 0.1 an epoch": {"decay": 0.1},
    "no dropout": {"dropout": 0.0},
    "dropout 0.2": {"dropout": 0.2},
    "weight decay 1": {"weight_decay": 1.0},
    "no averaging": {"average": 0.0},
    "averaging half an epoch": {"average": 0.5},
    "embedding 16": {"embedding": 16},
    "batch 512": {"batch": 512},
    "batch 2048": {"batch": 2048},
}
_EPOCHS = {"frappe": 12, "uci_diabetes": 4, "criteo": 3}
_SEEDS = 2


def run(context: Context) -> None:
    """Train what is not recorded yet."""
    variants = list(VARIANTS)[:2] if context.quick else list(VARIANTS)
    seeds = 1 if context.quick else _SEEDS
    assert context.dataset is not None
    for variant in variants:
        for seed in range(context.seed, context.seed + seeds):
            if context.recorded(variant=variant, model_seed=seed):
                continue
            context.say(f"{context.dataset}: {variant}, seed {seed}")
            rows = run_pinned(
                "benchmarks.training_defaults:train",
                cores=2,
                dataset=context.dataset,
                options=VARIANTS[variant],
                epochs=2 if context.quick else _EPOCHS[context.dataset],
                seed=seed,
            )
            context.record(*({"variant": variant, "model_seed": seed, **row} for row in rows))


def train(dataset: str, options: dict[str, Any], epochs: int, seed: int, rows: int | None = None) -> list[Row]:
    """Learning curves of the architectures, and the test AUC of each one's best epoch.

    Args:
        dataset: A published one.
        options: Of training.
        epochs: Of each architecture.
        seed: Of training, and of which rows are taken.
        rows: How many training rows are taken, a share of them held out for validation; None for all, and the
            dataset's own validation rows.
    """
    from trails.refinement import process

    process.prepare()
    import torch

    from benchmarks.selection import TARGET, columns, test_auc
    from trails.refinement.dataset import prepare
    from trails.refinement.protocol import Candidate, Events, Refine, Setting
    from trails.refinement.run import refine
    from trails.refinement.timings import Timings
    from trails.training.options import parse_options

    training, test = columns(dataset, "train"), columns(dataset, "test")
    validation: Columns | None = columns(dataset, "valid")
    if rows is not None:
        training, validation = _some(training, rows, seed), None
    cpu = torch.device("cpu")
    data = prepare(training, validation, TARGET, seed, cpu)
    chosen = parse_options({"patience": epochs, "max_epochs": epochs, **options})
    setting = Setting(TARGET, seed, 0.0, math.inf, math.inf, {"columns": [], "rows": 0}, None)
    found: list[Row] = []
    for architecture in ARCHITECTURES:
        # Each in a run of its own: only the best one of a run keeps its weights.
        candidate = Candidate(architecture, tuple(map(int, architecture.split("-"))), None)
        lines: list[bytes] = []
        request = Refine((candidate,), "ua", 1, epochs, chosen)
        (trial,) = refine(setting, request, data, [cpu], Events(lines.append), Timings(0.0))
        curve = [e["validation_metric"] for e in map(json.loads, lines) if e["event"] == "epoch"]
        found.append(
            {
                "architecture": architecture,
                "curve": curve,
                "best_epoch": trial.best_epoch,
                "validation_metric": trial.best_metric,
                "test_auc": test_auc(trial, data, test),
                "seconds_per_epoch": trial.seconds / trial.epochs,
            }
        )
    return found


def _some(columns: Columns, count: int, seed: int) -> Columns:
    """So many rows, drawn at random."""
    drawn = np.random.default_rng(seed).choice(columns.rows, count, replace=False)
    return columns.take(np.sort(drawn))


def _means(document: Document, variant: str) -> tuple[float, float]:
    rows = document.select(variant=variant)
    return statistics.fmean(r["validation_metric"] for r in rows), statistics.fmean(r["test_auc"] for r in rows)


def _variants(document: Document) -> list[str]:
    recorded = {row["variant"] for row in document.rows}
    return [variant for variant in VARIANTS if variant in recorded]


def summarise(document: Document) -> list[str]:
    """Per variant: AUC of the best epoch, means over architectures and seeds, and the difference to the defaults."""
    lines = [f"{document.settings['dataset']}, best of {_EPOCHS[document.settings['dataset']]} epochs, mean AUC:"]
    base = _means(document, "defaults")
    for variant in _variants(document):
        validation, test = _means(document, variant)
        lines.append(
            f"  {variant:24} validation {validation:.4f} ({validation - base[0]:+.4f}), "
            f"test {test:.4f} ({test - base[1]:+.4f})"
        )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Difference to the defaults by variant, validation and test, every run as a dot."""
    figure, (axis,) = plots.panels(1, width=6.4, height=4.0)
    base_rows = {(r["architecture"], r["model_seed"]): r for r in document.select(variant="defaults")}
    variants = [variant for variant in _variants(document) if variant != "defaults"]
    for offset, (metric, colour) in enumerate(zip(("validation_metric", "test_auc"), plots.COLOURS, strict=False)):
        for place, variant in enumerate(variants):
            rows = document.select(variant=variant)
            gains = [r[metric] - base_rows[r["architecture"], r["model_seed"]][metric] for r in rows]
            height = place + 0.3 * offset - 0.15
            axis.plot(gains, [height] * len(gains), "o", color=colour, markersize=3, alpha=0.5)
            label = {"validation_metric": "validation AUC", "test_auc": "test AUC"}[metric] if place == 0 else None
            axis.plot([statistics.fmean(gains)], [height], "|", color=colour, markersize=12, label=label)
    axis.axvline(0.0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(variants)), variants)
    axis.invert_yaxis()
    axis.set_xlabel("AUC less that of the defaults, same architecture and seed")
    axis.set_title(f"One option changed: {document.settings['dataset']}")
    axis.legend(loc="lower left")
    return {"": figure}
