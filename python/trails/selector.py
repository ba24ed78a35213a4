"""The estimator: a selection within a budget behind scikit-learn's fit and predict. scikit-learn is not needed."""

from __future__ import annotations

import contextlib
import html
import math
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails import model_words, progress_bar
from trails.errors import InvalidInput, UnusableData, shown
from trails.estimator import Estimator, ForClasses
from trails.run import Run
from trails.selection import Selection, line_of, select
from trails.selector_columns import (
    Given,
    OfRows,
    SeenFeatures,
    example,
    features_of,
    given_arrays,
    given_tables,
    known_labels,
    labels_of,
)
from trails.selector_inputs import as_value_errors, is_connection, seconds_of, seed_of, threads_of, vector_of
from trails.settings import Settings, plain_options
from trails.table.columns import Column, Columns
from trails.table.conform import conform_all
from trails.table.row_weights import weighed
from trails.table.split import Held, divide
from trails.table.target import FEW_INTEGERS, learn_target, parse_task
from trails.table.texts import OfTexts
from trails.training.options import parse_options

_OF_A_NETWORK = ("architecture", "validation_metric", "epochs", "best_epoch", "parameters")


class ModelSelector(Estimator):
    """Selects and trains a model for a table within a budget.

    X is an array of shape (rows, features), a data frame, or a psycopg2 connection, with y the name of a table or view.
    Columns are numbers, whole numbers, booleans, texts, dates and times; missing values are allowed.

    Args:
        budget: Seconds of `fit`, from its call to its return, or a timedelta; None for no limit, which needs k.
        task: ``auto``: two values of y are a binary task, texts and up to 20 different whole numbers a multi-class one,
            other numbers a regression. Or ``binary``, ``multiclass``, ``regression``.
        tfmem: Training-free metrics that rank architectures, joined by ``+``; see docs/metrics.md.
        space: Architectures to choose from.
        refinement: Scheduler of the second phase.
        n: Architectures to score, if fixed.
        k: Candidates to train, if fixed.
        u: Epochs of the first rung, if fixed. With k and u the result depends on ``random_state`` alone.
        metric: By which candidates are compared: for two classes auc (as by default), average_precision, log_loss,
            brier, accuracy, balanced_accuracy, f1 or mcc; for several accuracy (as by default), auc, log_loss or
            balanced_accuracy; for numbers r2 (as by default), rmse or mae.
        options: Of training, such as ``{"dropout": 0.1}``; see docs/refinement.md.
        batch_size: Rows that training-free metrics with a need for data are computed on, at most 1,024.
        random_state: Of everything random: a whole number, None for 1, or a NumPy generator that one is drawn from.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        n_jobs: CPU threads, at most as many as there are cores; None or -1 for all cores, -2 for all but one.
        isolated: Whether training runs in a process of its own, which starts anew, and so takes some seconds to load
            torch, at every `fit`. False trains in this process.
        verbose: Whether phases are printed.
        progress: Whether a bar shows how `fit` gets on (tqdm); None for in notebooks alone.

    Attributes:
        model_: The winner, a `trails.model.store.Model`.
        leaderboard_: Every trained candidate as a dict: architecture, score, validation_metric, validation_loss,
            epochs, best_epoch, parameters, seconds; best first.
        classes_: Labels of the classes, in the order of `predict_proba`'s columns; not there for a regression.
        task_: What was learnt: binary, multiclass or regression.
        metric_: What candidates were ranked by.
        held_out_: Which rows candidates were compared on; see `trails.selection.Selection`.
        left_out_: Features that cannot help, with the reason.
        rows_left_out_: Rows without a target that were left out.
        readings_: How the texts of features are read that are numbers, dates or times stored as text, by name; those
            that ``options={"texts": [...]}`` names stay text.
        curves_: Every finished epoch of every candidate.
        timings_: Seconds of every phase.
        seconds_: Seconds of `fit`.
        networks_: The networks that the model is the mean of, as dicts: architecture, weight, validation_metric,
            epochs, best_epoch, parameters (None of one of several members); the winner first, and alone but for the
            option ``ensemble``.
        finalists_: Whether the architecture mattered, in a sentence; empty where nothing could be compared.
        complete_: False if time cut what was planned.
        n_features_in_: Number of features seen.
        feature_names_in_: Their names, where X had names.

    Example:
        >>> selector = ModelSelector(budget=60).fit(frame, labels)
        >>> selector.predict_proba(other_frame)
        >>> ModelSelector(budget=60).fit(connection, "frappe_train", target="label", validation="frappe_valid")
    """

    _tasks: tuple[str, ...] = ("auto", "binary", "multiclass", "regression")

    def __init__(
        self,
        budget: float | timedelta | None = 60.0,
        *,
        task: str = "auto",
        tfmem: str = "expressflow",
        space: str = "mlp4x20",
        refinement: str = "sh",
        n: int | None = None,
        k: int | None = None,
        u: int | None = None,
        metric: str | None = None,
        options: Mapping[str, Any] | None = None,
        batch_size: int = 32,
        random_state: Any = 1,
        device: str = "auto",
        n_jobs: int | None = None,
        isolated: bool = True,
        verbose: bool = False,
        progress: bool | None = None,
    ) -> None:
        self.budget = budget
        self.task = task
        self.tfmem = tfmem
        self.space = space
        self.refinement = refinement
        self.n = n
        self.k = k
        self.u = u
        self.metric = metric
        self.options = options
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.isolated = isolated
        self.verbose = verbose
        self.progress = progress

    # Learning

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        target: str | None = None,
        validation: Any = None,
        groups: Any = None,
        times: Any = None,
        sample_weight: Any = None,
    ) -> ModelSelector:
        """Select and train a model.

        Args:
            X: Features, or a psycopg2 connection.
            y: Labels or numbers, shape (rows,); with a connection the name of a table or view, as in SQL. Rows where it
                is NaN, None or NULL are left out, of ``validation`` too; ``rows_left_out_`` counts them.
            target: With a connection: name of the target column.
            validation: Rows that candidates are compared on: a pair (X, y), or (X, y, sample_weight) where rows have
                weights; with a connection a table's name; None to hold some out.
            groups: Group of every row, shape (rows,); with a connection the name of a column, as for the next two.
                Rows of a group are held out together; those without one are trained on.
            times: Date, time or number of every row, shape (rows,): the latest rows are held out.
            sample_weight: What each row counts for in training and in comparing, shape (rows,): 0 or more.

        Raises:
            ValueError: X or y cannot be learnt from, or a parameter is wrong; it is a `TrailsError` too.
            BudgetTooSmall: The budget does not hold one trained model.
        """
        started = time.monotonic()
        with as_value_errors():
            for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
                delattr(self, name)  # Of an earlier fit, which may have been of another task.
            seed = seed_of(self.random_state)
            given = self._given(X, y, target, validation, OfRows(groups, times, sample_weight))
            settings = self._settings(seed, given)
            held = given.validation
            if held is None and _is_too_small(given, settings):
                warnings.warn(
                    "there are too few rows to hold some out: candidates are compared on the rows they are trained on",
                    stacklevel=2,
                )
                held = given.train
            with contextlib.ExitStack() as kept:
                hear = self._listener(settings.budget, started, kept)
                found = select(given.train, given.target, held, settings, hear=hear, started=started)
        for warning in found.warnings:
            warnings.warn(warning, stacklevel=2)
        if found.fault is not None:
            warnings.warn(f"{found.fault}; the model is the best of what had finished", stacklevel=2)
        self._keep(found, given, settings.budget)
        return self

    def _given(self, X: Any, y: Any, target: str | None, validation: Any, of_rows: OfRows) -> Given:
        options = parse_options(plain_options(self.options))
        of_texts = OfTexts(frozenset(options.texts), frozenset(options.id_values))
        if is_connection(X):
            given = given_tables(X, y, target, validation, of_rows, of_texts)
        elif target is not None:
            raise InvalidInput("target names a column of a table, and X is none", hint="Give the labels as y.")
        elif options.id_values:
            raise InvalidInput(
                "the option id_values is for tables of a database",
                hint="Give the ids as a column of their own, of whole numbers that the option categories names.",
            )
        else:
            given = given_arrays(X, y, validation, type(self).__name__, of_rows, of_texts)
        self.rows_left_out_, self.n_features_in_ = given.rows_left_out, given.seen.count
        if given.seen.names is not None:
            self.feature_names_in_ = np.array(given.seen.names, object)
        return given

    def _settings(self, seed: int, given: Given) -> Settings:
        return Settings(
            budget=seconds_of(self.budget),
            task=self._task_of(given.train[given.target]),
            metric=self.metric,
            group_by=given.by.get("group_by"),
            time_by=given.by.get("time_by"),
            weight=given.by.get("weight"),
            space=self.space,
            tfmem=self.tfmem,
            refinement=self.refinement,
            n=self.n,
            k=self.k,
            u=self.u,
            batch_size=self.batch_size,
            seed=seed,
            options=plain_options(self.options),
            device=self.device,
            threads=threads_of(self.n_jobs),
            isolated=self.isolated,
        )

    def _keep(self, found: Selection, given: Given, budget: float) -> None:
        self.model_, told = found.model, found.model.training
        # In float64 a row's prediction does not depend on the rows beside it.
        self._predictor = found.model.in_double()
        self.leaderboard_, self.curves_, self.timings_ = found.leaderboard, found.curves, found.timings
        self.task_, self.metric_ = found.model.target.task, found.metric
        self.held_out_ = dict(found.held_out)
        self.readings_ = {column.name: column.reading for column in given.train if column.reading is not None}
        self.left_out_, self.seconds_, self.complete_ = found.left_out, found.seconds, found.complete
        self.networks_ = _networks_of(found)
        self.finalists_ = model_words.finalists(told.get("finalists"))
        if self.verbose:
            for sentence in model_words.sentences(told):
                print(sentence, flush=True)
        # Parameters may be set anew after fit.
        self._facts = {
            "source": repr(self),
            "budget": budget if math.isfinite(budget) else None,
            "seconds": found.seconds,
            "k": len(found.leaderboard),
            "metric": found.metric,
            "tfmem": self.tfmem,
            "state": "complete" if found.complete else "best so far",
            "said": model_words.sentences(told),
        }
        if self.task_ != "regression":
            self.classes_ = labels_of(found.model) if given.labels is None else known_labels(given.labels, found.model)

    def _task_of(self, target: Column) -> str | None:
        if self.task not in self._tasks:
            raise InvalidInput(f"task is one of {', '.join(self._tasks)}, not '{shown(self.task)}'")
        return parse_task(self.task)

    def _listener(
        self, budget: float, started: float, held: contextlib.ExitStack
    ) -> Callable[[Mapping[str, Any]], None]:
        """What is told the events of a selection; a bar is taken away as ``held`` ends."""
        bar = None
        if self.progress or (self.progress is None and progress_bar.fits_here()):
            bar = held.enter_context(progress_bar.ProgressBar(budget, started))

        def hear(event: Mapping[str, Any]) -> None:
            if self.verbose and (line := line_of(event)) is not None:
                print(line, flush=True)
            if bar is not None:
                bar(event)

        return hear

    # Predicting

    def predict(self, X: Any, table: str | None = None) -> NDArray[Any]:
        """Labels, or numbers, shape (rows,).

        Args:
            X: Features like those of `fit`, or a psycopg2 connection.
            table: With a connection: the table or view, whose rows are predicted in the order they come.

        Raises:
            ValueError: X is not like what was fitted.
        """
        columns = self._inputs(X, table)
        if self.task_ == "regression":
            return self._predictor.values(columns)
        labels: NDArray[Any] = self.classes_[self._predictor.probabilities(columns).argmax(1)]
        return labels

    @ForClasses
    def predict_proba(self, X: Any, table: str | None = None) -> NDArray[np.float64]:
        """Probability of every class, shape (rows, classes); arguments as `predict`. Not there for a regression."""
        columns = self._inputs(X, table)
        return self._predictor.probabilities(columns)

    def _is_regression(self) -> bool:
        return self.task == "regression" or getattr(self, "task_", None) == "regression"

    def score(self, X: Any, y: Any) -> float:
        """Accuracy of the predicted labels; of a regression the coefficient of determination."""
        truth, predicted = vector_of(y, None), self.predict(X)
        if self.task_ != "regression":
            return float(np.mean(truth == predicted))
        numbers_ = truth.astype(np.float64)
        spread = float(((numbers_ - numbers_.mean()) ** 2).sum())
        missed = float(((numbers_ - predicted) ** 2).sum())
        return 1.0 - missed / spread if spread > 0 else float(missed == 0)

    def save(self, path: Any) -> None:
        """Write the model as one safetensors file, which `trails.model.store.Model.from_bytes` reads."""
        self._check_fitted()
        with open(path, "wb") as file:
            file.write(self.model_.to_bytes())

    def _repr_html_(self) -> str:
        """What a notebook shows: after `fit` the curves and the leaderboard."""
        if not self.__sklearn_is_fitted__():
            return f"<pre>{html.escape(repr(self))}</pre>"
        return Run(self._facts, self.leaderboard_, self.curves_)._repr_html_()

    def _inputs(self, X: Any, table: str | None) -> Columns:
        """The columns that the model reads."""
        self._check_fitted()
        wanted, readings = dict(self.model_.encoder.columns), self.model_.encoder.readings
        with as_value_errors():
            if is_connection(X):
                from trails.service.reader import read_table

                if table is None:
                    raise InvalidInput("with a connection, the table is needed", hint='predict(connection, "table")')
                like = Columns(0, tuple(example(name, family, readings.get(name)) for name, family in wanted.items()))
                return read_table(X, table, list(wanted), like=like)[0]
            names = getattr(self, "feature_names_in_", None)
            names = None if names is None else names.tolist()
            columns, _ = features_of(X, SeenFeatures(self.n_features_in_, names), type(self).__name__, readings.get)
            return conform_all(columns, wanted)

    def _kind(self) -> str | None:
        if self.task == "auto":
            return None
        return "regressor" if self.task == "regression" else "classifier"

    def _is_deterministic(self) -> bool:
        # Where the budget decides how much is trained, so does the machine's speed.
        return self.k is not None


class ModelSelectorClassifier(ModelSelector):
    """`ModelSelector` for labels: y holds classes, whatever its type.

    X is an array of shape (rows, features), a data frame, or a psycopg2 connection, with y the name of a table or view.
    Parameters and attributes are those of `ModelSelector`, such as ``feature_names_in_`` and ``n_features_in_``.
    """

    _tasks = ("auto", "binary", "multiclass")

    def _task_of(self, target: Column) -> str | None:
        asked = super()._task_of(target)
        if asked is not None:
            return asked
        if target.family == "number" and not (target.data == np.floor(target.data)).all():
            raise InvalidInput(
                "Unknown label type: continuous. y holds numbers that are no classes",
                hint="Use ModelSelectorRegressor.",
            )
        if target.family in ("text", "boolean"):
            return None  # nothing else is inferred, and the training rows may hold two classes of three
        count = len(np.unique(target.data))
        if target.family == "integer" and count <= FEW_INTEGERS:
            return None
        return "binary" if count == 2 else "multiclass"

    def _kind(self) -> str | None:
        return "classifier"


class ModelSelectorRegressor(ModelSelector):
    """`ModelSelector` for numbers: y is predicted itself.

    X is an array of shape (rows, features), a data frame, or a psycopg2 connection, with y the name of a table or view.
    Parameters and attributes are those of `ModelSelector`, such as ``feature_names_in_`` and ``n_features_in_``.
    """

    _tasks = ("auto", "regression")

    def _task_of(self, target: Column) -> str | None:
        super()._task_of(target)
        return "regression"

    def _is_regression(self) -> bool:
        return True

    def _kind(self) -> str | None:
        return "regressor"


def _is_too_small(given: Given, settings: Settings) -> bool:
    """Whether too few rows differ for some to be held out; where it was said of which, that is an error instead."""
    if settings.group_by is not None or settings.time_by is not None:
        return False
    column = weighed(given.train, settings.weight)[0][given.target]
    labels = learn_target(column, settings.task).labels(column)
    share = parse_options(settings.options).validation_share
    try:
        division = divide(Held(seed=settings.seed, share=share), column, settings.task)
    except UnusableData:
        return True
    return not all(len(side) and (side != side[0]).any() for side in (labels[division.train], labels[division.held]))


def _networks_of(found: Selection) -> list[dict[str, Any]]:
    """The networks that the kept model is the mean of; see `ModelSelector.networks_`."""
    told = found.model.training
    if several := told.get("networks"):
        return [dict(network) for network in several]
    network: dict[str, Any] = {name: found.leaderboard[0][name] for name in _OF_A_NETWORK}
    if told.get("members"):
        # The leaderboard's first row is the single network that the members were compared with.
        network |= {
            "validation_metric": found.model.metrics.get(found.metric),
            "epochs": told["epochs"],
            "best_epoch": told["best_epoch"],
            "parameters": None,
        }
    return [{**network, "weight": 1}]
