"""A model whose logits are divided by a temperature, or whose numbers are on a line: as weights, or as the target's
mean and deviation, so that whatever reads it is right by itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from trails.model.operations import Add, Linear, LinearPath, Scale
from trails.model.store import Model


def at_temperature(model: Model, temperature: float) -> Model:
    """The same model with its logits divided by ``temperature``; no prediction takes longer for a plain network."""
    if temperature == 1.0:
        return model
    by = np.float32(1.0 / temperature)
    match model.operations:
        case (*before, Linear() | LinearPath() as last):
            return replace(model, operations=(*before, _times(last, by)))
        case (*before, Linear() as last, LinearPath() as path, Add(of)) if of == (len(before) + 1, len(before) + 2):
            return replace(model, operations=(*before, _times(last, by), _times(path, by), Add(of)))
    factors = np.full(model.target.outputs, by, np.float32)
    scaled = Scale(len(model.operations), factors, np.zeros_like(factors))
    return replace(model, operations=(*model.operations, scaled))


def _times(last: Linear | LinearPath, by: np.float32) -> Linear | LinearPath:
    if isinstance(last, Linear):
        return Linear(last.of, last.weight * by, last.bias * by)
    return LinearPath(last.weight * by)


def on_line(model: Model, slope: float, shift: float) -> Model:
    """The same model of a regression with its outputs times ``slope``, above 0, plus ``shift``."""
    target = model.target
    mean, std = target.mean + target.std * shift, target.std * slope
    usable = math.isfinite(mean) and math.isfinite(std) and std > 0.0
    return replace(model, target=replace(target, mean=mean, std=std)) if usable else model
