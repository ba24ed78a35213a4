"""Reference values of the training-free scores: NumPy, float64, one row at a time, derivatives by hand.

Knows nothing of the package, so that both can be wrong only in different ways. ``python
tests/core/reference/make_tfmem_reference.py`` writes ``tfmem.json`` beside this file.

The networks have no biases: 20-32-16-2 with cross-entropy and 20-32-16-1 with binary cross-entropy, each with 64
rows and with the first 16 of them. With 64 rows jacob_cov and naswot meet singular matrices (more rows than
inputs, than hidden units), with 16 they may not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

SEED = 17
INPUTS = 20
HIDDEN = (32, 16)
ROWS = 64
OUTPUTS = (2, 1)
ROW_COUNTS = (64, 16)
BATCHES = 4
"""zico cuts its rows into so many batches."""

PATH = Path(__file__).with_name("tfmem.json")

# Relative. ntk_cond divides by a small eigenvalue; expressflow and jacob_cov add up differences and reciprocals of
# small numbers.
TOLERANCE = {"ntk_cond": 1e-7, "expressflow": 1e-6, "jacob_cov": 1e-7}
DEFAULT_TOLERANCE = 1e-9


def case(outputs: int) -> dict[str, Any]:
    """The network with so many outputs and its rows; every number has at most three decimals.

    Returns:
        ``weights``: float64 (20, 32), (32, 16), (16, outputs), He-uniform with their signs. ``x``: float64
        (64, 20), standard normal. ``y``: int64 (64,), 0 or 1. ``direction``: float64 (20,), for expressflow.
    """
    generator = np.random.default_rng((SEED, outputs))
    weights = []
    fan_in = INPUTS
    for width in (*HIDDEN, outputs):
        bound = np.sqrt(6.0 / fan_in)
        weights.append(np.round(generator.uniform(-bound, bound, (fan_in, width)), 3))
        fan_in = width
    x = np.round(generator.standard_normal((ROWS, INPUTS)), 3)
    y = generator.integers(0, 2, ROWS)
    direction = np.round(generator.standard_normal(INPUTS), 3)
    return {"weights": weights, "x": x, "y": y, "direction": direction}


def forward(weights: list[Array], row: Array) -> tuple[list[Array], list[Array]]:
    """Of one row: every layer's input z_0 (the row), z_1, ..., and every layer's output h_1, ... (the logits last)."""
    z = [row]
    h: list[Array] = []
    for matrix in weights:
        h.append(z[-1] @ matrix)
        z.append(np.maximum(h[-1], 0.0))
    return z[:-1], h


def backward(weights: list[Array], h: list[Array], delta: Array) -> list[Array]:
    """What ``delta``, a derivative with respect to the logits, is with respect to every layer's output."""
    deltas = [delta]
    for matrix, before in zip(weights[:0:-1], h[-2::-1], strict=True):
        deltas.insert(0, (matrix @ deltas[0]) * (before > 0))
    return deltas


def probabilities(logits: Array) -> Array:
    """Of one row's classes; of class 1 alone where there is one logit."""
    if len(logits) == 1:
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))
    shifted = np.exp(logits - np.max(logits))
    return np.asarray(shifted / np.sum(shifted))


def loss_derivative(logits: Array, target: int) -> Array:
    """Of one row's loss with respect to its logits."""
    wanted = np.array([float(target)]) if len(logits) == 1 else np.eye(len(logits))[target]
    return np.asarray(probabilities(logits) - wanted)


def loss_curvature(logits: Array) -> Array:
    """Of one row's loss, second derivatives with respect to its logits."""
    p = probabilities(logits)
    if len(logits) == 1:
        return np.diag(p * (1.0 - p))
    return np.diag(p) - np.outer(p, p)


def outer_products(z: list[Array], deltas: list[Array]) -> list[Array]:
    """Derivatives with respect to the weights of one row."""
    return [np.outer(a, d) for a, d in zip(z, deltas, strict=True)]


def mean_gradient(weights: list[Array], x: Array, y: NDArray[np.int64]) -> list[Array]:
    """g, of the mean loss."""
    total = [np.zeros_like(matrix) for matrix in weights]
    for row, target in zip(x, y, strict=True):
        z, h = forward(weights, row)
        for layer, g in enumerate(outer_products(z, backward(weights, h, loss_derivative(h[-1], target)))):
            total[layer] += g / len(x)
    return total


def hessian_product(weights: list[Array], x: Array, y: NDArray[np.int64], v: list[Array]) -> list[Array]:
    """Hv of the mean loss: each line of the passes above differentiated along v (Pearlmutter 1994)."""
    total = [np.zeros_like(matrix) for matrix in weights]
    last = len(weights) - 1
    for row, target in zip(x, y, strict=True):
        z, h = forward(weights, row)
        r_z = [np.zeros_like(row)]
        for layer in range(len(weights)):
            r_h = r_z[layer] @ weights[layer] + z[layer] @ v[layer]
            r_z.append(r_h * (h[layer] > 0))
        deltas = backward(weights, h, loss_derivative(h[-1], target))
        r_delta = loss_curvature(h[-1]) @ r_h
        for layer in range(last, -1, -1):
            total[layer] += (np.outer(r_z[layer], deltas[layer]) + np.outer(z[layer], r_delta)) / len(x)
            if layer > 0:
                r_delta = (weights[layer] @ r_delta + v[layer] @ deltas[layer]) * (h[layer - 1] > 0)
    return total


def fisher(weights: list[Array], x: Array, y: NDArray[np.int64]) -> float:
    """Every output times its derivative of the mean loss, squared."""
    score = 0.0
    for row, target in zip(x, y, strict=True):
        _, h = forward(weights, row)
        deltas = backward(weights, h, loss_derivative(h[-1], target))
        for matrix, a, delta in zip(weights, h, deltas, strict=True):
            score += matrix.shape[0] * 0.5 * np.sum((a * delta / len(x)) ** 2) / len(x)
    return float(score)


def jacob_cov(weights: list[Array], x: Array) -> float:
    """From the rows' derivatives of the sum of logits."""
    rows = []
    for row in x:
        _, h = forward(weights, row)
        rows.append(weights[0] @ backward(weights, h, np.ones_like(h[-1]))[0])
    v = np.linalg.eigvalsh(np.corrcoef(np.array(rows))) + 1e-5
    return float(-np.sum(np.log(v) + 1.0 / v))


def naswot(weights: list[Array], x: Array) -> float:
    """From the hidden units' signs, counted pair by pair; singular: rank less rows."""
    codes = [np.concatenate(forward(weights, row)[1][:-1]) > 0 for row in x]
    kernel = np.array([[np.sum(a == b) for b in codes] for a in codes], dtype=np.float64)
    rank = np.linalg.matrix_rank(kernel, hermitian=True)
    return float(rank - len(x)) if rank < len(x) else float(np.linalg.slogdet(kernel)[1])


def gram(rows: list[list[Array]]) -> Array:
    """Inner products of gradients, one list of layers for each row."""
    flat = [np.concatenate([g.ravel() for g in row]) for row in rows]
    return np.array([[a @ b for b in flat] for a in flat])


def ntk(weights: list[Array], x: Array) -> Array:
    """Of the sums of logits."""
    rows = []
    for row in x:
        z, h = forward(weights, row)
        rows.append(outer_products(z, backward(weights, h, np.ones_like(h[-1]))))
    return gram(rows)


def zico(weights: list[Array], x: Array, y: NDArray[np.int64]) -> float:
    """Over equal batches of rows in their order."""
    batches = zip(np.split(x, BATCHES), np.split(y, BATCHES), strict=True)
    passes = [mean_gradient(weights, rows, targets) for rows, targets in batches]
    score = 0.0
    for layer in range(len(weights)):
        g = np.array([gradients[layer] for gradients in passes])
        mean, std = np.mean(np.abs(g), axis=0), np.std(g, axis=0)
        score += np.log(np.sum(mean[std > 0] / std[std > 0]))
    return float(score)


def synflow(weights: list[Array]) -> float:
    """For one row of ones."""
    positive = [np.abs(matrix) for matrix in weights]
    z, h = forward(positive, np.ones(len(weights[0])))
    gradients = outer_products(z, backward(positive, h, np.ones_like(h[-1])))
    return float(sum(np.sum(w * g) for w, g in zip(positive, gradients, strict=True)))


def expressflow(weights: list[Array], direction: Array) -> float:
    """For a row of ones and a step of 1e-5 along ``direction``."""
    positive = [np.abs(matrix) for matrix in weights]
    ones = np.ones(len(direction))
    z, h = forward(positive, ones)
    perturbed, _ = forward(positive, ones + 1e-5 * direction)
    deltas = backward(positive, h, np.ones_like(h[-1]))
    inverse, saliency = [], []
    for layer in range(1, len(weights)):
        inverse.append(1.0 / (np.linalg.norm(perturbed[layer] - z[layer]) / 1e-5 + 1e-6))
        # Every ReLU is open, so a derivative with respect to its input is one with respect to its output.
        saliency.append(len(z[layer]) * np.sum(z[layer] * np.abs(deltas[layer - 1])))
    return float(np.dot(inverse, saliency) / np.sum(inverse))


def scores(outputs: int, rows: int) -> dict[str, float]:
    """Every score of the network with so many outputs, for the first so many rows."""
    made = case(outputs)
    weights, x, y = made["weights"], made["x"][:rows], made["y"][:rows]
    g = mean_gradient(weights, x, y)
    hg = hessian_product(weights, x, y, g)
    losses = []
    for row, target in zip(x, y, strict=True):
        z, h = forward(weights, row)
        losses.append(outer_products(z, backward(weights, h, loss_derivative(h[-1], target))))
    kernel = ntk(weights, x)
    eigenvalues = np.linalg.eigvalsh(kernel)
    result = {
        "grad_norm": sum(np.linalg.norm(layer) for layer in g),
        "grad_plain": sum(np.sum(w * d) for w, d in zip(weights, g, strict=True)),
        "snip": sum(np.sum(np.abs(w * d)) for w, d in zip(weights, g, strict=True)),
        "grasp": -sum(np.sum(w * d) for w, d in zip(weights, hg, strict=True)),
        "fisher": fisher(weights, x, y),
        "synflow": synflow(weights),
        "jacob_cov": jacob_cov(weights, x),
        "naswot": naswot(weights, x),
        "ntk_cond": eigenvalues[-1] / eigenvalues[0],
        "ntk_trace": np.trace(kernel),
        "ntk_trace_approx": sum(np.sum(layer**2) for layer in g),
        "knas": np.mean(gram(losses)),
        "weight_norm": sum(np.linalg.norm(w) for w in weights),
        "zico": zico(weights, x, y),
        "expressflow": expressflow(weights, made["direction"]),
        "params": sum(w.size for w in weights),
        "flops": 2 * sum(w.size for w in weights),
    }
    return {name: float(value) for name, value in result.items()}


def document() -> dict[str, Any]:
    """What the file holds."""
    cases = [
        {"outputs": outputs, "rows": rows, "scores": scores(outputs, rows)}
        for outputs in OUTPUTS
        for rows in ROW_COUNTS
    ]
    tolerance = {name: TOLERANCE.get(name, DEFAULT_TOLERANCE) for name in scores(OUTPUTS[0], ROW_COUNTS[-1])}
    return {
        "made_by": Path(__file__).name,
        "seed": SEED,
        "inputs": INPUTS,
        "hidden": list(HIDDEN),
        "zico_batches": BATCHES,
        "relative_tolerance": tolerance,
        "cases": cases,
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(document(), indent=2) + "\n")
