"""The part of training that does not ask what the networks are: epochs, batches, rates, dropout, chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from trails.table.target import Task
from trails.training.batches import EVALUATION_ROWS, batches_of, order_of_epoch
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.weights import derived_seed


class TrainingStack(ABC):
    """Candidates of the same age that train together; a family says what a step is.

    Args:
        data: Training rows, on the device that does the work.
        options: How to train.
        seed: Of the run: with the epoch it gives the order of rows, the same for every candidate.
        names: Of the candidates; with seed and epoch they decide what dropout drops.
        task: What is learnt; see `trails.table.target.Task`.

    Attributes:
        batches: Of an epoch.
    """

    _mode: ClassVar[type[torch.inference_mode] | type[torch.no_grad]] = torch.inference_mode
    """What autograd does during an epoch."""

    def __init__(self, data: EncodedRows, options: Options, seed: int, names: Sequence[str], task: Task) -> None:
        self._data, self._options, self._seed = data, options, seed
        self._names, self._task = list(names), task
        self._dropout, self._embedding_l2 = options.regularisation(len(data), data.interpolated, task)
        self.batches = batches_of(len(data), options)
        self._masks = self._mask_generators(0)

    def __len__(self) -> int:
        return len(self._names)

    @abstractmethod
    def step(self, rows: EncodedRows, rate: float = 1.0) -> Tensor:
        """One optimiser step on ``rows``, learning rates times ``rate``; the mean loss (candidates,) before it."""

    def train_epoch(self, epoch: int, keep_going: Callable[[float], bool]) -> Tensor:
        """Pass once over the training rows, or over the epoch's part of very many.

        Args:
            epoch: Number of the epoch, from 1: with the run's seed it gives the order of the rows.
            keep_going: Called after every batch with the share of the epoch done; False ends it.

        Returns:
            float64 (candidates,) on the CPU: mean loss in nats of the rows seen, each before its step.
        """
        with self._mode():
            rows = self._data
            self._masks = self._mask_generators(epoch)
            order = order_of_epoch(len(rows), epoch, self._seed, self._options)
            shuffled = rows.take(order.to(rows.labels.device))
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

    def _rate(self, epochs: float) -> float:
        """Factor of the learning rates after so many epochs, whoever paid for them: rungs leave no mark on it."""
        return 1.0 / (1.0 + self._options.decay * epochs)

    def _mask_generators(self, epoch: int) -> list[np.random.Generator]:
        seeds = (derived_seed(self._seed, name, epoch) for name in self._names)
        return [np.random.Generator(np.random.SFC64(seed)) for seed in seeds]


def drop(part: Tensor, share: float, generator: np.random.Generator) -> None:
    """Set a share of a tensor to zero, in place; the share is rounded to 256ths, for it is drawn as bytes.

    What is kept must be divided by ``1 - share`` to keep the mean.
    """
    drawn = torch.from_numpy(generator.integers(0, 256, tuple(part.shape), np.uint8))
    part.mul_((drawn >= round(256 * share)).to(part))


@torch.inference_mode()
def predict_in_chunks(
    forward: Callable[[EncodedRows], Tensor], rows: EncodedRows, keep_going: Callable[[], bool] = lambda: True
) -> Tensor | None:
    """What networks predict, a chunk of rows at a time.

    Args:
        forward: From rows to float32 (candidates, rows, outputs).
        rows: On the networks' device.
        keep_going: Called between chunks of rows; False gives up.

    Returns:
        float32 (candidates, rows), or (candidates, rows, outputs) of several, on the CPU; None if given up.
    """
    chunks: list[Tensor] = []
    for start in range(0, len(rows), EVALUATION_ROWS):
        chunk = rows.slice(start, min(start + EVALUATION_ROWS, len(rows)))
        chunks.append(forward(chunk).squeeze(-1))
        if rows.labels.is_cuda:
            torch.cuda.synchronize(rows.labels.device)
        if not keep_going() and start + EVALUATION_ROWS < len(rows):
            return None
    return torch.cat(chunks, 1).cpu()
