"""An MLP of several members that share their matrices: as good as so many networks, for less than half of the time.

The members share the embedding and every matrix of the hidden layers. Each has of its own a vector that what the first
layer reads is multiplied by, scale and shift of every BatchNorm, and the output. The vectors begin as random signs, so
that members begin as different networks. That is BatchEnsemble (Wen, Tran and Ba, ICLR 2020) as Gorishniy, Kotelnikov
and Babenko have it for tables (TabM, ICLR 2025). Members train on the same batches, each by its own loss; what is
predicted is the mean of what they put out.

Vectors that multiply what the first layer puts out would have its product, the largest, computed once for all members.
That was tried: members then are so alike that nothing is gained (satellite, 256-64-32-16, eight members, test log loss:
.284 with the vectors before the product, .296 with those behind it, .289 of one network).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trails.family.design import Design
from trails.family.mlp.counts import multiply_accumulates
from trails.family.mlp.embedded import EmbeddedStack, embedded_rows
from trails.family.mlp.layout import MLP, STATS, HiddenLayer, Layers, MlpLayout, Taker, initial, path_numbers
from trails.family.mlp.norm import norm, norm_backward
from trails.family.networks import ModelFacts, Networks, Shape, Work
from trails.model.operations import Add, Linear, LinearPath, Mean, Operation, Relu, Scale
from trails.model.store import Model
from trails.table.target import Task
from trails.training import kernels
from trails.training.heads import mean_loss
from trails.training.kernels import EPSILON
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.stack import drop, predict_in_chunks
from trails.training.weights import TABLE, Training, Weights


@dataclass(frozen=True)
class MembersLayout:
    """Where tensors lie in the flat vectors.

    Args:
        shape: What the table asks of the network.
        design: Hidden widths.
        members: How many.
    """

    shape: Shape
    design: Design
    members: int

    @property
    def alone(self) -> MlpLayout:
        """Of one network of this design, whose embedding table and slopes lie as these do."""
        return MlpLayout(self.shape, self.design)

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of the vectors."""
        shape, widths = self.shape, self.design
        shared = sum(fan_in * fan_out for fan_in, fan_out in pairwise((shape.inputs, *widths)))
        own = shape.inputs + 2 * sum(widths) + (widths[-1] + 1) * shape.outputs
        return {**self.alone.sizes, MLP: shared + self.members * own, STATS: 2 * self.members * sum(widths)}

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        sizes = self.sizes
        return sizes[TABLE] + sizes[MLP]

    @property
    def stored(self) -> int:
        """Numbers of a model that is kept: of every member a first matrix of its own."""
        return self.parameters + (self.members - 1) * self.shape.inputs * self.design[0]

    def training_bytes(self, rows: int) -> int:
        """Weights, moments and averages, and what a batch leaves behind."""
        each = 3 * self.shape.inputs + 3 * sum(self.design)
        shared = path_numbers(self.shape) + self.shape.inputs
        return 4 * (6 * self.parameters + rows * (shared + self.members * each))

    def mlp(self, flat: Tensor) -> Layers:
        """Views of a vector ``mlp``: weights (inputs, outputs), which are shared, and what members have of their own:
        scales and shifts (members, 1, outputs), the output's weight (members, inputs, outputs) and bias (members, 1,
        outputs). Behind them lie the `adapters`."""
        take, own = Taker(flat), self.members
        hidden = tuple(
            HiddenLayer(take(fan_in, fan_out), take(own, 1, fan_out), take(own, 1, fan_out))
            for fan_in, fan_out in pairwise((self.shape.inputs, *self.design))
        )
        last, outputs = self.design[-1], self.shape.outputs
        return Layers(hidden, take(own, last, outputs), take(own, 1, outputs))

    def stats(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean and variance (members, 1, outputs) of every hidden layer in a vector ``stats``."""
        take, own = Taker(flat), self.members
        return [(take(own, 1, width), take(own, 1, width)) for width in self.design]

    def adapters(self, flat: Tensor) -> Tensor:
        """What members multiply their inputs by, (members, 1, inputs), in a vector ``mlp``."""
        return flat[-self.members * self.shape.inputs :].view(self.members, 1, self.shape.inputs)


def initial_members(layout: MembersLayout, seed: int) -> Weights:
    """Fresh weights on the CPU, from ``seed`` alone.

    What is shared is as `trails.family.mlp.layout.initial` has it. Adapters are 1 and -1 at random, and every member's
    outputs are drawn for itself.
    """
    alone = initial(layout.alone, seed)
    made = Weights.zeros(layout.sizes, torch.device("cpu"))
    for name in made.sizes:
        if name not in (MLP, STATS):
            made[name].copy_(alone[name])
    generator = torch.Generator().manual_seed(seed + 1)
    mlp = layout.mlp(made[MLP])
    for layer, drawn in zip(mlp.hidden, layout.alone.mlp(alone[MLP]).hidden, strict=True):
        layer.weight.copy_(drawn.weight)
        layer.scale.fill_(1.0)
    layout.adapters(made[MLP]).bernoulli_(0.5, generator=generator).mul_(2.0).sub_(1.0)
    bound = 1.0 / math.sqrt(layout.design[-1])
    mlp.weight.uniform_(-bound, bound, generator=generator)
    mlp.bias.uniform_(-bound, bound, generator=generator)
    for _, variance in layout.stats(made[STATS]):
        variance.fill_(1.0)
    return made


class MembersStack(EmbeddedStack):
    """One network of several members in training; arguments as of `trails.family.mlp.stack.MlpStack`."""

    def __init__(
        self,
        layout: MembersLayout,
        training: Training,
        data: EncodedRows,
        options: Options,
        seed: int,
        name: str,
        task: Task = "binary",
    ) -> None:
        parts = [part.to(data.labels.device) for part in training.parts()]
        state = Training(parts[0], parts[1], parts[2], parts[3], training.steps)
        super().__init__(layout.alone, state, data, options, seed, [name], task)
        self._layout = layout
        self._mlp, self._into = layout.mlp(state.weights[MLP]), layout.mlp(self._gradient)
        self._matrices = [layer.weight for layer in self._mlp.hidden]
        self._stats = layout.stats(state.weights[STATS])
        self._adapters, self._into_adapters = layout.adapters(state.weights[MLP]), layout.adapters(self._gradient)

    def training(self, place: int) -> Training:
        """What the network goes on from, elsewhere or later."""
        return self._state

    def averaged(self, place: int) -> Weights:
        """A copy of the averaged weights."""
        return self._state.average.copy()

    def _backward(self, rows: EncodedRows) -> tuple[Tensor, Tensor]:
        """The mean loss (1,) of the members and the gradient of the table; that of the rest goes to ``_gradient``."""
        mlp, gradient, members = self._mlp, self._into, self._layout.members
        embedded, direct = self._embed(rows.ids, rows)
        keep = 1.0 - self._dropout

        inputs, kept = [embedded * self._adapters], []
        for layer, stats in zip(mlp.hidden, self._stats, strict=True):
            products = (inputs[-1].flatten(0, 1) @ layer.weight).view(members, len(rows), -1)
            hidden, moments = norm(products, layer, stats)
            kept.append((products, moments))
            inputs.append(self._activated(hidden, keep))
        outputs = torch.baddbmm(mlp.bias, inputs[-1], mlp.weight)
        losses, last = mean_loss(self._task, outputs if direct is None else outputs.add_(direct), rows)

        last.div_(members)
        torch.matmul(inputs[-1].mT, last, out=gradient.weight)
        torch.sum(last, -2, keepdim=True, out=gradient.bias)
        upper = last @ mlp.weight.mT
        for number in reversed(range(len(mlp.hidden))):
            layer, into = mlp.hidden[number], gradient.hidden[number]
            upper = self._passed(upper, inputs[number + 1], keep)
            products, moments = kept[number]
            upper = norm_backward(upper, products, layer, moments, into)
            flat = upper.flatten(0, 1)
            torch.matmul(inputs[number].flatten(0, 1).mT, flat, out=into.weight)
            upper = (flat @ layer.weight.mT).view(members, len(rows), -1)
        torch.sum(upper * embedded, -2, keepdim=True, out=self._into_adapters)
        upper = (upper * self._adapters).sum(0)
        return losses.mean().view(1), self._table_gradient(upper, last.sum(0), rows.ids, rows)

    def _activated(self, hidden: Tensor, keep: float) -> Tensor:
        """ReLU and dropout of (members, rows, outputs), in place."""
        hidden = hidden.relu_()
        if keep < 1.0:
            drop(hidden, self._dropout, self._masks[0])
            hidden.div_(keep)
        return hidden

    def _passed(self, upper: Tensor, outputs: Tensor, keep: float) -> Tensor:
        """The gradient of what `_activated` made ``outputs`` of: what was dropped is zero, as what ReLU cut."""
        upper = kernels.relu_backward(upper, outputs)
        return upper.div_(keep) if keep < 1.0 else upper

    def predict(self, rows: EncodedRows, keep_going: Callable[[], bool] = lambda: True) -> Tensor | None:
        """See `trails.family.networks.Stack`."""
        return _predict(self._layout, self._state.average, rows, keep_going)


def predict_together(layout: MembersLayout, weights: Weights, rows: EncodedRows) -> Tensor:
    """What the members predict together: float32 (rows,) or (rows, outputs) on the CPU."""
    found = _predict(layout, weights, rows, lambda: True)
    assert found is not None, "nobody gives up"
    return found[0]


@torch.inference_mode()
def _predict(
    layout: MembersLayout, weights: Weights, rows: EncodedRows, keep_going: Callable[[], bool]
) -> Tensor | None:
    mlp, table, scaled = layout.mlp(weights[MLP]), layout.alone.table(weights[TABLE]), scales(layout, weights)
    adapters = layout.adapters(weights[MLP])

    def forward(chunk: EncodedRows) -> Tensor:
        embedded, direct = embedded_rows(table, layout.shape, chunk)
        total = embedded.new_zeros(len(chunk), layout.shape.outputs)
        # One after the other: together they would need members times the memory, and be no faster.
        for member in range(layout.members):
            hidden = embedded * adapters[member]
            for layer, (factor, shift) in zip(mlp.hidden, scaled, strict=True):
                hidden = torch.addcmul(shift[member], hidden @ layer.weight, factor[member]).relu_()
            total += torch.addmm(mlp.bias[member], hidden, mlp.weight[member])
        total.div_(layout.members)
        return (total if direct is None else total.add_(direct)).unsqueeze(0)

    return predict_in_chunks(forward, rows, keep_going)


def scales(layout: MembersLayout, weights: Weights) -> Sequence[tuple[Tensor, Tensor]]:
    """Of every hidden layer, what each member's products are multiplied by and what is added, (members, 1, outputs):
    BatchNorm as prediction needs it."""
    made = []
    mlp, stats = layout.mlp(weights[MLP]), layout.stats(weights[STATS])
    for layer, (mean, variance) in zip(mlp.hidden, stats, strict=True):
        factor = layer.scale * torch.rsqrt(variance + EPSILON)
        made.append((factor, layer.shift - mean * factor))
    return made


class MembersNetworks:
    """How MLPs of so many members are trained and used; see `trails.family.networks.Networks`."""

    most_stacked: int | None = 1

    def __init__(self, members: int) -> None:
        self.members = members

    def with_members(self, members: int) -> Networks[Any] | None:
        """See `trails.family.networks.Networks`."""
        return MembersNetworks(members)

    def layout(self, shape: Shape, design: Design) -> MembersLayout:
        """Of one network."""
        return MembersLayout(shape, design, self.members)

    def work(self, shape: Shape, design: Design) -> Work:
        """What it costs; a single output is counted, as of one alone."""
        products = self.members * multiply_accumulates(design, shape.inputs)
        activations = self.members * sum(design)
        inputs = shape.looked_up + self.members * shape.inputs
        return Work(products, activations, inputs, MembersLayout(shape, design, self.members).parameters)

    def initial(self, layout: MembersLayout, seed: int) -> Weights:
        """Fresh weights on the CPU, from ``seed`` alone; see `initial_members`."""
        return initial_members(layout, seed)

    def stack(
        self,
        layouts: Sequence[MembersLayout],
        trainings: Sequence[Training],
        rows: EncodedRows,
        options: Options,
        seed: int,
        names: Sequence[str],
        task: Task,
    ) -> MembersStack:
        """One network ready to train: these are not stacked."""
        (layout,), (training,), (name,) = layouts, trainings, names
        return MembersStack(layout, training, rows, options, seed, name, task)

    def predict(self, layout: MembersLayout, weights: Weights, rows: EncodedRows) -> Tensor:
        """What the members predict together: float32 (rows,) or (rows, outputs) on the CPU."""
        return predict_together(layout, weights, rows)

    def export(self, layout: MembersLayout, weights: Weights, facts: ModelFacts) -> Model:
        """Members side by side, and the mean of what they put out.

        What a member multiplies its inputs by is part of its first matrix, so that this product can be had beforehand;
        all other matrices are stored once.
        """
        mlp, scaled = layout.mlp(weights[MLP]), scales(layout, weights)
        shared = [(array_of(layer.weight), np.zeros(layer.weight.shape[1], np.float32)) for layer in mlp.hidden]
        first, (factors, shifts) = mlp.hidden[0].weight, scaled[0]
        adapters = layout.adapters(weights[MLP])
        computed: list[Operation] = []
        outputs = []
        for member in range(layout.members):
            own = first * adapters[member].mT * factors[member]
            computed.append(Linear(0, array_of(own), array_of(shifts[member]).reshape(-1)))
            computed.append(Relu(len(computed)))
            for (weight, nothing), (factor, shift) in zip(shared[1:], scaled[1:], strict=True):
                computed.append(Linear(len(computed), weight, nothing))
                factors_of = array_of(factor[member]).reshape(-1), array_of(shift[member]).reshape(-1)
                computed.append(Scale(len(computed), *factors_of))
                computed.append(Relu(len(computed)))
            computed.append(Linear(len(computed), array_of(mlp.weight[member]), array_of(mlp.bias[member]).reshape(-1)))
            outputs.append(len(computed))
        computed.append(Mean(tuple(outputs)))
        embedding, computed = beside_path(layout.alone, weights, computed)
        return Model(
            facts.architecture,
            facts.target,
            facts.encoder,
            embedding,
            tuple(computed),
            facts.metrics,
            {**facts.training, "members": layout.members},
        )


def beside_path(
    layout: MlpLayout, weights: Weights, computed: Sequence[Operation]
) -> tuple[NDArray[np.float32], list[Operation]]:
    """The embedding of a stored model and its operations, at the end of which the linear path is added."""
    shape, table = layout.shape, array_of(layout.table(weights[TABLE]))
    if not shape.linear_path:
        return table, list(computed)
    vectors, path = (np.ascontiguousarray(part) for part in np.split(table, [shape.embedding], axis=1))
    return vectors, [*computed, LinearPath(path), Add((len(computed), len(computed) + 1))]


def array_of(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor's numbers, on the CPU, without its history."""
    found: NDArray[np.float32] = tensor.detach().cpu().numpy()
    return found
