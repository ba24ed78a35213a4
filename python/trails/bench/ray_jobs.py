"""Jobs of a builder on a Ray cluster: what is lost with a process or a node is done again elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from trails.errors import TrailsError
from trails.loading.columns import LABEL
from trails.refinement import protocol as refinement
from trails.refinement.ray_connection import connect, slots_of
from trails.refinement.ray_failures import Lost, result_of

Done = TypeVar("Done")

_ATTEMPTS = 6
"""How often a job is begun before its losses are called an error."""

_ALONE_SECONDS = 60.0
"""With no node left for so long, the builder gives up; what was done is kept."""

_WAIT_SECONDS = 2.0


class RayJobs:
    """A connection to a Ray cluster, for one builder.

    Args:
        address: host:port of the cluster's head.
        gpus: That a job reserves; without, it takes one CPU.

    Raises:
        InvalidInput: The address is malformed or does not answer, or no node has what a job reserves.
        TrailsError: Ray is not installed here, or this machine cannot join the cluster.
    """

    def __init__(self, address: str, gpus: float = 0.0) -> None:
        self._gpus = gpus
        self._asked = refinement.Setting(
            LABEL, 0, 0.0, math.inf, math.inf, {}, None, ray_address=address, ray_gpus=gpus
        )
        self._ray = connect(self._asked)
        slots_of(self._ray, self._asked)

    def __enter__(self) -> RayJobs:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def put(self, value: object) -> Any:
        """Ship what every job needs, once; jobs are given what this returns in its place."""
        return self._ray.put(value)

    def run(self, task: Callable[..., Done], jobs: Iterable[tuple[Any, ...]], called: str) -> Iterator[Done]:
        """Do the jobs, and return each as it ends.

        Args:
            task: What does one; it must give the same whenever it is begun again.
            jobs: Its arguments.
            called: What a job is, for an error: "a training".

        Raises:
            TrailsError: The cluster failed, or a job was lost again and again.
        """
        # Retries are made here, where it is known how often.
        resources = {"num_cpus": 1, "num_gpus": self._gpus, "scheduling_strategy": "SPREAD", "max_retries": 0}
        remote = self._ray.remote(**resources)(task)
        waiting = deque((job, 1) for job in jobs)
        running: dict[Any, tuple[tuple[Any, ...], int]] = {}
        alone_since: float | None = None
        while waiting or running:
            slots = slots_of(self._ray, self._asked, must=False)  # nodes may join or leave at any time
            alone_since = None if slots else alone_since or time.monotonic()
            if alone_since is not None and time.monotonic() - alone_since > _ALONE_SECONDS:
                raise TrailsError(
                    f'the Ray cluster at "{self._asked.ray_address}" has lost every node that could take a job',
                    hint="Start nodes, and go on with the same command.",
                )
            while waiting and len(running) < 2 * slots:
                job, attempt = waiting.popleft()
                running[remote.remote(*job)] = job, attempt
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
                            f"{called} was lost {_ATTEMPTS} times on the Ray cluster", detail=str(lost.__cause__)
                        ) from lost
                    waiting.appendleft((job, attempt + 1))
