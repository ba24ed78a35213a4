"""SynFlow: how much signal flows from the inputs to the output when every weight is positive.

The score of a network with weights made positive, no biases, an input of ones and R the sum of its outputs is
the sum over all weights of W * dR/dW.

Source: Tanaka, Kunin, Yamins and Ganguli, Pruning neural networks without any data by iteratively conserving
synaptic flow, arXiv:2006.05467. :func:`trails.tfmem.textbook.synflow` is this formula word for word.

Every layer of such a network carries the whole output (the sum of W * dR/dW over one layer is R), so the score
is the number of weight layers times R.
"""

from __future__ import annotations

import numpy as np

from trails.tfmem.network import Matrix


def synflow_of(weights: tuple[Matrix, ...]) -> float:
    """SynFlow of one bias-free network.

    Args:
        weights: Matrices (fan_in, fan_out), the output's last; their signs do not count.
    """
    flow = np.ones(weights[0].shape[0])
    for matrix in weights:
        flow = flow @ np.abs(matrix)
    return float(len(weights) * flow.sum())
