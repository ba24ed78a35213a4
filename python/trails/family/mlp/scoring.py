"""MLPs scored without training: whole spaces through weights that all share, or one network after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check
from trails.errors import InvalidInput
from trails.family.design import Design
from trails.family.mlp import counts
from trails.family.mlp.bank import Bank, SignedBank, draw_bank, draw_matrices, draw_signed_bank, initialise
from trails.family.mlp.expressflow import expressflow
from trails.family.mlp.grid import Grid, grid_of
from trails.family.mlp.naswot import naswot
from trails.family.mlp.signals import MlpSignals, SignalSource
from trails.family.mlp.synflow import synflow
from trails.family.mlp.weight_norm import weight_norm
from trails.family.scoring import Designs, OneByOne, OwnNetwork, Scoring, Walk
from trails.tfmem import Batch, ScoringSetting, Tfmem

_Scores: TypeAlias = NDArray[np.float64]
_WholeSpace: TypeAlias = Callable[[Grid, ScoringSetting, Check], _Scores]


def _without_data(score: Callable[[Grid, int, int, Check], _Scores]) -> _WholeSpace:
    return lambda grid, setting, check: score(grid, setting.inputs, setting.seed, check)


WHOLE_SPACE: MappingProxyType[str, _WholeSpace] = MappingProxyType(
    {
        "expressflow": _without_data(expressflow),
        "synflow": _without_data(synflow),
        "naswot": lambda grid, setting, check: naswot(grid, setting.batches[0], setting.seed, check, setting.workers),
        "weight_norm": _without_data(weight_norm),
        "params": lambda grid, setting, check: counts.all_parameters(grid, setting.inputs).astype(np.float64),
        "flops": lambda grid, setting, check: counts.all_flops(grid, setting.inputs),
    }
)
"""By a metric's name, what scores a whole grid at once."""


class MlpScoring(Scoring):
    """Every metric that has a formula for one network; six of them score a grid of widths at once."""

    def parameters(self, design: Design, inputs: int) -> int:
        """See `Scoring.parameters`."""
        return counts.parameters(design, inputs)

    def flops(self, design: Design, inputs: int) -> int:
        """See `Scoring.flops`."""
        return counts.flops(design, inputs)

    def parameters_at(
        self, designs: Designs, indices: NDArray[np.int64], inputs: int, check: Check = no_check
    ) -> NDArray[np.int64]:
        """See `Scoring.parameters_at`; all of a grid take some 10 ms a million."""
        grid = grid_of(designs.choices)
        if grid is None:
            return super().parameters_at(designs, indices, inputs, check)
        return counts.all_parameters(grid, inputs)[indices]

    def knows(self, metric: Tfmem) -> bool:
        """See `Scoring.knows`."""
        return metric.of_network is not None or metric.of_signals is not None

    def at_once(self, metric: Tfmem, designs: Designs) -> bool:
        """Where all layers have the same widths to choose from."""
        return metric.name in WHOLE_SPACE and grid_of(designs.choices) is not None

    def whole_space(
        self, metric: Tfmem, designs: Designs, setting: ScoringSetting, check: Check = no_check
    ) -> NDArray[np.float64]:
        """See `Scoring.whole_space`.

        Raises:
            InvalidInput: `at_once` says no.
        """
        grid = grid_of(designs.choices)
        if grid is None or metric.name not in WHOLE_SPACE:
            return super().whole_space(metric, designs, setting, check)
        return WHOLE_SPACE[metric.name](grid, setting, check)

    def one_by_one(self, designs: Designs, setting: ScoringSetting, check: Check = no_check) -> OneByOne:
        """See `Scoring.one_by_one`: networks of banks that all designs share."""
        return _Banks(self, designs, setting, check)

    def initialise(self, metrics: Sequence[Tfmem], design: Design, inputs: int, seed: int) -> OwnNetwork:
        """See `Scoring.initialise`: one network for metrics without data, and one with one output for the others."""
        positive = any(metric.of_network is not None for metric in metrics)
        signed = any(metric.of_signals is not None for metric in metrics)
        network = initialise(design, inputs, seed) if positive else None
        matrices = draw_matrices(design, inputs, 1, seed) if signed else []

        def score(metric: Tfmem, batches: Sequence[Batch]) -> float:
            if metric.of_network is not None and network is not None:
                return metric.of_network(network)
            if metric.of_signals is None or not matrices:
                raise InvalidInput(f"no network was drawn for metric {metric.name!r}")
            return metric.of_signals([MlpSignals(matrices, batch) for batch in batches])

        return score

    def jacobian_rows(self, choices: Sequence[Sequence[int]], rows: int, inputs: int) -> int:
        """See `Scoring.jacobian_rows`: the Jacobian's rank is at most the first layer's width."""
        return min(super().jacobian_rows(choices, rows, inputs), max(2, min(choices[0])))


class _Banks:
    """Networks of the banks that all designs of a space share."""

    def __init__(self, scoring: MlpScoring, designs: Designs, setting: ScoringSetting, check: Check) -> None:
        self._scoring, self._choices, self._setting, self._check = scoring, designs.choices, setting, check
        self._positive: Bank | None = None
        self._signed: dict[bool, tuple[SignedBank, tuple[Batch, ...]]] = {}

    def walks(self, metric: Tfmem) -> Callable[[], Walk]:
        """See `OneByOne.walks`."""
        if metric.of_network is not None:
            of_network, bank = metric.of_network, self._positive_bank()
            return lambda: lambda design: of_network(bank.network(design))
        assert metric.of_signals is not None
        of_signals = metric.of_signals
        signed, batches = self._signed_bank(metric.single)
        batches = batches[: metric.batches]
        if metric.within_rank:
            batch = batches[0]
            batches = (batch.head(self._scoring.jacobian_rows(self._choices, len(batch.x), batch.inputs)),)

        def begin() -> Walk:
            sources = [SignalSource(signed, batch) for batch in batches]
            return lambda design: of_signals([source(design) for source in sources])

        return begin

    @property
    def _shape(self) -> tuple[int, int]:
        """Layers, and units of the widest one."""
        return len(self._choices), max(map(max, self._choices))

    def _positive_bank(self) -> Bank:
        if self._positive is None:
            setting = self._setting
            self._positive = draw_bank(*self._shape, setting.inputs, setting.seed, self._check)
        return self._positive

    def _signed_bank(self, single: bool) -> tuple[SignedBank, tuple[Batch, ...]]:
        """The bank and the batches, in float32 where that is enough."""
        if single not in self._signed:
            if single:
                bank, batches = self._signed_bank(single=False)
                self._signed[True] = bank.single(), tuple(batch.single() for batch in batches)
            else:
                batches = self._setting.batches
                sizes = (*self._shape, batches[0].inputs, batches[0].outputs)
                self._signed[False] = draw_signed_bank(*sizes, self._setting.seed, self._check), batches
        return self._signed[single]


MLP_SCORING = MlpScoring()
"""It has no state."""
