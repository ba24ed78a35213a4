"""How the knots of numbers keep to their lines while a stack trains; see `trails.training.knots`."""

from __future__ import annotations

import torch
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
        self._slopes = layout.slopes(state.weights[SLOPES])
        self._before = self._slopes.clone()
        # Number by number: adding row by row takes PyTorch several times as long.
        shape, device = layout.shape, knots.rows.device
        within = torch.arange(shape.row, device=device)
        each = torch.arange(layout.stacked, device=device).view(-1, 1, 1)
        rows, owners = knots.rows.view(-1, 1), knots.owners.view(-1, 1)
        self._in_tables = ((each * shape.ids + rows) * shape.row + within).view(-1)
        self._in_slopes = ((each * shape.interpolated + owners) * shape.row + within).view(-1)

    def begin(self) -> None:
        """Lay the knots on their lines, before the first step and not again."""
        if self._state.steps == 0:
            for weights in (self._state.weights, self._state.average):
                self._move(weights[TABLE], self._slopes)

    def gradient(self, table: Tensor, l2: float) -> Tensor:
        """The gradient of the slopes, flat.

        Args:
            table: That of the tables, flat. It is changed: a step that adds ``l2`` times the table to it, as
                `trails.training.optimiser.update` does, then adds ``l2`` times what knots differ from their lines.
            l2: L2 weight on the table.
        """
        upper = self._tables(table).index_select(1, self._knots.rows).mul_(self._knots.positions.unsqueeze(-1))
        slopes = upper.new_zeros(self._slopes.numel()).scatter_add_(0, self._in_slopes, upper.view(-1))
        if l2:
            self._move(table, self._slopes * -l2)
        self._before.copy_(self._slopes)
        return slopes

    def follow(self) -> None:
        """Move the knots as their lines have turned since the last `gradient`."""
        self._move(self._state.weights[TABLE], self._slopes - self._before)

    def _move(self, table: Tensor, slopes: Tensor) -> None:
        """Add lines of these slopes to the knots of flat tables."""
        table.scatter_add_(0, self._in_tables, self._knots.on_lines(slopes).view(-1))

    def _tables(self, flat: Tensor) -> Tensor:
        shape = self._layout.shape
        return flat.view(self._layout.stacked, shape.ids, shape.row)
