"""Metrics made of a kernel between the rows of one batch; each is written out in :mod:`trails.tfmem.textbook`."""

from __future__ import annotations

import numpy as np

from trails.tfmem.signals import Signals

JACOB_COV_K = 1e-5
"""Added to every eigenvalue of the correlation matrix."""

SINGULAR = 1e-12
"""A tangent kernel whose least eigenvalue is below this share of its greatest has no condition number."""


def jacob_cov(signals: Signals) -> float:
    """-sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlations between rows of the Jacobian.

    The Jacobian holds d(sum of logits) / dx, a row for each sample. NaN if the output of a sample does not depend
    on its inputs at all.
    """
    first = signals.layers[0]
    jacobian = (signals.sensitivities[0] @ first.entries.T) * first.factor
    jacobian -= jacobian.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("bi,bi->b", jacobian, jacobian))
    if not (lengths > 0).all():
        return np.nan
    jacobian /= lengths[:, None]
    eigenvalues = np.linalg.eigvalsh(jacobian @ jacobian.T) + JACOB_COV_K
    return -float(np.sum(np.log(eigenvalues) + 1.0 / eigenvalues))


def ntk_cond(signals: Signals) -> float:
    """Condition number of the tangent kernel; infinite if it is singular."""
    kernel = signals.tangent_kernel
    if not np.isfinite(kernel).all():
        return np.nan
    eigenvalues = np.linalg.eigvalsh(kernel)
    if eigenvalues[0] <= SINGULAR * eigenvalues[-1]:
        return np.inf
    return float(eigenvalues[-1] / eigenvalues[0])


def ntk_trace(signals: Signals) -> float:
    """Trace of the tangent kernel: squared lengths of inputs times those of sensitivities, over layers and rows."""
    signals.refuse_batch_norm()
    total = 0.0
    for layer, rows in zip(signals.layers, signals.sensitivities, strict=True):
        inputs = np.einsum("bi,bi->b", layer.inputs, layer.inputs)
        total += float(inputs @ np.einsum("bi,bi->b", rows, rows))
    return total


def ntk_trace_approx(signals: Signals) -> float:
    """Squared L2 norm of the gradient of the batch's mean loss."""
    return sum(signals.squared_gradient_norms)


def knas(signals: Signals) -> float:
    """Mean of the Gram matrix of the samples' loss gradients: the squared norm of their mean."""
    return sum(signals.squared_gradient_norms)
