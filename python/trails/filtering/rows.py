"""A table's rows as the filtering phase reads them: useful features, and batches of distinct, embedded rows.

A batch is drawn and embedded once per run and reused for every architecture. Only training rows are looked at: what is
held out has no say in what is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check, pieces
from trails.errors import InvalidInput, UnusableData, shown
from trails.table.columns import Column, Columns
from trails.table.encoder import Encoded, Encoder, parts_of
from trails.table.fitting import Fitting
from trails.table.row_weights import counting_rows
from trails.table.split import Held, divide, sides
from trails.table.target import Target, learn_target
from trails.table.useless import useless_features
from trails.tfmem import REGISTRY, Batch, Tfmem
from trails.training.options import EMBEDDING

# Rows looked at for each row wanted: few tables repeat a row so often that these hold too few distinct ones.
_LOOKED_AT = 64

_CELLS_LOOKED_AT = 1 << 23
"""Of wide tables fewer rows are looked at, but twice as many as are wanted at least."""

LARGEST_BATCH = 1024
"""Rows of a batch at most: kernels between rows grow with the square, and the published study uses 32 and 64."""

WIDEST_ROW = 1 << 17
"""Numbers of an embedded row at most: the first layer of the widest network then has half a gigabyte of weights."""

_MEDIAN_OF = 1 << 18
"""Rows that a median is taken from: more would move it by as little as another sample does."""

_MOST_BATCHES = max(metric.batches for metric in REGISTRY.values())

_STREAM = 2
"""Number of the random stream that draws rows and their embedding."""


@dataclass(frozen=True)
class TableRows:
    """The rows of one run.

    Args:
        features: All features, useless ones included.
        target: Without NULLs, or None where nothing needs one.
        task: See `learn_target`.
        fitting: How columns become fields.
        embedding: Numbers that stand for a category.
        held: Which rows are held out; None for none.
        weight: What a row counts for; rows of weight 0 are not looked at, and all others alike.
        check: Called at least every 50 ms while rows are looked at; what it raises ends that.
        training: bool, shape (rows,): rows that are not held out; None for all of them.
        held_rows: bool, shape (rows,): rows that are; None where none are, or another table holds them.
        learnt: What can be learnt of the target of the training rows.
        positive: bool, shape (training rows,): what metrics read as labels, which are of two classes: the positive
            class; of several classes whether it is the most frequent one; of numbers whether they are above the median.
    """

    features: Columns
    target: Column | None = None
    task: str | None = None
    fitting: Fitting = field(default_factory=Fitting)
    embedding: int = EMBEDDING
    held: Held | None = None
    weight: Column | None = None
    check: Check = no_check
    useless: dict[str, str] = field(init=False)
    training: NDArray[np.bool_] | None = field(init=False, default=None)
    held_rows: NDArray[np.bool_] | None = field(init=False, default=None)
    learnt: Target | None = field(init=False, default=None)
    positive: NDArray[np.bool_] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        training, held_rows, task = self._divided()
        object.__setattr__(self, "training", training)
        object.__setattr__(self, "held_rows", held_rows)
        if self.target is not None:
            target = self.target if training is None else _chosen(self.target, training, self.check)
            learnt = learn_target(target, task, self.check)
            object.__setattr__(self, "learnt", learnt)
            object.__setattr__(self, "positive", _two_sides(learnt, target, self.check))
        object.__setattr__(self, "useless", useless_features(self.features, training, self.check))

    def _divided(self) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None, str | None]:
        """Rows that are not held out, rows that are, and the task, which all rows decide where these are drawn."""
        counting = None if self.weight is None else counting_rows(self.weight, self.check)
        if self.held is None or self.target is None:
            if self.held is not None and self.held.split is not None:
                training, held_rows = sides(self.held.split, self.check)
                return (training if counting is None else training & counting), held_rows, self.task
            return counting, None, self.task
        held, target = self.held, self.target
        if counting is None:
            division = divide(held, target, self.task, self.check)
            return division.train, division.held, division.task
        # Rows of weight 0 are as if they were not there: what is drawn of the others does not hang on them.
        split, group, time = (
            None if column is None else _chosen(column, counting, self.check)
            for column in (held.split, held.group, held.time)
        )
        of_counting = replace(held, split=split, group=group, time=time)
        division = divide(of_counting, _chosen(target, counting, self.check), self.task, self.check)
        training, held_rows = np.zeros((2, len(counting)), np.bool_)
        training[counting], held_rows[counting] = division.train, division.held
        return training, held_rows, division.task

    @property
    def useful(self) -> list[Column]:
        """Features that can help."""
        return [column for column in self.features if column.name not in self.useless]

    @property
    def fields(self) -> int:
        """Fields of the features that can help."""
        return sum(len(parts_of(column)) for column in self.useful)

    @property
    def embedded(self) -> int:
        """Numbers that stand for a category here: fewer than asked for where the row would be too wide."""
        return max(1, min(self.embedding, WIDEST_ROW // max(1, self.fields)))

    @property
    def inputs(self) -> int:
        """Width of the embedded row."""
        return self.fields * self.embedded

    def batches(
        self, metrics: Sequence[Tfmem], batch_size: int, seed: int, check: Check = no_check
    ) -> tuple[tuple[Batch, ...], list[str]]:
        """Draw and embed what ``metrics`` read.

        Rows that repeat another one are passed over: they would make kernels singular. Both classes are in every
        batch if a metric reads targets.

        Args:
            metrics: Those that will be computed.
            batch_size: Rows of a batch.
            seed: Draws rows and embedding.
            check: Called at least every 50 ms; what it raises ends the call.

        Returns:
            As many batches as the metrics need (none if they need none), and what a person should know.

        Raises:
            InvalidInput: ``batch_size`` too small, or a metric needs a target and there is none.
            UnusableData: Too few distinct rows.
        """
        check_batch_size(metrics, batch_size)
        notices = []
        if self.embedded < self.embedding:
            notices.append(
                f"filtering embeds a category as {self.embedded} numbers, not {self.embedding}: {self.fields} fields "
                "would make its rows too wide"
            )
        count = max((metric.batches for metric in metrics if metric.needs), default=0)
        if count == 0:
            return (), notices
        labelled = any("y" in metric.needs for metric in metrics)
        check_target(metrics, self.target is not None)
        generator = np.random.default_rng((seed, _STREAM))
        candidates, encoder, encoded = self._distinct(generator, batch_size * count, check)
        size = min(batch_size, len(candidates) // count)
        least = max(metric.fewest_rows for metric in metrics if metric.needs)
        if size < least:
            raise UnusableData(
                f"too few distinct rows: {len(candidates)} where {count * least} are needed",
                detail=f"{self._count} rows in all; rows that repeat another one tell a metric nothing.",
                hint="Add rows or features, or choose a metric that reads no data, such as expressflow.",
            )
        if size < batch_size:
            notices.append(f"batch_size is reduced to {size}: only {len(candidates)} distinct rows were found")
        parts = self._deal(candidates, count, size, labelled)
        embedded = _embed(encoder, encoded, np.concatenate(parts), self.embedded, generator)
        batches = []
        for number, part in enumerate(parts):
            y = None
            if self.positive is not None and labelled:
                y = self.positive[candidates[part]].astype(np.float64)
            batches.append(Batch(embedded[number * size : (number + 1) * size], y))
        return tuple(batches), notices

    @property
    def _count(self) -> int:
        """Training rows."""
        return self.features.rows if self.training is None else int(np.count_nonzero(self.training))

    def _distinct(
        self, generator: np.random.Generator, wanted: int, check: Check
    ) -> tuple[NDArray[np.int64], Encoder, Encoded]:
        """Places among the training rows of rows of which no two are alike, at random; an encoder fitted on the rows
        looked at, and what it makes of these."""
        if not self.useful:
            raise UnusableData("no feature can help: every one is constant or different in every row")
        rows = self._count
        most = max(2 * wanted, min(_LOOKED_AT * wanted, _CELLS_LOOKED_AT // self.fields))
        drawn = generator.choice(rows, size=min(rows, most), replace=False)
        if self.positive is not None:
            # Rare classes may not be among them.
            for side in (False, True):
                check()
                if not (self.positive[drawn] == side).any():
                    drawn = np.append(drawn, np.flatnonzero(self.positive == side)[:wanted])
        places = drawn if self.training is None else np.flatnonzero(self.training)[drawn]
        chosen = []
        for column in self.useful:
            check()
            chosen.append(column.take(places))
        table = Columns(len(drawn), tuple(chosen))
        # Among a few thousand rows a text that occurs once may be a common one.
        encoder = Encoder.fit(table, replace(self.fitting.among(table), min_count=1), check)
        encoded = encoder.transform(table, check)
        order = np.arange(len(drawn))
        if self.positive is not None:
            # The rarer side must not be lost to rows that are like its own.
            sides_drawn = self.positive[drawn]
            rarer = np.flatnonzero(sides_drawn == (2 * np.count_nonzero(sides_drawn) < len(drawn)))[:_MOST_BATCHES]
            order = np.concatenate([rarer, np.delete(order, rarer)])
        first = _one_of_each(encoded, order, check)
        values, shares = (None if part is None else part[first] for part in (encoded.values, encoded.shares))
        return drawn[first].astype(np.int64, copy=False), encoder, Encoded(encoded.ids[first], values, shares)

    def _deal(self, candidates: NDArray[np.int64], count: int, size: int, labelled: bool) -> list[NDArray[np.intp]]:
        """Positions of ``count`` batches' rows, none twice; both classes in each if targets are read."""
        order = np.arange(len(candidates))
        if not labelled:
            return [order[place * size : (place + 1) * size] for place in range(count)]
        assert self.positive is not None
        positive = self.positive[candidates]
        # One row of either class for every batch first, then the others as they were drawn.
        both = [np.flatnonzero(positive), np.flatnonzero(~positive)]
        if min(map(len, both)) < count:
            raise UnusableData(
                f'the target "{shown(self.target.name) if self.target else ""}" has one class only among the distinct '
                "rows",
                hint="Choose a metric that needs no target, such as expressflow or jacflow.",
            )
        heads = [[side[place] for side in both] for place in range(count)]
        rest = np.setdiff1d(order, np.concatenate([np.array(head) for head in heads]))
        share = size - 2
        return [
            np.sort(np.concatenate([np.array(head), rest[place * share : (place + 1) * share]])).astype(np.intp)
            for place, head in enumerate(heads)
        ]


def _chosen(column: Column, rows: NDArray[np.bool_], check: Check) -> Column:
    """A copy of a column at the rows that are chosen."""

    def at(data: NDArray[Any]) -> NDArray[Any]:
        parts = [data[piece][rows[piece]] for piece in pieces(len(rows), check)]
        return np.concatenate(parts) if parts else data

    return replace(
        column,
        data=at(column.data),
        nulls=None if column.nulls is None else at(column.nulls),
        values=None if column.values is None else at(column.values),
    )


def check_target(metrics: Sequence[Tfmem], target: bool) -> None:
    """Refuse a metric that reads targets where there are none.

    Raises:
        InvalidInput: There is such a metric, and ``target`` is false.
    """
    for metric in metrics:
        if "y" in metric.needs and not target:
            raise InvalidInput(f"metric {metric.name!r} needs a target", hint="Name the target column.")


def check_batch_size(metrics: Sequence[Tfmem], batch_size: int) -> None:
    """Refuse a batch that is too small for a metric, or too large.

    Raises:
        InvalidInput: ``batch_size`` is below 1, below what a metric compares, or too large.
    """
    if batch_size < 1:
        raise InvalidInput(f"batch_size must be at least 1, not {batch_size}")
    if batch_size > LARGEST_BATCH:
        raise InvalidInput(
            f"batch_size = {batch_size} is too large: a batch has at most {LARGEST_BATCH} rows",
            hint="The published study uses 32 and 64.",
        )
    for metric in metrics:
        if metric.needs and batch_size < metric.fewest_rows:
            raise InvalidInput(
                f"batch_size = {batch_size} is too small: metric {metric.name!r} needs a batch of "
                f"{metric.fewest_rows} or more rows"
            )


def _embed(
    encoder: Encoder, encoded: Encoded, rows: NDArray[np.intp], embedding: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """A standard normal vector for every slot in use, or what lies between two of them, times the factors: float64
    (rows, fields * embedding)."""
    ids = encoded.ids[rows]
    shares = None if encoded.shares is None else encoded.shares[rows].astype(np.float64)
    # The slot behind is in use where a part of the vector is its own.
    ahead = ids if shares is None else ids + (shares > 0.0)
    used = np.zeros(encoder.ids, np.bool_)
    used[ids] = used[ahead] = True
    place = np.cumsum(used) - 1
    table = generator.standard_normal((int(np.count_nonzero(used)), embedding))
    vectors = table[place[ids]]
    if shares is not None:
        vectors += shares[:, :, None] * (table[place[ahead]] - vectors)
    if encoded.values is not None:
        vectors *= encoded.values[rows][:, :, None]
    embedded: NDArray[np.float64] = vectors.reshape(len(ids), -1)
    return embedded


def _one_of_each(encoded: Encoded, order: NDArray[np.intp], check: Check) -> NDArray[np.intp]:
    """Of rows that are alike the one that comes first in ``order``; places in ascending order.

    Rows are told apart by 64 bits: a sum over fields, each times an odd number of its own.
    """
    odd = np.random.default_rng(0).integers(0, 2**63, (3, encoded.ids.shape[1]), np.uint64) * np.uint64(2) + np.uint64(
        1
    )
    codes = np.zeros(len(encoded.ids), np.uint64)
    for place in range(encoded.ids.shape[1]):
        check()
        cells = encoded.ids[:, place].astype(np.uint64) * odd[0, place]
        for number, part in enumerate((encoded.values, encoded.shares), 1):
            if part is not None:
                bits = (part[:, place] + np.float32(0)).view(np.uint32).astype(np.uint64)
                cells ^= bits * odd[number, place]
        codes += (cells ^ (cells >> np.uint64(32))) * odd[0, place]
    _, first = np.unique(codes[order], return_index=True)
    return np.sort(order[first])


def _two_sides(learnt: Target, target: Column, check: Check) -> NDArray[np.bool_]:
    labels = learnt.labels(target, check)
    if learnt.task == "multiclass":
        sizes = np.zeros(len(learnt.classes), np.int64)
        for piece in pieces(len(labels), check):
            sizes += np.bincount(labels[piece].astype(np.int64), minlength=len(sizes))
        frequent: NDArray[np.bool_] = labels == sizes.argmax()
        return frequent
    if learnt.task == "binary":
        return np.asarray(labels > 0.0)
    check()
    median = np.median(labels[:: -(-len(labels) // _MEDIAN_OF)])
    above: NDArray[np.bool_] = labels > median
    # Where half of the rows hold the largest number, none is above it.
    return above if above.any() else np.asarray(labels >= median)
