"""Tables as they come, text, NULLs and all: test AUC of selected models and of logistic regression, same splits."""

from __future__ import annotations

import csv
import io
import lzma
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks.database import run as sql
from benchmarks.harness import Context, Document
from tools.server import temporary_server
from trails.loading.sources import find_dataset
from trails.refinement.metrics import auc

DATASETS = ("uci_diabetes", "criteo")
_BUDGET = {"uci_diabetes": 60, "criteo": 20}
_FOLDS = 5

VARIANTS: Mapping[str, tuple[str, str]] = {
    "defaults": ("mlp4x20", "{}"),
    "not trained again": ("mlp4x20", '{"refit": false}'),
    "two layers": ("mlp2x20", "{}"),
}
"""Space and options of each way to select."""

_LOGISTIC = "logistic regression"
_STRENGTHS = (0.03, 0.1, 0.3, 1.0)


def run(context: Context) -> None:
    """For every fold: select in SQL, predict the rows held out in SQL, and fit the baseline on the same rows."""
    dataset = context.dataset or DATASETS[0]
    folds, budget = (1, 12) if context.quick else (_FOLDS, _BUDGET[dataset])
    missing = [
        (fold, variant)
        for fold in range(folds)
        for variant in (_LOGISTIC, *VARIANTS)
        if not context.recorded(fold=fold, variant=variant)
    ]
    if not missing:
        return
    with temporary_server() as server:
        connection = psycopg2.connect(server.uri())
        connection.autocommit = True
        context.say(f"loading {dataset} as it comes")
        _LOADERS[dataset](connection, find_dataset(dataset).files["train"].parent)
        for fold, variant in missing:
            context.say(f"{dataset}: fold {fold}, {variant}")
            _make_views(connection, fold)
            if variant == _LOGISTIC:
                context.record({"fold": fold, "variant": variant, "test_auc": _logistic(connection)})
                continue
            space, options = VARIANTS[variant]
            rows = sql(
                connection,
                "SELECT architecture, validation_metric, model FROM trails.model_selection('train', 'label', %s, "
                "space => %s, options => %s, name => 'raw', seed => %s)",
                f"{budget} s",
                space,
                options,
                context.seed + fold,
            )
            scores = sql(
                connection,
                "SELECT t.label, p.score FROM trails.predict(%s, 'test') p JOIN test t ON t.row_id = p.key::int",
                rows[0][2],
            )
            ((left_out,),) = sql(connection, "SELECT left_out FROM trails.runs ORDER BY run_id DESC LIMIT 1")
            context.record(
                {
                    "fold": fold,
                    "variant": variant,
                    "test_auc": auc(np.array([bool(s[0]) for s in scores]), np.array([s[1] for s in scores])),
                    "validation_auc": rows[0][1],
                    "architecture": rows[0][0],
                    "left_out": left_out,
                    "budget": budget,
                }
            )
        connection.close()


def _copy(connection: Any, create: str, rows: Sequence[Sequence[str]]) -> None:
    sql(connection, create)
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    buffer.seek(0)
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY raw FROM STDIN (FORMAT csv)", buffer)
    sql(connection, "ALTER TABLE raw ADD COLUMN row_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY")


def _load_diabetes(connection: Any, folder: Path) -> None:
    with lzma.open(folder / "diabetic_data.csv.xz", "rt") as lines:
        header, *rows = csv.reader(lines)
    whole = [all(cell.lstrip("-").isdigit() for cell in column) for column in zip(*rows[:2000], strict=True)]
    columns = ", ".join(
        f'"{name}" {"integer" if number else "text"}' for name, number in zip(header, whole, strict=True)
    )
    _copy(connection, f"CREATE TABLE raw ({columns})", [["" if cell == "?" else cell for cell in row] for row in rows])
    sql(connection, "ALTER TABLE raw ADD COLUMN label boolean; UPDATE raw SET label = readmitted = '<30'")
    sql(connection, "ALTER TABLE raw DROP COLUMN readmitted")


def _load_criteo(connection: Any, folder: Path) -> None:
    with lzma.open(folder / "criteo_raw_first8000.tsv.xz", "rt") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))
    columns = [*(f"i{n} integer" for n in range(1, 14)), *(f"c{n} text" for n in range(1, 27))]
    _copy(connection, f"CREATE TABLE raw (label integer, {', '.join(columns)})", rows)


_LOADERS: Mapping[str, Callable[[Any, Path], None]] = {"uci_diabetes": _load_diabetes, "criteo": _load_criteo}


def _make_views(connection: Any, fold: int) -> None:
    """Rows of a fold by a hash of their number: a fifth for testing, which nothing else sees."""
    side = f"pg_catalog.abs(pg_catalog.hashint4(row_id)) % {_FOLDS}"
    sql(connection, "DROP VIEW IF EXISTS train; DROP TABLE IF EXISTS test")
    columns = sql(
        connection,
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = 'raw'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'row_id'",
    )[0][0]
    sql(connection, f"CREATE VIEW train AS SELECT {columns} FROM raw WHERE {side} <> {fold}")
    sql(connection, f"CREATE TABLE test AS SELECT row_id, {columns} FROM raw WHERE {side} = {fold}")
    sql(connection, "ALTER TABLE test ADD PRIMARY KEY (row_id)")


def _logistic(connection: Any) -> float:
    """Test AUC of logistic regression on categories seen ten times and on quantile bins of numbers; its strength is
    chosen on a fifth of the training rows."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    def frame(name: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {name}")
            return pd.DataFrame(cursor.fetchall(), columns=[c.name for c in cursor.description])

    train, test = frame("train"), frame("test").drop(columns="row_id")
    label, held = (t.pop("label").astype(bool).to_numpy() for t in (train, test))
    for name in train.columns:
        if train[name].dtype.kind in "if" and train[name].nunique() > 32:
            edges = np.unique(train[name].dropna().quantile(np.linspace(0, 1, 33)[1:-1]))
            for table in (train, test):
                binned: NDArray[Any] = np.searchsorted(edges, table[name].to_numpy(), side="right")
                table[name] = np.where(table[name].isna(), -1, binned)
    train, test = (t.astype(object).where(t.notna(), "(null)").astype(str) for t in (train, test))
    encoder = make_column_transformer(
        (OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist"), list(train.columns))
    )
    first, second = train_test_split(np.arange(len(label)), test_size=0.2, stratify=label, random_state=0)

    def fitted(strength: float, rows: NDArray[Any]) -> Any:
        model = make_pipeline(encoder, LogisticRegression(C=strength, max_iter=300))
        return model.fit(train.iloc[rows], label[rows])

    best = max(_STRENGTHS, key=lambda c: auc(label[second], fitted(c, first).decision_function(train.iloc[second])))
    return auc(held, fitted(best, np.arange(len(label))).decision_function(test))


def summarise(document: Document) -> list[str]:
    """Median and range over folds."""
    lines = [f"{document.settings['dataset']}, test AUC:"]
    for variant, aucs in _tested(document).items():
        spread = f"({min(aucs):.4f} to {max(aucs):.4f}, {len(aucs)} folds)"
        lines.append(f"  {variant:22} {statistics.median(aucs):.4f} {spread}")
    return lines


def _tested(document: Document) -> dict[str, list[float]]:
    """Test AUCs by variant, of those that were run."""
    found = {v: [row["test_auc"] for row in document.select(variant=v)] for v in (_LOGISTIC, *VARIANTS)}
    return {variant: aucs for variant, aucs in found.items() if aucs}


def draw(document: Document) -> Mapping[str, Figure]:
    """Every fold as a dot, the median as a bar."""
    figure, (axis,) = plots.panels(1, width=6.0, height=2.6)
    plots.dots(axis, _tested(document))
    axis.set_xlabel("test AUC; bar: median over folds")
    axis.set_title(f"{document.settings['dataset']} as it comes")
    return {"": figure}
