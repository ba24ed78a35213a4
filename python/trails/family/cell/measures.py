"""Training-free metrics of one network of cells, with the passes that several of them share made once.

`trails.family.cell.textbook` computes them plainly; which formula each is, `docs/metrics.md` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trails.errors import InvalidInput
from trails.family.cell.blocks import CellNetwork
from trails.family.cell.passes import Codes, Flow, Recording
from trails.tfmem.batch import Batch
from trails.tfmem.expressflow import GUARD, STEP
from trails.tfmem.kernels import JACOB_COV_K, SINGULAR
from trails.tfmem.naswot import log_determinants

ZEN_STEP, ZEN_PICTURES = 0.01, 16
"""Length of a step away from a picture of noise, and how many pictures there are."""


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
    """

    def __init__(self, network: CellNetwork, pictures: Pictures) -> None:
        self.pictures, self._recording = pictures, Recording()
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


class Measures:
    """One network and its scores.

    Args:
        network: Initialised.
        batches: Of pictures.
        side: Of the pictures.
        seed: Draws what a metric draws.
    """

    def __init__(self, network: CellNetwork, batches: Sequence[Pictures], side: int, seed: int) -> None:
        self.network, self.batches, self.side, self.seed = network, tuple(batches), side, seed
        self._passes: dict[int, BatchPass] = {}

    def passed(self, place: int = 0) -> BatchPass:
        """The pass over a batch.

        Raises:
            InvalidInput: There are fewer.
        """
        if place >= len(self.batches):
            raise InvalidInput(f"the metric reads {place + 1} batches of pictures, not {len(self.batches)}")
        if place not in self._passes:
            self._passes[place] = BatchPass(self.network, self.batches[place])
        return self._passes[place]

    def of(self, name: str) -> float:
        """The score by the metric called ``name``; NaN or infinite where it fails.

        Raises:
            InvalidInput: It needs more than there is.
        """
        return MEASURES[name](self)


def _grad_norm(measures: Measures) -> float:
    return sum(float(torch.linalg.vector_norm(g)) for g in measures.passed().gradients)


def _grad_plain(measures: Measures) -> float:
    found = measures.passed()
    return sum(float((w.detach() * g).double().sum()) for w, g in zip(found.weights, found.gradients, strict=True))


def _snip(measures: Measures) -> float:
    found = measures.passed()
    return sum(float((w.detach() * g).abs().sum()) for w, g in zip(found.weights, found.gradients, strict=True))


def _fisher(measures: Measures) -> float:
    found = measures.passed()
    return sum(
        w[0].numel() * float(products.square().mean(0).sum()) / 2
        for w, products in zip(found.weights, found.products, strict=True)
    )


def _grasp(measures: Measures) -> float:
    found = BatchPass(measures.network, measures.passed().pictures)
    first = torch.autograd.grad(found.loss, found.weights, create_graph=True, allow_unused=True)
    product = torch.stack([(g.detach() * g).sum() for g in first if g is not None]).sum()
    second = torch.autograd.grad(product, found.weights, allow_unused=True)
    pairs = zip(found.weights, second, strict=True)
    return sum(float(-(w.detach() * h).double().sum()) for w, h in pairs if h is not None)


def _zico(measures: Measures) -> float:
    batches = [measures.passed(place).gradients for place in range(max(2, len(measures.batches)))]
    total = 0.0
    for layer in zip(*batches, strict=True):
        g = torch.stack(layer).double()
        spread = g.std(dim=0, correction=0)
        kept = spread > 0
        if bool(kept.any()):
            total += float((g.abs().mean(0)[kept] / spread[kept]).sum().log())
    return total


def _jacob_cov(measures: Measures) -> float:
    correlation = torch.corrcoef(measures.passed().jacobian)
    if not bool(correlation.isfinite().all()):
        return math.nan
    values = torch.linalg.eigvalsh(correlation) + JACOB_COV_K
    return float(-(values.log() + 1.0 / values).sum())


def _ntk_cond(measures: Measures) -> float:
    kernel = measures.passed().tangent_kernel
    if not bool(kernel.isfinite().all()):
        return math.nan
    values = torch.linalg.eigvalsh(kernel)
    # Below this, what is left of the least one is rounding of float32.
    noise = max(SINGULAR, len(kernel) * torch.finfo(torch.float32).eps)
    return float(values[-1] / values[0]) if values[0] > noise * values[-1] else math.inf


@torch.no_grad()
def _naswot(measures: Measures) -> float:
    if not measures.batches:
        raise InvalidInput("naswot reads a batch of pictures")
    codes = Codes(len(measures.batches[0].x))
    measures.network.features(codes, measures.batches[0].x)
    return float(log_determinants(2 * codes.kernel.numpy()[None])[0])


@torch.no_grad()
def _synflow(measures: Measures) -> float:
    return float(measures.network.run(Flow(), Flow.ones(measures.side))[1].sum())


def _weight_norm(measures: Measures) -> float:
    layers = [layer for layer in measures.network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return sum(float(torch.linalg.vector_norm(layer.weight.detach())) for layer in layers)


def _expressflow(measures: Measures) -> float:
    """As `trails.tfmem.expressflow` says, a layer being a ReLU and its width the number of its channels.

    Its values and its trajectory are of all pixels. A ReLU that nothing comes to has neither and is left out.
    """
    recording = Recording(positive=True)
    generator = torch.Generator().manual_seed(measures.seed)
    x = torch.ones(1, 3, measures.side, measures.side, dtype=torch.float64)
    step = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    logits = measures.network.run(recording, torch.cat([x, x + STEP * step]))
    reached = [z for z in recording.hidden if z.requires_grad and bool(z[0].detach().any())]
    found = torch.autograd.grad(logits[0].sum(), reached, allow_unused=True) if reached else ()
    score, shares = 0.0, 0.0
    for z, g in zip(reached, found, strict=True):
        value = z[0].detach()
        share = 1.0 / (float(torch.linalg.vector_norm(z[1].detach() - value)) / STEP + GUARD)
        shares += share
        score += 0.0 if g is None else share * len(value) * float((value * g[0].abs()).sum())
    return score / shares if shares else 0.0


@torch.no_grad()
def _zen(measures: Measures) -> float:
    """log mean sum abs(f(x) - f(x + 0.01 e)) before the last average, plus the log deviations that BatchNorm took away.

    Source: Lin et al., Zen-NAS, arXiv:2102.01063: weights standard normal, x and e noise.
    """
    generator = torch.Generator().manual_seed(measures.seed)
    network = deepcopy(measures.network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.normal_(generator=generator)
    shape = (ZEN_PICTURES, 3, measures.side, measures.side)
    x, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    recording = Recording()
    difference = network.features(recording, x) - network.features(Recording(), x + ZEN_STEP * noise)
    change = float(difference.abs().sum((1, 2, 3)).mean())
    taken = sum(0.5 * math.log(float(variance)) for variance in recording.variances if variance > 0)
    return math.log(change) + taken if change > 0 else -math.inf


MEASURES: Mapping[str, Callable[[Measures], float]] = MappingProxyType(
    {
        "expressflow": _expressflow,
        "synflow": _synflow,
        "naswot": _naswot,
        "weight_norm": _weight_norm,
        "snip": _snip,
        "grasp": _grasp,
        "fisher": _fisher,
        "grad_norm": _grad_norm,
        "grad_plain": _grad_plain,
        "zico": _zico,
        "jacob_cov": _jacob_cov,
        "ntk_cond": _ntk_cond,
        "ntk_trace": lambda measures: float(measures.passed().tangent_kernel.trace()),
        "ntk_trace_approx": lambda measures: measures.passed().squared_norm,
        "knas": lambda measures: measures.passed().squared_norm,
        "zen": _zen,
    }
)
"""By a metric's name. The mean of the Gram matrix of the pictures' gradients, knas, is the squared length of their
mean, which is also ntk_trace_approx."""
