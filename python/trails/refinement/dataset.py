"""Columns to training and validation rows in memory, or a clear word on why they cannot be learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData, listed, shown
from trails.family.networks import Shape
from trails.table.columns import Columns
from trails.table.conform import SQL_CASTS, conform, conform_all
from trails.table.encoder import Encoder
from trails.table.split import by_column, holdout
from trails.table.target import Target, absurd_values, learn_target, leave_unknown_out
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
    """

    train: EncodedRows
    validation: EncodedRows
    encoder: Encoder
    target: Target
    drawn: bool = False
    warnings: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Dataset:
        """The same rows on ``device``."""
        return replace(self, train=self.train.to(device), validation=self.validation.to(device))

    def shape(self, embedding: int) -> Shape:
        """What the rows ask of every network, with vectors of so many numbers."""
        encoder = self.encoder
        return Shape(encoder.ids, encoder.fields, embedding, self.target.outputs, len(encoder.interpolated))


def prepare(
    train: Columns,
    validation: Columns | None,
    target: str,
    seed: int,
    device: torch.device,
    *,
    task: str | None = None,
    split: str | None = None,
    options: Options | None = None,
) -> Dataset:
    """Hold rows out if there is no validation table, learn the target, fit the encoder, encode.

    What is learnt is learnt of the training rows: validation rows of a class that these do not have are left out, with
    a warning, and of numbers that are absurdly far from all others the nearest ordinary one is learnt, with another.

    Args:
        train: Features and target, and the column that splits rows if there is one.
        validation: The same columns of other rows, or None to hold out rows of ``train``.
        target: Name of the target column.
        seed: Of the hold-out.
        device: Where the encoded rows go.
        task: See `learn_target`.
        split: Name of the column that says which rows are held out; None for a seeded, stratified share.
        options: What is a category, how many rows are held out, what classes weigh.

    Raises:
        UnusableData: One class only, or too few rows.
        InvalidInput: No target, no feature, columns that differ between the tables, a target that cannot be learnt.
    """
    options = options or Options()
    features, column = train.without(target), train[target]
    if split is not None and validation is None:
        features = features.without(split)
    if len(features) == 0:
        raise InvalidInput("there is no feature to learn from", detail=f'The only column is "{shown(target)}".')
    if train.rows < MIN_TRAINING_ROWS:
        raise UnusableData(f"too few rows to train on: {train.rows}", hint=f"At least {MIN_TRAINING_ROWS} are needed.")
    drawn = validation is None and split is None
    if validation is not None:
        families = {column.name: column.family for column in features}
        held_features = conform_all(validation, families, SQL_CASTS)
        held_column = conform(validation[target], column.family, SQL_CASTS)
    else:
        if split is not None:
            train_rows, held = by_column(train[split])
        else:
            everywhere = learn_target(column, task)
            strata, binary = everywhere.strata(column), everywhere.task == "binary"
            train_rows, held = holdout(strata, seed, options.validation_share, binary)
            # Of few rows of several classes only two may be left.
            task = everywhere.task
        held_features, held_column = features.take(held), column.take(held)
        features, column = features.take(train_rows), column.take(train_rows)
    learnt = learn_target(column, task)
    known, warning = leave_unknown_out(learnt, held_column)
    warnings = [text for text in (warning, absurd_values(learnt, column, held_column)) if text is not None]
    if warning is not None:
        rows = np.flatnonzero(known)
        held_features, held_column = held_features.take(rows), held_column.take(rows)
    labels, held_labels = learnt.labels(column), learnt.labels(held_column)
    _check(learnt, labels, "training")
    _check(learnt, held_labels, "validation")
    encoder = Encoder.fit(features, options.fitting().among(features))
    weights = class_weights(learnt, labels, options.class_weights)
    return Dataset(
        encoded_rows(encoder, features, labels, learnt, device, weights),
        encoded_rows(encoder, held_features, held_labels, learnt, device),
        encoder,
        learnt,
        drawn,
        tuple(warnings),
    )


def class_weights(target: Target, labels: NDArray[Any], asked: str | Mapping[str, float]) -> NDArray[np.float32] | None:
    """What each training row's loss is multiplied by, float32 (rows,), 1 on average; None when all are 1.

    Args:
        target: Of the run.
        labels: Of the training rows.
        asked: ``none``, ``balanced`` (every class weighs the same), or a weight by class; others weigh 1.

    Raises:
        InvalidInput: Regression has no classes, or there is no such class.
    """
    if asked == "none":
        return None
    if target.task == "regression":
        raise InvalidInput("option class_weights needs classes, and the task is regression")
    if isinstance(asked, str):
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
    return each / np.float32(each.mean(dtype=np.float64))


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
