"""Cells timed on real pictures: some steps of the kind that trained them, so that searches can pay for trainings.

A step is one of stochastic gradient descent with Nesterov's momentum on a batch, by cross-entropy, in the published
recipe (Dong and Yang, arXiv:2001.00326, table 1), whose batches are larger. Reading pictures and cropping and mirroring
them is left out. Only time is kept of it: nothing here is trained to an end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from trails.bench.building.machine import machine
from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.image.pictures import Pictures
from trails.bench.image.score_table import representatives
from trails.bench.image.training_seconds import COUNTED, LEAST_TIMED, PICTURED, add, read
from trails.bench.protocol import SAMPLE_SEED
from trails.errors import InvalidInput
from trails.family import Design
from trails.family.cell import nasbench201
from trails.family.cell.pixels import standardised
from trails.space import Space

ROWS, STEPS = 64, 3
"""Pictures of a batch, and batches of which the median counts; one before them is not counted."""

_ONE_SKIP = tuple(nasbench201.SKIP if edge == (0, 3) else nasbench201.NONE for edge in nasbench201.EDGES)
"""From the cell's input to its output."""

_RATE, _MOMENTUM, _DECAY = 0.1, 0.9, 5e-4


def time_cells(
    benchmark: ImageBenchmark,
    pictures: Pictures,
    cells: int,
    *,
    rows: int = ROWS,
    steps: int = STEPS,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Time what is not timed yet; how many cells were.

    First come the smallest and the largest: the cell of one skip, and those that have one operation on all their edges.
    The others are a random sample of those that differ. Each is timed on pictures of 32 x 32 and of 16 x 16;
    these are the same ones, four pixels put into one, and have only the classes that there are.

    Args:
        benchmark: Of recorded cells.
        pictures: Of 32 x 32 pixels.
        cells: How many are timed in the end.
        rows: Pictures of a batch.
        steps: Batches of which the median counts.
        say: Told of progress.

    Raises:
        InvalidInput: Seconds were published, cells are too few for a fit, or pictures too few or of another size.
    """
    if benchmark.space.name != "nasbench201":
        raise InvalidInput(f"seconds of {benchmark.space.name} were published, nothing has to be timed")
    if cells < LEAST_TIMED:
        raise InvalidInput(f"{cells} timed cells are too few for an estimate", hint=f"Time {LEAST_TIMED}.")
    sizes = {pictured.side: pictured.classes for pictured in PICTURED.values()}
    side = pictures.pixels.shape[2]
    if side != max(sizes) or len(pictures.pixels) < rows or steps < 1:
        raise InvalidInput(
            f"{len(pictures.pixels)} pictures of {side} x {side} cannot be timed in batches of {rows}",
            hint=f"Name {rows} pictures of {max(sizes)} x {max(sizes)} or more.",
        )
    classes, fewest = int(pictures.classes[:rows].max()) + 1, min(sizes.values())
    if classes > fewest:
        raise InvalidInput(
            f"pictures of {classes} classes cannot be timed: some networks tell {fewest} apart",
            hint="Name pictures of fewer classes; which they are does not change the time.",
        )
    different = np.unique(representatives(benchmark.space, benchmark.recorded().recorded))
    # Another permutation than the one that cells are scored in: what is timed is no better known otherwise.
    order = np.random.default_rng([SAMPLE_SEED, 1]).permutation(different).tolist()
    order = list(dict.fromkeys([*_plain(benchmark.space, different), *order]))[:cells]
    known = read(benchmark.folder)
    there = set(zip(known["index"].to_pylist(), known["side"].to_pylist(), strict=True))
    missing = [index for index in order if any((index, own) not in there for own in sizes)]
    first = replace(pictures, pixels=pictures.pixels[:rows], classes=pictures.classes[:rows])
    for number, index in enumerate(missing, start=1):
        found: list[Mapping[str, object]] = []
        for own, classes in sizes.items():
            if (index, own) in there:
                continue
            x, y = standardised(first.resized(own).pixels), first.classes
            train, valid = seconds_of(benchmark.space.architecture(index), x, y, classes, steps)
            row = {"index": index, "side": own, "classes": classes, "pictures": rows, "machine": machine()}
            found.append({**row, "train_seconds": train, "valid_seconds": valid})
        add(benchmark.folder, found)
        say(f"{number} of {len(missing)} cells timed")
    return len(missing)


def _plain(space: Space, recorded: NDArray[np.int64]) -> list[int]:
    """Of some cells, one skip alone and one operation on all edges, or what is isomorphic to them."""
    indices = np.array([space.index(design) for design in [_ONE_SKIP, *((o,) * len(_ONE_SKIP) for o in COUNTED)]])
    wanted: list[int] = representatives(space, indices).tolist()
    return [index for index in wanted if index in recorded]


def seconds_of(
    design: Design, x: NDArray[np.float64], y: NDArray[np.int64], classes: int, steps: int
) -> tuple[float, float]:
    """Seconds of training on a picture and of evaluating one: processor time of one core, median of some batches.

    Args:
        design: The cell.
        x: float64 (pictures, 3, side, side), standardised: one batch, again and again.
        y: int64 (pictures,): their classes.
        classes: That the network tells apart.
        steps: Batches timed, after one that is not.
    """
    import torch

    from trails.family.cell.networks import network_of

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = network_of("nasbench201", design, 1, classes)
        descent = torch.optim.SGD(network.parameters(), _RATE, _MOMENTUM, weight_decay=_DECAY, nesterov=True)
        pictures, labels = torch.from_numpy(x).float(), torch.from_numpy(y)

        def train() -> None:
            descent.zero_grad()
            torch.nn.functional.cross_entropy(network(pictures), labels).backward()  # type: ignore[no-untyped-call]
            descent.step()

        def evaluate() -> None:
            with torch.no_grad():
                (network(pictures).argmax(1) == labels).sum().item()

        network.train()
        training = _median_seconds(train, steps)
        network.eval()
        return training / len(x), _median_seconds(evaluate, steps) / len(x)
    finally:
        torch.set_num_threads(threads)


def _median_seconds(step: Callable[[], None], steps: int) -> float:
    found = []
    for _ in range(1 + steps):
        began = time.process_time()
        step()
        found.append(time.process_time() - began)
    return median(found[1:])
