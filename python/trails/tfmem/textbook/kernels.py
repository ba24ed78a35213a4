"""Scores made of matrices with a row and a column for each sample: jacob_cov, naswot, the NTK's, knas.

Common arguments: ``x`` rows (B, inputs); ``y`` targets (B,). Every pass is one forward over the whole batch, so
BatchNorm sees the batch, and gradients of one sample flow through its statistics. Gradients have the network's
dtype; what is made of them is float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trails.errors import InvalidInput
from trails.tfmem.textbook.loss import Loss, mean_loss
from trails.tfmem.textbook.networks import leaf_weights, run

SINGULAR = 1e-12
"""An NTK with lambda_min at or below this part of lambda_max counts as singular."""


def jacob_cov(network: nn.Sequential, x: Tensor) -> float:
    """-sum(log(v + k) + 1 / (v + k)), v the eigenvalues of corrcoef(J), k = 1e-5; higher is better.

    J (B, inputs) is the gradient of the batch's sum of logits with respect to x. B must be below the number of
    inputs: each eigenvalue 0 costs 1e5.
    Source: Mellor et al., Neural architecture search without training, first version, arXiv:2006.04647v1.

    Returns:
        NaN, a failed score, where a sample's row of J is constant: it has no correlation.

    Raises:
        InvalidInput: Fewer than two rows.
    """
    if len(x) < 2:
        raise InvalidInput("a correlation needs two or more rows")
    weights = leaf_weights(network)
    rows = x.detach().to(weights[0].dtype).requires_grad_()
    (jacobian,) = torch.autograd.grad(run(network, rows, weights).logits.sum(), rows)
    correlation = torch.corrcoef(jacobian.double())
    if not bool(correlation.isfinite().all()):
        return math.nan
    shifted = torch.linalg.eigvalsh(correlation) + 1e-5
    return float(-(shifted.log() + 1.0 / shifted).sum())


def naswot(network: nn.Sequential, x: Tensor) -> float:
    """log abs det K, K = sum over ReLUs of c c' + (1 - c)(1 - c)', codes c = [h > 0]; higher is better.

    Source: Mellor et al., Neural architecture search without training, arXiv:2006.04647.

    Returns:
        rank(K) - B where K is singular, as when two samples share every code: finite, and below every regular
        K's score, which is at least 0 because K's entries are integers.
    """
    kernel = torch.zeros(len(x), len(x), dtype=torch.float64)
    for h in run(network, x, leaf_weights(network)).hidden:
        c = (h > 0).double()
        kernel += c @ c.T + (1 - c) @ (1 - c).T
    rank = int(torch.linalg.matrix_rank(kernel, hermitian=True))
    if rank < len(x):
        return float(rank - len(x))
    return float(torch.linalg.slogdet(kernel).logabsdet)


def ntk(network: nn.Sequential, x: Tensor) -> Tensor:
    """The empirical neural tangent kernel, float64 (B, B): inner products of d(sum of a sample's logits)/dW."""
    weights = leaf_weights(network)
    logits = run(network, x, weights).logits
    rows = _rows_of_gradients([sample.sum() for sample in logits], weights)
    return rows @ rows.T


def _rows_of_gradients(scalars: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """d(scalar)/dW, flat, a row for each scalar: float64 (scalars, weights)."""
    rows = []
    for scalar in scalars:
        gradients = torch.autograd.grad(scalar, weights, retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in gradients]).double())
    return torch.stack(rows)


def ntk_cond(network: nn.Sequential, x: Tensor) -> float:
    """lambda_max / lambda_min of the NTK; LOWER is better.

    Source: Chen et al., TE-NAS, arXiv:2102.11535.

    Returns:
        Infinity, a failed score, where lambda_min is at most 1e-12 of lambda_max, or at most B times the
        rounding error of the network's dtype: what is left of it then is noise.
    """
    eigenvalues = torch.linalg.eigvalsh(ntk(network, x))
    least, most = float(eigenvalues[0]), float(eigenvalues[-1])
    noise = max(SINGULAR, len(x) * torch.finfo(leaf_weights(network)[0].dtype).eps)
    if not least > noise * most:
        return math.inf if math.isfinite(most) else math.nan
    return most / least


def ntk_trace(network: nn.Sequential, x: Tensor) -> float:
    """Trace of the NTK; higher is better.

    Source: Shu et al., NASI, arXiv:2109.00817. (Others report sqrt(trace / B), which orders alike.)
    """
    return float(ntk(network, x).trace())


def ntk_trace_approx(
    network: nn.Sequential, x: Tensor, y: Tensor, loss: Loss | None = None, *, regression: bool = False
) -> float:
    """Squared norm of the gradient of one batch's mean loss; higher is better.

    Source: Shu et al., NASI, arXiv:2109.00817.
    """
    weights = leaf_weights(network)
    value = mean_loss(run(network, x, weights).logits, y, loss, regression=regression)
    return sum(float(g.square().sum()) for g in torch.autograd.grad(value, weights))


def knas(network: nn.Sequential, x: Tensor, y: Tensor, loss: Loss | None = None, *, regression: bool = False) -> float:
    """Mean over all pairs of samples of the inner product of their losses' gradients; higher is better.

    A sample with itself is a pair, so this is the squared norm of the mean gradient.
    Source: Xu et al., KNAS: green neural architecture search, arXiv:2111.13293.
    """
    weights = leaf_weights(network)
    logits = run(network, x, weights).logits
    if y.shape != logits.shape[:1]:
        raise InvalidInput(f"expected {len(logits)} targets, not an array of shape {tuple(y.shape)}")
    losses = [mean_loss(logits[b : b + 1], y[b : b + 1], loss, regression=regression) for b in range(len(logits))]
    rows = _rows_of_gradients(losses, weights)
    return float((rows @ rows.T).mean())
