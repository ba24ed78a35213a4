"""Training cells by looking accuracies up, on a clock that passes as whole trainings take.

trainer = CellTrainer(CellRecords(bench.open("nasbench201"), "c10"), budget=1e6)
TRAINING_BASED["evolution"](trainer, seed=1, epochs=200)
trainer.trajectory.best()

Trainings of 12 and of 200 epochs are different ones, in each of which the learning rate falls to zero: a longer one
does not go on from a shorter one, it is paid from its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trails.bench.image.benchmark import ImageBenchmark, Runs, Source
from trails.bench.space import RecordedSpace
from trails.bench.trainer import BestSoFar, Trainer
from trails.errors import InvalidInput, shown


@dataclass(frozen=True)
class CellIncumbent:
    """What a search among cells would hand over from some moment on.

    Args:
        seconds: Spent when its training ended.
        architecture: As its space writes it.
        epochs: Of the training.
        valid_accuracy: By which it was chosen, in percent: of one run.
        test_accuracy: For reports, in percent: the mean of the runs where that is recorded, else of one; NaN where no
            test accuracy is.
    """

    seconds: float
    architecture: str
    epochs: int
    valid_accuracy: float
    test_accuracy: float


class CellTrajectory(BestSoFar[CellIncumbent]):
    """The best trained cell so far, by validation accuracy."""


class CellRecords:
    """What searches need of one dataset of a benchmark of cells, looked up once for many of them.

    Args:
        benchmark: The benchmark.
        dataset: ``c10``, ``c100`` or ``in16``.
        batch_seed: Of the scores.

    Raises:
        InvalidInput: No validation accuracies on the dataset are recorded.

    Attributes:
        schedules: Epochs of the trainings whose validation accuracy is recorded, ascending.
    """

    def __init__(self, benchmark: ImageBenchmark, dataset: str, *, batch_seed: int = 1) -> None:
        self.benchmark, self.dataset, self.batch_seed = benchmark, dataset, batch_seed
        known = benchmark.fidelities
        self.schedules = sorted(e for d, e, split, runs in known if (d, split, runs) == (dataset, "valid", "one"))
        if not self.schedules:
            datasets = sorted({d for d, _, split, _ in known if split == "valid"})
            raise InvalidInput(
                f"no trainings on '{shown(dataset)}' are recorded in {benchmark.folder}",
                hint=f"Datasets: {', '.join(datasets)}.",
            )
        self._merits: dict[str, NDArray[np.float64]] = {}
        self._scoring: dict[str, float] = {}

    @cached_property
    def seconds(self) -> dict[int, NDArray[np.float64]]:
        """Of a training of so many epochs, of every recorded cell: float64 (cells,).

        Raises:
            UnusableData: They are not known; the hint says how they come to be.
        """
        return {
            epochs: self.benchmark.training_seconds(dataset=self.dataset, epochs=epochs) for epochs in self.schedules
        }

    @property
    def seconds_are(self) -> tuple[Source, ...]:
        """Where they are from, of each of the schedules."""
        return tuple(self.benchmark.seconds_are(dataset=self.dataset, epochs=epochs) for epochs in self.schedules)

    @cached_property
    def valid(self) -> dict[int, NDArray[np.float64]]:
        """Validation accuracies in percent after so many epochs: float64 (cells,)."""
        return {epochs: self._column(epochs, "valid", "one") for epochs in self.schedules}

    @cached_property
    def test(self) -> dict[int, NDArray[np.float64]]:
        """Test accuracies in percent, the mean of the runs where it is recorded; NaN where there is none."""
        found = {}
        for epochs in self.schedules:
            found[epochs] = np.full(len(self.valid[epochs]), math.nan)
            runs: Runs
            for runs in ("one", "mean"):
                if (self.dataset, epochs, "test", runs) in self.benchmark.fidelities:
                    found[epochs] = self._column(epochs, "test", runs)
        return found

    def merits(self, tfmem: str) -> NDArray[np.float64]:
        """Of every recorded cell: float64 (cells,), higher is better; NaN where it was not scored.

        Raises:
            UnusableData: No cell was scored by it; the hint says how they are.
        """
        if tfmem not in self._merits:
            self._merits[tfmem] = self.benchmark.merits(tfmem, batch_seed=self.batch_seed)
        return self._merits[tfmem]

    def scoring_seconds(self, tfmem: str) -> float:
        """Median seconds of scoring one cell on one core; see `ImageBenchmark.scoring_seconds`."""
        if tfmem not in self._scoring:
            self._scoring[tfmem] = self.benchmark.scoring_seconds(tfmem, batch_seed=self.batch_seed)
        return self._scoring[tfmem]

    def space(self, tfmems: Sequence[str] = ()) -> RecordedSpace:
        """The cells that have all of these scores, and an accuracy for every schedule.

        Raises:
            UnusableData: No cell was scored by one of them.
        """
        columns = [*self.valid.values(), *(self.merits(tfmem) for tfmem in tfmems)]
        usable = np.logical_and.reduce([~np.isnan(column) for column in columns])
        return RecordedSpace(self.benchmark.space, self.benchmark.recorded().recorded[usable].tolist())

    def places(self, space: RecordedSpace) -> NDArray[np.int64]:
        """Of the cells of a part of the recorded ones, their places among all: int64 (space.size,)."""
        return np.searchsorted(self.benchmark.recorded().recorded, space.recorded)

    def _column(self, epochs: int, split: str, runs: Runs) -> NDArray[np.float64]:
        return self.benchmark.column(split, dataset=self.dataset, epochs=epochs, runs=runs)


class CellTrainer(Trainer):
    """Trains recorded cells, each training a whole schedule.

    Args:
        records: Where they are looked up.
        budget: Seconds.
        workers: See `Trainer`.
        space: A part of the recorded cells to search; None for all that have accuracies.

    Raises:
        InvalidInput: As `Trainer`.
        UnusableData: It is not known how long trainings take.

    Attributes:
        records: See above.
        trajectory: The best so far.
    """

    ordered = False

    def __init__(
        self,
        records: CellRecords,
        *,
        budget: float = math.inf,
        workers: int = 1,
        space: RecordedSpace | None = None,
    ) -> None:
        super().__init__(records.space() if space is None else space, budget, workers)
        self.records, self.trajectory = records, CellTrajectory()
        self._places = records.places(self.space)
        self._seconds = {epochs: column[self._places] / workers for epochs, column in records.seconds.items()}
        self._trained: set[tuple[int, int]] = set()

    def train(self, index: int, epochs: int, *, again: bool = False) -> float:
        """See `Trainer.train`: a whole training of so many epochs, whatever was trained before.

        Args:
            index: In `space`.
            epochs: One of the records' schedules.
            again: Pay even for a training that was made already; else its network is still there.

        Returns:
            Validation accuracy in percent.

        Raises:
            OutOfTime: The budget ends before; then nothing comes of it.
            InvalidInput: No trainings of so many epochs are recorded.
        """
        if epochs not in self._seconds:
            raise InvalidInput(
                f"no trainings of {epochs} epochs on {self.records.dataset} are recorded",
                hint=f"Recorded: {', '.join(map(str, self.records.schedules))} epochs.",
            )
        accuracy = float(self.records.valid[epochs][self._places[index]])
        if again or (index, epochs) not in self._trained:
            self.charge(float(self._seconds[epochs][index]))
            self.epochs += epochs
            self._trained.add((index, epochs))
            self._offer(index, epochs, accuracy)
        return accuracy

    def training_seconds(self, epochs: int) -> NDArray[np.float64]:
        """Of the cells of `space`: float64 (size,)."""
        return self._seconds[epochs]

    def milestones(self, epochs: int) -> Sequence[int]:
        """See `Trainer.milestones`: the schedules."""
        return [schedule for schedule in self.records.schedules if schedule <= epochs]

    def scoring_seconds(self, tfmem: str) -> float:
        """See `Trainer.scoring_seconds`."""
        return self.records.scoring_seconds(tfmem)

    def merits(self, tfmem: str, seed: int) -> NDArray[np.float64]:
        """See `Trainer.merits`; there is one batch for all seeds, that of the records."""
        found = self.records.merits(tfmem)[self._places]
        return np.where(np.isfinite(found), found, -np.inf)

    def _offer(self, index: int, epochs: int, accuracy: float) -> None:
        found = self.trajectory.incumbents
        if math.isnan(accuracy) or (found and accuracy <= found[-1].valid_accuracy):
            return
        test = float(self.records.test[epochs][self._places[index]])
        name = self.space.format(self.space.architecture(index))
        found.append(CellIncumbent(self.spent, name, epochs, accuracy, test))
