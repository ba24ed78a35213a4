"""Builds a recorded benchmark: trains what is missing on every core, and keeps each training as soon as it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trails.bench.building.pools import LocalPool, Pool
from trails.bench.building.progress import Progress
from trails.bench.plan import Shard, Training, trainings
from trails.bench.protocol import SAMPLE_SEED, SEEDS, Protocol
from trails.bench.store import Store
from trails.errors import InvalidInput
from trails.space import parse_space

if TYPE_CHECKING:
    from trails.bench.building.train import Trained

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
    devices: str = "cpu",
    stacked: int = 0,
    ray_address: str | None = None,
    ray_gpus: float = 0.0,
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
        devices: As the product's option ``device``; a process a GPU.
        stacked: Trained together at most; 0 for one on a core, and on a GPU for as many as memory holds.
        ray_address: Of the Ray cluster that trains; None for this machine.
        ray_gpus: GPUs that a training reserves there.
        say: Told the progress.

    Returns:
        How many were trained.

    Raises:
        InvalidInput: The folder holds a benchmark of something else, another builder is at this shard, a device or
            cluster is not there, there is no seed, or a number is negative.
        TrailsError: The cluster failed.
    """
    if not seeds or processes < 0 or stacked < 0:
        raise InvalidInput(
            f"{len(seeds)} seeds, {processes} processes and stacks of {stacked} are not possible",
            hint="One seed or more; 0 processes are one for each core, and stacks of 0 are as large as is usual.",
        )
    shard, folder = shard or Shard(), folder.resolve()
    store, space = Store(folder), parse_space(protocol.space)
    with store.locked(f"shard-{shard.number + 1}-of-{shard.of}"):
        done = store.done()
        missing = [t for t in trainings(space.size, architectures, seeds, shard) if (t.place, t.seed) not in done]
        if not missing:
            say("nothing is missing")
            return 0
        with _pool(protocol, processes, devices, stacked, ray_address, ray_gpus) as pool:
            store.claim(pool.setting())
            return _train_all(pool, store, missing, say)


def _pool(
    protocol: Protocol, processes: int, devices: str, stacked: int, ray_address: str | None, ray_gpus: float
) -> Pool:
    if ray_address is None:
        return LocalPool(protocol, processes, devices, stacked)
    from trails.bench.building.ray_pool import RayPool

    return RayPool(protocol, ray_address, ray_gpus, stacked)


def _train_all(pool: Pool, store: Store, missing: list[Training], say: Callable[[str], None]) -> int:
    progress = Progress(len(missing), "trained", say)
    group: list[Trained] = []
    finished, when = 0, time.monotonic()
    try:
        for trained in pool.run(pool.stacks(missing)):
            group += trained
            finished += len(trained)
            progress.tell(finished)
            if len(group) >= _GROUP or time.monotonic() - when > _GROUP_SECONDS:
                _keep(store, group)
                group, when = [], time.monotonic()
    finally:
        _keep(store, group)
    return finished


def _keep(store: Store, group: Sequence[Trained]) -> None:
    if group:
        store.add([row for one in group for row in one.curve], [row for one in group for row in one.predictions])


def compact(protocol: Protocol, folder: Path) -> int:
    """Put everything recorded into tables; how many epochs they hold.

    Raises:
        InvalidInput: Nothing is recorded, or of other rows or options.
    """
    import torch

    from trails.bench.building.rowsets import Rowsets

    store, space = Store(folder), parse_space(protocol.space)
    places = sorted({place for place, _ in store.done()})
    if not places:
        raise InvalidInput(
            f"{folder} holds no training",
            hint=f"python -m trails bench train --dataset {protocol.dataset} --architectures N",
        )
    rowsets = Rowsets.read(protocol, torch.device("cpu"))
    store.claim(rowsets.setting(protocol, SAMPLE_SEED))
    indices = {t.place: t.index for t in trainings(space.size, max(places) + 1, (SEEDS[0],), Shard())}
    return store.compact(
        [
            {
                "place": place,
                "index": indices[place],
                "architecture": space.format(space.architecture(indices[place])),
                "parameters": rowsets.parameters(protocol, indices[place]),
            }
            for place in places
        ]
    )
