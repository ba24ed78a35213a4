"""Scores what a recorded benchmark holds: what is missing, on every core, kept as soon as a group is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trails.bench.building.machine import machine
from trails.bench.building.progress import Progress
from trails.bench.building.score_one import SCORED, Scored, batch_seeds_of
from trails.bench.plan import sample
from trails.bench.processes import process_pool
from trails.bench.protocol import SAMPLE_SEED, SEEDS, Protocol
from trails.bench.setting import Setting
from trails.bench.store import Store
from trails.errors import InvalidInput
from trails.space import parse_space
from trails.tfmem import REGISTRY, Tfmem

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 8
"""Architectures that a process scores before it answers."""

_GROUP_SECONDS = 20.0
"""Scores are kept at least so often."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Work(NamedTuple):
    """An architecture by its place in the sample and its index in the space, and by which metrics and batch seeds it is
    not scored yet."""

    place: int
    design: int
    missing: list[tuple[str, int]]


def score(
    protocol: Protocol,
    folder: Path,
    *,
    tfmems: Sequence[Tfmem] = SCORED,
    batch_seeds: Sequence[int] = SEEDS,
    processes: int = 0,
    keep_spaces: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Score the recorded architectures by what they are not scored by so far.

    Args:
        protocol: Of the dataset.
        folder: Of the benchmark.
        tfmems: Metrics.
        batch_seeds: For metrics that read data; the others take the first.
        processes: Each scores on one core; 0 for all cores.
        keep_spaces: Keep the scores of the whole space, too, of the metrics that score it at once.
        say: Told the progress.

    Returns:
        How many scores were missing.

    Raises:
        InvalidInput: Nothing is recorded, the rows are not those that were trained on, or another scorer is at it.
    """
    store = Store(folder)
    if store.setting() is None:
        raise InvalidInput(
            f"{folder} holds no benchmark",
            hint=f"python -m trails bench train --dataset {protocol.dataset} --architectures N",
        )
    if processes < 0:
        raise InvalidInput(f"{processes} processes are not possible", hint="0 are one for each core.")
    count = processes or len(os.sched_getaffinity(0))
    spaces = partial(_score_spaces, store=store, tfmems=tfmems, batch_seed=batch_seeds[0], keep=keep_spaces, say=say)
    with store.locked("scores"), _one_thread_each():
        with process_pool(count, _begin, protocol) as pool:
            store.claim(pool.submit(_setting, protocol).result())
            work = _missing(store, protocol, tfmems, batch_seeds)
            _score_all(pool, count, store, work, say)
            if count == 1:
                spaces(pool)
        if count > 1:
            # One process alone: others would make it wait for memory.
            with process_pool(1, _begin, protocol) as pool:
                spaces(pool)
    return sum(len(one.missing) for one in work)


def _missing(store: Store, protocol: Protocol, tfmems: Sequence[Tfmem], batch_seeds: Sequence[int]) -> list[_Work]:
    there = store.scores()
    known = set(zip(*(there[name].to_pylist() for name in ("place", "tfmem", "batch_seed")), strict=True))
    places = sorted({place for place, _ in store.done()})
    indices = sample(parse_space(protocol.space).size, places[-1] + 1) if places else []
    wanted = [(metric.name, seed) for metric in tfmems for seed in batch_seeds_of(metric, batch_seeds)]
    work = [_Work(p, indices[p], [one for one in wanted if (p, *one) not in known]) for p in places]
    return [one for one in work if one.missing]


def _score_all(
    pool: ProcessPoolExecutor, count: int, store: Store, work: list[_Work], say: Callable[[str], None]
) -> None:
    chunks = iter([work[start : start + _AT_ONCE] for start in range(0, len(work), _AT_ONCE)])
    running: set[Future[list[dict[str, Any]]]] = {pool.submit(_score, chunk) for chunk in islice(chunks, 2 * count)}
    progress, group, finished, when = Progress(len(work), "scored", say), [], 0, time.monotonic()
    try:
        while running:
            over, running = wait(running, return_when=FIRST_COMPLETED)
            for future in over:
                rows = future.result()
                group += rows
                finished += len({row["place"] for row in rows})
                running |= {pool.submit(_score, chunk) for chunk in islice(chunks, 1)}
            if time.monotonic() - when > _GROUP_SECONDS or not running:
                store.add_scores(group)
                group, when = [], time.monotonic()
                progress.tell(finished)
    except BaseException:
        for future in running:
            future.cancel()
        raise
    finally:
        store.add_scores(group)


def _score_spaces(
    pool: ProcessPoolExecutor,
    store: Store,
    tfmems: Sequence[Tfmem],
    batch_seed: int,
    keep: bool,
    say: Callable[[str], None],
) -> None:
    timed = set(store.whole_space()["tfmem"].to_pylist())
    there = store.space_scores()
    scores = {} if there is None else {name: there[name].to_numpy() for name in there.column_names}
    names = {metric.name for metric in tfmems}
    # One that adds up others' ranks is timed with them, and its ranks follow from theirs.
    metrics = [
        metric
        for metric in REGISTRY.values()
        if {*metric.combines} <= names and (metric.combines or metric.name in names)
    ]
    kept: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
    for metric in metrics:
        if metric.name in timed and (not keep or metric.combines or metric.name in scores):
            continue
        found = pool.submit(_score_space, metric.name, batch_seed).result()
        if found is None:
            continue
        say(f"{metric.name}: all {found[0].size:,} architectures in {found[1]:.3f} s")
        row = {"tfmem": metric.name, "batch_seed": batch_seed, "architectures": found[0].size, "seconds": found[1]}
        store.add_whole_space([{**row, "machine": machine()}])
        if not metric.combines:
            kept[metric.name] = found[0]
    if keep and kept:
        store.write_space_scores({**scores, **kept}, batch_seed)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that are started within it compute with one thread: NumPy reads that when it is imported."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# In the processes that score

_scored: Scored | None = None
_warm: set[str] = set()
"""Metrics that this process has computed: the first time takes longer, and is no architecture's."""


def _begin(protocol: Protocol) -> None:
    global _scored
    _scored = Scored.read(protocol)


def _setting(protocol: Protocol) -> Setting:
    """What a benchmark of these rows is of: what was trained on must be what is scored on."""
    import torch

    from trails.bench.building.rowsets import Rowsets

    return Rowsets.read(protocol, torch.device("cpu")).setting(protocol, SAMPLE_SEED)


def _score(chunk: Sequence[_Work]) -> list[dict[str, Any]]:
    assert _scored is not None
    rows: list[dict[str, Any]] = []
    for place, design, missing in chunk:
        for tfmem, batch_seed in missing:
            if tfmem not in _warm:
                _scored.score(design, tfmem, batch_seed)
                _warm.add(tfmem)
            found = _scored.score(design, tfmem, batch_seed)
            row = {"place": place, "tfmem": tfmem, "batch_seed": batch_seed}
            rows.append({**row, "score": found.score, "seconds": found.seconds, "machine": machine()})
    return rows


def _score_space(tfmem: str, batch_seed: int) -> tuple[np.ndarray[Any, np.dtype[np.float32]], float] | None:
    import numpy as np

    assert _scored is not None
    found = _scored.whole_space(tfmem, batch_seed)
    return None if found is None else (found[0].astype(np.float32), found[1])
