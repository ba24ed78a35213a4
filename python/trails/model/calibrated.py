"""A model whose logits are divided by a temperature, or whose numbers are on a line: as weights, or as the target's
mean and deviation, so that whatever reads it is right by itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from trails.model.operations import Linear, LinearPath, Scale
from trails.model.store import Model


def at_temperature(model: Model, temperature: float) -> Model:
    """The same model with its logits divided by ``temperature``; no prediction takes longer for a plain network."""
    if temperature == 1.0:
        return model
    *before, last = model.operations
    by = np.float32(1.0 / temperature)
    match last:
        case Linear(of, weight, bias):
            return replace(model, operations=(*before, Linear(of, weight * by, bias * by)))
        case LinearPath(weight):
            return replace(model, operations=(*before, LinearPath(weight * by)))
    factors = np.full(model.target.outputs, by, np.float32)
    scaled = Scale(len(model.operations), factors, np.zeros_like(factors))
    return replace(model, operations=(*model.operations, scaled))


def on_line(model: Model, slope: float, shift: float) -> Model:
    """The same model of a regression with its outputs times ``slope``, above 0, plus ``shift``."""
    target = model.target
    mean, std = target.mean + target.std * shift, target.std * slope
    usable = math.isfinite(mean) and math.isfinite(std) and std > 0.0
    return replace(model, target=replace(target, mean=mean, std=std)) if usable else model
