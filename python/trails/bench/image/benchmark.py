"""A recorded benchmark of cells for pictures, to be asked.

    benchmark = trails.bench.open("nasbench201")
    benchmark.query(cell, dataset="c10", epochs=200, split="valid").accuracy

As for tables, nothing has a default that decides a figure, and test accuracies are had through `final` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trails.bench.image.score_table import named, published_of, scores_of, seconds_of
from trails.bench.image.store import columns_of, read_setting, read_table
from trails.bench.image.training_seconds import PICTURED, CellSeconds, fitted
from trails.bench.space import RecordedSpace
from trails.errors import InvalidInput, shown
from trails.family import Design
from trails.family.cell.scoring import COUNTED
from trails.space import picture_space

Split: TypeAlias = Literal["train", "valid"]
Runs: TypeAlias = Literal["one", "mean"]
Source: TypeAlias = Literal["recorded", "proportional", "estimated"]


@dataclass(frozen=True)
class ImageAnswer:
    """An accuracy with everything that it is of.

    Args:
        architecture: As its space writes it.
        dataset: ``c10``, ``c100`` or ``in16``.
        epochs: Of the training, which ended with a learning rate of zero.
        split: ``train``, ``valid`` or ``test``.
        runs: ``one``, or the ``mean`` of several.
        accuracy: In percent.
    """

    architecture: str
    dataset: str
    epochs: int
    split: str
    runs: str
    accuracy: float


class ImageBenchmark:
    """A recorded benchmark of cells; see the module.

    Args:
        folder: Of its tables.

    Raises:
        InvalidInput: There is none.
        UnusableData: A file is damaged or of another version.
    """

    def __init__(self, folder: Path) -> None:
        setting = read_setting(folder)
        if setting is None:
            raise InvalidInput(
                f"{folder} holds no benchmark",
                hint=f"Make one of the published files: python -m trails bench convert --dataset {folder.name}.",
            )
        self.folder, self.setting = folder, setting
        self.space = picture_space(setting.space)
        self._table = read_table(folder, "accuracy")

    @cached_property
    def _columns(self) -> dict[tuple[str, int, str, str], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Accuracies and seconds by dataset, epochs, split and runs, in the order of `recorded`; NaN for none."""
        return columns_of(self._table, self._indices)

    @cached_property
    def _architectures(self) -> dict[str, NDArray[np.generic]]:
        table = read_table(self.folder, "architecture").sort_by("index")
        return {name: table[name].to_numpy() for name in table.column_names}

    @property
    def _indices(self) -> NDArray[np.int64]:
        return self._architectures["index"].astype(np.int64)

    @cached_property
    def _recorded(self) -> RecordedSpace:
        return RecordedSpace(self.space, self._indices.tolist())

    def recorded(self) -> RecordedSpace:
        """The recorded cells as a space of their own, in the order of their indices."""
        return self._recorded

    @property
    def architectures(self) -> list[str]:
        """Every recorded cell, in the order of `recorded`."""
        return [str(text) for text in self._architectures["architecture"]]

    @property
    def published(self) -> list[str]:
        """By what the published files call each of them, in the same order."""
        return [str(name) for name in self._architectures["published"]]

    @property
    def fidelities(self) -> list[tuple[str, int, str, str]]:
        """Dataset, epochs, split and runs of everything that is recorded, sorted."""
        return sorted(self._columns)

    def query(self, architecture: str, *, dataset: str, epochs: int, split: Split, runs: Runs) -> ImageAnswer:
        """An accuracy at the end of a training.

        Raises:
            InvalidInput: It is not recorded; the test pictures are asked for, which `final` tells.
        """
        if split not in ("train", "valid"):
            raise InvalidInput(
                f"a split is train or valid, not '{shown(split)}'",
                hint="What was reached on test pictures is told by final(), for reports and not for choosing.",
            )
        return self._answer(architecture, dataset, epochs, split, runs)

    def final(self, architecture: str, *, dataset: str, epochs: int, runs: Runs) -> ImageAnswer:
        """An accuracy on the test pictures, for reports: nothing should be chosen by it.

        Raises:
            InvalidInput: It is not recorded.
        """
        return self._answer(architecture, dataset, epochs, "test", runs)

    def column(self, split: str, *, dataset: str, epochs: int, runs: Runs) -> NDArray[np.float64]:
        """Accuracies of all recorded cells, in percent: float64 (cells,), in the order of `recorded`.

        Raises:
            InvalidInput: They are not recorded.
        """
        return self._column(dataset, epochs, split, runs)[0]

    def best(self, *, dataset: str, epochs: int, runs: Runs) -> ImageAnswer:
        """The cell with the highest validation accuracy.

        Raises:
            InvalidInput: Nothing of the kind is recorded.
        """
        values = self.column("valid", dataset=dataset, epochs=epochs, runs=runs)
        return self._answer(self.architectures[int(np.nanargmax(values))], dataset, epochs, "valid", runs)

    def seconds(self, architecture: str, *, dataset: str, epochs: int) -> float:
        """Seconds of one training, as published.

        Raises:
            InvalidInput: They are not recorded.
        """
        found = self._column(dataset, epochs, "valid", "one")[1][self._place(architecture)]
        if np.isnan(found):
            raise InvalidInput(f"the seconds of {epochs} epochs on {shown(dataset)} are not recorded")
        return float(found)

    def training_seconds(self, *, dataset: str, epochs: int) -> NDArray[np.float64]:
        """Seconds of one training of every recorded cell: float64 (cells,), in the order of `recorded`.

        `seconds_are` tells which they are. Of NAS-Bench-101 they are those of its authors, on their accelerators: all
        of them for 108 epochs, a share of these for fewer. Of NAS-Bench-201 they are estimated, for one core of the
        machine that some cells were timed on.

        Raises:
            InvalidInput: Nothing of the kind is recorded.
            UnusableData: No cell was timed; the hint says how they are.
        """
        source, longest = self._seconds_from(dataset, epochs)
        if source != "estimated":
            return self._column(dataset, longest, "valid", "one")[1] * (epochs / longest)
        return self.cell_seconds(dataset).seconds(self._designs, PICTURED[dataset], epochs)

    def seconds_are(self, *, dataset: str, epochs: int) -> Source:
        """Where `training_seconds` come from: ``recorded`` of these trainings; ``proportional`` to those recorded of
        the longest trainings, by epochs; ``estimated`` from cells that were timed here.

        Raises:
            InvalidInput: Nothing of the kind is recorded.
        """
        return self._seconds_from(dataset, epochs)[0]

    def cell_seconds(self, dataset: str) -> CellSeconds:
        """The fit that seconds are estimated by, with its error and the machine.

        Raises:
            InvalidInput: Nothing is estimated of the dataset.
            UnusableData: No cell was timed; the hint says how they are.
        """
        if self.space.name != "nasbench201" or dataset not in PICTURED:
            raise InvalidInput(f"no seconds on '{shown(dataset)}' are estimated of {self.space.name}")
        side = PICTURED[dataset].side
        if side not in self._fits:
            designs = dict(zip(self._indices.tolist(), self._designs, strict=True))
            self._fits[side] = fitted(self.folder, designs, side)
        return self._fits[side]

    def _seconds_from(self, dataset: str, epochs: int) -> tuple[Source, int]:
        """Where seconds come from, and of trainings of how many epochs."""
        if np.isfinite(self._column(dataset, epochs, "valid", "one")[1]).all():
            return "recorded", epochs
        known = [e for d, e, s, r in self.fidelities if (d, s, r) == (dataset, "valid", "one")]
        if np.isfinite(self._column(dataset, max(known), "valid", "one")[1]).all():
            return "proportional", max(known)
        return "estimated", epochs

    @cached_property
    def _designs(self) -> list[Design]:
        return [self.space.architecture(index) for index in self._indices.tolist()]

    @cached_property
    def _fits(self) -> dict[int, CellSeconds]:
        return {}

    def parameters(self, architecture: str) -> int:
        """Trained numbers of the published network for ten classes.

        Raises:
            InvalidInput: The cell is not recorded.
        """
        return int(self._architectures["parameters"][self._place(architecture)])

    def flops(self, architecture: str) -> int:
        """What the publishers count of one picture of 32 x 32.

        Raises:
            InvalidInput: The cell is not recorded.
        """
        return int(self._architectures["flops"][self._place(architecture)])

    def scores(self, tfmem: str, *, batch_seed: int = 1) -> NDArray[np.float64]:
        """Scores that were computed here: float64 (cells,), in the order of `recorded`; NaN for cells that were not.

        A metric that is made of others, such as ``jacflow``, is the sum of their ranks among the cells that have both.
        Isomorphic cells share a score, but not ``params`` and ``flops``, which are counted.

        Args:
            tfmem: Name of the metric, or several joined by ``+``.
            batch_seed: Of its batch and the networks' weights.

        Raises:
            InvalidInput: There is no such metric.
            UnusableData: No cell was scored by it.
        """
        return scores_of(self.folder, self.space, self._indices, tfmem, batch_seed)

    def merits(self, tfmem: str, *, batch_seed: int = 1) -> NDArray[np.float64]:
        """`scores` of which a higher one is better, whichever way the metric goes."""
        found, metrics = self.scores(tfmem, batch_seed=batch_seed), named(tfmem)
        return -found if len(metrics) == 1 and metrics[0].orientation == "lower" else found

    def scoring_seconds(self, tfmem: str, *, batch_seed: int = 1) -> float:
        """Median seconds that scoring one cell took on one core; none for parameters and operations, which are counted.

        Raises:
            InvalidInput: There is no such metric.
            UnusableData: No cell was scored by it.
        """
        return 0.0 if tfmem in COUNTED else seconds_of(self.folder, self.space, tfmem, batch_seed)

    def published_scores(self, tfmem: str, *, dataset: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Scores that others computed.

        Args:
            tfmem: Name of the metric.
            dataset: On whose pictures.

        Returns:
            Places in `recorded`, or -1 for cells whose accuracy is not: int64 (scores,); the scores: float64 (scores,).

        Raises:
            InvalidInput: There are none.
        """
        indices, scores = published_of(self.folder, tfmem, dataset)
        places = np.minimum(np.searchsorted(self._indices, indices), len(self._indices) - 1)
        return np.where(self._indices[places] == indices, places, -1), scores

    def _column(
        self, dataset: str, epochs: int, split: str, runs: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        key = dataset, epochs, split, runs
        if key not in self._columns:
            known = "; ".join(f"{d}, {e} epochs, {s}, {r}" for d, e, s, r in self.fidelities)
            raise InvalidInput(
                f"no {shown(split)} accuracies ({shown(runs)}) of {epochs} epochs on '{shown(dataset)}' are recorded",
                hint=f"Recorded: {known}.",
            )
        return self._columns[key]

    def _answer(self, architecture: str, dataset: str, epochs: int, split: str, runs: str) -> ImageAnswer:
        accuracy = float(self._column(dataset, epochs, split, runs)[0][self._place(architecture)])
        return ImageAnswer(architecture, dataset, epochs, split, runs, accuracy)

    def _place(self, architecture: str) -> int:
        index = self.space.index(self.space.parse(architecture))
        place = int(np.searchsorted(self._indices, index))
        if place == len(self._indices) or self._indices[place] != index:
            raise InvalidInput(
                f"{shown(architecture)} is not recorded in {self.folder}",
                detail=f"It holds {len(self._indices)} of the {self.space.size} cells of {self.space.name}.",
            )
        return place
