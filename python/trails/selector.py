"""The estimator: a selection within a budget behind scikit-learn's fit and predict. scikit-learn is not needed."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MethodType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData, shown
from trails.limits import LONGEST_SPELLING
from trails.model.store import Model
from trails.refinement.options import parse_options
from trails.selection import Settings, plain_options, select
from trails.selector_inputs import (
    BadInput,
    as_value_errors,
    check_size,
    is_connection,
    matrix_of,
    seconds_of,
    seed_of,
    threads_of,
    vector_of,
)
from trails.table.columns import KINDS, Column, Columns
from trails.table.conform import conform, conform_all
from trails.table.frames import array_columns, column_of, frame_columns, is_frame, names_of
from trails.table.split import holdout
from trails.table.target import learn_target, parse_task

_TARGET = "y"
_FEWEST_ROWS = 10


class _ForClasses:
    """A method that a regression does not have: then hasattr says so, as scikit-learn asks."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, selector: ModelSelector | None, owner: type) -> Any:
        if selector is None:
            return self._function
        if selector._is_regression():
            raise AttributeError(f"a regression has no {self._function.__name__}")
        return MethodType(self._function, selector)


class ModelSelector:
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
        options: Of training, such as ``{"dropout": 0.1}``; see docs/refinement.md.
        random_state: Of everything random: a whole number, None for 1, or a NumPy generator that one is drawn from.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        n_jobs: CPU threads, at most as many as there are cores; None or -1 for all cores, -2 for all but one.
        isolated: Whether training runs in a process of its own, which starts anew, and so takes some seconds to load
            torch, at every `fit`. False trains in this process.
        verbose: Whether phases are printed.

    Attributes:
        model_: The winner, a `trails.model.store.Model`.
        leaderboard_: Every trained candidate as a dict: architecture, score, validation_metric, validation_loss,
            epochs, best_epoch, parameters, seconds; best first.
        classes_: Labels of the classes, in the order of `predict_proba`'s columns; not there for a regression.
        task_: What was learnt: binary, multiclass or regression.
        metric_: What candidates were ranked by.
        left_out_: Features that cannot help, with the reason.
        rows_left_out_: Rows without a target that were left out.
        curves_: Every finished epoch of every candidate.
        timings_: Seconds of every phase.
        seconds_: Seconds of `fit`.
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
        options: Mapping[str, Any] | None = None,
        random_state: Any = 1,
        device: str = "auto",
        n_jobs: int | None = None,
        isolated: bool = True,
        verbose: bool = False,
    ) -> None:
        self.budget = budget
        self.task = task
        self.tfmem = tfmem
        self.space = space
        self.refinement = refinement
        self.n = n
        self.k = k
        self.u = u
        self.options = options
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.isolated = isolated
        self.verbose = verbose

    # Learning

    def fit(self, X: Any, y: Any, *, target: str | None = None, validation: Any = None) -> ModelSelector:
        """Select and train a model.

        Args:
            X: Features, or a psycopg2 connection.
            y: Labels or numbers, shape (rows,); with a connection the name of a table or view, as in SQL.
            target: With a connection: name of the target column. Rows without it are left out.
            validation: Rows that candidates are compared on: a pair (X, y), with a connection a table's name; None to
                hold some out.

        Raises:
            ValueError: X or y cannot be learnt from, or a parameter is wrong; it is a `TrailsError` too.
            BudgetTooSmall: The budget does not hold one trained model.
        """
        started = time.monotonic()
        with as_value_errors():
            for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
                delattr(self, name)  # Of an earlier fit, which may have been of another task.
            seed = seed_of(self.random_state)
            if is_connection(X):
                train, held, name = self._read(X, y, target, validation)
            else:
                if target is not None:
                    raise InvalidInput("target names a column of a table, and X is none", hint="Give the labels as y.")
                train, held, name = self._take(X, y, validation)
            settings = Settings(
                budget=seconds_of(self.budget),
                task=self._task_of(train[name]),
                space=self.space,
                tfmem=self.tfmem,
                refinement=self.refinement,
                n=self.n,
                k=self.k,
                u=self.u,
                seed=seed,
                options=plain_options(self.options),
                device=self.device,
                threads=threads_of(self.n_jobs),
                isolated=self.isolated,
            )
            if held is None:
                held = _validation(train, name, settings)
            found = select(train, name, held, settings, hear=self._hear, started=started)
        for warning in found.warnings:
            warnings.warn(warning, stacklevel=2)
        if found.fault is not None:
            warnings.warn(f"{found.fault}; the model is the best of what had finished", stacklevel=2)
        self.model_ = found.model
        # In float64 a row's prediction does not depend on the rows beside it.
        wide = tuple((weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in found.model.layers)
        self._predictor = replace(found.model, layers=wide)  # type: ignore[arg-type]
        self.leaderboard_, self.curves_, self.timings_ = found.leaderboard, found.curves, found.timings
        self.task_, self.metric_ = found.model.target.task, found.metric
        self.left_out_, self.seconds_, self.complete_ = found.left_out, found.seconds, found.complete
        if self.task_ == "regression":
            self.__dict__.pop("classes_", None)
        elif not hasattr(self, "classes_"):
            self.classes_ = _labels_of(found.model)
        return self

    def _take(self, X: Any, y: Any, validation: Any) -> tuple[Columns, Columns | None, str]:
        """Columns of arrays or data frames, the target among them under a name of its own."""
        features = self._features(X, fitting=True)
        labels = vector_of(y, features.rows)
        name = _TARGET
        while any(column.name == name for column in features):
            name += "_"
        target = self._target(name, labels)
        held = None
        if validation is not None:
            try:
                other, other_labels = validation
            except (TypeError, ValueError):
                raise InvalidInput("validation is a pair of X and y") from None
            held_features = self._features(other)
            held_target = self._target(name, vector_of(other_labels, held_features.rows), learn=False)
            same = conform_all(held_features, {column.name: column.family for column in features})
            held = Columns(held_features.rows, (*same.columns, conform(held_target, target.family)))
        self.rows_left_out_ = 0
        return Columns(features.rows, (*features.columns, target)), held, name

    def _target(self, name: str, labels: NDArray[Any], learn: bool = True) -> Column:
        """The target column; learns the labels of the classes, which predictions are given as."""
        column = column_of(name, labels)
        if column.absent() is not None:
            raise InvalidInput("Input y contains NaN.", hint="Leave rows without a label out.")
        if column.family not in ("boolean", "integer", "number", "text"):
            raise InvalidInput(
                f"Unknown label type: y holds values of kind {column.family}", hint="Give labels or numbers."
            )
        if learn:
            self.classes_ = np.unique(labels)
            if column.kind == "text" and max(len(str(label).encode()) for label in self.classes_) > LONGEST_SPELLING:
                raise InvalidInput(f"a label of y is longer than {LONGEST_SPELLING} bytes")
            if column.kind == "text" and any("\0" in str(label) for label in self.classes_):
                raise InvalidInput("a label of y holds a NUL character", hint="Leave it out of the label.")
        return column

    def _task_of(self, target: Column) -> str | None:
        if self.task not in self._tasks:
            raise InvalidInput(f"task is one of {', '.join(self._tasks)}, not '{shown(self.task)}'")
        return parse_task(self.task)

    def _features(self, X: Any, fitting: bool = False) -> Columns:
        """The columns of X, checked against what `fit` saw."""
        if hasattr(X, "toarray") and not isinstance(X, np.ndarray):
            raise TypeError("Sparse data was passed, but dense data is required. Use X.toarray() to convert it.")
        names = None
        if is_frame(X):
            names = names_of(X)
            rows, count = X.shape
        else:
            X = matrix_of(X)
            rows, count = X.shape
        if fitting:
            check_size(rows, count, _FEWEST_ROWS)
            self.n_features_in_ = count
            if names is not None and all(isinstance(name, str) for name in X.columns):
                self.feature_names_in_ = np.array(names, object)
        else:
            check_size(rows, count, 1)
            self._check_features(names, count)
        return frame_columns(X) if names is not None else array_columns(X, self._names())

    def _names(self) -> list[str]:
        known = getattr(self, "feature_names_in_", None)
        return [f"x{place}" for place in range(self.n_features_in_)] if known is None else known.tolist()

    def _check_features(self, names: list[str] | None, count: int) -> None:
        known = getattr(self, "feature_names_in_", None)
        own = type(self).__name__
        if names is not None and known is not None and names != known.tolist():
            lines = ["The feature names should match those that were passed during fit."]
            unseen, missing = ([n for n in a if n not in set(b)] for a, b in ((names, known), (known, names)))
            if unseen:
                lines += ["Feature names unseen at fit time:", *(f"- {name}" for name in sorted(unseen)[:5])]
            if missing:
                lines += ["Feature names seen at fit time, yet now missing:", *(f"- {n}" for n in sorted(missing)[:5])]
            if not (unseen or missing):
                lines.append("Feature names must be in the same order as they were in fit.")
            raise InvalidInput("\n".join(lines) + "\n")
        if names is None and known is not None:
            warnings.warn(f"X does not have valid feature names, but {own} was fitted with feature names", stacklevel=5)
        if names is not None and known is None:
            warnings.warn(f"X has feature names, but {own} was fitted without feature names", stacklevel=5)
        if count != self.n_features_in_:
            raise InvalidInput(
                f"X has {count} features, but {own} is expecting {self.n_features_in_} features as input."
            )

    def _read(
        self, connection: Any, table: Any, target: str | None, validation: Any
    ) -> tuple[Columns, Columns | None, str]:
        """Columns of tables of a database."""
        from trails.service.reader import key_of, read_table

        if not isinstance(table, str) or target is None:
            raise InvalidInput(
                "with a connection, y is the name of a table, and target that of its target column",
                hint='For instance: fit(connection, "frappe_train", target="label", validation="frappe_valid").',
            )
        train, self.rows_left_out_ = read_table(connection, table, target=target)
        keys = key_of(connection, table) - {target}
        train = Columns(train.rows, tuple(column for column in train if column.name not in keys))
        held = None
        if validation is not None:
            if not isinstance(validation, str):
                raise InvalidInput("with a connection, validation is the name of a table")
            names = [column.name for column in train]
            held, left_out = read_table(connection, validation, names, target=target, like=train)
            self.rows_left_out_ += left_out
        self.n_features_in_ = len(train) - 1
        self.feature_names_in_ = np.array([column.name for column in train.without(target)], object)
        return train, held, target

    def _hear(self, event: Mapping[str, Any]) -> None:
        if self.verbose and (line := told(event)) is not None:
            print(line, flush=True)

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

    @_ForClasses
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

    def _inputs(self, X: Any, table: str | None) -> Columns:
        """The columns that the model reads."""
        self._check_fitted()
        wanted = dict(self.model_.encoder.columns)
        with as_value_errors():
            if is_connection(X):
                from trails.service.reader import read_table

                if table is None:
                    raise InvalidInput("with a connection, the table is needed", hint='predict(connection, "table")')
                like = Columns(0, tuple(_example(name, family) for name, family in wanted.items()))
                return read_table(X, table, list(wanted), like=like)[0]
            columns = self._features(X)
            return conform_all(columns, wanted)

    def _check_fitted(self) -> None:
        if hasattr(self, "model_"):
            return
        message = f"This {type(self).__name__} instance is not fitted yet. Call 'fit' before using this estimator."
        try:
            from sklearn.exceptions import NotFittedError
        except ImportError:
            raise BadInput(message) from None
        raise NotFittedError(message)

    # What scikit-learn asks of an estimator

    @classmethod
    def _parameters(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, as given."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> ModelSelector:
        """Change parameters.

        Raises:
            ValueError: There is no such parameter.
        """
        known = self._parameters()
        for name, value in params.items():
            if name not in known:
                raise BadInput(f"there is no parameter '{shown(name)}'", hint=f"Parameters: {', '.join(known)}.")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        given = [f"{n}={v!r}" for n, v in self.get_params().items() if not _is_same(v, defaults[n].default)]
        return f"{type(self).__name__}({', '.join(given)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _estimator_type_of(self) -> str | None:
        if self.task == "auto":
            return None
        return "regressor" if self.task == "regression" else "classifier"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kind = self._estimator_type_of()
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(allow_nan=True, string=True, categorical=True),
            # Where the budget decides how much is trained, so does the machine's speed.
            non_deterministic=self.k is None,
        )


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
        return "binary" if len(np.unique(target.data)) == 2 else "multiclass"

    def _estimator_type_of(self) -> str | None:
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

    def _estimator_type_of(self) -> str | None:
        return "regressor"


def told(event: Mapping[str, Any]) -> str | None:
    """What an event says, on one line for people; None if nothing."""
    kind = event["event"]
    if kind == "filtered":
        return f"{event['scored']:,} architectures scored in {event['seconds']:.2f} s"
    if kind == "ready":
        return f"refinement ready on {event['device']} after {event['seconds']:.1f} s"
    if kind == "plan":
        return f"{event['k']} candidates, {event['u']} epochs at first; an epoch takes {event['epoch_seconds']:.2f} s"
    if kind == "rung":
        return f"rung {event['rung']}: {event['candidates']} candidates trained, {len(event['survivors'])} go on"
    if kind == "result":
        best = event["leaderboard"][0]
        return f"{best['architecture']}: {best['validation_metric']:.5f} after {best['epochs']} epochs"
    return None


def _validation(train: Columns, target: str, settings: Settings) -> Columns | None:
    """The training rows where too few differ for some to be held out; None to have that done."""
    column = train[target]
    learnt = learn_target(column, settings.task)
    labels = learnt.labels(column)
    share = parse_options(settings.options).validation_share
    try:
        sides = holdout(learnt.strata(column), settings.seed, share, learnt.task == "binary")
        if all(len(side) and (labels[side] != labels[side[0]]).any() for side in sides):
            return None
    except UnusableData:
        pass
    warnings.warn(
        "there are too few rows to hold some out: candidates are compared on the rows they are trained on", stacklevel=4
    )
    return train


def _labels_of(model: Model) -> NDArray[Any]:
    """The classes of a table's target as values of its type."""
    classes, kind = model.target.classes, model.target.kind
    if kind == "boolean":
        return np.array([label == "true" for label in classes])
    if kind in ("integer", "number"):
        return np.array([float(label) if kind == "number" else int(label) for label in classes])
    return np.array(classes)


def _example(name: str, family: str) -> Column:
    kind = next(kind for kind, (_, own) in KINDS.items() if own == family)
    return Column(name, kind, np.empty(0, KINDS[kind][0]))


def _is_same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))
