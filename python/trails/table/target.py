"""What is to be predicted: the task, its classes or its scale, and a target column as a network learns it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData
from trails.table.columns import Column, Family

Task = Literal["binary", "multiclass", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)

METRICS: dict[Task, tuple[str, str]] = {
    "binary": ("auc", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("r2", "rmse"),
}
"""What candidates are ranked by, higher is better, and what is reported as their validation loss."""

MOST_CLASSES = 1000
_FEW_INTEGERS = 20
"""Integers with more different values than this are amounts: the task is regression."""

_FEWEST_ROWS = 2


@dataclass(frozen=True)
class Target:
    """A target column that can be learnt.

    Args:
        name: Name of the column.
        kind: Family of its type.
        task: What is learnt of it.
        keys: The classes as the column holds them, in the order of ``classes``; empty for regression.
        classes: The classes as SQL shows them; of two, the second is the positive one. Empty for regression.
        mean: Of the training rows, for regression: what is learnt is (value - mean) / std.
        std: Their standard deviation.
    """

    name: str
    kind: Family
    task: Task
    keys: NDArray[Any]
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0

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

    def labels(self, column: Column) -> NDArray[np.float32] | NDArray[np.int64]:
        """A column of this target as it is learnt.

        Returns:
            Shape (rows,): float32 0 or 1 of a binary target, int64 numbers of classes of a multi-class one, float32
            standardised values otherwise.

        Raises:
            UnusableData: A class that is not known.
        """
        if self.task == "regression":
            return ((column.data.astype(np.float64) - self.mean) / self.std).astype(np.float32)
        order = np.argsort(self.keys)
        places = np.searchsorted(self.keys[order], column.data)
        places[places == len(order)] = 0
        found: NDArray[np.int64] = order[places]
        if not (self.keys[found] == column.data).all():
            raise UnusableData(f'the target "{self.name}" holds a class that is not known')
        return found.astype(np.float32) if self.task == "binary" else found

    def balanced(self, labels: NDArray[Any]) -> NDArray[np.float32]:
        """A weight for each class, float32 (classes,), such that all classes weigh the same and rows 1 on average."""
        counts = np.bincount(labels.astype(np.int64), minlength=len(self.classes))
        shares = np.maximum(counts, 1) * (max(1, int(np.count_nonzero(counts))) / len(labels))
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
        raise InvalidInput(f'there is no task "{task}"', hint=f"Tasks: {', '.join(TASKS)}; NULL infers it.")
    return task


def learn_target(columns: Iterable[Column], task: str | None = None) -> Target:
    """Find out what can be learnt of a target.

    Two values make a binary target; three or more texts, and 3 to 20 integers, a multi-class one; other numbers are
    predicted themselves.

    Args:
        columns: The target of the training rows and, if there are any, of the validation rows, without NULLs; the
            first one's numbers give the scale.
        task: One of `TASKS`, or None to infer it.

    Raises:
        InvalidInput: There is no such task, or the type cannot be learnt.
        UnusableData: Fewer than two rows, one value only, or values that do not fit the task.
    """
    asked, all_columns = parse_task(task), list(columns)
    first = all_columns[0]
    if first.family in ("date", "timestamp", "time", "idvalue"):
        raise InvalidInput(
            f'the target "{first.name}" is of a type that cannot be predicted ({first.family})',
            hint="Give a view whose target is a number or a category, such as EXTRACT(EPOCH FROM ...).",
            sqlstate="0A000",
        )
    data = np.concatenate([column.data for column in all_columns])
    if len(data) < _FEWEST_ROWS:
        raise UnusableData(
            f"{len(data)} usable row is too few to learn from" if len(data) else "there is no usable row",
            hint="Training and validation need rows of different targets.",
        )
    keys = _distinct(data)
    if len(keys) == 1:
        raise UnusableData(
            f'the target "{first.name}" has one class only',
            detail=f"Every usable row holds {_spelt(first, keys, _spellings(all_columns))[0]}.",
            hint="A target needs rows of at least two values.",
        )
    chosen = asked or _infer(first, keys)
    _check(first, chosen, asked, len(keys))
    if chosen == "regression":
        numbers = first.data.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(numbers.mean()), float(numbers.std()) or 1.0
        if not np.isfinite([mean, deviation]).all():
            raise UnusableData(
                f'the target "{first.name}" holds numbers so large that their deviation has no end',
                hint="Give a view that scales it down, or its logarithm.",
            )
        return Target(first.name, first.family, chosen, np.empty(0), (), mean, deviation)
    spellings = _spellings(all_columns)
    classes = _spelt(first, keys, spellings)
    # Filtering knows no spellings, and tells classes apart by their keys.
    if spellings and len(set(classes)) < len(classes):
        raise UnusableData(
            f'classes of the target "{first.name}" begin alike for as long as labels are kept',
            hint="Give a view with shorter labels that differ.",
        )
    if first.kind == "text":
        order = np.array(sorted(range(len(classes)), key=classes.__getitem__))
        keys, classes = keys[order], [classes[place] for place in order]
    return Target(first.name, first.family, chosen, keys, tuple(classes))


def _infer(column: Column, keys: NDArray[Any]) -> Task:
    if len(keys) == 2:
        return "binary"
    if column.family == "text" or (column.family == "integer" and len(keys) <= _FEW_INTEGERS):
        return "multiclass"
    return "regression"


def _check(column: Column, task: Task, asked: Task | None, values: int) -> None:
    if task == "regression" and column.family in ("text", "boolean"):
        raise InvalidInput(
            f'the target "{column.name}" is no number, so that the task cannot be regression',
            hint="Leave task out, or give a view whose target is a number.",
        )
    if task == "binary" and values != 2:
        raise UnusableData(
            f'the target "{column.name}" has {values} different values, and a binary one has two',
            hint="Leave task out, or give a view whose target compares, such as price > 100.",
        )
    if task == "multiclass" and values > MOST_CLASSES:
        regression = "" if column.family == "text" else " Say task => 'regression' for an amount."
        raise UnusableData(
            f'the target "{column.name}" has {values} classes, and at most {MOST_CLASSES} can be told apart',
            hint=f"Give a view that groups rare ones.{regression}",
        )
    if task == "multiclass" and asked is not None and values == 2:
        raise UnusableData(f'the target "{column.name}" has two classes', hint="Say task => 'binary', or leave it out.")


def _distinct(data: NDArray[Any]) -> NDArray[Any]:
    # Most targets have few values: what the first rows hold tells whether sorting them all can be avoided.
    few = np.unique(data[:10_000])
    if len(few) <= _FEW_INTEGERS:
        other = data[~np.isin(data, few)]
        return np.union1d(few, other) if len(other) else few
    return np.unique(data)


def _spellings(columns: Iterable[Column]) -> dict[int, str]:
    return {
        code: text for column in columns if column.texts is not None for code, text in column.texts.spellings().items()
    }


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
