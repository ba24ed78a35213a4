"""What an epoch of each candidate will take, from one candidate's measured seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trails.model.network import multiply_accumulates

# Costs in units of one multiply-accumulate, from one Zen core (73 GFLOP/s in matrix products, so 0.08 ns
# per multiply-accumulate with its two backward products): BatchNorm and ReLU 3 ns per neuron and row,
# embedding about as much per input, Adam and averaging 2.5 ns per parameter and step.
_PER_NEURON = 36.0
_PER_INPUT = 30.0
_PER_PARAMETER_STEP = 30.0

_NEWEST = 0.5
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


class Costs:
    """Predicts seconds per epoch; sharpened by every epoch observed.

    Args:
        inputs: Numbers that the first layer reads.
        ids: Rows of the embedding table.
        embedding: Size of a category's vector.
        rows: Training rows.
        batches: Batches of an epoch.
        profiled: Widths of the profiled candidate.
        seconds: What one epoch of it would take.
    """

    def __init__(
        self,
        *,
        inputs: int,
        ids: int,
        embedding: int,
        rows: int,
        batches: int,
        profiled: Sequence[int],
        seconds: Seconds,
    ) -> None:
        self._inputs, self._embedded = inputs, ids * embedding
        self._batches, self._steps_per_row = batches, batches / rows
        self._training_rate = seconds.training / self.training_work(profiled)
        self._evaluation_rate = seconds.evaluation / self.evaluation_work(profiled)

    def of(self, widths: Sequence[int]) -> Seconds:
        """Predicted seconds of one epoch of the candidate with these hidden widths."""
        return Seconds(
            self._training_rate * self.training_work(widths),
            self._evaluation_rate * self.evaluation_work(widths),
        )

    def batch(self, widths: Sequence[int]) -> float:
        """Predicted seconds of one batch of this candidate, evaluation aside."""
        return self.of(widths).training / self._batches

    def observe(self, stacked: Sequence[Sequence[int]], seconds: Seconds) -> None:
        """Learn from an epoch of candidates with these hidden widths, which together took ``seconds``."""
        training = seconds.training / sum(map(self.training_work, stacked))
        evaluation = seconds.evaluation / sum(map(self.evaluation_work, stacked))
        self._training_rate += _NEWEST * (training - self._training_rate)
        self._evaluation_rate += _NEWEST * (evaluation - self._evaluation_rate)

    def fell_short(self, stacked: Sequence[Sequence[int]], seconds: Seconds) -> None:
        """Learn from an epoch that was given up: so many ``seconds`` are what these candidates would have needed."""
        training = seconds.training / sum(map(self.training_work, stacked))
        evaluation = seconds.evaluation / sum(map(self.evaluation_work, stacked))
        self._training_rate = max(training, self._training_rate)
        self._evaluation_rate = max(evaluation, self._evaluation_rate)

    def training_work(self, widths: Sequence[int]) -> float:
        """Work of training on one row, in multiply-accumulates of the forward pass."""
        products = multiply_accumulates(widths, self._inputs)
        per_step = _PER_PARAMETER_STEP * (products + self._embedded)
        return products + _PER_NEURON * sum(widths) + _PER_INPUT * self._inputs + per_step * self._steps_per_row

    def evaluation_work(self, widths: Sequence[int]) -> float:
        """Work of predicting one row: no optimiser."""
        return multiply_accumulates(widths, self._inputs) + _PER_NEURON * sum(widths) + _PER_INPUT * self._inputs


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
