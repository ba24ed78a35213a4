"""An MLP's numbers: where each tensor lies in flat vectors, how they start, how candidates are stacked.

All that a candidate trains lies in two vectors, so that one optimiser step and one average serve all of it: ``table``,
the embedding and the linear path beside it, and ``mlp``, for every hidden layer its weight (inputs, outputs), scale and
shift of BatchNorm, and at the end weight and bias of the output. A third one is there if fields are interpolated:
``slopes``, of the lines that their knots keep to (`trails.training.knots`), which prediction does not read. ``stats``
holds BatchNorm's mean and variance of every layer. Candidates trained together share such vectors, each padded with
zeros to the widest of every layer: a unit that is padding is zero, gets no gradient and stays zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from trails.family.design import Design
from trails.family.networks import Shape
from trails.training.weights import EMBEDDING_STD, SLOPE_STD, SLOPES, TABLE, Weights

MLP, STATS = "mlp", "stats"
"""Names of the vectors beside `TABLE` and `SLOPES`."""


@dataclass(frozen=True)
class HiddenLayer:
    """Views of one hidden layer: weight (..., inputs, outputs), scale and shift (..., 1, outputs)."""

    weight: Tensor
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Layers:
    """Views of a flat ``mlp`` vector: the hidden layers, the output's weight (..., inputs, outputs) and bias (..., 1,
    outputs)."""

    hidden: tuple[HiddenLayer, ...]
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class MlpLayout:
    """Where tensors lie in the flat vectors.

    Args:
        shape: What the table asks of the network.
        design: Hidden widths.
        stacked: Candidates that share the vectors; 1 for a candidate's own.
    """

    shape: Shape
    design: Design
    stacked: int = 1

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of the vectors."""
        shape, widths = self.shape, self.design
        table = shape.ids * shape.row
        hidden = sum((fan_in + 2) * fan_out for fan_in, fan_out in pairwise((shape.inputs, *widths)))
        mlp = hidden + (widths[-1] + 1) * shape.outputs
        sizes = {TABLE: table, MLP: mlp, STATS: 2 * sum(widths)}
        if shape.interpolated:
            sizes[SLOPES] = shape.interpolated * shape.row
        return {name: self.stacked * size for name, size in sizes.items()}

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        sizes = self.sizes
        return sizes[TABLE] + sizes[MLP]

    @property
    def stored(self) -> int:
        """Numbers of a model that is kept."""
        return self.parameters

    def training_bytes(self, rows: int) -> int:
        """Weights, moments and averages, and what a batch leaves behind."""
        return 4 * (6 * self.parameters + rows * (path_numbers(self.shape) + self.shape.inputs + 3 * sum(self.design)))

    def mlp(self, flat: Tensor) -> Layers:
        """Views of a vector ``mlp``; a candidate's own have no stack dimension."""
        take = Taker(flat, self.stacked)
        hidden = tuple(
            HiddenLayer(take(fan_in, fan_out), take(1, fan_out), take(1, fan_out))
            for fan_in, fan_out in pairwise((self.shape.inputs, *self.design))
        )
        return Layers(hidden, take(self.design[-1], self.shape.outputs), take(1, self.shape.outputs))

    def stats(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean and variance (..., 1, outputs) of every hidden layer in a vector ``stats``."""
        take = Taker(flat, self.stacked)
        return [(take(1, width), take(1, width)) for width in self.design]

    def table(self, flat: Tensor) -> Tensor:
        """The vector ``table`` as rows: (stacked * ids, embedding), or wider by the outputs with a linear path."""
        return flat.view(self.stacked * self.shape.ids, self.shape.row)

    def slopes(self, flat: Tensor) -> Tensor:
        """The vector ``slopes`` as lines: (stacked, interpolated fields, numbers of a row of the table)."""
        return flat.view(self.stacked, self.shape.interpolated, self.shape.row)


def path_numbers(shape: Shape) -> int:
    """Numbers of four bytes that a row leaves behind in a batch for the linear path's sake: it is split off what is
    looked up, and put back to its gradient, of which every number has a place of eight bytes."""
    return 4 * shape.looked_up if shape.linear_path else 0


class Taker:
    """Cuts views off the front of a vector.

    Args:
        flat: The vector.
        stacked: A dimension that all views have before their own; 1 for none.
    """

    def __init__(self, flat: Tensor, stacked: int = 1) -> None:
        self._flat, self._stacked, self._place = flat, () if stacked == 1 else (stacked,), 0

    def __call__(self, *shape: int) -> Tensor:
        """The next view, of this shape."""
        shape = (*self._stacked, *shape)
        begin, self._place = self._place, self._place + math.prod(shape)
        return self._flat[begin : self._place].view(shape)


def initial(layout: MlpLayout, seed: int) -> Weights:
    """Fresh weights of one candidate on the CPU, from ``seed`` alone.

    Table: normal, mean 0, standard deviation `EMBEDDING_STD`; of the linear path 0, as in its slopes. Weights and the
    output's bias: uniform within 1 / sqrt(inputs of the layer), PyTorch's own choice for linear layers. Scale and
    variance 1, the rest 0. Slopes: normal, standard deviation `SLOPE_STD`; the first step of training lays knots on the
    lines.
    """
    made = Weights.zeros(layout.sizes, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    _draw(made[TABLE], layout.shape, EMBEDDING_STD, generator)
    mlp = layout.mlp(made[MLP])
    for layer in mlp.hidden:
        bound = 1.0 / math.sqrt(layer.weight.shape[-2])
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.scale.fill_(1.0)
    bound = 1.0 / math.sqrt(layout.design[-1])
    mlp.weight.uniform_(-bound, bound, generator=generator)
    mlp.bias.uniform_(-bound, bound, generator=generator)
    for _, variance in layout.stats(made[STATS]):
        variance.fill_(1.0)
    if layout.shape.interpolated:
        # Last, so that they change nothing of what is drawn without them.
        _draw(made[SLOPES], layout.shape, SLOPE_STD, generator)
    return made


def _draw(flat: Tensor, shape: Shape, std: float, generator: torch.Generator) -> None:
    """Fill the vectors of rows with numbers, which are the same with a linear path behind them and without."""
    if shape.row == shape.embedding:
        flat.normal_(std=std, generator=generator)
        return
    vectors = flat.view(-1, shape.row)[:, : shape.embedding]
    vectors.copy_(torch.empty(vectors.shape).normal_(std=std, generator=generator))


def together(layouts: Sequence[MlpLayout]) -> MlpLayout:
    """Of candidates side by side: as wide as the widest in every layer."""
    widths = tuple(max(layer) for layer in zip(*(layout.design for layout in layouts), strict=True))
    return MlpLayout(layouts[0].shape, widths, len(layouts))


def stack(each: Sequence[Weights], layouts: Sequence[MlpLayout], into: MlpLayout, device: torch.device) -> Weights:
    """Candidates' numbers side by side, padded with zeros; one alone is taken as it is, without a copy."""
    if into.stacked == 1:
        return each[0].to(device)
    made = Weights.zeros(into.sizes, device)
    for place, (weights, layout) in enumerate(zip(each, layouts, strict=True)):
        for inside, own in _pairs(made, into, place, weights, layout):
            inside.copy_(own)
    return made


def unstack(stacked: Weights, out_of: MlpLayout, place: int, layout: MlpLayout) -> Weights:
    """The numbers of the candidate at ``place``, copied out of the stack; those of one alone are not copied."""
    if out_of.stacked == 1:
        return stacked
    own = Weights.zeros(layout.sizes, stacked.device)
    for inside, outside in _pairs(stacked, out_of, place, own, layout):
        outside.copy_(inside)
    return own


def _pairs(
    stacked: Weights, wide: MlpLayout, place: int, own: Weights, layout: MlpLayout
) -> list[tuple[Tensor, Tensor]]:
    """Every tensor of a candidate: its part of the stack, and its own."""
    ids = layout.shape.ids
    whole = [(wide.table(stacked[TABLE])[place * ids : (place + 1) * ids], layout.table(own[TABLE]))]
    if layout.shape.interpolated:
        whole.append((wide.slopes(stacked[SLOPES])[place], layout.slopes(own[SLOPES])[0]))
    pairs: list[tuple[Tensor, Tensor]] = []
    a, b = wide.mlp(stacked[MLP]), layout.mlp(own[MLP])
    for padded, exact in zip(a.hidden, b.hidden, strict=True):
        pairs += [(padded.weight, exact.weight), (padded.scale, exact.scale), (padded.shift, exact.shift)]
    pairs += [(a.weight, b.weight), (a.bias, b.bias)]
    for wides, narrows in zip(wide.stats(stacked[STATS]), layout.stats(own[STATS]), strict=True):
        pairs += zip(wides, narrows, strict=True)
    return [*whole, *((w[place, : n.shape[0], : n.shape[1]], n) for w, n in pairs)]
