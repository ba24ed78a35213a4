"""Training-free scores of recorded cells, computed on real networks and kept beside their accuracies.

    score-*.parquet   index, tfmem, batch_seed, score, seconds; a file for every few cells, so that nothing is lost

Cells that are isomorphic by the benchmark's rule are scored once. The order is a seeded permutation, so that whatever
is scored so far is a random sample of the space.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trails.bench.image import ImageBenchmark
from trails.bench.pictures import Pictures
from trails.bench.protocol import SAMPLE_SEED
from trails.errors import UnusableData
from trails.family.cell.scoring import COUNTED
from trails.filtering.pool import combine_ranks
from trails.space import Nasbench201Space, Space
from trails.tfmem import Batch, Tfmem, get_tfmem, parse_tfmems
from trails.tfmem.registry import ZEN

SCORE = pa.schema(
    [
        ("index", pa.int32()),
        ("tfmem", pa.string()),
        ("batch_seed", pa.int32()),
        ("score", pa.float64()),
        ("seconds", pa.float32()),
    ]
)
"""One row a score; ``seconds`` of one core, of the first metric that needs a pass for that pass, too."""

ROWS = 32
"""Pictures of a batch."""

_AT_ONCE = 16
"""Cells between two writes."""


def named(text: str) -> tuple[Tfmem, ...]:
    """Metrics joined by ``+``, among them `ZEN`, which no table is scored by; combined ones taken apart.

    Raises:
        InvalidInput: There is no such metric.
    """
    names = [name.strip() for name in text.split("+")]
    others = [name for name in names if name != ZEN.name]
    return (*(parse_tfmems("+".join(others)) if others else ()), *([ZEN] if ZEN.name in names else []))


def representatives(space: Space, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of every cell the one that is scored for it: int64, of the shape of ``indices``."""
    return space.representatives[indices] if isinstance(space, Nasbench201Space) else indices


def score(
    benchmark: ImageBenchmark,
    pictures: Pictures,
    metrics: Sequence[Tfmem],
    *,
    cells: int,
    batch_seed: int = 1,
    published: bool = False,
    processes: int = 1,
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
        processes: That score, each on one core.
        say: Told of progress.
    """
    recorded = benchmark.recorded().recorded
    wanted = recorded
    if published:
        places, _ = benchmark.published_scores("synflow", dataset="c10")
        wanted = recorded[np.unique(places[places >= 0])]
    different = np.unique(representatives(benchmark.space, wanted))
    order = np.random.default_rng(SAMPLE_SEED).permutation(different)[:cells].tolist()
    done = {(index, name) for index, name, seed in _keys(benchmark.folder) if seed == batch_seed}
    asked = [metric for metric in metrics if metric.name not in COUNTED]
    missing = [(index, [m.name for m in asked if (index, m.name) not in done]) for index in order]
    work = [(index, names) for index, names in missing if names]
    batches = [pictures.batch(ROWS, 10 * batch_seed + number) for number in range(max(m.batches for m in asked))]
    parts = [work[start : start + _AT_ONCE] for start in range(0, len(work), _AT_ONCE)]
    began, finished = time.monotonic(), 0
    arguments = [(benchmark.space.name, part, batches, batch_seed) for part in parts]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for part, rows in zip(parts, pool.map(_score_part, arguments), strict=True):
            _write(benchmark.folder, rows)
            finished += len(part)
            say(f"{finished} of {len(work)} cells scored, {(time.monotonic() - began) / finished:.2f} s each")
    return len(work)


def _score_part(
    arguments: tuple[str, Sequence[tuple[int, Sequence[str]]], Sequence[Batch], int],
) -> list[Mapping[str, object]]:
    """Scores of some cells, in a process of its own."""
    import torch

    from trails.space import picture_space

    torch.set_num_threads(1)
    space_name, part, batches, seed = arguments
    space = picture_space(space_name)
    rows: list[Mapping[str, object]] = []
    for index, names in part:
        own = space.family.scoring.initialise(
            named("+".join(names)), space.architecture(index), batches[0].inputs, seed
        )
        for name in names:
            began = time.process_time()
            value = own(ZEN if name == ZEN.name else get_tfmem(name), batches)
            seconds = time.process_time() - began
            rows.append({"index": index, "tfmem": name, "batch_seed": seed, "score": value, "seconds": seconds})
    return rows


def scores_of(benchmark: ImageBenchmark, name: str, *, batch_seed: int) -> NDArray[np.float64]:
    """Scores of all recorded cells: float64 (cells,), in the order of `ImageBenchmark.recorded`; NaN for none.

    A metric that is made of others is the sum of their ranks among the cells that all of them scored. Isomorphic cells
    have the score of one of them, but counts of their own.

    Args:
        benchmark: Of recorded cells.
        name: Of the metric.
        batch_seed: Of its batch and weights.

    Raises:
        InvalidInput: There is no such metric.
        UnusableData: None of the cells was scored by it.
    """
    recorded = benchmark.recorded().recorded
    if name in COUNTED:
        space = benchmark.space
        count = space.parameters if name == "params" else space.flops
        return np.array([count(space.architecture(int(index)), 3 * 32 * 32) for index in recorded], np.float64)
    parts = named(name)
    if len(parts) > 1 or parts[0].name != name:
        columns = [scores_of(benchmark, part.name, batch_seed=batch_seed) for part in parts]
        usable = np.logical_and.reduce([np.isfinite(column) for column in columns])
        merits = np.full(len(recorded), np.nan)
        merits[usable] = combine_ranks([column[usable] for column in columns], [part.orientation for part in parts])
        return merits
    table = _read(benchmark.folder)
    kept = (table["tfmem"].to_numpy() == name) & (table["batch_seed"].to_numpy() == batch_seed)
    known = dict(zip(table["index"].to_numpy()[kept].tolist(), table["score"].to_numpy()[kept].tolist(), strict=True))
    if not known:
        raise UnusableData(
            f"no cell of {benchmark.folder} was scored by '{name}' with seed {batch_seed}",
            hint=f"python -m trails bench score --dataset {benchmark.space.name} --tfmem {name}",
        )
    return np.array([known.get(index, np.nan) for index in representatives(benchmark.space, recorded).tolist()])


def _keys(folder: Path) -> set[tuple[int, str, int]]:
    table = _read(folder)
    columns = (table[name].to_pylist() for name in ("index", "tfmem", "batch_seed"))
    return set(zip(*columns, strict=True))


def _read(folder: Path) -> pa.Table:
    files = sorted(folder.glob("score-*.parquet"))
    return pa.concat_tables([pq.read_table(file, schema=SCORE) for file in files]) if files else SCORE.empty_table()


def _write(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    partial = folder / f".score-{uuid.uuid4().hex}.partial"
    pq.write_table(pa.Table.from_pylist(list(rows), SCORE), partial, compression="zstd")
    os.replace(partial, folder / f"{partial.name[1:].removesuffix('.partial')}.parquet")


def compact(folder: Path) -> int:
    """Put all files of scores into one, sorted; how many scores there are."""
    files = sorted(folder.glob("score-*.parquet"))
    table = _read(folder).sort_by([("tfmem", "ascending"), ("batch_seed", "ascending"), ("index", "ascending")])
    _write_table = folder / ".score-all.partial"
    pq.write_table(table, _write_table, compression="zstd")
    os.replace(_write_table, folder / "score-all.parquet")
    for file in files:
        if file.name != "score-all.parquet":
            file.unlink()
    return int(table.num_rows)
