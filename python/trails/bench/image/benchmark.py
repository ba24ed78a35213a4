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
import pyarrow.compute as pc
from numpy.typing import NDArray

from trails.bench.image.score_table import scores_of, seconds_of
from trails.bench.image.store import read_setting, read_table
from trails.bench.space import RecordedSpace
from trails.errors import InvalidInput, shown
from trails.space import picture_space

Split: TypeAlias = Literal["train", "valid"]
Runs: TypeAlias = Literal["one", "mean"]


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
        codes = [pc.cast(self._table[name], "string").combine_chunks().dictionary_encode() for name in _KEYS]
        epochs = self._table["epochs"].to_numpy()
        places = np.searchsorted(self._indices, self._table["index"].to_numpy())
        accuracy = self._table["accuracy"].to_numpy().astype(np.float64)
        seconds = self._table["seconds"].to_numpy(zero_copy_only=False).astype(np.float64)
        keys = np.stack([*(code.indices.to_numpy() for code in codes), epochs])
        found = {}
        for key in np.unique(keys, axis=1).T:
            rows = np.flatnonzero((keys == key[:, None]).all(axis=0))
            dataset, split, runs = (c.dictionary[int(place)].as_py() for c, place in zip(codes, key, strict=False))
            both = np.full((2, len(self._indices)), np.nan)
            both[:, places[rows]] = accuracy[rows], seconds[rows]
            found[dataset, int(key[-1]), split, runs] = both[0], both[1]
        return found

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

    def scoring_seconds(self, tfmem: str, *, batch_seed: int = 1) -> float:
        """Median seconds that scoring one cell took on one core.

        Raises:
            InvalidInput: There is no such metric.
            UnusableData: No cell was scored by it.
        """
        return seconds_of(self.folder, self.space, tfmem, batch_seed)

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
        table = read_table(self.folder, "published_score")
        kept = pc.and_(
            pc.equal(pc.cast(table["tfmem"], "string"), tfmem), pc.equal(pc.cast(table["dataset"], "string"), dataset)
        )
        table = table.filter(kept)
        if not table.num_rows:
            raise InvalidInput(
                f"no scores by '{shown(tfmem)}' on '{shown(dataset)}' were published with this benchmark"
            )
        indices = table["index"].to_numpy().astype(np.int64)
        places = np.minimum(np.searchsorted(self._indices, indices), len(self._indices) - 1)
        return np.where(self._indices[places] == indices, places, -1), table["score"].to_numpy()

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


_KEYS = ("dataset", "split", "runs")
