"""Filtering one architecture at a time on fresh batches: inside the database against psycopg2 outside."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks import _latency as latency
from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.harness import Context, Document

DATASETS = ("frappe", "uci_diabetes", "criteo")
# The space with ten widths has 10,000 architectures, so criteo's 10,000 are the whole of it.
PUBLISHED_MODELS = {"frappe": 5000, "uci_diabetes": 5000, "criteo": 10000}


def run(context: Context) -> None:
    """Measure the sides in turns, as often as is not recorded yet."""
    assert context.dataset is not None
    models, repeats = (500, 3) if context.quick else (PUBLISHED_MODELS[context.dataset], 3)
    missing = repeats - len(context.recorded(side=latency.IN))
    if missing <= 0:
        return
    with loaded(context, [context.dataset]) as connection:
        for repeat in range(missing):
            context.say(f"{context.dataset}, {models} models: {repeat + 1} of {missing}")
            context.record(*latency.measure(connection, context.dataset, models))


def summarise(document: Document) -> list[str]:
    """Seconds by phase on both sides, and the data path's ratio."""
    models = document.rows[0]["models"]
    lines = [f"{document.settings['dataset']}, {models:,} models, batch {latency.BATCH_SIZE}, medians, seconds:"]
    rows = [document.select(side=side) for side in latency.SIDES]
    parts = {**{phase: (phase,) for phase in (*latency.PHASES, "total")}, "data path": latency.DATA_PATH}
    for name, phases in parts.items():
        inside, outside = (latency.median(side, *phases) for side in rows)
        lines.append(f"  {name:15} in {inside:8.3f}   out {outside:8.3f}   {outside / max(inside, 1e-9):5.2f} x")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Stacked seconds by phase."""
    figure, (axis,) = plots.panels(1, width=5.2)
    heights = [
        latency.stack(axis, place, document.select(side=side), 0.55, labelled=place == 0)
        for place, side in enumerate(latency.SIDES)
    ]
    axis.set_xticks(range(len(latency.SIDES)), latency.SIDES)
    axis.set_ylim(0, 1.15 * max(heights))
    axis.grid(axis="x", visible=False)
    axis.set_ylabel("seconds, medians of the repeats")
    models = document.rows[0]["models"]
    axis.set_title(f"{document.settings['dataset']}: {models:,} models, batch {latency.BATCH_SIZE}")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return {"": figure}
