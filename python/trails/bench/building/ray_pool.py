"""Trains the architectures of a recorded benchmark on a Ray cluster: a task a training, rows shipped once.

What is lost with a process or a node is trained again elsewhere: a training hangs on its architecture and seed alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence

import torch

from trails.bench import protocol as protocols
from trails.bench.building.ray_training import pack, train
from trails.bench.building.rowsets import Rowsets
from trails.bench.building.train import Trained, stacks_of
from trails.bench.plan import Training
from trails.bench.protocol import SAMPLE_SEED
from trails.bench.ray_jobs import RayJobs
from trails.bench.setting import Setting


class RayPool:
    """A Ray cluster; see `trails.bench.building.pools.Pool`.

    Args:
        protocol: What is trained.
        address: host:port of the cluster's head.
        gpus: That a job reserves; without, it takes one CPU.
        stacked: Trainings of a job at most; 0 for one.

    Raises:
        NotAvailable: The dataset is nowhere to be had on this machine.
        InvalidInput: The address is malformed or does not answer, or no node has what a job reserves.
        TrailsError: Ray is not installed here, or this machine cannot join the cluster.
    """

    def __init__(self, protocol: protocols.Protocol, address: str, gpus: float = 0.0, stacked: int = 0) -> None:
        self._protocol, self._most, self._gpu = protocol, stacked or 1, gpus > 0
        self._rowsets = Rowsets.read(protocol, torch.device("cpu"))
        self._jobs = RayJobs(address, gpus)
        self._data = self._jobs.put(pack(self._rowsets, uuid.uuid4().hex))

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *error: object) -> None:
        self._jobs.__exit__(*error)

    def setting(self) -> Setting:
        """See `Pool`."""
        return self._rowsets.setting(self._protocol, SAMPLE_SEED)

    def stacks(self, trainings: Sequence[Training]) -> list[list[Training]]:
        """See `Pool`; this machine's memory stands for the nodes'."""
        return stacks_of(self._rowsets, self._protocol, trainings, self._most)

    def run(self, jobs: Iterable[Sequence[Training]]) -> Iterator[list[Trained]]:
        """See `Pool`.

        Raises:
            TrailsError: The cluster failed, or a job was lost again and again.
        """
        arguments = ((self._data, self._protocol, list(job), self._gpu) for job in jobs)
        return self._jobs.run(train, arguments, "a training")
