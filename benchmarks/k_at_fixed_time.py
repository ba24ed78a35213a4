"""Quality against K at a fixed time, beside the K that the coordinator plans; on records.

Architectures are ranked by ExpressFlow within pools that are drawn of the table; U is as large as the time allows, and
what is left goes into the winner. The published study has this for 100 minutes on Frappe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._records import DATASETS, open_table, quartiles, table_size
from benchmarks._selections import (
    band,
    epoch_seconds,
    half,
    middle,
    noise_line,
    reachable,
    row_of,
    seed_noise,
    spread,
)
from benchmarks.harness import Context, Document
from trails.bench.simulate import simulate

__all__ = ["DATASETS", "draw", "run", "summarise"]

KS = (1, 2, 5, 10, 20, 50, 100, 200)
COORDINATOR = 0
"""Stands for a K that the coordinator plans."""

TIMES = (15, 50, 150, 500)
"""Fixed times, in mean epochs of the table."""

RUNS, QUICK_RUNS = 50, 10

PUBLISHED: Mapping[int, float] = {1: 0.97889, 5: 0.97945, 10: 0.98009, 20: 0.98024, 100: 0.98023}
"""Test AUC by K on Frappe in 100 minutes; `PUBLISHED_COORDINATOR` with the coordinator's."""

PUBLISHED_COORDINATOR = 0.98052


def run(context: Context) -> None:
    """Simulate what is not recorded yet."""
    benchmark = open_table(str(context.dataset))
    pool, each = half(benchmark), epoch_seconds(benchmark)
    context.note(table=table_size(benchmark), pool=pool, seed_noise=seed_noise(benchmark))
    seeds = range(context.seed, context.seed + (QUICK_RUNS if context.quick else RUNS))
    for time in TIMES:
        for k in (COORDINATOR, *(k for k in KS if k <= min(pool, time))):
            if context.recorded(time=time, given_k=k):
                continue
            context.say(f"{context.dataset}: {time} epochs, K {k or 'by the coordinator'}")
            rows = []
            for seed in seeds:
                found = simulate(benchmark, 1.0 + time * each, k=k or None, pool=pool, seed=seed)
                row = row_of(found, reachable(benchmark, pool, seed))
                rows.append({"time": time, "given_k": k, "run": seed, **row})
            context.record(*rows)


def draw(document: Document) -> Mapping[str, Figure]:
    """Regret and test AUC by K, a line for every time; dashed the coordinator's."""
    figure, axes = plots.panels(2, width=4.7, height=4.0)
    dataset = document.settings["dataset"]
    for colour, time in zip(plots.COLOURS, TIMES, strict=False):
        ks = [k for k in KS if document.select(time=time, given_k=k)]
        spent = [middle(document.select(time=time, given_k=k), "seconds") for k in (*ks, COORDINATOR)]
        label = f"{min(spent):.0f} to {max(spent):.0f} s spent"
        for axis, key in zip(axes, ("regret", "test_auc"), strict=True):
            points = [(float(k), [float(row[key]) for row in document.select(time=time, given_k=k)]) for k in ks]
            band(axis, points, colour, label)
            planned = middle(document.select(time=time, given_k=COORDINATOR), key)
            axis.axhline(planned, color=colour, linewidth=0.9, linestyle="--")
    axes[1].plot([], [], "--", color="#888888", linewidth=0.9, label="K by the coordinator, same time")
    if dataset == "frappe":
        axes[1].plot(list(PUBLISHED), list(PUBLISHED.values()), "kx", markersize=5, label="published, 100 minutes")
        axes[1].axhline(
            PUBLISHED_COORDINATOR, color="black", linewidth=0.9, linestyle=":", label="published, coordinator"
        )
    for axis in axes:
        axis.set_xscale("log")
        axis.set_xticks(KS, [str(k) for k in KS])
        axis.minorticks_off()
        axis.set_xlabel("K, candidates of the first rung")
    axes[0].set_ylabel("validation AUC below the pool's best")
    axes[1].set_ylabel("test AUC of the winner")
    axes[0].set_title(f"{dataset}, pools of {_note(document, 'pool')} (simulated)", fontsize=9)
    axes[1].set_title(_note(document, "table"), fontsize=9)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=7.5)
    return {"": figure}


def summarise(document: Document) -> list[str]:
    """Per time the medians by K, and the coordinator's beside them."""
    lines = [f"{document.settings['dataset']}, {_note(document, 'table')}, pools of {_note(document, 'pool')}:"]
    for time in TIMES:
        planned = document.select(time=time, given_k=COORDINATOR)
        ks = [k for k in KS if document.select(time=time, given_k=k)]
        regrets = {k: middle(document.select(time=time, given_k=k), "regret") for k in ks}
        told = [f"{k}: {regrets[k]:.4f}, {middle(document.select(time=time, given_k=k), 'test_auc'):.4f}" for k in ks]
        chosen = quartiles(float(row["k"]) for row in planned)
        lines.append(f"  {middle(planned, 'seconds'):.0f} s; K: regret, test AUC: " + "  ".join(told))
        lines.append(
            f"    coordinator (K {chosen[1]:.0f}): {middle(planned, 'regret'):.4f}, {spread(planned, 'test_auc')}; "
            f"the best fixed K by regret is {min(regrets, key=lambda k: regrets[k])}"
        )
    lines.append(f"  {noise_line(document)}")
    published = ", ".join(f"{k} {auc}" for k, auc in PUBLISHED.items())
    lines.append(f"  published, Frappe in 100 minutes, test AUC by K: {published}; coordinator {PUBLISHED_COORDINATOR}")
    return lines


def _note(document: Document, name: str) -> Any:
    return document.sessions[0][name]
