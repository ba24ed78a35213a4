"""Trains the architectures of a recorded benchmark on a Ray cluster: a task a training, rows shipped once.

What is lost with a process or a node is trained again elsewhere: a training hangs on its architecture and seed alone.
"""

from __future__ import annotations

import math
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from trails.bench import protocol as protocols
from trails.bench.building.ray_training import pack, train
from trails.bench.building.rowsets import Rowsets
from trails.bench.building.train import Trained, stacks_of
from trails.bench.plan import Training
from trails.bench.protocol import SAMPLE_SEED
from trails.bench.setting import Setting
from trails.errors import TrailsError
from trails.loading.columns import LABEL
from trails.refinement import protocol as refinement
from trails.refinement.ray_connection import connect, slots_of
from trails.refinement.ray_failures import Lost, result_of

_ATTEMPTS = 6
"""How often a job is begun before its losses are called an error."""

_ALONE_SECONDS = 60.0
"""With no node left for so long, the builder gives up; what was trained is kept."""

_WAIT_SECONDS = 2.0


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
        self._asked = refinement.Setting(
            LABEL, 0, 0.0, math.inf, math.inf, {}, None, ray_address=address, ray_gpus=gpus
        )
        self._ray = connect(self._asked)
        slots_of(self._ray, self._asked)
        # Retries are made here, where it is known how often.
        resources = {"num_cpus": 1, "num_gpus": gpus, "scheduling_strategy": "SPREAD", "max_retries": 0}
        self._task = self._ray.remote(**resources)(train)
        self._data = self._ray.put(pack(self._rowsets, uuid.uuid4().hex))

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

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
        waiting = deque((job, 1) for job in jobs)
        running: dict[Any, tuple[Sequence[Training], int]] = {}
        alone_since: float | None = None
        while waiting or running:
            slots = slots_of(self._ray, self._asked, must=False)  # nodes may join or leave at any time
            alone_since = None if slots else alone_since or time.monotonic()
            if alone_since is not None and time.monotonic() - alone_since > _ALONE_SECONDS:
                raise TrailsError(
                    f'the Ray cluster at "{self._asked.ray_address}" has lost every node that could train',
                    hint="Start nodes, and go on with the same command.",
                )
            while waiting and len(running) < 2 * slots:
                job, attempt = waiting.popleft()
                running[self._task.remote(self._data, self._protocol, list(job), self._gpu)] = job, attempt
            if not running:
                time.sleep(_WAIT_SECONDS)
                continue
            ready, _ = self._ray.wait(list(running), timeout=_WAIT_SECONDS)
            for ref in ready:
                job, attempt = running.pop(ref)
                try:
                    yield result_of(self._ray, ref)
                except Lost as lost:
                    print(f"trails: ray: a task was lost: {lost.__cause__}", file=sys.stderr, flush=True)
                    if attempt == _ATTEMPTS:
                        raise TrailsError(
                            f"a training was lost {_ATTEMPTS} times on the Ray cluster", detail=str(lost.__cause__)
                        ) from lost
                    waiting.appendleft((job, attempt + 1))
