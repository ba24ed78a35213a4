"""The scores of a recorded benchmark, aligned with its architectures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trails.bench.protocol import SEEDS
from trails.bench.store import Store
from trails.errors import InvalidInput
from trails.filtering.pool import combine_ranks
from trails.tfmem import Tfmem, parse_tfmems


class ScoreTable:
    """Scores by metric and batch.

    Args:
        store: Where they are.
        places: Of the architectures that everything is aligned with, ascending.
    """

    def __init__(self, store: Store, places: Sequence[int]) -> None:
        self._store, self._places = store, np.asarray(places, np.int64)
        self._found: dict[tuple[str, int], NDArray[np.float64]] = {}

    def scores(self, tfmem: str, batch_seed: int) -> NDArray[np.float64]:
        """See `trails.bench.table.Benchmark.scores`."""
        metrics = parse_tfmems(tfmem)
        found = [self._scores(metric, batch_seed) for metric in metrics]
        return found[0].copy() if len(found) == 1 else combine_ranks(found, [metric.orientation for metric in metrics])

    def merits(self, tfmem: str, batch_seed: int) -> NDArray[np.float64]:
        """See `trails.bench.table.Benchmark.merits`."""
        metrics, found = parse_tfmems(tfmem), self.scores(tfmem, batch_seed)
        found[~np.isfinite(found)] = np.nan
        return -found if len(metrics) == 1 and metrics[0].orientation == "lower" else found

    def seconds(self, tfmem: str) -> float:
        """See `trails.bench.table.Benchmark.scoring_seconds`."""
        return sum(self._seconds(metric) for metric in parse_tfmems(tfmem))

    def whole_space_seconds(self, tfmem: str) -> float | None:
        """See `trails.bench.table.Benchmark.whole_space_seconds`."""
        table = self._store.whole_space()
        # Of seeds that were all timed, the first: ranks that are added up are a metric of their own here.
        known = dict(reversed(list(zip(table["tfmem"].to_pylist(), table["seconds"].to_pylist(), strict=True))))
        if tfmem in known:
            return float(known[tfmem])
        found = []
        for metric in parse_tfmems(tfmem):
            self._rows(metric, None)
            found.append(known.get(metric.name))
        return None if None in found else float(sum(one for one in found if one is not None))

    def space_scores(self, tfmem: str) -> NDArray[np.float64]:
        """See `trails.bench.table.Benchmark.space_scores`."""
        metrics, table = parse_tfmems(tfmem), self._store.space_scores()
        lacking = [metric.name for metric in metrics if table is None or metric.name not in table.column_names]
        if table is None or lacking:
            raise InvalidInput(
                f"scores of the whole space by {', '.join(lacking)} are not kept in {self._store.folder}",
                hint=f"python -m trails bench score --dataset {self._dataset} --whole-space keeps them of the metrics "
                "that score a space at once.",
            )
        found = [table[metric.name].to_numpy().astype(np.float64) for metric in metrics]
        return found[0] if len(found) == 1 else combine_ranks(found, [metric.orientation for metric in metrics])

    @cached_property
    def _table(self) -> pa.Table:
        """Read once: a scorer may be adding to it, and columns of one moment do not belong to another's rows."""
        return self._store.scores()

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        table = self._table
        return {name: table[name].to_numpy() for name in table.column_names if name not in ("tfmem", "machine")}

    @cached_property
    def _starts(self) -> dict[str, slice]:
        """Rows of every metric: the table is in order of them."""
        names = self._table["tfmem"].combine_chunks().dictionary_encode()
        codes = names.indices.to_numpy()
        ends = [0, *(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), len(codes)]
        words = names.dictionary.to_pylist()
        return {words[codes[start]]: slice(start, end) for start, end in pairwise(ends)}

    def _rows(self, metric: Tfmem, batch_seed: int | None) -> dict[str, NDArray[Any]]:
        """What is there of a metric, of all batches for None.

        Raises:
            InvalidInput: Nothing.
        """
        rows = self._starts.get(metric.name, slice(0, 0)) if len(self._columns["place"]) else slice(0, 0)
        found = {name: column[rows] for name, column in self._columns.items()}
        if batch_seed is not None:
            chosen = found["batch_seed"] == batch_seed
            found = {name: column[chosen] for name, column in found.items()}
        if not len(found["place"]):
            batch = "" if batch_seed in (None, SEEDS[0]) else f" on batch {batch_seed}"
            raise InvalidInput(
                f"no architecture of {self._store.folder} is scored by {metric.name}{batch}", hint=self._hint
            )
        return found

    def _scores(self, metric: Tfmem, batch_seed: int) -> NDArray[np.float64]:
        seed = batch_seed if metric.needs else SEEDS[0]
        if (metric.name, seed) not in self._found:
            rows = self._rows(metric, seed)
            at = np.searchsorted(rows["place"], self._places).clip(max=len(rows["place"]) - 1)
            lacking = int(np.count_nonzero(rows["place"][at] != self._places))
            if lacking:
                raise InvalidInput(
                    f"{lacking} of the {len(self._places)} architectures of {self._store.folder} are not scored by "
                    f"{metric.name}",
                    hint=self._hint,
                )
            self._found[metric.name, seed] = rows["score"][at]
        return self._found[metric.name, seed]

    def _seconds(self, metric: Tfmem) -> float:
        # Not the mean: whatever a process scores first takes twenty times as long.
        return float(np.median(self._rows(metric, None)["seconds"].astype(np.float64)))

    @property
    def _dataset(self) -> str:
        setting = self._store.setting()
        return "NAME" if setting is None else setting.dataset

    @property
    def _hint(self) -> str:
        return f"python -m trails bench score --dataset {self._dataset}"
