"""Trains MLPs side by side: one pass over the rows, one batched product per layer, one optimiser step.

Forward and backward are written out instead of recorded by autograd: the networks are all of one kind, every
intermediate is used once, and gradients land in the flat vector that the optimiser reads. Tests compare them
with autograd on a network of PyTorch's own layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trails.family.mlp.embedded import EmbeddedStack, embedded_rows
from trails.family.mlp.layout import MLP, STATS, Layers, MlpLayout, stack, together, unstack
from trails.family.mlp.norm import norm, norm_backward
from trails.table.target import Task
from trails.training import kernels
from trails.training.heads import mean_loss
from trails.training.kernels import EPSILON
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.stack import drop, predict_in_chunks
from trails.training.weights import TABLE, Training, Weights


class MlpStack(EmbeddedStack):
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
        self._layouts, self._layout = list(layouts), together(layouts)
        device = data.labels.device
        parts = [
            stack(part, layouts, self._layout, device) for part in zip(*(t.parts() for t in trainings), strict=True)
        ]
        state = Training(parts[0], parts[1], parts[2], parts[3], trainings[0].steps)
        super().__init__(self._layout, state, data, options, seed, names, task)
        self._mlp, self._into = self._layout.mlp(state.weights[MLP]), self._layout.mlp(self._gradient)
        self._matrices = [layer.weight for layer in self._mlp.hidden]
        self._stats = self._layout.stats(state.weights[STATS])

    def training(self, place: int) -> Training:
        """What the candidate at ``place`` goes on from, elsewhere or later."""
        own = [unstack(weights, self._layout, place, self._layouts[place]) for weights in self._state.parts()]
        return Training(own[0], own[1], own[2], own[3], self._state.steps)

    def averaged(self, place: int) -> Weights:
        """A copy of the averaged weights of the candidate at ``place``."""
        own = unstack(self._state.average, self._layout, place, self._layouts[place])
        return own.copy() if self._layout.stacked == 1 else own

    def _backward(self, rows: EncodedRows) -> tuple[Tensor, Tensor]:
        """Loss (candidates,) and the gradient of the tables; that of the MLP goes to ``_gradient``."""
        shape, mlp, gradient = self._layout.shape, self._mlp, self._into
        ids = self._ids(rows)
        hidden, direct = self._embed(ids, rows)
        inputs, kept = [hidden], []
        keep = 1.0 - self._dropout
        for layer, stats in zip(mlp.hidden, self._stats, strict=True):
            before = hidden @ layer.weight
            hidden, saved = norm(before, layer, stats)
            kept.append((before, saved))
            hidden = hidden.relu_()
            if keep < 1.0:
                self._drop(hidden, len(inputs) - 1)
            inputs.append(hidden)
        outputs = (hidden @ mlp.weight).add_(mlp.bias)
        loss, last = mean_loss(self._task, outputs if direct is None else outputs.add_(direct), rows)

        torch.matmul(hidden.mT, last, out=gradient.weight)
        torch.sum(last, -2, keepdim=True, out=gradient.bias)
        upper = last * mlp.weight.mT if shape.outputs == 1 else last @ mlp.weight.mT
        for number in reversed(range(len(mlp.hidden))):
            layer, into = mlp.hidden[number], gradient.hidden[number]
            before, saved = kept[number]
            # What was dropped is zero and passes nothing back, as what ReLU cut.
            upper = kernels.relu_backward(upper, inputs[number + 1])
            if keep < 1.0:
                upper.div_(keep)
            upper = norm_backward(upper, before, layer, saved, into)
            torch.matmul(inputs[number].mT, upper, out=into.weight)
            upper = upper @ layer.weight.mT
        return loss.view(-1), self._table_gradient(upper, last, ids, rows)

    def _drop(self, hidden: Tensor, layer: int) -> None:
        """Set a share of (..., rows, outputs) to zero and scale up the rest.

        Drawn for each candidate in its own width: what it drops does not depend on its neighbours.
        """
        for place, (own, generator) in enumerate(zip(self._layouts, self._masks, strict=True)):
            part = hidden if len(self) == 1 else hidden[place, :, : own.design[layer]]
            drop(part, self._dropout, generator)
        hidden.div_(1.0 - self._dropout)

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
        hidden, direct = embedded_rows(table, layout.shape, chunk, ids)
        for weight, shift in folded:
            hidden = (hidden @ weight).add_(shift).relu_()
        outputs = (hidden @ mlp.weight).add_(mlp.bias)
        if direct is not None:
            outputs.add_(direct)
        return outputs.view(layout.stacked, -1, layout.shape.outputs)

    return predict_in_chunks(forward, rows, keep_going)


def fold(mlp: Layers, stats: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every hidden layer with its BatchNorm folded in, as prediction needs it."""
    folded = []
    for layer, (mean, variance) in zip(mlp.hidden, stats, strict=True):
        factor = layer.scale * torch.rsqrt(variance + EPSILON)
        folded.append((layer.weight * factor, layer.shift - mean * factor))
    return folded
