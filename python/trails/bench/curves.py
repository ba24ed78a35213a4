"""The learning curves of a recorded benchmark as columns in memory, with seconds of what was trained in stacks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.bench.estimate import LEAST_TIMED, Estimate, Sized, fit
from trails.bench.plan import sample
from trails.bench.setting import Setting
from trails.bench.store import Store
from trails.space import Space


class Curves:
    """Columns of `trails.bench.schemas.CURVE`.

    Args:
        store: Where they are.
        setting: Of the benchmark.
        space: Of the architectures.

    Raises:
        UnusableData: A file is damaged or of another form.
    """

    def __init__(self, store: Store, setting: Setting, space: Space) -> None:
        self._store, self._setting, self._space = store, setting, space
        self._table = store.curves()

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """By name, in order of place, seed and epoch; seconds that nobody could measure are estimated."""
        names = [name for name in self._table.column_names if name != "machine"]
        columns = {name: self._table[name].to_numpy() for name in names}
        return self._with_estimates(columns) if (columns["stacked"] > 1).any() else columns

    def _with_estimates(self, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Seconds of what was trained in stacks are estimated, if anything was timed alone."""
        if self.estimate is None:
            return columns
        rows = columns["stacked"] > 1
        places, at = np.unique(columns["place"][rows], return_inverse=True)
        seconds = self.estimate.seconds(self._sized(places), self._setting.rows["train"], self._setting.rows["valid"])
        filled = dict(columns)
        for name, each in zip(("train_seconds", "valid_seconds"), seconds, strict=True):
            filled[name] = columns[name].copy()
            filled[name][rows] = each[at]
        return filled

    @cached_property
    def estimate(self) -> Estimate | None:
        """Of the seconds of architectures that were trained in stacks; None where too few were timed alone.

        Raises:
            InvalidInput: They were timed on machines that differ.
        """
        times = self._store.times()
        # A builder that times may have been stopped: curves without seconds can be looked up nevertheless.
        if times.num_rows < LEAST_TIMED:
            return None
        train, valid = (times[f"{what}_seconds"].to_numpy().astype(np.float64) for what in ("train", "valid"))
        rows = self._setting.rows
        sized = self._sized(times["place"].to_numpy())
        return fit(sized, train, valid, rows["train"], rows["valid"], times["machine"].to_pylist())

    def _sized(self, places: NDArray[np.int32]) -> Sized:
        indices = sample(self._space.size, int(places.max()) + 1)
        designs = [self._space.architecture(indices[place]) for place in places.tolist()]
        inputs = self._setting.fields * int(self._setting.options["embedding"])
        flops = np.array([self._space.flops(design, inputs) for design in designs], np.float64)
        return Sized(flops, np.array([len(design) for design in designs], np.float64))

    @cached_property
    def starts(self) -> dict[tuple[int, int], slice]:
        """Rows of every training, by place and seed."""
        place, seed = self.columns["place"], self.columns["seed"]
        if not len(place):
            return {}
        first = np.flatnonzero(np.r_[True, (place[1:] != place[:-1]) | (seed[1:] != seed[:-1])]).tolist()
        ends = [*first[1:], len(place)]
        return {(int(place[a]), int(seed[a])): slice(a, b) for a, b in zip(first, ends, strict=True)}

    @cached_property
    def seeds(self) -> dict[int, list[int]]:
        """Seeds that each place was trained with, ascending."""
        found: dict[int, list[int]] = {}
        for place, seed in sorted(self.starts):
            found.setdefault(place, []).append(seed)
        return found

    def places(self, seed: int) -> list[int]:
        """Places trained with a seed, ascending."""
        return self._places.get(seed, [])

    @cached_property
    def _places(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for place, seed in sorted(self.starts):
            found.setdefault(seed, []).append(place)
        return found
