"""The networks of NAS-Bench-101 and NAS-Bench-201 as modules of PyTorch.

A network says which layers follow each other, a `Pass` what is done at each: `Pass` itself calls the modules, which is
`forward`; scores have passes of their own (`trails.family.cell.passes`).

Sources: Dong and Yang, arXiv:2001.00326; Ying et al., arXiv:1902.09635.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from trails.errors import InvalidInput
from trails.family.cell import counts101, nasbench101, nasbench201
from trails.family.design import Design


class Pass:
    """What is done at every layer of a network; here, what the layer itself does."""

    def convolve(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """A convolution."""
        return cast(Tensor, layer(x))

    def normalise(self, layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
        """A BatchNorm."""
        return cast(Tensor, layer(x))

    def relu(self, layer: nn.ReLU, x: Tensor) -> Tensor:
        """A ReLU."""
        return cast(Tensor, layer(x))

    def pool(self, layer: nn.AvgPool2d | nn.MaxPool2d, x: Tensor) -> Tensor:
        """A pooling within a cell or between cells."""
        return cast(Tensor, layer(x))

    def classify(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """The classifier."""
        return cast(Tensor, layer(x))


MODULES = Pass()
"""It has no state."""


class CellNetwork(nn.Module, ABC):
    """A network of cells: (pictures, 3, side, side) to (pictures, classes)."""

    classifier: nn.Linear

    @abstractmethod
    def features(self, how: Pass, x: Tensor) -> Tensor:
        """Up to the average over all pixels: (pictures, channels, side, side)."""

    def run(self, how: Pass, x: Tensor) -> Tensor:
        """The logits."""
        return how.classify(self.classifier, self.features(how, x).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """The logits (pictures, classes)."""
        return self.run(MODULES, x)


class Block(nn.Module, ABC):
    """A part of a network."""

    @abstractmethod
    def run(self, how: Pass, x: Tensor) -> Tensor:
        """What it makes of (pictures, channels, side, side)."""


class ReluConvNorm(Block):
    """ReLU, convolution, BatchNorm, as NAS-Bench-201 has them."""

    def __init__(self, before: int, after: int, window: int, stride: int = 1) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(before, after, window, stride, window // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def run(self, how: Pass, x: Tensor) -> Tensor:
        """See `Block.run`."""
        return how.normalise(self.norm, how.convolve(self.conv, how.relu(self.relu, x)))


class ConvNormRelu(Block):
    """Convolution, BatchNorm, ReLU, as NAS-Bench-101 has them."""

    def __init__(self, before: int, after: int, window: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, window, 1, window // 2, bias=False)
        self.norm = nn.BatchNorm2d(after, eps=1e-5)
        self.relu = nn.ReLU()

    def run(self, how: Pass, x: Tensor) -> Tensor:
        """See `Block.run`."""
        return how.relu(self.relu, how.normalise(self.norm, how.convolve(self.conv, x)))


class Cell201(Block):
    """One cell: every node is the sum of what its edges bring."""

    def __init__(self, design: Design, channels: int) -> None:
        super().__init__()
        self._design = design
        layers: dict[str, nn.Module] = {}
        for place, operation in enumerate(design):
            if operation in (nasbench201.CONV1, nasbench201.CONV3):
                layers[str(place)] = ReluConvNorm(channels, channels, 3 if operation == nasbench201.CONV3 else 1)
            elif operation == nasbench201.POOL:
                layers[str(place)] = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.layers = nn.ModuleDict(layers)

    def run(self, how: Pass, x: Tensor) -> Tensor:
        """See `Block.run`."""
        nodes = [x]
        for node in range(1, 4):
            arriving = []
            for place, (source, target) in enumerate(nasbench201.EDGES):
                operation = self._design[place]
                if target != node or operation == nasbench201.NONE:
                    continue
                if operation == nasbench201.SKIP:
                    arriving.append(nodes[source])
                elif operation == nasbench201.POOL:
                    arriving.append(how.pool(cast(nn.AvgPool2d, self.layers[str(place)]), nodes[source]))
                else:
                    arriving.append(cast(Block, self.layers[str(place)]).run(how, nodes[source]))
            nodes.append(_total(arriving) if arriving else torch.zeros_like(x))
        return nodes[-1]


class Halving201(Block):
    """Between two stages: half the side, twice the channels, with a way around its two convolutions."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = ReluConvNorm(before, after, 3, stride=2)
        self.second = ReluConvNorm(after, after, 3)
        self.pool = nn.AvgPool2d(2, 2)
        self.around = nn.Conv2d(before, after, 1, bias=False)

    def run(self, how: Pass, x: Tensor) -> Tensor:
        """See `Block.run`."""
        through = self.second.run(how, self.first.run(how, x))
        return through + how.convolve(self.around, how.pool(self.pool, x))


class Network201(CellNetwork):
    """The published network: a stem of 16 channels, and three times five cells.

    Args:
        design: Of every cell.
        classes: That the pictures have.
    """

    def __init__(self, design: Design, classes: int = 10) -> None:
        super().__init__()
        stem = nasbench201.STEM
        self.stem = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(stem)
        cells: list[nn.Module] = []
        channels = stem
        for stage in range(nasbench201.STAGES):
            if stage:
                cells.append(Halving201(channels, 2 * channels))
                channels *= 2
            cells += [Cell201(design, channels) for _ in range(nasbench201.CELLS)]
        self.cells = nn.ModuleList(cells)
        self.last_norm = nn.BatchNorm2d(channels)
        self.last_relu = nn.ReLU()
        self.classifier = nn.Linear(channels, classes)

    def features(self, how: Pass, x: Tensor) -> Tensor:
        """See `CellNetwork.features`.

        Raises:
            InvalidInput: The side cannot be halved twice: the two ways of a halving would differ by a pixel.
        """
        if x.shape[-1] % (1 << (nasbench201.STAGES - 1)):
            raise InvalidInput(
                f"networks of NAS-Bench-201 halve a picture twice, which a side of {x.shape[-1]} pixels does not allow",
                hint="Take pictures whose side is a multiple of four.",
            )
        x = how.normalise(self.norm, how.convolve(self.stem, x))
        for cell in self.cells:
            x = cast(Block, cell).run(how, x)
        return how.relu(self.last_relu, how.normalise(self.last_norm, x))


class Cell101(Block):
    """One cell: an operation on the sum of what comes in; the output puts side by side what comes to it."""

    def __init__(self, cell: nasbench101.Cell, before: int, after: int) -> None:
        super().__init__()
        self._cell, self._channels = cell, counts101.channels(cell, before, after)
        layers: dict[str, nn.Module] = {}
        for conv in counts101.convolutions(cell, before, after):
            name = f"{conv.source}_{conv.vertex}"
            layers[name] = ConvNormRelu(conv.before, conv.after, conv.window)
        for vertex, operation in enumerate(cell.operations, start=1):
            if operation == nasbench101.POOL:
                layers[f"{vertex}_{vertex}"] = nn.MaxPool2d(3, 1, 1)
        self.layers = nn.ModuleDict(layers)

    def run(self, how: Pass, x: Tensor) -> Tensor:
        """See `Block.run`."""
        last = self._cell.vertices - 1
        nodes = [x]
        for vertex, operation in enumerate(self._cell.operations, start=1):
            arriving = []
            for source in self._cell.into(vertex):
                arriving.append(nodes[source][:, : self._channels[vertex]] if source else self._bring(how, x, vertex))
            layer, total = self.layers[f"{vertex}_{vertex}"], _total(arriving)
            if operation == nasbench101.POOL:
                nodes.append(how.pool(cast(nn.MaxPool2d, layer), total))
            else:
                nodes.append(cast(Block, layer).run(how, total))
        ends = self._cell.into(last)
        beside = [nodes[source] for source in ends if source]
        together = [torch.cat(beside, 1) if len(beside) > 1 else beside[0]] if beside else []
        return _total([*together, *([self._bring(how, x, last)] if 0 in ends else [])])

    def _bring(self, how: Pass, x: Tensor, vertex: int) -> Tensor:
        """The cell's input with as many channels as a vertex has."""
        return cast(Block, self.layers[f"0_{vertex}"]).run(how, x)


class Network101(CellNetwork):
    """The published network: a stem of 128 channels, and three times three cells.

    Args:
        design: Of every cell.
        classes: That the pictures have.
    """

    def __init__(self, design: Design, classes: int = 10) -> None:
        super().__init__()
        cell = nasbench101.cell_of(design)
        self.stem = ConvNormRelu(3, counts101.STEM, 3)
        layers: list[nn.Module] = []
        for number, (before, after, halvings) in enumerate(counts101.stages()):
            if halvings and number % counts101.CELLS == 0:
                layers.append(nn.MaxPool2d(2, 2))
            layers.append(Cell101(cell, before, after))
        self.layers = nn.ModuleList(layers)
        self.classifier = nn.Linear(counts101.STEM << (counts101.STACKS - 1), classes)

    def features(self, how: Pass, x: Tensor) -> Tensor:
        """See `CellNetwork.features`."""
        x = self.stem.run(how, x)
        for layer in self.layers:
            x = how.pool(layer, x) if isinstance(layer, nn.MaxPool2d) else cast(Block, layer).run(how, x)
        return x


def _total(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


@torch.no_grad()
def initialise(network: CellNetwork, seed: int) -> None:
    """Fresh weights from ``seed`` alone, as PyTorch begins such layers.

    Convolutions and the classifier are uniform within 1 / sqrt(fan_in) of zero; BatchNorms do nothing to what is
    normal.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            for tensor in (layer.weight, layer.bias):
                if tensor is not None:
                    tensor.uniform_(-bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
