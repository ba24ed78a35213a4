"""The super-network of weight sharing: as wide as a space allows, of which every architecture is a part.

Source: Guo, Zhang, Mu, Heng, Liu, Wei, Sun: Single Path One-Shot Neural Architecture Search with Uniform Sampling (ECCV
2020): one path, drawn uniformly, is trained on each batch; batch statistics are measured again for each sub-network
that is evaluated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trails.bench.baselines.weight_sharing import Shared
from trails.bench.building.rowsets import Rowsets
from trails.bench.plan import sample
from trails.bench.protocol import Protocol
from trails.family import Design
from trails.family.networks import Shape
from trails.refinement.metrics import auc
from trails.space import parse_space
from trails.training.batches import EVALUATION_ROWS, batches_of, order_of_epoch
from trails.training.optimiser import adam_step
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.weights import EMBEDDING_STD

CALIBRATION_ROWS = 20_480
"""Training rows of which a sub-network's batch statistics are measured, where there are so many; as in the paper."""

_EPSILON = 1e-5


class SuperNetwork:
    """An embedding and hidden layers that are as wide as the space's widest choices.

    A sub-network takes the first inputs and outputs of every layer. Layers are Linear without bias, BatchNorm, ReLU, as
    in the recorded trainings.

    Args:
        choices: Widths at each layer.
        shape: What the rows ask of it.
        seed: Of its weights.
    """

    def __init__(self, choices: Sequence[Sequence[int]], shape: Shape, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        widths = [max(layer) for layer in choices]
        self.table = EMBEDDING_STD * torch.randn(shape.ids, shape.embedding, generator=generator)
        self.matrices: list[Tensor] = []
        before = shape.inputs
        for width in [*widths, shape.outputs]:
            bound = (6.0 / before) ** 0.5
            self.matrices.append(bound * (2.0 * torch.rand(width, before, generator=generator) - 1.0))
            before = width
        self.scales = [torch.ones(width) for width in widths]
        self.shifts = [torch.zeros(width) for width in widths]
        self.bias = torch.zeros(shape.outputs)
        for weights in self.weights:
            weights.requires_grad_()

    @property
    def weights(self) -> list[Tensor]:
        """All that is trained; the embedding table first."""
        return [self.table, *self.matrices, *self.scales, *self.shifts, self.bias]

    def forward(
        self, rows: EncodedRows, design: Design, statistics: Sequence[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits of a sub-network.

        Args:
            rows: To predict.
            design: Its widths.
            statistics: Mean and variance of every layer's Linear outputs; None to take those of ``rows``.

        Returns:
            float32 (rows,), and the statistics that were used.
        """
        hidden = functional.embedding(rows.ids, self.table)
        if rows.values is not None:
            hidden = hidden * rows.values.unsqueeze(2)
        hidden = hidden.flatten(1)
        used: list[tuple[Tensor, Tensor]] = []
        before = hidden.shape[1]
        for layer, width in enumerate(design):
            hidden = functional.linear(hidden, self.matrices[layer][:width, :before])
            if statistics is None:
                variance, mean = torch.var_mean(hidden, 0, correction=0)
            else:
                mean, variance = statistics[layer]
            used.append((mean, variance))
            scale = self.scales[layer][:width] * torch.rsqrt(variance + _EPSILON)
            hidden = torch.relu((hidden - mean) * scale + self.shifts[layer][:width])
            before = width
        return functional.linear(hidden, self.matrices[-1][:, :before], self.bias).squeeze(1), used


def train_epoch(
    network: SuperNetwork,
    moments: Sequence[tuple[Tensor, Tensor]],
    rows: EncodedRows,
    choices: Sequence[Sequence[int]],
    options: Options,
    epoch: int,
    seed: int,
) -> float:
    """One pass over the rows with Adam, every batch through a sub-network of its own; the mean loss before the steps.

    Args:
        network: Changed in place.
        moments: Of Adam, of every one of its weights; changed in place.
        rows: Training rows.
        choices: Widths at each layer, each as likely.
        options: Batch and learning rates.
        epoch: Its number, from 1.
        seed: Of the rows' order and of the sub-networks.
    """
    generator = np.random.default_rng((seed, epoch))
    shuffled = rows.take(order_of_epoch(len(rows), epoch, seed, options))
    batches = batches_of(len(rows), options)
    total = 0.0
    for number in range(batches):
        batch = shuffled.slice(len(rows) * number // batches, len(rows) * (number + 1) // batches)
        design = tuple(int(generator.choice(layer)) for layer in choices)
        logits, _ = network.forward(batch, design)
        loss = functional.binary_cross_entropy_with_logits(logits, batch.labels)
        gradients = torch.autograd.grad(loss, network.weights)
        step = (epoch - 1) * batches + number + 1
        with torch.no_grad():
            for place, (weights, gradient) in enumerate(zip(network.weights, gradients, strict=True)):
                rate = options.learning_rate if place else options.embedding_rate
                adam_step(weights, gradient, *moments[place], step, rate, 0.0)
        total += float(loss.detach()) * len(batch)
    return total / len(rows)


@torch.inference_mode()
def evaluate(network: SuperNetwork, design: Design, calibration: EncodedRows, rows: EncodedRows) -> float:
    """AUC of a sub-network with the super-network's weights, its batch statistics measured anew."""
    _, statistics = network.forward(calibration, design)
    parts = [
        network.forward(rows.slice(start, min(start + EVALUATION_ROWS, len(rows))), design, statistics)[0]
        for start in range(0, len(rows), EVALUATION_ROWS)
    ]
    return auc(rows.truth, torch.cat(parts).numpy())


def share(
    protocol: Protocol,
    evaluated: int,
    *,
    epochs: int | None = None,
    rows: int | None = None,
    seed: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Shared:
    """Train a super-network of a benchmark's space on its dataset, and evaluate the first architectures of the sample.

    Args:
        protocol: Of the benchmark.
        evaluated: How many.
        epochs: Of the super-network; None for as many as recorded trainings have.
        rows: Training rows, the first in a seeded order; None for all.
        seed: Of weights, rows and sub-networks.
        say: Told the progress.

    Raises:
        NotAvailable: The dataset is nowhere to be had.
    """
    rowsets, space = Rowsets.read(protocol, torch.device("cpu")), parse_space(protocol.space)
    data, options = rowsets.data, rowsets.options
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    train = data.train if rows is None else data.train.take(order[:rows])
    calibration = data.train.take(order[:CALIBRATION_ROWS])
    network = SuperNetwork(space.choices, data.shape(options), seed)
    moments = [(torch.zeros_like(part), torch.zeros_like(part)) for part in map(torch.Tensor.detach, network.weights)]
    began, losses = time.process_time(), []
    for epoch in range(1, (protocol.epochs if epochs is None else epochs) + 1):
        losses.append(train_epoch(network, moments, train, space.choices, options, epoch, seed))
        say(f"super-network: epoch {epoch}, loss {losses[-1]:.4f}, {time.process_time() - began:.0f} s")
    training_seconds = time.process_time() - began
    found, seconds = [], []
    for number, index in enumerate(sample(space.size, evaluated), 1):
        began = time.process_time()
        found.append(evaluate(network, space.architecture(index), calibration, data.validation))
        seconds.append(time.process_time() - began)
        if number % 100 == 0:
            say(f"super-network: {number} of {evaluated} sub-networks evaluated")
    return Shared(
        rowsets.setting(protocol, 0).digest,
        len(losses),
        training_seconds,
        tuple(losses),
        np.arange(evaluated, dtype=np.int32),
        np.array(found, dtype=np.float32),
        np.array(seconds, dtype=np.float32),
    )
