"""Training-free scores of recorded cells on disk, beside their accuracies.

    score-*.parquet   index, tfmem, batch_seed, score, seconds; a file for every few cells, so that nothing is lost

Cells that are isomorphic by the benchmark's rule are scored once.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trails.bench.image.store import read_table
from trails.errors import InvalidInput, UnusableData, shown
from trails.filtering.pool import combine_ranks
from trails.space import Nasbench201Space, Space
from trails.tfmem import Tfmem, parse_tfmems
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
"""One row a score. ``seconds`` are processor time of one core; a pass that several metrics share is the first one's,
and so is making the network."""

_PICTURE = 3 * 32 * 32
"""Numbers of a picture, for counts."""


def named(text: str) -> tuple[Tfmem, ...]:
    """Metrics joined by ``+``, among them `ZEN`, which no table is scored by; combined ones taken apart.

    Raises:
        InvalidInput: There is no such metric.
    """
    return parse_tfmems(text, (ZEN,))


def representatives(space: Space, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of every cell the one that is scored for it: int64, of the shape of ``indices``."""
    return space.representatives[indices] if isinstance(space, Nasbench201Space) else indices


def scores_of(
    folder: Path, space: Space, recorded: NDArray[np.int64], name: str, batch_seed: int
) -> NDArray[np.float64]:
    """Scores of recorded cells: float64 (cells,), NaN where there is none.

    A metric that is made of others is the sum of their ranks among the cells that all of them scored. Isomorphic cells
    have the score of one of them, but counts of their own.

    Args:
        folder: Of the benchmark.
        space: Of its cells.
        recorded: Indices of the cells.
        name: Of the metric.
        batch_seed: Of its batch and weights.

    Raises:
        InvalidInput: There is no such metric.
        UnusableData: None of the cells was scored by it.
    """
    if name in ("params", "flops"):
        count = space.parameters if name == "params" else space.flops
        return np.array([count(space.architecture(int(index)), _PICTURE) for index in recorded], np.float64)
    parts = named(name)
    if len(parts) > 1:
        columns = [scores_of(folder, space, recorded, part.name, batch_seed) for part in parts]
        usable = np.logical_and.reduce([np.isfinite(column) for column in columns])
        merits = np.full(len(recorded), np.nan)
        merits[usable] = combine_ranks([column[usable] for column in columns], [part.orientation for part in parts])
        return merits
    known = _column(folder, space, name, batch_seed, "score")
    return np.array([known.get(index, np.nan) for index in representatives(space, recorded).tolist()])


def seconds_of(folder: Path, space: Space, name: str, batch_seed: int) -> float:
    """Median seconds that scoring one cell took, on one core; of a metric that is made of others, those of all.

    Raises:
        InvalidInput: There is no such metric.
        UnusableData: No cell was scored by it.
    """
    parts = (_column(folder, space, part.name, batch_seed, "seconds") for part in named(name))
    return sum(float(np.median(list(known.values()))) for known in parts)


def _column(folder: Path, space: Space, name: str, batch_seed: int, column: str) -> dict[int, float]:
    table = read(folder)
    kept = (table["tfmem"].to_numpy() == name) & (table["batch_seed"].to_numpy() == batch_seed)
    if not kept.any():
        raise UnusableData(
            f"no cell of {folder} was scored by '{name}' with seed {batch_seed}",
            hint=f"python -m trails bench score-cells --dataset {space.name} --tfmem {name}",
        )
    return dict(zip(table["index"].to_numpy()[kept].tolist(), table[column].to_numpy()[kept].tolist(), strict=True))


def published_of(folder: Path, tfmem: str, dataset: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Scores that others computed by a metric on a dataset's pictures: int64 (scores,), of which cells, and float64.

    Raises:
        InvalidInput: There are none.
    """
    table = read_table(folder, "published_score")
    kept = pc.and_(
        pc.equal(pc.cast(table["tfmem"], "string"), tfmem), pc.equal(pc.cast(table["dataset"], "string"), dataset)
    )
    table = table.filter(kept)
    if not table.num_rows:
        raise InvalidInput(f"no scores by '{shown(tfmem)}' on '{shown(dataset)}' were published with this benchmark")
    return table["index"].to_numpy().astype(np.int64), table["score"].to_numpy()


def done(folder: Path, batch_seed: int) -> set[tuple[int, str]]:
    """Index and metric of every score that is kept."""
    table = read(folder)
    columns = (table[name].to_pylist() for name in ("index", "tfmem", "batch_seed"))
    return {(index, name) for index, name, seed in zip(*columns, strict=True) if seed == batch_seed}


def read(folder: Path) -> pa.Table:
    """All scores that are kept; `SCORE`.

    Raises:
        UnusableData: A file is damaged.
    """
    files = sorted(folder.glob("score-*.parquet"))
    try:
        tables = [pq.read_table(file, schema=SCORE) for file in files]
    except (pa.ArrowException, OSError) as error:
        raise UnusableData(f"scores of {folder} are damaged", detail=str(error)) from error
    return pa.concat_tables(tables) if tables else SCORE.empty_table()


def add(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Keep scores in a file of their own."""
    _write(folder, f"score-{uuid.uuid4().hex}.parquet", pa.Table.from_pylist(list(rows), SCORE))


def compact(folder: Path) -> int:
    """Put all files of scores into one, sorted; how many scores there are."""
    files = sorted(folder.glob("score-*.parquet"))
    table = read(folder).sort_by([("tfmem", "ascending"), ("batch_seed", "ascending"), ("index", "ascending")])
    _write(folder, _ALL, table)
    for file in files:
        if file.name != _ALL:
            file.unlink()
    return int(table.num_rows)


_ALL = "score-all.parquet"

_COMPACT: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 19,
    "use_dictionary": ["tfmem", "batch_seed"],
    "column_encoding": {
        "index": "DELTA_BINARY_PACKED",
        "score": "BYTE_STREAM_SPLIT",
        "seconds": "BYTE_STREAM_SPLIT",
    },
}
"""How scores are written: half of what Parquet takes by itself, since the file comes with the project."""


def _write(folder: Path, name: str, table: pa.Table) -> None:
    partial = folder / f".{name}.partial"
    pq.write_table(table, partial, **_COMPACT)
    os.replace(partial, folder / name)
