"""A candidate's numbers: where each tensor lies in flat vectors, how they start, how candidates are stacked.

All that a candidate trains lies in two vectors, so that one optimiser step and one average serve all of it:
``table``, the embedding, and ``mlp``, for every hidden layer its weight (inputs, outputs), scale and shift of
BatchNorm, and at the end weight and bias of the output. ``stats`` holds BatchNorm's mean and variance of every
layer. Candidates trained together share such vectors, each padded with zeros to the widest of every layer: a
unit that is padding is zero, gets no gradient and stays zero.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trails.model.network import EMBEDDING_STD

if TYPE_CHECKING:
    from trails.refinement.dataset import Dataset


def derived_seed(seed: int, *parts: object) -> int:
    """A seed that depends on ``seed`` and ``parts`` only, 63 bits, the same on every machine."""
    digest = hashlib.sha256(repr((seed, *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass(frozen=True)
class Layer:
    """Views of one hidden layer: weight (..., inputs, outputs), scale and shift (..., 1, outputs)."""

    weight: Tensor
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Mlp:
    """Views of a flat ``mlp`` vector: the hidden layers, the output's weight (..., inputs, outputs) and bias (..., 1,
    outputs)."""

    layers: tuple[Layer, ...]
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Layout:
    """Where tensors lie in the flat vectors.

    Args:
        ids: Rows of the embedding table.
        embedding: Size of a category's vector.
        inputs: Numbers that the first layer reads: fields times ``embedding``.
        widths: Hidden widths.
        stacked: Candidates that share the vectors; 1 for a candidate's own.
        outputs: Numbers that are predicted for a row.
    """

    ids: int
    embedding: int
    inputs: int
    widths: tuple[int, ...]
    stacked: int = 1
    outputs: int = 1

    @classmethod
    def of(cls, data: Dataset, embedding: int, widths: tuple[int, ...]) -> Layout:
        """Of one candidate on the rows of ``data``."""
        inputs = data.encoder.fields * embedding
        return cls(data.encoder.ids, embedding, inputs, widths, outputs=data.target.outputs)

    @property
    def table_size(self) -> int:
        """Numbers of the vector ``table``."""
        return self.stacked * self.ids * self.embedding

    @property
    def mlp_size(self) -> int:
        """Numbers of the vector ``mlp``."""
        hidden = sum((fan_in + 2) * fan_out for fan_in, fan_out in pairwise((self.inputs, *self.widths)))
        return self.stacked * (hidden + (self.widths[-1] + 1) * self.outputs)

    @property
    def stats_size(self) -> int:
        """Numbers of the vector ``stats``."""
        return self.stacked * 2 * sum(self.widths)

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return self.table_size + self.mlp_size

    def mlp(self, flat: Tensor) -> Mlp:
        """Views of a vector ``mlp``; a candidate's own have no stack dimension."""
        take = _Taker(flat, self.stacked)
        layers = tuple(
            Layer(take(fan_in, fan_out), take(1, fan_out), take(1, fan_out))
            for fan_in, fan_out in pairwise((self.inputs, *self.widths))
        )
        return Mlp(layers, take(self.widths[-1], self.outputs), take(1, self.outputs))

    def stats(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean and variance (..., 1, outputs) of every hidden layer in a vector ``stats``."""
        take = _Taker(flat, self.stacked)
        return [(take(1, width), take(1, width)) for width in self.widths]

    def table(self, flat: Tensor) -> Tensor:
        """The vector ``table`` as rows: (stacked * ids, embedding)."""
        return flat.view(self.stacked * self.ids, self.embedding)


class _Taker:
    """Cuts views off the front of a vector."""

    def __init__(self, flat: Tensor, stacked: int) -> None:
        self._flat, self._stacked, self._place = flat, stacked, 0

    def __call__(self, rows: int, columns: int) -> Tensor:
        size = self._stacked * rows * columns
        piece = self._flat[self._place : self._place + size]
        self._place += size
        return piece.view(rows, columns) if self._stacked == 1 else piece.view(self._stacked, rows, columns)


@dataclass
class Weights:
    """One set of a candidate's numbers, on one device: what is trained, its average, or a moment of the optimiser."""

    table: Tensor
    mlp: Tensor
    stats: Tensor

    @classmethod
    def zeros(cls, layout: Layout, device: torch.device) -> Weights:
        """All zero: how the optimiser's moments start."""
        return cls(
            *(torch.zeros(size, device=device) for size in (layout.table_size, layout.mlp_size, layout.stats_size))
        )

    @classmethod
    def initial(cls, layout: Layout, seed: int) -> Weights:
        """Fresh weights of one candidate on the CPU, from ``seed`` alone.

        Table: normal, mean 0, standard deviation `EMBEDDING_STD`. Weights and the output's bias: uniform within
        1 / sqrt(inputs of the layer), PyTorch's own choice for linear layers. Scale and variance 1, the rest 0.
        """
        made = cls.zeros(layout, torch.device("cpu"))
        generator = torch.Generator().manual_seed(seed)
        made.table.normal_(std=EMBEDDING_STD, generator=generator)
        mlp = layout.mlp(made.mlp)
        for layer in mlp.layers:
            bound = 1.0 / math.sqrt(layer.weight.shape[-2])
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.scale.fill_(1.0)
        bound = 1.0 / math.sqrt(layout.widths[-1])
        mlp.weight.uniform_(-bound, bound, generator=generator)
        mlp.bias.uniform_(-bound, bound, generator=generator)
        for _, variance in layout.stats(made.stats):
            variance.fill_(1.0)
        return made

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Table, mlp and stats."""
        return self.table, self.mlp, self.stats

    def copy(self) -> Weights:
        """The same numbers in memory of their own."""
        return Weights(*(tensor.clone() for tensor in self.tensors()))

    def to(self, device: torch.device) -> Weights:
        """The same numbers on ``device``."""
        return Weights(*(tensor.to(device) for tensor in self.tensors()))


def stack(each: Sequence[Weights], layouts: Sequence[Layout], together: Layout, device: torch.device) -> Weights:
    """Candidates' numbers side by side, padded with zeros; one alone is taken as it is, without a copy."""
    if together.stacked == 1:
        return each[0].to(device)
    made = Weights.zeros(together, device)
    for place, (weights, layout) in enumerate(zip(each, layouts, strict=True)):
        for inside, own in _pairs(made, together, place, weights, layout):
            inside.copy_(own)
    return made


def unstack(stacked: Weights, together: Layout, place: int, layout: Layout) -> Weights:
    """The numbers of the candidate at ``place``, copied out of the stack; those of one alone are not copied."""
    if together.stacked == 1:
        return stacked
    own = Weights.zeros(layout, stacked.mlp.device)
    for inside, outside in _pairs(stacked, together, place, own, layout):
        outside.copy_(inside)
    return own


def _pairs(stacked: Weights, together: Layout, place: int, own: Weights, layout: Layout) -> list[tuple[Tensor, Tensor]]:
    """Every tensor of a candidate: its part of the stack, and its own."""
    rows = slice(place * layout.ids, (place + 1) * layout.ids)
    pairs = [(together.table(stacked.table)[rows], layout.table(own.table))]
    a, b = together.mlp(stacked.mlp), layout.mlp(own.mlp)
    for wide, narrow in zip(a.layers, b.layers, strict=True):
        pairs += [(wide.weight, narrow.weight), (wide.scale, narrow.scale), (wide.shift, narrow.shift)]
    pairs += [(a.weight, b.weight), (a.bias, b.bias)]
    for wides, narrows in zip(together.stats(stacked.stats), layout.stats(own.stats), strict=True):
        pairs += zip(wides, narrows, strict=True)
    return [pairs[0], *((w[place, : n.shape[0], : n.shape[1]], n) for w, n in pairs[1:])]
