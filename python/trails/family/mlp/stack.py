"""Trains MLPs side by side: one pass over the rows, one batched product per layer, one optimiser step.

Forward and backward are written out instead of recorded by autograd: the networks are all of one kind, every
intermediate is used once, and gradients land in the flat vector that the optimiser reads. Tests compare them
with autograd on a network of PyTorch's own layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trails.family.mlp.layout import MLP, STATS, HiddenLayer, Layers, MlpLayout, stack, together, unstack
from trails.family.mlp.lines import Lines
from trails.table.target import Task
from trails.training import kernels
from trails.training.heads import mean_loss
from trails.training.kernels import EPSILON
from trails.training.knots import looked_up
from trails.training.optimiser import update
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.stack import TrainingStack, drop, predict_in_chunks
from trails.training.weights import SLOPES, TABLE, Training, Weights


class MlpStack(TrainingStack):
    """MLPs of the same age and depth that train together.

    Args:
        layouts: One of each candidate.
        trainings: Of each candidate; their tensors belong to the stack from now on.
        data: Training rows, on the device that does the work.
        options: How to train.
        seed: Of the run: with the epoch it gives the order of rows, the same for every candidate.
        names: Of the candidates; with seed and epoch they decide what dropout drops.
        task: What is learnt; see `trails.table.target.Task`.
    """

    def __init__(
        self,
        layouts: Sequence[MlpLayout],
        trainings: Sequence[Training],
        data: EncodedRows,
        options: Options,
        seed: int,
        names: Sequence[str],
        task: Task = "binary",
    ) -> None:
        super().__init__(data, options, seed, names, task)
        self._layouts, self._layout = list(layouts), together(layouts)
        device = data.labels.device
        parts = [
            stack(part, layouts, self._layout, device) for part in zip(*(t.parts() for t in trainings), strict=True)
        ]
        self._state = Training(parts[0], parts[1], parts[2], parts[3], trainings[0].steps)
        weights = self._state.weights
        self._gradient = torch.zeros_like(weights[MLP])
        # Views are made once: dozens of them in every step would cost a small network several percent.
        self._mlp, self._into = self._layout.mlp(weights[MLP]), self._layout.mlp(self._gradient)
        self._matrices = [layer.weight for layer in self._mlp.hidden]
        self._stats, self._table = self._layout.stats(weights[STATS]), self._layout.table(weights[TABLE])
        shape = self._layout.shape
        self._lines = None if data.knots is None else Lines(self._layout, self._state, data.knots)
        self._table_size = weights[TABLE].numel()
        self._within = torch.arange(shape.embedding, device=device)
        # Where each candidate's embedding begins among the stacked tables.
        self._firsts = torch.arange(len(layouts), device=device).view(-1, 1, 1) * shape.ids

    def training(self, place: int) -> Training:
        """What the candidate at ``place`` goes on from, elsewhere or later."""
        own = [unstack(weights, self._layout, place, self._layouts[place]) for weights in self._state.parts()]
        return Training(own[0], own[1], own[2], own[3], self._state.steps)

    def averaged(self, place: int) -> Weights:
        """A copy of the averaged weights of the candidate at ``place``."""
        own = unstack(self._state.average, self._layout, place, self._layouts[place])
        return own.copy() if self._layout.stacked == 1 else own

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

    def _backward(self, rows: EncodedRows) -> tuple[Tensor, Tensor]:
        """Loss (candidates,) and the gradient of the tables; that of the MLP goes to ``_gradient``."""
        shape, mlp, gradient = self._layout.shape, self._mlp, self._into
        ids = rows.ids if len(self) == 1 else rows.ids + self._firsts
        hidden = self._embed(ids, rows)
        inputs, kept = [hidden], []
        keep = 1.0 - self._dropout
        for layer, stats in zip(mlp.hidden, self._stats, strict=True):
            before = hidden @ layer.weight
            hidden, saved = _norm(before, layer, stats)
            kept.append((before, saved))
            hidden = hidden.relu_()
            if keep < 1.0:
                self._drop(hidden, len(inputs) - 1)
            inputs.append(hidden)
        loss, upper = mean_loss(self._task, (hidden @ mlp.weight).add_(mlp.bias), rows)

        torch.matmul(hidden.mT, upper, out=gradient.weight)
        torch.sum(upper, -2, keepdim=True, out=gradient.bias)
        upper = upper * mlp.weight.mT if shape.outputs == 1 else upper @ mlp.weight.mT
        for number in reversed(range(len(mlp.hidden))):
            layer, into = mlp.hidden[number], gradient.hidden[number]
            before, saved = kept[number]
            # What was dropped is zero and passes nothing back, as what ReLU cut.
            upper = kernels.relu_backward(upper, inputs[number + 1])
            if keep < 1.0:
                upper.div_(keep)
            upper = _norm_backward(upper, before, layer, saved, into)
            torch.matmul(inputs[number].mT, upper, out=into.weight)
            upper = upper @ layer.weight.mT
        if rows.values is not None:
            upper = upper.view(*ids.shape, shape.embedding) * rows.values.unsqueeze(-1)
        if rows.between is not None:
            upper, ids = rows.between.divided(upper.view(*ids.shape, shape.embedding), ids)
        return loss.view(-1), self._table_gradient(upper, ids)

    def _drop(self, hidden: Tensor, layer: int) -> None:
        """Set a share of (..., rows, outputs) to zero and scale up the rest.

        Drawn for each candidate in its own width: what it drops does not depend on its neighbours.
        """
        for place, (own, generator) in enumerate(zip(self._layouts, self._masks, strict=True)):
            part = hidden if len(self) == 1 else hidden[place, :, : own.design[layer]]
            drop(part, self._dropout, generator)
        hidden.div_(1.0 - self._dropout)

    def _table_gradient(self, upper: Tensor, ids: Tensor) -> Tensor:
        """Flat gradient of the tables from that of the embedded rows."""
        layout, size = self._layout, self._layout.shape.embedding
        if upper.is_cuda:
            rows = upper.reshape(-1, size)
            return kernels.embedding_backward(rows, ids.reshape(-1), layout.stacked * layout.shape.ids).view(-1)
        # Number by number: on a core 90 microseconds where PyTorch's own, row by row, takes 500.
        places = ids.reshape(-1, 1) * size + self._within
        return upper.new_zeros(self._table_size).scatter_add_(0, places.view(-1), upper.reshape(-1))

    def _embed(self, ids: Tensor, rows: EncodedRows) -> Tensor:
        """Embedded rows (..., rows, inputs)."""
        embedded = looked_up(self._table, ids, rows.between)
        if rows.values is not None:
            embedded *= rows.values.unsqueeze(-1)
        return embedded.flatten(-2)

    def predict(self, rows: EncodedRows, keep_going: Callable[[], bool] = lambda: True) -> Tensor | None:
        """What is predicted by the averaged weights: logits, or standardised values.

        Args:
            rows: On the stack's device.
            keep_going: Called between chunks of rows; False gives up.

        Returns:
            float32 (candidates, rows), or (candidates, rows, outputs) of several, on the CPU; None if given up.
        """
        return _predict(self._layout, self._state.average, rows, self._firsts, keep_going)


def predict_alone(layout: MlpLayout, weights: Weights, rows: EncodedRows) -> Tensor:
    """What one candidate's ``weights`` predict: float32 (rows,) or (rows, outputs) on the CPU."""
    found = _predict(layout, weights, rows, None, lambda: True)
    assert found is not None, "nobody gives up"
    return found[0]


@torch.inference_mode()
def _predict(
    layout: MlpLayout, weights: Weights, rows: EncodedRows, firsts: Tensor | None, keep_going: Callable[[], bool]
) -> Tensor | None:
    """See `MlpStack.predict`; ``firsts``, where each candidate's embedding begins, is not read of one alone."""
    mlp, table = layout.mlp(weights[MLP]), layout.table(weights[TABLE])
    folded = fold(mlp, layout.stats(weights[STATS]))

    def forward(chunk: EncodedRows) -> Tensor:
        ids = chunk.ids if layout.stacked == 1 or firsts is None else chunk.ids + firsts
        hidden = looked_up(table, ids, chunk.between)
        if chunk.values is not None:
            hidden *= chunk.values.unsqueeze(-1)
        hidden = hidden.flatten(-2)
        for weight, shift in folded:
            hidden = (hidden @ weight).add_(shift).relu_()
        return (hidden @ mlp.weight).add_(mlp.bias).view(layout.stacked, -1, layout.shape.outputs)

    return predict_in_chunks(forward, rows, keep_going)


def fold(mlp: Layers, stats: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every hidden layer with its BatchNorm folded in, as prediction needs it."""
    folded = []
    for layer, (mean, variance) in zip(mlp.hidden, stats, strict=True):
        factor = layer.scale * torch.rsqrt(variance + EPSILON)
        folded.append((layer.weight * factor, layer.shift - mean * factor))
    return folded


def _norm(before: Tensor, layer: HiddenLayer, stats: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """BatchNorm in training: the result, and the batch's mean and 1 / standard deviation, each (..., 1, outputs).

    Writes mean and variance of the batch to ``stats``.
    """
    if before.dim() == 2:
        after, mean, inverse = kernels.norm(before, layer.scale.view(-1), layer.shift.view(-1))
        mean, inverse = mean.unsqueeze(0), inverse.unsqueeze(0)
        torch.sub(inverse.pow(-2), EPSILON, out=stats[1])
        stats[0].copy_(mean)
        return after, (mean, inverse)
    torch.mean(before, -2, keepdim=True, out=stats[0])
    centred = before - stats[0]
    torch.mean(centred.square(), -2, keepdim=True, out=stats[1])
    inverse = torch.rsqrt(stats[1] + EPSILON)
    return centred.mul_(inverse * layer.scale).add_(layer.shift), (stats[0].clone(), inverse)


def _norm_backward(
    upper: Tensor, before: Tensor, layer: HiddenLayer, saved: tuple[Tensor, Tensor], into: HiddenLayer
) -> Tensor:
    """Gradient of BatchNorm's input; those of scale and shift go to ``into``."""
    mean, inverse = saved
    if before.dim() == 2:
        lower, scale, shift = kernels.norm_backward(
            upper, before, layer.scale.view(-1), mean.view(-1), inverse.view(-1)
        )
        into.scale.copy_(scale)
        into.shift.copy_(shift)
        return lower
    normalised = (before - mean).mul_(inverse)
    rows = before.shape[-2]
    torch.sum(upper * normalised, -2, keepdim=True, out=into.scale)
    torch.sum(upper, -2, keepdim=True, out=into.shift)
    normalised.mul_(into.scale / -rows).add_(upper).sub_(into.shift / rows)
    return normalised.mul_(layer.scale * inverse)
