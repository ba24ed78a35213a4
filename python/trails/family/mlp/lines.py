"""How the knots of numbers keep to their lines while a stack trains; see `trails.training.knots`."""

from __future__ import annotations

from torch import Tensor

from trails.family.mlp.layout import MlpLayout
from trails.training.knots import Knots
from trails.training.weights import SLOPES, TABLE, Training


class Lines:
    """The lines of a stack's candidates, one of each interpolated field.

    The table holds the knots' vectors as they are read, lines included, so whenever a line turns, its knots follow. Of
    candidates that were never trained it does not yet: initial weights know nothing of where the knots are.

    Args:
        layout: Of the stack.
        state: Of the stack; changed as it is trained.
        knots: Of the rows that it trains on.
    """

    def __init__(self, layout: MlpLayout, state: Training, knots: Knots) -> None:
        self._layout, self._state, self._knots = layout, state, knots
        self._table, self._slopes = self._tables(state.weights[TABLE]), layout.slopes(state.weights[SLOPES])
        self._before = self._slopes.clone()

    def begin(self) -> None:
        """Lay the knots on their lines, before the first step and not again."""
        if self._state.steps == 0:
            lines = self._knots.on_lines(self._slopes)
            for weights in (self._state.weights, self._state.average):
                self._tables(weights[TABLE]).index_add_(1, self._knots.rows, lines)

    def gradient(self, table: Tensor, l2: float) -> Tensor:
        """The gradient of the slopes, flat.

        Args:
            table: That of the tables, flat. It is changed: a step that adds ``l2`` times the table to it, as
                `trails.training.optimiser.update` does, then adds ``l2`` times what knots differ from their lines.
            l2: L2 weight on the table.
        """
        tables, rows = self._tables(table), self._knots.rows
        slopes = self._knots.along_lines(tables.index_select(1, rows))
        if l2:
            tables.index_add_(1, rows, self._knots.on_lines(self._slopes), alpha=-l2)
        self._before.copy_(self._slopes)
        return slopes.view(-1)

    def follow(self) -> None:
        """Move the knots as their lines have turned since the last `gradient`."""
        self._table.index_add_(1, self._knots.rows, self._knots.on_lines(self._slopes - self._before))

    def _tables(self, flat: Tensor) -> Tensor:
        shape = self._layout.shape
        return flat.view(self._layout.stacked, shape.ids, shape.embedding)
