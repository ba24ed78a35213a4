"""Where the architectures of a recorded benchmark are trained: processes of this machine, each on a core or a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from multiprocessing import active_children, get_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from trails.bench import protocol as protocols
from trails.bench.building.machine import machine
from trails.bench.plan import Training
from trails.bench.processes import process_pool
from trails.bench.protocol import SAMPLE_SEED
from trails.bench.setting import Setting
from trails.errors import InvalidInput

if TYPE_CHECKING:
    from trails.bench.building.rowsets import Rowsets
    from trails.bench.building.train import Trained

MOST_STACKED = 64
"""Trained together on a GPU at most: what is lost when the builder is killed."""


class Pool(Protocol):
    """Trains on several places at once."""

    def __enter__(self) -> Pool:
        """Start it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, with what is still running."""

    def setting(self) -> Setting:
        """What a benchmark of its rows is of."""

    def stacks(self, trainings: Sequence[Training]) -> list[list[Training]]:
        """Divide trainings among jobs."""

    def run(self, jobs: Iterable[Sequence[Training]]) -> Iterator[list[Trained]]:
        """Do the jobs, and return each as it ends."""


class LocalPool:
    """Processes of this machine.

    Args:
        protocol: What is trained.
        processes: On the CPU, each on one core; 0 for one a core.
        devices: As the product's option ``device``; a process a GPU.
        stacked: Trainings of a job at most; 0 for one on a core, and on a GPU for as many as memory holds.
    """

    def __init__(
        self, protocol: protocols.Protocol, processes: int = 0, devices: str = "cpu", stacked: int = 0
    ) -> None:
        self._protocol = protocol
        names = _names(devices, processes)
        self.count, self._most = len(names), stacked or (1 if names[0] == "cpu" else MOST_STACKED)
        self._others = set(active_children())
        queue = get_context("spawn").Queue()
        for name in names:
            queue.put(name)
        self._pool = process_pool(self.count, _begin, protocol, queue)

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            # What they are at is lost anyway, and would be waited for: minutes after an interrupt.
            for process in set(active_children()) - self._others:
                process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def setting(self) -> Setting:
        """See `Pool`."""
        return self._pool.submit(_setting, self._protocol).result()

    def stacks(self, trainings: Sequence[Training]) -> list[list[Training]]:
        """See `Pool`."""
        if self._most == 1:
            return [[training] for training in trainings]
        return self._pool.submit(_stacks, self._protocol, trainings, self._most, self.count).result()

    def run(self, jobs: Iterable[Sequence[Training]]) -> Iterator[list[Trained]]:
        """See `Pool`."""
        waiting = iter(jobs)
        running: set[Future[list[Trained]]] = {self._submit(job) for job in islice(waiting, 2 * self.count)}
        while running:
            over, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {self._submit(job) for job in islice(waiting, len(over))}
            for future in over:
                yield future.result()

    def _submit(self, job: Sequence[Training]) -> Future[list[Trained]]:
        return self._pool.submit(_train, self._protocol, job)


def _names(devices: str, processes: int) -> list[str]:
    """The device of each process."""
    if processes < 0:
        raise InvalidInput(f"{processes} processes are not possible", hint="0 are one for each core.")
    if devices == "cpu":
        return ["cpu"] * (processes or len(os.sched_getaffinity(0)))
    from trails.refinement.devices import select

    found = [str(device) for device in select(devices)]
    return _names("cpu", processes) if found == ["cpu"] else found


# In the processes that train

_rowsets: Rowsets | None = None


def _begin(protocol: protocols.Protocol, devices: Any) -> None:
    global _rowsets
    from trails.refinement import process

    process.prepare()
    import torch

    from trails.bench.building.rowsets import Rowsets

    torch.set_num_threads(1)
    _rowsets = Rowsets.read(protocol, torch.device(devices.get()))


def _read() -> Rowsets:
    assert _rowsets is not None
    return _rowsets


def _setting(protocol: protocols.Protocol) -> Setting:
    return _read().setting(protocol, SAMPLE_SEED)


def _stacks(
    protocol: protocols.Protocol, trainings: Sequence[Training], most: int, processes: int
) -> list[list[Training]]:
    from trails.bench.building.train import stacks_of

    device = _read().data.train.labels.device
    return stacks_of(_read(), protocol, trainings, most, processes if device.type == "cpu" else 1)


def _train(protocol: protocols.Protocol, job: Sequence[Training]) -> list[Trained]:
    from trails.bench.building.train import train_stack

    return train_stack(_read(), protocol, job, machine(str(_read().data.train.labels.device)))
