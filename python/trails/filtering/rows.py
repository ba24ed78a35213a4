"""A table's rows as the filtering phase reads them: useful features, and batches of distinct, embedded rows.

A batch is drawn and embedded once per run and reused for every architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData
from trails.space.mlp import EMBEDDING
from trails.table.columns import Column, Columns
from trails.table.encoder import Encoded, Encoder, parts_of
from trails.table.fitting import Fitting
from trails.table.target import Target, learn_target
from trails.table.useless import useless_features
from trails.tfmem import Batch, Tfmem

# Rows looked at for each row wanted: few tables repeat a row so often that these hold too few distinct ones.
_LOOKED_AT = 64

LARGEST_BATCH = 1024
"""Rows of a batch at most: kernels between rows grow with the square, and the published study uses 32 and 64."""

_STREAM = 2
"""Number of the random stream that draws rows and their embedding."""


@dataclass(frozen=True)
class Rows:
    """The training rows of one run.

    Args:
        features: All features, useless ones included.
        target: Without NULLs, or None where nothing needs one.
        task: See `learn_target`.
        fitting: How columns become fields.
        learnt: What can be learnt of the target.
        positive: bool, shape (rows,): what metrics read as labels, which are of two classes: the positive class; of
            several classes whether it is the most frequent one; of numbers whether they are above the median.
    """

    features: Columns
    target: Column | None = None
    task: str | None = None
    fitting: Fitting = field(default_factory=Fitting)
    useless: dict[str, str] = field(init=False)
    learnt: Target | None = field(init=False, default=None)
    positive: NDArray[np.bool_] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.target is not None:
            learnt = learn_target([self.target], self.task)
            object.__setattr__(self, "learnt", learnt)
            object.__setattr__(self, "positive", _two_sides(learnt, self.target))
        object.__setattr__(self, "useless", useless_features(self.features))

    @property
    def useful(self) -> list[Column]:
        """Features that can help."""
        return [column for column in self.features if column.name not in self.useless]

    @property
    def inputs(self) -> int:
        """Width of the embedded row."""
        return sum(len(parts_of(column)) for column in self.useful) * EMBEDDING

    def batches(self, metrics: Sequence[Tfmem], batch_size: int, seed: int) -> tuple[tuple[Batch, ...], list[str]]:
        """Draw and embed what ``metrics`` read.

        Rows that repeat another one are passed over: they would make kernels singular. Both classes are in every
        batch if a metric reads targets.

        Args:
            metrics: Those that will be computed.
            batch_size: Rows of a batch.
            seed: Draws rows and embedding.

        Returns:
            As many batches as the metrics need (none if they need none), and what a person should know.

        Raises:
            InvalidInput: ``batch_size`` too small, or a metric needs a target and there is none.
            UnusableData: Too few distinct rows.
        """
        check_batch_size(metrics, batch_size)
        count = max((metric.batches for metric in metrics if metric.needs), default=0)
        if count == 0:
            return (), []
        labelled = any("y" in metric.needs for metric in metrics)
        check_target(metrics, self.target is not None)
        generator = np.random.default_rng((seed, _STREAM))
        candidates, encoder, encoded = self._distinct(generator, batch_size * count)
        size = min(batch_size, len(candidates) // count)
        least = max(metric.fewest_rows for metric in metrics if metric.needs)
        if size < least:
            raise UnusableData(
                f"too few distinct rows: {len(candidates)} where {count * least} are needed",
                detail=f"{self.features.rows} rows in all; rows that repeat another one tell a metric nothing.",
                hint="Add rows or features, or choose a metric that reads no data, such as expressflow.",
            )
        notices = []
        if size < batch_size:
            notices.append(f"batch_size is reduced to {size}: only {len(candidates)} distinct rows were found")
        parts = self._deal(candidates, count, size, labelled)
        embedded = _embed(encoder, encoded, generator)
        batches = []
        for part in parts:
            y = None
            if self.positive is not None and labelled:
                y = self.positive[candidates[part]].astype(np.float64)
            batches.append(Batch(embedded[part], y))
        return tuple(batches), notices

    def _distinct(self, generator: np.random.Generator, wanted: int) -> tuple[NDArray[np.int64], Encoder, Encoded]:
        """Numbers of rows of which no two are alike, at random; an encoder fitted on the rows looked at, and what it
        makes of these."""
        rows = self.features.rows
        drawn = generator.choice(rows, size=min(rows, _LOOKED_AT * wanted), replace=False)
        if self.positive is not None:
            # Rare classes may not be among them.
            for side in (False, True):
                if not (self.positive[drawn] == side).any():
                    drawn = np.append(drawn, np.flatnonzero(self.positive == side)[:wanted])
        if not self.useful:
            raise UnusableData("no feature can help: every one is constant or different in every row")
        table = Columns(len(drawn), tuple(column.take(drawn) for column in self.useful))
        # Among a few thousand rows a text that occurs once may be a common one.
        encoder = Encoder.fit(table, replace(self.fitting, min_count=1))
        encoded = encoder.transform(table)
        parts = [encoded.ids] if encoded.values is None else [encoded.ids, encoded.values]
        _, first = np.unique(np.concatenate(parts, axis=1, dtype=np.float64), axis=0, return_index=True)
        first.sort()
        values = None if encoded.values is None else encoded.values[first]
        return drawn[first].astype(np.int64, copy=False), encoder, Encoded(encoded.ids[first], values)

    def _deal(self, candidates: NDArray[np.int64], count: int, size: int, labelled: bool) -> list[NDArray[np.intp]]:
        """Positions of ``count`` batches' rows, none twice; both classes in each if targets are read."""
        order = np.arange(len(candidates))
        if not labelled:
            return [order[place * size : (place + 1) * size] for place in range(count)]
        assert self.positive is not None
        positive = self.positive[candidates]
        # One row of either class for every batch first, then the others as they were drawn.
        sides = [np.flatnonzero(positive), np.flatnonzero(~positive)]
        if min(map(len, sides)) < count:
            raise UnusableData(
                f'the target "{self.target.name if self.target else ""}" has one class only among the distinct rows',
                hint="Choose a metric that needs no target, such as expressflow or jacflow.",
            )
        heads = [[side[place] for side in sides] for place in range(count)]
        rest = np.setdiff1d(order, np.concatenate([np.array(head) for head in heads]))
        share = size - 2
        return [
            np.sort(np.concatenate([np.array(head), rest[place * share : (place + 1) * share]])).astype(np.intp)
            for place, head in enumerate(heads)
        ]


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


def _embed(encoder: Encoder, encoded: Encoded, generator: np.random.Generator) -> NDArray[np.float64]:
    """A standard normal vector for every slot of every field, times the factors: float64 (rows, fields * EMBEDDING)."""
    vectors = generator.standard_normal((encoder.ids, EMBEDDING))[encoded.ids]
    if encoded.values is not None:
        vectors *= encoded.values[:, :, None]
    embedded: NDArray[np.float64] = vectors.reshape(len(encoded.ids), -1)
    return embedded


def _two_sides(learnt: Target, target: Column) -> NDArray[np.bool_]:
    labels = learnt.labels(target)
    if learnt.task == "multiclass":
        sides: NDArray[np.bool_] = labels == np.bincount(labels.astype(np.int64)).argmax()
        return sides
    above: NDArray[np.bool_] = labels > (0.0 if learnt.task == "binary" else float(np.median(labels)))
    return above
