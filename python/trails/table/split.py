"""Which rows are held out for validation where there is no validation table.

Refinement and filtering ask here, each on its own: what one trains on is what the other looks at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check, pieces
from trails.errors import InvalidInput, UnusableData, shown, shown_json
from trails.table.columns import Column
from trails.table.grouped import check_earlier, held_groups, latest, too_many
from trails.table.target import learn_target

MOST_HELD_OUT = 200_000
"""Rows held out at most: a metric of so many is exact to the third digit, and each costs time at every epoch."""

_TRAIN = ("train", "training")
_VALIDATION = ("valid", "validation", "val")
_TEST = ("test",)

_SHOWN = 5
"""Values that are none of these, in an error."""

Split = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Row numbers to train on and row numbers to validate on, int64, each in ascending order."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ByColumns:
    """Names of columns that say something of the rows themselves.

    Args:
        split: Says which rows are held out.
        group_by: Rows of the same value are held out together.
        time_by: The latest rows are held out.
        weight: What a row counts for.
        aside: Which of these, or what other columns, are no features; None for all of these.
    """

    split: str | None = None
    group_by: str | None = None
    time_by: str | None = None
    weight: str | None = None
    aside: tuple[str, ...] | None = None

    @property
    def no_features(self) -> set[str]:
        """Columns that nothing is learnt from."""
        named = (self.split, self.group_by, self.time_by, self.weight)
        return set(filter(None, named)) if self.aside is None else set(self.aside)

    @property
    def labels(self) -> set[str]:
        """Columns that stay text where they are, whatever they look like: no number is read out of them."""
        return set(filter(None, (self.split, self.group_by, self.weight)))

    def check(self, validation: bool) -> None:
        """Refuse several that say which rows are held out.

        Args:
            validation: Whether a table of validation rows does.

        Raises:
            InvalidInput: There are several.
        """
        given = [name for name in ("split", "group_by", "time_by") if getattr(self, name) is not None]
        if validation:
            given.insert(0, "validation")
        if len(given) > 1:
            said = f"cannot {'both' if len(given) == 2 else 'all'} say which rows are held out"
            raise InvalidInput(f"{' and '.join(given)} {said}", hint="Leave all but one out.")


@dataclass(frozen=True)
class Held:
    """Which rows are held out.

    Args:
        split: Column that says so; or
        seed: that draws them, with
        share: of the rows;
        group: Column whose groups are drawn as a whole; or
        time: Column by which the latest ones are taken.
    """

    split: Column | None = None
    seed: int = 0
    share: float = 0.2
    group: Column | None = None
    time: Column | None = None


@dataclass(frozen=True)
class Division:
    """Rows for training and rows for validation, bool (rows,) each, and the task, which all rows decide where the
    second are drawn."""

    train: Mask
    held: Mask
    task: str | None


def divide(held: Held, target: Column, task: str | None = None, check: Check = no_check) -> Division:
    """Say which rows are held out.

    Args:
        held: How.
        target: Of the same rows, without NULLs.
        task: See `trails.table.target.learn_target`.
        check: Called at least every 50 ms; what it raises ends the call.

    Raises:
        InvalidInput: The column cannot say so, or the target cannot be learnt.
        UnusableData: One side would be empty, or a class has too few rows.
    """
    if held.split is not None:
        return Division(*sides(held.split, check), task)
    # A class may be on one side alone: the training rows say what is learnt, as where a column holds rows out.
    if held.time is not None:
        chosen = latest(held.time, held.share, MOST_HELD_OUT, check)
        check_earlier(held.time, chosen, held.share, MOST_HELD_OUT)
        return Division(~chosen, chosen, task)
    if held.group is not None:
        strata = learn_target(target, None if task == "binary" else task, check).strata(target, check)
        chosen = held_groups(held.group, strata, held.seed, held.share, MOST_HELD_OUT, check)
        return Division(~chosen, chosen, task)
    everywhere = learn_target(target, task, check)
    binary = everywhere.task == "binary"
    chosen = held_out(everywhere.strata(target, check), held.seed, held.share, binary, check)
    return Division(~chosen, chosen, everywhere.task)


def doubts(held: Held, division: Division) -> tuple[str, ...]:
    """What a person should know of the rows that are held out."""
    column = held.group if held.split is None and held.group is not None else held.time
    text = None if column is None else too_many(column, division.held, held.share, MOST_HELD_OUT)
    return () if text is None else (text,)


def facts(held: Held, division: Division) -> Mapping[str, Any]:
    """What was held out, for people: how, by which column, rows and groups on each side, from which value on."""
    column = held.split or held.group or held.time
    how = {id(held.split): "split", id(held.group): "group_by", id(held.time): "time_by"}
    told: dict[str, Any] = {"how": "drawn", "seed": held.seed}
    if column is not None:
        absent = column.absent()
        told = {"how": how[id(column)], "column": column.name}
        told["rows_without"] = 0 if absent is None else int(np.count_nonzero(absent))
        if column is held.group:
            told["seed"] = held.seed
            known = division.train if absent is None else division.train & ~absent
            told["training_groups"] = len(np.unique(column.data[known]))
            told["validation_groups"] = len(np.unique(column.data[division.held]))
        elif column is held.time:
            told["from"] = _spelt_time(column, column.data[division.held].min())
    rows = {"training_rows": division.train, "validation_rows": division.held}
    return told | {name: int(np.count_nonzero(mask)) for name, mask in rows.items()}


def _spelt_time(column: Column, value: Any) -> Any:
    if column.family not in ("date", "timestamp"):
        # JSON has no others.
        odd = {math.inf: "infinity", -math.inf: "-infinity"}
        return value.item() if math.isfinite(value) else odd.get(float(value), "NaN")
    number = int(value)
    # Beyond is an infinity, or more than NumPy can write.
    if abs(number) >= (2**31 - 1 if column.family == "date" else 9 * 10**18):
        return "infinity" if number > 0 else "-infinity"
    if column.family == "date":
        return str(np.datetime64("2000-01-01", "D") + np.timedelta64(number, "D"))
    return str(np.datetime64("2000-01-01", "us") + np.timedelta64(number, "us")).replace("T", " ")


def holdout(labels: NDArray[Any], seed: int, fraction: float = 0.2, binary: bool = True) -> Split:
    """Split rows at random; see `held_out`."""
    held = held_out(labels, seed, fraction, binary)
    return np.flatnonzero(~held), np.flatnonzero(held)


def held_out(
    labels: NDArray[Any], seed: int, fraction: float = 0.2, binary: bool = True, check: Check = no_check
) -> Mask:
    """Rows to hold out, drawn at random with the same share of every class.

    Args:
        labels: Whole numbers from 0 on or bool, shape (rows,): the class of each row; anything else is not looked at.
        seed: The same seed and labels give the same split; any whole number of 64 bits.
        fraction: Share of each class to hold out, rounded, at least one row and never all; at most `MOST_HELD_OUT`
            rows in all.
        binary: Whether a class of a single row is an error, since validation needs it; else such a row is for
            training.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        bool, shape (rows,).

    Raises:
        UnusableData: A class has fewer than two rows, so it cannot be on both sides.
    """
    generator = np.random.default_rng(seed % 2**64)
    rows = len(labels)
    fraction = min(fraction, MOST_HELD_OUT / max(1, rows))
    alike = labels.dtype.kind not in "bui"
    sizes = np.zeros(2 if binary else 1, np.int64)
    for piece in pieces(rows, check):
        found = np.bincount(_classes(labels, piece, alike), minlength=len(sizes))
        found[: len(sizes)] += sizes
        sizes = found
    begins = np.cumsum(sizes) - sizes
    # Which rows of a class are taken, one class after the other; row numbers come second, so that nothing is sorted.
    taken = np.zeros(rows, np.bool_)
    for size, begin in zip(sizes.tolist(), begins.tolist(), strict=True):
        check()
        if size < 2:
            if not binary or alike:
                continue
            raise UnusableData(
                f"too few rows to hold some out for validation: {size} of one of the target's values",
                detail=f"{rows} rows in all; each value needs at least two.",
                hint="Add rows, or give a validation table.",
            )
        count = min(size - 1, max(1, round(fraction * size)))
        taken[begin + generator.choice(size, count, replace=False, shuffle=False)] = True
    held = np.empty(rows, np.bool_)
    for piece in pieces(rows, check):
        classes = _classes(labels, piece, alike)
        order = np.argsort(classes, kind="stable")
        counts = np.bincount(classes, minlength=len(sizes))
        places = np.arange(len(order)) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        held[piece.start + order] = taken[places]
        begins = begins + counts
    return held


def _classes(labels: NDArray[Any], piece: slice, alike: bool) -> NDArray[Any]:
    part = labels[piece]
    if alike:
        return np.zeros(len(part), np.uint8)
    # Sorting numbers of 16 bits takes a pass or two.
    return part.astype(np.uint16) if len(part) and int(part.max()) < 1 << 16 else part.astype(np.int64)


def by_column(column: Column) -> Split:
    """Split rows as a column of the table says; see `sides`."""
    train, held = sides(column)
    return np.flatnonzero(train), np.flatnonzero(held)


def sides(column: Column, check: Check = no_check) -> tuple[Mask, Mask]:
    """Rows for training and rows for validation, as a column of the table says.

    Args:
        column: boolean, true for validation; integer, 0 for training, 1 for validation, 2 for neither; text, ``train``,
            ``valid`` or ``validation``, ``test`` for neither. Rows where it is NULL are for training.
        check: Called at least every 50 ms; what it raises ends the call.

    Returns:
        bool, shape (rows,) each; no row is on both sides.

    Raises:
        InvalidInput: Another type, or a value that is none of these.
        UnusableData: No row is left on one of the sides.
    """
    words = _words(column)
    train, held = np.zeros(len(column.data), np.bool_), np.zeros(len(column.data), np.bool_)
    for piece in pieces(len(column.data), check):
        part = column.part(piece)
        absent = part.absent()
        here = np.zeros(len(part.data), np.bool_) if absent is None else absent
        first, second, neither = (~here & np.isin(part.data, values) for values in words)
        if not (here | first | second | neither).all():
            strange = np.unique(part.data[~(here | first | second | neither)])[:_SHOWN].tolist()
            raise InvalidInput(
                f'the split column "{shown(column.name)}" holds something else than train, valid or test',
                detail=f"It holds {', '.join(_spelt(column, value) for value in strange)}.",
                hint="It is boolean (true for validation), 0, 1 and 2, or one of these words.",
            )
        train[piece], held[piece] = here | first, second
    if not train.any() or not held.any():
        raise UnusableData(
            f'the split column "{shown(column.name)}" leaves no row for {"validation" if train.any() else "training"}'
        )
    return train, held


def _spelt(column: Column, value: int) -> str:
    if column.family != "text":
        return str(value)
    spellings = {} if column.texts is None else column.texts.spellings()
    return shown_json(spellings[value]) if value in spellings else "a text that is not among the first distinct ones"


def _words(column: Column) -> list[NDArray[np.int64]]:
    """What stands for training, for validation and for neither."""
    if column.family in ("boolean", "integer"):
        neither = [2] if column.family == "integer" else []
        return [np.array(values, np.int64) for values in ([0], [1], neither)]
    if column.family != "text":
        raise InvalidInput(
            f'the split column "{shown(column.name)}" is of kind {column.family}',
            hint="It is boolean (true for validation), 0, 1 and 2, or the words train, valid and test.",
        )
    spelt = {} if column.texts is None else column.texts.spellings()
    return [
        np.array([code for code, text in spelt.items() if text.lower() in words], np.int64)
        for words in (_TRAIN, _VALIDATION, _TEST)
    ]
