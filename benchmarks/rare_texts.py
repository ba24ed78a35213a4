"""Test metric by the rows that a text must occur in to be a category, of tables with few rows."""

from __future__ import annotations

import lzma
import statistics
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._rivals import Kind
from benchmarks.harness import Context, Document, run_pinned
from benchmarks.tables import TABLES, folder, r2
from trails.refinement.metrics import auc
from trails.table.fitting import usual_count

TEXTS: Mapping[str, tuple[str, Kind]] = {
    **{name: TABLES[name] for name in ("income", "diamond", "traffic")},
    "titanic": ("Survived", "auc"),
    "telco": ("Churn", "auc"),
}
DATASETS = tuple(TEXTS)
COUNTS = (10, 3, 1)
_ROWS, _SEEDS = 1_200, 6
_KEYS = ("row_id", "PassengerId", "customerID", "part")


def run(context: Context) -> None:
    """Select and train on as many rows as are drawn, for every count."""
    assert context.dataset is not None
    for seed in range(context.seed, context.seed + (1 if context.quick else _SEEDS)):
        for count in COUNTS[:2] if context.quick else COUNTS:
            if context.recorded(run_seed=seed, min_count=count):
                continue
            context.say(f"{context.dataset}: seed {seed}, texts in {count} rows or more")
            row = {"run_seed": seed, "min_count": count, "metric": TEXTS[context.dataset][1]}
            found = run_pinned("benchmarks.rare_texts:tested", cores=1, table=context.dataset, count=count, seed=seed)
            context.record({**row, **found})


def tested(table: str, count: int, seed: int) -> dict[str, float]:
    """The test metric, and the rows, of one selection without a budget, the same work for every count."""
    import pandas as pd

    from trails import ModelSelectorClassifier, ModelSelectorRegressor

    target, kind = TEXTS[table]
    with lzma.open(folder() / f"{table}.csv.xz", "rt") as lines:
        rows = pd.read_csv(lines)
    if "part" in rows:
        test = (rows["part"] == "test").to_numpy()
    else:
        test = np.random.default_rng(seed).permutation(len(rows)) < len(rows) // 5
    rows = rows.drop(columns=[name for name in _KEYS if name in rows])
    train, test = rows[~test], rows[test]
    train = train.sample(min(len(train), _ROWS), random_state=seed)
    selector: Any = ModelSelectorRegressor if kind == "r2" else ModelSelectorClassifier
    asked = {"budget": None, "k": 2, "u": 8, "n_jobs": 1, "isolated": False, "random_state": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # columns of names, which differ in every row
        fitted = selector(**asked, options={"min_count": count}).fit(train.drop(columns=target), train[target])
    features, truth = test.drop(columns=target), test[target].to_numpy()
    if kind == "r2":
        found = r2(truth, fitted.predict(features))
    else:
        found = auc(truth == fitted.classes_[1], fitted.predict_proba(features)[:, 1])
    return {"train_rows": len(train), "test": found}


def _by_count(document: Document) -> dict[str, list[float]]:
    found = {f"{count}": [row["test"] for row in document.select(min_count=count)] for count in COUNTS}
    return {count: values for count, values in found.items() if values}


def summarise(document: Document) -> list[str]:
    """Mean over the draws, by count."""
    usual, rows = usual_count(_ROWS), document.rows[0]["train_rows"]
    lines = [f"{document.settings['dataset']}, {rows:,} training rows, {document.rows[0]['metric']} on the test rows:"]
    for count, values in _by_count(document).items():
        default = ", the default of so many rows" if int(count) == usual else ""
        lines.append(f"  texts in {count} rows or more{default}: {statistics.fmean(values):.4f}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Every draw as a dot, the median as a bar."""
    figure, (axis,) = plots.panels(1, width=6.0, height=2.4)
    plots.dots(axis, _by_count(document))
    axis.set_xlabel(f"{document.rows[0]['metric']} on the test rows; bar: median over draws")
    axis.set_ylabel("rows of a text")
    axis.set_title(str(document.settings["dataset"]))
    return {"": figure}
