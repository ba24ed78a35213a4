"""A run at a glance: how its candidates learnt, and what the training-free score said of them beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from trails.plots.common import WINNER, colour_of, metric_name, title_of
from trails.table.judged import is_loss

_STYLE: Mapping[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "trails",
}

_DECADES_FOR_LOG = 10.0
"""Scores whose largest is this many times the smallest are drawn on a logarithmic axis."""


def draw(run: Mapping[str, Any], path_stem: str | Path) -> None:
    """Write ``path_stem.svg`` and ``path_stem.png``.

    Args:
        run: Three keys.

            - ``run``: a dict with ``source`` (table), ``target``, ``budget`` and ``seconds`` (wall time,
              like the budget in seconds), ``n``, ``k``, ``u``, ``metric`` and ``tfmem``; what is missing is left out.
            - ``candidates``: dicts with ``architecture``, ``score``, ``rank``, ``validation_metric``,
              ``epochs``, ``parameters``, ``seconds``; those without a ``validation_metric`` are passed over.
            - ``trials``: one dict per trained epoch with ``architecture``, ``rung`` (from 0), ``epoch`` (from
              1), ``train_loss``, ``validation_loss``, ``validation_metric``, ``seconds``; those without
              a ``validation_metric`` are passed over.
        path_stem: Path without suffix; its directory exists.

    Raises:
        ValueError: No candidate was trained.
    """
    candidates = [c for c in run["candidates"] if c.get("validation_metric") is not None]
    if not candidates:
        raise ValueError("there is nothing to draw: no candidate was trained")
    sign = 1.0 if is_loss(str(run["run"].get("metric"))) else -1.0
    winner = min(
        candidates, key=lambda c: (math.inf if c["rank"] is None else c["rank"], sign * c["validation_metric"])
    )
    trials = [trial for trial in run["trials"] if trial["validation_metric"] is not None]
    last_rung: dict[str, int] = {}
    for trial in trials:
        architecture = trial["architecture"]
        last_rung[architecture] = max(last_rung.get(architecture, 0), int(trial["rung"]))
    with matplotlib.rc_context(cast(Any, _STYLE)):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        metric = metric_name(run["run"])
        _learning_curves(left, trials, last_rung, winner, metric)
        _scores(right, candidates, last_rung, winner, metric, run["run"].get("tfmem"))
        figure.suptitle(title_of(run["run"]), x=0.01, ha="left", fontsize=11)
        for suffix in ("svg", "png"):
            metadata: dict[str, Any] = {"Date": None} if suffix == "svg" else {}
            figure.savefig(f"{path_stem}.{suffix}", dpi=160, metadata=metadata)


def _learning_curves(
    axes: Axes,
    trials: Sequence[Mapping[str, Any]],
    last_rung: Mapping[str, int],
    winner: Mapping[str, Any],
    metric_title: str,
) -> None:
    curves: dict[str, list[tuple[int, float]]] = {}
    rung_ends: dict[int, int] = {}
    for trial in trials:
        epoch, rung = int(trial["epoch"]), int(trial["rung"])
        curves.setdefault(trial["architecture"], []).append((epoch, float(trial["validation_metric"])))
        if trial["architecture"] != winner["architecture"] or rung < max(last_rung.values()):
            rung_ends[rung] = max(rung_ends.get(rung, 0), epoch)
    # The losers first and thin, so that the winner lies on top.
    for architecture in sorted(curves, key=lambda a: (a == winner["architecture"], last_rung[a])):
        best = architecture == winner["architecture"]
        epochs, metric = zip(*sorted(curves[architecture]), strict=True)
        axes.plot(
            epochs,
            metric,
            marker="o",
            markersize=5 if best else 3.5,
            linewidth=2.2 if best else 1.1,
            color=colour_of(last_rung[architecture], best),
            zorder=4 if best else 3,
        )
    longest = max((epoch for curve in curves.values() for epoch, _ in curve), default=1)
    for rung, end in sorted(rung_ends.items()):
        if end < longest:
            axes.axvline(end + 0.5, color="#999999", linestyle=":", linewidth=1.0, zorder=1)
            axes.annotate(
                f"rung {rung} ends",
                (end + 0.5, 0.02),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                rotation=90,
                fontsize=7.5,
                color="#777777",
            )
    axes.set_xlim(0.5, longest + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    axes.set_xlabel("epochs trained")
    axes.set_ylabel(f"validation {metric_title}")
    axes.set_title("Learning curves")
    handles = [
        axes.plot([], [], color=colour_of(rung, False), marker="o", markersize=3.5, linewidth=1.1)[0]
        for rung in sorted({r for a, r in last_rung.items() if a != winner["architecture"]})
    ]
    names = [
        f"out after rung {rung}" for rung in sorted({r for a, r in last_rung.items() if a != winner["architecture"]})
    ]
    winning = axes.plot([], [], color=WINNER, marker="o", markersize=5, linewidth=2.2)[0]
    axes.legend([winning, *handles], [f"{winner['architecture']} (winner)", *names], loc="lower right")


def _scores(
    axes: Axes,
    candidates: Sequence[Mapping[str, Any]],
    last_rung: Mapping[str, int],
    winner: Mapping[str, Any],
    metric: str,
    tfmem: str | None,
) -> None:
    scored = [candidate for candidate in candidates if candidate.get("score") is not None]
    axes.set_xlabel(f"score by {tfmem}, before any training" if tfmem else "score, before any training")
    axes.set_ylabel(f"best validation {metric}")
    axes.set_title(f"Score and result of {len(scored)} trained candidate{'s' * (len(scored) != 1)}")
    if winner not in scored:
        # Candidates that the caller named were scored by nobody.
        axes.text(0.5, 0.5, "the winner was not scored", transform=axes.transAxes, ha="center")
        return
    for candidate in scored:
        best = candidate is winner
        axes.scatter(
            candidate["score"],
            candidate["validation_metric"],
            s=110 if best else 34,
            marker="*" if best else "o",
            color=colour_of(last_rung.get(candidate["architecture"], 0), best),
            edgecolors="white",
            linewidths=0.6,
            zorder=4 if best else 3,
        )
    scores = [float(candidate["score"]) for candidate in scored]
    middle = 0.5 * (min(scores) + max(scores))
    leftwards = winner["score"] > middle
    axes.annotate(
        f"{winner['architecture']}\n{metric} {winner['validation_metric']:.4f}, {winner['epochs']} epochs",
        (winner["score"], winner["validation_metric"]),
        xytext=(-9 if leftwards else 9, -4),
        textcoords="offset points",
        ha="right" if leftwards else "left",
        va="top",
        fontsize=8,
        color=WINNER,
    )
    if min(scores) > 0 and max(scores) / min(scores) >= _DECADES_FOR_LOG:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.14)
    if len(scored) == 1:  # a single point would be framed by AUCs above 1
        axes.set_ylim(winner["validation_metric"] - 0.01, winner["validation_metric"] + 0.01)
