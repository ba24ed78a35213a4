"""What rankings hang on: signs, initialisation, batch size and data, depth and width; Spearman with the recorded AUC.

Each network is drawn for itself alone and scored by the textbook's formula. One thing is changed at a time; everything
else is as by default: naswot on 32 real rows with signed weights, synflow and expressflow on one row of ones with
positive ones, He's initialisation. JacFlow adds the ranks of naswot and synflow, both changed alike. Where synflow or
expressflow reads rows instead of ones, R is the sum over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks import plots
from benchmarks._records import DATASETS, latest
from benchmarks._redrawn import redrawn
from benchmarks._statistics import Vector, merits
from benchmarks.harness import Context, Document, Row
from trails.bench.building.score_one import Scored
from trails.filtering import combine_ranks
from trails.tfmem import get_tfmem, textbook

__all__ = ["DATASETS", "draw", "run", "summarise"]

BATCH = 32
SIZES = (4, 8, 16, 32, 64, 128)
CHANGES: Mapping[str, tuple[str, ...]] = {
    "parameters": ("positive", "signed"),
    "initialisation": ("lecun", "xavier", "he"),
    "rows in the batch": tuple(map(str, SIZES)),
    "data in the batch": ("ones", "random", "real"),
    "recalibration": ("depth and width", "width", "depth", "neither"),
}
"""What is changed, and to what."""

METRICS = ("expressflow", "jacflow", "synflow", "naswot")


def run(context: Context) -> None:
    """Score the first recorded architectures in every way, several times with networks and rows drawn anew."""
    found = redrawn(context, score_all)
    if found is not None:
        changed = [(dict(zip(("change", "to", "metric"), key, strict=True)), key) for key in found.scores]
        context.record(*({**named, **found.correlation(key)} for named, key in changed))


def score_all(designs: Sequence[tuple[int, ...]], scored: Scored, seed: int) -> dict[tuple[str, str, str], Vector]:
    """Scores of designs in every way.

    Args:
        designs: Hidden widths.
        scored: Rows of the dataset.
        seed: Draws networks, rows, embedding and direction.

    Returns:
        By what is changed, to what, and metric: float64 (designs,), minus infinity where a score failed.
    """
    (batch,), _ = scored.rows.batches([get_tfmem("naswot")], max(SIZES), seed)
    generator = torch.Generator().manual_seed(seed)
    real = torch.from_numpy(batch.x)
    rows = {"real": real[:BATCH], "ones": torch.ones(BATCH, real.shape[1], dtype=torch.float64)}
    rows["random"] = torch.randn(BATCH, real.shape[1], dtype=torch.float64, generator=generator)
    found: dict[tuple[str, str, str], list[float]] = {}
    for design in designs:
        start = int(torch.randint(2**62, (), generator=generator))
        direction = torch.randn(real.shape[1], dtype=torch.float64, generator=generator)
        networks = {}
        for name in CHANGES["initialisation"]:
            own = torch.Generator().manual_seed(start)
            networks[name] = textbook.draw_signed_network(design, real.shape[1], own, initialisation=name)
        for key, score in _ways(networks, direction, rows, real):
            found.setdefault(key, []).append(score)
        found.setdefault(("controls", "", "params"), []).append(float(scored.space.parameters(design, real.shape[1])))
        norm = textbook.weight_norm(networks["he"])
        found.setdefault(("controls", "", "weight_norm"), []).append(norm)
    scores = {key: merits(np.array(values), "higher") for key, values in found.items()}
    chance = np.random.default_rng(seed).permutation(len(designs)).astype(np.float64)
    scores["controls", "", "random order"] = chance
    for change, to, metric in list(scores):
        if metric == "naswot":
            both = [scores[change, to, one] for one in ("naswot", "synflow")]
            both = [np.where(np.isfinite(one), one, np.nan) for one in both]
            scores[change, to, "jacflow"] = merits(combine_ranks(both, ["higher", "higher"]), "higher")
    return scores


def _ways(
    networks: Mapping[str, nn.Sequential], direction: Tensor, rows: Mapping[str, Tensor], real: Tensor
) -> Iterator[tuple[tuple[str, str, str], float]]:
    """One design's score by every metric in every way; ``real`` are rows for the largest batch."""
    he, inputs = networks["he"], real.shape[1]
    positive = _positive(he)
    for to in CHANGES["parameters"]:
        plus = to == "positive"
        yield ("parameters", to, "naswot"), textbook.naswot(positive if plus else he, rows["real"])
        yield ("parameters", to, "synflow"), textbook.synflow(he, inputs, positive=plus)
        yield ("parameters", to, "expressflow"), textbook.expressflow(he, direction, positive=plus)
    for to in CHANGES["initialisation"]:
        yield ("initialisation", to, "naswot"), textbook.naswot(networks[to], rows["real"])
        yield ("initialisation", to, "synflow"), textbook.synflow(networks[to], inputs)
        yield ("initialisation", to, "expressflow"), textbook.expressflow(networks[to], direction)
    on = [("rows in the batch", str(size), real[:size]) for size in SIZES]
    on += [("data in the batch", to, rows[to]) for to in CHANGES["data in the batch"]]
    for change, to, x in on:
        yield (change, to, "naswot"), textbook.naswot(he, x)
        yield (change, to, "synflow"), textbook.synflow(he, inputs, x)
        yield (change, to, "expressflow"), textbook.expressflow(he, direction, x)
    for to in CHANGES["recalibration"]:
        score = textbook.expressflow(he, direction, depth="depth" in to, width="width" in to)
        yield ("recalibration", to, "expressflow"), score


def _positive(network: nn.Sequential) -> nn.Sequential:
    return textbook.signed_network([linear.weight.detach().abs().T.numpy() for linear in network[::2]])


def summarise(document: Document) -> list[str]:
    """Every Spearman coefficient, and what each change gains or loses."""
    rows, dataset = latest(document), document.settings["dataset"]
    first = rows[0]
    lines = [
        f"{dataset}, {first['table']}, the first {first['scored']} scored {first['draws']} times; Spearman with "
        f"validation AUC, epoch {first['epoch']}"
    ]
    for change, values in CHANGES.items():
        for metric in METRICS:
            found = {row["to"]: row["spearman"] for row in rows if row["change"] == change and row["metric"] == metric}
            if found:
                told = ", ".join(f"{to} {_told(found[to])}" for to in values)
                lines.append(f"  {change:18}{metric:12} {told}")
    controls = [f"{row['metric']} {_told(row['spearman'])}" for row in rows if row["change"] == "controls"]
    return [*lines, f"  controls: {', '.join(controls)}"]


def draw(document: Document) -> Mapping[str, Figure]:
    """Spearman by what is changed, a panel each, with the controls as lines."""
    rows, dataset = latest(document), document.settings["dataset"]
    figure, axes = plots.panels(3, 2, width=3.6, height=2.7)
    for axis, (change, values) in zip(axes, CHANGES.items(), strict=False):
        _draw_change(axis, rows, change, values)
    axes[-1].axis("off")
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center left", fontsize=8)
    figure.suptitle(
        f"{dataset}, epoch {rows[0]['epoch']}: {rows[0]['table']}, {rows[0]['scored']} of them scored; bars: 95 % over "
        "the sample", fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    return {"": figure}


def _draw_change(axis: Axes, rows: Sequence[Row], change: str, values: Sequence[str]) -> None:
    for place, metric in enumerate(METRICS):
        found = {row["to"]: row for row in rows if row["change"] == change and row["metric"] == metric}
        if not found:
            continue
        at = np.arange(len(values)) + 0.09 * (place - 1.5)
        coefficients = np.array([found[to]["spearman"] for to in values], dtype=np.float64)
        bounds = np.array([found[to]["interval"] for to in values], dtype=np.float64)
        colour = plots.COLOURS[place]
        axis.vlines(at, bounds[:, 0], bounds[:, 1], color=colour, linewidth=1, alpha=0.7)
        axis.plot(at, coefficients, ".-", color=colour, linewidth=0.8, label=metric)
    for name, style in (("params", "--"), ("weight_norm", "-."), ("random order", ":")):
        value = next(row["spearman"] for row in rows if row["change"] == "controls" and row["metric"] == name)
        axis.axhline(np.nan if value is None else value, linestyle=style, color="#666666", linewidth=1,
                     label=f"{name} (control)")  # fmt: skip
    axis.set_xticks(range(len(values)), values, fontsize=8)
    axis.set_xlim(-0.5, len(values) - 0.5)
    axis.set_title(change if change != "recalibration" else "recalibration of expressflow by")
    axis.set_ylabel("Spearman with AUC")


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
