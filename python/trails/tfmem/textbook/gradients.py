"""Scores made of g = dL/dW, the gradient of a batch's mean loss with respect to the Linear layers' weights.

Common arguments: ``x`` rows (B, inputs); ``y`` targets (B,); ``loss`` and ``regression`` as in
:func:`trails.tfmem.textbook.loss.mean_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trails.errors import InvalidInput
from trails.tfmem.textbook.loss import Loss, mean_loss
from trails.tfmem.textbook.networks import leaf_weights, run


def _weights_and_gradients(
    network: nn.Sequential, x: Tensor, y: Tensor, loss: Loss | None, regression: bool, again: bool = False
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """W and dL/dW of every Linear layer; ``again`` when the gradients are to be differentiated too."""
    weights = leaf_weights(network)
    value = mean_loss(run(network, x, weights).logits, y, loss, regression=regression)
    return weights, torch.autograd.grad(value, weights, create_graph=again)


def grad_norm(
    network: nn.Sequential, x: Tensor, y: Tensor, loss: Loss | None = None, *, regression: bool = False
) -> float:
    """Sum over layers of the L2 norm of g; higher is better.

    Source: Abdelfattah et al., Zero-cost proxies for lightweight NAS, arXiv:2101.08134.
    """
    _, gradients = _weights_and_gradients(network, x, y, loss, regression)
    return sum(float(torch.linalg.vector_norm(g)) for g in gradients)


def grad_plain(
    network: nn.Sequential, x: Tensor, y: Tensor, loss: Loss | None = None, *, regression: bool = False
) -> float:
    """Sum of W * g with its sign; higher is better.

    Source: the reference code of Abdelfattah et al., arXiv:2101.08134, where it is called plain.
    """
    weights, gradients = _weights_and_gradients(network, x, y, loss, regression)
    return sum(float((w.detach() * g).sum()) for w, g in zip(weights, gradients, strict=True))


def snip(network: nn.Sequential, x: Tensor, y: Tensor, loss: Loss | None = None, *, regression: bool = False) -> float:
    """Sum of abs(W * g): what the loss would feel if a weight were taken away; higher is better.

    Source: Lee et al., SNIP, arXiv:1810.02340.
    """
    weights, gradients = _weights_and_gradients(network, x, y, loss, regression)
    return sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients, strict=True))


def grasp(network: nn.Sequential, x: Tensor, y: Tensor, loss: Loss | None = None, *, regression: bool = False) -> float:
    """Sum of -(W * Hg), H the Hessian of L; higher is better.

    Hg is the gradient of stop(g) . g. Temperature 1, the same batch both times.
    Source: Wang et al., Picking winning tickets before training (GraSP), arXiv:2002.07376; sign as in the
    reference code of Abdelfattah et al., arXiv:2101.08134.
    """
    weights, gradients = _weights_and_gradients(network, x, y, loss, regression, again=True)
    product = torch.stack([(g.detach() * g).sum() for g in gradients]).sum()
    hessian_products = torch.autograd.grad(product, weights)
    return sum(float(-(w.detach() * hg).sum()) for w, hg in zip(weights, hessian_products, strict=True))


def fisher(
    network: nn.Sequential, x: Tensor, y: Tensor, loss: Loss | None = None, *, regression: bool = False
) -> float:
    """Sum over Linear layers of fan_in * sum_c D_c, D_c = 1/2 mean_b (a * dL/da)^2; higher is better.

    a is a Linear layer's output (B, fan_out), before BatchNorm and ReLU; the output layer counts too. The
    reference code gives a channel's score to each of its weights before it adds them up: hence fan_in.
    Source: Turner et al., BlockSwap, arXiv:1906.04113, after Theis et al., arXiv:1801.05787.
    """
    trace = run(network, x, leaf_weights(network))
    value = mean_loss(trace.logits, y, loss, regression=regression)
    gradients = torch.autograd.grad(value, trace.outputs)
    score = 0.0
    for layer, a, gradient in zip(
        (m for m in network if isinstance(m, nn.Linear)), trace.outputs, gradients, strict=True
    ):
        channels = 0.5 * (a.detach() * gradient).square().mean(dim=0)
        score += layer.in_features * float(channels.sum())
    return score


def zico(
    network: nn.Sequential,
    batches: Sequence[tuple[Tensor, Tensor]],
    loss: Loss | None = None,
    *,
    regression: bool = False,
) -> float:
    """Sum over layers of log(sum_w mean_i abs(g_i) / std_i(g_i)) over batches i; higher is better.

    std is the population's (divided by the number of batches). Weights with std 0 are left out; a layer
    without any other counts 0.
    Source: Li et al., ZiCo, arXiv:2301.11300.

    Args:
        network: As for the others.
        batches: Two or more pairs (x, y).
        loss: As for the others.
        regression: As for the others.

    Raises:
        InvalidInput: Fewer than two batches.
    """
    if len(batches) < 2:
        raise InvalidInput(f"zico needs two or more batches, not {len(batches)}")
    passes = [_weights_and_gradients(network, x, y, loss, regression)[1] for x, y in batches]
    score = 0.0
    for layer in zip(*passes, strict=True):
        g = torch.stack(layer)
        std = g.std(dim=0, correction=0)
        kept = std > 0
        if bool(kept.any()):
            score += float((g.abs().mean(dim=0)[kept] / std[kept]).sum().log())
    return score
