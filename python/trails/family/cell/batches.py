"""Batches of pictures as networks take them, and one pass over a batch that many scores are read from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trails.errors import InvalidInput
from trails.family.cell.blocks import CellNetwork
from trails.family.cell.passes import Recording
from trails.tfmem.batch import Batch

_ALONE = 8
"""Pixels of a side, of which two are left after halving twice: BatchNorm needs more than one number a channel."""


@dataclass(frozen=True)
class Pictures:
    """A batch as networks take it.

    Args:
        x: float32 (pictures, 3, side, side), the channels of a pixel together in memory: a score takes half the time.
        y: int64 (pictures,): numbers of classes; None where nobody asks for them.
    """

    x: Tensor
    y: Tensor | None

    @classmethod
    def of(cls, batch: Batch) -> Pictures:
        """The pictures that a batch's rows are.

        Raises:
            InvalidInput: They are no square pictures of three channels, or have values in the place of classes.
        """
        side = side_of(batch.inputs)
        if batch.task == "regression":
            raise InvalidInput("pictures have a class each, not a value")
        x = torch.from_numpy(np.ascontiguousarray(batch.x, np.float32)).view(-1, 3, side, side)
        x = x.contiguous(memory_format=torch.channels_last)
        return cls(x, None if batch.y is None else torch.from_numpy(batch.y.astype(np.int64)))


def side_of(inputs: int) -> int:
    """Pixels of the side of a square picture with three channels and so many numbers.

    Raises:
        InvalidInput: There is no such picture, or it is too small to be halved twice.
    """
    side = math.isqrt(inputs // 3)
    if 3 * side * side != inputs or side < 4:
        raise InvalidInput(
            f"a row of {inputs} numbers is no square picture of three channels",
            hint="Networks of cells take pictures of 4 x 4 pixels or more, flat: 3 x 32 x 32 are 3072 numbers.",
        )
    return side


class BatchPass:
    """One forward pass over a batch and what is differentiated of it, each once.

    Args:
        network: Its weights are not changed.
        pictures: The batch.

    Raises:
        InvalidInput: It is of one picture that is a single number a channel in the end.
    """

    def __init__(self, network: CellNetwork, pictures: Pictures) -> None:
        self.pictures, self._recording = pictures, Recording()
        if len(pictures.x) == 1 and pictures.x.shape[-1] < _ALONE:
            raise InvalidInput(
                f"one picture of {pictures.x.shape[-1]} pixels a side is too little for BatchNorm",
                hint="Take a batch of two pictures or more.",
            )
        self._x = pictures.x.clone().requires_grad_()
        self.logits = network.run(self._recording, self._x)

    @property
    def weights(self) -> list[Tensor]:
        """W of every layer."""
        return self._recording.weights

    @property
    def loss(self) -> Tensor:
        """Mean cross-entropy.

        Raises:
            InvalidInput: The batch has no classes.
        """
        if self.pictures.y is None:
            raise InvalidInput("the metric needs the pictures' classes")
        return functional.cross_entropy(self.logits, self.pictures.y)

    @cached_property
    def _gradients(self) -> list[Tensor]:
        """Of the loss, for weights and then for outputs of every layer; zero where a layer leads nowhere."""
        asked = [*self.weights, *self._recording.outputs]
        found = torch.autograd.grad(self.loss, asked, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(a) if g is None else g for a, g in zip(asked, found, strict=True)]

    @property
    def gradients(self) -> list[Tensor]:
        """g = dL/dW of every layer."""
        return self._gradients[: len(self.weights)]

    @property
    def products(self) -> list[Tensor]:
        """Output times its gradient, summed over pixels, of every layer: (pictures, channels)."""
        pairs = zip(self._recording.outputs, self._gradients[len(self.weights) :], strict=True)
        return [(a.detach() * g).flatten(2).sum(2) if a.ndim == 4 else a.detach() * g for a, g in pairs]

    @cached_property
    def squared_norm(self) -> float:
        """Squared length of the gradient of the mean loss."""
        return sum(float(g.double().square().sum()) for g in self.gradients)

    @cached_property
    def jacobian(self) -> Tensor:
        """d(sum of all logits) / dx: float64 (pictures, numbers of a picture)."""
        (found,) = torch.autograd.grad(self.logits.sum(), self._x, retain_graph=True, allow_unused=True)
        return (torch.zeros_like(self._x) if found is None else found).flatten(1).double()

    @cached_property
    def tangent_kernel(self) -> Tensor:
        """Inner products of d(sum of a picture's logits) / dW: float64 (pictures, pictures).

        BatchNorm ties pictures together, so that every picture costs a backward pass.
        """
        rows = []
        for row in self.logits:
            found = torch.autograd.grad(row.sum(), self.weights, retain_graph=True, allow_unused=True)
            rows.append(torch.cat([g.flatten() for g in found if g is not None]))
        together = torch.stack(rows)
        kernel = torch.zeros(len(rows), len(rows), dtype=torch.float64)
        for start in range(0, together.shape[1], 1 << 16):
            wide = together[:, start : start + (1 << 16)].double()
            kernel += wide @ wide.T
        return kernel
