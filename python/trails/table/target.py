"""What is to be predicted: the task, its classes or its scale, and a target column as a network learns it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, distinct, no_check, pieces
from trails.errors import InvalidInput, UnusableData, listed, shown
from trails.table.columns import Column, Family
from trails.table.log_scale import LogScale
from trails.table.usual import EVERYTHING, NEARLY_ALL, Usual, spread_of, usual_of

Task = Literal["binary", "multiclass", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)

METRICS: dict[Task, tuple[str, str]] = {
    "binary": ("auc", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("r2", "rmse"),
}
"""What candidates are ranked by, higher is better, and what is reported as their validation loss."""

MOST_CLASSES = 1000
FEW_INTEGERS = 20
"""Integers with more different values than this are amounts: the task is regression."""

_FEWEST_ROWS = 2

_BEYOND, _LARGEST = 2.0, float(np.finfo(np.float64).max)
"""How many times the largest training target a prediction from a logarithm may be, and what any number may be."""


@dataclass(frozen=True)
class Target:
    """A target column that can be learnt.

    Args:
        name: Name of the column.
        kind: Family of its type.
        task: What is learnt of it.
        keys: The classes as the column holds them, in the order of ``classes``; empty for regression.
        classes: The classes as SQL shows them; of two, the second is the positive one. Empty for regression.
        mean: Of the training rows, for regression: what is learnt is (value - mean) / std, of a log scale its logarithm
            in the value's place.
        std: Their standard deviation.
        usual: What is believed of the values, for regression; of a stored model everything, since nothing is learnt.
        scale: What of a regression's value is learnt; None for the value itself.
    """

    name: str
    kind: Family
    task: Task
    keys: NDArray[Any]
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    usual: Usual = EVERYTHING
    scale: LogScale | None = None

    @property
    def outputs(self) -> int:
        """Numbers that a network predicts for a row: one for each of three or more classes, else one."""
        return len(self.classes) if self.task == "multiclass" else 1

    @property
    def metric(self) -> str:
        """What candidates are ranked by; higher is better."""
        return METRICS[self.task][0]

    @property
    def metrics(self) -> tuple[str, str]:
        """What candidates are ranked by, and what their validation loss is."""
        return METRICS[self.task]

    def labels(self, column: Column, check: Check = no_check) -> NDArray[np.float32] | NDArray[np.int64]:
        """A column of this target as it is learnt.

        Returns:
            Shape (rows,): float32 0 or 1 of a binary target, int64 numbers of classes of a multi-class one, float32
            standardised values otherwise.

        Raises:
            UnusableData: A class that is not known.
        """
        labels: NDArray[Any] = np.empty(len(column.data), np.int64 if self.task == "multiclass" else np.float32)
        for piece in pieces(len(labels), check):
            part = column.data[piece]
            if self.task == "regression":
                # The difference of numbers beyond 1e307 may be infinite, and that of their halves is not.
                half = 0.5 if self.std > 1.0 else 1.0
                believed = self.usual.believed(part.astype(np.float64))
                if self.scale is not None:
                    believed = self.scale.learnt(believed)
                labels[piece] = (believed * half - self.mean * half) / (self.std * half)
                continue
            found, known = self._found(part)
            if not known.all():
                raise UnusableData(f'the target "{shown(self.name)}" holds a class that is not known')
            labels[piece] = found
        return labels

    def values(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Numbers of a regression in its unit, float64, of a network's outputs, or of labels, of the same shape."""
        learnt: NDArray[np.float64] = outputs.astype(np.float64) * self.std + self.mean
        return learnt if self.scale is None else self.scale.values(learnt)

    def by_logarithm(self, column: Column, shift: float, check: Check = no_check) -> Target:
        """The same target learnt by its logarithm.

        Args:
            column: Of the training rows, none below 0.
            shift: See `LogScale`.
            check: As of `learn_target`.
        """
        believed = (self.usual.believed(column.data[p].astype(np.float64)) for p in pieces(len(column.data), check))
        highest = max(float(part.max()) for part in believed)
        scale = LogScale(shift, min(_BEYOND * highest, _LARGEST))
        mean, deviation = spread_of(column.data, self.usual, check, scale)
        return replace(self, mean=mean, std=deviation, scale=scale)

    def known(self, column: Column) -> NDArray[np.bool_]:
        """Rows of a class that the target has, bool (rows,); all of a regression's."""
        if self.task == "regression":
            return np.ones(len(column.data), np.bool_)
        return self._found(column.data)[1]

    def strata(self, column: Column, check: Check = no_check) -> NDArray[Any]:
        """What rows are held out evenly by: whole numbers, shape (rows,), all 0 for a regression.

        Classes in the order of their stored values, which is the same wherever the column is, unlike that of their
        spelling, which the server does not always have.
        """
        if self.task == "regression":
            return np.zeros(len(column.data), np.uint8)
        keys = np.sort(self.keys)
        strata = np.empty(len(column.data), np.int64)
        for piece in pieces(len(strata), check):
            strata[piece] = np.searchsorted(keys, column.data[piece])
        return strata

    def _found(self, data: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Number of each row's class, and whether it is one."""
        order = np.argsort(self.keys)
        places = np.searchsorted(self.keys[order], data)
        places[places == len(order)] = 0
        found: NDArray[np.int64] = order[places]
        return found, np.asarray(self.keys[found] == data)

    def balanced(self, labels: NDArray[Any]) -> NDArray[np.float32]:
        """A weight for each class, float32 (classes,), such that all classes weigh the same and rows 1 on average.

        Args:
            labels: Of the training rows.
        """
        counts = np.bincount(labels.astype(np.int64), minlength=len(self.classes))
        there = counts > 0
        shares = np.where(there, counts, 1) * (max(1, int(np.count_nonzero(there))) / counts.sum())
        weights: NDArray[np.float32] = (1.0 / shares).astype(np.float32)
        return weights


def parse_task(task: str | None) -> Task | None:
    """The task that a caller named; None to infer it.

    Raises:
        InvalidInput: There is no such task.
    """
    if task is None or task == "auto":
        return None
    if task not in TASKS:
        raise InvalidInput(f'there is no task "{shown(task)}"', hint=f"Tasks: {', '.join(TASKS)}; NULL infers it.")
    return task


def learn_target(column: Column, task: str | None = None, check: Check = no_check) -> Target:
    """Find out what can be learnt of a target.

    Two values make a binary target; three or more texts, and 3 to 20 integers, a multi-class one; other numbers are
    predicted themselves.

    Args:
        column: The target of the training rows, without NULLs.
        task: One of `TASKS`, or None to infer it.
        check: Called at least every 50 ms; what it raises ends the call.

    Raises:
        InvalidInput: There is no such task, or the type cannot be learnt.
        UnusableData: Fewer than two rows, one value only, or values that do not fit the task.
    """
    asked = parse_task(task)
    if column.family in ("date", "timestamp", "time", "idvalue"):
        raise InvalidInput(
            f'the target "{shown(column.name)}" is of a type that cannot be predicted ({column.family})',
            hint="Give a view whose target is a number or a category, such as EXTRACT(EPOCH FROM ...).",
            sqlstate="0A000",
        )
    rows = len(column.data)
    if rows < _FEWEST_ROWS:
        raise UnusableData(
            f"{rows} usable row is too few to learn from" if rows else "there is no usable row",
            hint="Training and validation need rows of different targets.",
        )
    keys = distinct(column.data, MOST_CLASSES, check)
    spellings = {} if column.texts is None or len(keys) > MOST_CLASSES else column.texts.spellings()
    if len(keys) == 1:
        raise UnusableData(
            f'the target "{shown(column.name)}" has one class only',
            detail=f"Every usable row holds {shown(_spelt(column, keys, spellings)[0])}.",
            hint="A target needs rows of at least two values.",
        )
    chosen = asked or _infer(column, keys)
    _check(column, chosen, asked, len(keys))
    if chosen == "regression":
        usual = usual_of(column.data, check)
        mean, deviation = spread_of(column.data, usual, check)
        return Target(column.name, column.family, chosen, np.empty(0), (), mean, deviation, usual)
    classes = _spelt(column, keys, spellings)
    # Filtering may know no spellings, and tells classes apart by their keys.
    if spellings and len(set(classes)) < len(classes):
        raise UnusableData(
            f'classes of the target "{shown(column.name)}" begin alike for as long as labels are kept',
            hint="Give a view with shorter labels that differ.",
        )
    if column.kind == "text":
        order = np.array(sorted(range(len(classes)), key=classes.__getitem__))
        keys, classes = keys[order], [classes[place] for place in order]
    return Target(column.name, column.family, chosen, keys, tuple(classes))


def places_of_classes(column: Column, target: Target) -> tuple[Target, list[int]]:
    """Which of a column's values are a trained model's classes: rows that were held out may have had others.

    Args:
        column: Of labels, with all of the model's classes among them.
        target: The model's, which knows its classes by their spelling alone.

    Returns:
        The column's own target, whose classes are in the order of its values, and the place there of each class of the
        model's, in the model's order.
    """
    several = len(distinct(column.data, MOST_CLASSES)) > 2
    everywhere = learn_target(column, "multiclass" if several else "binary")
    return everywhere, [everywhere.classes.index(name) for name in target.classes]


def with_keys(column: Column, target: Target) -> Target:
    """A trained model's target that reads labels again; arguments as in `places_of_classes`."""
    if target.task == "regression":
        return target
    everywhere, places = places_of_classes(column, target)
    return replace(target, keys=everywhere.keys[places])


def leave_unknown_out(
    target: Target, validation: Column, which: str = "validation"
) -> tuple[NDArray[np.bool_], str | None]:
    """Validation rows of a class that no training row has: nothing can be learnt of it, so they say nothing.

    Args:
        target: As the training rows have it.
        validation: The target's column of the validation rows.
        which: What the rows are called.

    Returns:
        Rows to keep, bool (rows,), and what a person should know if not all are kept.
    """
    known = target.known(validation)
    left_out = len(known) - int(np.count_nonzero(known))
    if not left_out:
        return known, None
    strange = validation.take(np.flatnonzero(~known))
    keys = distinct(strange.data, MOST_CLASSES)
    spelt = _spelt(validation, keys, {} if validation.texts is None else validation.texts.spellings())
    return known, (
        f'{left_out} {which} rows are left out: of "{shown(target.name)}" they hold what no training row holds '
        f"({listed(spelt)})"
    )


def as_validated(target: Target, held: Column) -> Target:
    """The target that validation rows are measured by: where more of them than a few are far from all training rows,
    they are what there is to predict, and are believed."""
    beyond = int(np.count_nonzero(target.usual.beyond(held.data))) if target.task == "regression" else 0
    return replace(target, usual=EVERYTHING) if beyond > max(1.0, (1.0 - NEARLY_ALL) * len(held.data)) else target


def absurd_values(target: Target, *columns: Column) -> str | None:
    """What a person should know of values that are not believed, None if all are.

    Args:
        target: As the training rows have it.
        columns: Of the target: training rows, and validation rows unless these are believed.
    """
    found = np.concatenate([column.data[target.usual.beyond(column.data)].astype(np.float64) for column in columns])
    if not len(found):
        return None
    usual, rows = target.usual, sum(len(column.data) for column in columns)
    values = "1 value" if len(found) == 1 else f"{len(found)} values"
    return (
        f'{values} of "{shown(target.name)}", of {rows}, too far from all others to be learnt from: '
        f"{listed(f'{value:g}' for value in np.unique(found).tolist())}; the nearest of the others, which lie between "
        f"{usual.lowest:g} and {usual.highest:g}, is learnt in the place of each"
    )


def _infer(column: Column, keys: NDArray[Any]) -> Task:
    if len(keys) == 2:
        return "binary"
    if column.family == "text" or (column.family == "integer" and len(keys) <= FEW_INTEGERS):
        return "multiclass"
    return "regression"


def _check(column: Column, task: Task, asked: Task | None, values: int) -> None:
    name, many = shown(column.name), str(values) if values <= MOST_CLASSES else f"more than {MOST_CLASSES}"
    if task == "regression" and column.family in ("text", "boolean"):
        raise InvalidInput(
            f'the target "{name}" is no number, so that the task cannot be regression',
            hint="Leave task out, or give a view whose target is a number.",
        )
    if task == "binary" and values != 2:
        raise UnusableData(
            f'the target "{name}" has {many} different values, and a binary one has two',
            hint="Leave task out, or give a view whose target compares, such as price > 100.",
        )
    if task == "multiclass" and values > MOST_CLASSES:
        regression = "" if column.family == "text" else " Say task => 'regression' for an amount."
        raise UnusableData(
            f'the target "{name}" has {many} classes, and at most {MOST_CLASSES} can be told apart',
            hint=f"Give a view that groups rare ones.{regression}",
        )
    if task == "multiclass" and asked is not None and values == 2:
        raise UnusableData(f'the target "{name}" has two classes', hint="Say task => 'binary', or leave it out.")


def _spelt(column: Column, keys: NDArray[Any], spellings: dict[int, str]) -> list[str]:
    """The values as SQL shows them."""
    if column.kind == "boolean":
        return ["true" if key else "false" for key in keys.tolist()]
    if column.kind == "text":
        return [spellings.get(key, "(a text)") for key in keys.tolist()]
    if column.data.dtype.kind == "f":
        # Whole numbers without a point, and as many digits as tell values of the type apart.
        return [str(int(key)) if key == int(key) else str(key) for key in keys]
    return [str(key) for key in keys.tolist()]
