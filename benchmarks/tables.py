"""Tables as people have them: test metric of selected models, beside the rivals that are installed."""

from __future__ import annotations

import csv
import io
import lzma
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import _rivals as rivals
from benchmarks import plots
from benchmarks.database import run as sql
from benchmarks.harness import ROOT, Context, Document
from tools.server import temporary_server
from trails.errors import InvalidInput
from trails.refinement.metrics import auc

TABLES: Mapping[str, tuple[str, rivals.Kind]] = {
    "income": ("income >50K", "auc"),
    "credit": ("default", "auc"),
    "employee": ("left", "auc"),
    "satellite": ("Class", "accuracy"),
    "diamond": ("Price", "r2"),
    "bike": ("cnt", "r2"),
    "traffic": ("traffic_volume", "r2"),
}
"""Target of every table, and what its test rows are judged by."""

DATASETS = tuple(TABLES)
VARIANTS: Mapping[str, str] = {"Trails": "{}"}
"""Options of each way to select; what each choice of training is worth, `table_choices` says."""

_BUDGET, _SEEDS = 30, 3
_TYPES = (
    ("integer", re.compile(r"-?\d{1,9}")),
    ("double precision", re.compile(r"-?\d*\.?\d+([eE][-+]?\d+)?")),
    ("date", re.compile(r"\d{1,2}/\d{1,2}/\d{4}")),
)


def run(context: Context) -> None:
    """For every seed: select in SQL on the training rows and predict the test rows, and whatever rivals there are."""
    table = context.dataset or DATASETS[0]
    target, kind = TABLES[table]
    seeds, budget = (1, 10) if context.quick else (_SEEDS, _BUDGET)
    others = rivals.installed()
    todo = [
        (context.seed + place, variant)
        for place in range(seeds)
        for variant in (*VARIANTS, *others)
        if not context.recorded(run_seed=context.seed + place, variant=variant)
    ]
    if not todo:
        return
    with loaded_table(table, target) as connection:
        threads = rivals.CORES
        sql(connection, f"SET trails.refinement_threads = {threads}; SET trails.filtering_threads = {threads}")
        for seed, variant in todo:
            context.say(f"{table}: seed {seed}, {variant}")
            row: dict[str, Any] = {"run_seed": seed, "variant": variant, "metric": kind, "budget": budget}
            began = time.perf_counter()
            if variant in others:
                found = _of_rival(connection, others[variant], target, kind, budget, seed)
            else:
                found = _selected(connection, target, kind, budget, VARIANTS[variant], seed)
            context.record({**row, **found, "seconds": time.perf_counter() - began})


def _selected(connection: Any, target: str, kind: rivals.Kind, budget: int, options: str, seed: int) -> dict[str, Any]:
    ((architecture, validation, model),) = sql(
        connection,
        "SELECT architecture, validation_metric, model FROM trails.model_selection('train', %s, %s, options => %s, "
        "name => 'best', seed => %s) LIMIT 1",
        target,
        f"{budget} s",
        options,
        seed,
    )
    found = sql(
        connection,
        f"SELECT t.{_quoted(target)}::text, p.prediction, p.score FROM trails.predict(%s, 'test') p "
        "JOIN test t ON t.row_id = p.key::int",
        model,
    )
    truth, said = np.array([row[0] for row in found]), np.array([row[1] for row in found])
    scores = np.array([row[2] for row in found])
    if kind == "auc":
        test = auc(truth == max(set(truth.tolist())), scores)
    else:
        test = float(np.mean(truth == said)) if kind == "accuracy" else r2(truth.astype(np.float64), scores)
    return {"test": test, "validation": validation, "architecture": architecture}


def r2(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    return 1.0 - float(np.sum((truth - predicted) ** 2) / np.sum((truth - truth.mean()) ** 2))


def _of_rival(
    connection: Any,
    train: Callable[[rivals.Task], NDArray[Any]],
    target: str,
    kind: rivals.Kind,
    budget: int,
    seed: int,
) -> dict[str, Any]:
    """The test metric of another tool, on the same rows; or why it failed, which keeps nobody else from going on."""
    import pandas as pd

    def frame(name: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {name}")
            return pd.DataFrame(cursor.fetchall(), columns=[c.name for c in cursor.description])

    learnt, y, held, truth = rivals.frames(frame("train"), frame("test").drop(columns="row_id"), target)
    if kind == "r2":
        y, truth = y.astype(np.float64), truth.astype(np.float64)
    else:
        _, numbered = np.unique(np.concatenate([y, truth]).astype(str), return_inverse=True)
        y, truth = numbered[: len(y)], numbered[len(y) :]
    try:
        found = train(rivals.Task(learnt, y, held, kind, budget, seed))
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    if kind == "auc":
        return {"test": auc(truth == 1, found)}
    return {"test": float(np.mean(found == truth)) if kind == "accuracy" else r2(truth, found)}


@contextmanager
def loaded_table(table: str, target: str) -> Iterator[Any]:
    """A server's connection with the view ``train`` and the table ``test``, which nothing else sees."""
    with lzma.open(folder() / f"{table}.csv.xz", "rt") as lines:
        header, *rows = csv.reader(lines)
    with temporary_server() as server, closing(psycopg2.connect(server.uri())) as connection:
        connection.autocommit = True
        typed = zip(header, zip(*rows, strict=True), strict=True)
        columns = ", ".join(f"{_quoted(name)} {_type_of(cells)}" for name, cells in typed)
        sql(connection, f"SET datestyle = 'ISO, MDY'; CREATE TABLE raw ({columns}, PRIMARY KEY (row_id))")
        buffer = io.StringIO()
        csv.writer(buffer).writerows(rows)
        buffer.seek(0)
        with connection.cursor() as cursor:
            cursor.copy_expert("COPY raw FROM STDIN (FORMAT csv)", buffer)
        features = ", ".join(_quoted(name) for name in header if name not in ("row_id", "part"))
        sql(connection, f"CREATE VIEW train AS SELECT {features} FROM raw WHERE part = 'train'")
        sql(connection, f"CREATE TABLE test AS SELECT row_id, {features} FROM raw WHERE part = 'test'")
        sql(connection, "ALTER TABLE test ADD PRIMARY KEY (row_id); ANALYZE")
        yield connection


def folder() -> Path:
    """Where the tables lie; they are no part of the project.

    Raises:
        InvalidInput: They are nowhere.
    """
    folders = [Path(data) for data in (os.environ.get("TRAILS_DATA"),) if data]
    for folder in (*folders, ROOT.parent / "shared" / "datasets"):
        if (folder / "tables").is_dir():
            return folder / "tables"
    raise InvalidInput("there is no folder of tables", hint="Let TRAILS_DATA name a folder that holds one, tables.")


def _type_of(cells: Sequence[str]) -> str:
    there = [cell for cell in cells if cell]
    return next((name for name, form in _TYPES if all(map(form.fullmatch, there))), "text") if there else "text"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def summarise(document: Document) -> list[str]:
    """Median over seeds, and range; of all tables that are recorded, how far each is from the best and its rank."""
    lines = [f"{document.settings['dataset']}, {document.rows[0]['metric']} on the test rows:"]
    for variant, found in _tested(document).items():
        spread = f"({min(found):.4f} to {max(found):.4f}, {len(found)} seeds)"
        lines.append(f"  {variant:30} {statistics.median(found):.4f} {spread}")
    ours = [row["seconds"] for row in document.rows if row["variant"] in VARIANTS and "failed" not in row]
    if ours:
        lines.append(f"  longest wall time of {document.rows[0]['budget']} s: {max(ours):.1f} s, prediction included")
    failed = [row for row in document.rows if "failed" in row]
    lines += [f"  {row['variant']:30} failed with seed {row['run_seed']}: {row['failed']}" for row in failed]
    medians = _of_all_tables(document)
    if len(medians) > 1:
        lines.append(f"of {len(medians)} tables:")
        for variant, (behind, rank) in _standing(medians).items():
            lines.append(f"  {variant:30} behind the best by {behind:.4f}, rank {rank:.1f} (means)")
    return lines


def _tested(document: Document) -> dict[str, list[float]]:
    """Metrics of the test rows by variant, of those that were run."""
    found = {
        variant: [row["test"] for row in document.select(variant=variant) if "failed" not in row]
        for variant in (*VARIANTS, *rivals.NAMES)
    }
    return {variant: values for variant, values in found.items() if values}


def _of_all_tables(document: Document) -> dict[str, dict[str, float]]:
    """Medians over seeds by table and variant, of the tables whose files lie beside this one's."""
    medians = {}
    name, table = document.path.name, str(document.settings["dataset"])
    for other in DATASETS:
        path = document.path.with_name(name.replace(table, other, 1))
        if path.exists():
            tested = _tested(document if other == table else Document.read(path))
            medians[other] = {variant: statistics.median(values) for variant, values in tested.items()}
    return medians


def _standing(medians: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Of each variant that all tables have, how far it is behind the best and its rank, means over the tables."""
    found = {}
    for variant in (*VARIANTS, *rivals.NAMES):
        if all(variant in tested for tested in medians.values()):
            behind = [max(tested.values()) - tested[variant] for tested in medians.values()]
            ranks = [1 + sum(other > tested[variant] for other in tested.values()) for tested in medians.values()]
            found[variant] = (statistics.fmean(behind), statistics.fmean(ranks))
    return found


def draw(document: Document) -> Mapping[str, Figure]:
    """Every seed as a dot, the median as a bar; and of all tables, what each is behind the best."""
    figure, (axis,) = plots.panels(1, width=6.0, height=2.4)
    plots.dots(axis, _tested(document))
    axis.set_xlabel(f"{document.rows[0]['metric']} on the test rows; bar: median over seeds")
    axis.set_title(str(document.settings["dataset"]))
    medians = _of_all_tables(document)
    if len(medians) < 2:
        return {"": figure}
    together, (axis,) = plots.panels(1, width=6.0, height=0.8 + 0.4 * len(medians))
    standing = _standing(medians)
    for variant, colour in zip(standing, plots.COLOURS, strict=False):
        behind = [max(tested.values()) - tested[variant] for tested in medians.values()]
        label = f"{variant}, rank {standing[variant][1]:.1f}"
        axis.plot(behind, range(len(medians)), "o", color=colour, label=label, alpha=0.8)
    axis.set_yticks(range(len(medians)), [f"{table} ({TABLES[table][1]})" for table in medians])
    axis.invert_yaxis()
    axis.set_xlabel("behind the best, medians of the test metric")
    axis.legend()
    return {"": figure, "all": together}
