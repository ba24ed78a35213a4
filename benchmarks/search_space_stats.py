"""The recorded space: distribution of AUC after every epoch, its best and median, size against AUC, noise of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks._records import (
    DATASETS,
    FINAL_EPOCH,
    PUBLISHED_TABLE,
    SEED,
    latest,
    open_table,
    seeds_recorded,
    table_size,
)
from benchmarks._statistics import spearman
from benchmarks.harness import Context, Document, Row

__all__ = ["DATASETS", "draw", "run", "summarise"]

_QUANTILES = np.linspace(0.0, 1.0, 201)
_SHARES = (0.5, 0.9, 1.0)


def run(context: Context) -> None:
    """Look up every epoch of every architecture."""
    assert context.dataset is not None
    benchmark = open_table(context.dataset)
    size, epochs = benchmark.recorded(SEED).size, benchmark.setting.epochs
    if context.recorded(architectures=size):
        return
    common = {"architectures": size, "table": table_size(benchmark), "epochs": epochs}
    rows: list[Row] = []
    for epoch in range(1, epochs + 1):
        row = {"what": "epoch", "epoch": epoch, **common}
        for split in ("train", "valid", "test"):
            found = benchmark.column(f"{split}_auc", epoch=epoch, seed=SEED)
            row |= {f"{split}_quantiles": np.nanquantile(found, _QUANTILES).tolist(), "failed": _failed(found)}
        best = benchmark.best(epoch=epoch, seed=SEED)
        rows.append({**row, "best": best.architecture, "best_valid_auc": best.auc})
        rows[-1]["best_test_auc"] = benchmark.final(best.architecture, epoch=epoch, seed=SEED).auc
        seeds = seeds_recorded(benchmark, "valid_auc", epoch)
        rows.append({"what": "seeds", "epoch": epoch, "valid_auc": [_numbers(one) for one in seeds], **common})
    final = FINAL_EPOCH[context.dataset]
    space = benchmark.recorded(SEED)
    inputs = benchmark.setting.fields * int(benchmark.setting.options["embedding"])
    rows.append(
        {
            "what": "size",
            "epoch": final,
            # The embedding, which all share, is left out: it would hide how far the networks' sizes lie apart.
            "parameters": space.parameters_at(np.arange(space.size), inputs).tolist(),
            "valid_auc": _numbers(benchmark.column("valid_auc", epoch=final, seed=SEED)),
            **common,
        }
    )
    context.record(*rows)


def noise(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Standard deviation between seeds of one architecture, that between architectures, mean Spearman of two seeds.

    Args:
        values: float64 (seeds, architectures). Architectures of which a training went wrong are left out.

    Returns:
        Of either deviation the root of the mean variance: within architectures, and of one seed's values. All are NaN
        of fewer than three architectures.
    """
    sound = values[:, np.isfinite(values).all(axis=0)]
    if sound.shape[1] < 3:
        return float("nan"), float("nan"), float("nan")
    within = float(np.sqrt(sound.var(axis=0, ddof=1).mean()))
    across = float(np.sqrt(sound.var(axis=1, ddof=1).mean()))
    pairs = [(a, b) for a in range(len(sound)) for b in range(a)]
    return within, across, float(np.mean([spearman(sound[a], sound[b]) for a, b in pairs]))


def summarise(document: Document) -> list[str]:
    """Median and best beside the published ones, and how much of the spread is noise."""
    rows, dataset = latest(document), document.settings["dataset"]
    final = _epoch(rows, FINAL_EPOCH[dataset])
    median, best = PUBLISHED_TABLE[dataset]
    middle, highest = final["valid_quantiles"][100], final["valid_quantiles"][-1]
    lines = [
        f"{dataset}, {final['table']}, validation AUC after epoch {final['epoch']}:",
        f"  median {middle:.5f} (published {median:.5f}, {middle - median:+.5f})",
        f"  best   {highest:.5f} (published {best:.5f}, {highest - best:+.5f}): {final['best']}, "
        f"test {final['best_test_auc']:.5f}; median on test rows {final['test_quantiles'][100]:.5f}",
    ]
    peak = max((row for row in rows if row["what"] == "epoch"), key=lambda row: float(row["valid_quantiles"][100]))
    lines.append(f"  the median is highest after epoch {peak['epoch']}: {peak['valid_quantiles'][100]:.5f}")
    for row in rows:
        if row["what"] == "seeds" and row["epoch"] in (1, FINAL_EPOCH[dataset], row["epochs"]):
            values = np.array(row["valid_auc"], dtype=np.float64)
            within, across, agreement = noise(values)
            if not np.isfinite(within):
                lines.append(f"  epoch {row['epoch']:2}: too few architectures have three seeds so far")
                continue
            lines.append(
                f"  epoch {row['epoch']:2}: deviation {within:.5f} between seeds, {across:.5f} between architectures, "
                f"Spearman of two seeds {agreement:.3f} ({values.shape[1]} architectures with three seeds)"
            )
    size = next(row for row in rows if row["what"] == "size")
    return [*lines, f"  Spearman of parameters and AUC {_size_correlation(size):.3f}"]


def draw(document: Document) -> Mapping[str, Figure]:
    """Distribution by epoch, curves of best and median, size against AUC, noise of seeds."""
    rows, dataset = latest(document), document.settings["dataset"]
    figure, axes = plots.panels(2, 2)
    epochs = [row for row in rows if row["what"] == "epoch"]
    _draw_distribution(axes[0], epochs)
    _draw_curves(axes[1], epochs, dataset)
    _draw_size(axes[2], next(row for row in rows if row["what"] == "size"))
    _draw_noise(axes[3], [row for row in rows if row["what"] == "seeds"])
    figure.suptitle(f"{dataset}: {epochs[0]['table']}", fontsize=10, x=0.01, ha="left")
    return {"": figure}


def _draw_distribution(axis: Axes, epochs: Sequence[Row]) -> None:
    count = len(epochs)
    shown = sorted({0, min(1, count - 1), count // 4, count // 2, count - 1})
    for place in shown:
        row = epochs[place]
        axis.plot(row["valid_quantiles"], _QUANTILES, label=f"epoch {row['epoch']}")
    # The worst few would leave no room for the others.
    axis.set_xlim(min(epochs[place]["valid_quantiles"][4] for place in shown))
    axis.set_xlabel("validation AUC (the worst 2 % not shown)")
    axis.set_ylabel("share of architectures below")
    axis.set_title("Distribution after an epoch")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=7)


def _draw_curves(axis: Axes, epochs: Sequence[Row], dataset: str) -> None:
    numbers = [row["epoch"] for row in epochs]
    quantile = {q: [row["valid_quantiles"][round(200 * q)] for row in epochs] for q in (0.25, *_SHARES, 0.75)}
    axis.fill_between(numbers, quantile[0.25], quantile[0.75], color=plots.COLOURS[0], alpha=0.2, label="quartiles")
    for colour, share, label in ((0, 0.5, "median"), (2, 0.9, "best 10 %"), (1, 1.0, "best")):
        axis.plot(numbers, quantile[share], ".-", color=plots.COLOURS[colour], label=label)
    tests = [row["test_quantiles"][100] for row in epochs]
    axis.plot(numbers, tests, ":", color=plots.COLOURS[6], label="median, test rows")
    low, high = min(min(quantile[0.25]), min(tests)), max(quantile[1.0])
    margin = 0.15 * (high - low)
    for value, colour, label in zip(PUBLISHED_TABLE[dataset], (0, 1), ("median", "best"), strict=True):
        inside = low - 2 * margin <= value <= high + 2 * margin
        axis.plot([FINAL_EPOCH[dataset]] if inside else [], [value] if inside else [], "D", markerfacecolor="none",
                  color=plots.COLOURS[colour],
                  label=f"published {label}\n{value:.5f}{'' if inside else ', not in the figure'}")  # fmt: skip
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation AUC")
    axis.set_title("After every epoch")
    axis.set_xticks(numbers)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)


def _draw_size(axis: Axes, size: Row) -> None:
    aucs = np.array(size["valid_auc"], dtype=np.float64)
    axis.plot(size["parameters"], aucs, ".", markersize=3, alpha=0.5, rasterized=True)
    axis.set_xscale("log")
    axis.set_ylim(np.nanquantile(aucs, 0.005), None)
    axis.set_xlabel("weights and biases, the embedding left out")
    axis.set_ylabel(f"validation AUC, epoch {size['epoch']}")
    axis.set_title(f"Size: Spearman {_size_correlation(size):.3f}")


def _draw_noise(axis: Axes, rows: Sequence[Row]) -> None:
    found = [(row["epoch"], *noise(np.array(row["valid_auc"], dtype=np.float64))) for row in rows]
    found = [one for one in found if np.isfinite(one[1])]
    axis.set_title("Noise of seeds")
    axis.set_xlabel("epoch")
    axis.set_ylabel("standard deviation of validation AUC")
    if not found:
        axis.text(0.5, 0.5, "too few architectures\nwith three seeds so far", ha="center", transform=axis.transAxes)
        return
    numbers, within, across, agreement = (list(column) for column in zip(*found, strict=True))
    axis.plot(numbers, across, ".-", color=plots.COLOURS[0], label="between architectures")
    axis.plot(numbers, within, ".-", color=plots.COLOURS[1], label="between seeds of one")
    axis.set_ylim(0.0)
    axis.set_xticks(numbers)
    other = axis.twinx()
    other.plot(numbers, agreement, ".--", color=plots.COLOURS[2], label="Spearman of two seeds (right)")
    other.set_ylim(0.0, 1.0)
    other.grid(visible=False)
    other.spines["right"].set_visible(True)
    lines = [*axis.get_lines(), *other.get_lines()]
    axis.legend(lines, [str(line.get_label()) for line in lines], loc="upper center", bbox_to_anchor=(0.5, -0.2),
                ncols=2, fontsize=7)  # fmt: skip


def _epoch(rows: Sequence[Row], epoch: int) -> Row:
    return next(row for row in rows if row["what"] == "epoch" and row["epoch"] == epoch)


def _size_correlation(size: Row) -> float:
    aucs = np.array(size["valid_auc"], dtype=np.float64)
    sound = np.isfinite(aucs)
    return spearman(np.array(size["parameters"], dtype=float)[sound], aucs[sound])


def _failed(values: NDArray[np.float64]) -> int:
    return int(np.count_nonzero(~np.isfinite(values)))


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """None where a number is not finite: JSON has no other word for it."""
    return [float(value) if np.isfinite(value) else None for value in values]
