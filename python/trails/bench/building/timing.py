"""Times architectures alone, for benchmarks that were trained in stacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trails.bench.building.pools import LocalPool
from trails.bench.building.progress import Progress
from trails.bench.estimate import LEAST_TIMED
from trails.bench.plan import Shard, Training, trainings
from trails.bench.protocol import SEEDS, Protocol
from trails.bench.store import Store
from trails.errors import InvalidInput
from trails.space import parse_space


def time_alone(
    protocol: Protocol,
    folder: Path,
    architectures: int,
    *,
    processes: int = 0,
    devices: str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Train the first architectures of the sample, which are random ones, alone for an epoch, and keep the seconds.

    What is timed is not timed again.

    Args:
        protocol: Of the dataset.
        folder: Of the benchmark.
        architectures: How many are timed in the end.
        processes: On the CPU, each on one core; 0 for all cores.
        devices: As the product's option ``device``.
        say: Told the progress.

    Returns:
        How many were timed now.

    Raises:
        InvalidInput: The benchmark is of other rows or options, or there are not so many architectures, or these are
            too few for an estimate.
    """
    if architectures < LEAST_TIMED:
        raise InvalidInput(
            f"{architectures} timed architectures are too few for an estimate", hint=f"Time {LEAST_TIMED}."
        )
    store, size = Store(folder), parse_space(protocol.space).size
    with store.locked("times"):
        timed = set(store.times()["place"].to_pylist())
        wanted = [t for t in trainings(size, architectures, SEEDS[:1], Shard()) if t.place not in timed]
        if not wanted:
            return 0
        short = replace(protocol, epochs=1)
        with LocalPool(short, processes, devices, stacked=1) as pool:
            store.claim(replace(pool.setting(), epochs=protocol.epochs))
            progress, finished = Progress(len(wanted), "timed", say), 0
            jobs: list[list[Training]] = [[training] for training in wanted]
            for trained in pool.run(jobs):
                rows = [one.curve[0] for one in trained]
                names = ("place", "train_seconds", "valid_seconds", "machine")
                store.add_times([{name: row[name] for name in names} for row in rows])
                finished += len(rows)
                progress.tell(finished)
    return len(wanted)
