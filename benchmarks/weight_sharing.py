"""Weight sharing: whether parts of a super-network rank as architectures trained alone do, and what they find."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import _search_figures, _searches, plots
from benchmarks._records import DATASETS, FINAL_EPOCH, SEED, open_table
from benchmarks.harness import Context, Document, Row
from trails.bench.baselines.weight_sharing import Shared
from trails.bench.plan import sample
from trails.bench.protocol import get_protocol
from trails.bench.table import Benchmark
from trails.errors import TrailsError

__all__ = ["DATASETS", "draw", "run", "summarise"]

_EVALUATED = 300
_QUICK_EVALUATED, _QUICK_ROWS, _QUICK_EPOCHS = 20, 20_000, 2

_LINES = {"weight_sharing": (plots.COLOURS[1], "-"), "random": (plots.COLOURS[6], "--")}


def run(context: Context) -> None:
    """Train the super-network if it is not recorded, and keep it beside the tables; then search by it."""
    assert context.dataset is not None
    benchmark = open_table(context.dataset)
    if not context.recorded(kind="super-network"):
        shared = _shared(context, benchmark)
        context.record(*_rows(benchmark, shared, FINAL_EPOCH[context.dataset]))
    if Shared.read(benchmark.folder) is not None:
        _searches.run(context, _LINES, 12)


def _shared(context: Context, benchmark: Benchmark) -> Shared:
    """The recorded super-network; a full run trains it where there is none, a quick one a smaller one of its own."""
    # Only whoever trains needs torch.
    from trails.bench.baselines.super_network import share

    protocol = get_protocol(benchmark.setting.dataset)
    if context.quick:
        return share(protocol, _QUICK_EVALUATED, epochs=_QUICK_EPOCHS, rows=_QUICK_ROWS, say=context.say)
    known = Shared.read(benchmark.folder)
    if known is None or known.digest != benchmark.setting.digest:
        known = share(protocol, _EVALUATED, say=context.say)
        known.write(benchmark.folder)
    return known


def _rows(benchmark: Benchmark, shared: Shared, epoch: int) -> list[Row]:
    """The super-network, and every sub-network that was trained alone too."""
    rows: list[Row] = [
        {
            "kind": "super-network",
            "epochs": shared.epochs,
            "training_seconds": shared.training_seconds,
            "losses": list(shared.losses),
            "evaluation_seconds": float(shared.seconds.mean()),
            "evaluated": len(shared.place),
            "epoch": epoch,
        }
    ]
    whole = benchmark.space
    for place, index in enumerate(sample(whole.size, len(shared.place))):
        name = whole.format(whole.architecture(index))
        try:
            alone = {
                f"valid_seed{seed}": benchmark.query(name, epoch=epoch, seed=seed, split="valid").auc
                for seed in benchmark.seeds(name)
            }
            best = float(np.nanmax(benchmark.curve(name, seed=SEED).valid_auc[:epoch]))
        except TrailsError:
            continue
        inputs = benchmark.setting.fields * int(benchmark.setting.options["embedding"])
        size = whole.parameters(whole.architecture(index), inputs)
        rows.append(
            {
                "kind": "sub-network",
                "architecture": name,
                "shared_valid": float(shared.valid_auc[place]),
                "valid_best": best,
                "parameters": size,
                **alone,
            }
        )
    return rows


def _spearman(rows: list[Row], one: str, other: str) -> tuple[float, int]:
    """Spearman's correlation of two columns over the rows that have both, and how many these are."""
    pairs = np.array([(row[one], row[other]) for row in rows if one in row and other in row], dtype=np.float64)
    pairs = pairs[np.isfinite(pairs).all(axis=1)] if len(pairs) else pairs.reshape(0, 2)
    if len(pairs) < 3:
        return float("nan"), len(pairs)
    return float(np.corrcoef(_ranks(pairs[:, 0]), _ranks(pairs[:, 1]))[0, 1]), len(pairs)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average ranks of ties, float64 of the same shape."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - 0.5 * (counts - 1))[where])


def _correlations(document: Document) -> dict[str, tuple[float, int]]:
    rows, alone = document.select(kind="sub-network"), f"valid_seed{SEED}"
    return {
        "weight sharing": _spearman(rows, "shared_valid", alone),
        "weight sharing, best epoch": _spearman(rows, "shared_valid", "valid_best"),
        "number of parameters": _spearman(rows, "parameters", alone),
        "number of parameters, best epoch": _spearman(rows, "parameters", "valid_best"),
        "weight sharing with parameters": _spearman(rows, "shared_valid", "parameters"),
        "another training seed": _spearman(rows, "valid_seed2", alone),
    }


def summarise(document: Document) -> list[str]:
    """Correlations with stand-alone AUCs, their ceiling, and what the search reaches."""
    (network,) = document.select(kind="super-network")
    lines = [
        f"{document.settings['dataset']}: a super-network of {network['epochs']} epochs took "
        f"{network['training_seconds']:.1f} s, a sub-network's evaluation {network['evaluation_seconds']:.3f} s",
        f"  Spearman with the validation AUC of architectures trained alone, epoch {network['epoch']}:",
    ]
    lines += [f"    {name:32} {value:6.3f} ({count} architectures)" for name, (value, count) in
              _correlations(document).items()]  # fmt: skip
    if document.select(method="table"):
        lines += [_search_figures.heading(document), *_search_figures.times_to_quality(document, list(_LINES))]
    return [*lines, "  published: no figures for this table"]


def draw(document: Document) -> Mapping[str, Figure]:
    """Shared against stand-alone AUC, and the search's quality by seconds."""
    (network,) = document.select(kind="super-network")
    rows, searched = document.select(kind="sub-network"), bool(document.select(method="table"))
    figure, axes = plots.panels(2 if searched else 1, width=5.2, height=3.9)
    alone = [row[f"valid_seed{SEED}"] for row in rows]
    size = np.log10([row["parameters"] for row in rows])
    dots = axes[0].scatter([row["shared_valid"] for row in rows], alone, c=size, s=12, cmap="viridis")
    figure.colorbar(dots, ax=axes[0], label="parameters, power of ten")
    found = _correlations(document)
    axes[0].set_xlabel("validation AUC as a part of the super-network")
    axes[0].set_ylabel(f"validation AUC trained alone, epoch {network['epoch']}")
    noise, count = found["another training seed"]
    ceiling = f"between training seeds {noise:.2f}, {count} of these" if count else "other training seeds: not recorded"
    axes[0].set_title(
        f"{document.settings['dataset']}: Spearman {found['weight sharing'][0]:.2f}, {len(rows)} architectures\n"
        f"(parameters {found['number of parameters'][0]:.2f}; {ceiling})",
        fontsize=8.5,
    )
    if searched:
        times = _searches.grid(document.rows, 60)
        _search_figures.by_seconds(axes[1], document, _LINES, times, bands=tuple(_LINES))
        (facts,) = document.select(method="table")
        axes[1].set_title(_search_figures.caption(facts), fontsize=8.5)
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7.5)
    return {"": figure}
