"""Networks of cells scored without training. Counts need NumPy alone; scores make the network in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trails.checks import Check, no_check
from trails.family.cell import counts101, nasbench201
from trails.family.design import Design
from trails.family.scoring import Designs, OneByOne, OwnNetwork, Scoring, Walk
from trails.tfmem import REGISTRY, Batch, ScoringSetting, Tfmem
from trails.tfmem.registry import ZEN

COUNTED = ("params", "flops")
CLASSES = 10
"""Of CIFAR-10's pictures, for which the published counts are."""
_SCORED = {ZEN.name, *(name for name, metric in REGISTRY.items() if not metric.combines)}


class CellScoring(Scoring):
    """Every metric, network by network, on batches of pictures.

    ``inputs`` is 3 x side x side everywhere: the networks end in an average over all pixels, so that they take every
    size. Scores are of networks with as many classes as the batch has, or as are named here where no batch is read.

    Args:
        family: Its name.
        parameters: Of a design and so many classes.
        flops: Of a design, a picture's side and so many classes.
        classes: That parameters and operations are counted for; ten, as they were recorded.
    """

    def __init__(
        self,
        family: str,
        parameters: Callable[[Design, int], int],
        flops: Callable[[Design, int, int], int],
        classes: int = CLASSES,
    ) -> None:
        self._family, self._parameters, self._flops, self._classes = family, parameters, flops, classes

    def parameters(self, design: Design, inputs: int) -> int:
        """See `Scoring.parameters`."""
        return self._parameters(design, self._classes)

    def flops(self, design: Design, inputs: int) -> int:
        """See `Scoring.flops`."""
        return self._flops(design, math.isqrt(inputs // 3), self._classes)

    def knows(self, metric: Tfmem) -> bool:
        """See `Scoring.knows`."""
        return metric.name in _SCORED

    def one_by_one(self, designs: Designs, setting: ScoringSetting, check: Check = no_check) -> OneByOne:
        """See `Scoring.one_by_one`: a network of its own for every design."""
        return _OwnNetworks(self, setting)

    def initialise(self, metrics: Sequence[Tfmem], design: Design, inputs: int, seed: int) -> OwnNetwork:
        """See `Scoring.initialise`; metrics that are asked for on the same batches share what they need."""
        from trails.family.cell.networks import measures_of

        known: dict[tuple[int, ...], tuple[Sequence[Batch], Callable[[str], float]]] = {}

        def score(metric: Tfmem, batches: Sequence[Batch]) -> float:
            if metric.name in COUNTED:
                count = self.parameters if metric.name == "params" else self.flops
                return float(count(design, inputs))
            key = tuple(map(id, batches))
            if key not in known:
                # The batches are kept, so that others are not taken for them.
                known[key] = batches, measures_of(self._family, design, seed, inputs, batches, self._classes).of
            return known[key][1](metric.name)

        return score


class _OwnNetworks:
    """Draws every design's network when it is scored."""

    def __init__(self, scoring: CellScoring, setting: ScoringSetting) -> None:
        self._scoring, self._setting = scoring, setting

    def walks(self, metric: Tfmem) -> Callable[[], Walk]:
        """See `OneByOne.walks`."""
        setting, scoring = self._setting, self._scoring
        batches = setting.batches[: metric.batches] if metric.needs else setting.batches[:1]

        def walk(design: Design) -> float:
            return scoring.initialise([metric], design, setting.inputs, setting.seed)(metric, batches)

        return lambda: walk


SCORING_101 = CellScoring("nasbench101", counts101.parameters, counts101.flops)
SCORING_201 = CellScoring("nasbench201", nasbench201.parameters, nasbench201.flops)
