"""What an epoch of each candidate will take, from one candidate's measured seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from trails.family.base import Family
from trails.family.design import Design
from trails.family.networks import Shape, Work

# Costs in units of one multiply-accumulate, from one Zen core (73 GFLOP/s in matrix products, so 0.08 ns
# per multiply-accumulate with its two backward products): BatchNorm and ReLU 3 ns per neuron and row,
# embedding about as much per input, Adam and averaging 2.5 ns per parameter and step. A step takes 3 ms however little
# there is to multiply: some 200 operations, each called for. On small tables, whose batches are small, that is most of
# what a small network costs.
_PER_NEURON = 36.0
_PER_INPUT = 30.0
_PER_PARAMETER_STEP = 30.0
_PER_STEP = 40e6

NEWEST = 0.5
"""Weight of the newest observation: the machine may get busier or idler while a run goes on."""


@dataclass(frozen=True)
class Seconds:
    """Time of one epoch of a candidate, as if the whole machine worked on nothing else.

    Two candidates that train side by side for a second, each on half of the cores, have spent half a second each.
    """

    training: float
    evaluation: float

    @property
    def epoch(self) -> float:
        """Both together."""
        return self.training + self.evaluation

    def share(self, share: float) -> float:
        """Part of an epoch's training, and the whole evaluation."""
        return share * self.training + self.evaluation


def work_of(family: Family, shape: Shape) -> Callable[[Design], Work]:
    """What networks of a family cost on one table's rows; each is asked for once."""
    return cache(lambda design: family.networks.work(shape, design))


def training_work(work: Work, steps_per_row: float) -> float:
    """Work of training on one row, in multiply-accumulates of the forward pass; a step is shared by its batch."""
    per_step = _PER_STEP + _PER_PARAMETER_STEP * work.parameters
    return work.products + _PER_NEURON * work.activations + _PER_INPUT * work.inputs + per_step * steps_per_row


def evaluation_work(work: Work) -> float:
    """Work of predicting one row: no optimiser."""
    return work.products + _PER_NEURON * work.activations + _PER_INPUT * work.inputs


class Costs:
    """Predicts seconds per epoch; sharpened by every epoch observed.

    Args:
        work: What a network costs; see `work_of`.
        rows: Training rows.
        batches: Batches of an epoch.
        profiled: Design of the profiled candidate.
        seconds: What one epoch of it would take.
    """

    def __init__(
        self,
        work: Callable[[Design], Work],
        *,
        rows: int,
        batches: int,
        profiled: Design,
        seconds: Seconds,
    ) -> None:
        self._work = work
        self.batches, self._steps_per_row = batches, batches / rows
        self._training_rate = seconds.training / self._training(profiled)
        self._evaluation_rate = seconds.evaluation / self._evaluation(profiled)

    def of(self, design: Design) -> Seconds:
        """Predicted seconds of one epoch of the candidate of this design."""
        return self.of_work(self._work(design))

    def of_work(self, work: Work) -> Seconds:
        """Predicted seconds of one epoch of a network that costs so much."""
        training = self._training_rate * training_work(work, self._steps_per_row)
        return Seconds(training, self._evaluation_rate * evaluation_work(work))

    def batch(self, design: Design) -> float:
        """Predicted seconds of one batch of this candidate, evaluation aside."""
        return self.of(design).training / self.batches

    def observe(self, stacked: Sequence[Design], seconds: Seconds) -> None:
        """Learn from an epoch of candidates of these designs, which together took ``seconds``."""
        training = seconds.training / sum(map(self._training, stacked))
        evaluation = seconds.evaluation / sum(map(self._evaluation, stacked))
        self._training_rate += NEWEST * (training - self._training_rate)
        self._evaluation_rate += NEWEST * (evaluation - self._evaluation_rate)

    def fell_short(self, stacked: Sequence[Design], seconds: Seconds) -> None:
        """Learn from an epoch that was given up: so many ``seconds`` are what these candidates would have needed."""
        training = seconds.training / sum(map(self._training, stacked))
        evaluation = seconds.evaluation / sum(map(self._evaluation, stacked))
        self._training_rate = max(training, self._training_rate)
        self._evaluation_rate = max(evaluation, self._evaluation_rate)

    def _training(self, design: Design) -> float:
        return training_work(self._work(design), self._steps_per_row)

    def _evaluation(self, design: Design) -> float:
        return evaluation_work(self._work(design))


@dataclass(frozen=True)
class Speed:
    """Measured speed.

    Args:
        costs: Seconds per epoch of every candidate, as a share of the machine.
        begin_seconds: Wall time before an epoch's first batch: fresh weights, rows in the epoch's order.
        chunk_seconds: Wall time of a chunk of validation rows: an evaluation cannot be stopped within one.
        stacked: Candidates to train together in one place.
        parts: Into how many the machine is divided: each place has one, and nothing of what others leave idle. 0 where
            those at work share all of it.
    """

    costs: Costs
    begin_seconds: float
    chunk_seconds: float
    stacked: int
    parts: int = 0

    def wall(self, active: int) -> int:
        """Wall seconds of a place for each second of the whole machine, while so many places are at work."""
        return self.parts or active
