"""Test AUC by number of training rows: with the regularisation that suits it, with none, and with a fixed one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.harness import Context, Document, run_pinned

DATASETS = ("frappe", "uci_diabetes", "criteo")
VARIANTS: Mapping[str, dict[str, Any]] = {
    "auto": {},
    "none": {"dropout": 0.0, "embedding_l2": 0.0},
    "least": {"dropout": 0.0, "embedding_l2": 1e-3},
    "most": {"dropout": 0.5, "embedding_l2": 0.04},
}
"""``least`` is what ``auto`` becomes for many rows, ``most`` for few."""

_ROWS = (2_500, 5_000, 10_000, 20_000, 40_000, 80_000)
_SEEDS = 2
_EPOCHS, _PATIENCE = 15, 3


def run(context: Context) -> None:
    """Train what is not recorded yet, on as many rows as the dataset has at most."""
    from benchmarks.selection import columns

    assert context.dataset is not None
    sizes, seeds = (_ROWS[:1], 1) if context.quick else (_ROWS, _SEEDS)
    for rows in sizes:
        if rows > columns(context.dataset, "train").rows:
            continue
        for seed in range(context.seed, context.seed + seeds):
            for variant, options in VARIANTS.items():
                if context.recorded(train_rows=rows, variant=variant, model_seed=seed):
                    continue
                context.say(f"{context.dataset}: {rows:,} rows, {variant}, seed {seed}")
                trained = run_pinned(
                    "benchmarks.training_defaults:train",
                    cores=1,
                    dataset=context.dataset,
                    options={"patience": _PATIENCE, **options},
                    epochs=_EPOCHS,
                    seed=seed,
                    rows=rows,
                )
                context.record(
                    *({"train_rows": rows, "variant": variant, "model_seed": seed, **row} for row in trained)
                )


def _mean(document: Document, rows: int, variant: str) -> float:
    return statistics.fmean(row["test_auc"] for row in document.select(train_rows=rows, variant=variant))


def summarise(document: Document) -> list[str]:
    """Mean test AUC over architectures and seeds, by rows and variant."""
    lines = [f"{document.settings['dataset']}, best of {_EPOCHS} epochs by validation, mean test AUC:"]
    for rows in document.values("train_rows"):
        aucs = ", ".join(f"{variant} {_mean(document, rows, variant):.4f}" for variant in VARIANTS)
        lines.append(f"  {rows:7,} rows: {aucs}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Mean test AUC by number of rows, a line a variant; every run as a dot."""
    figure, (axis,) = plots.panels(1, width=5.6)
    sizes = document.values("train_rows")
    for variant, colour in zip(VARIANTS, plots.COLOURS, strict=False):
        axis.plot(sizes, [_mean(document, rows, variant) for rows in sizes], color=colour, label=variant)
        runs = document.select(variant=variant)
        axis.plot([r["train_rows"] for r in runs], [r["test_auc"] for r in runs], ".", color=colour, markersize=3)
    axis.set_xscale("log")
    axis.set_xticks(sizes, [f"{rows:,}" for rows in sizes], fontsize=7)
    axis.minorticks_off()
    axis.set_xlabel("training rows, a fifth of them held out")
    axis.set_ylabel("test AUC")
    axis.set_title(f"Dropout and L2: {document.settings['dataset']}")
    axis.legend()
    return {"": figure}
