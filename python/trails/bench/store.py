"""A recorded benchmark on disk: one folder, long tables in Parquet, written so that nothing finished is ever lost.

    setting.json           what was trained, on what, how, and by what; every part belongs to it
    architecture.parquet   space, place, index, architecture, parameters
    curve.parquet          place, seed, epoch, losses, AUCs, seconds
    prediction.parquet     place, seed, predictions of some validation and test rows
    parts/*.parquet        what was finished since, a file a group and table

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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trails.bench.protocol import PREDICTIONS_KEPT, SEEDS
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
other metrics are those of the weights at the epoch's end, ``train_auc`` of the training rows that
`trails.bench.plan.looked_at` names. ``train_seconds`` are of the epoch's training, and
``valid_seconds`` of predicting the validation rows once: processor time of one core, which does not hang on what else
the machine does. ``stacked`` is how many candidates were trained at once. NaN where a training went wrong: the curve
ends there."""

PREDICTION = pa.schema(
    [
        ("place", pa.int32()),
        ("seed", pa.int32()),
        ("valid", pa.list_(pa.float16())),
        ("test", pa.list_(pa.float16())),
    ]
)
"""One row a training: probabilities after its last epoch, of the rows that `trails.bench.plan.predicted_rows` names.
The tables keep those of the best architectures, by validation AUC, and of the first of the sample."""

ARCHITECTURE = pa.schema(
    [
        ("place", pa.int32()),
        ("index", pa.int32()),
        ("architecture", pa.string()),
        ("parameters", pa.int64()),
    ]
)
"""One row an architecture: its place in the sample, its index in the space, its trained numbers."""


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
    def from_json(cls, text: str | bytes, name: str) -> Setting:
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
        return Setting.from_json(file.read_bytes(), str(file)) if file.exists() else None

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

    def add(self, curves: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]]) -> None:
        """Write finished trainings, durably; whole ones only."""
        # What tells that a training is done comes last.
        if predictions:
            self._add("prediction", pa.Table.from_pylist(list(predictions), PREDICTION))
        self._add("curve", pa.Table.from_pylist(list(curves), CURVE))

    def _add(self, name: str, table: pa.Table) -> None:
        self._parts.mkdir(parents=True, exist_ok=True)
        _write_table(self._parts / f"{name}-{uuid.uuid4().hex}.parquet", table)

    def _recorded(self, name: str, schema: pa.Schema) -> pa.Table:
        files = [self.folder / f"{name}.parquet", *sorted(self._parts.glob(f"{name}-*.parquet"))]
        tables = [_read(file, schema) for file in files if file.exists()]
        return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()

    def curves(self) -> pa.Table:
        """Every recorded epoch, in order of place, seed and epoch; `CURVE`.

        Raises:
            UnusableData: A file is damaged or of another form.
        """
        return _first_of_each(self._recorded("curve", CURVE), ("place", "seed", "epoch"))

    def predictions(self) -> pa.Table:
        """Every prediction that is kept so far, in order of place and seed; `PREDICTION`.

        Raises:
            UnusableData: A file is damaged or of another form.
        """
        return _first_of_each(self._recorded("prediction", PREDICTION), ("place", "seed"))

    def done(self) -> set[tuple[int, int]]:
        """Place and seed of every training that is recorded."""
        curves = self.curves()
        return set(zip(curves["place"].to_pylist(), curves["seed"].to_pylist(), strict=True))

    def compact(self, architectures: Sequence[Mapping[str, Any]]) -> int:
        """Put all parts into tables and write the architectures beside them; how many epochs there are.

        Predictions are kept of the best and of the first architectures alone (`PREDICTIONS_KEPT`): one that is no
        longer among the best never is again.

        Args:
            architectures: Of every place that is recorded; `ARCHITECTURE`.
        """
        with self.locked("tables"):
            parts = sorted(self._parts.glob("*.parquet"))
            curves, predictions = self.curves(), self.predictions()
            kept = pc.is_in(predictions["place"], pa.array(sorted(_with_predictions(curves)), pa.int32()))
            _write_table(self.folder / "prediction.parquet", predictions.filter(kept))
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
        # Every part of it belongs to the same trainings: what tells that they are done comes last.
        self._add("prediction", other.predictions())
        self._add("curve", other.curves())


def _with_predictions(curves: pa.Table) -> set[int]:
    """Places whose predictions are kept: the first, and the best by validation AUC after the last epoch."""
    place, seed, epoch, auc = (curves[name].to_numpy() for name in ("place", "seed", "epoch", "valid_auc"))
    last = np.flatnonzero((epoch == epoch.max(initial=0)) & (seed == SEEDS[0]) & np.isfinite(auc))
    best = last[np.argsort(-auc[last], kind="stable")[:PREDICTIONS_KEPT]]
    return set(range(PREDICTIONS_KEPT)) | {int(found) for found in place[best]}


def _first_of_each(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """In order of some columns, and each of their values once: what was recorded twice is what came first."""
    # By row numbers, since lists cannot be sorted along.
    order = table.select(keys).append_column("_row", pa.array(range(table.num_rows), pa.int64()))
    order = order.sort_by([*((key, "ascending") for key in keys), ("_row", "ascending")])
    again = np.ones(max(0, order.num_rows - 1), np.bool_)
    for key in keys:
        values = order[key].to_numpy()
        again &= values[1:] == values[:-1]
    rows = order["_row"].to_numpy()[np.r_[np.ones(min(1, order.num_rows), np.bool_), ~again]]
    return table.take(pa.array(rows, pa.int64())).combine_chunks()


def _read(file: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.read_table(file, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise UnusableData(f"{file} is damaged or no Parquet file", detail=str(error)) from error
    if table.schema.names != schema.names:
        raise UnusableData(
            f"{file} is no table of a benchmark", detail=f"It has the columns {', '.join(table.schema.names)}."
        )
    try:
        return table.cast(schema)
    except pa.ArrowException as error:
        raise UnusableData(f"{file} is no table of a benchmark", detail=str(error)) from error


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
