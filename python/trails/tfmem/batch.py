"""The embedded rows that the metrics with a need for data read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData
from trails.table.target import Task

__all__ = ["Batch", "Task"]


@dataclass(frozen=True)
class Batch:
    """Rows as the first layer of every candidate sees them.

    Args:
        x: float64 (rows, inputs): the embedded rows, no two alike.
        y: float64 (rows,): 0 or 1 (``binary``), the number of a class (``multiclass``), a value (``regression``);
            None where no metric asks for it.
        task: Which loss belongs to ``y``.
        classes: How many classes there are, for ``multiclass``.

    Raises:
        InvalidInput: Shapes that do not fit, or classes out of range.
        UnusableData: Numbers that are not finite, or two rows that are alike.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64] | None = None
    task: Task = "binary"
    classes: int = 2

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or 0 in self.x.shape:
            raise InvalidInput(f"a batch is a matrix of rows and inputs, not of shape {self.x.shape}")
        if not np.isfinite(self.x).all():
            raise UnusableData("a batch holds a number that is not finite")
        if self.y is not None and self.y.shape != (len(self.x),):
            raise InvalidInput(f"{len(self.x)} rows need as many targets, not {self.y.shape}")
        if self.y is not None and self.task != "regression":
            known = np.arange(2 if self.task == "binary" else self.classes)
            if not np.isin(self.y, known).all():
                raise InvalidInput(f"classes are numbered 0 to {len(known) - 1}")

    @property
    def outputs(self) -> int:
        """Logits that a network for this task has."""
        return self.classes if self.task == "multiclass" else 1

    @property
    def inputs(self) -> int:
        """Width of the embedded row."""
        return int(self.x.shape[1])

    def head(self, rows: int) -> Batch:
        """The first ``rows`` rows."""
        return Batch(self.x[:rows], None if self.y is None else self.y[:rows], self.task, self.classes)

    def single(self) -> Batch:
        """The same batch in float32."""
        x, y = (None if part is None else part.astype(np.float32) for part in (self.x, self.y))
        return Batch(cast(Any, x), cast(Any, y), self.task, self.classes)
