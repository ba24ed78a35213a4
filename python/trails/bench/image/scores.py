"""Training-free scores of recorded cells, computed on real networks (`trails.bench.image.score_table` keeps them).

The order is a seeded permutation of the cells that differ, so that whatever is scored so far is a random sample of the
space.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import repeat
from typing import TypeAlias

import numpy as np

from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.image.pictures import Pictures
from trails.bench.image.score_table import add, done, named, representatives
from trails.bench.processes import process_pool
from trails.bench.protocol import SAMPLE_SEED
from trails.errors import InvalidInput
from trails.family.cell.scoring import COUNTED
from trails.space import Space, picture_space
from trails.tfmem import Batch, Tfmem, get_tfmem
from trails.tfmem.registry import ZEN

ROWS = 32
"""Pictures of a batch."""

_AT_ONCE = 16
"""Cells between two writes."""

_Part: TypeAlias = Sequence[tuple[int, Sequence[str]]]
"""Cells by their index, and the metrics that are missing of each."""

_Rows: TypeAlias = list[Mapping[str, object]]
"""Of the table of scores."""


def score(
    benchmark: ImageBenchmark,
    pictures: Pictures,
    metrics: Sequence[Tfmem],
    *,
    cells: int,
    batch_seed: int = 1,
    published: bool = False,
    processes: int = 1,
    ray_address: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Score what is not scored yet; how many cells were.

    Args:
        benchmark: Of recorded cells.
        pictures: That batches are drawn from.
        metrics: None that is made of others; params and flops need no scoring.
        cells: Of the permuted recorded ones, isomorphic ones counted once.
        batch_seed: Draws the batch and the networks' weights.
        published: Only cells whose scores others published.
        processes: That score, each on one core; a single one is this process.
        ray_address: host:port of a Ray cluster whose nodes score in their place.
        say: Told of progress.

    Raises:
        InvalidInput: There is nothing to score, there are too few pictures, or no cluster answers.
        TrailsError: The cluster failed.
    """
    if cells < 1 or processes < 1:
        raise InvalidInput(f"{cells} cells in {processes} processes cannot be scored")
    recorded = benchmark.recorded().recorded
    wanted = recorded
    if published:
        places, _ = benchmark.published_scores("synflow", dataset="c10")
        wanted = recorded[np.unique(places[places >= 0])]
    different = np.unique(representatives(benchmark.space, wanted))
    order = np.random.default_rng(SAMPLE_SEED).permutation(different)[:cells].tolist()
    there = done(benchmark.folder, batch_seed)
    asked = [metric for metric in metrics if metric.name not in COUNTED]
    if not asked:
        raise InvalidInput("parameters and operations are counted, not scored", hint="Name another metric.")
    missing = [(index, [m.name for m in asked if (index, m.name) not in there]) for index in order]
    work = [(index, names) for index, names in missing if names]
    batches = [pictures.batch(ROWS, 10 * batch_seed + number) for number in range(max(m.batches for m in asked))]
    parts = [work[start : start + _AT_ONCE] for start in range(0, len(work), _AT_ONCE)]
    began, finished = time.monotonic(), 0
    with ExitStack() as stack:
        for rows in _scored(stack, benchmark.space.name, parts, batches, batch_seed, processes, ray_address):
            add(benchmark.folder, rows)
            finished += len({row["index"] for row in rows})
            say(f"{finished} of {len(work)} cells scored, {(time.monotonic() - began) / finished:.2f} s each")
    return len(work)


def _scored(
    stack: ExitStack,
    space: str,
    parts: Sequence[_Part],
    batches: Sequence[Batch],
    batch_seed: int,
    processes: int,
    ray_address: str | None,
) -> Iterator[_Rows]:
    """The scores of each part, as they come."""
    if not parts:
        return iter(())
    if ray_address is not None:
        from trails.bench.ray_jobs import RayJobs

        jobs = stack.enter_context(RayJobs(ray_address))
        shipped = jobs.put(list(batches))
        return jobs.run(_score_part, ((space, part, shipped, batch_seed) for part in parts), "a scoring")
    run: Callable[..., Iterator[_Rows]] = map
    if processes > 1:
        run = stack.enter_context(process_pool(processes)).map
    return run(_score_part, repeat(space), parts, repeat(batches), repeat(batch_seed))


def _score_part(space: str, part: _Part, batches: Sequence[Batch], batch_seed: int) -> _Rows:
    """Scores of some cells, on one core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return list(_scores_of(picture_space(space), part, batches, batch_seed))
    finally:
        torch.set_num_threads(threads)


def _scores_of(space: Space, part: _Part, batches: Sequence[Batch], seed: int) -> Iterator[Mapping[str, object]]:
    for index, names in part:
        own = space.family.scoring.initialise(
            named("+".join(names)), space.architecture(index), batches[0].inputs, seed
        )
        for name in names:
            began = time.process_time()
            value = own(ZEN if name == ZEN.name else get_tfmem(name), batches)
            seconds = time.process_time() - began
            yield {"index": index, "tfmem": name, "batch_seed": seed, "score": value, "seconds": seconds}
