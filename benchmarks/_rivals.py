"""Other tools on a table's rows: those of benchmarks/requirements-rivals.txt that are installed.

Each gets the rows that Trails gets, as a data frame, with dates as numbers and texts as categories, and two cores.
FLAML and AutoGluon get the same seconds, are told what the test rows are judged by, and have their defaults else.
LightGBM is no search and has not its defaults: 2,000 trees at most, at a rate of 0.05, and it stops early on a fifth of
the training rows, after as long as that takes. RealMLP and TabM have their defaults, and their own time.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["auc", "accuracy", "r2"]
CORES = 2
"""That each may use, Trails too."""


@dataclass(frozen=True)
class Task:
    """What is to be learnt.

    Args:
        train: Features of the training rows, a data frame.
        y: Of these: numbers, or numbers of classes in the order of their spelling.
        test: Features of the test rows.
        kind: What the test rows are judged by.
        seconds: That training may take.
        seed: Of everything drawn.
    """

    train: Any
    y: NDArray[Any]
    test: Any
    kind: Kind
    seconds: float
    seed: int

    @property
    def is_number(self) -> bool:
        """Whether a number is predicted."""
        return self.kind == "r2"


def frames(train: Any, test: Any, target: str) -> tuple[Any, NDArray[Any], Any, NDArray[Any]]:
    """Features and target of training and test rows, as `Task` has them.

    Args:
        train: A data frame as the table has it.
        test: The same of the other rows.
        target: Name of its column; what is no number there is a class.
    """
    import pandas as pd

    both = pd.concat([train, test], ignore_index=True)
    for name in both.columns:
        if name == target:
            continue
        if both[name].dtype == object and re.fullmatch(r"\d{4}-\d\d-\d\d", str(both[name].dropna().iloc[0])):
            both[name] = pd.to_datetime(both[name]).astype("int64")
        elif both[name].dtype.kind not in "iufb":
            both[name] = both[name].astype("category")
    column = both.pop(target)
    y = np.asarray(column)
    return both.iloc[: len(train)], y[: len(train)], both.iloc[len(train) :], y[len(train) :]


def _lightgbm(task: Task) -> NDArray[Any]:
    import lightgbm

    drawn = np.random.default_rng(task.seed).permutation(len(task.train))
    stop, rest = drawn[: len(drawn) // 5], drawn[len(drawn) // 5 :]
    kind = lightgbm.LGBMRegressor if task.is_number else lightgbm.LGBMClassifier
    model = kind(n_estimators=2000, learning_rate=0.05, random_state=task.seed, n_jobs=CORES, verbose=-1)
    stopping = lightgbm.early_stopping(50, verbose=False)
    held = [(task.train.iloc[stop], task.y[stop])]
    model.fit(task.train.iloc[rest], task.y[rest], eval_set=held, callbacks=[stopping])
    return _predicted(model, task)


def _flaml(task: Task) -> NDArray[Any]:
    from flaml import AutoML

    model = AutoML()
    metric = "roc_auc" if task.kind == "auc" else task.kind
    settings = {"time_budget": task.seconds, "metric": metric, "n_jobs": CORES, "seed": task.seed, "verbose": 0}
    model.fit(task.train, task.y, task="regression" if task.is_number else "classification", **settings)
    return _predicted(model, task)


def _autogluon(task: Task) -> NDArray[Any]:
    from autogluon.tabular import TabularPredictor

    folder = tempfile.mkdtemp()
    try:
        types = {"auc": "binary", "accuracy": "multiclass", "r2": "regression"}
        metric = "roc_auc" if task.kind == "auc" else task.kind
        predictor = TabularPredictor("_y", types[task.kind], eval_metric=metric, path=folder, verbosity=0)
        predictor.fit(task.train.assign(_y=task.y), time_limit=task.seconds, num_cpus=CORES)
        if task.kind == "auc":
            return np.asarray(predictor.predict_proba(task.test))[:, 1]
        return np.asarray(predictor.predict(task.test))
    finally:
        shutil.rmtree(folder)


def _pytabkit(name: str) -> Callable[[Task], NDArray[Any]]:
    def trained(task: Task) -> NDArray[Any]:
        import pytabkit

        kind = getattr(pytabkit, f"{name}_{'Regressor' if task.is_number else 'Classifier'}")
        model = kind(random_state=task.seed, n_threads=CORES, device="cpu")
        model.fit(task.train, task.y)
        return _predicted(model, task)

    return trained


def _predicted(model: Any, task: Task) -> NDArray[Any]:
    found = model.predict_proba(task.test)[:, 1] if task.kind == "auc" else model.predict(task.test)
    return np.asarray(found)


_ALL: Mapping[str, tuple[str, Callable[[Task], NDArray[Any]]]] = {
    "LightGBM": ("lightgbm", _lightgbm),
    "FLAML": ("flaml", _flaml),
    "AutoGluon": ("autogluon", _autogluon),
    "RealMLP-TD, its own time": ("pytabkit", _pytabkit("RealMLP_TD")),
    "TabM, its own time": ("pytabkit", _pytabkit("TabM_D")),
}


def installed() -> dict[str, Callable[[Task], NDArray[Any]]]:
    """By name, from a task to what is predicted for the test rows: scores of two classes, classes, or numbers."""
    return {name: train for name, (module, train) in _ALL.items() if importlib.util.find_spec(module)}


NAMES = tuple(_ALL)
"""Of all, installed or not."""
