"""Training-based searches on records: random, evolution, REINFORCE, TPE under Hyperband; quality by seconds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from benchmarks import _search_figures, _searches, plots
from benchmarks._records import DATASETS
from benchmarks.harness import Context, Document

__all__ = ["DATASETS", "draw", "run", "summarise"]

_LINES = {
    "random": (plots.COLOURS[6], "--"),
    "evolution": (plots.COLOURS[0], "-"),
    "reinforcement": (plots.COLOURS[1], "-"),
    "tpe_hyperband": (plots.COLOURS[2], "-"),
}


def run(context: Context) -> None:
    """One search a seed and method, until it has found the best or has trained everything."""
    _searches.run(context, _LINES, 12)


def summarise(document: Document) -> list[str]:
    """Seconds to parts of the way to the best; epochs trained and seconds thought."""
    lines = [_search_figures.heading(document), *_search_figures.times_to_quality(document, list(_LINES))]
    for method in _LINES:
        rows = document.select(method=method)
        spent, epochs, thought = (np.median([row[key] for row in rows]) for key in ("spent", "epochs", "thought"))
        found = np.mean([row["curve"][-1][1] >= row["best_valid"] for row in rows])
        lines.append(
            f"  {_searches.LABELS[method]}: {epochs:.0f} epochs in {spent:.4g} s, of which the search thought "
            f"{thought:.3g} s; {found:.0%} of the searches ended with the best by validation"
        )
    return [*lines, "  published: no figures for this table"]


def draw(document: Document) -> Mapping[str, Figure]:
    """Test AUC, and validation AUC below the best, by seconds spent."""
    bands = ("random", "evolution")
    return {"": _search_figures.two_panels(document, _LINES, "Training-based searches", bands=bands)}
