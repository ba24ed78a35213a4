"""What passes through one network on one batch: all that the metrics that read data know of it.

Indices run over the weight layers: hidden layers first, the output last. W is a layer's ``factor * entries``; rows are
the batch's. A family of networks offers what these protocols say (:mod:`trails.family.mlp.signals`), and every metric
is a short formula over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trails.tfmem.batch import Batch
from trails.tfmem.network import Matrix


class LayerSignals(Protocol):
    """One weight layer: its weights, what goes in and what comes out."""

    @property
    def inputs(self) -> Matrix:
        """(rows, fan_in)."""

    @property
    def entries(self) -> Matrix:
        """(fan_in, fan_out): the weights, but for the factor."""

    @property
    def factor(self) -> float:
        """Positive; makes the entries weights."""

    @property
    def linear(self) -> Matrix:
        """inputs @ W: (rows, fan_out)."""

    @property
    def normalised(self) -> Matrix:
        """What the layer's ReLU sees (rows, fan_out): the same, or what a BatchNorm makes of it."""


class Signals(Protocol):
    """Activations and gradients of one network on one batch."""

    @property
    def batch(self) -> Batch:
        """The rows."""

    @property
    def batch_norm(self) -> bool:
        """Whether a BatchNorm, which mixes the rows, stands between every hidden layer and its ReLU."""

    @property
    def layers(self) -> Sequence[LayerSignals]:
        """The weight layers."""

    @property
    def logits(self) -> Matrix:
        """(rows, outputs)."""

    @property
    def loss_gradient(self) -> Matrix:
        """dL/dlogits (rows, outputs), L the batch's mean loss.

        Raises:
            InvalidInput: The batch has no targets.
        """

    def loss_curvature(self, direction: Matrix) -> Matrix:
        """The second derivative of L with respect to the logits, times ``direction``: (rows, outputs)."""

    def backward(self, at_logits: Matrix) -> list[Matrix]:
        """Gradients of sum(at_logits * logits) with respect to every layer's linear output: (rows, fan_out) each."""

    @property
    def sensitivities(self) -> list[Matrix]:
        """Gradients of the sum of all logits with respect to every layer's linear output."""

    @property
    def gradients(self) -> list[Matrix]:
        """Gradients of the loss with respect to every layer's linear output."""

    def weight_gradient(self, place: int) -> Matrix:
        """dL/dW of one layer, (fan_in, fan_out); overwritten by the next call."""

    @property
    def input_products(self) -> list[Matrix]:
        """A A' of every layer's inputs A: (rows, rows)."""

    @property
    def squared_gradient_norms(self) -> list[float]:
        """Squared L2 norm of dL/dW, layer by layer."""

    @property
    def tangent_kernel(self) -> Matrix:
        """The neural tangent kernel of the sum of a sample's logits over W: (rows, rows)."""

    def refuse_batch_norm(self) -> None:
        """For formulas in which a row of sensitivities belongs to one sample.

        Raises:
            InvalidInput: The network has a BatchNorm.
        """
