"""Seconds and memory of every training-free metric, beside the seconds that training one epoch was recorded to take.

From the rows of `tfmem_cost` (of its reduced run where there is no full one, which is run first where there is neither)
and from the score tables of the recorded benchmark:
the textbook's formula in torch, a network drawn and scored for itself alone in NumPy (as the tables were made and the
published study pays), and an architecture's share of scoring a whole space at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from benchmarks import harness, plots, tfmem_cost
from benchmarks._records import DATASETS, SEED, latest, open_table, table_size
from benchmarks.harness import Context, Document, Row
from trails.tfmem import REGISTRY

__all__ = ["DATASETS", "draw", "run", "summarise"]

CONTROLS = ("params", "flops", "weight_norm")
_WAYS: Mapping[str, str] = {
    "textbook_seconds": "textbook in torch",
    "own_seconds": "own network in NumPy (score tables)",
    "share_seconds": "share of the whole space at once",
}


def run(context: Context) -> None:
    """Bring the rows of both together."""
    assert context.dataset is not None
    benchmark = open_table(context.dataset)
    size = benchmark.recorded(SEED).size
    if context.recorded(architectures=size):
        return
    measured = _measured(context)
    epoch = [benchmark.seconds(name, epoch=1, seed=SEED) for name in benchmark.architectures]
    common = {
        "architectures": size,
        "table": table_size(benchmark),
        "space": benchmark.setting.space,
        "space_size": benchmark.space.size,
        "epoch_seconds": float(np.median(epoch)),
        "tfmem_cost": measured.sessions[-1]["commit"],
        "load": measured.sessions[-1]["machine"]["load_at_start"],
        "tfmem_cost_started": measured.sessions[-1]["started"],
    }
    rows = []
    for name in REGISTRY:
        at_once = benchmark.whole_space_seconds(name)
        costs = tfmem_cost.costs(measured, name)
        rows.append(
            {
                "metric": name,
                "reads": " ".join(REGISTRY[name].needs) or "nothing",
                "own_seconds": benchmark.scoring_seconds(name),
                "share_seconds": None if at_once is None else at_once / benchmark.space.size,
                "whole_space_seconds": at_once,
                **costs,
                **common,
            }
        )
    context.record(*rows)


def _measured(context: Context) -> Document:
    """What `tfmem_cost` recorded of this dataset, in full or reduced; measured now where there is nothing.

    Sixty networks of a reduced run are enough for a mean, and take two minutes instead of twenty.
    """
    folder, stem = context.document.path.parent.parent, f"{context.dataset}-seed{context.seed}"
    for name in (f"{stem}.json", f"{stem}-quick.json"):
        path = folder / "tfmem_cost" / name
        if path.exists() and "finished" in Document.read(path).sessions[-1]:
            return Document.read(path)
    context.say("tfmem_cost was not run so far: its reduced run is made now")
    return harness.run(tfmem_cost, results=folder, dataset=context.dataset, quick=True, seed=context.seed)


def summarise(document: Document) -> list[str]:
    """One line a metric."""
    rows = latest(document)
    first = rows[0]
    lines = [
        f"{document.settings['dataset']}, {first['space']}, {first['table']}; {first['networks']:,} networks timed "
        f"at a load of {first['load']:.1f}; microseconds an architecture: textbook in torch, "
        "own network in NumPy, share of the whole space; MB of the textbook's process; one epoch of training "
        f"takes {first['epoch_seconds']:.3f} s (median)"
    ]
    for row in _in_order(rows):
        share = "     none" if row["share_seconds"] is None else f"{row['share_seconds'] * 1e6:9.2f}"
        lines.append(
            f"  {row['metric']:17}{row['textbook_seconds'] * 1e6:11,.0f}{row['own_seconds'] * 1e6:11,.0f}{share}"
            f"{row['textbook_megabytes']:7,.0f}  {first['epoch_seconds'] / row['own_seconds']:8,.0f} own networks "
            "an epoch"
        )
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Seconds an architecture of every metric, three ways, and memory."""
    rows = _in_order(latest(document))[::-1]
    first = rows[0]
    figure, (left, right) = plots.panels(2, width=4.4, height=0.25 * len(rows) + 1.0)
    places = range(len(rows))
    for number, (key, label) in enumerate(_WAYS.items()):
        values = np.array([row[key] for row in rows], dtype=np.float64)
        left.plot(values, places, "oD^"[number], color=plots.COLOURS[number], markersize=5, label=label)
    left.axvline(first["epoch_seconds"], color="black", linestyle="--", label="one epoch of training, median")
    left.set_xscale("log")
    left.set_xlabel("seconds an architecture, one core")
    names = [f"{row['metric']} (control)" if row["metric"] in CONTROLS else row["metric"] for row in rows]
    left.set_yticks(places, names)
    for key, offset, colour, label in (("textbook_megabytes", 0.2, 0, "textbook in torch"),
                                       ("fast_megabytes", -0.2, 2, "fast, in NumPy")):  # fmt: skip
        right.barh([place + offset for place in places], [row[key] for row in rows], 0.38,
                   color=plots.COLOURS[colour], label=label)  # fmt: skip
    right.set_yticks(places, [""] * len(rows))
    right.set_xlabel("peak memory of the process, libraries included, MB")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, fontsize=7)
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, fontsize=7)
    for axis in (left, right):
        axis.set_ylim(-0.7, len(rows) - 0.3)
        axis.grid(axis="y", visible=False)
    figure.suptitle(f"{document.settings['dataset']}, {first['space']}; batch {tfmem_cost.BATCH}; {first['table']}; "
                    f"{first['networks']:,} networks timed; load of the machine {first['load']:.1f}",
                    fontsize=9, x=0.01, ha="left")  # fmt: skip
    return {"": figure}


def _in_order(rows: list[Row]) -> list[Row]:
    """The cheapest first, each network drawn and scored for itself alone."""
    return sorted(rows, key=lambda row: float(row["own_seconds"]))
