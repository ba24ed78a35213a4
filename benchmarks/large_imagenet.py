"""Cells on pictures of ImageNet's sizes: seconds of scoring, of an epoch of training, and what two-phase search gains.

Seeded cells of NAS-Bench-201 are scored by jacflow, one network after another on one core: on pictures of 16 x 16 with
120 classes, 32 of a batch, and of 224 x 224 with 1,000 classes, 8 of a batch (and some with 32). Pictures are those of
CIFAR-10, resized; classes are drawn, since there are more than theirs: neither changes what a score takes. Training is
timed with real steps of SGD, a few for each size of batch, and counted up to all pictures of the dataset. The last part
is simulated: searches on ImageNet16-120 look accuracies up, and are charged seconds of training that are estimated from
cells that were timed here, and the seconds of a score on 32 x 32. Seconds that are measured are processor time, so that
what else the machine does matters little; memory is the peak of what is resident above what was before the first
network. Wants `cifar10` in $TRAILS_DATA, and for the last part a converted `nasbench201`.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import _image_searches, _pictures, _search_figures, _searches, plots
from benchmarks._memory import forget_peak, peak_megabytes, resident_megabytes
from benchmarks.harness import Context, Document, Row, run_pinned
from trails.bench.folder import tables

SPACE = "nasbench201"


@dataclass(frozen=True)
class Size:
    """Pictures of a dataset.

    Args:
        name: Of the dataset whose sizes they have.
        side: Pixels.
        classes: How many.
        pictures: Of its training split.
    """

    name: str
    side: int
    classes: int
    pictures: int


SMALL, LARGE = Size("ImageNet16-120", 16, 120, 151_700), Size("ImageNet", 224, 1_000, 1_281_167)

SCORED = ((SMALL, 32, 100, 25), (LARGE, 8, 100, 10), (LARGE, 32, 5, 5))
"""Of what size, pictures of a batch, cells, and cells that one process scores."""

BATCHES = (2, 4, 8, 16, 24)
"""Of training."""

METHODS: Mapping[str, _search_figures.Line] = {
    "two_phase:jacflow": (plots.COLOURS[1], "-"),
    "two_phase_k:jacflow": (plots.COLOURS[1], "--"),
    "training_free:jacflow": (plots.COLOURS[2], "-"),
    "evolution": (plots.COLOURS[0], "-"),
    "random": (plots.COLOURS[6], "--"),
}
"""That are compared by recorded accuracies."""
FAST, SLOW, DATASET, BUDGETS = "two_phase:jacflow", "evolution", "in16", 12

_TRAINED = {SMALL: 8, LARGE: 3}
_STEPS = {SMALL: 10, LARGE: 1}
_QUICK_SCORED = (10, 3, 0)
_QUICK_TRAINED = {SMALL: 2, LARGE: 1}
_QUICK_BATCHES = {SMALL: BATCHES, LARGE: BATCHES[:2]}


def run(context: Context) -> None:
    """Measure what is not recorded yet."""
    for number, (size, rows, cells, at_once) in enumerate(SCORED):
        wanted = _QUICK_SCORED[number] if context.quick else cells
        for start in range(len(context.recorded(what="score", side=size.side, rows=rows)), wanted, at_once):
            context.say(f"{size.side} x {size.side}, {rows} of a batch: {start} of {wanted} cells scored")
            count = min(at_once, wanted - start)
            known = {"side": size.side, "classes": size.classes, "rows": rows, "seed": context.seed}
            context.record(*run_pinned("benchmarks.large_imagenet:measure_scores", start=start, count=count, **known))
    for size, wanted in (_QUICK_TRAINED if context.quick else _TRAINED).items():
        batches = _QUICK_BATCHES[size] if context.quick else BATCHES
        at_once = wanted if size is SMALL else 1
        for start in range(len(context.recorded(what="train", side=size.side)) // len(batches), wanted, at_once):
            context.say(f"{size.side} x {size.side}: {start} of {wanted} cells trained for some steps")
            known = {"side": size.side, "classes": size.classes, "steps": _STEPS[size], "seed": context.seed}
            positions = list(range(start, min(start + at_once, wanted)))
            function = "benchmarks.large_imagenet:measure_training"
            context.record(*run_pinned(function, positions=positions, batches=batches, **known))
    if (tables() / SPACE / "setting.json").exists():
        _searches.run(replace(context, dataset=DATASET), METHODS, BUDGETS, _image_searches.CELLS)
    else:
        context.say(f"searches are left out: python -m trails bench convert --dataset {SPACE} makes what they look up")


def cells(seed: int) -> list[int]:
    """All cells of the space in a seeded order; what is measured of few is of its first ones."""
    from trails.space import picture_space

    return [int(index) for index in np.random.default_rng(seed).permutation(picture_space(SPACE).size)]


def measure_scores(side: int, classes: int, rows: int, start: int, count: int, seed: int) -> list[Row]:
    """Seconds, memory and counts of ``count`` cells, from number ``start`` of the seeded order on."""
    import torch

    from trails.family.cell.networks import measures_of
    from trails.space import Nasbench201Space

    torch.set_num_threads(1)
    space = Nasbench201Space(classes)
    batch = _pictures.batch(rows, seed, side, classes)
    before, found = resident_megabytes(), []
    measures_of(SPACE, space.architecture(0), seed, batch.inputs, [batch]).of("naswot")  # the first one warms up
    for position, index in enumerate(cells(seed)[start : start + count], start):
        design = space.architecture(index)
        forget_peak()
        began = time.process_time()
        measures = measures_of(SPACE, design, seed, batch.inputs, [batch])
        seconds = {"initialisation": time.process_time() - began}
        for name in ("naswot", "synflow"):
            began = time.process_time()
            measures.of(name)
            seconds[name] = time.process_time() - began
        counts = {"parameters": space.parameters(design, batch.inputs), "flops": space.flops(design, batch.inputs)}
        known = {"what": "score", "side": side, "classes": classes, "rows": rows, "position": position}
        row = {**known, "cell": space.format(design), **counts, "seconds": seconds}
        found.append({**row, "megabytes": peak_megabytes() - before})
    return found


def measure_training(
    side: int, classes: int, positions: list[int], batches: list[int], steps: int, seed: int
) -> list[Row]:
    """Seconds of a step of SGD with momentum for each size of batch, of some cells."""
    import torch
    from torch.nn import functional

    from trails.family.cell.batches import Pictures
    from trails.family.cell.networks import network_of
    from trails.space import Nasbench201Space

    torch.set_num_threads(1)
    space, order = Nasbench201Space(classes), cells(seed)
    given = {rows: Pictures.of(_pictures.batch(rows, seed, side, classes)) for rows in batches}
    before, found = resident_megabytes(), []
    for position, rows in product(positions, batches):
        design, (x, y) = space.architecture(order[position]), (given[rows].x, given[rows].y)
        assert y is not None
        network = network_of(SPACE, design, seed, classes).train()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        forget_peak()
        seconds = []
        for _ in range(steps + 1):
            began = time.process_time()
            optimiser.zero_grad()
            functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            seconds.append(time.process_time() - began)
        known = {"what": "train", "side": side, "classes": classes, "rows": rows, "position": position}
        row = {**known, "cell": space.format(design), "flops": space.flops(design, 3 * side**2)}
        # The first step makes the optimiser's state and warms up.
        found.append({**row, "seconds": seconds[1:], "megabytes": peak_megabytes() - before})
    return found


def draw(document: Document) -> Mapping[str, Figure]:
    """Seconds of jacflow cell by cell, of an epoch by size of batch, and test accuracy by seconds spent."""
    searched = document.select(method="table")
    figure, (scoring, training, *quality) = plots.panels(3 if searched else 2, width=4.8, height=3.8)
    _draw_scoring(scoring, document)
    _draw_training(training, document)
    for axis in quality:
        _search_figures.by_seconds(
            axis,
            document,
            METHODS,
            _searches.grid(document.rows, 60),
            bands=(FAST, SLOW),
            labels=_image_searches.LABELS,
        )
        axis.set_title("ImageNet16-120, recorded accuracies")
        axis.legend(loc="lower right", fontsize=7, title=_search_figures.caption(searched[0]), title_fontsize=6)
        low, high = axis.get_ylim()
        axis.set_ylim(low - 1.1 * (high - low), high)
    return {"": figure}


def _draw_scoring(axis: Axes, document: Document) -> None:
    for size, rows, *_ in SCORED:
        found = document.select(what="score", side=size.side, rows=rows)
        if found:
            memory = statistics.median(row["megabytes"] for row in found)
            label = f"{size.side} x {size.side}, {size.classes:,} classes, batch of {rows}:\n"
            label += f"{len(found)} cells, median {statistics.median(map(jacflow, found)):.2g} s, {memory:,.0f} MB"
            axis.plot([row["flops"] / 1e6 for row in found], [jacflow(row) for row in found], ".", label=label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("millions of operations of one picture")
    axis.set_ylabel("processor seconds a cell")
    axis.set_title("jacflow of one cell (CIFAR-10 resized, drawn classes)")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** 0.5)
    if axis.lines:
        axis.legend(loc="upper left", fontsize=7)


def _draw_training(axis: Axes, document: Document) -> None:
    for size in (SMALL, LARGE):
        hours = epoch_hours(document, size)
        if hours:
            places = sorted(hours)
            middle = [statistics.median(hours[rows]) for rows in places]
            label = f"{size.side} x {size.side}: {size.pictures:,} pictures of {size.name}\n"
            label += f"{len(hours[places[0]])} cells, median and range"
            (line,) = axis.plot(places, middle, "o-", label=label)
            least, most = ([choose(hours[rows]) for rows in places] for choose in (min, max))
            axis.fill_between(places, least, most, color=line.get_color(), alpha=0.2, linewidth=0)
    axis.set_yscale("log")
    axis.set_xticks(BATCHES)
    axis.set_xlabel("pictures of a batch")
    axis.set_ylabel("processor hours of an epoch")
    axis.set_title("an epoch of training: steps timed, counted up")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** 0.35)
    if axis.lines:
        axis.legend(loc="upper right", fontsize=7)


def jacflow(row: Row) -> float:
    """Processor seconds of a cell's two scores, with its network's initialisation."""
    return float(sum(row["seconds"].values()))


def epoch_hours(document: Document, size: Size) -> dict[int, list[float]]:
    """Processor hours of an epoch of all pictures, by size of batch, cell by cell: so many of the measured steps."""
    found: dict[int, list[float]] = {}
    for row in document.select(what="train", side=size.side):
        step = statistics.median(row["seconds"])
        found.setdefault(row["rows"], []).append(step * size.pictures / row["rows"] / 3600)
    return found


def summarise(document: Document) -> list[str]:
    """What came out."""
    lines = []
    for size, rows, *_ in SCORED:
        found = document.select(what="score", side=size.side, rows=rows)
        if found:
            seconds, memory = [jacflow(row) for row in found], [row["megabytes"] for row in found]
            lines.append(
                f"{size.side} x {size.side}, {size.classes} classes, batch of {rows}: jacflow of a cell in "
                f"{statistics.median(seconds):.3f} s (median of {len(found)}; {min(seconds):.3f} to "
                f"{max(seconds):.3f}), {statistics.median(memory):,.0f} MB (at most {max(memory):,.0f})"
            )
    for size in (SMALL, LARGE):
        hours = epoch_hours(document, size)
        if hours:
            told = ", ".join(f"{rows}: {statistics.median(hours[rows]):.3g}" for rows in sorted(hours))
            lines.append(f"{size.side} x {size.side}: processor hours of an epoch by size of batch (medians): {told}")
    return [*lines, *_quality(document)] if document.select(method="table") else lines


def _quality(document: Document) -> list[str]:
    """Seconds until the median search stays near the best test accuracy, and how many times sooner two phases do."""
    (facts,) = document.select(method="table")
    times, best, start = _searches.grid(document.rows), facts["best_test"], facts["random_test"]
    told = f"test accuracy of one at random {start:.2f} %, of the best by validation {best:.2f} % (medians)"
    lines = [f"ImageNet16-120: {_search_figures.caption(facts)}; {told}".replace("\n", " ")]
    for share in (0.8, 0.9, 0.95):
        target = start + share * (best - start)
        seconds = {name: _searches.seconds_to(document.select(method=name), target, times) for name in METHODS}
        reached = "; ".join(
            f"{_image_searches.LABELS[name]} {'never' if math.isnan(found) else f'{found:.3g} s'}"
            for name, found in seconds.items()
        )
        sooner = _searches.ratio(seconds[SLOW], seconds[FAST])
        lines.append(f"{target:.2f} %: {reached}; times sooner than evolution, planned: {sooner}")
    return lines
