"""Modules of PyTorch whose tensors lie in a candidate's flat vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.overrides import TorchFunctionMode

from trails.errors import InvalidInput
from trails.family.design import Design
from trails.family.networks import Shape, Work
from trails.training.rows import EncodedRows
from trails.training.stack import drop
from trails.training.weights import TABLE, Weights

NETWORK, STATS = "network", "stats"
"""Names of the vectors beside `TABLE`: all other parameters, and buffers of floating-point numbers."""

EMBEDDING = "embedding."
"""What the names of parameters of the vector `TABLE` begin with."""

_ACTIVATIONS = 3
"""Copies of every activation that a batch in training leaves behind, about."""


class Dropout(nn.Module):
    """Sets a share of its input to zero in training and scales up the rest; what is dropped follows from the run's
    seed, the architecture and the epoch, so not from what else draws random numbers.

    Args:
        share: 0 to below 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.generator = np.random.default_rng(0)

    def forward(self, hidden: Tensor) -> Tensor:
        """The input (any shape) with a share of zeros."""
        if not self.training or self.share <= 0.0:
            return hidden
        mask = torch.ones_like(hidden, requires_grad=False)
        drop(mask, self.share, self.generator)
        return hidden * mask.div_(1.0 - self.share)


@dataclass(frozen=True)
class Place:
    """One tensor of a module: its name, its shape, and the vector it lies in."""

    name: str
    shape: tuple[int, ...]
    vector: str


@dataclass(frozen=True)
class ModuleLayout:
    """Where the tensors of a module lie in flat vectors, one after another.

    Args:
        shape: What the table asks of the network.
        design: What it is made from.
        places: Of all parameters, and of buffers of floating-point numbers.
        activations: As of `Work`.
    """

    shape: Shape
    design: Design
    places: tuple[Place, ...]
    activations: int

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of the vectors; one that nothing lies in is left out."""
        sizes: dict[str, int] = {}
        for vector in (TABLE, NETWORK, STATS):
            own = [math.prod(place.shape) for place in self.places if place.vector == vector]
            if own:
                sizes[vector] = sum(own)
        return sizes

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return sum(size for vector, size in self.sizes.items() if vector != STATS)

    @property
    def stored(self) -> int:
        """Numbers of a model that is kept."""
        return self.parameters

    def training_bytes(self, rows: int) -> int:
        """Weights, gradients, moments and averages, and what a batch leaves behind."""
        kept = self.shape.inputs + _ACTIVATIONS * self.activations
        return 4 * (6 * self.parameters + rows * kept)

    def views(self, weights: Weights) -> dict[str, Tensor]:
        """The module's tensors, by name, as views of the vectors."""
        begin = dict.fromkeys(self.sizes, 0)
        views: dict[str, Tensor] = {}
        for place in self.places:
            first = begin[place.vector]
            begin[place.vector] = first + math.prod(place.shape)
            views[place.name] = weights[place.vector][first : begin[place.vector]].view(place.shape)
        return views


def layout_of(module: nn.Module, shape: Shape, design: Design, work: Work) -> ModuleLayout:
    """Of a module: its parameters in their order, then its buffers."""
    places = [
        Place(name, tuple(tensor.shape), TABLE if name.startswith(EMBEDDING) else NETWORK)
        for name, tensor in module.named_parameters()
    ]
    places += [Place(name, tuple(tensor.shape), STATS) for name, tensor in buffers_of(module)]
    return ModuleLayout(shape, design, tuple(places), work.activations)


class _Unfilled(TorchFunctionMode):
    """Leaves out what `torch.nn.init` does, in this thread: tables of millions of rows are made to be counted, and
    initial weights are drawn from a seed afterwards. PyTorch's own way, the meta device, imports its compiler."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def unfilled(build: Callable[[], nn.Module]) -> nn.Module:
    """A module whose parameters hold anything."""
    with _Unfilled():
        return build()


def apply(module: nn.Module, rows: EncodedRows) -> Tensor:
    """What a module puts out for some rows, float32 (rows, outputs).

    It looks up ids, and knows nothing of what lies between two of them: its ``embedding`` is made to answer with that.

    Raises:
        InvalidInput: Fields are interpolated, and its attribute ``embedding`` is no `torch.nn.Embedding`, or is not
            asked for all ids at once: what lies between would be lost, and the module trained as if it were not there.
    """
    between = rows.between
    if between is None:
        outputs: Tensor = module(rows.ids, rows.values)
        return outputs
    table = getattr(module, EMBEDDING.rstrip("."), None)
    if not isinstance(table, nn.Embedding):
        raise _not_between(module, "has no plain embedding")
    ahead = between.next_ids(rows.ids)
    whole = False

    def moved(_: nn.Module, given: tuple[Any, ...], found: Tensor) -> Tensor:
        nonlocal whole
        if given[0].shape != rows.ids.shape:
            raise _not_between(module, "looks up some fields at a time")
        whole = True
        return between.lerp(found, embedding(ahead, table.weight))

    hook = table.register_forward_hook(moved)
    try:
        outputs = module(rows.ids, rows.values)
    finally:
        hook.remove()
    if not whole:
        raise _not_between(module, "does not call its embedding")
    return outputs


def _not_between(module: nn.Module, why: str) -> InvalidInput:
    return InvalidInput(
        f"a module of kind {type(module).__name__} {why}, and numbers lie between the embedding's rows",
        hint="Set the option numbers_as to bins.",
    )


def buffers_of(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """What a module keeps beside its parameters, counters aside."""
    return ((name, tensor) for name, tensor in module.named_buffers() if tensor.is_floating_point())


def bind(module: nn.Module, views: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None) -> None:
    """Let a module compute in the memory of ``views``, and autograd add to that of ``gradients``."""
    trained = {name for name, _ in module.named_parameters()}
    for name, view in views.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        if name not in trained:
            setattr(owner, leaf, view)
            continue
        parameter = nn.Parameter(view, requires_grad=gradients is not None)
        if gradients is not None:
            parameter.grad = gradients[name]
        setattr(owner, leaf, parameter)
