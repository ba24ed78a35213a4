"""What passes through one network on one batch, forward and backward, in plain matrix products.

The :class:`trails.tfmem.signals.Signals` of this family. Biases are absent, so that with ReLUs (and
without BatchNorm) a network is positively homogeneous in every layer's weights, which several metrics exploit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.family.mlp.bank import SignedBank
from trails.tfmem.batch import Batch
from trails.tfmem.losses import loss_curvature, loss_gradient
from trails.tfmem.network import Matrix

BATCH_NORM_EPSILON = 1e-5
"""What torch's BatchNorm adds to a variance."""


def normalise(linear: Matrix) -> tuple[Matrix, Matrix]:
    """BatchNorm as it stands at initialisation, in training: mean 0 and variance 1 over the rows.

    Args:
        linear: (..., rows, units).

    Returns:
        The normalised array, and 1 / standard deviation (..., 1, units).
    """
    centred = linear - linear.mean(axis=-2, keepdims=True)
    variance = np.mean(np.square(centred), axis=-2, keepdims=True)
    inverse = 1.0 / np.sqrt(variance + BATCH_NORM_EPSILON)
    return centred * inverse, inverse


class _Layer:
    """One weight layer: its weights, what goes in and what comes out."""

    __slots__ = ("entries", "factor", "inputs", "inverse", "linear", "normalised")

    def __init__(self, inputs: Matrix, entries: Matrix, factor: float, batch_norm: bool) -> None:
        self.inputs, self.entries, self.factor = inputs, entries, factor
        self.linear: Matrix = inputs @ entries
        self.linear *= factor
        self.normalised: Matrix = self.linear
        self.inverse: Matrix | None = None
        if batch_norm:
            self.normalised, self.inverse = normalise(self.linear)


class Workspace:
    """A buffer kept from one network to the next: fresh memory costs more than a small product.

    Args:
        dtype: Of the numbers.
    """

    def __init__(self, dtype: Any = np.float64) -> None:
        self._buffer: NDArray[Any] = np.empty(0, dtype)

    def take(self, shape: tuple[int, int]) -> NDArray[Any]:
        """The buffer, of this shape; what it holds is undefined."""
        size = shape[0] * shape[1]
        if self._buffer.size < size:
            self._buffer = np.empty(size, self._buffer.dtype)
        return self._buffer[:size].reshape(shape)


class MlpSignals:
    """Activations and gradients of one network on one batch.

    Indices run over the weight layers: hidden layers first, the output last. W is ``factor * entries``; rows
    are the batch's. Everything is computed when first asked for.

    Args:
        matrices: Per layer its entries (fan_in, fan_out) and the factor that makes them weights.
        batch: The rows.
        batch_norm: Whether a BatchNorm stands between every hidden layer and its ReLU.
        before: Layers of another network on the same batch that begins with the same weights.
        workspace: A buffer to use again.
    """

    def __init__(
        self,
        matrices: Sequence[tuple[Matrix, float]],
        batch: Batch,
        batch_norm: bool = False,
        before: Sequence[_Layer] = (),
        workspace: Workspace | None = None,
    ) -> None:
        self.batch, self.batch_norm = batch, batch_norm
        self._workspace = workspace or Workspace(batch.x.dtype)
        self.layers = list(before)
        for place in range(len(before), len(matrices)):
            inputs = np.maximum(self.layers[-1].normalised, 0.0) if place else batch.x
            hidden = place < len(matrices) - 1
            self.layers.append(_Layer(inputs, *matrices[place], batch_norm=batch_norm and hidden))

    @property
    def logits(self) -> Matrix:
        """(rows, outputs)."""
        return self.layers[-1].linear

    @cached_property
    def loss_gradient(self) -> Matrix:
        """dL/dlogits (rows, outputs), L the batch's mean loss."""
        if self.batch.y is None:
            raise InvalidInput("this metric needs targets")
        return loss_gradient(self.logits, self.batch.y, self.batch.task)

    def loss_curvature(self, direction: Matrix) -> Matrix:
        """The second derivative of L with respect to the logits, times ``direction``: (rows, outputs)."""
        return loss_curvature(self.logits, direction, self.batch.task)

    def backward(self, at_logits: Matrix) -> list[Matrix]:
        """Gradients of sum(at_logits * logits) with respect to every layer's linear output: (rows, fan_out) each."""
        gradients = [at_logits]
        for place in range(len(self.layers) - 1, 0, -1):
            layer, below = self.layers[place], self.layers[place - 1]
            gradient: Matrix = gradients[-1] @ layer.entries.T
            gradient *= layer.factor
            gradient *= below.normalised > 0
            if below.inverse is not None:
                along = np.mean(gradient * below.normalised, axis=0)
                gradient -= gradient.mean(axis=0) + below.normalised * along
                gradient *= below.inverse
            gradients.append(gradient)
        return gradients[::-1]

    @cached_property
    def sensitivities(self) -> list[Matrix]:
        """Gradients of the sum of all logits with respect to every layer's linear output.

        Without BatchNorm, row b belongs to sample b alone.
        """
        return self.backward(np.ones_like(self.logits))

    @cached_property
    def gradients(self) -> list[Matrix]:
        """Gradients of the loss with respect to every layer's linear output."""
        if self.batch.outputs == 1 and not self.batch_norm:
            return [self.loss_gradient * rows for rows in self.sensitivities]
        return self.backward(self.loss_gradient)

    def weight_gradient(self, place: int) -> Matrix:
        """dL/dW of one layer, (fan_in, fan_out); overwritten by the next call."""
        layer, gradient = self.layers[place], self.gradients[place]
        out = self._workspace.take(layer.entries.shape)
        return np.matmul(layer.inputs.T, gradient, out=out)

    @cached_property
    def input_products(self) -> list[Matrix]:
        """A A' of every layer's inputs A: (rows, rows)."""
        return [layer.inputs @ layer.inputs.T for layer in self.layers]

    @cached_property
    def squared_gradient_norms(self) -> list[float]:
        """Squared L2 norm of dL/dW, layer by layer: W's gradient is A'G, so it is the sum of (A A') * (G G')."""
        pairs = zip(self.input_products, self.gradients, strict=True)
        return [max(0.0, float(np.vdot(products, g @ g.T))) for products, g in pairs]

    def refuse_batch_norm(self) -> None:
        """For formulas in which a row of sensitivities belongs to one sample.

        Raises:
            InvalidInput: The network has a BatchNorm, which mixes the rows.
        """
        if self.batch_norm:
            raise InvalidInput("the tangent kernel by matrix products is for networks without BatchNorm")

    @cached_property
    def tangent_kernel(self) -> Matrix:
        """The neural tangent kernel of the sum of a sample's logits over W: (rows, rows).

        The sum over layers of (A A') * (R R'), A the inputs and R the sensitivities.
        """
        self.refuse_batch_norm()
        kernel = np.zeros((len(self.batch.x),) * 2)
        for products, rows in zip(self.input_products, self.sensitivities, strict=True):
            kernel += products * (rows @ rows.T)
        return kernel


class SignalSource:
    """Signals of one architecture after another, each continuing what it has in common with the one before.

    In the space's order neighbours share most of their layers. What comes out does not depend on what came
    before: the same products are computed, or kept.

    Args:
        bank: The weights.
        batch: The rows.
        batch_norm: As for :class:`MlpSignals`.
    """

    def __init__(self, bank: SignedBank, batch: Batch, batch_norm: bool = False) -> None:
        self._bank, self._batch, self._batch_norm = bank, batch, batch_norm
        self._workspace = Workspace(batch.x.dtype)
        self._architecture: tuple[int, ...] = ()
        self._layers: list[_Layer] = []

    def __call__(self, architecture: tuple[int, ...]) -> MlpSignals:
        """The signals of ``architecture``; its weight gradients share buffers with those of the one before."""
        common = 0
        for mine, theirs in zip(architecture, self._architecture, strict=False):
            if mine != theirs:
                break
            common += 1
        matrices = self._bank.matrices(architecture)
        signals = MlpSignals(matrices, self._batch, self._batch_norm, self._layers[:common], self._workspace)
        self._architecture, self._layers = architecture, signals.layers
        return signals
