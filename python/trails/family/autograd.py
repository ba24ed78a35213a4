"""Families whose networks are modules of PyTorch, trained with autograd: give the module and what it costs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trails.errors import InvalidInput
from trails.family.design import Design
from trails.family.modules import (
    EMBEDDING,
    STATS,
    Dropout,
    ModuleLayout,
    apply,
    bind,
    buffers_of,
    layout_of,
    unfilled,
)
from trails.family.networks import ModelFacts, Networks, Shape, Work
from trails.model.store import Model
from trails.table.target import Task
from trails.training.heads import mean_loss
from trails.training.optimiser import update
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.stack import TrainingStack, predict_in_chunks
from trails.training.weights import EMBEDDING_STD, Training, Weights

__all__ = ["AutogradNetworks", "AutogradStack", "Dropout"]


class AutogradNetworks(ABC):
    """A base for the `trails.family.networks.Networks` of such a family: say `build` and `work`, and `model` where
    stored models can say what the network computes.

    A module is called with ids int32 (rows, fields) and values float32 (rows, fields) or None, and gives float32 (rows,
    outputs). Parameters below its attribute ``embedding`` are the embedding table, which learns at a rate of its own.
    If that is a `torch.nn.Embedding`, it answers for interpolated fields with what lies between two of its rows.
    No parameter has two names.
    """

    most_stacked: int | None = 1

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
        return not name.startswith(EMBEDDING)

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

    def with_members(self, members: int) -> Networks[Any] | None:
        """None: a family that has such says so."""
        return None

    def layout(self, shape: Shape, design: Design) -> ModuleLayout:
        """Of one network."""
        return _layout(self, shape, design)

    def initial(self, layout: ModuleLayout, seed: int) -> Weights:
        """Fresh weights on the CPU, from ``seed`` alone; see `initialise`."""
        weights = Weights.zeros(layout.sizes, torch.device("cpu"))
        module = _unfilled(self, layout.shape, layout.design)
        views = layout.views(weights)
        for name, buffer in buffers_of(module):
            views[name].copy_(buffer)
        bind(module, views)
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
        found = predict_in_chunks(lambda chunk: apply(module, chunk).unsqueeze(0), rows)
        assert found is not None, "nobody gives up"
        return found[0]

    def export(self, layout: ModuleLayout, weights: Weights, facts: ModelFacts) -> Model:
        """See `model`."""
        return self.model(self.predictor(layout, weights.to(torch.device("cpu"))), facts)

    def predictor(self, layout: ModuleLayout, weights: Weights) -> nn.Module:
        """The module as it predicts, in the memory of ``weights``."""
        module = _unfilled(self, layout.shape, layout.design).eval()
        bind(module, layout.views(weights))
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
            return torch.stack([apply(module, chunk) for module in modules])

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
        bind(self._module, layout.views(self.state.weights), layout.views(gradients))
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
            outputs = apply(self._module, rows)
        loss, upper = mean_loss(task, outputs.detach(), rows)
        torch.autograd.backward([outputs], [upper])
        return loss


def _on(training: Training, device: torch.device) -> Training:
    weights, mean, square, average = (part.to(device) for part in training.parts())
    return Training(weights, mean, square, average, training.steps)


@lru_cache(maxsize=1 << 14)
def _layout(networks: AutogradNetworks, shape: Shape, design: Design) -> ModuleLayout:
    return layout_of(_unfilled(networks, shape, design), shape, design, networks.work(shape, design))


def _unfilled(networks: AutogradNetworks, shape: Shape, design: Design, dropout: float = 0.0) -> nn.Module:
    return unfilled(lambda: networks.build(shape, design, dropout))
