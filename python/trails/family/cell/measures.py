"""Training-free metrics of one network of cells, with the passes that several of them share made once.

`trails.family.cell.textbook` computes them plainly; which formula each is, `docs/metrics.md` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType

import torch
from torch import nn

from trails.errors import InvalidInput
from trails.family.cell.batches import BatchPass, Pictures
from trails.family.cell.blocks import CellNetwork
from trails.family.cell.passes import Codes, Flow, Recording
from trails.tfmem.expressflow import GUARD, STEP
from trails.tfmem.kernels import JACOB_COV_K, SINGULAR
from trails.tfmem.naswot import log_determinants

ZEN_STEP, ZEN_PICTURES = 0.01, 16
"""Length of a step away from a picture of noise, and how many pictures there are."""


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
    return float(log_determinants(2 * codes.kernel[None])[0])


@torch.no_grad()
def _synflow(measures: Measures) -> float:
    ones = Flow.ones(measures.side).to(measures.network.classifier.weight.device)
    return float(measures.network.run(Flow(), ones)[1].sum())


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
