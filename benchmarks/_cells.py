"""What experiments on recorded cells for pictures share: datasets, accuracies, scores, and which cells are alike.

    cells = open_cells("c100")
    cells.valid[:, 0], cells.final, cells.merits("jacflow")

A number of epochs is a training of its own there, and what `SCHEDULES` says stands in every figure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from benchmarks._records import latest
from benchmarks._statistics import Vector, merits
from benchmarks.harness import Document, Row
from trails import bench
from trails.bench.folder import tables
from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.image.score_table import done, named, representatives
from trails.bench.image.store import read_setting
from trails.bench.image.trainer import CellRecords
from trails.errors import InvalidInput
from trails.tfmem import REGISTRY
from trails.tfmem.registry import ZEN

DATASETS = ("c10", "c100", "in16", "nasbench101")

RECORDINGS: Mapping[str, str] = MappingProxyType(
    {"c10": "nasbench201", "c100": "nasbench201", "in16": "nasbench201", "nasbench101": "nasbench101"}
)
"""The benchmark that a dataset is of."""

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "c10": "NAS-Bench-201, CIFAR-10",
        "c100": "NAS-Bench-201, CIFAR-100",
        "in16": "NAS-Bench-201, ImageNet16-120",
        "nasbench101": "NAS-Bench-101, CIFAR-10",
    }
)

SCHEDULES = (
    "Each number of epochs is a training of its own, down to a learning rate of zero: none goes on from a shorter one, "
    "survivors start over."
)

FINAL: Mapping[str, str] = MappingProxyType(
    {
        "nasbench201": "test accuracy, 200 epochs, mean of runs (%)",
        "nasbench101": "validation accuracy, 108 epochs, one run (%)",
    }
)
"""What `Cells.final` is. No test accuracy of NAS-Bench-101 is in the extract."""

SECONDS: Mapping[str, str] = MappingProxyType(
    {
        "nasbench201": "Seconds of training are estimated for one core, from some cells that were timed.",
        "nasbench101": "Seconds of training are the published ones, of its authors' accelerators, by epochs.",
    }
)
"""Where `Cells.seconds` are from; it stands beside `SCHEDULES` where seconds are drawn."""

RANDOM = "random order"
CONTROLS = ("params", "flops", "weight_norm", RANDOM)
PUBLISHED = " (published)"
"""Ends the names of metrics whose scores others computed."""

_BATCH_SEED = 1
_ENOUGH, _NEARLY_ALL, _SEARCHED = 100, 0.98, 0.05


@dataclass(frozen=True)
class Cells:
    """The recorded cells with what was recorded of them on one dataset.

    Args:
        dataset: Of `DATASETS`.
        benchmark: That they are of.
    """

    dataset: str
    benchmark: ImageBenchmark

    @property
    def pictures(self) -> str:
        """What the benchmark calls the dataset."""
        return "c10" if self.dataset == "nasbench101" else self.dataset

    @property
    def ladder(self) -> tuple[int, ...]:
        """Epochs of the trainings that are recorded, shortest first."""
        return tuple(self._records.schedules)

    @cached_property
    def _records(self) -> CellRecords:
        return CellRecords(self.benchmark, self.pictures, batch_seed=_BATCH_SEED)

    @property
    def final_is(self) -> str:
        """What `final` is, for axes."""
        return FINAL[RECORDINGS[self.dataset]]

    @property
    def notes(self) -> str:
        """What must be said of accuracies and seconds, for figures with both."""
        return f"{SCHEDULES}\n{SECONDS[RECORDINGS[self.dataset]]}"

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """The same number for isomorphic cells: int64 (cells,), from 0."""
        alike = representatives(self.benchmark.space, self.benchmark.recorded().recorded)
        return np.asarray(np.unique(alike, return_inverse=True)[1], np.int64)

    @cached_property
    def valid(self) -> NDArray[np.float64]:
        """Validation accuracy of one run in percent: float64 (cells, trainings), in the order of `ladder`."""
        return np.stack([self._records.valid[epochs] for epochs in self.ladder], axis=1)

    @cached_property
    def final(self) -> Vector:
        """What a winner is judged by and never chosen: float64 (cells,), see `final_is`."""
        if self.dataset == "nasbench101":
            return self.column("valid", self.ladder[-1])
        return self.column("test", self.ladder[-1], "mean")

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Of one training: float64 (cells, trainings), in the order of `ladder`; see `SECONDS`."""
        return np.stack([self._records.seconds[epochs] for epochs in self.ladder], axis=1)

    def column(self, split: str, epochs: int, runs: str = "one") -> Vector:
        """Accuracies in percent: float64 (cells,)."""
        return self.benchmark.column(split, dataset=self.pictures, epochs=epochs, runs=runs)  # type: ignore[arg-type]

    @cached_property
    def _scored(self) -> Mapping[str, set[int]]:
        found: dict[str, set[int]] = {}
        for index, name in done(self.benchmark.folder, _BATCH_SEED):
            found.setdefault(name, set()).add(index)
        return found

    @property
    def metrics(self) -> list[str]:
        """Metrics that some cell was scored by here, those that are counted or combined among them."""
        names = [*REGISTRY, ZEN.name]
        return [name for name in names if self.scored(name).any()]

    def scored(self, name: str) -> NDArray[np.bool_]:
        """Which cells a metric has scored, with success or without: bool (cells,)."""
        if name in ("params", "flops", RANDOM):
            return np.ones(self.classes.size, np.bool_)
        if name.endswith(PUBLISHED):
            return ~np.isnan(self.merits(name))
        alike = representatives(self.benchmark.space, self.benchmark.recorded().recorded)
        parts = [self._scored.get(part.name, set()) for part in named(name)]
        return np.array([all(index in part for part in parts) for index in alike.tolist()], np.bool_)

    def merits(self, name: str, seed: int = 0) -> Vector:
        """Scores turned so that higher is better: float64 (cells,), minus infinity where one failed, NaN for none.

        Args:
            name: Of a metric, `RANDOM`, or with `PUBLISHED` behind it for scores of others.
            seed: Of a random order.
        """
        if name == RANDOM:
            return np.random.default_rng((seed, 1)).random(self.classes.size)
        if name.endswith(PUBLISHED):
            return self._published(name.removesuffix(PUBLISHED))
        orientation = ZEN.orientation if name == ZEN.name else REGISTRY[name].orientation
        there = self.scored(name)
        if not there.any():
            return np.full(there.size, np.nan)
        return np.where(there, merits(self.benchmark.scores(name, batch_seed=_BATCH_SEED), orientation), np.nan)

    def _published(self, name: str) -> Vector:
        found = np.full(self.classes.size, np.nan)
        # Most were published on CIFAR-10 alone; where the pictures do not matter much that is better than none.
        for pictures in dict.fromkeys((self.pictures, "c10")):
            with suppress(InvalidInput):
                places, scores = self.benchmark.published_scores(name, dataset=pictures)
                break
        else:
            return found
        orientation = REGISTRY[name].orientation if name in REGISTRY else "higher"
        usable = (places >= 0) & ~np.isnan(scores)
        found[places[usable]] = merits(scores[usable], orientation)
        return found

    def seconds_of_scoring(self, name: str) -> float:
        """Median seconds of scoring one cell on one core; none for counts and a random order, which cost nothing."""
        counted = name in ("params", "flops", RANDOM) or name.endswith(PUBLISHED)
        return 0.0 if counted else self.benchmark.scoring_seconds(name, batch_seed=_BATCH_SEED)

    @cached_property
    def few(self) -> NDArray[np.bool_]:
        """The cells that others published scores of many metrics of: bool (cells,)."""
        return ~np.isnan(self._published("synflow"))

    @cached_property
    def many(self) -> NDArray[np.bool_]:
        """The cells that jacflow was computed of here, or all where these are too few to search in: bool (cells,)."""
        found = self.scored("jacflow")
        return found if found.mean() >= _SEARCHED else np.ones(found.size, np.bool_)

    @property
    def sets(self) -> dict[str, NDArray[np.bool_]]:
        """`many`, and `few` where that are enough to compare metrics on."""
        return {"many": self.many} | ({"few": self.few} if self.few.sum() >= _ENOUGH else {})

    def covers(self, name: str, chosen: NDArray[np.bool_], share: float | None = None) -> bool:
        """Whether a metric has scores of a share of a set, of nearly all by default; a cell without one ranks last."""
        return bool(self.scored(name)[chosen].mean() >= (_NEARLY_ALL if share is None else share))

    def told(self, chosen: NDArray[np.bool_]) -> str:
        """How many cells an experiment looks at, for figures: searches find the best of these, not of the space."""
        alike = np.unique(self.classes[chosen]).size
        of = f", {alike:,} of {self.classes.max() + 1:,} classes" if RECORDINGS[self.dataset] == "nasbench201" else ""
        return f"{chosen.sum():,} of {self.benchmark.space.size:,} cells{of}"


def open_cells(dataset: str) -> Cells:
    """The recorded cells of a dataset.

    Raises:
        InvalidInput: They are not there; the hint says how to come by them.
    """
    return Cells(dataset, bench.open(RECORDINGS[dataset]))  # type: ignore[arg-type]


def missing(dataset: str) -> str | None:
    """Why an experiment cannot run on a dataset, and what to do about it; None where it can."""
    name = RECORDINGS.get(dataset)
    if name is None or read_setting(tables() / name) is not None:
        return None
    return f"{name} is not here: python -m trails bench convert --dataset {name} makes it of the published files"


def drawn(chosen: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.int64]:
    """Some of the cells, at random: int64 (count,), places in ascending order."""
    return np.sort(np.random.default_rng(seed).choice(np.flatnonzero(chosen), count, replace=False))


def best_first(places: NDArray[np.int64], scores: Vector) -> list[int]:
    """Places by their merits, best first; equal ones in the order of the places."""
    return [int(place) for place in places[np.argsort(-scores[places], kind="stable")]]


def newest(document: Document) -> list[Row]:
    """Rows of the largest table, and of those the ones of the metrics that were looked at last: tables grow cell by
    cell and metric by metric, and rows name ``architectures`` and ``metrics``."""
    rows = latest(document)
    return [row for row in rows if row["metrics"] == rows[-1]["metrics"]]


def heading(width: int, *lines: str) -> str:
    """Lines above a figure, broken where they are longer than so many characters."""
    parts = [part for line in lines for part in line.split("\n")]
    return "\n".join(piece for part in parts for piece in textwrap.wrap(part, width))


def found(rows: Sequence[Row], **values: object) -> list[Row]:
    """Rows that hold all of ``values``."""
    return [row for row in rows if all(row.get(key) == value for key, value in values.items())]
