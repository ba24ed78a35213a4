"""A table's rows as the filtering phase reads them: useful features, and batches of distinct, embedded rows.

A batch is drawn and embedded once per run and reused for every architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData
from trails.space.mlp import EMBEDDING
from trails.table.columns import Column, Columns, useless_features
from trails.table.target import check_two_classes
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
        target: Integers (rows,), or None where nothing needs one.
        target_name: For messages.
    """

    features: Columns
    target: NDArray[np.int64] | NDArray[np.int32] | None = None
    target_name: str = "target"
    useless: dict[str, str] = field(init=False)
    classes: tuple[int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        classes = None if self.target is None else check_two_classes(self.target_name, self.target)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "useless", useless_features(self.features))

    @property
    def useful(self) -> list[Column]:
        """Features that can help."""
        return [column for column in self.features if column.name not in self.useless]

    @property
    def inputs(self) -> int:
        """Width of the embedded row."""
        return len(self.useful) * EMBEDDING

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
        candidates, values = self._distinct(generator, batch_size * count)
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
        embedded = np.concatenate([value.embed(generator) for value in values], axis=1)
        batches = []
        for part in parts:
            y = None
            if self.target is not None and labelled:
                assert self.classes is not None
                y = (self.target[candidates[part]] == self.classes[1]).astype(np.float64)
            batches.append(Batch(embedded[part], y))
        return tuple(batches), notices

    def _distinct(self, generator: np.random.Generator, wanted: int) -> tuple[NDArray[np.int64], list[_Values]]:
        """Numbers of rows of which no two are alike, at random; per feature, these rows' values."""
        rows = self.features.rows
        drawn = generator.choice(rows, size=min(rows, _LOOKED_AT * wanted), replace=False)
        if self.target is not None and self.classes is not None:
            # Rare classes may not be among them.
            for value in self.classes:
                if not (self.target[drawn] == value).any():
                    drawn = np.append(drawn, np.flatnonzero(self.target == value)[:wanted])
        values = [_Values.of(column.take(drawn)) for column in self.useful]
        if not values:
            raise UnusableData("no feature can help: every one is constant or different in every row")
        parts = [part for value in values for part in (value.codes, value.factors) if part is not None]
        _, first = np.unique(np.stack(parts, axis=1), axis=0, return_index=True)
        first.sort()
        return drawn[first].astype(np.int64, copy=False), [value.take(first) for value in values]

    def _deal(self, candidates: NDArray[np.int64], count: int, size: int, labelled: bool) -> list[NDArray[np.intp]]:
        """Positions of ``count`` batches' rows, none twice; both classes in each if targets are read."""
        order = np.arange(len(candidates))
        if not labelled:
            return [order[place * size : (place + 1) * size] for place in range(count)]
        assert self.target is not None and self.classes is not None
        positive = self.target[candidates] == self.classes[1]
        # One row of either class for every batch first, then the others as they were drawn.
        sides = [np.flatnonzero(positive), np.flatnonzero(~positive)]
        if min(map(len, sides)) < count:
            raise UnusableData(
                f'the target "{self.target_name}" has one class only among the distinct rows',
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


@dataclass(frozen=True)
class _Values:
    """One feature's values in some rows.

    Args:
        codes: Numbers from 0 on: equal categories, equal numbers. NULL is a category.
        factors: What their vectors are multiplied by, the ``value`` of ``id:value``; None when all are 1.
    """

    codes: NDArray[np.intp]
    factors: NDArray[np.float64] | None

    @classmethod
    def of(cls, column: Column) -> _Values:
        factors = None if column.values is None else column.values.astype(np.float64)
        absent = np.zeros(len(column.ids), bool) if column.nulls is None else column.nulls != 0
        if factors is not None:
            # As in the encoder: what is not finite counts as NULL, and a field in the thousands drowns no other.
            absent |= ~np.isfinite(factors)
            factors[absent] = 1.0
            factors /= max(1.0, float(np.abs(factors).max(initial=1.0)))
        keys = np.stack([np.where(absent, 0, column.ids).astype(np.int64), absent.astype(np.int64)], axis=1)
        _, codes = np.unique(keys, axis=0, return_inverse=True)
        return cls(codes.reshape(-1), factors)

    def take(self, places: NDArray[np.intp]) -> _Values:
        return _Values(self.codes[places], None if self.factors is None else self.factors[places])

    def embed(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """A standard normal vector for every category, times the factors: float64 (rows, EMBEDDING)."""
        vectors: NDArray[np.float64] = generator.standard_normal((int(self.codes.max()) + 1, EMBEDDING))[self.codes]
        return vectors if self.factors is None else vectors * self.factors[:, None]
