"""What a worse filtering costs: a share of the top K replaced by random architectures, before refinement; on records.

Of every pool the best K by ExpressFlow are taken and 0, 30, 50 or 70 % of them, and all, replaced by others of the
pool at random: where that is no whole number, of one pool one more than of another, so that the mean is right.
Refinement trains what comes of it by successive halving with U = 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks._records import DATASETS, SEED, open_table
from benchmarks._selections import band, begin, half, middle, noise_line, reachable, row_of, spread
from benchmarks.harness import Context, Document
from trails.bench.candidates import drawn
from trails.bench.simulate import simulate
from trails.bench.table import Benchmark

__all__ = ["DATASETS", "draw", "run", "summarise"]

SHARES = (0.0, 0.3, 0.5, 0.7, 1.0)
"""The study's, and all of them."""

KS = (5, 10, 20, 50)
RUNS, QUICK_RUNS = 100, 15


def run(context: Context) -> None:
    """Simulate what is not recorded yet."""
    benchmark = open_table(str(context.dataset))
    pool = half(benchmark)
    begin(context, benchmark, pool)
    seeds = range(context.seed, context.seed + (QUICK_RUNS if context.quick else RUNS))
    for k in (k for k in KS if 2 * k <= pool):
        for share in SHARES:
            if context.recorded(given_k=k, share=share):
                continue
            context.say(f"{context.dataset}: K {k}, {share:.0%} replaced")
            rows = []
            for seed in seeds:
                order = replaced(benchmark, pool, k, share, seed)
                found = simulate(benchmark, math.inf, scores=order, k=k, u=1, pool=pool, seed=seed)
                row = row_of(found, reachable(benchmark, pool, seed))
                rows.append({"given_k": k, "share": share, "run": seed, **row})
            context.record(*rows)


def replaced(benchmark: Benchmark, pool: int, k: int, share: float, seed: int) -> NDArray[np.float64]:
    """Scores, aligned with the table, by which the top ``k`` of a pool are its best with a share of them replaced.

    Args:
        benchmark: Of a dataset.
        pool: Its size; it is drawn with the seed as `trails.bench.simulate.simulate` draws it.
        k: Candidates.
        share: Of these; a part of one is one at times, as often as makes the mean over seeds the share.
        seed: Of pool and replacements.
    """
    merits = benchmark.merits("expressflow")
    places = drawn(benchmark, SEED, pool, seed).places
    ranked = places[np.argsort(-merits[places], kind="stable")]
    draw = np.random.default_rng((seed, 5))
    # Rounding would make 30 and 50 % of five the same two. The inner one is of the last digit of 0.7 * 10 and the like.
    count = math.floor(round(share * k, 6) + draw.random())
    out = draw.choice(k, count, replace=False)
    chosen = ranked[:k].copy()
    chosen[out] = ranked[k:][draw.choice(pool - k, count, replace=False)]
    scores = np.zeros(len(merits))
    # Those that were replaced are at random places among the candidates.
    scores[draw.permutation(chosen) if count else chosen] = np.arange(k, 0, -1)
    return scores


def draw(document: Document) -> Mapping[str, Figure]:
    """Regret and test AUC by the share replaced, a line for every K."""
    figure, axes = plots.panels(2, width=4.6, height=3.8)
    for colour, k in zip(plots.COLOURS, document.values("given_k"), strict=False):
        seconds = middle(document.select(given_k=k), "seconds")
        for axis, key in zip(axes, ("regret", "test_auc"), strict=True):
            points = [
                (100 * share, [float(row[key]) for row in document.select(given_k=k, share=share)]) for share in SHARES
            ]
            band(axis, points, colour, f"K = {k}, {seconds:.0f} s (median)")
    for axis in axes:
        axis.set_xticks([100 * share for share in SHARES])
        axis.set_xlabel("% of the top K replaced at random")
    axes[0].set_ylabel("validation AUC below the pool's best")
    axes[1].set_ylabel("test AUC of the winner")
    axes[0].set_title(f"{document.settings['dataset']}, pools of {_note(document, 'pool')} (simulated)", fontsize=9)
    axes[1].set_title(_note(document, "table"), fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7.5)
    return {"": figure}


def summarise(document: Document) -> list[str]:
    """Per K and share the median regret, and the test AUC with quartiles."""
    lines = [f"{document.settings['dataset']}, {_note(document, 'table')}, pools of {_note(document, 'pool')}:"]
    for k in document.values("given_k"):
        for share in SHARES:
            rows = document.select(given_k=k, share=share)
            lines.append(
                f"  K {k:3}, {share:4.0%} replaced: regret {middle(rows, 'regret'):.4f}, "
                f"test AUC {spread(rows, 'test_auc')}, {middle(rows, 'seconds'):.0f} s"
            )
    lines.append(f"  {noise_line(document)}")
    lines.append("  published: the same shares, 0, 30, 50 and 70 %; no figure of it is at hand")
    return lines


def _note(document: Document, name: str) -> Any:
    return document.sessions[0][name]
