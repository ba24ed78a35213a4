"""A recorded benchmark of cells for pictures on disk: a folder of long tables in Parquet.

    setting.json               which benchmark, made of which files
    architecture.parquet       index, published, architecture, parameters, flops
    accuracy.parquet           index, dataset, epochs, split, runs, accuracy, seconds
    published_score.parquet    row, index, dataset, tfmem, score, seconds

Unlike tables that are trained here, whose curves have an epoch a row, these hold ends of trainings: 12 and 200 epochs
are two trainings with a learning rate that falls to zero within each, and neither goes on from the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trails.errors import UnusableData

FORMAT, VERSION = "trails.bench.image", 1

_WORD = pa.dictionary(pa.int16(), pa.string())

ARCHITECTURE = pa.schema(
    [
        ("index", pa.int32()),
        ("published", pa.string()),
        ("architecture", pa.string()),
        ("parameters", pa.int64()),
        ("flops", pa.int64()),
    ]
)
"""One row a cell: its index in the space, by what the published files call it (a number, a hash), its text, and counts
for ten classes and pictures of 32 x 32."""

ACCURACY = pa.schema(
    [
        ("index", pa.int32()),
        ("dataset", _WORD),
        ("epochs", pa.int16()),
        ("split", _WORD),
        ("runs", _WORD),
        ("accuracy", pa.float32()),
        ("seconds", pa.float32()),
    ]
)
"""One row a number: ``accuracy`` in percent at the end of a training of ``epochs``; ``runs`` is ``one`` or the ``mean``
of several; ``seconds`` of that training, null where they were not recorded."""

PUBLISHED_SCORE = pa.schema(
    [
        ("row", pa.int32()),
        ("index", pa.int32()),
        ("dataset", _WORD),
        ("tfmem", _WORD),
        ("score", pa.float64()),
        ("seconds", pa.float32()),
    ]
)
"""Training-free scores as others computed them, one a row; a cell may be in several ``row`` of their file."""

TABLES: Mapping[str, pa.Schema] = {
    "architecture": ARCHITECTURE,
    "accuracy": ACCURACY,
    "published_score": PUBLISHED_SCORE,
}


@dataclass(frozen=True)
class ImageSetting:
    """What the tables are of.

    Args:
        space: Name of the space.
        sources: SHA-256 of every file that they were made of, by its name.
    """

    space: str
    sources: Mapping[str, str]


def write(folder: Path, setting: ImageSetting, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write a benchmark, in place of what was there; the setting comes last, and with it the benchmark.

    Args:
        folder: Made if it is missing.
        setting: Of what.
        tables: Rows by table, as `TABLES` says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "setting.json").unlink(missing_ok=True)
    for name, schema in TABLES.items():
        pq.write_table(pa.Table.from_pylist(list(tables[name]), schema), folder / f"{name}.parquet", compression="zstd")
    text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(setting)}, indent=1, sort_keys=True) + "\n"
    partial = folder / ".setting.json.partial"
    partial.write_text(text)
    os.replace(partial, folder / "setting.json")


def read_setting(folder: Path) -> ImageSetting | None:
    """What the benchmark in a folder is of; None where there is none.

    Raises:
        UnusableData: The file is of another kind or version.
    """
    file = folder / "setting.json"
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text())
        form = found.pop("format"), found.pop("version")
        if form != (FORMAT, VERSION):
            raise UnusableData(
                f"{file} is of another version: {form[0]} {form[1]}", hint=f"This release reads {FORMAT} {VERSION}."
            )
        return ImageSetting(**{field.name: found[field.name] for field in fields(ImageSetting)})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableData(f"{file} is no setting of a benchmark of cells", detail=str(error)) from error


def read_table(folder: Path, name: str) -> pa.Table:
    """One of `TABLES`.

    Raises:
        UnusableData: The file is missing, damaged, or has other columns.
    """
    file = folder / f"{name}.parquet"
    try:
        table = pq.read_table(file, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise UnusableData(f"{file} is damaged or no Parquet file", detail=str(error)) from error
    if table.schema.names != TABLES[name].names:
        raise UnusableData(
            f"{file} is no table of this benchmark", detail=f"It has the columns {', '.join(table.schema.names)}."
        )
    return table.cast(TABLES[name])


def columns_of(
    table: pa.Table, indices: NDArray[np.int64]
) -> dict[tuple[str, int, str, str], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Accuracies and seconds by dataset, epochs, split and runs: float64 (cells,) each, NaN where there is none.

    Args:
        table: `ACCURACY`.
        indices: int64 (cells,), ascending: in whose order; each cell of the table is one of them.
    """
    codes = [pc.cast(table[name], "string").combine_chunks().dictionary_encode() for name in _KEYS]
    epochs = table["epochs"].to_numpy()
    places = np.searchsorted(indices, table["index"].to_numpy())
    accuracy = table["accuracy"].to_numpy().astype(np.float64)
    seconds = table["seconds"].to_numpy(zero_copy_only=False).astype(np.float64)
    keys = np.stack([*(code.indices.to_numpy() for code in codes), epochs])
    found = {}
    for key in np.unique(keys, axis=1).T:
        rows = np.flatnonzero((keys == key[:, None]).all(axis=0))
        dataset, split, runs = (c.dictionary[int(place)].as_py() for c, place in zip(codes, key, strict=False))
        both = np.full((2, len(indices)), np.nan)
        both[:, places[rows]] = accuracy[rows], seconds[rows]
        found[dataset, int(key[-1]), split, runs] = both[0], both[1]
    return found


_KEYS = ("dataset", "split", "runs")
