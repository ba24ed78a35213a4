"""The one style of all figures, and the line under each that says where its numbers come from."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks.harness import Document, Experiment

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart by colour-blind readers too; used in this order."""

STYLE: Mapping[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=COLOURS),
    "legend.frameon": False,
    "svg.fonttype": "none",
    # The same rows give the same file.
    "svg.hashsalt": "trails",
    "hatch.linewidth": 0.6,
}


def panels(columns: int, rows: int = 1, width: float = 4.2, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """A figure of ``rows`` by ``columns`` panels, each ``width`` by ``height`` inches; panels row by row.

    Call it inside ``draw``, which :func:`draw` runs in this module's style.
    """
    figure = Figure(figsize=(columns * width, rows * height + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for line in axes for axis in line]


def draw(module: Experiment, document: Document) -> list[str]:
    """Draw a document's figures beside it as SVG and PNG; returns the lines that name the files."""
    return [f"rows: {document.path}", *(f"figure: {path}" for path in draw_files(module, document))]


def draw_files(module: Experiment, document: Document) -> list[Path]:
    """Draw a document's figures beside it as SVG and PNG; returns the files."""
    files = []
    with matplotlib.rc_context(cast(Any, STYLE)):
        for suffix, figure in module.draw(document).items():
            figure.supxlabel(_origin(document), fontsize=6.5, color="#666666", x=0.01, ha="left")
            stem = document.path.stem + (f"-{suffix}" if suffix else "")
            for kind in ("svg", "png"):
                path = document.path.with_name(f"{stem}.{kind}")
                figure.savefig(path, dpi=160, metadata={"Date": None} if kind == "svg" else None)
                files.append(path)
    return files


def _origin(document: Document) -> str:
    last = document.sessions[-1]
    machine = last["machine"]
    parts = [
        *(["REDUCED RUN (--quick)"] if document.quick else []),
        document.experiment,
        *([document.settings["dataset"]] if document.settings["dataset"] else []),
        f"seed {document.settings['seed']}",
        f"{machine['processor']}, {machine['cores']} cores",
        f"commit {last['commit'][:10]}{'+changes' if last['commit'].endswith('+changes') else ''}",
        last["started"][:10],
    ]
    return " · ".join(parts)


def dots(axis: Axes, found: Mapping[str, Sequence[float]]) -> None:
    """A line of dots for each name, first on top, and a bar at its median."""
    for place, values in enumerate(found.values()):
        axis.plot(values, [place] * len(values), "o", color=COLOURS[place], markersize=4, alpha=0.6)
        axis.plot([statistics.median(values)], [place], "|", color=COLOURS[place], markersize=16)
    axis.set_yticks(range(len(found)), list(found))
    axis.invert_yaxis()
