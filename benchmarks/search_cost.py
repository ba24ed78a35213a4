"""Random search, evolution and REINFORCE that train, that score, that warm up with scores, that move by scores."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks import _search_figures, _searches, plots
from benchmarks._records import DATASETS
from benchmarks.harness import Context, Document

__all__ = ["DATASETS", "draw", "run", "summarise"]

_TFMEM = "expressflow"
_SAMPLERS = {"random": "random search", "evolution": "evolution", "reinforcement": "REINFORCE"}
_WAYS = {
    "{sampler}": "training-based",
    f"warm_up:{_TFMEM}:{{sampler}}": "warm-up: scores of half of the pool first",
    f"move_proposal:{_TFMEM}:{{sampler}}": "move proposal: best scored of 10",
    f"training_free:{_TFMEM}:{{sampler}}": "training-free: scores, one training",
}
_COLOURS = (plots.COLOURS[6], plots.COLOURS[0], plots.COLOURS[2], plots.COLOURS[1])


def _methods(sampler: str) -> dict[str, str]:
    return {way.format(sampler=sampler): label for way, label in _WAYS.items()}


def run(context: Context) -> None:
    """Three searches in four ways each."""
    _searches.run(context, [method for sampler in _SAMPLERS for method in _methods(sampler)], 12)


def summarise(document: Document) -> list[str]:
    """Seconds to parts of the way to the best, by search and way."""
    lines = [f"{_search_figures.heading(document)}; scores are ExpressFlow's"]
    for sampler, name in _SAMPLERS.items():
        labels = _methods(sampler)
        lines += [f"  {name}", *_search_figures.times_to_quality(document, list(labels), labels=labels)]
    return [*lines, "  published: no figures for this table"]


def draw(document: Document) -> Mapping[str, Figure]:
    """A column a search: test AUC above, validation AUC below the best beneath."""
    figure, axes = plots.panels(3, rows=2, width=4.2, height=3.1)
    (facts,) = document.select(method="table")
    times = _searches.grid(document.rows, 60)
    for column, (sampler, name) in enumerate(_SAMPLERS.items()):
        labels = _methods(sampler)
        lines = {method: (colour, "-") for method, colour in zip(labels, _COLOURS, strict=True)}
        above, below = axes[column], axes[column + 3]
        _search_figures.by_seconds(above, document, lines, times, labels=labels)
        _search_figures.by_seconds(below, document, lines, times, regret=True, labels=labels)
        above.set_title(f"{name}: {document.settings['dataset']}")
    axes[3].set_title(_search_figures.caption(facts), fontsize=8.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7.5)
    return {"": figure}
