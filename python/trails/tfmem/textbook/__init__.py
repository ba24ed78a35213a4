"""Training-free scores exactly as their papers write them, one network at a time with torch's autograd.

Slow on purpose and used by tests and benchmarks only: the fast versions are held against these. Needs torch.

A network is a :class:`torch.nn.Sequential` of Linear (with or without biases), BatchNorm1d and ReLU, of any dtype,
with any number of logits. No function changes it or leaves gradients on it. W are the Linear layers' weights, B is
the number of rows, L the mean loss.
"""

from trails.tfmem.textbook.counts import flops, params
from trails.tfmem.textbook.flow import expressflow, synflow, weight_norm
from trails.tfmem.textbook.gradients import fisher, grad_norm, grad_plain, grasp, snip, zico
from trails.tfmem.textbook.kernels import SINGULAR, jacob_cov, knas, naswot, ntk, ntk_cond, ntk_trace, ntk_trace_approx
from trails.tfmem.textbook.loss import Loss, mean_loss
from trails.tfmem.textbook.networks import (
    INITIALISATIONS,
    draw_network,
    draw_signed_network,
    network_from,
    signed_network,
)

__all__ = [
    "INITIALISATIONS",
    "SINGULAR",
    "Loss",
    "draw_network",
    "draw_signed_network",
    "expressflow",
    "fisher",
    "flops",
    "grad_norm",
    "grad_plain",
    "grasp",
    "jacob_cov",
    "knas",
    "mean_loss",
    "naswot",
    "network_from",
    "ntk",
    "ntk_cond",
    "ntk_trace",
    "ntk_trace_approx",
    "params",
    "signed_network",
    "snip",
    "synflow",
    "weight_norm",
    "zico",
]
