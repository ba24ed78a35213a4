"""The one list of metrics, with what each needs and its formula for one network."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from trails.errors import InvalidInput, shown
from trails.tfmem import counts, gradients, kernels
from trails.tfmem.batch import Batch
from trails.tfmem.expressflow import expressflow_of
from trails.tfmem.naswot import naswot_of
from trails.tfmem.network import Network
from trails.tfmem.signals import Signals
from trails.tfmem.synflow import synflow_of
from trails.tfmem.weight_norm import weight_norm_of

Orientation: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True)
class ScoringSetting:
    """What all architectures of a run are scored on.

    Args:
        inputs: Width of the embedded row: fields times embedding size.
        seed: Draws weights.
        batches: Embedded rows, once for all architectures; empty where no metric reads any.
        workers: Threads; any number gives the same scores.
    """

    inputs: int
    seed: int
    batches: tuple[Batch, ...] = ()
    workers: int = 1


@dataclass(frozen=True)
class Tfmem:
    """One metric: what is known of it, and its formula for one network.

    How the networks of a family come by what the formula reads, and whether it has a faster way to score a whole space,
    is the family's affair (:mod:`trails.family.scoring`).

    Args:
        name: As given in SQL and on the command line.
        orientation: Whether a higher or a lower score is better.
        needs: What it reads of a batch: nothing, ``x`` (embedded rows), ``y`` (targets).
        sentence: What it measures.
        paper: Where it comes from.
        of_network: Scores one network with positive weights, where no data is needed.
        of_signals: Scores one network from its signals on each batch.
        single: Whether float32 is enough for ``of_signals``.
        batches: How many batches it compares.
        least_rows: Rows that a batch has at least.
        within_rank: Whether rows beyond the rank of the Jacobian must be left out.
        combines: The metrics whose ranks it adds up, if it is made of others.
    """

    name: str
    orientation: Orientation
    needs: tuple[Literal["x", "y"], ...]
    sentence: str
    paper: str
    of_network: Callable[[Network], float] | None = None
    of_signals: Callable[[Sequence[Signals]], float] | None = None
    single: bool = True
    batches: int = 1
    least_rows: int = 1
    within_rank: bool = False
    combines: tuple[str, ...] = ()

    @property
    def fewest_rows(self) -> int:
        """Rows that a drawn batch has at least: a batch with targets has one of either class."""
        return max(self.least_rows, 2 if "y" in self.needs else 1)


def _on_one_batch(score: Callable[[Signals], float]) -> Callable[[Sequence[Signals]], float]:
    return lambda signals: score(signals[0])


_ZERO_COST = "Zero-cost proxies for lightweight NAS, arXiv:2101.08134"

_METRICS = (
    Tfmem(
        "expressflow",
        "higher",
        (),
        "neuron saliency, weighted by layer width and inversely by trajectory length",
        "Anytime Neural Architecture Search on Tabular Data (ATLAS), arXiv:2403.10318",
        of_network=expressflow_of,
    ),
    Tfmem(
        "jacflow",
        "higher",
        ("x",),
        "rank sum of expressivity (naswot) and trainability (synflow)",
        "Anytime Neural Architecture Search on Tabular Data (ATLAS), arXiv:2403.10318",
        combines=("naswot", "synflow"),
        least_rows=2,
    ),
    Tfmem(
        "synflow",
        "higher",
        (),
        "sum of W * dR/dW with all weights positive and an input of ones",
        "Pruning neural networks without any data, arXiv:2006.05467",
        of_network=lambda network: synflow_of(network.weights),
    ),
    Tfmem(
        "naswot",
        "higher",
        ("x",),
        "log determinant of how alike rows are in the ReLUs that they open",
        "Neural architecture search without training, arXiv:2006.04647",
        of_signals=_on_one_batch(naswot_of),
        single=False,
        least_rows=2,
    ),
    Tfmem(
        "weight_norm",
        "higher",
        (),
        "sum over layers of the L2 norm of the weights",
        _ZERO_COST,
        of_network=lambda network: weight_norm_of(network.weights),
    ),
    Tfmem(
        "snip",
        "higher",
        ("x", "y"),
        "sum of abs(W * dL/dW)",
        "SNIP: single-shot network pruning, arXiv:1810.02340",
        of_signals=_on_one_batch(gradients.snip),
    ),
    Tfmem(
        "grasp",
        "higher",
        ("x", "y"),
        "sum of -(W * Hg): what pruning would do to the flow of gradients",
        "Picking winning tickets before training, arXiv:2002.07376",
        of_signals=_on_one_batch(gradients.grasp),
        single=False,
    ),
    Tfmem(
        "fisher",
        "higher",
        ("x", "y"),
        "saliency of units: squared products of outputs and their gradients",
        "BlockSwap: Fisher-guided block substitution, arXiv:1906.04113",
        of_signals=_on_one_batch(gradients.fisher),
    ),
    Tfmem(
        "grad_norm",
        "higher",
        ("x", "y"),
        "sum over layers of the L2 norm of dL/dW",
        _ZERO_COST,
        of_signals=_on_one_batch(gradients.grad_norm),
    ),
    Tfmem(
        "grad_plain",
        "higher",
        ("x", "y"),
        "sum of W * dL/dW, signed",
        _ZERO_COST,
        of_signals=_on_one_batch(gradients.grad_plain),
        single=False,
    ),
    Tfmem(
        "zico",
        "higher",
        ("x", "y"),
        "mean over deviation of gradients across batches, log-summed over layers",
        "ZiCo: zero-shot NAS via inverse coefficient of variation, arXiv:2301.11300",
        of_signals=gradients.zico,
        single=False,
        batches=2,
    ),
    Tfmem(
        "jacob_cov",
        "higher",
        ("x",),
        "how little the Jacobians of different rows correlate",
        "Neural architecture search without training, version 1, arXiv:2006.04647v1",
        of_signals=_on_one_batch(kernels.jacob_cov),
        single=False,
        least_rows=2,
        within_rank=True,
    ),
    Tfmem(
        "ntk_cond",
        "lower",
        ("x",),
        "condition number of the neural tangent kernel",
        "Neural architecture search on ImageNet in four GPU hours (TE-NAS), arXiv:2102.11535",
        of_signals=_on_one_batch(kernels.ntk_cond),
        single=False,
        least_rows=2,
    ),
    Tfmem(
        "ntk_trace",
        "higher",
        ("x",),
        "trace of the neural tangent kernel",
        "NASI: label- and data-agnostic NAS at initialization, arXiv:2109.00817",
        of_signals=_on_one_batch(kernels.ntk_trace),
    ),
    Tfmem(
        "ntk_trace_approx",
        "higher",
        ("x", "y"),
        "squared norm of the gradient of one mini-batch's loss",
        "NASI: label- and data-agnostic NAS at initialization, arXiv:2109.00817",
        of_signals=_on_one_batch(kernels.ntk_trace_approx),
    ),
    Tfmem(
        "knas",
        "higher",
        ("x", "y"),
        "mean of the Gram matrix of the samples' loss gradients",
        "KNAS: green neural architecture search, arXiv:2111.13293",
        of_signals=_on_one_batch(kernels.knas),
    ),
    Tfmem(
        "params",
        "higher",
        (),
        "weights and biases, the embedding not counted: a baseline",
        _ZERO_COST,
        of_network=counts.params_of,
    ),
    Tfmem(
        "flops",
        "higher",
        (),
        "floating-point operations of one row: a baseline",
        _ZERO_COST,
        of_network=counts.flops_of,
    ),
)

REGISTRY: MappingProxyType[str, Tfmem] = MappingProxyType({metric.name: metric for metric in _METRICS})
"""Every metric by name."""


ZEN = Tfmem(
    "zen",
    "higher",
    (),
    "how far the features of noise move when the noise does",
    "Zen-NAS: a zero-shot NAS for high-performance image recognition, arXiv:2102.01063",
)
"""For networks that read pictures alone, so that no table is scored by it: it needs BatchNorm and a map of features."""


def get_tfmem(name: str, others: Sequence[Tfmem] = ()) -> Tfmem:
    """The metric called ``name``, of `REGISTRY` or of ``others``.

    Raises:
        InvalidInput: There is none; the hint lists those there are.
    """
    known = {**REGISTRY, **{metric.name: metric for metric in others}}
    if name not in known:
        raise InvalidInput(
            f"there is no training-free metric '{shown(name)}'",
            hint=f"Known metrics: {', '.join(known)}.",
        )
    return known[name]


def parse_tfmems(text: str, others: Sequence[Tfmem] = ()) -> tuple[Tfmem, ...]:
    """The metrics that ``text`` names, those made of others taken apart.

    Args:
        text: One name, or several joined by ``+`` whose ranks are added up: ``naswot+synflow`` is ``jacflow``. Commas
            and the braces of an SQL array literal are understood too.
        others: Metrics beside those of `REGISTRY`, such as `ZEN` where pictures are scored.

    Raises:
        InvalidInput: A name is unknown, or a metric is named twice.
    """
    chosen: list[Tfmem] = []
    for name in re.split(r"\s*[+,]\s*", re.sub(r"^\{(.*)\}$", r"\1", text.strip()).strip()):
        metric = get_tfmem(name, others)
        for part in [get_tfmem(part) for part in metric.combines] or [metric]:
            if part in chosen:
                raise InvalidInput(
                    f"metric {part.name!r} is named twice in '{shown(text)}'",
                    hint="jacflow is naswot and synflow already.",
                )
            chosen.append(part)
    return tuple(chosen)
