"""Seconds that training a cell takes: as published, or estimated where nobody recorded them.

    training_seconds.parquet   index, side, classes, pictures, train_seconds, valid_seconds, machine

NAS-Bench-201's extract has no seconds, so some of its cells are timed here (`trails.bench.image.timing`) and the others
are estimated. All six edges of a cell do the same work at the same places, so

    seconds of a picture = fixed + sum over edges of what the edge's operation takes

with a number for each operation that does something, none below zero, fitted so that the relative error is least in the
mean of squares, for each size of pictures, and for training and evaluating alone. A training of so many epochs takes
the epochs times the training pictures, and evaluates the validation pictures once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trails.bench.kind import kind
from trails.errors import InvalidInput, UnusableData
from trails.family.cell import nasbench201
from trails.family.design import Design

FILE = "training_seconds.parquet"

LEAST_TIMED = 10
"""Cells that a fit of five numbers is made of at least."""

TIMED = pa.schema(
    [
        ("index", pa.int32()),
        ("side", pa.int16()),
        ("classes", pa.int16()),
        ("pictures", pa.int16()),
        ("train_seconds", pa.float64()),
        ("valid_seconds", pa.float64()),
        ("machine", pa.string()),
    ]
)
"""One row a timed cell and size: seconds of a picture, processor time of one core, in batches of so many."""


@dataclass(frozen=True)
class Pictured:
    """What a training of NAS-Bench-201 sees, whose validation accuracy is recorded.

    Args:
        side: Pixels of a picture's side.
        classes: Of its pictures.
        train: Training pictures.
        valid: Validation pictures.
    """

    side: int
    classes: int
    train: int
    valid: int


PICTURED: Mapping[str, Pictured] = MappingProxyType(
    {
        # Half of the 50,000 training pictures are trained on, the other half is the validation set.
        "c10": Pictured(32, 10, 25_000, 25_000),
        # The test pictures are halved instead.
        "c100": Pictured(32, 100, 50_000, 5_000),
        "in16": Pictured(16, 120, 151_700, 3_000),
    }
)
"""By dataset, as Dong and Yang split them (arXiv:2001.00326, section 2.2)."""

COUNTED = (nasbench201.SKIP, nasbench201.CONV1, nasbench201.CONV3, nasbench201.POOL)
"""Operations that take time."""

Coefficients = tuple[float, ...]
"""Seconds of a picture: fixed, and of an edge with each of `COUNTED`."""


@dataclass(frozen=True)
class CellSeconds:
    """A fit for one size of pictures.

    Args:
        train: Of training on a picture.
        valid: Of evaluating one.
        timed: Cells that it was fitted to.
        error: Median of abs(estimated - measured) / measured of training, each cell being left out of its own fit.
        error90: The ninth decile of it.
        machine: That they were timed on.
    """

    train: Coefficients
    valid: Coefficients
    timed: int
    error: float
    error90: float
    machine: str

    def seconds(self, designs: Sequence[Design], pictured: Pictured, epochs: int) -> NDArray[np.float64]:
        """Of a whole training of each design, its evaluation included: float64 (designs,)."""
        counts = counts_of(designs)
        training = counts @ np.array(self.train) * (epochs * pictured.train)
        return np.asarray(training + counts @ np.array(self.valid) * pictured.valid)


def counts_of(designs: Sequence[Design]) -> NDArray[np.float64]:
    """What seconds are made of: float64 (designs, 1 + operations), a one and how many edges have each of `COUNTED`."""
    operations = np.array(designs).reshape(len(designs), -1)
    counts = [(operations == operation).sum(axis=1) for operation in COUNTED]
    return np.stack([np.ones(len(designs)), *counts], axis=1)


def fit(designs: Sequence[Design], train: NDArray[np.float64], valid: NDArray[np.float64], machine: str) -> CellSeconds:
    """Fit to cells that were timed.

    Args:
        designs: Of them.
        train: float64 (cells,): seconds of training on a picture.
        valid: float64 (cells,): of evaluating one.
        machine: That they were timed on.

    Raises:
        InvalidInput: There are too few.
    """
    timed = len(designs)
    if timed < LEAST_TIMED:
        raise InvalidInput(
            f"{timed} timed cells are too few for an estimate",
            hint=f"python -m trails bench time-cells --dataset nasbench201 --cells {LEAST_TIMED}",
        )
    counts = counts_of(designs)
    apart = []
    for place in range(timed):
        others = np.arange(timed) != place
        estimated = counts[place] @ np.array(_non_negative(counts[others], train[others]))
        apart.append(abs(float(estimated) - train[place]) / train[place])
    error, error90 = np.quantile(apart, (0.5, 0.9)).tolist()
    return CellSeconds(_non_negative(counts, train), _non_negative(counts, valid), timed, error, error90, machine)


def _non_negative(counts: NDArray[np.float64], seconds: NDArray[np.float64]) -> Coefficients:
    """Coefficients of least mean squared relative error, none below zero: of every choice of columns the best."""
    columns, ones = counts / seconds[:, None], np.ones(len(seconds))
    count = counts.shape[1]
    best, least = np.zeros(count), float("inf")
    for some in (list(chosen) for size in range(1, count + 1) for chosen in combinations(range(count), size)):
        part, *_ = np.linalg.lstsq(columns[:, some], ones, rcond=None)
        apart = float(np.square(columns[:, some] @ part - 1.0).sum())
        if (part >= 0.0).all() and apart < least:
            best, least = np.zeros(count), apart
            best[some] = part
    return tuple(best.tolist())


def fitted(folder: Path, designs: Mapping[int, Design], side: int) -> CellSeconds:
    """The fit for pictures of a size, of what was timed beside a benchmark.

    Args:
        folder: Of the benchmark.
        designs: Of all cells by index.
        side: Of the pictures.

    Raises:
        UnusableData: Nothing was timed, or on machines that differ, or the file is damaged.
        InvalidInput: Too few cells were timed.
    """
    table = read(folder)
    kept = table["side"].to_numpy() == side
    hint = f"python -m trails bench time-cells --dataset {folder.name}"
    if not kept.any():
        raise UnusableData(f"no cell of {folder} was timed on pictures of {side} x {side}", hint=hint)
    machines = sorted({kind(name) for name, here in zip(table["machine"].to_pylist(), kept, strict=True) if here})
    if len(machines) > 1:
        raise UnusableData(
            f"cells of {folder} were timed on machines that differ",
            detail="; ".join(machines),
            hint=f"Remove {FILE} and time them again: {hint}",
        )
    train, valid = (table[name].to_numpy()[kept] for name in ("train_seconds", "valid_seconds"))
    return fit([designs[index] for index in table["index"].to_numpy()[kept].tolist()], train, valid, machines[0])


def read(folder: Path) -> pa.Table:
    """What was timed; `TIMED`, empty where nothing was.

    Raises:
        UnusableData: The file is damaged or of another form.
    """
    file = folder / FILE
    if not file.exists():
        return TIMED.empty_table()
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise UnusableData(f"{file} is damaged or no Parquet file", detail=str(error)) from error
    if table.schema.names != TIMED.names:
        raise UnusableData(
            f"{file} is no table of seconds", detail=f"It has the columns {', '.join(table.schema.names)}."
        )
    return table.cast(TIMED)


def add(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Keep more of them, sorted by size and cell."""
    table = pa.concat_tables([read(folder), pa.Table.from_pylist(list(rows), TIMED)])
    partial = folder / f".{FILE}.partial"
    pq.write_table(table.sort_by([("side", "descending"), ("index", "ascending")]), partial, compression="zstd")
    os.replace(partial, folder / FILE)
