"""Trains one candidate at a time: a plain loop over tensors in memory."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from trails.model.network import TabularMlp, count_parameters
from trails.refinement.adam import Adam, RunningAverage
from trails.refinement.dataset import Dataset, Rows
from trails.refinement.metrics import auc, log_loss

EVALUATION_ROWS = 4096
"""Validation rows predicted at once."""


@dataclass(frozen=True)
class TrainingOptions:
    """How candidates are trained. The defaults learn fast, since budgets hold few epochs.

    Measured on Frappe, validation AUC of 256-256-256-256 after two epochs, averaged weights: as is 0.9774;
    with other settings than these:

    - equal rates: batch 1024, 2e-3 0.9757; batch 512, 1e-3 0.9762; batch 2048, 4e-3 0.9731; batch 1024, 5e-3
      0.9753; dropout 0.1 with batch 1024 and 2e-3 0.9735;
    - the same run's weights without averaging 0.9751;
    - L2 from 0 to 1e-4 makes no difference in three epochs (0.9790 to 0.9795).

    UCI Diabetes, 512-256-224-512 after two epochs: as is 0.6892, both rates 1e-3 0.6877.

    Args:
        max_batch: Rows of a batch; smaller tables get smaller batches.
        min_steps: Steps that an epoch has at least, as far as ``min_batch`` allows.
        min_batch: Smallest batch.
        learning_rate: Adam's, for the MLP.
        embedding_rate: Adam's, for the embedding table.
        l2: L2 weight on the embedding table.
        dropout: Of hidden layers.
        average_epochs: Memory of the averaged weights, as a share of an epoch.
    """

    max_batch: int = 1024
    min_steps: int = 64
    min_batch: int = 64
    learning_rate: float = 2e-3
    embedding_rate: float = 8e-3
    l2: float = 1e-6
    dropout: float = 0.0
    average_epochs: float = 0.5

    def batches(self, rows: int) -> int:
        """Batches of an epoch; all of nearly the same size, so none is left with a single row."""
        size = min(self.max_batch, max(self.min_batch, rows // self.min_steps))
        return max(1, math.ceil(rows / size))


@dataclass(frozen=True)
class Epoch:
    """A pass over the training rows: mean loss (nats) of those seen, and whether it saw them all."""

    loss: float
    finished: bool


class Diverged(Exception):
    """Training left the finite numbers."""


def derived_seed(seed: int, *parts: object) -> int:
    """A seed that depends on ``seed`` and ``parts`` only, 63 bits, the same on every machine."""
    digest = hashlib.sha256(repr((seed, *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Trial:
    """A candidate in training: its network, optimiser state and best epoch so far, kept between rungs.

    Everything random derives from (seed, architecture, epoch), so a candidate learns the same alone or
    among others.

    Args:
        architecture: Such as ``256-256-128-64``.
        widths: Its hidden widths.
        data: What to train on.
        seed: Of the run.
        embedding: Size of a category's vector.
        options: How to train.
    """

    def __init__(
        self,
        architecture: str,
        widths: tuple[int, ...],
        data: Dataset,
        seed: int,
        embedding: int,
        options: TrainingOptions | None = None,
    ) -> None:
        self.architecture = architecture
        self.widths = widths
        self.epochs = 0
        self.seconds = 0.0
        self.best_epoch = 0
        self.best_auc = float("-inf")
        self.best_loss = float("inf")
        self.best_state: dict[str, Tensor] = {}
        self._data, self._seed = data, seed
        self._options = options or TrainingOptions()
        self.batches = self._options.batches(len(data.train))
        device = data.train.labels.device

        torch.manual_seed(derived_seed(seed, architecture))
        network = TabularMlp(data.encoder.ids, data.encoder.fields, widths, embedding, self._options.dropout)
        self.network = network.to(device)
        self.average = copy.deepcopy(self.network).eval()
        self.parameters = count_parameters(self.network)
        embedded, dense = self.network.embedding, self.network.mlp
        self._optimiser = Adam(
            [
                (list(embedded.parameters()), self._options.embedding_rate, self._options.l2),
                (list(dense.parameters()), self._options.learning_rate, 0.0),
            ]
        )
        memory = max(1.0, self._options.average_epochs * self.batches)
        self._average = RunningAverage(_floats(self.network), _floats(self.average), 1.0 - 1.0 / memory)

    def train_epoch(self, keep_going: Callable[[float], bool]) -> Epoch:
        """Pass once over the training rows; ``epochs`` counts the pass if it was finished.

        Args:
            keep_going: Called after every batch with the share of the epoch done; False cuts the epoch.

        Raises:
            Diverged: The loss is not finite.
        """
        started = time.monotonic()
        seed = derived_seed(self._seed, self.architecture, self.epochs + 1)
        torch.manual_seed(seed)
        rows = self._data.train
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).to(rows.labels.device)
        loss_sum = torch.zeros((), device=rows.labels.device)
        seen = 0
        self.network.train()
        for number, batch in enumerate(torch.tensor_split(order, self.batches), start=1):
            loss_sum += self.step(batch) * len(batch)
            seen += len(batch)
            if rows.labels.is_cuda:
                torch.cuda.synchronize(rows.labels.device)
            if not keep_going(number / self.batches):
                break
        loss = float(loss_sum) / seen
        self.seconds += time.monotonic() - started
        if not math.isfinite(loss):
            raise Diverged(self.architecture)
        finished = seen == len(rows)
        self.epochs += int(finished)
        return Epoch(loss, finished)

    def step(self, batch: Tensor) -> Tensor:
        """One optimiser step on the training rows ``batch`` (int64 row numbers); the mean loss before it."""
        rows = self._data.train
        values = None if rows.values is None else rows.values[batch]
        logits = self.network(rows.ids[batch], values)
        loss = binary_cross_entropy_with_logits(logits, rows.labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._average.update()
        return loss.detach()

    def evaluate(self, keep_going: Callable[[], bool]) -> tuple[float, float] | None:
        """AUC and log loss of the averaged weights over all validation rows, remembered if the best so far.

        Args:
            keep_going: Called between chunks of rows; False gives up.

        Returns:
            (AUC, log loss in nats), or None if given up.

        Raises:
            Diverged: A prediction is not finite.
        """
        started = time.monotonic()
        rows = self._data.validation
        logits = predict(self.average, rows, keep_going)
        self.seconds += time.monotonic() - started
        if logits is None:
            return None
        if not np.isfinite(logits).all():
            raise Diverged(self.architecture)
        metric, loss = auc(rows.classes, logits), log_loss(rows.classes, logits)
        if metric > self.best_auc:
            self.best_auc, self.best_loss, self.best_epoch = metric, loss, self.epochs
            self.best_state = {name: tensor.clone() for name, tensor in self.average.state_dict().items()}
        return metric, loss

    @property
    def alive(self) -> bool:
        """Whether the trial can be trained further."""
        return "network" in self.__dict__

    def release(self) -> None:
        """Free network and optimiser state; the trial's numbers stay."""
        for name in ("network", "average", "_optimiser", "_average"):
            self.__dict__.pop(name, None)
        self.best_state = {}


@torch.inference_mode()
def predict(
    network: TabularMlp, rows: Rows, keep_going: Callable[[], bool] = lambda: True
) -> NDArray[np.float32] | None:
    """Logits of all rows, float32, shape (rows,); None if ``keep_going`` said no between two chunks."""
    chunks: list[Tensor] = []
    for start in range(0, len(rows), EVALUATION_ROWS):
        end = start + EVALUATION_ROWS
        chunks.append(network(rows.ids[start:end], None if rows.values is None else rows.values[start:end]))
        if rows.labels.is_cuda:
            torch.cuda.synchronize(rows.labels.device)
        if not keep_going() and end < len(rows):
            return None
    logits: NDArray[np.float32] = torch.cat(chunks).cpu().numpy()
    return logits


def _floats(network: TabularMlp) -> list[Tensor]:
    """Parameters and floating-point buffers, always in the same order."""
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    return [*(parameter.detach() for parameter in network.parameters()), *buffers]
