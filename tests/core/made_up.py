"""Spaces of made-up networks: designs are rows of small numbers, and what a design scores is a function of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check
from trails.errors import InvalidInput
from trails.family import Design
from trails.family.scoring import Designs, OneByOne, Scoring, Walk
from trails.tfmem import ScoringSetting, Tfmem

Score = Callable[[Design], float]


class TableScoring(Scoring):
    """Scores by metric's name; some metrics score the whole space at once.

    Args:
        scores: What each metric says of a design.
        at_once: Names of those that score a space at once.
    """

    def __init__(self, scores: Mapping[str, Score], at_once: Sequence[str] = ()) -> None:
        self._scores, self._at_once = scores, tuple(at_once)

    def parameters(self, design: Design, inputs: int) -> int:
        return inputs * (1 + sum(design))

    def flops(self, design: Design, inputs: int) -> int:
        return 2 * inputs * sum(design)

    def knows(self, metric: Tfmem) -> bool:
        return metric.name in self._scores or super().knows(metric)

    def at_once(self, metric: Tfmem, designs: Designs) -> bool:
        return metric.name in self._at_once

    def whole_space(
        self, metric: Tfmem, designs: Designs, setting: ScoringSetting, check: Check = no_check
    ) -> NDArray[np.float64]:
        score = self._scores[metric.name]
        return np.array([score(designs.architecture(index)) for index in range(designs.size)])

    def one_by_one(self, designs: Designs, setting: ScoringSetting, check: Check = no_check) -> OneByOne:
        return _Looked(self._scores, super().one_by_one(designs, setting, check))


class _Looked:
    def __init__(self, scores: Mapping[str, Score], otherwise: OneByOne) -> None:
        self._scores, self._otherwise = scores, otherwise

    def walks(self, metric: Tfmem) -> Callable[[], Walk]:
        if metric.name not in self._scores:
            return self._otherwise.walks(metric)
        return lambda: self._scores[metric.name]


class MadeUp:
    """A family whose designs are written as ``0.3.1``."""

    def __init__(self, scoring: Scoring, name: str = "made-up") -> None:
        self.name, self.scoring = name, scoring

    def parse(self, text: str) -> Design:
        try:
            return tuple(int(part) for part in text.split("."))
        except ValueError:
            raise InvalidInput(f"'{text}' is not an architecture") from None

    def format(self, design: Design) -> str:
        return ".".join(map(str, design))
