"""A recorded benchmark on disk: one folder, long tables in Parquet, written so that nothing finished is ever lost.

    setting.json           what was trained, on what, how, and by what; every part belongs to it
    architecture.parquet   space, place, index, architecture, parameters
    curve.parquet          place, seed, epoch, losses, AUCs, seconds
    parts/*.parquet        curves that were finished since, one file a group

A part is written under another name, synced and renamed, so that there is either all of it or nothing. `compact` puts
the parts into the tables, in order of place, seed and epoch, so that it does not matter who trained what and when.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trails.errors import InvalidInput, UnusableData

FORMAT, VERSION = "trails.bench", 1

CURVE = pa.schema(
    [
        ("place", pa.int32()),
        ("seed", pa.int32()),
        ("epoch", pa.int16()),
        ("train_loss", pa.float32()),
        ("valid_loss", pa.float32()),
        ("test_loss", pa.float32()),
        ("train_auc", pa.float32()),
        ("valid_auc", pa.float32()),
        ("test_auc", pa.float32()),
        ("train_seconds", pa.float32()),
        ("valid_seconds", pa.float32()),
        ("stacked", pa.int16()),
        ("machine", pa.dictionary(pa.int16(), pa.string())),
    ]
)
"""One row an epoch, counted from 1. ``train_loss`` is the mean over the epoch's batches, each before its step; the
other metrics are those of the weights at the epoch's end. ``train_seconds`` are of the epoch's training, and
``valid_seconds`` of predicting the validation rows once: processor time of one core, which does not hang on what else
the machine does. ``stacked`` is how many candidates were trained at once. NaN where a training went wrong: the curve
ends there."""

ARCHITECTURE = pa.schema(
    [
        ("place", pa.int32()),
        ("index", pa.int32()),
        ("architecture", pa.string()),
        ("parameters", pa.int64()),
    ]
)
"""One row an architecture: its place in the sample, its index in the space, its trained numbers."""

_ORDER = [("place", "ascending"), ("seed", "ascending"), ("epoch", "ascending")]


@dataclass(frozen=True)
class Setting:
    """What a benchmark is of. Two builders' tables belong together if all of it is equal.

    Args:
        dataset: Its name.
        digest: Of its encoded rows.
        rows: Training, validation and test rows.
        fields: Columns that are features.
        space: Name of the space.
        sample_seed: Of the permutation of the space.
        epochs: Of every training.
        options: How candidates are trained.
    """

    dataset: str
    digest: str
    rows: Mapping[str, int]
    fields: int
    space: str
    sample_seed: int
    epochs: int
    options: Mapping[str, Any]

    def to_json(self) -> str:
        """The setting as the file holds it."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, name: str) -> Setting:
        """Read what `to_json` wrote.

        Args:
            text: Of the file.
            name: Of the file, for people.

        Raises:
            UnusableData: Not a setting, or of another version.
        """
        try:
            found = json.loads(text)
            form, version = found.pop("format"), found.pop("version")
            if (form, version) != (FORMAT, VERSION):
                raise UnusableData(
                    f"{name} is of another version: {form} {version}", hint=f"This release reads {FORMAT} {VERSION}."
                )
            return cls(**{field.name: found[field.name] for field in fields(cls)})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnusableData(f"{name} is no setting of a benchmark", detail=str(error)) from error


class Store:
    """The folder of one benchmark.

    Args:
        folder: It is made when the first thing is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts = folder / "parts"

    def setting(self) -> Setting | None:
        """What the benchmark is of; None where nothing was written.

        Raises:
            UnusableData: The file is none of ours.
        """
        file = self.folder / "setting.json"
        return Setting.from_json(file.read_text(), str(file)) if file.exists() else None

    def claim(self, setting: Setting) -> None:
        """Say what the benchmark is of, or find that it is of that.

        Raises:
            InvalidInput: It is of something else, and says which entry differs.
        """
        there = self.setting()
        if there is None:
            self._parts.mkdir(parents=True, exist_ok=True)
            _write(self.folder / "setting.json", setting.to_json().encode())
            return
        for entry in fields(Setting):
            given, kept = getattr(setting, entry.name), getattr(there, entry.name)
            if given != kept:
                raise InvalidInput(
                    f"{self.folder} holds a benchmark of another {entry.name}",
                    detail=f"There: {kept}. Here: {given}.",
                    hint="Name another folder.",
                )

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep others from what is called ``name`` within this folder.

        Raises:
            InvalidInput: Somebody is at it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidInput(
                    f"another builder is at {name} of {self.folder}", hint="Wait for it, or train another shard."
                ) from None
            yield

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write finished curves, durably; whole trainings only."""
        self._parts.mkdir(parents=True, exist_ok=True)
        _write_table(self._parts / f"{uuid.uuid4().hex}.parquet", pa.Table.from_pylist(list(rows), CURVE))

    def curves(self) -> pa.Table:
        """Every recorded epoch, in order of place, seed and epoch; `CURVE`.

        Raises:
            UnusableData: A file is damaged or of another form.
        """
        files = [self.folder / "curve.parquet", *sorted(self._parts.glob("*.parquet"))]
        tables = [_read(file, CURVE) for file in files if file.exists()]
        if not tables:
            return CURVE.empty_table()
        return _first_of_each(pa.concat_tables(tables).unify_dictionaries())

    def done(self) -> set[tuple[int, int]]:
        """Place and seed of every training that is recorded."""
        curves = self.curves()
        return set(zip(curves["place"].to_pylist(), curves["seed"].to_pylist(), strict=True))

    def compact(self, architectures: Sequence[Mapping[str, Any]]) -> int:
        """Put all parts into one table and write the architectures beside it; how many epochs it holds.

        Args:
            architectures: Of every place that is recorded; `ARCHITECTURE`.
        """
        with self.locked("tables"):
            parts = sorted(self._parts.glob("*.parquet"))
            curves = self.curves()
            _write_table(self.folder / "curve.parquet", curves)
            _write_table(self.folder / "architecture.parquet", pa.Table.from_pylist(list(architectures), ARCHITECTURE))
            for part in parts:
                part.unlink()
        return int(curves.num_rows)

    def take(self, other: Store) -> None:
        """Add what another shard recorded.

        Raises:
            InvalidInput: The other one is of something else, or there is nothing.
        """
        setting = other.setting()
        if setting is None:
            raise InvalidInput(f"{other.folder} holds no benchmark")
        self.claim(setting)
        self._parts.mkdir(parents=True, exist_ok=True)
        _write_table(self._parts / f"{uuid.uuid4().hex}.parquet", other.curves())


def _first_of_each(curves: pa.Table) -> pa.Table:
    """In order, and each epoch once: a training that was recorded twice has the first curve."""
    ordered = curves.append_column("_row", pa.array(range(curves.num_rows), pa.int64()))
    ordered = ordered.sort_by([*_ORDER, ("_row", "ascending")])
    keys = [ordered[name].combine_chunks() for name, _ in _ORDER]
    if ordered.num_rows > 1:
        again = [pc.equal(key[1:], key[:-1]) for key in keys]
        repeated = pc.and_(pc.and_(again[0], again[1]), again[2])
        ordered = ordered.filter(pa.concat_arrays([pa.array([True]), pc.invert(repeated)]))
    return ordered.drop_columns(["_row"]).combine_chunks()


def _read(file: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.read_table(file, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise UnusableData(f"{file} is damaged or no Parquet file", detail=str(error)) from error
    if table.schema.names != schema.names:
        raise UnusableData(
            f"{file} is no table of a benchmark", detail=f"It has the columns {', '.join(table.schema.names)}."
        )
    return table.cast(schema)


def _write_table(file: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    _write(file, sink.getvalue().to_pybytes())


def _write(file: Path, content: bytes) -> None:
    """Replace a file at once, so that it survives a loss of power."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as output:
        output.write(content)
        output.flush()
        os.fsync(output.fileno())
    partial.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
