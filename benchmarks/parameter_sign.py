"""What the sign of a network's weights does to every metric: signed or positive, on rows of ones or on real ones.

The published setting is an embedding of ones and a batch of 32: all rows are alike then, and metrics that compare rows
have nothing to compare, which is told as "none". Real rows stand beside it. Each network is drawn for itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._records import DATASETS, latest
from benchmarks._redrawn import redrawn
from benchmarks._statistics import Vector, merits, or_none, spearman
from benchmarks.harness import Context, Document
from trails.bench.building.score_one import BATCH, Scored
from trails.family.mlp.bank import draw_matrices
from trails.family.mlp.signals import MlpSignals
from trails.filtering.scoring import jacobian_rows
from trails.tfmem import REGISTRY, Batch, Tfmem, textbook

__all__ = ["DATASETS", "draw", "run", "summarise"]

SIGNS = ("signed", "positive")
DATA = ("ones", "real")
RANDOM = "random order"
CONTROLS = ("params", "flops", "weight_norm")


def run(context: Context) -> None:
    """Score the first recorded architectures by every metric with either sign, several times drawn anew."""
    found = redrawn(context, score_all)
    if found is None:
        return
    rows = []
    for key, scores in found.scores.items():
        metric, sign, data = key
        other = found.scores[metric, "signed", data]
        agreement = float(np.mean([spearman(a, b) for a, b in zip(scores, other, strict=True)]))
        named = {"metric": metric, "sign": sign, "data": data, "with_signed": or_none(agreement)}
        rows.append({**named, **found.correlation(key)})
    context.record(*rows)


def score_all(designs: Sequence[tuple[int, ...]], scored: Scored, seed: int) -> dict[tuple[str, str, str], Vector]:
    """Scores of designs.

    Args:
        designs: Hidden widths.
        scored: Rows of the dataset.
        seed: Draws networks, rows and embedding.

    Returns:
        By metric, sign and data: float64 (designs,), higher is better, minus infinity where a score failed.
    """
    metrics = [metric for metric in REGISTRY.values() if not metric.combines]
    real = scored.batches(seed)
    batches = {"real": real, "ones": tuple(Batch(np.ones_like(batch.x), batch.y) for batch in real)}
    # Rows beyond the Jacobian's rank are left out where a metric cannot use them.
    few = jacobian_rows(scored.space, real[0])
    found: dict[tuple[str, str, str], list[float]] = {}
    for design in designs:
        drawn = draw_matrices(design, real[0].inputs, 1, seed)
        for sign in SIGNS:
            matrices = [(np.abs(entries) if sign == "positive" else entries, factor) for entries, factor in drawn]
            weights = [entries * factor for entries, factor in matrices]
            network = textbook.signed_network(weights)
            direction = torch.randn(real[0].inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            for data in DATA:
                signals = [MlpSignals(matrices, batch) for batch in batches[data]]
                x = torch.from_numpy(batches[data][0].x)
                for metric in metrics:
                    if metric.name == "synflow":
                        score = textbook.synflow(network, x.shape[1], x, positive=False)
                    elif metric.name == "expressflow":
                        score = textbook.expressflow(network, direction, x, positive=False)
                    elif metric.of_network is not None:
                        score = _of_counts(metric, network)
                    elif metric.within_rank:
                        score = _of_signals(metric, [MlpSignals(matrices, batches[data][0].head(few))])
                    else:
                        score = _of_signals(metric, signals[: metric.batches])
                    found.setdefault((metric.name, sign, data), []).append(score)
    turned = {key: merits(np.array(scores), REGISTRY[key[0]].orientation) for key, scores in found.items()}
    chance = np.random.default_rng(seed).permutation(len(designs)).astype(np.float64)
    return turned | {(RANDOM, sign, data): chance for sign in SIGNS for data in DATA}


def _of_counts(metric: Tfmem, network: torch.nn.Sequential) -> float:
    return float(getattr(textbook, metric.name)(network))


def _of_signals(metric: Tfmem, signals: Sequence[MlpSignals]) -> float:
    assert metric.of_signals is not None
    # A saturated network divides by zero, and so do rows that are all alike: a failed score, not a warning.
    with np.errstate(all="ignore"):
        return float(metric.of_signals(signals))


def summarise(document: Document) -> list[str]:
    """Spearman with AUC of every metric, four ways."""
    rows, dataset = latest(document), document.settings["dataset"]
    first = rows[0]
    lines = [
        f"{dataset}, {first['table']}, the first {first['scored']} scored {first['draws']} times, batch {BATCH}; "
        f"Spearman with validation AUC, epoch {first['epoch']}: ones signed, ones positive, real signed, real "
        "positive; and of signed with positive scores, on real rows"
    ]
    table = {(row["metric"], row["data"], row["sign"]): row for row in rows}
    for name in _in_order(document):
        told = [_told(table[name, data, sign]["spearman"]) for data in DATA for sign in SIGNS]
        lines.append(f"  {name:17}{' '.join(told)}; {_told(table[name, 'real', 'positive']['with_signed'])}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Spearman of every metric by sign, on rows of ones and on real ones."""
    rows, dataset = latest(document), document.settings["dataset"]
    names = _in_order(document)[::-1]
    table = {(row["metric"], row["data"], row["sign"]): row for row in rows}
    figure, axes = plots.panels(2, width=3.6, height=0.25 * len(names) + 1.0)
    for axis, data in zip(axes, DATA, strict=True):
        for offset, sign, colour in ((0.15, "signed", 0), (-0.15, "positive", 1)):
            found = [table[name, data, sign] for name in names]
            places = np.arange(len(names)) + offset
            bounds = np.array([row["interval"] for row in found], dtype=np.float64)
            axis.hlines(places, bounds[:, 0], bounds[:, 1], color=plots.COLOURS[colour], linewidth=1)
            values = np.array([row["spearman"] for row in found], dtype=np.float64)
            axis.plot(values, places, ".", markersize=7, color=plots.COLOURS[colour], label=f"{sign} weights")
        for place, name in enumerate(names):
            if all(table[name, data, sign]["spearman"] is None for sign in SIGNS):
                axis.text(0.02, place, "none: all scores alike, or failed", fontsize=6.5, va="center", color="#666666")
        labels = [f"{name} (control)" if name in CONTROLS else name for name in names]
        axis.set_yticks(range(len(names)), labels if axis is axes[0] else [""] * len(names))
        axis.axvline(0.0, color="#888888", linewidth=0.8)
        axis.set_xlim(-1.0, 1.0)
        axis.set_xlabel("Spearman with validation AUC")
        axis.set_title(f"{BATCH} rows of ones" if data == "ones" else f"{BATCH} real rows")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.suptitle(
        f"{dataset}, epoch {rows[0]['epoch']}: {rows[0]['table']}, {rows[0]['scored']} of them scored; bars: 95 %",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    return {"": figure}


def _in_order(document: Document) -> list[str]:
    """Metrics by what they reach on real rows as they are by default, best first."""
    rows = [row for row in latest(document) if row["data"] == "real" and row["sign"] == "signed"]
    ordered = sorted(rows, key=lambda row: 2.0 if row["spearman"] is None else -row["spearman"])
    return [row["metric"] for row in ordered]


def _told(value: float | None) -> str:
    return "  none" if value is None else f"{value:6.3f}"
