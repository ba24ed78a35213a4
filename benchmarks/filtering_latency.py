"""Where filtering's seconds and memory go: networks made, moved, data brought, scored; for pictures and tables.

Seeded architectures are scored one after another, each with a network of its own, on batches of 32. Of pictures: cells
of NAS-Bench-201 with the sizes and classes of CIFAR-10, CIFAR-100 and ImageNet16-120 (pictures are those of CIFAR-10,
resized), by naswot, synflow and both. Of tables: networks of the published space by jacflow, a fresh batch for each,
with the embedding table kept for all of them (the embedding cache) or drawn anew for each, and as many rows in it as
the published configuration says. Every case has a process of its own on one core; a GPU is measured too where there is
one. Seconds are processor time (on a GPU the wall's); memory is what is resident above what was before the first
network. Wants `cifar10`, `frappe`, `uci_diabetes` and `criteo` in $TRAILS_DATA.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import _pictures, plots
from benchmarks._memory import forget_peak, peak_megabytes, resident_megabytes
from benchmarks.harness import Context, Document, Row, run_pinned

PICTURES: Mapping[str, tuple[int, int]] = {"CIFAR-10": (32, 10), "CIFAR-100": (32, 100), "ImageNet16-120": (16, 120)}
"""Side and classes."""
METRICS = ("naswot", "synflow", "jacflow")
TABLES = ("frappe", "uci_diabetes", "criteo")
PHASES = ("initialisation", "transfer", "data", "scoring")
BATCH = 32
_SPACE = "nasbench201"


def run(context: Context) -> None:
    """Measure the cases that are not recorded yet."""
    models = 10 if context.quick else 100
    for device in _devices():
        for dataset, (side, classes) in PICTURES.items():
            for metric in METRICS[-1:] if context.quick else METRICS:
                case: Row = {"dataset": dataset, "metric": metric, "device": device}
                if not context.recorded(**case):
                    context.say(f"{dataset}, {metric}, {device}")
                    size: Row = {"side": side, "classes": classes, "models": models, "seed": context.seed}
                    context.record(run_pinned("benchmarks.filtering_latency:measure_pictures", **case, **size))
    for dataset in TABLES:
        for cache in (True, False):
            if not context.recorded(dataset=dataset, cache=cache):
                context.say(f"{dataset}, embedding cache {'on' if cache else 'off'}")
                known: Row = {"dataset": dataset, "cache": cache, "models": models, "seed": context.seed}
                context.record(run_pinned("benchmarks.filtering_latency:measure_table", **known))


def _devices() -> list[str]:
    import torch

    return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def measure_pictures(dataset: str, side: int, classes: int, metric: str, device: str, models: int, seed: int) -> Row:
    """Seconds by phase of ``models`` cells together, their memory, and what is resident after each."""
    import torch

    from trails.family.cell.batches import Pictures
    from trails.family.cell.measures import Measures
    from trails.family.cell.networks import network_of
    from trails.space import picture_space
    from trails.tfmem import parse_tfmems

    torch.set_num_threads(1)
    clock = _clock(device)
    space, names = picture_space(_SPACE), [part.name for part in parse_tfmems(metric)]
    spent = dict.fromkeys(PHASES, 0.0)
    began = clock()
    pictures = Pictures.of(_pictures.batch(BATCH, seed, side, classes))
    spent["data"] += clock() - began
    began = clock()
    pictures = Pictures(pictures.x.to(device), None if pictures.y is None else pictures.y.to(device))
    spent["transfer"] += clock() - began
    before, line = resident_megabytes(), []
    forget_peak()
    for index in space.sample(models, seed).tolist():
        began = clock()
        network = network_of(_SPACE, space.architecture(index), seed, classes)
        made = clock()
        measures = Measures(network.to(device), [pictures], side, seed)
        moved = clock()
        for name in names:
            measures.of(name)
        spent["initialisation"] += made - began
        spent["transfer"] += moved - made
        spent["scoring"] += clock() - moved
        line.append(resident_megabytes() - before)
    known: Row = {"what": "pictures", "dataset": dataset, "metric": metric, "device": device, "models": models}
    return {**known, **spent, "megabytes": peak_megabytes() - before, "line": line}


def _clock(device: str) -> Callable[[], float]:
    """Processor time; on a GPU the wall's, once it has done what it was given."""
    if device == "cpu":
        return time.process_time

    def waited() -> float:
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    return waited


def measure_table(dataset: str, cache: bool, models: int, seed: int) -> Row:
    """The same of networks for a table's rows; ``table_megabytes`` is the embedding table's size."""
    from trails.filtering.latency import LatencyScorer, parse_config
    from trails.loading.libsvm import read_blocks
    from trails.loading.sources import find_dataset

    clock = time.process_time
    spent = dict.fromkeys(PHASES, 0.0)
    found = find_dataset(dataset)
    began = clock()
    block = next(iter(read_blocks(found.files["train"], found.fields)))
    spent["data"] += clock() - began
    published = parse_config((Path(__file__).parent / "config" / f"{dataset}.ini").read_text())
    config = replace(published, tfmem="jacflow", embedding_cache=cache, seed=seed)
    before, line = resident_megabytes(), []
    forget_peak()
    began = clock()
    scorer = LatencyScorer(config, models, block.ids.shape[1])
    spent["initialisation"] += clock() - began
    generator = np.random.default_rng(seed)
    for place in range(models):
        began = clock()
        chosen = generator.choice(len(block.ids), BATCH, replace=False)
        ids = np.ascontiguousarray(block.ids[chosen].astype(np.int64))
        brought = clock()
        initialisation, preprocessing, scoring = scorer.score(place, ids)
        whole, wall = clock() - brought, initialisation + preprocessing + scoring
        # The scorer tells seconds of the wall; their shares are taken of processor time.
        spent["initialisation"] += whole * initialisation / wall
        spent["data"] += brought - began + whole * preprocessing / wall
        spent["scoring"] += whole * scoring / wall
        line.append(resident_megabytes() - before)
    known: Row = {"what": "table", "dataset": dataset, "metric": "jacflow", "cache": cache, "models": models}
    memory = {"megabytes": peak_megabytes() - before, "table_megabytes": config.ids * config.embedding * 8 / 1e6}
    return {**known, "device": "cpu", **spent, **memory, "line": line}


def draw(document: Document) -> Mapping[str, Figure]:
    """Latency bars, memory bars, memory as architectures are scored, and what an embedding cache holds."""
    figure, axes = plots.panels(3, 2, width=4.6, height=3.4)
    pictures, tables, memory, line, cache, names = axes
    models = document.rows[0]["models"]
    for axis, what in ((pictures, "pictures"), (tables, "table")):
        rows = document.select(what=what)
        bottoms = np.zeros(len(rows))
        for phase, colour in zip(PHASES, plots.COLOURS, strict=False):
            values = np.array([1e3 * row[phase] / models for row in rows])
            axis.barh(range(len(rows)), values, left=bottoms, color=colour, label=phase)
            bottoms += values
        axis.set_xlabel("processor milliseconds an architecture")
        _name_bars(axis, rows)
    pictures.set_title(f"cells, {models} of a run, batch of {BATCH}")
    tables.set_title(f"networks for tables by jacflow, {models} of a run")
    tables.legend(loc="upper right", fontsize=7)
    memory.barh(range(len(document.rows)), [row["megabytes"] for row in document.rows], color=plots.COLOURS[5])
    memory.set_xlabel("MB, the peak")
    memory.set_title("memory")
    _name_bars(memory, document.rows)
    _draw_lines(line, document)
    _draw_cache(cache, document)
    names.axis("off")
    names.legend(*line.get_legend_handles_labels(), loc="upper left", fontsize=8, title="memory as filtering goes on")
    return {"": figure}


def _name_bars(axis: Axes, rows: Sequence[Row]) -> None:
    axis.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=7)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def _draw_lines(axis: Axes, document: Document) -> None:
    datasets = [*PICTURES, *TABLES]
    for row in document.rows:
        if row["metric"] == "jacflow" and row["device"] == "cpu":
            colour = plots.COLOURS[datasets.index(row["dataset"])]
            dashes = "--" if row.get("cache") is False else "-"
            axis.plot(range(1, row["models"] + 1), row["line"], dashes, color=colour, linewidth=1, label=_name(row))
    axis.set_xlabel("architectures scored by jacflow")
    axis.set_ylabel("MB resident")
    axis.set_yscale("symlog", linthresh=1)
    axis.set_title("memory as filtering goes on")


def _draw_cache(axis: Axes, document: Document) -> None:
    kept = document.select(what="table", cache=True)
    axis.bar([row["dataset"] for row in kept], [row["table_megabytes"] for row in kept], 0.5, color=plots.COLOURS[2])
    for place, row in enumerate(kept):
        told = f"{row['table_megabytes']:.2f} MB"
        axis.annotate(
            told, (place, row["table_megabytes"]), (0, 3), textcoords="offset points", ha="center", fontsize=8
        )
    axis.set_yscale("log")
    axis.set_ylabel("MB")
    axis.set_ylim(top=3 * max((row["table_megabytes"] for row in kept), default=1.0))
    axis.set_title("the embedding cache: 10 float64 an id")
    axis.grid(axis="x", visible=False)


def _name(row: Row) -> str:
    if row["what"] == "table":
        return f"{row['dataset']}, cache {'on' if row['cache'] else 'off'}"
    return f"{row['dataset']}, {row['metric']}" + ("" if row["device"] == "cpu" else f", {row['device']}")


def summarise(document: Document) -> list[str]:
    """Milliseconds of an architecture by phase, and memory, case by case."""
    lines = []
    for row in document.rows:
        told = ", ".join(f"{phase} {1e3 * row[phase] / row['models']:.3f}" for phase in PHASES)
        lines.append(f"{_name(row)}: milliseconds an architecture: {told}; {row['megabytes']:.1f} MB")
    if not any(row["device"] == "cuda" for row in document.rows):
        lines.append("no GPU was measured: there is none here")
    return lines
