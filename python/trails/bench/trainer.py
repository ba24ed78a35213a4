"""Training by looking curves up, on a clock that passes as the trainings took: what every search on records spends.

trainer = RecordedTrainer(open("frappe"), budget=3600.0)
try:
    while True:
        trainer.train(sampler.ask(1)[0], epochs=14)
except OutOfTime:
    print(trainer.trajectory.best())
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from trails.bench.space import RecordedSpace
from trails.bench.table import Benchmark
from trails.errors import InvalidInput, TrailsError, UnusableData


class OutOfTime(TrailsError):
    """The budget is spent; what was finished before is in the trajectory."""


@dataclass(frozen=True)
class Incumbent:
    """What a search would hand over from some moment on.

    Args:
        seconds: Spent when it was found.
        architecture: As its space writes it.
        epoch: That it was trained to.
        valid_auc: By which it was chosen.
        test_auc: Of the same weights; for reports.
    """

    seconds: float
    architecture: str
    epoch: int
    valid_auc: float
    test_auc: float


class Found(Protocol):
    """What a search has at some moment."""

    @property
    def seconds(self) -> float:
        """Spent when it was found."""


T = TypeVar("T", bound=Found)


@dataclass
class BestSoFar(Generic[T]):
    """The best found so far, whenever it changed."""

    incumbents: list[T] = field(default_factory=list)

    def at(self, seconds: float) -> T | None:
        """What a search that ends at ``seconds`` hands over; None before anything was trained."""
        place = bisect_right(self.incumbents, seconds, key=lambda found: found.seconds)
        return self.incumbents[place - 1] if place else None

    def best(self) -> T:
        """What is handed over at the end.

        Raises:
            InvalidInput: Nothing was trained.
        """
        if not self.incumbents:
            raise InvalidInput("nothing was trained within the budget")
        return self.incumbents[-1]


class Trajectory(BestSoFar[Incumbent]):
    """The best of a table found so far, by validation AUC."""


class Trainer(ABC):
    """What a search on records spends its budget on: a clock, trainings that are looked up, and scores.

    Args:
        space: What can be trained; indices count in it.
        budget: Seconds.
        workers: Machines that share the work perfectly: each second of training passes as a part of one.

    Raises:
        InvalidInput: The budget is negative or no number, or there is no worker.

    Attributes:
        space: See above.
        spent: Seconds so far.
        thought: Of these, the search's own, as far as it charges them.
        epochs: Trained in all.
        ordered: Whether the choices of a position are numbers in an order, such as widths.
    """

    ordered = True

    def __init__(self, space: RecordedSpace, budget: float, workers: int) -> None:
        if not budget >= 0.0 or workers < 1:
            raise InvalidInput(f"a search has zero seconds or more and a worker, not {budget} s and {workers} workers")
        self.space, self.budget, self.workers = space, budget, workers
        self.spent, self.thought, self.epochs = 0.0, 0.0, 0

    @abstractmethod
    def train(self, index: int, epochs: int, *, again: bool = False) -> float:
        """Train an architecture of `space`; the metric to choose by, NaN where training went wrong.

        Raises:
            OutOfTime: The budget ends before.
            InvalidInput: Such a training was not recorded.
        """

    @abstractmethod
    def milestones(self, epochs: int) -> Sequence[int]:
        """Epochs, ascending, to which an architecture can be trained on its way to ``epochs``, the last ones."""

    @abstractmethod
    def scoring_seconds(self, tfmem: str) -> float:
        """Seconds of scoring one architecture."""

    @abstractmethod
    def merits(self, tfmem: str, seed: int) -> NDArray[np.float64]:
        """Scores in the order of `space`: float64 (size,), higher is better, a failed one is -inf.

        Args:
            tfmem: The metric.
            seed: Of the search; where several batches were scored on, it decides which is read.
        """

    def charge(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            OutOfTime: More than is left; none is left then.
            InvalidInput: Time does not pass backwards.
        """
        if not seconds >= 0.0:
            raise InvalidInput(f"zero seconds or more can pass, not {seconds}")
        if self.spent + seconds > self.budget:
            self.spent = self.budget
            raise OutOfTime(f"the budget of {self.budget:g} s is spent")
        self.spent += seconds

    @contextmanager
    def thinking(self) -> Iterator[None]:
        """Charge the real seconds that the search itself takes."""
        began = perf_counter()
        yield
        seconds = perf_counter() - began
        self.thought += seconds
        self.charge(seconds)


class RecordedTrainer(Trainer):
    """Trains recorded architectures of a table.

    Args:
        benchmark: Where they are looked up.
        seed: Of the trainings.
        budget: Seconds.
        workers: See `Trainer`.
        space: A part of the recorded architectures to search; None for all.

    Raises:
        InvalidInput: As `Trainer`; nothing is recorded with the seed.

    Attributes:
        trajectory: The best so far.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        *,
        seed: int = 1,
        budget: float = math.inf,
        workers: int = 1,
        space: RecordedSpace | None = None,
    ) -> None:
        super().__init__(benchmark.recorded(seed) if space is None else space, budget, workers)
        self.benchmark, self.trajectory = benchmark, Trajectory()
        self._seed = seed
        self._reached: dict[int, int] = {}

    def train(self, index: int, epochs: int, *, again: bool = False) -> float:
        """See `Trainer.train`: up to an epoch, on from where it was left.

        Args:
            index: In `space`.
            epochs: Reached in the end.
            again: From its beginning, as searches do that keep no weights.

        Returns:
            Validation AUC after that epoch; NaN where training went wrong.

        Raises:
            OutOfTime: The budget ends before; epochs that were finished count.
            InvalidInput: The curve is shorter, or the epoch is not counted from 1.
            UnusableData: It is not known how long an epoch took.
        """
        if epochs < 1:
            raise InvalidInput(f"epochs count from 1: nothing can be trained to epoch {epochs}")
        curve = self.benchmark.curve(self.space.format(self.space.architecture(index)), seed=self._seed)
        begun = 0 if again else self._reached.get(index, 0)
        for epoch in range(begun + 1, epochs + 1):
            if epoch > len(curve.valid_auc):
                if math.isnan(curve.valid_auc[-1]):
                    return math.nan
                raise InvalidInput(f"{curve.architecture} was recorded for {len(curve.valid_auc)} epochs, not {epochs}")
            seconds = float(curve.train_seconds[epoch - 1] + curve.valid_seconds[epoch - 1]) / self.workers
            if math.isnan(seconds):
                raise UnusableData(
                    f"it is not known how long epoch {epoch} of {curve.architecture} took",
                    hint=f"python -m trails bench time --dataset {self.benchmark.setting.dataset}",
                )
            self.charge(seconds)
            self.epochs += 1
            self._reached[index] = max(epoch, self._reached.get(index, 0))
            self._offer(curve.architecture, epoch, float(curve.valid_auc[epoch - 1]))
        return float(curve.valid_auc[min(epochs, len(curve.valid_auc)) - 1])

    def milestones(self, epochs: int) -> Sequence[int]:
        """See `Trainer.milestones`: every epoch."""
        return range(1, epochs + 1)

    def scoring_seconds(self, tfmem: str) -> float:
        """See `Trainer.scoring_seconds`."""
        return self.benchmark.scoring_seconds(tfmem)

    def merits(self, tfmem: str, seed: int) -> NDArray[np.float64]:
        """See `Trainer.merits`.

        Raises:
            InvalidInput: Not all of it is scored.
        """
        found, pool = self.benchmark.merits(tfmem, batch_seed=1 + seed % 3), self.benchmark.recorded(1)
        if self.space is not pool:
            designs = [self.space.architecture(index) for index in range(self.space.size)]
            found = found[[pool.index(design) for design in designs]]
        return np.where(np.isfinite(found), found, -np.inf)

    def _offer(self, architecture: str, epoch: int, valid_auc: float) -> None:
        found = self.trajectory.incumbents
        if math.isnan(valid_auc) or (found and valid_auc <= found[-1].valid_auc):
            return
        test = self.benchmark.final(architecture, epoch=epoch, seed=self._seed)
        found.append(Incumbent(self.spent, architecture, epoch, valid_auc, test.auc))
