"""How far one epoch gets by learning rate: why UCI Diabetes' AUC after its first epoch differs from the published one.

Architectures of the recorded sample are trained for one epoch under the benchmark's protocol, but for the learning
rate. The published AUC is read after one epoch, so that whatever makes an epoch go further moves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._records import PUBLISHED_TABLE
from benchmarks._statistics import or_none
from benchmarks.harness import Context, Document, Row, run_pinned
from trails.bench.protocol import get_protocol

DATASETS = ("uci_diabetes",)

RATES = (1e-4, 3e-4, 1e-3, 3e-3)


def run(context: Context) -> None:
    """Train what is not recorded yet, on one core."""
    for rate in RATES:
        if not context.recorded(rate=rate):
            context.say(f"{context.dataset}: learning rate {rate:g}")
            count = 3 if context.quick else 16
            function = "benchmarks.first_epoch:train_first_epoch"
            context.record(*run_pinned(function, dataset=context.dataset, rate=rate, count=count))


def train_first_epoch(dataset: str, rate: float, count: int) -> list[Row]:
    """AUC of the first architectures of the sample after one epoch at a learning rate."""
    import torch

    from trails.bench.building.train import Rowsets, train
    from trails.bench.plan import Training, sample
    from trails.space import parse_space

    torch.set_num_threads(1)
    protocol = get_protocol(dataset)
    protocol = replace(protocol, epochs=1, options={**protocol.options, "learning_rate": rate, "embedding_rate": rate})
    rowsets, space = Rowsets.read(protocol, torch.device("cpu")), parse_space(protocol.space)
    rows = []
    for place, index in enumerate(sample(space.size, count)):
        (row,) = train(rowsets, protocol, Training(place, 1, index), "").curve
        name = space.format(space.architecture(index))
        aucs = {f"{split}_auc": or_none(row[f"{split}_auc"]) for split in ("train", "valid", "test")}
        rows.append({"rate": rate, "place": place, "architecture": name, **aucs, "train_loss": row["train_loss"]})
    return rows


def summarise(document: Document) -> list[str]:
    """Median and best by learning rate, beside the published ones."""
    median, best = PUBLISHED_TABLE[document.settings["dataset"]]
    lines = [f"{document.settings['dataset']}, validation AUC after one epoch; published median {median}, best {best}"]
    for rate in document.values("rate"):
        found = _aucs(document, rate)
        lines.append(f"  learning rate {rate:g}: median {np.median(found):.5f}, best {max(found):.5f} ({len(found)})")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """AUC by learning rate, the published median and best as lines."""
    figure, (axis,) = plots.panels(1, width=5.6)
    rates = document.values("rate")
    for rate in rates:
        found = _aucs(document, rate)
        axis.plot([rate] * len(found), found, "o", markersize=3, alpha=0.5, color=plots.COLOURS[0],
                  label="one architecture" if rate == rates[0] else None)  # fmt: skip
    axis.plot(rates, [np.median(_aucs(document, rate)) for rate in rates], "-", color=plots.COLOURS[0], label="median")
    median, best = PUBLISHED_TABLE[document.settings["dataset"]]
    axis.axhline(median, color=plots.COLOURS[1], linestyle="--", label="published median")
    axis.axhline(best, color=plots.COLOURS[1], linestyle=":", label="published best")
    axis.set_xscale("log")
    axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axis.minorticks_off()
    axis.set_xlabel("learning rate (the protocol has 0.001)")
    axis.set_ylabel("validation AUC after one epoch")
    count = len(_aucs(document, rates[0]))
    axis.set_title(f"{document.settings['dataset']}: the first {count} architectures of the sample")
    axis.legend(loc="upper left", fontsize=7)
    return {"": figure}


def _aucs(document: Document, rate: float) -> list[float]:
    return [row["valid_auc"] for row in document.select(rate=rate) if row["valid_auc"] is not None]
