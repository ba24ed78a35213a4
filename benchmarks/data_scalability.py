"""The latency study by the number of architectures, 500 to 4,000 on Criteo, in and out of the database.

Every architecture comes with a batch of its own, so this is a study of the data that are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks import _latency as latency
from benchmarks import plots
from benchmarks.database import loaded
from benchmarks.harness import Context, Document

DATASETS = ("criteo", "frappe", "uci_diabetes")
_MODELS = (500, 1000, 2000, 4000)


def run(context: Context) -> None:
    """Measure every number of architectures in turns, as often as is not recorded yet."""
    assert context.dataset is not None
    numbers, repeats = ((100, 200), 2) if context.quick else (_MODELS, 3)
    wanted = [
        (repeat, models)
        for repeat in range(repeats)
        for models in numbers
        if len(context.recorded(models=models, side=latency.IN)) <= repeat
    ]
    if not wanted:
        return
    with loaded(context, [context.dataset]) as connection:
        for repeat, models in wanted:
            context.say(f"{context.dataset}, {models} models: {repeat + 1} of {repeats}")
            context.record(*latency.measure(connection, context.dataset, models))


def summarise(document: Document) -> list[str]:
    """Data path and everything by number of architectures."""
    lines = [f"{document.settings['dataset']}, batch {latency.BATCH_SIZE}, medians, seconds:"]
    for models in document.values("models"):
        rows = [document.select(models=models, side=side) for side in latency.SIDES]
        inside, outside = (latency.median(side, *latency.DATA_PATH) for side in rows)
        everything = [latency.median(side, "total") for side in rows]
        lines.append(
            f"  {models:6,} models: data path in {inside:7.3f}   out {outside:7.3f}   {outside / inside:5.2f} x"
            f"   total in {everything[0]:7.3f}   out {everything[1]:7.3f}   {everything[1] / everything[0]:5.2f} x"
        )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Stacked seconds by phase, and the data path alone, by number of architectures."""
    figure, (whole, path) = plots.panels(2, width=4.8)
    numbers = document.values("models")
    for place, models in enumerate(numbers):
        for side, shift in zip(latency.SIDES, (-0.21, 0.21), strict=True):
            rows = document.select(models=models, side=side)
            first = place == 0 and side == latency.IN
            latency.stack(whole, place + shift, rows, 0.38, labelled=first)
    top = max(latency.median(document.select(models=numbers[-1], side=side), "total") for side in latency.SIDES)
    whole.set_ylim(0, 1.15 * top)
    whole.set_xticks(range(len(numbers)), [f"{models:,}" for models in numbers])
    whole.set_ylabel("seconds, medians of the repeats")
    whole.set_title("everything; left bar in, right bar out of the database")
    whole.grid(axis="x", visible=False)
    whole.legend(loc="upper left")
    for side, marker in zip(latency.SIDES, "os", strict=True):
        seconds = [latency.median(document.select(models=models, side=side), *latency.DATA_PATH) for models in numbers]
        path.plot(numbers, seconds, marker=marker, label=side)
    path.set_xscale("log", base=2)
    path.set_yscale("log")
    path.set_xticks(numbers, [f"{models:,}" for models in numbers])
    path.set_title("data path: from the table to the scorer")
    path.legend()
    for axis in (whole, path):
        axis.set_xlabel(f"{document.settings['dataset']}: architectures, each on {latency.BATCH_SIZE} fresh rows")
    return {"": figure}
