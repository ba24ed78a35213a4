"""Metrics made of the loss's gradient on one batch; each formula is written out in :mod:`trails.tfmem.textbook`.

W are the weights of the linear layers, g = dL/dW, A a layer's inputs, H = A W its outputs and G = dL/dH: then
g = A'G, and most sums over weights become sums over rows and units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trails.errors import InvalidInput
from trails.tfmem.signals import Signals


def grad_norm(signals: Signals) -> float:
    """Sum over layers of the L2 norm of g."""
    return sum(math.sqrt(squared) for squared in signals.squared_gradient_norms)


def grad_plain(signals: Signals) -> float:
    """Sum of W * g, signed: layer by layer the sum of H * G.

    Without BatchNorm every layer has the same one, that of the logits and their gradient.
    """
    if not signals.batch_norm:
        return len(signals.layers) * float(np.vdot(signals.logits, signals.loss_gradient))
    pairs = zip(signals.layers, signals.gradients, strict=True)
    return float(sum(np.vdot(layer.linear, gradient) for layer, gradient in pairs))


def snip(signals: Signals) -> float:
    """Sum of abs(W * g)."""
    total = 0.0
    for place, layer in enumerate(signals.layers):
        saliency = signals.weight_gradient(place)
        saliency *= layer.entries
        np.abs(saliency, out=saliency)
        total += layer.factor * float(saliency.sum())
    return total


def fisher(signals: Signals) -> float:
    """Sum over layers of fan_in times the sum over units of mean((H * G)**2) / 2 over the rows."""
    total = 0.0
    for layer, gradient in zip(signals.layers, signals.gradients, strict=True):
        products = (layer.linear * gradient).ravel()
        total += 0.5 * layer.entries.shape[0] / len(gradient) * float(products @ products)
    return total


def grasp(signals: Signals) -> float:
    """Sum of -(W * (Hessian g)), without BatchNorm.

    The Hessian is symmetric, so that is -g . (Hessian W), and Hessian W is how the gradient changes when all
    weights grow alike. A bias-free ReLU network with l weight layers is homogeneous: its output grows with the
    power l and each layer's derivative with the power l - 1. So Hessian W is an ordinary backward pass that starts
    from l * L'' f + (l - 1) * L' at the logits f, in place of L'.

    Raises:
        InvalidInput: The network has a BatchNorm; the textbook version takes it.
    """
    if signals.batch_norm:
        raise InvalidInput("grasp in closed form is for networks without BatchNorm")
    count = len(signals.layers)
    start = count * signals.loss_curvature(signals.logits) + (count - 1) * signals.loss_gradient
    if signals.batch.outputs == 1:
        changes = [start * rows for rows in signals.sensitivities]
    else:
        changes = signals.backward(start)
    triples = zip(signals.input_products, signals.gradients, changes, strict=True)
    return -float(sum(np.vdot(products, gradient @ change.T) for products, gradient, change in triples))


def zico(batches: Sequence[Signals]) -> float:
    """Sum over layers of log(sum over weights of mean(abs(g)) / std(g)), taken over two or more batches.

    Weights whose gradient is the same in all batches are left out, and so are layers without any other; std is that
    of the population.

    Raises:
        InvalidInput: Fewer than two batches.
    """
    if len(batches) < 2:
        raise InvalidInput(f"zico compares the gradients of two or more batches, not of {len(batches)}")
    total = 0.0
    for place in range(len(batches[0].layers)):
        gradients = [signals.weight_gradient(place) for signals in batches]
        if len(gradients) == 2:
            # Of two numbers, the mean magnitude over the deviation is (|a| + |b|) / |a - b|.
            first, second = gradients
            spread = np.abs(first - second)
            magnitude = np.abs(first, out=first)
            magnitude += np.abs(second, out=second)
        else:
            magnitude = np.mean(np.abs(gradients), axis=0)
            spread = np.std(gradients, axis=0)
        ratio = np.divide(magnitude, spread, out=np.zeros_like(spread), where=spread > 0)
        layer = float(ratio.sum())
        total += math.log(layer) if layer > 0 else 0.0
    return total
