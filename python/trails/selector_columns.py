"""What the estimator is given, as columns: arrays, data frames, tables. Features are checked against those of `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, shown
from trails.limits import LONGEST_SPELLING
from trails.model.store import Model
from trails.selector_inputs import check_size, labelled, matrix_of
from trails.table.columns import KINDS, Column, Columns
from trails.table.conform import conform, conform_all
from trails.table.frames import (
    Readings,
    array_columns,
    as_texts,
    column_of,
    frame_columns,
    is_frame,
    names_of,
    series_column,
)
from trails.table.split import ByColumns
from trails.table.target import places_of_classes
from trails.table.texts import OfTexts

_TARGET = "y"
_FEWEST_ROWS = 10

_NAMES_SHOWN = 5


@dataclass(frozen=True)
class SeenFeatures:
    """The features that `fit` saw: how many, and their names where X had names."""

    count: int
    names: list[str] | None


@dataclass(frozen=True)
class Given:
    """What an estimator is fitted on.

    Args:
        train: Features and target.
        validation: The same columns of other rows, where the caller gave them.
        target: Name of the target column.
        seen: The features.
        labels: The labels of the classes as they are given back; None if the model says them.
        rows_left_out: Rows without a target.
        by: Names of the columns that say something of the rows themselves; see `trails.settings.Settings`.
    """

    train: Columns
    validation: Columns | None
    target: str
    seen: SeenFeatures
    labels: NDArray[Any] | None
    rows_left_out: int
    by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OfRows:
    """What else is said of the rows: vectors of shape (rows,), or with a connection names of columns; or None.

    Args:
        groups: Rows of the same value are held out together.
        times: The latest rows are held out.
        sample_weight: What a row counts for.
    """

    groups: Any = None
    times: Any = None
    sample_weight: Any = None

    def given(self) -> dict[str, Any]:
        """What there is, by the names that settings have for it."""
        named = {"group_by": self.groups, "time_by": self.times, "weight": self.sample_weight}
        return {name: value for name, value in named.items() if value is not None}


def given_arrays(
    X: Any, y: Any, validation: Any, owner: str, of_rows: OfRows | None = None, of_texts: OfTexts | None = None
) -> Given:
    """Columns of arrays or data frames, the target among them under a name of its own.

    Args:
        X: Features, shape (rows, features).
        y: Labels or numbers, shape (rows,); rows without one are left out.
        validation: A pair of X and y, or of both and the weights of these rows; or None.
        owner: The estimator's class, for messages.
        of_rows: What else is said of the rows.
        of_texts: What is said of columns of text.

    Raises:
        InvalidInput: They cannot be learnt from.
        UnusableData: There are too few rows.
    """
    features, seen = features_of(X, None, owner, (of_texts or OfTexts()).reading)
    vector, there = labelled(y, features.rows)
    used = {column.name for column in features}
    name = _free(_TARGET, used)
    target = _target(name, vector)
    more, by = [], {}
    for role, values in (of_rows or OfRows()).given().items():
        by[role] = _free(role, used)
        more.append(_of_rows(by[role], role, values, features.rows))
    labels, left_out = _labels(target, vector), features.rows - len(vector)
    features, more = _of_labelled(features, more, there)
    held = None
    if validation is not None:
        try:
            other, other_labels, *weights = validation
            if len(weights) != ("weight" in by):
                raise ValueError
        except (TypeError, ValueError):
            wanted = "X, y and their sample_weight" if "weight" in by else "a pair of X and y"
            raise InvalidInput(f"validation is {wanted}") from None
        readings = {column.name: column.reading for column in features}
        held_features, _ = features_of(other, seen, owner, readings.get)
        held_vector, held_there = labelled(other_labels, held_features.rows)
        held_target, left_out = _target(name, held_vector), left_out + held_features.rows - len(held_vector)
        same = conform_all(held_features, {column.name: column.family for column in features})
        held_more = [_of_rows(by["weight"], "weight", values, held_features.rows) for values in weights]
        same, held_more = _of_labelled(same, held_more, held_there)
        held = Columns(same.rows, (*same.columns, *held_more, conform(held_target, target.family)))
    return Given(Columns(features.rows, (*features.columns, *more, target)), held, name, seen, labels, left_out, by)


def _of_labelled(features: Columns, more: list[Column], there: NDArray[np.intp] | None) -> tuple[Columns, list[Column]]:
    """The rows that have a label, of features and of what else is said of the rows."""
    if there is None:
        return features, more
    check_size(len(there), len(features), _FEWEST_ROWS if len(there) < features.rows else 1)
    return features.take(there), [column.take(there) for column in more]


def _free(name: str, used: set[str]) -> str:
    """The name, or one like it that no column has; it is used then."""
    while name in used:
        name += "_"
    used.add(name)
    return name


def _of_rows(name: str, role: str, values: Any, rows: int) -> Column:
    said = {"group_by": "groups", "time_by": "times", "weight": "sample_weight"}[role]
    if hasattr(values, "dtype") and hasattr(values, "isna"):
        column = series_column(name, values)
        shape: tuple[int, ...] = (len(column.data),)
    else:
        vector = np.asarray(values)
        shape = vector.shape
        column = column_of(name, vector) if vector.ndim == 1 else Column(name, "int32", np.empty(0, np.int32))
    if shape != (rows,):
        raise InvalidInput(f"{said} has the shape {shape}, and X has {rows} rows")
    return column


def given_tables(
    connection: Any,
    table: Any,
    target: str | None,
    validation: Any,
    of_rows: OfRows | None = None,
    of_texts: OfTexts | None = None,
) -> Given:
    """Columns of tables of a database; a primary key is no feature.

    Args:
        connection: Of psycopg2.
        table: Name of a table or view.
        target: Name of its target column.
        validation: Name of another one, or None.
        of_rows: What else is said of the rows: names of columns, which are no features.
        of_texts: What is said of columns of text.

    Raises:
        InvalidInput: A name is missing, or the table cannot be read.
    """
    from trails.service.reader import key_of, read_table

    if not isinstance(table, str) or target is None:
        raise InvalidInput(
            "with a connection, y is the name of a table, and target that of its target column",
            hint='For instance: fit(connection, "frappe_train", target="label", validation="frappe_valid").',
        )
    by = (of_rows or OfRows()).given()
    for role, name in by.items():
        if not isinstance(name, str):
            raise InvalidInput(f"with a connection, {role} is the name of a column, not {shown(str(name))}")
    keys = key_of(connection, table) - {target, *by.values()}
    of_texts = (of_texts or OfTexts()).with_labels(ByColumns(**by).labels)
    aside = {*keys, *by.values()}
    train, left_out = read_table(connection, table, target=target, aside=aside, of_texts=of_texts)
    for name in by.values():
        train[name]  # there is one
    train = Columns(train.rows, tuple(column for column in train if column.name not in keys))
    held = None
    if validation is not None:
        if not isinstance(validation, str):
            raise InvalidInput("with a connection, validation is the name of a table")
        names = [column.name for column in train]
        held, held_left_out = read_table(connection, validation, names, target=target, like=train)
        left_out += held_left_out
    names = [column.name for column in train if column.name not in {target, *by.values()}]
    return Given(train, held, target, SeenFeatures(len(names), names), None, left_out, by)


def features_of(
    X: Any, seen: SeenFeatures | None, owner: str, readings: Readings = as_texts
) -> tuple[Columns, SeenFeatures]:
    """The columns of X.

    Args:
        X: An array or a data frame, shape (rows, features).
        seen: What `fit` saw, which X is checked against; None while fitting.
        owner: The estimator's class, for messages.
        readings: How texts are read, by the column's name.

    Raises:
        TypeError: X is sparse.
        InvalidInput: X is no array, or its features are not those that `fit` saw.
        UnusableData: There are too few rows.
    """
    if hasattr(X, "toarray") and not isinstance(X, np.ndarray):
        raise TypeError("Sparse data was passed, but dense data is required. Use X.toarray() to convert it.")
    names = names_of(X) if is_frame(X) else None
    if names is None:
        X = matrix_of(X)
    rows, count = X.shape
    check_size(rows, count, _FEWEST_ROWS if seen is None else 1)
    if seen is None:
        all_texts = names is not None and all(isinstance(name, str) for name in X.columns)
        seen = SeenFeatures(count, names if all_texts else None)
    else:
        _check_seen(seen, names, count, owner)
    if names is not None:
        return frame_columns(X, readings), seen
    known = [f"x{place}" for place in range(seen.count)] if seen.names is None else seen.names
    return array_columns(X, known, readings), seen


def _check_seen(seen: SeenFeatures, names: list[str] | None, count: int, owner: str) -> None:
    known = seen.names
    if names is not None and known is not None and names != known:
        lines = ["The feature names should match those that were passed during fit."]
        unseen, missing = (sorted({*a} - {*b})[:_NAMES_SHOWN] for a, b in ((names, known), (known, names)))
        if unseen:
            lines += ["Feature names unseen at fit time:", *(f"- {name}" for name in unseen)]
        if missing:
            lines += ["Feature names seen at fit time, yet now missing:", *(f"- {name}" for name in missing)]
        if not (unseen or missing):
            lines.append("Feature names must be in the same order as they were in fit.")
        raise InvalidInput("\n".join(lines) + "\n")
    if names is None and known is not None:
        warnings.warn(f"X does not have valid feature names, but {owner} was fitted with feature names", stacklevel=5)
    if names is not None and known is None:
        warnings.warn(f"X has feature names, but {owner} was fitted without feature names", stacklevel=5)
    if count != seen.count:
        raise InvalidInput(f"X has {count} features, but {owner} is expecting {seen.count} features as input.")


def _target(name: str, labels: NDArray[Any]) -> Column:
    column = column_of(name, labels)
    if column.absent() is not None:
        raise InvalidInput("Input y contains NaN.", hint="Leave rows without a label out.")
    if column.family not in ("boolean", "integer", "number", "text"):
        raise InvalidInput(
            f"Unknown label type: y holds values of kind {column.family}", hint="Give labels or numbers."
        )
    return column


def _labels(target: Column, labels: NDArray[Any]) -> NDArray[Any]:
    """The labels of the classes, which predictions are given as."""
    classes: NDArray[Any] = np.unique(labels)
    if target.kind == "text":
        if max(len(str(label).encode()) for label in classes) > LONGEST_SPELLING:
            raise InvalidInput(f"a label of y is longer than {LONGEST_SPELLING} bytes")
        if any("\0" in str(label) for label in classes):
            raise InvalidInput("a label of y holds a NUL character", hint="Leave it out of the label.")
    return classes


def known_labels(labels: NDArray[Any], model: Model) -> NDArray[Any]:
    """Of the labels that were given, sorted, those that the model knows: others were of held-out rows alone.

    Returns:
        Shape (classes,), in the order of the model's classes.
    """
    if len(labels) == len(model.target.classes):
        return labels
    return labels[places_of_classes(column_of(model.target.name, labels), model.target)[1]]


def labels_of(model: Model) -> NDArray[Any]:
    """The classes of a table's target as values of its type, shape (classes,)."""
    classes, kind = model.target.classes, model.target.kind
    if kind == "boolean":
        return np.array([label == "true" for label in classes])
    if kind in ("integer", "number"):
        return np.array([float(label) if kind == "number" else int(label) for label in classes])
    return np.array(classes)


def example(name: str, family: str, reading: str | None = None) -> Column:
    """A column without rows of a family of types, maybe one of texts that are read so."""
    kind = next(kind for kind, (_, own) in KINDS.items() if own == family)
    return Column(name, kind, np.empty(0, KINDS[kind][0]), reading=reading)
