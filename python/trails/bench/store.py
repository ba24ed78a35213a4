"""A recorded benchmark on disk: one folder, long tables in Parquet, written so that nothing finished is ever lost.

    setting.json           what was trained, on what, how, and by what; every part belongs to it
    architecture.parquet   space, place, index, architecture, parameters
    curve.parquet          place, seed, epoch, losses, AUCs, seconds
    prediction.parquet     place, seed, predictions of some validation and test rows
    score.parquet          place, metric, batch seed, score, seconds
    whole_space.parquet    metric, seconds of scoring all of the space at once
    space_score.parquet    a column a metric, a row an architecture of the space; where it was asked for
    time.parquet           place, seconds alone; where trainings were stacked
    parts/*.parquet        what was finished since, a file a group and table

A part is written under another name, synced and renamed, so that there is either all of it or nothing. `compact` puts
the parts into the tables, in order of place, seed and epoch, so that it does not matter who trained what and when.
The columns are in `trails.bench.schemas`.
"""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trails.bench.files import first_of_each, read_any, read_table, write_file, write_table
from trails.bench.protocol import PREDICTIONS_KEPT, SEEDS
from trails.bench.schemas import ARCHITECTURE, CURVE, PREDICTION, SCORE, TIME, WHOLE_SPACE
from trails.bench.setting import Setting
from trails.errors import InvalidInput

__all__ = ["ARCHITECTURE", "CURVE", "PREDICTION", "SCORE", "TIME", "WHOLE_SPACE", "Setting", "Store"]


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
            write_file(self.folder / "setting.json", setting.to_json().encode())
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
        if not table.num_rows:
            return
        self._parts.mkdir(parents=True, exist_ok=True)
        write_table(self._parts / f"{name}-{uuid.uuid4().hex}.parquet", table)

    def _recorded(self, name: str, schema: pa.Schema) -> pa.Table:
        files = [self.folder / f"{name}.parquet", *sorted(self._parts.glob(f"{name}-*.parquet"))]
        tables = [read_table(file, schema) for file in files if file.exists()]
        return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()

    def curves(self) -> pa.Table:
        """Every recorded epoch, in order of place, seed and epoch; `CURVE`.

        Raises:
            UnusableData: A file is damaged or of another form.
        """
        return _to_its_end(first_of_each(self._recorded("curve", CURVE), ("place", "seed", "epoch")))

    def predictions(self) -> pa.Table:
        """Every prediction that is kept so far, in order of place and seed; `PREDICTION`.

        Raises:
            UnusableData: A file is damaged or of another form.
        """
        return first_of_each(self._recorded("prediction", PREDICTION), ("place", "seed"))

    def add_scores(self, scores: Sequence[Mapping[str, Any]]) -> None:
        """Write scores, durably; rows of `SCORE`."""
        self._add("score", pa.Table.from_pylist(list(scores), SCORE))

    def add_whole_space(self, seconds: Sequence[Mapping[str, Any]]) -> None:
        """Write what scoring whole spaces took, durably; rows of `WHOLE_SPACE`."""
        self._add("whole_space", pa.Table.from_pylist(list(seconds), WHOLE_SPACE))

    def add_times(self, times: Sequence[Mapping[str, Any]]) -> None:
        """Write what architectures took alone, durably; rows of `TIME`."""
        self._add("time", pa.Table.from_pylist(list(times), TIME))

    def times(self) -> pa.Table:
        """What architectures took alone, in order of place; `TIME`.

        Raises:
            UnusableData: A file is damaged or of another form.
        """
        return first_of_each(self._recorded("time", TIME), ("place",))

    def scores(self) -> pa.Table:
        """Every score, in order of metric, batch seed and place; `SCORE`.

        Raises:
            UnusableData: A file is damaged or of another form.
        """
        return first_of_each(self._recorded("score", SCORE), ("tfmem", "batch_seed", "place"))

    def whole_space(self) -> pa.Table:
        """What scoring whole spaces took, in order of metric and batch seed; `WHOLE_SPACE`.

        Raises:
            UnusableData: A file is damaged or of another form.
        """
        return first_of_each(self._recorded("whole_space", WHOLE_SPACE), ("tfmem", "batch_seed"))

    def write_space_scores(self, scores: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]], batch_seed: int) -> None:
        """Keep scores of all architectures of the space, float32 (space's size,) a metric, instead of those there."""
        with self.locked("tables"):
            table = pa.table({name: pa.array(column, pa.float32()) for name, column in scores.items()})
            table = table.replace_schema_metadata({"batch_seed": str(batch_seed)})
            write_table(self.folder / "space_score.parquet", table)

    def space_scores(self) -> pa.Table | None:
        """Scores of all architectures, a float32 column a metric; None where they were not kept.

        Raises:
            UnusableData: The file is damaged.
        """
        file = self.folder / "space_score.parquet"
        return read_any(file) if file.exists() else None

    def parameters(self) -> dict[int, int]:
        """Trained numbers of every architecture by its place; none where the parts were not put into tables yet.

        Raises:
            UnusableData: The file is damaged or of another form.
        """
        file = self.folder / "architecture.parquet"
        if not file.exists():
            return {}
        table = read_table(file, ARCHITECTURE)
        return dict(zip(table["place"].to_pylist(), table["parameters"].to_pylist(), strict=True))

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
            write_table(self.folder / "prediction.parquet", predictions.filter(kept))
            write_table(self.folder / "curve.parquet", curves)
            others = {"score": self.scores(), "whole_space": self.whole_space(), "time": self.times()}
            for name, table in others.items():
                if table.num_rows:
                    write_table(self.folder / f"{name}.parquet", table)
            write_table(self.folder / "architecture.parquet", pa.Table.from_pylist(list(architectures), ARCHITECTURE))
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
        self._add("score", other.scores())
        self._add("whole_space", other.whole_space())
        self._add("time", other.times())
        theirs = other.space_scores()
        if theirs is not None and self.space_scores() is None:
            write_table(self.folder / "space_score.parquet", theirs)


def _to_its_end(curves: pa.Table) -> pa.Table:
    """Every curve up to where its training went wrong: one that was recorded twice may have gone on the other time."""
    place, seed, auc = (curves[name].to_numpy() for name in ("place", "seed", "valid_auc"))
    wrong = np.isnan(auc)
    if not wrong.any():
        return curves
    same = np.r_[False, (place[1:] == place[:-1]) & (seed[1:] == seed[:-1])]
    before = np.cumsum(wrong) - wrong
    # Since the curve's own first epoch, which is the last row that does not go on from the one above it.
    began = np.maximum.accumulate(np.where(same, 0, np.arange(len(same))))
    return curves.filter(pa.array(before == before[began]))


def _with_predictions(curves: pa.Table) -> set[int]:
    """Places whose predictions are kept: the first, and the best by validation AUC after the last epoch."""
    place, seed, epoch, auc = (curves[name].to_numpy() for name in ("place", "seed", "epoch", "valid_auc"))
    last = np.flatnonzero((epoch == epoch.max(initial=0)) & (seed == SEEDS[0]) & np.isfinite(auc))
    best = last[np.argsort(-auc[last], kind="stable")[:PREDICTIONS_KEPT]]
    return set(range(PREDICTIONS_KEPT)) | {int(found) for found in place[best]}
