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
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

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


@dataclass
class Trajectory:
    """The best found so far, by validation AUC, whenever it changed."""

    incumbents: list[Incumbent] = field(default_factory=list)

    def at(self, seconds: float) -> Incumbent | None:
        """What a search that ends at ``seconds`` hands over; None before anything was trained."""
        place = bisect_right(self.incumbents, seconds, key=lambda found: found.seconds)
        return self.incumbents[place - 1] if place else None

    def best(self) -> Incumbent:
        """What is handed over at the end.

        Raises:
            InvalidInput: Nothing was trained.
        """
        if not self.incumbents:
            raise InvalidInput("nothing was trained within the budget")
        return self.incumbents[-1]


class RecordedTrainer:
    """Trains recorded architectures.

    Args:
        benchmark: Where they are looked up.
        seed: Of the trainings.
        budget: Seconds.
        workers: Machines that share the work perfectly: each second of training passes as a part of one.
        space: A part of the recorded architectures to search; None for all.

    Raises:
        InvalidInput: The budget is negative or no number, there is no worker, or nothing is recorded with the seed.

    Attributes:
        space: What can be trained; indices count in it.
        spent: Seconds so far.
        thought: Of these, the search's own, as far as it charges them.
        epochs: Trained in all.
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
        if not budget >= 0.0 or workers < 1:
            raise InvalidInput(f"a search has zero seconds or more and a worker, not {budget} s and {workers} workers")
        self.benchmark, self.budget = benchmark, budget
        self.space: RecordedSpace = benchmark.recorded(seed) if space is None else space
        self.spent, self.epochs, self.trajectory = 0.0, 0, Trajectory()
        self.thought = 0.0
        self._seed, self._workers = seed, workers
        self._reached: dict[int, int] = {}

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

    def train(self, index: int, epochs: int, *, again: bool = False) -> float:
        """Train an architecture up to an epoch, on from where it was left.

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
            seconds = float(curve.train_seconds[epoch - 1] + curve.valid_seconds[epoch - 1]) / self._workers
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

    def _offer(self, architecture: str, epoch: int, valid_auc: float) -> None:
        found = self.trajectory.incumbents
        if math.isnan(valid_auc) or (found and valid_auc <= found[-1].valid_auc):
            return
        test = self.benchmark.final(architecture, epoch=epoch, seed=self._seed)
        found.append(Incumbent(self.spent, architecture, epoch, valid_auc, test.auc))
