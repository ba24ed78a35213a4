"""Scores of networks of cells as the reference implementations compute them, on plain modules with hooks.

Slow on purpose, used by tests and measurements: `trails.family.cell.measures` is held against these. Every network is
left in the state in which it came.

Sources: the reference codes of Abdelfattah et al. (arXiv:2101.08134), which NASLib took over, and of Mellor et al.
(arXiv:2006.04647).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Layer = nn.Conv2d | nn.Linear


def layers_of(network: nn.Module) -> list[Layer]:
    """The layers whose weights scores are about."""
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def linearised(network: nn.Module) -> nn.Module:
    """A copy in float64 with everything positive and BatchNorm an identity."""
    linear = deepcopy(network).double()
    with torch.no_grad():
        for tensor in linear.state_dict().values():
            tensor.abs_()
    for module in list(linear.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return linear


def synflow(network: nn.Module, side: int) -> float:
    """Sum of W * dR/dW of the linearised network, on one picture of ones."""
    linear = linearised(network)
    _backward(linear(torch.ones(1, 3, side, side, dtype=torch.float64)).sum())
    return sum(float((layer.weight.detach() * _grad(layer)).sum()) for layer in layers_of(linear))


def expressflow(network: nn.Module, step: Tensor) -> float:
    """The formula of `trails.tfmem.expressflow` for every ReLU of the linearised network that anything comes to.

    Args:
        network: To be scored.
        step: g, float64 (1, 3, side, side): the second input is ones and 1e-5 of it.
    """
    linear = linearised(network)
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            output.retain_grad()
        kept.append(output)

    for module in linear.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(keep)
    x = torch.ones_like(step)
    _backward(linear(x).sum())
    first = kept[:]
    kept.clear()
    linear(x + 1e-5 * step)
    terms = []
    for z, moved in zip(first, kept, strict=True):
        if bool((z > 0).any()):
            length = float((moved - z).detach().norm()) / 1e-5
            saliency = 0.0 if z.grad is None else float((z.detach() * z.grad.abs()).sum())
            terms.append((1.0 / (length + 1e-6), z.shape[1] * saliency))
    shares = sum(share for share, _ in terms)
    return sum(share / shares * value for share, value in terms)


def naswot(network: nn.Module, x: Tensor, jacobian: bool = True) -> float:
    """log abs det K.

    Args:
        network: To be scored.
        x: The batch.
        jacobian: As in the authors' code: first a pass for the batch's Jacobian, which the score does not use. NASLib
            leaves it out.
    """
    with _as_it_was(network):
        kernel = torch.zeros(len(x), len(x), dtype=torch.float64)

        def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            codes = (inputs[0].flatten(1) > 0).float()
            kernel.add_(codes @ codes.T + (1.0 - codes) @ (1.0 - codes).T)

        if jacobian:
            _backward(network(x.clone().requires_grad_()).sum())
        hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.ReLU)]
        network(x)
        for hook in hooks:
            hook.remove()
        return float(torch.linalg.slogdet(kernel).logabsdet)


def gradients(network: nn.Module, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """W and g of every layer: of the mean cross-entropy of one batch, in training mode."""
    with _as_it_was(network):
        _backward(functional.cross_entropy(network(x), y))
        return [(layer.weight.detach(), _grad(layer)) for layer in layers_of(network)]


def fisher(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Every channel's score, given to each of its weights and added up."""
    kept: dict[Layer, Tensor] = {}
    with _as_it_was(network):

        def keep(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            output.retain_grad()
            kept[module] = output

        hooks = [layer.register_forward_hook(keep) for layer in layers_of(network)]
        _backward(functional.cross_entropy(network(x), y))
        for hook in hooks:
            hook.remove()
    total = 0.0
    for layer, output in kept.items():
        if output.grad is None:
            continue
        products = output.detach() * output.grad
        channels = (products.flatten(2).sum(2) if products.ndim == 4 else products).square().mean(0) / 2
        total += float((channels.view(-1, *[1] * (layer.weight.ndim - 1)).expand_as(layer.weight)).sum())
    return total


def grasp(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Sum of -(W * Hg), by differentiating stop(g) . g."""
    with _as_it_was(network):
        weights = [layer.weight for layer in layers_of(network)]
        loss = functional.cross_entropy(network(x), y)
        first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        product = torch.stack([(g.detach() * g).sum() for g in first if g is not None]).sum()
        second = torch.autograd.grad(product, weights, allow_unused=True)
        return sum(float(-(w.detach() * h).sum()) for w, h in zip(weights, second, strict=True) if h is not None)


def jacobian(network: nn.Module, x: Tensor) -> Tensor:
    """d(sum of all logits) / dx, a row for each picture."""
    with _as_it_was(network):
        rows = x.clone().requires_grad_()
        _backward(network(rows).sum())
        assert rows.grad is not None
        return rows.grad.flatten(1)


def tangent_kernel(network: nn.Module, x: Tensor) -> Tensor:
    """Inner products of d(sum of a picture's logits) / dW, picture by picture: float64."""
    with _as_it_was(network):
        logits = network(x)
        weights = [layer.weight for layer in layers_of(network)]
        rows = []
        for row in logits:
            found = torch.autograd.grad(row.sum(), weights, retain_graph=True, allow_unused=True)
            rows.append(torch.cat([g.flatten() for g in found if g is not None]).double())
        return torch.stack(rows) @ torch.stack(rows).T


def _backward(scalar: Tensor) -> None:
    scalar.backward()  # type: ignore[no-untyped-call]


def _grad(layer: Layer) -> Tensor:
    return torch.zeros_like(layer.weight) if layer.weight.grad is None else layer.weight.grad.clone()


@contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """In training mode; running statistics, gradients and mode are put back."""
    mode, state = network.training, {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    network.zero_grad()
    try:
        yield
    finally:
        network.zero_grad()
        network.load_state_dict(state)
        network.train(mode)
