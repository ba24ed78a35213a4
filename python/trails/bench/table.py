"""A recorded benchmark to be asked: answers in microseconds what training would have answered in hours.

    benchmark = trails.bench.open("bench/frappe")
    benchmark.query("64-64-64-64", epoch=14, seed=1, split="valid")

Nothing has a default that decides a figure: epoch, seed and split are always named. Validation and test rows are never
pooled, and the test metric is had only through `Benchmark.final`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trails.bench.answers import Answer, Curve
from trails.bench.curves import Curves
from trails.bench.estimate import Estimate
from trails.bench.plan import sample
from trails.bench.protocol import SEEDS
from trails.bench.scores import ScoreTable
from trails.bench.space import RecordedSpace
from trails.bench.store import Store
from trails.errors import InvalidInput, UnusableData, shown
from trails.space import parse_space

__all__ = ["Answer", "Benchmark", "Curve", "Split"]

Split = Literal["train", "valid"]


class Benchmark:
    """A recorded benchmark; see the module.

    Args:
        folder: Of its tables.

    Raises:
        InvalidInput: There is none.
        UnusableData: A file is damaged or of another version.
    """

    def __init__(self, folder: Path) -> None:
        store = Store(folder)
        setting = store.setting()
        if setting is None:
            raise InvalidInput(
                f"{folder} holds no benchmark",
                hint="Record one: python -m trails bench train --dataset NAME --architectures N.",
            )
        self.folder, self.setting = folder, setting
        self.space = parse_space(setting.space)
        self._store = store
        self._curves = Curves(store, setting, self.space)
        self._spaces: dict[int, RecordedSpace] = {}

    @cached_property
    def _places(self) -> dict[str, int]:
        """Place in the sample of every recorded architecture."""
        return {name: place for place, name in self._names.items()}

    @cached_property
    def _names(self) -> dict[int, str]:
        """Every recorded architecture by its place, in the order of the sample."""
        recorded = sorted(self._curves.seeds)
        indices = sample(self.space.size, recorded[-1] + 1) if recorded else []
        return {place: self.space.format(self.space.architecture(indices[place])) for place in recorded}

    @property
    def architectures(self) -> list[str]:
        """Every recorded architecture, in the order of the sample."""
        return list(self._places)

    def seeds(self, architecture: str) -> list[int]:
        """Seeds that an architecture was trained with.

        Raises:
            InvalidInput: It is not recorded.
        """
        return self._curves.seeds[self._place(architecture)].copy()

    def recorded(self, seed: int) -> RecordedSpace:
        """The architectures that were trained with a seed, as a space of their own.

        Raises:
            InvalidInput: There is none.
        """
        if seed not in self._spaces:
            places = self._curves.places(seed)
            indices = sample(self.space.size, places[-1] + 1) if places else []
            self._spaces[seed] = RecordedSpace(self.space, [indices[place] for place in places])
        return self._spaces[seed]

    @property
    def estimate(self) -> Estimate | None:
        """Of the seconds of architectures that were trained in stacks; None where too few were timed alone."""
        return self._curves.estimate

    def column(self, name: str, *, epoch: int, seed: int) -> NDArray[np.float64]:
        """What was recorded of all architectures after an epoch.

        Args:
            name: A column of `trails.bench.store.CURVE`, such as ``valid_auc``.
            epoch: From 1.
            seed: Of the trainings.

        Returns:
            float64 (architectures,), in the order of `recorded`; NaN where training went wrong before.

        Raises:
            InvalidInput: There is no such column, or no such epoch of any.
        """
        columns = self._curves.columns
        if name not in columns:
            raise InvalidInput(f"there is no column '{shown(name)}'", hint=f"There are: {', '.join(columns)}.")
        places = self._curves.places(seed)
        rows = np.flatnonzero((columns["epoch"] == epoch) & (columns["seed"] == seed))
        if not rows.size:
            raise InvalidInput(f"no architecture is recorded up to epoch {epoch} with seed {seed}")
        found = np.full(len(places), np.nan)
        found[np.searchsorted(places, columns["place"][rows])] = columns[name][rows]
        return found

    def curve(self, architecture: str, *, seed: int) -> Curve:
        """The whole learning curve.

        Raises:
            InvalidInput: It is not recorded.
        """
        rows = self._rows(architecture, seed)
        names = ("train_loss", "train_auc", "valid_auc", "valid_loss", "train_seconds", "valid_seconds")
        columns = {name: self._curves.columns[name][rows] for name in names}
        return Curve(architecture, seed, **columns, measured=self.measured(architecture, seed))

    def measured(self, architecture: str, seed: int) -> bool:
        """Whether its seconds were measured alone; else it was trained in a stack, and `estimate` says what they are.

        Raises:
            InvalidInput: It is not recorded.
        """
        return bool((self._curves.columns["stacked"][self._rows(architecture, seed)] == 1).all())

    def query(self, architecture: str, *, epoch: int, seed: int, split: Split) -> Answer:
        """AUC and loss after an epoch.

        Raises:
            InvalidInput: It is not recorded; the test rows are asked for, which `final` tells.
        """
        if split not in ("train", "valid"):
            raise InvalidInput(
                f"a split is train or valid, not '{shown(split)}'",
                hint="What was reached on test rows is told by final(), for reports and not for choosing.",
            )
        return self._answer(architecture, epoch, seed, split)

    def final(self, architecture: str, *, epoch: int, seed: int) -> Answer:
        """AUC and loss on the test rows, for reports: nothing should be chosen by them.

        Raises:
            InvalidInput: It is not recorded.
        """
        return self._answer(architecture, epoch, seed, "test")

    def seconds(self, architecture: str, *, epoch: int, seed: int) -> float:
        """Seconds of training up to the end of an epoch with an evaluation after each, alone: on one core or a GPU.

        `measured` says whether they were; else they are estimated.

        Raises:
            InvalidInput: It is not recorded.
            UnusableData: It was trained in a stack, and nothing was timed alone to estimate from.
        """
        rows = self._rows(architecture, seed)
        place = self._epoch(architecture, seed, epoch)
        columns = self._curves.columns
        spent = columns["train_seconds"][rows][: place + 1] + columns["valid_seconds"][rows][: place + 1]
        if np.isnan(spent).any():
            raise UnusableData(
                f"{shown(architecture)} was trained in a stack, and nothing says what it takes alone",
                hint=f"python -m trails bench time --dataset {self.setting.dataset}",
            )
        return float(spent.sum(dtype=np.float64))

    def best(self, *, epoch: int, seed: int) -> Answer:
        """The architecture with the highest validation AUC after an epoch, among those recorded with this seed.

        Raises:
            InvalidInput: Nothing is recorded so far.
        """
        columns = self._curves.columns
        found = np.flatnonzero((columns["epoch"] == epoch) & (columns["seed"] == seed))
        found = found[np.isfinite(columns["valid_auc"][found])]
        if not found.size:
            raise InvalidInput(f"no architecture is recorded up to epoch {epoch} with seed {seed}")
        place = int(columns["place"][found[columns["valid_auc"][found].argmax()]])
        return self._answer(self._names[place], epoch, seed, "valid")

    @cached_property
    def _scores(self) -> ScoreTable:
        return ScoreTable(self._store, self._curves.places(SEEDS[0]))

    def scores(self, tfmem: str, batch_seed: int = 1) -> NDArray[np.float64]:
        """Scores of all architectures that were trained with the first seed.

        Args:
            tfmem: A metric, or several joined by ``+`` whose ranks among these architectures are added up; ``jacflow``
                is ``naswot+synflow``.
            batch_seed: Of the rows, their embedding and the networks. Of metrics that read no data there is one.

        Returns:
            float64 (architectures,), in the order of ``recorded(1)``, as the metric gives them: of ``ntk_cond`` a lower
            one is better (`merits` turns it). NaN or infinite where a score failed.

        Raises:
            InvalidInput: There is no such metric, or not every one of these architectures is scored by it.
        """
        return self._scores.scores(tfmem, batch_seed)

    def merits(self, tfmem: str, batch_seed: int = 1) -> NDArray[np.float64]:
        """`scores`, of which higher is better for every metric, and NaN where one failed."""
        return self._scores.merits(tfmem, batch_seed)

    def score(self, architecture: str, tfmem: str, batch_seed: int = 1) -> float:
        """One of `scores`.

        Raises:
            InvalidInput: As `scores`, or the architecture is not recorded with the first seed.
        """
        place = self.recorded(SEEDS[0]).index(self.space.parse(architecture))
        return float(self.scores(tfmem, batch_seed)[place])

    def scoring_seconds(self, tfmem: str) -> float:
        """Seconds of drawing and scoring one network, alone, on one core: the median of what was scored.

        Raises:
            InvalidInput: Nothing is scored by it.
        """
        return self._scores.seconds(tfmem)

    def whole_space_seconds(self, tfmem: str) -> float | None:
        """Seconds of scoring and ranking all architectures of the space at once, on one core; None where the metric
        is paid for one at a time.

        Raises:
            InvalidInput: Nothing is scored by it.
        """
        return self._scores.whole_space_seconds(tfmem)

    def space_scores(self, tfmem: str) -> NDArray[np.float64]:
        """Scores of all architectures of the space, float64 (space's size,) in its order, by the weights that they
        share: what the product ranks by. Kept in float32, and only where that was asked for.

        Raises:
            InvalidInput: They were not kept.
        """
        return self._scores.space_scores(tfmem)

    def parameters(self, architecture: str) -> int:
        """Trained numbers, the embedding included.

        Raises:
            InvalidInput: It is not recorded.
            UnusableData: The benchmark was not put into tables yet, or the file is damaged.
        """
        place = self._place(architecture)
        found = self._parameters.get(place)
        if found is None:
            raise UnusableData(
                f"{self.folder} does not say how many parameters {shown(architecture)} has",
                hint=f"python -m trails bench merge --dataset {self.setting.dataset}",
            )
        return found

    @cached_property
    def _parameters(self) -> dict[int, int]:
        return self._store.parameters()

    def _answer(self, architecture: str, epoch: int, seed: int, split: str) -> Answer:
        rows = self._rows(architecture, seed)
        place = self._epoch(architecture, seed, epoch)
        auc, loss = (float(self._curves.columns[f"{split}_{what}"][rows][place]) for what in ("auc", "loss"))
        return Answer(architecture, epoch, seed, split, auc, loss)

    def _epoch(self, architecture: str, seed: int, epoch: int) -> int:
        rows = self._rows(architecture, seed)
        epochs = rows.stop - rows.start
        if not isinstance(epoch, int | np.integer) or not 1 <= epoch <= epochs:
            raise InvalidInput(
                f"epoch {shown(epoch)} of {shown(architecture)} was not recorded",
                detail=f"Its curve has {epochs} epochs, counted from 1.",
            )
        return epoch - 1

    def _rows(self, architecture: str, seed: int) -> slice:
        place = self._place(architecture)
        rows = self._curves.starts.get((place, seed))
        if rows is None:
            known = ", ".join(map(str, self.seeds(architecture)))
            raise InvalidInput(f"{shown(architecture)} was not trained with seed {seed}", hint=f"Recorded: {known}.")
        return rows

    def _place(self, architecture: str) -> int:
        place = self._places.get(architecture)
        if place is None:
            self.space.parse(architecture)
            raise InvalidInput(
                f"{shown(architecture)} is not recorded in {self.folder}",
                detail=f"It holds {len(self._places)} of the {self.space.size} architectures of {self.space.name}.",
                hint="A larger sample may: python -m trails bench train "
                f"--dataset {self.setting.dataset} --architectures N.",
            )
        return place
