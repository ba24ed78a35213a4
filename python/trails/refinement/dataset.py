"""Columns to training and validation rows in memory, or a clear word on why they cannot be learnt from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData, listed, shown
from trails.family.networks import Shape
from trails.refinement.calibrated_numbers import SHIFT, SLOPE, Line, line
from trails.refinement.metrics import measure, report
from trails.refinement.scale_trial import Sides, on_its_scale
from trails.table.columns import Columns
from trails.table.conform import SQL_CASTS, conform, conform_all
from trails.table.encoder import Encoder
from trails.table.judged import parse_metric
from trails.table.row_weights import scaled, weighed
from trails.table.split import ByColumns, Held, divide, doubts, facts
from trails.table.target import Target, absurd_values, as_validated, learn_target, leave_unknown_out
from trails.training.knots import Between, Knots
from trails.training.options import Options
from trails.training.rows import EncodedRows

MIN_TRAINING_ROWS = 10
"""Below this a validation metric says nothing and BatchNorm has nothing to average over."""


@dataclass(frozen=True)
class Dataset:
    """What every candidate of a run trains and validates on.

    Args:
        train: Training rows.
        validation: Validation rows.
        encoder: Fitted on the training rows.
        target: What is learnt.
        drawn: Whether the validation rows were drawn from the training table, not named by the caller.
        warnings: What a person should know of the rows.
        chosen: By which metric candidates are compared; None for that of the task.
        weights: What each training and each validation row counts for as the column says, float64 (rows,) each; None
            where there is none.
        held_out: Which rows are held out; see `trails.table.split.facts`.
        calibrate: Whether numbers that are predicted are brought to the unit once more; see `calibrated_numbers`.
        other: Makes the target and both parts of the rows as they would be on the other scale; None if there is none.
    """

    train: EncodedRows
    validation: EncodedRows
    encoder: Encoder
    target: Target
    drawn: bool = False
    warnings: tuple[str, ...] = ()
    chosen: str | None = None
    weights: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    held_out: Mapping[str, Any] = field(default_factory=dict)
    calibrate: bool = False
    other: Callable[[], Sides] | None = None

    @property
    def metric(self) -> str:
        """What candidates are compared by."""
        return self.chosen or self.target.metric

    @property
    def held_weights(self) -> NDArray[np.float64] | None:
        """What validation rows count for, float64 (rows,); None where all count alike."""
        weights = self.validation.weights
        return None if weights is None else weights.cpu().numpy().astype(np.float64)

    def line(self, outputs: NDArray[Any], step: int = 1) -> Line:
        """What brings a regression's outputs for the validation rows, or for every ``step``-th, to the unit once more;
        the identity elsewhere."""
        if not self.calibrate:
            return Line()
        weights = None if self.held_weights is None else self.held_weights[::step]
        return line(self.target, self.validation.truth[::step], outputs, self.chosen, weights)

    def measured(self, outputs: NDArray[Any]) -> tuple[float, float]:
        """What a candidate is ranked by, higher is better, and its validation loss; see `trails.refinement.metrics`."""
        outputs = self.line(outputs).of(outputs)
        return measure(self.target, self.validation.truth, outputs, self.chosen, self.held_weights)

    def reported(self, outputs: NDArray[Any]) -> dict[str, float]:
        """Everything that is told of a model that predicts ``outputs`` for the validation rows; with the line's two
        numbers, where it is not the identity, and the shift of a logarithm."""
        line = self.line(outputs)
        outputs = line.of(outputs)
        found = report(self.target, self.validation.truth, outputs, self.chosen, self.held_weights)
        if self.target.scale is not None:
            found["log_shift"] = self.target.scale.shift
        return found if line == Line() else {**found, SLOPE: line.slope, SHIFT: line.shift}

    def to(self, device: torch.device) -> Dataset:
        """The same rows on ``device``."""
        return replace(self, train=self.train.to(device), validation=self.validation.to(device))

    def shape(self, options: Options) -> Shape:
        """What the rows ask of every network, with these options."""
        return _shape(self.encoder, self.target, options)

    def on_other_scale(self) -> Dataset | None:
        """The same rows with their target on the scale on which it is not learnt, None if there is none."""
        if self.other is None:
            return None
        target, train, validation = self.other()
        return replace(self, target=target, train=train, validation=validation, other=None)


def prepare(
    train: Columns,
    validation: Columns | None,
    target: str,
    seed: int,
    device: torch.device,
    *,
    task: str | None = None,
    split: str | None = None,
    by: ByColumns | None = None,
    metric: str | None = None,
    options: Options | None = None,
    budget: float = math.inf,
) -> Dataset:
    """Hold rows out if there is no validation table, learn the target, fit the encoder, encode.

    What is learnt is learnt of the training rows: validation rows of a class that these do not have are left out, with
    a warning, and of numbers that are absurdly far from all others the nearest ordinary one is learnt, with another.

    Args:
        train: Features and target, and the columns that ``by`` names.
        validation: The same columns of other rows, or None to hold out rows of ``train``.
        target: Name of the target column.
        seed: Of the hold-out.
        device: Where the encoded rows go.
        task: See `learn_target`.
        split: Name of the column that says which rows are held out, where that is all that ``by`` would say.
        by: Columns that say which rows are held out, and what each counts; none for a seeded, stratified share.
        metric: By which candidates are compared; None for that of the task.
        options: What is a category, how many rows are held out, what classes weigh.
        budget: Seconds of the run, of which finding out on which scale a number is learnt takes a few per cent at most.

    Raises:
        UnusableData: One class only, or too few rows.
        InvalidInput: No target, no feature, columns that differ between the tables, a target that cannot be learnt.
    """
    options, by = options or Options(), by or ByColumns(split=split)
    by.check(validation is not None)
    counted, weights = weighed(train, by.weight)
    features, column = counted.without(target), counted[target]
    features = Columns(features.rows, tuple(c for c in features if c.name not in by.no_features))
    if len(features) == 0:
        raise InvalidInput("there is no feature to learn from", detail=f'The only column is "{shown(target)}".')
    if counted.rows < MIN_TRAINING_ROWS:
        raise UnusableData(
            f"too few rows to train on: {counted.rows}", hint=f"At least {MIN_TRAINING_ROWS} are needed."
        )
    drawn = validation is None and by.split is None
    doubtful: tuple[str, ...] = ()
    if validation is not None:
        validation, held_weights = weighed(validation, by.weight)
        families = {column.name: column.family for column in features}
        held_features = conform_all(validation, families, SQL_CASTS)
        held_column = conform(validation[target], column.family, SQL_CASTS)
        held_out: dict[str, Any] = {"how": "validation", "training_rows": counted.rows}
    else:
        how = Held(
            None if by.split is None else counted[by.split],
            seed,
            options.validation_share,
            None if by.group_by is None else counted[by.group_by],
            None if by.time_by is None else counted[by.time_by],
        )
        division = divide(how, column, task)
        held_out, doubtful = dict(facts(how, division)), doubts(how, division)
        # Of few rows of several classes only two may be left.
        task = division.task
        train_rows, held = np.flatnonzero(division.train), np.flatnonzero(division.held)
        held_features, held_column = features.take(held), column.take(held)
        features, column = features.take(train_rows), column.take(train_rows)
        held_weights = None if weights is None else weights[held]
        weights = None if weights is None else weights[train_rows]
    learnt = learn_target(column, task)
    chosen = parse_metric(metric, learnt.task)
    known, warning = leave_unknown_out(learnt, held_column)
    held_target = as_validated(learnt, held_column)
    believed = (column,) if held_target is not learnt else (column, held_column)
    odd = (*doubtful, warning, absurd_values(learnt, *believed))
    warnings = [text for text in odd if text is not None]
    if warning is not None:
        rows = np.flatnonzero(known)
        held_features, held_column = held_features.take(rows), held_column.take(rows)
        held_weights = None if held_weights is None else held_weights[rows]
    held_out["validation_rows"] = len(held_column.data)
    if by.weight is not None:
        held_out["rows_of_weight_0"] = train.rows - counted.rows
    labels, held_labels = learnt.labels(column), held_target.labels(held_column)
    _check(learnt, labels, "training")
    _check(learnt, held_labels, "validation")
    encoder = Encoder.fit(features, options.fitting().among(features))
    each = class_weights(learnt, labels, options.class_weights, weights)
    held_each = None if held_weights is None else scaled(held_weights)
    plain = (
        learnt,
        encoded_rows(encoder, features, labels, learnt, device, each),
        encoded_rows(encoder, held_features, held_labels, learnt, device, held_each),
    )
    shape = _shape(encoder, learnt, options)
    sides, other = on_its_scale(plain, (column, held_column), shape, options, seed, budget, chosen)
    return Dataset(
        sides[1],
        sides[2],
        encoder,
        sides[0],
        drawn,
        tuple(warnings),
        chosen,
        None if weights is None or held_weights is None else (weights, held_weights),
        held_out,
        options.calibrate,
        other,
    )


def _shape(encoder: Encoder, target: Target, options: Options) -> Shape:
    return Shape(
        encoder.ids,
        encoder.fields,
        options.embedding,
        target.outputs,
        len(encoder.interpolated),
        # Of many outputs it would be wider than all else that a row of the table has.
        options.linear_path and target.outputs <= options.embedding,
    )


def class_weights(
    target: Target,
    labels: NDArray[Any],
    asked: str | Mapping[str, float],
    rows: NDArray[np.float64] | None = None,
) -> NDArray[np.float32] | None:
    """What each training row's loss is multiplied by, float32 (rows,), 1 on average; None when all are 1.

    Args:
        target: Of the run.
        labels: Of the training rows.
        asked: ``none``, ``balanced`` (every class weighs the same), or a weight by class; others weigh 1.
        rows: What each row counts for besides, above 0; None where all count alike.

    Raises:
        InvalidInput: Regression has no classes, or there is no such class.
    """
    if asked == "none":
        return None if rows is None else scaled(rows)
    if target.task == "regression":
        raise InvalidInput("option class_weights needs classes, and the task is regression")
    if isinstance(asked, str):
        if rows is not None:
            return scaled(_shares_of_class(labels, rows, len(target.classes)))
        weights = target.balanced(labels)
    else:
        classes = set(target.classes)
        unknown = next((name for name in asked if name not in classes), None)
        if unknown is not None:
            raise InvalidInput(
                f'option class_weights names "{shown(unknown)}", which is no class of "{shown(target.name)}"',
                hint=f"Classes: {listed(target.classes)}.",
            )
        weights = np.array([asked.get(name, 1.0) for name in target.classes], np.float32)
    each: NDArray[np.float32] = weights[labels.astype(np.int64)]
    if rows is not None:
        return scaled(rows / rows.max() * each) if each.any() else each
    return each / np.float32(each.mean(dtype=np.float64))


def _shares_of_class(labels: NDArray[Any], rows: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """What each row counts for of all that its class does, whatever numbers the weights are: sums of them may overflow,
    and those of one class may be nothing beside those of another."""
    places = labels.astype(np.int64)
    largest = np.zeros(classes)
    np.maximum.at(largest, places, rows)
    each = rows / largest[places]
    shares: NDArray[np.float64] = each / np.bincount(places, each, classes)[places]
    return shares


def _check(target: Target, labels: NDArray[Any], which: str) -> None:
    """Refuse rows that tell nothing apart."""
    if len(labels) and (labels != labels[0]).any():
        return
    if target.task == "regression":
        raise UnusableData(f'the target "{shown(target.name)}" is the same in all {len(labels)} {which} rows')
    holds = shown(target.classes[int(labels[0])]) if len(labels) else "nothing"
    raise UnusableData(
        f'the target "{shown(target.name)}" has one class only in the {which} rows',
        detail=f"Every one of {len(labels)} rows holds {holds}.",
        hint="Both classes must occur, in the training and in the validation rows.",
    )


def encoded_rows(
    encoder: Encoder,
    features: Columns,
    labels: NDArray[Any],
    target: Target,
    device: torch.device,
    weights: NDArray[np.float32] | None = None,
) -> EncodedRows:
    """Rows as networks read them.

    Args:
        encoder: Of the run.
        features: Columns of its names; others are not looked at.
        labels: What `Target.labels` made of the target.
        target: What is learnt.
        device: Where the rows go.
        weights: See `class_weights`.
    """
    encoded = encoder.transform(features)
    knots = Knots.of(encoder)
    between = Between.of(encoded.shares)
    return EncodedRows(
        torch.from_numpy(encoded.ids).to(device),
        None if encoded.values is None else torch.from_numpy(encoded.values).to(device),
        torch.from_numpy(labels).to(device),
        labels != 0 if target.task == "binary" else labels,
        None if weights is None else torch.from_numpy(weights).to(device),
        None if knots is None else knots.to(device),
        None if between is None else between.to(device),
    )
