"""Searches that a training-free score guides, repeated and kept in SQLite: what was best after so many scored cells.

    explored   run_id, current_explored_model, top_400, time_usage
    setting    name, value

A row says what a search had after ``current_explored_model`` cells: the names of the 400 best of them, best first, as a
JSON array, and the seconds that scoring them one at a time takes. Names are those of the published files.

Source: the published study, whose experiments replay such explorations instead of scoring again (TRAILS, VLDB 2024).
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.relations import EXPLORED, SCHEMA
from trails.bench.space import RecordedSpace
from trails.errors import InvalidInput, UnusableData
from trails.filtering.samplers import make_sampler
from trails.loading.relations import Rows, replace

TOP = 400
"""Cells that a row names at most."""

EVERY = 100
"""Scored cells between two rows; the first ones come sooner."""

_EARLY = (1, 2, 5, 10, 20, 50)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS explored (
    run_id INTEGER NOT NULL,
    current_explored_model INTEGER NOT NULL,
    top_400 TEXT NOT NULL,
    time_usage REAL NOT NULL,
    PRIMARY KEY (run_id, current_explored_model)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Explored:
    """What a search had after so many scored cells.

    Args:
        run_id: Of the search, from 1; its seed.
        current_explored_model: Cells scored.
        top_400: The best of them, best first, by their published names.
        time_usage: Seconds of scoring them, one at a time on one core.
    """

    run_id: int
    current_explored_model: int
    top_400: tuple[str, ...]
    time_usage: float


def explore(
    benchmark: ImageBenchmark,
    tfmem: str,
    file: Path,
    *,
    runs: int = 100,
    steps: int = 8000,
    sampler: str = "evolution",
    batch_seed: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Repeat a search of the cells that are scored; how many runs were added. Runs that the file has are left alone.

    Args:
        benchmark: With scores.
        tfmem: What guides the search; where it lacks a score, the cell is left out.
        file: The database.
        runs: In all.
        steps: Cells that a search scores, all different; fewer where there are no more.
        sampler: What searches.
        batch_seed: Of the scores.
        say: Told of progress.

    Raises:
        InvalidInput: Fewer than one run or step, or the file holds other searches.
        UnusableData: There are no such scores, or the file is no database of searches.
    """
    if runs < 1 or steps < 1:
        raise InvalidInput(f"a study has one run and one step or more, not {runs} and {steps}")
    scores = benchmark.merits(tfmem, batch_seed=batch_seed)
    usable = np.flatnonzero(np.isfinite(scores))
    space = RecordedSpace(benchmark.space, benchmark.recorded().recorded[usable].tolist())
    make_sampler(sampler, space, 0, lambda _: 0.0)  # refuses a name that is none, before there is a file
    names = [benchmark.published[place] for place in usable.tolist()]
    seconds = benchmark.scoring_seconds(tfmem, batch_seed=batch_seed)
    steps = min(steps, space.size)
    setting = {
        "space": space.name,
        "tfmem": tfmem,
        "sampler": sampler,
        "batch_seed": str(batch_seed),
        "cells": str(space.size),
        "steps": str(steps),
        "seconds of a score": repr(seconds),
    }
    with _opened(file) as database:
        _claim(database, file, setting)
        there = {run for (run,) in database.execute("SELECT DISTINCT run_id FROM explored")}
        missing = [run for run in range(1, runs + 1) if run not in there]
        for number, run in enumerate(missing, start=1):
            found = [
                (run, count, json.dumps([names[place] for place in best]), count * seconds)
                for count, best in search(space, scores[usable], run, steps, sampler)
            ]
            with database:
                database.executemany("INSERT INTO explored VALUES (?, ?, ?, ?)", found)
            say(f"{number} of {len(missing)} runs explored")
    return len(missing)


def search(
    space: RecordedSpace, scores: NDArray[np.float64], seed: int, steps: int, sampler: str
) -> Iterator[tuple[int, list[int]]]:
    """One search: how many cells it scored so far, and which of them are best, at most `TOP`, best first.

    Args:
        space: What it searches.
        scores: float64 (space.size,), higher is better; of two that are equal the one found first is.
        seed: Of the sampler.
        steps: Different cells, at most all of the space.
        sampler: Its name.
    """
    values: list[float] = scores.tolist()
    # Samplers learn from merits that are positive and of one size, whatever the metric's numbers are.
    ranks = np.unique(scores, return_inverse=True)[1] + 1.0
    merits: list[float] = (ranks / ranks.max()).tolist()
    source = make_sampler(sampler, space, seed, merits.__getitem__)
    best: list[tuple[float, int, int]] = []
    for count in range(1, steps + 1):
        (index,) = source.ask(1)
        source.tell(index)
        entry = (-values[index], count, index)
        if len(best) < TOP or entry < best[-1]:
            insort(best, entry)
            del best[TOP:]
        if count in _EARLY or count % EVERY == 0 or count == steps:
            yield count, [place for _, _, place in best]


def read_run(file: Path, run_id: int) -> list[Explored]:
    """All rows of a search, the first ones first.

    Raises:
        InvalidInput: There is no such file or run.
        UnusableData: The file is no database of searches.
    """
    rows = list(_read(file, "WHERE run_id = ?", (run_id,)))
    if not rows:
        raise InvalidInput(f"{file} holds no run {run_id}")
    return rows


def load_explored(file: Path, dataset: str, dsn: str | None = None, *, schema: str = SCHEMA) -> int:
    """Put all searches into PostgreSQL, in place of those of the dataset that are there; how many rows these are.

    Args:
        file: The database of `explore`.
        dataset: That they are of.
        dsn: See `trails.loading.connection.transaction`.
        schema: That holds the table ``explored``; it is made where it is not there.

    Raises:
        InvalidInput: There is no such file, or a table there has other columns.
        UnusableData: The file is no database of searches.
        DatabaseError: The server refused, or cannot be reached.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    for row in _read(file):
        names = ",".join(json.dumps(name, ensure_ascii=False) for name in row.top_400)
        best = "{" + names + "}"
        lines.writerow([dataset, row.run_id, row.current_explored_model, best, repr(row.time_usage)])
    return replace([Rows(EXPLORED, text.getvalue().encode())], dataset, dsn, schema)[EXPLORED.name]


def _read(file: Path, where: str = "", values: tuple[int, ...] = ()) -> Iterator[Explored]:
    if not file.exists():
        raise InvalidInput(f"there is no {file}", hint="python -m trails bench explore --dataset nasbench201")
    columns = "run_id, current_explored_model, top_400, time_usage"
    with _opened(file) as database:
        query = f"SELECT {columns} FROM explored {where} ORDER BY run_id, current_explored_model"
        for run, count, best, seconds in database.execute(query, values):
            yield Explored(run, count, tuple(json.loads(best)), seconds)


def _claim(database: sqlite3.Connection, file: Path, setting: dict[str, str]) -> None:
    """Say what the searches are of, or find that they are of that."""
    there = dict(database.execute("SELECT name, value FROM setting").fetchall())
    for name, value in setting.items():
        if there and there.get(name) != value:
            raise InvalidInput(
                f"{file} holds searches of another setting",
                detail=f"{name}: there {there.get(name)}, here {value}.",
                hint="Name another file.",
            )
    if not there:
        with database:
            database.executemany("INSERT INTO setting VALUES (?, ?)", list(setting.items()))


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(file)) as database:
            database.executescript(_SCHEMA)
            yield database
    except sqlite3.DatabaseError as error:
        raise UnusableData(f"{file} is no database of searches", detail=str(error)) from error
