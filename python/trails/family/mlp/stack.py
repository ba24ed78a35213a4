"""Trains candidates side by side: one pass over the rows, one batched product per layer, one optimiser step.

Forward and backward are written out instead of recorded by autograd: the networks are all of one kind, every
intermediate is used once, and gradients land in the flat vector that the optimiser reads. Tests compare them
with autograd on `trails.model.network.TabularMlp`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trails.family.mlp.layout import Layer, Layout, Mlp, Weights, derived_seed, stack, unstack
from trails.refinement.dataset import Rows
from trails.refinement.options import Options
from trails.table.target import Task
from trails.training import kernels
from trails.training.kernels import EPSILON
from trails.training.optimiser import adam_step, average_decay

EVALUATION_ROWS = 4096
"""Validation rows predicted at once."""


@dataclass
class Training:
    """What training goes on from: a candidate's weights, the optimiser's moments, the averaged weights."""

    weights: Weights
    mean: Weights
    square: Weights
    average: Weights
    steps: int = 0

    @classmethod
    def begin(cls, layout: Layout, seed: int) -> Training:
        """Of a candidate that was never trained."""
        weights = Weights.initial(layout, seed)
        device = weights.mlp.device
        return cls(weights, Weights.zeros(layout, device), Weights.zeros(layout, device), weights.copy())

    def parts(self) -> tuple[Weights, Weights, Weights, Weights]:
        """Weights, both moments, average."""
        return self.weights, self.mean, self.square, self.average


def batches_of(rows: int, options: Options) -> int:
    """Batches of an epoch; all of nearly the same size, so that none is left with a single row.

    Small tables get batches of a 64th of their rows, but 64 at least.
    """
    rows = rows_of_epoch(rows, options)
    size = min(options.batch, max(min(64, options.batch), rows // 64))
    return max(1, -(-rows // size))


def passes_of(rows: int, options: Options) -> int:
    """Epochs that it takes to see every row once: above one for very large tables, which learn much in a part."""
    return -(-rows // options.epoch_rows)


def rows_of_epoch(rows: int, options: Options) -> int:
    """Rows of an epoch; the last of several may have some more."""
    return rows // passes_of(rows, options)


class Stack:
    """Candidates of the same age that train together.

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
        layouts: Sequence[Layout],
        trainings: Sequence[Training],
        data: Rows,
        options: Options,
        seed: int,
        names: Sequence[str] | None = None,
        task: Task = "binary",
    ) -> None:
        self._layouts, self._data, self._options, self._seed = list(layouts), data, options, seed
        self._names = list(names or map(str, range(len(layouts))))
        first = layouts[0]
        widths = tuple(max(layer) for layer in zip(*(layout.widths for layout in layouts), strict=True))
        self._layout = Layout(first.ids, first.embedding, first.inputs, widths, len(layouts), first.outputs)
        self._head = HEADS[task]
        device = data.labels.device
        self._weights, self._mean, self._square, self._average = (
            stack(parts, layouts, self._layout, device) for parts in zip(*(t.parts() for t in trainings), strict=True)
        )
        self._dropout, self._embedding_l2 = options.regularisation(len(data))
        self._steps = trainings[0].steps
        self._gradient = torch.zeros_like(self._weights.mlp)
        # Views are made once: dozens of them in every step would cost a small network several percent.
        self._mlp, self._into = self._layout.mlp(self._weights.mlp), self._layout.mlp(self._gradient)
        self._stats = self._layout.stats(self._weights.stats)
        self.batches = batches_of(len(data), options)
        self._masks = self._mask_generators(0)
        self._within = torch.arange(first.embedding, device=device)
        # Where each candidate's embedding begins among the stacked tables.
        self._firsts = torch.arange(len(layouts), device=device).view(-1, 1, 1) * first.ids

    def __len__(self) -> int:
        return len(self._layouts)

    def training(self, place: int) -> Training:
        """What the candidate at ``place`` goes on from, elsewhere or later."""
        own = [unstack(weights, self._layout, place, self._layouts[place]) for weights in self._parts()]
        return Training(own[0], own[1], own[2], own[3], self._steps)

    def averaged(self, place: int) -> Weights:
        """A copy of the averaged weights of the candidate at ``place``."""
        own = unstack(self._average, self._layout, place, self._layouts[place])
        return own.copy() if self._layout.stacked == 1 else own

    def _rate(self, epochs: float) -> float:
        """Factor of the learning rates after so many epochs, whoever paid for them: rungs leave no mark on it."""
        return 1.0 / (1.0 + self._options.decay * epochs)

    def _parts(self) -> tuple[Weights, Weights, Weights, Weights]:
        return self._weights, self._mean, self._square, self._average

    @torch.inference_mode()
    def train_epoch(self, epoch: int, keep_going: Callable[[float], bool]) -> Tensor:
        """Pass once over the training rows, or over the epoch's part of very many.

        Args:
            epoch: Number of the epoch, from 1: with the run's seed it gives the order of the rows.
            keep_going: Called after every batch with the share of the epoch done; False ends it.

        Returns:
            float64 (candidates,) on the CPU: mean loss in nats of the rows seen, each before its step.
        """
        rows = self._data
        self._masks = self._mask_generators(epoch)
        shuffled = rows.take(self._order(epoch).to(rows.labels.device))
        ends = [len(shuffled) * number // self.batches for number in range(self.batches + 1)]
        losses = torch.zeros(len(self), device=rows.labels.device, dtype=torch.float64)
        seen = 0
        for number in range(self.batches):
            start, end = ends[number], ends[number + 1]
            rate = self._rate(epoch - 1 + number / self.batches)
            losses += self.step(shuffled.slice(start, end), rate) * (end - start)
            seen = end
            if rows.labels.is_cuda:
                torch.cuda.synchronize(rows.labels.device)
            if not keep_going((number + 1) / self.batches):
                break
        return (losses / seen).cpu()

    def _order(self, epoch: int) -> Tensor:
        """Numbers of the epoch's rows, shuffled; several epochs may make one pass over all."""
        rows, passes = len(self._data), passes_of(len(self._data), self._options)
        number, part = divmod(epoch - 1, passes)
        seed = derived_seed(self._seed, epoch) if passes == 1 else derived_seed(self._seed, "pass", number)
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
        return order[rows * part // passes : rows * (part + 1) // passes]

    @torch.inference_mode()
    def step(self, rows: Rows, rate: float = 1.0) -> Tensor:
        """One optimiser step on ``rows``; the mean loss (candidates,) before it, in nats."""
        options = self._options
        loss, table_gradient = self._backward(rows)
        self._steps += 1
        weights, mean, square = self._weights, self._mean, self._square
        adam_step(
            weights.table,
            table_gradient,
            mean.table,
            square.table,
            self._steps,
            rate * options.embedding_rate,
            self._embedding_l2,
        )
        adam_step(weights.mlp, self._gradient, mean.mlp, square.mlp, self._steps, rate * options.learning_rate, 0.0)
        if options.weight_decay:
            keep = 1.0 - rate * options.learning_rate * options.weight_decay
            for layer in self._mlp.layers:
                layer.weight.mul_(keep)
        share = 1.0 - average_decay(self._steps, options.average * self.batches)
        kernels.lerp(self._average.tensors(), weights.tensors(), share)
        return loss

    def _backward(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Loss (candidates,) and the gradient of the tables; that of the MLP goes to ``_gradient``."""
        layout, mlp, gradient = self._layout, self._mlp, self._into
        ids = rows.ids if len(self) == 1 else rows.ids + self._firsts
        hidden = self._embed(ids, rows)
        inputs, kept = [hidden], []
        keep = 1.0 - self._dropout
        for layer, stats in zip(mlp.layers, self._stats, strict=True):
            before = hidden @ layer.weight
            hidden, saved = _norm(before, layer, stats)
            kept.append((before, saved))
            hidden = hidden.relu_()
            if keep < 1.0:
                self._drop(hidden, len(inputs) - 1)
            inputs.append(hidden)
        losses, upper = self._head((hidden @ mlp.weight).add_(mlp.bias), rows.labels)
        if rows.weights is not None:
            losses, upper = losses * rows.weights, upper.mul_(rows.weights.unsqueeze(-1))
        loss, upper = losses.mean(-1), upper.div_(len(rows))

        torch.matmul(hidden.mT, upper, out=gradient.weight)
        torch.sum(upper, -2, keepdim=True, out=gradient.bias)
        upper = upper * mlp.weight.mT if layout.outputs == 1 else upper @ mlp.weight.mT
        for number in reversed(range(len(mlp.layers))):
            layer, into = mlp.layers[number], gradient.layers[number]
            before, saved = kept[number]
            # What was dropped is zero and passes nothing back, as what ReLU cut.
            upper = kernels.relu_backward(upper, inputs[number + 1])
            if keep < 1.0:
                upper.div_(keep)
            upper = _norm_backward(upper, before, layer, saved, into)
            torch.matmul(inputs[number].mT, upper, out=into.weight)
            upper = upper @ layer.weight.mT
        if rows.values is not None:
            upper = upper.view(*ids.shape, layout.embedding) * rows.values.unsqueeze(-1)
        return loss.view(-1), self._table_gradient(upper, ids)

    def _mask_generators(self, epoch: int) -> list[np.random.Generator]:
        seeds = (derived_seed(self._seed, name, epoch) for name in self._names)
        return [np.random.Generator(np.random.SFC64(seed)) for seed in seeds]

    def _drop(self, hidden: Tensor, layer: int) -> None:
        """Set a share of (..., rows, outputs) to zero and scale up the rest; the share is rounded to 256ths.

        Drawn as bytes, for each candidate in its own width: what it drops does not depend on its neighbours.
        """
        least = round(256 * self._dropout)
        for place, (own, generator) in enumerate(zip(self._layouts, self._masks, strict=True)):
            part = hidden if len(self) == 1 else hidden[place, :, : own.widths[layer]]
            drawn = torch.from_numpy(generator.integers(0, 256, tuple(part.shape), np.uint8))
            part.mul_((drawn >= least).to(part))
        hidden.div_(1.0 - self._dropout)

    def _table_gradient(self, upper: Tensor, ids: Tensor) -> Tensor:
        """Flat gradient of the tables from that of the embedded rows."""
        layout, size = self._layout, self._layout.embedding
        if upper.is_cuda:
            rows = upper.reshape(-1, size)
            return kernels.embedding_backward(rows, ids.reshape(-1), layout.stacked * layout.ids).view(-1)
        # Number by number: on a core 90 microseconds where PyTorch's own, row by row, takes 500.
        places = ids.reshape(-1, 1) * size + self._within
        return upper.new_zeros(layout.table_size).scatter_add_(0, places.view(-1), upper.reshape(-1))

    def _embed(self, ids: Tensor, rows: Rows) -> Tensor:
        """Embedded rows (..., rows, inputs)."""
        embedded = torch.nn.functional.embedding(ids, self._layout.table(self._weights.table))
        if rows.values is not None:
            embedded *= rows.values.unsqueeze(-1)
        return embedded.flatten(-2)

    def predict(self, rows: Rows, keep_going: Callable[[], bool] = lambda: True) -> Tensor | None:
        """What is predicted by the averaged weights: logits, or standardised values.

        Args:
            rows: On the stack's device.
            keep_going: Called between chunks of rows; False gives up.

        Returns:
            float32 (candidates, rows), or (candidates, rows, outputs) of several, on the CPU; None if given up.
        """
        return _predict(self._layout, self._average, rows, self._firsts, keep_going)


def predict_alone(layout: Layout, weights: Weights, rows: Rows) -> Tensor:
    """What one candidate's ``weights`` predict: float32 (rows,) or (rows, outputs) on the CPU."""
    found = _predict(layout, weights, rows, None, lambda: True)
    assert found is not None, "nobody gives up"
    return found[0]


@torch.inference_mode()
def _predict(
    layout: Layout, weights: Weights, rows: Rows, firsts: Tensor | None, keep_going: Callable[[], bool]
) -> Tensor | None:
    """See `Stack.predict`; ``firsts``, where each candidate's embedding begins, is not read of one alone."""
    mlp, table = layout.mlp(weights.mlp), layout.table(weights.table)
    folded = fold(mlp, layout.stats(weights.stats))
    chunks: list[Tensor] = []
    for start in range(0, len(rows), EVALUATION_ROWS):
        chunk = rows.slice(start, min(start + EVALUATION_ROWS, len(rows)))
        ids = chunk.ids if layout.stacked == 1 or firsts is None else chunk.ids + firsts
        hidden = torch.nn.functional.embedding(ids, table)
        if chunk.values is not None:
            hidden *= chunk.values.unsqueeze(-1)
        hidden = hidden.flatten(-2)
        for weight, shift in folded:
            hidden = (hidden @ weight).add_(shift).relu_()
        outputs = (hidden @ mlp.weight).add_(mlp.bias).view(layout.stacked, -1, layout.outputs)
        chunks.append(outputs.squeeze(-1))
        if rows.labels.is_cuda:
            torch.cuda.synchronize(rows.labels.device)
        if not keep_going() and start + EVALUATION_ROWS < len(rows):
            return None
    return torch.cat(chunks, 1).cpu()


def fold(mlp: Mlp, stats: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every hidden layer with its BatchNorm folded in, as prediction needs it."""
    folded = []
    for layer, (mean, variance) in zip(mlp.layers, stats, strict=True):
        factor = layer.scale * torch.rsqrt(variance + EPSILON)
        folded.append((layer.weight * factor, layer.shift - mean * factor))
    return folded


def _binary(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.squeeze(-1)
    losses = torch.nn.functional.softplus(logits).sub_(logits * labels)
    return losses, torch.sigmoid(logits).sub_(labels).unsqueeze(-1)


def _multiclass(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logs = torch.log_softmax(logits, -1)
    places = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    losses = logs.gather(-1, places).squeeze(-1).neg()
    return losses, logs.exp_().scatter_add_(-1, places, torch.full_like(losses, -1.0).unsqueeze(-1))


def _regression(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    error = outputs.squeeze(-1) - labels
    return error.square() / 2, error.unsqueeze(-1)


HEADS: dict[Task, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}
"""By task: outputs (..., rows, outputs) and labels (rows,) to each row's loss (..., rows) and its gradient by the
outputs. The losses are binary cross-entropy, cross-entropy, and half the squared error of the standardised target."""


def _norm(before: Tensor, layer: Layer, stats: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
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


def _norm_backward(upper: Tensor, before: Tensor, layer: Layer, saved: tuple[Tensor, Tensor], into: Layer) -> Tensor:
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
