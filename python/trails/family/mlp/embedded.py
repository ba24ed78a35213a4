"""What all stacks of MLPs share: the embedding tables, the lines that numbers keep to, one optimiser step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from trails.family.mlp.layout import MLP, MlpLayout
from trails.family.mlp.lines import Lines
from trails.family.networks import Shape
from trails.table.target import Task
from trails.training import kernels
from trails.training.knots import looked_up
from trails.training.optimiser import update
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.stack import TrainingStack
from trails.training.weights import SLOPES, TABLE, Training


class EmbeddedStack(TrainingStack):
    """Networks behind embedding tables, one table for each network that trains.

    Args:
        tables: Where tables and slopes lie in the state.
        state: Of all networks together; changed as they are trained.
        data: Training rows, on the device that does the work.
        options: How to train.
        seed: Of the run.
        names: Of the candidates.
        task: What is learnt.
    """

    def __init__(
        self,
        tables: MlpLayout,
        state: Training,
        data: EncodedRows,
        options: Options,
        seed: int,
        names: Sequence[str],
        task: Task,
    ) -> None:
        super().__init__(data, options, seed, names, task)
        self._tables, self._state = tables, state
        device, shape, weights = data.labels.device, tables.shape, state.weights
        # Views are made once: dozens of them in every step would cost a small network several percent.
        self._gradient = torch.zeros_like(weights[MLP])
        self._table, self._table_size = tables.table(weights[TABLE]), weights[TABLE].numel()
        self._lines = None if data.knots is None else Lines(tables, state, data.knots)
        self._within = torch.arange(shape.row, device=device)
        # Where each candidate's embedding begins among the stacked tables.
        self._firsts = torch.arange(tables.stacked, device=device).view(-1, 1, 1) * shape.ids

    _matrices: Sequence[Tensor]
    """Views of the weights that decay."""

    @abstractmethod
    def _backward(self, rows: EncodedRows) -> tuple[Tensor, Tensor]:
        """Loss (candidates,) and the gradient of the tables; that of the rest goes to ``_gradient``."""

    @torch.inference_mode()
    def step(self, rows: EncodedRows, rate: float = 1.0) -> Tensor:
        """One optimiser step on ``rows``; the mean loss (candidates,) before it, in nats."""
        if (lines := self._lines) is not None:
            lines.begin()
        loss, table_gradient = self._backward(rows)
        gradients = {TABLE: table_gradient, MLP: self._gradient}
        if lines is not None:
            gradients[SLOPES] = lines.gradient(table_gradient, self._embedding_l2)
        update(
            self._state,
            gradients,
            self._matrices,
            self._options,
            rate=rate,
            embedding_l2=self._embedding_l2,
            batches=self.batches,
            moved=None if lines is None else lines.follow,
        )
        return loss

    def _ids(self, rows: EncodedRows) -> Tensor:
        """Places of the rows' vectors among the stacked tables, (..., rows, fields)."""
        return rows.ids if self._tables.stacked == 1 else rows.ids + self._firsts

    def _embed(self, ids: Tensor, rows: EncodedRows) -> tuple[Tensor, Tensor | None]:
        """See `embedded_rows`."""
        return embedded_rows(self._table, self._tables.shape, rows, ids)

    def _table_gradient(self, upper: Tensor, direct: Tensor, ids: Tensor, rows: EncodedRows) -> Tensor:
        """Flat gradient of the tables.

        Args:
            upper: Of the embedded rows (..., rows, inputs), which is overwritten.
            direct: Of the outputs (..., rows, outputs), which the linear path is added to.
            ids: Places of the rows' vectors.
            rows: With what is beside their ids.
        """
        tables, size = self._tables, self._tables.shape.row
        if tables.shape.linear_path:
            upper = upper.view(*ids.shape, tables.shape.embedding)
            upper = torch.cat([upper, direct.unsqueeze(-2).expand(*ids.shape, tables.shape.outputs)], -1)
        if rows.values is not None:
            upper = upper.view(*ids.shape, size) * rows.values.unsqueeze(-1)
        if rows.between is not None:
            upper, ids = rows.between.divided(upper.view(*ids.shape, size), ids)
        if upper.is_cuda:
            flat = upper.reshape(-1, size)
            return kernels.embedding_backward(flat, ids.reshape(-1), tables.stacked * tables.shape.ids).view(-1)
        # Number by number: on a core 90 microseconds where PyTorch's own, row by row, takes 500.
        places = ids.reshape(-1, 1) * size + self._within
        return upper.new_zeros(self._table_size).scatter_add_(0, places.view(-1), upper.reshape(-1))


def embedded_rows(
    table: Tensor, shape: Shape, rows: EncodedRows, ids: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """What networks read of rows: the fields' vectors one behind the other, and what the linear path makes of them.

    Args:
        table: (embedding rows, numbers of a row).
        shape: Of the network.
        rows: With what is beside their ids.
        ids: Where the vectors lie, (..., rows, fields), if that is not what the rows say.

    Returns:
        float32 (..., rows, inputs) and, if there is a linear path, (..., rows, outputs).
    """
    found = looked_up(table, rows.ids if ids is None else ids, rows.between)
    if rows.values is not None:
        found *= rows.values.unsqueeze(-1)
    if not shape.linear_path:
        return found.flatten(-2), None
    return found[..., : shape.embedding].flatten(-2), found[..., shape.embedding :].sum(-2)
