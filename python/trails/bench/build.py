"""Builds a recorded benchmark: trains what is missing on every core, and keeps each training as soon as it is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trails.bench.machine import machine
from trails.bench.plan import Shard, Training, trainings
from trails.bench.progress import Progress
from trails.bench.protocol import SAMPLE_SEED, SEEDS, Protocol
from trails.bench.setting import Setting
from trails.bench.store import Store
from trails.space import parse_space

if TYPE_CHECKING:
    from trails.bench.train import Rowsets, Trained

_GROUP = 8
"""Trainings that are kept together: what is lost at most when the builder is killed, and files of a sensible size."""

_GROUP_SECONDS = 60.0
"""Trainings are kept at least so often."""


def build(
    protocol: Protocol,
    folder: Path,
    architectures: int,
    *,
    seeds: tuple[int, ...] = SEEDS,
    shard: Shard | None = None,
    processes: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Train what is missing of the first ``architectures`` of the sample.

    Args:
        protocol: Of the dataset.
        folder: Of the benchmark.
        architectures: How many.
        seeds: See `trails.bench.plan.trainings`.
        shard: The part that this builder does.
        processes: Each trains on one core; 0 for all cores.
        say: Told the progress.

    Returns:
        How many were trained.

    Raises:
        InvalidInput: The folder holds a benchmark of something else, or another builder is at this shard.
    """
    shard = shard or Shard()
    store, space = Store(folder), parse_space(protocol.space)
    count = processes or len(os.sched_getaffinity(0))
    with store.locked(f"shard-{shard.number + 1}-of-{shard.of}"):
        done = store.done()
        missing = [t for t in trainings(space.size, architectures, seeds, shard) if (t.place, t.seed) not in done]
        if not missing:
            say("nothing is missing")
            return 0
        with ProcessPoolExecutor(count, get_context("spawn"), _begin, (protocol,)) as pool:
            store.claim(pool.submit(_setting, protocol).result())
            return _train_all(pool, count, protocol, store, missing, say)


def _train_all(
    pool: ProcessPoolExecutor,
    count: int,
    protocol: Protocol,
    store: Store,
    missing: list[Training],
    say: Callable[[str], None],
) -> int:
    progress = Progress(len(missing), "trained", say)
    waiting = iter(missing)
    running: set[Future[Trained]] = {pool.submit(_train, protocol, training) for training in _first(waiting, 2 * count)}
    group: list[Trained] = []
    finished, kept, when = 0, 0, time.monotonic()
    try:
        while running:
            over, running = wait(running, return_when=FIRST_COMPLETED)
            for future in over:
                group.append(future.result())
                finished += 1
                progress.tell(finished)
                running |= {pool.submit(_train, protocol, training) for training in _first(waiting, 1)}
            # Several may be over at once, so that a multiple of the group's size may never be seen.
            if finished - kept >= _GROUP or time.monotonic() - when > _GROUP_SECONDS or not running:
                _keep(store, group)
                group, kept, when = [], finished, time.monotonic()
    except BaseException:
        for future in running:
            future.cancel()
        raise
    finally:
        _keep(store, group)
    return finished


def _keep(store: Store, group: Sequence[Trained]) -> None:
    if group:
        store.add([row for one in group for row in one.curve], [row for one in group for row in one.predictions])


def compact(protocol: Protocol, folder: Path) -> int:
    """Put everything recorded into two tables; how many epochs they hold."""
    import torch

    from trails.bench.train import Rowsets, parameters

    store, space = Store(folder), parse_space(protocol.space)
    rowsets = Rowsets.read(protocol, torch.device("cpu"))
    store.claim(rowsets.setting(protocol, SAMPLE_SEED))
    places = sorted({place for place, _ in store.done()})
    indices = {t.place: t.index for t in trainings(space.size, max(places) + 1, (SEEDS[0],), Shard())}
    return store.compact(
        [
            {
                "place": place,
                "index": indices[place],
                "architecture": space.format(space.architecture(indices[place])),
                "parameters": parameters(rowsets, protocol, indices[place]),
            }
            for place in places
        ]
    )


def _first(items: Any, count: int) -> list[Training]:
    return [item for _, item in zip(range(count), items, strict=False)]


# In the processes that train

_rowsets: Rowsets | None = None


def _begin(protocol: Protocol) -> None:
    global _rowsets
    from trails.refinement import process

    process.prepare()
    import torch

    from trails.bench.train import Rowsets

    torch.set_num_threads(1)
    _rowsets = Rowsets.read(protocol, torch.device("cpu"))


def _setting(protocol: Protocol) -> Setting:
    assert _rowsets is not None
    return _rowsets.setting(protocol, SAMPLE_SEED)


def _train(protocol: Protocol, training: Training) -> Trained:
    from trails.bench.train import train

    assert _rowsets is not None
    return train(_rowsets, protocol, training, machine())
