"""Quality by seconds spent, at 12 budgets: two-phase selection against training-free and training-based searches."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks import _search_figures, _searches, plots
from benchmarks._records import DATASETS, quartiles
from benchmarks.harness import Context, Document

__all__ = ["DATASETS", "draw", "run", "summarise"]

_BUDGETS = 12
_METRICS = ("expressflow", "jacflow")
_SEARCHES = ("random", "evolution", "reinforcement", "tpe_hyperband", "tabnas", "knas", "weight_sharing")

_PUBLISHED: Mapping[str, tuple[tuple[float, float], ...]] = {
    "frappe": ((1, 0.97936), (26 * 60, 0.98052), (25 * 3600, 0.98136)),
    "criteo": ((1, 0.80197), (50 * 60, 0.80312)),
    "uci_diabetes": ((1, 0.6431), (2.9 * 60, 0.6717)),
}
"""Seconds and median AUC of the published two-phase selection with JacFlow."""

_PUBLISHED_KNAS: Mapping[str, tuple[float, float]] = {
    "frappe": (232, 0.97943),
    "criteo": (6277, 0.8020),
    "uci_diabetes": (42, 0.6543),
}

_LINES: Mapping[str, tuple[str, str]] = {
    "two_phase": (plots.COLOURS[1], "-"),
    "two_phase_k": (plots.COLOURS[1], "--"),
    "two_phase_k:params": (plots.COLOURS[1], ":"),
    "training_free": (plots.COLOURS[4], "-"),
    "random": (plots.COLOURS[6], "--"),
    "evolution": (plots.COLOURS[0], "-"),
    "reinforcement": (plots.COLOURS[0], "--"),
    "tpe_hyperband": (plots.COLOURS[5], "-"),
    "tabnas": (plots.COLOURS[2], "-"),
    "knas": (plots.COLOURS[3], "-"),
    "weight_sharing": (plots.COLOURS[3], "--"),
}


def run(context: Context) -> None:
    """Search with every method; two-phase selections once a budget, the others once a seed."""
    chosen = [f"two_phase:{tfmem}" for tfmem in _METRICS]
    chosen += [f"two_phase_k:{tfmem}" for tfmem in (*_METRICS, "params")]
    free = [f"training_free:{tfmem}" for tfmem in _METRICS]
    _searches.run(context, [*chosen, *free, *_SEARCHES], 6 if context.quick else _BUDGETS)


def summarise(document: Document) -> list[str]:
    """Test AUC by method at some budgets, the published medians beside them."""
    dataset, (facts,) = document.settings["dataset"], document.select(method="table")
    times = facts["budgets"]
    shown = [times[0], times[len(times) // 3], times[2 * len(times) // 3], times[-1]]
    heading = " ".join(f"{seconds:>9.3g} s" for seconds in shown)
    lines = [
        f"{dataset}, {facts['table']}, {facts['pool']} of them for every seed; median test AUC by seconds spent:",
        f"  {'':36} {heading}",
    ]
    for method, label in _searches.LABELS.items():
        if rows := document.select(method=method):
            values = [quartiles(_searches.at(row, seconds) for row in rows)[1] for seconds in shown]
            lines.append(f"  {label:36} " + " ".join(f"{value:>11.4f}" for value in values))
    noise = "unknown" if facts["noise"] is None else f"{facts['noise']:.4f}"
    lines.append(
        f"  one at random {facts['random_test']:.4f}, best by validation {facts['best_test']:.4f} "
        f"(highest test AUC of the table {facts['highest_test']:.4f}), SD between training seeds {noise}"
    )
    published = ", ".join(f"{auc} at {seconds:g} s" for seconds, auc in _PUBLISHED[dataset])
    seconds, auc = _PUBLISHED_KNAS[dataset]
    return [*lines, f"  published: two-phase with JacFlow {published}; KNAS {auc} at {seconds:g} s"]


def draw(document: Document) -> Mapping[str, Figure]:
    """A figure for each metric of the filtering phase; the published medians in a panel of their own."""
    return {tfmem: _figure(document, tfmem) for tfmem in _METRICS}


def _figure(document: Document, tfmem: str) -> Figure:
    dataset, (facts,) = document.settings["dataset"], document.select(method="table")
    figure, (left, right, published) = plots.panels(3, width=4.6, height=4.2)
    own = {
        "two_phase": f"two_phase:{tfmem}",
        "two_phase_k": f"two_phase_k:{tfmem}",
        "training_free": f"training_free:{tfmem}",
    }
    lines = {own.get(key, key): line for key, line in _LINES.items()}
    bands = (own["two_phase"], "evolution")
    _search_figures.by_seconds(left, document, lines, facts["budgets"], bands=bands)
    _search_figures.by_seconds(right, document, lines, facts["budgets"], regret=True, bands=bands)
    left.set_title(f"Quality by seconds: {dataset}")
    right.set_title(_search_figures.caption(facts), fontsize=8.5)
    seconds, auc = zip(*_PUBLISHED[dataset], strict=True)
    published.plot(seconds, auc, "o--", color=plots.COLOURS[1], linewidth=1.0, label="published: two-phase, JacFlow")
    published.plot(*_PUBLISHED_KNAS[dataset], "s", color=plots.COLOURS[3], label="published: KNAS")
    published.set_title("Published medians, on axes of their own:\nanother machine, the whole space", fontsize=8.5)
    published.set_ylabel("AUC")
    published.legend(loc="upper left", fontsize=7.5)
    published.margins(y=0.3)
    _search_figures.seconds_axis(published)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7.5)
    return figure
