"""Families whose networks are modules of PyTorch, trained with autograd: give the module and what it costs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trails.errors import InvalidInput
from trails.family.design import Design
from trails.family.networks import ModelFacts, Shape, Work
from trails.model.store import Model
from trails.table.target import Task
from trails.training.heads import mean_loss
from trails.training.optimiser import update
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.stack import TrainingStack, drop, predict_in_chunks
from trails.training.weights import EMBEDDING_STD, TABLE, Training, Weights

NETWORK, STATS = "network", "stats"
"""Names of the vectors beside `TABLE`: all other parameters, and buffers of floating-point numbers."""

_EMBEDDING = "embedding."
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
class _Place:
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
    places: tuple[_Place, ...]
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


class AutogradNetworks(ABC):
    """A base for the `trails.family.networks.Networks` of such a family: say `build` and `work`, and `model` where
    stored models can say what the network computes.

    A module is called with ids int32 (rows, fields) and values float32 (rows, fields) or None, and gives float32 (rows,
    outputs). Parameters below its attribute ``embedding`` are the embedding table, which learns at a rate of its own.
    No parameter has two names.
    """

    most_stacked: ClassVar[int | None] = 1

    @abstractmethod
    def build(self, shape: Shape, design: Design, dropout: float) -> nn.Module:
        """The module; ``dropout`` is for `Dropout` and changes no parameter."""

    @abstractmethod
    def work(self, shape: Shape, design: Design) -> Work:
        """What a network costs."""

    def model(self, module: nn.Module, facts: ModelFacts) -> Model:
        """The module, with its averaged weights and as it predicts, as a model that is kept.

        Raises:
            InvalidInput: A stored model cannot say what it computes.
        """
        raise InvalidInput(
            f"architecture {facts.architecture} cannot be kept as a model",
            detail="Its family does not say how a stored model would compute it.",
        )

    def decays(self, name: str) -> bool:
        """Whether option ``weight_decay`` is for the matrix of this name: by default for all but the embedding."""
        return not name.startswith(_EMBEDDING)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Fill a module's parameters, on the CPU, from ``generator`` alone.

        Embeddings: normal, mean 0, standard deviation `EMBEDDING_STD`. Linear layers: uniform within 1 / sqrt(inputs).
        Normalisations: scale 1 and shift 0.

        Raises:
            NotImplementedError: The module has a parameter of another kind; a family that has such says how it begins.
        """
        for part in module.modules():
            own = dict(part.named_parameters(recurse=False))
            if isinstance(part, nn.Embedding):
                part.weight.normal_(std=EMBEDDING_STD, generator=generator)
            elif isinstance(part, nn.Linear):
                bound = 1.0 / math.sqrt(part.in_features)
                for tensor in own.values():
                    tensor.uniform_(-bound, bound, generator=generator)
            elif isinstance(part, nn.BatchNorm1d | nn.LayerNorm):
                for name, tensor in own.items():
                    tensor.fill_(1.0 if name == "weight" else 0.0)
            elif own:
                raise NotImplementedError(f"{type(part).__name__} has parameters, and nobody says how they begin")

    def layout(self, shape: Shape, design: Design) -> ModuleLayout:
        """Of one network."""
        return _layout(self, shape, design)

    def initial(self, layout: ModuleLayout, seed: int) -> Weights:
        """Fresh weights on the CPU, from ``seed`` alone; see `initialise`."""
        weights = Weights.zeros(layout.sizes, torch.device("cpu"))
        module = _unfilled(self, layout.shape, layout.design)
        views = layout.views(weights)
        for name, buffer in _buffers(module):
            views[name].copy_(buffer)
        _bind(module, views)
        with torch.no_grad():
            self.initialise(module, torch.Generator().manual_seed(seed))
        return weights

    def stack(
        self,
        layouts: Sequence[ModuleLayout],
        trainings: Sequence[Training],
        rows: EncodedRows,
        options: Options,
        seed: int,
        names: Sequence[str],
        task: Task,
    ) -> AutogradStack:
        """Networks ready to train, one after another in every step."""
        return AutogradStack(self, layouts, trainings, rows, options, seed, names, task)

    def predict(self, layout: ModuleLayout, weights: Weights, rows: EncodedRows) -> Tensor:
        """What one network's ``weights`` predict: float32 (rows,) or (rows, outputs) on the CPU."""
        module = self.predictor(layout, weights)
        found = predict_in_chunks(lambda chunk: module(chunk.ids, chunk.values).unsqueeze(0), rows)
        assert found is not None, "nobody gives up"
        return found[0]

    def export(self, layout: ModuleLayout, weights: Weights, facts: ModelFacts) -> Model:
        """See `model`."""
        return self.model(self.predictor(layout, weights.to(torch.device("cpu"))), facts)

    def predictor(self, layout: ModuleLayout, weights: Weights) -> nn.Module:
        """The module as it predicts, in the memory of ``weights``."""
        module = _unfilled(self, layout.shape, layout.design).eval()
        _bind(module, layout.views(weights))
        return module


class AutogradStack(TrainingStack):
    """Networks of the same age that are trained with autograd, one after another on every batch.

    Args:
        networks: Of the family.
        layouts: One of each candidate.
        trainings: Of each candidate; their tensors belong to the stack from now on.
        data: Training rows, on the device that does the work.
        options: How to train.
        seed: Of the run.
        names: Of the candidates.
        task: What is learnt.
    """

    _mode = torch.no_grad

    def __init__(
        self,
        networks: AutogradNetworks,
        layouts: Sequence[ModuleLayout],
        trainings: Sequence[Training],
        data: EncodedRows,
        options: Options,
        seed: int,
        names: Sequence[str],
        task: Task,
    ) -> None:
        super().__init__(data, options, seed, names, task)
        device = data.labels.device
        self._learners = [
            _Learner(networks, layout, training, self._dropout, device)
            for layout, training in zip(layouts, trainings, strict=True)
        ]

    def step(self, rows: EncodedRows, rate: float = 1.0) -> Tensor:
        """One optimiser step on ``rows``; the mean loss (candidates,) before it, in nats."""
        losses = []
        for learner, generator in zip(self._learners, self._masks, strict=True):
            losses.append(learner.backward(rows, self._task, generator))
            update(
                learner.state,
                learner.gradients,
                learner.matrices,
                self._options,
                rate=rate,
                embedding_l2=self._embedding_l2,
                batches=self.batches,
            )
        return torch.stack(losses)

    def predict(self, rows: EncodedRows, keep_going: Callable[[], bool] = lambda: True) -> Tensor | None:
        """See `trails.family.networks.Stack`."""
        modules = [learner.averaged for learner in self._learners]

        def forward(chunk: EncodedRows) -> Tensor:
            return torch.stack([module(chunk.ids, chunk.values) for module in modules])

        return predict_in_chunks(forward, rows, keep_going)

    def training(self, place: int) -> Training:
        """What the candidate at ``place`` goes on from, elsewhere or later."""
        state = self._learners[place].state
        return Training(*state.parts(), state.steps)

    def averaged(self, place: int) -> Weights:
        """A copy of the averaged weights of the candidate at ``place``."""
        return self._learners[place].state.average.copy()


class _Learner:
    """One network in training: its numbers, the module that reads and changes them, and one that has the average."""

    def __init__(
        self, networks: AutogradNetworks, layout: ModuleLayout, training: Training, dropout: float, device: torch.device
    ) -> None:
        self.state = _on(training, device)
        trained = {name: size for name, size in layout.sizes.items() if name != STATS}
        self.gradients = {name: torch.zeros(size, device=device) for name, size in trained.items()}
        self._module = _unfilled(networks, layout.shape, layout.design, dropout).train()
        gradients = Weights({**self.state.weights.vectors, **self.gradients})
        _bind(self._module, layout.views(self.state.weights), layout.views(gradients))
        self.averaged = networks.predictor(layout, self.state.average)
        self._dropouts = [part for part in self._module.modules() if isinstance(part, Dropout)]
        views = layout.views(self.state.weights)
        self.matrices = [
            views[place.name]
            for place in layout.places
            if place.vector != STATS and len(place.shape) > 1 and networks.decays(place.name)
        ]

    def backward(self, rows: EncodedRows, task: Task, generator: np.random.Generator) -> Tensor:
        """The mean loss () of the rows; its gradient goes to ``gradients``."""
        for part in self._dropouts:
            part.generator = generator
        for gradient in self.gradients.values():
            gradient.zero_()
        with torch.enable_grad():
            outputs = self._module(rows.ids, rows.values)
        loss, upper = mean_loss(task, outputs.detach(), rows)
        outputs.backward(upper)
        return loss


def _on(training: Training, device: torch.device) -> Training:
    weights, mean, square, average = (part.to(device) for part in training.parts())
    return Training(weights, mean, square, average, training.steps)


def _unfilled(networks: AutogradNetworks, shape: Shape, design: Design, dropout: float = 0.0) -> nn.Module:
    """A module whose parameters hold anything."""
    with _Unfilled():
        return networks.build(shape, design, dropout)


@lru_cache(maxsize=1 << 14)
def _layout(networks: AutogradNetworks, shape: Shape, design: Design) -> ModuleLayout:
    module = _unfilled(networks, shape, design)
    places = [
        _Place(name, tuple(tensor.shape), TABLE if name.startswith(_EMBEDDING) else NETWORK)
        for name, tensor in module.named_parameters()
    ]
    places += [_Place(name, tuple(tensor.shape), STATS) for name, tensor in _buffers(module)]
    return ModuleLayout(shape, design, tuple(places), networks.work(shape, design).activations)


def _buffers(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """What a module keeps beside its parameters, counters aside."""
    return ((name, tensor) for name, tensor in module.named_buffers() if tensor.is_floating_point())


def _bind(module: nn.Module, views: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None) -> None:
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
