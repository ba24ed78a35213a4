"""Passes through a network of cells that scores are read from; see `trails.family.cell.blocks.Pass`.

None of them changes the network, and BatchNorm never uses or moves its running statistics.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trails.family.cell.blocks import Pass

_WORDS = 1024
"""Of a picture's bits that are compared at a time: those of all pictures stay in the processor's cache."""

_NODES = 3
"""Of a cell that edges leave: as many tensors may come again."""


_COPIED, _WHOLE = 160_000, 1_500_000
"""Numbers of windows that are copied at a time, about a megabyte, which a core keeps near; how many may be at once."""


class Codes(Pass):
    """Counts on how many ReLUs two pictures agree. Run it without gradients.

    Codes are kept as bits: two pictures differ where the exclusive or of their bits is one. Several edges of a cell may
    apply a ReLU to the same node: it is computed once and counted as often. Of a network's tensors no more than those
    of one cell are kept, which decides how large pictures may be. It is made for pictures whose channels lie together
    in memory: averages take a fifth of the time then, and convolutions less.

    Args:
        pictures: Of the batch.
    """

    def __init__(self, pictures: int) -> None:
        self._pictures = pictures
        # Of the last ones, so that another tensor cannot be taken for them.
        self._seen: dict[int, tuple[Tensor, Tensor, int]] = {}
        self._bits: list[NDArray[np.uint64]] = []
        self._times: list[int] = []
        self._numbers: list[int] = []

    def normalise(self, layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
        """With the batch's own statistics."""
        return functional.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)

    def relu(self, layer: nn.ReLU, x: Tensor) -> Tensor:
        """And its codes."""
        if id(x) not in self._seen:
            if len(self._seen) == _NODES:
                del self._seen[next(iter(self._seen))]
            self._seen[id(x)] = x, functional.relu(x), len(self._bits)
            self._bits.append(_bits_of(x))
            self._times.append(0)
            self._numbers.append(x[0].numel())
        _, y, place = self._seen[id(x)]
        self._times[place] += 1
        return y

    @property
    def kernel(self) -> NDArray[np.float64]:
        """K of naswot: float64 (pictures, pictures), on how many outputs of ReLUs two pictures agree."""
        agreed = np.full((self._pictures, self._pictures), float(np.dot(self._times, self._numbers)))
        for times in sorted(set(self._times)):
            together = [bits for bits, own in zip(self._bits, self._times, strict=True) if own == times]
            agreed -= times * _differences(np.concatenate(together, axis=1))
        return agreed


def _bits_of(x: Tensor) -> NDArray[np.uint64]:
    """Which numbers of each picture are positive: uint64 (pictures, a 64th of the numbers, rounded up)."""
    dense = x.permute(0, 2, 3, 1) if x.is_contiguous(memory_format=torch.channels_last) else x
    # NumPy compares four times as fast as PyTorch does on a processor.
    positive = dense.numpy() > 0 if x.device.type == "cpu" else (dense > 0).cpu().numpy()
    packed = np.packbits(positive.reshape(len(x), -1), axis=1)
    # What is filled up is equal for all.
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)


def _differences(bits: NDArray[np.uint64]) -> NDArray[np.int64]:
    """In how many bits any two pictures differ: int64 (pictures, pictures)."""
    found = np.zeros((len(bits), len(bits)), np.int64)
    for start in range(0, bits.shape[1], _WORDS):
        part = np.ascontiguousarray(bits[:, start : start + _WORDS])
        for place, own in enumerate(part):
            found[place, place:] += np.bitwise_count(own ^ part[place:]).sum(axis=1, dtype=np.int64)
    return found + np.triu(found, 1).T


def _convolved(layer: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
    """What a convolution with these weights makes of float64 pictures, a strip of rows after another.

    PyTorch copies the window of every pixel first. Of a large picture these copies leave the processor's cache, and a
    strip at a time takes a quarter of the time.
    """
    window, stride, around = int(layer.kernel_size[0]), int(layer.stride[0]), int(layer.padding[0])
    row = window**2 * x.shape[1] * x.shape[3]
    height = (x.shape[2] + 2 * around - window) // stride + 1
    if window == 1 or row * height <= _WHOLE:
        return functional.conv2d(x, weight, None, stride, around)
    framed = functional.pad(x, (0, 0, around, around))
    strips, rows = [], max(4, _COPIED // row)
    for start in range(0, height, rows):
        last = min(start + rows, height) - 1
        strip = framed[:, :, start * stride : last * stride + window]
        strips.append(functional.conv2d(strip, weight, None, stride, (0, around)))
    return torch.cat(strips, 2)


class Flow(Pass):
    """Synflow without a backward pass.

    With all weights positive, an input of ones and no BatchNorm, a network is a sum over its paths. Let every weight
    grow by the same factor: how fast the output grows then is the sum of W * dR/dW. So the batch holds two rows, a
    value and its rate of growth, and every weighted layer adds the value that it makes to the rate that it passes on.
    Run it without gradients, on `ones`.
    """

    def convolve(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """Both rows; the value is added to its rate."""
        y = _convolved(layer, x, layer.weight.abs().double())
        y[1] += y[0]
        return y

    def normalise(self, layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
        """Nothing."""
        return x

    def relu(self, layer: nn.ReLU, x: Tensor) -> Tensor:
        """Nothing: nothing is negative."""
        return x

    def pool(self, layer: nn.AvgPool2d | nn.MaxPool2d, x: Tensor) -> Tensor:
        """Of the greatest the value, with the rate of the same pixel."""
        if isinstance(layer, nn.AvgPool2d):
            return cast(Tensor, layer(x))
        value, where = functional.max_pool2d(x[:1], layer.kernel_size, layer.stride, layer.padding, return_indices=True)
        rate = x[1:].flatten(2).gather(2, where.flatten(2)).view_as(value)
        return torch.cat([value, rate])

    def classify(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """As a convolution; its biases do not reach a weight."""
        y = x @ layer.weight.abs().double().T
        y[1] += y[0]
        return y

    @staticmethod
    def ones(side: int) -> Tensor:
        """What to run it on: float64 (2, 3, side, side), ones that do not grow."""
        return torch.stack([torch.ones(3, side, side, dtype=torch.float64), torch.zeros(3, side, side).double()])


class Recording(Pass):
    """A pass with gradients, of weights that are leaves of their own.

    BatchNorm has the batch's statistics, as untrained networks in training mode.

    Args:
        positive: Weights as they are, or made positive in float64 and BatchNorm left out.

    Attributes:
        weights: Of convolutions and the classifier, in the order in which they are met.
        outputs: Of the same layers, before what follows them.
        hidden: Outputs of ReLUs.
        variances: Mean over channels of the variance that each BatchNorm sees.
    """

    def __init__(self, positive: bool = False) -> None:
        self._positive = positive
        self.weights: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.hidden: list[Tensor] = []
        self.variances: list[Tensor] = []

    def convolve(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """With a leaf for its weights."""
        y = functional.conv2d(x, self._leaf(layer.weight), None, layer.stride, layer.padding)
        self.outputs.append(y)
        return y

    def normalise(self, layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
        """With the batch's own statistics, or not at all."""
        if self._positive:
            return x
        self.variances.append(x.detach().var((0, 2, 3), correction=0).mean())
        scale, shift = layer.weight.detach(), layer.bias.detach()
        return functional.batch_norm(x, None, None, scale, shift, training=True, eps=layer.eps)

    def relu(self, layer: nn.ReLU, x: Tensor) -> Tensor:
        """Kept."""
        y = functional.relu(x)
        self.hidden.append(y)
        return y

    def classify(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """With a leaf for its weights."""
        bias = layer.bias.detach()
        y = functional.linear(x, self._leaf(layer.weight), bias.abs().double() if self._positive else bias)
        self.outputs.append(y)
        return y

    def _leaf(self, weight: Tensor) -> Tensor:
        leaf = weight.detach()
        self.weights.append((leaf.abs().double() if self._positive else leaf).requires_grad_())
        return self.weights[-1]
