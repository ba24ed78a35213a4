"""Rank correlation of every training-free metric with the recorded AUC: all and the best part, beside controls.

Coefficients are of scores turned so that higher is better, with the AUC of one training (seed 1). Spearman's and
Kendall's (tau-b) take a failed score as the worst; Pearson's is of the scores themselves, failed ones left out. The
best part are the architectures with the highest AUC of the split that is asked about. Params, flops, weight_norm and a
random order stand beside every metric.

Two lines say what noise allows: how well two seeds' AUCs agree, and the square root of it, which is what a score could
reach that knew every architecture's expected AUC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._coefficients import between, dots, name_rows, shown
from benchmarks._records import DATASETS, FINAL_EPOCH, SEED, latest, open_table, seeds_recorded, table_size
from benchmarks._statistics import COEFFICIENTS, Vector, interval, merits, or_none, spearman, top
from benchmarks.harness import Context, Document, Row
from trails.bench.table import Benchmark
from trails.tfmem import REGISTRY

__all__ = ["DATASETS", "draw", "run", "summarise"]

SHARES = (1.0, 0.5, 0.1)
SPLITS = ("valid", "test")
BATCH_SEEDS = (1, 2, 3)
RANDOM = "random order"
CONTROLS = ("params", "flops", "weight_norm", RANDOM)

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "frappe": {"expressflow": 0.803, "jacflow": 0.741, "weight_norm": 0.747},
    "uci_diabetes": {"expressflow": 0.698, "jacflow": 0.692, "weight_norm": 0.693},
    "criteo": {"expressflow": 0.828, "jacflow": 0.760, "weight_norm": 0.813},
}
"""Published Spearman coefficients with AUC over all architectures."""

BY_EPOCH = ("expressflow", "jacflow", "synflow", "naswot", "weight_norm", "params", RANDOM)


def run(context: Context) -> None:
    """Correlate every metric on every batch with what was recorded."""
    assert context.dataset is not None
    benchmark = open_table(context.dataset)
    size = benchmark.recorded(SEED).size
    if context.recorded(architectures=size):
        return
    common = {"architectures": size, "table": table_size(benchmark)}
    final, resamples = FINAL_EPOCH[context.dataset], 100 if context.quick else 1000
    targets = {split: benchmark.column(f"{split}_auc", epoch=final, seed=SEED) for split in SPLITS}
    rows = [*_ceilings(benchmark), _raw_sum(benchmark, targets["valid"])]
    for name in (*REGISTRY, RANDOM):
        context.say(f"{context.dataset}: {name}")
        scores = [oriented(benchmark, name, batch_seed) for batch_seed in _batch_seeds(name)]
        found = {"what": "score", "metric": name, "failed": int(np.isneginf(scores).sum()), "epoch": final}
        rows += [
            {
                **found,
                "split": split,
                "share": share,
                **_coefficients(scores, targets[split], share, resamples, context.seed),
            }
            for split in SPLITS
            for share in SHARES
        ]
        if name in BY_EPOCH:
            rows += _by_epoch(benchmark, name)
    context.record(*[{**row, **common} for row in rows])


def oriented(benchmark: Benchmark, name: str, batch_seed: int) -> Vector:
    """Merits of the recorded architectures by a metric, or at random.

    Args:
        benchmark: The table.
        name: Of a metric, or `RANDOM`.
        batch_seed: Of the metrics that read data, and of the random order.

    Returns:
        float64 (architectures,), minus infinity where a score failed.
    """
    if name == RANDOM:
        return np.random.default_rng(batch_seed).permutation(benchmark.recorded(SEED).size).astype(np.float64)
    return merits(benchmark.scores(name, batch_seed=batch_seed), REGISTRY[name].orientation)


def _batch_seeds(name: str) -> tuple[int, ...]:
    """A metric that reads no data is scored once."""
    return BATCH_SEEDS if name == RANDOM or REGISTRY[name].needs else BATCH_SEEDS[:1]


def _coefficients(scores: Sequence[Vector], target: Vector, share: float, resamples: int, seed: int) -> Row:
    places = top(target, share)
    chosen, aucs = [one[places] for one in scores], target[places]
    row: Row = {"n": len(places)}
    for name, coefficient in COEFFICIENTS.items():
        row[f"{name}_batches"] = [or_none(coefficient(one, aucs)) for one in chosen]
        # One resample at a time, unlike Spearman's.
        drawn = resamples if name == "spearman" else resamples // 5
        found = interval(name, chosen, aucs, drawn, seed)
        row |= {name: or_none(found.value), f"{name}_interval": [or_none(found.low), or_none(found.high)]}
    return row


def _by_epoch(benchmark: Benchmark, name: str) -> list[Row]:
    rows = []
    scores = oriented(benchmark, name, BATCH_SEEDS[0])
    for epoch in range(1, benchmark.setting.epochs + 1):
        target = benchmark.column("valid_auc", epoch=epoch, seed=SEED)
        sound = np.isfinite(target)
        rows.append(
            {
                "what": "epoch",
                "metric": name,
                "epoch": epoch,
                "spearman": or_none(spearman(scores[sound], target[sound])),
            }
        )
    return rows


def _ceilings(benchmark: Benchmark) -> Iterable[Row]:
    """Spearman of every two seeds' AUCs, after every epoch, over the architectures that have three seeds."""
    for split in SPLITS:
        for epoch in range(1, benchmark.setting.epochs + 1):
            values = seeds_recorded(benchmark, f"{split}_auc", epoch)
            values = values[:, np.isfinite(values).all(axis=0)]
            pairs = [(a, b) for a in range(len(values)) for b in range(a)]
            found = [or_none(spearman(values[a], values[b])) for a, b in pairs]
            yield {"what": "seeds", "split": split, "epoch": epoch, "n": values.shape[1], "spearman": found}


def _raw_sum(benchmark: Benchmark, target: Vector) -> Row:
    """What JacFlow becomes where raw scores are added instead of ranks: the order of the larger numbers, synflow's."""
    naswot, synflow = (benchmark.scores(name, batch_seed=BATCH_SEEDS[0]) for name in ("naswot", "synflow"))
    sound = np.isfinite(naswot) & np.isfinite(synflow) & np.isfinite(target)
    naswot, synflow, target = naswot[sound], synflow[sound], target[sound]
    ranks = benchmark.scores("jacflow", batch_seed=BATCH_SEEDS[0])[sound]
    return {
        "what": "raw sum",
        "naswot": [float(naswot.min()), float(naswot.max())],
        "synflow": [float(synflow.min()), float(synflow.max())],
        "raw_sum_with_synflow": or_none(spearman(naswot + synflow, synflow)),
        "rank_sum_with_synflow": or_none(spearman(ranks, synflow)),
        "raw_sum_with_auc": or_none(spearman(naswot + synflow, target)),
        "rank_sum_with_auc": or_none(spearman(ranks, target)),
    }


def ceiling(rows: Sequence[Row], split: str, epoch: int) -> float:
    """Mean Spearman of two seeds' AUCs; NaN where too few architectures have three seeds."""
    for row in rows:
        if row["what"] == "seeds" and row["split"] == split and row["epoch"] == epoch:
            return float(np.mean(np.array(row["spearman"], dtype=np.float64))) if row["spearman"] else float("nan")
    return float("nan")


def summarise(document: Document) -> list[str]:
    """One line a metric, the published figure beside it."""
    rows, dataset = latest(document), document.settings["dataset"]
    final = FINAL_EPOCH[dataset]
    published = PUBLISHED[dataset]
    lines = [
        f"{dataset}, {rows[0]['table']}, epoch {final}; Spearman with validation AUC [95 % over the sample] (range of "
        "batches), best 50 %, best 10 %; with test AUC; Kendall, Pearson of validation AUC",
    ]
    for name in _in_order(rows):
        whole, half, tenth = (_row(rows, name, "valid", share) for share in SHARES)
        batches = [value for value in whole["spearman_batches"] if value is not None] or [None]
        beside = f"  published {published[name]:.3f}" if name in published else ""
        lines.append(
            f"  {name:17}{shown(whole['spearman'])} [{between(*whole['spearman_interval'])}] "
            f"({between(min(batches), max(batches))}){shown(half['spearman'])}{shown(tenth['spearman'])}; "
            f"test{shown(_row(rows, name, 'test', 1.0)['spearman'])}; {shown(whole['kendall'])}"
            f"{shown(whole['pearson'])}{beside}"
        )
    for name in ("expressflow", "params"):
        found = sorted(
            (row["epoch"], row["spearman"]) for row in rows if row["what"] == "epoch" and row["metric"] == name
        )
        lines.append(f"  {name} by epoch: {', '.join(shown(value).strip() for _, value in found)}")
    trap = next(row for row in rows if row["what"] == "raw sum")
    lines.append(
        f"  jacflow by raw sum (naswot {trap['naswot'][0]:.0f} to {trap['naswot'][1]:.0f}, synflow "
        f"{trap['synflow'][0]:.2g} to {trap['synflow'][1]:.2g}): Spearman with synflow "
        f"{shown(trap['raw_sum_with_synflow']).strip()}, with AUC {shown(trap['raw_sum_with_auc']).strip()}; by sum "
        f"of ranks {shown(trap['rank_sum_with_synflow']).strip()}, {shown(trap['rank_sum_with_auc']).strip()}"
    )
    for split in SPLITS:
        found = ceiling(rows, split, final)
        told = f"agree with {found:.3f}: a perfect score would reach {np.sqrt(max(found, 0)):.3f}"
        lines.append(f"  two seeds' {split} AUC {told if np.isfinite(found) else 'are not recorded so far'}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Every metric's coefficients: by part of the space, by kind of coefficient, by epoch."""
    rows, dataset = latest(document), document.settings["dataset"]
    return {
        "": _draw_shares(rows, dataset),
        "coefficients": _draw_kinds(rows, dataset),
        "epochs": _draw_epochs(rows, dataset),
    }


def _draw_shares(rows: Sequence[Row], dataset: str) -> Figure:
    names = _in_order(rows)[::-1]
    figure, axes = plots.panels(len(SHARES), width=3.4, height=0.25 * len(names) + 1.2)
    for axis, share in zip(axes, SHARES, strict=True):
        for offset, split, colour in ((0.17, "valid", 0), (-0.17, "test", 1)):
            dots(axis, [_row(rows, name, split, share) for name in names], "spearman", offset, colour, f"{split} AUC")
        if share == 1.0:
            published = [PUBLISHED[dataset].get(name, np.nan) for name in names]
            axis.plot(published, range(len(names)), "D", color="black", markerfacecolor="none", markersize=6,
                      label="published")  # fmt: skip
            found = ceiling(rows, "valid", FINAL_EPOCH[dataset])
            if np.isfinite(found):
                axis.axvline(found, color=plots.COLOURS[2], linestyle="--", label="two seeds' valid AUC")
                axis.axvline(np.sqrt(max(found, 0.0)), color=plots.COLOURS[2], linestyle=":",
                             label="its root: a perfect score")  # fmt: skip
        count = _row(rows, names[0], "valid", share)["n"]
        axis.set_title(f"{'all' if share == 1 else f'best {share:.0%}'} ({count:,})")
        axis.set_xlabel("Spearman with AUC")
        name_rows(axis, names, CONTROLS, axis is axes[0])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    figure.suptitle(f"{dataset}, epoch {FINAL_EPOCH[dataset]}: {rows[0]['table']}. Bars: 95 % over the sample; "
                    "grey: range of three batches", fontsize=9, x=0.01, ha="left")  # fmt: skip
    return figure


def _draw_kinds(rows: Sequence[Row], dataset: str) -> Figure:
    names = _in_order(rows)[::-1]
    figure, axes = plots.panels(3, width=3.4, height=0.25 * len(names) + 1.2)
    titles = {"spearman": "Spearman", "kendall": "Kendall (tau-b)", "pearson": "Pearson of the scores themselves"}
    for axis, (kind, title) in zip(axes, titles.items(), strict=True):
        for offset, split, colour in ((0.17, "valid", 0), (-0.17, "test", 1)):
            dots(axis, [_row(rows, name, split, 1.0) for name in names], kind, offset, colour, f"{split} AUC")
        axis.set_title(title)
        axis.set_xlabel("coefficient with AUC")
        name_rows(axis, names, CONTROLS, axis is axes[0])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    figure.suptitle(f"{dataset}, epoch {FINAL_EPOCH[dataset]}: {rows[0]['table']}", fontsize=9, x=0.01, ha="left")
    return figure


def _draw_epochs(rows: Sequence[Row], dataset: str) -> Figure:
    figure, (axis,) = plots.panels(1, width=7.2, height=3.4)
    for place, name in enumerate(BY_EPOCH):
        found = sorted((r["epoch"], r["spearman"]) for r in rows if r["what"] == "epoch" and r["metric"] == name)
        control = name in CONTROLS
        axis.plot([one[0] for one in found], [np.nan if one[1] is None else one[1] for one in found],
                  "--" if control else ".-", color=plots.COLOURS[place % len(plots.COLOURS)], label=name)  # fmt: skip
    epochs = sorted({row["epoch"] for row in rows if row["what"] == "epoch"})
    agreed = [ceiling(rows, "valid", epoch) for epoch in epochs]
    if np.isfinite(agreed).any():
        axis.plot(epochs, agreed, color="#888888", linewidth=3, alpha=0.5, label="two seeds' AUC")
    published = PUBLISHED[dataset]
    axis.plot([FINAL_EPOCH[dataset]] * len(published), list(published.values()), "D", color="black",
              markerfacecolor="none", label="published:\n" + "\n".join(published))  # fmt: skip
    axis.set_xlabel("epoch at whose end the AUC is read")
    axis.set_ylabel("Spearman with validation AUC")
    axis.set_xticks(epochs)
    figure.suptitle(f"{dataset}: {rows[0]['table']}", fontsize=9, x=0.01, ha="left")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return figure


def _row(rows: Sequence[Row], name: str, split: str, share: float) -> Row:
    wanted = ("score", name, split, share)
    return next(row for row in rows if (row["what"], *(row.get(key) for key in ("metric", "split", "share"))) == wanted)


def _in_order(rows: Sequence[Row]) -> list[str]:
    """Metrics by their Spearman with validation AUC, best first; those without any last."""
    names = dict.fromkeys(row["metric"] for row in rows if row["what"] == "score")
    found = {name: _row(rows, name, "valid", 1.0)["spearman"] for name in names}
    return sorted(names, key=lambda name: 2.0 if found[name] is None else -found[name])
