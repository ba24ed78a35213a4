"""Tables as people have them: test metric of selected models, numbers between knots and in bins, beside LightGBM."""

from __future__ import annotations

import csv
import importlib.util
import io
import lzma
import os
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psycopg2
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks.database import run as sql
from benchmarks.harness import ROOT, Context, Document
from tools.server import temporary_server
from trails.errors import InvalidInput
from trails.refinement.metrics import auc

Kind = Literal["auc", "accuracy", "r2"]

TABLES: Mapping[str, tuple[str, Kind]] = {
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
VARIANTS: Mapping[str, str] = {
    "interpolated": "{}",
    "bins": '{"numbers_as": "bins"}',
    "interpolated, all the dropout": '{"dropout": %s}',
}
"""Options of each way to select; the last takes the dropout that ``bins`` gets."""

_TREES = "LightGBM"
_BUDGET, _SEEDS = 30, 3
_TYPES = (
    ("integer", re.compile(r"-?\d{1,9}")),
    ("double precision", re.compile(r"-?\d*\.?\d+([eE][-+]?\d+)?")),
    ("date", re.compile(r"\d{1,2}/\d{1,2}/\d{4}")),
)


def run(context: Context) -> None:
    """For every seed: select in SQL on the training rows, predict the test rows; and trees, if they are installed."""
    table = context.dataset or DATASETS[0]
    target, kind = TABLES[table]
    seeds, budget = (1, 10) if context.quick else (_SEEDS, _BUDGET)
    variants = [*VARIANTS, *([_TREES] if importlib.util.find_spec("lightgbm") else [])]
    todo = [
        (context.seed + place, variant)
        for place in range(seeds)
        for variant in variants
        if not context.recorded(run_seed=context.seed + place, variant=variant)
    ]
    if not todo:
        return
    with loaded_table(table, target) as connection:
        for seed, variant in todo:
            context.say(f"{table}: seed {seed}, {variant}")
            row: dict[str, Any] = {"run_seed": seed, "variant": variant, "metric": kind}
            if variant == _TREES:
                context.record({**row, "test": _trees(connection, target, kind, seed)})
                continue
            options = VARIANTS[variant]
            if "%" in options:
                options %= _dropout(connection)
            context.record({**row, "budget": budget, **_selected(connection, target, kind, budget, options, seed)})


def _selected(connection: Any, target: str, kind: Kind, budget: int, options: str, seed: int) -> dict[str, Any]:
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


def _dropout(connection: Any) -> float:
    """What the option ``auto`` is for as many categories."""
    from trails.training.options import Options

    ((rows,),) = sql(connection, "SELECT count(*) FROM train")
    options = Options()
    return options.regularisation(round(rows * (1.0 - options.validation_share)))[0]


def _trees(connection: Any, target: str, kind: Kind, seed: int) -> float:
    """The test metric of LightGBM's defaults, as many trees as are best for a fifth of the training rows."""
    import lightgbm
    import pandas as pd

    def frame(name: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {name}")
            return pd.DataFrame(cursor.fetchall(), columns=[c.name for c in cursor.description])

    train, test = frame("train"), frame("test").drop(columns="row_id")
    both = pd.concat([train, test], ignore_index=True)
    for name in both.columns:
        if both[name].dtype == object and re.fullmatch(r"\d{4}-\d\d-\d\d", str(both[name].dropna().iloc[0])):
            both[name] = pd.to_datetime(both[name]).astype("int64")
        elif both[name].dtype.kind not in "iufb":
            both[name] = both[name].astype("category")
    y = both.pop(target)
    y = y.astype(float).to_numpy() if kind == "r2" else pd.factorize(y, sort=True)[0]
    learnt, held = both.iloc[: len(train)], both.iloc[len(train) :]
    drawn = np.random.default_rng(seed).permutation(len(train))
    stop, rest = drawn[: len(train) // 5], drawn[len(train) // 5 :]
    kinds = {"auc": lightgbm.LGBMClassifier, "accuracy": lightgbm.LGBMClassifier, "r2": lightgbm.LGBMRegressor}
    model = kinds[kind](n_estimators=2000, learning_rate=0.05, random_state=seed, n_jobs=1, verbose=-1)
    stopping = lightgbm.early_stopping(50, verbose=False)
    model.fit(learnt.iloc[rest], y[rest], eval_set=[(learnt.iloc[stop], y[stop])], callbacks=[stopping])
    truth = y[len(train) :]
    if kind == "auc":
        return auc(truth == 1, model.predict_proba(held)[:, 1])
    return float(np.mean(model.predict(held) == truth)) if kind == "accuracy" else r2(truth, model.predict(held))


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
    """Median over seeds, and range."""
    lines = [f"{document.settings['dataset']}, {document.rows[0]['metric']} on the test rows:"]
    for variant, found in _tested(document).items():
        spread = f"({min(found):.4f} to {max(found):.4f}, {len(found)} seeds)"
        lines.append(f"  {variant:30} {statistics.median(found):.4f} {spread}")
    return lines


def _tested(document: Document) -> dict[str, list[float]]:
    """Metrics of the test rows by variant, of those that were run."""
    found = {v: [row["test"] for row in document.select(variant=v)] for v in (*VARIANTS, _TREES)}
    return {variant: values for variant, values in found.items() if values}


def draw(document: Document) -> Mapping[str, Figure]:
    """Every seed as a dot, the median as a bar."""
    figure, (axis,) = plots.panels(1, width=6.0, height=2.4)
    plots.dots(axis, _tested(document))
    axis.set_xlabel(f"{document.rows[0]['metric']} on the test rows; bar: median over seeds")
    axis.set_title(str(document.settings["dataset"]))
    return {"": figure}
