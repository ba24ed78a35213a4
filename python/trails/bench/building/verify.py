"""Trains and scores some of what a benchmark holds once more, and says how far that is from what was recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trails.bench.building.pools import LocalPool
from trails.bench.building.progress import Progress
from trails.bench.building.score_one import Scored
from trails.bench.kind import kind
from trails.bench.plan import Shard, Training, trainings
from trails.bench.protocol import SEEDS, Protocol
from trails.bench.store import Store
from trails.errors import InvalidInput
from trails.space import parse_space

SAME = 2e-6
"""AUC that a repetition on the same kind of machine may be off: curves are kept in float32."""

ALIKE = 0.02
"""AUC that it may be off elsewhere: other processors sum in another order, and Adam's first steps make of last digits
what another seed would. On Criteo's 1,990 validation rows a network trained in a stack is up to 0.007 off."""

SAME_SCORE, ALIKE_SCORE = 1e-9, 1e-3
"""The same of scores, as a share of the recorded one. Scores are of float64 throughout, and yet some are differences of
nearly equal numbers."""

_SPLITS = ("train_auc", "valid_auc", "test_auc")


@dataclass(frozen=True)
class Verified:
    """One training, repeated.

    Args:
        architecture: As its space writes it.
        seed: Of the training.
        same_machine: Whether it was recorded on this kind of processor by this version of torch.
        auc: Largest difference of an AUC of any split after any epoch; infinite where one failed and the other did not,
            or a curve is longer than the other.
        scores: Largest difference of a score, as a share of it.
        scored: Scores that were computed again.
    """

    architecture: str
    seed: int
    same_machine: bool
    auc: float
    scores: float
    scored: int

    def sound(self, tolerance: float | None = None) -> bool:
        """Whether it is near enough.

        Args:
            tolerance: Of AUCs; None for what is usual on the same, or on another, kind of machine.
        """
        most = (SAME if self.same_machine else ALIKE) if tolerance is None else tolerance
        return self.auc <= most and self.scores <= (SAME_SCORE if self.same_machine else ALIKE_SCORE)


def verify(
    protocol: Protocol,
    folder: Path,
    architectures: int,
    *,
    seed: int = 0,
    processes: int = 0,
    devices: str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> list[Verified]:
    """Repeat some recorded trainings, and the scores of their architectures.

    Args:
        protocol: Of the dataset.
        folder: Of the benchmark.
        architectures: How many, each with one of the seeds that it was trained with.
        seed: Draws them.
        processes: Each trains on one core; 0 for all cores.
        devices: As the product's option ``device``: what is repeated elsewhere may differ more.
        say: Told the progress.

    Returns:
        One of each training, in the order of the sample.

    Raises:
        InvalidInput: Fewer are recorded, or the benchmark is of other rows or options.
    """
    store, space = Store(folder), parse_space(protocol.space)
    chosen = _chosen(store, space.size, architectures, seed)
    count = min(processes or len(os.sched_getaffinity(0)), len(chosen))
    curves, scores = store.curves(), store.scores()
    found: dict[Training, list[dict[str, Any]]] = {}
    with LocalPool(protocol, count, devices, stacked=1) as pool:
        store.claim(pool.setting())
        progress = Progress(len(chosen), "repeated", say)
        for (one,) in pool.run([[training] for training in chosen]):
            row = one.curve[0]
            found[next(t for t in chosen if (t.place, t.seed) == (row["place"], row["seed"]))] = one.curve
            progress.tell(len(found))
    scored = Scored.read(protocol) if scores.num_rows else None
    results = []
    for training in chosen:
        recorded = curves.filter((pc.field("place") == training.place) & (pc.field("seed") == training.seed))
        own = scores.filter(pc.field("place") == training.place)
        results.append(
            Verified(
                space.format(space.architecture(training.index)),
                training.seed,
                {kind(name) for name in recorded["machine"].to_pylist()} == {kind(found[training][0]["machine"])},
                _difference(recorded, found[training]),
                0.0 if scored is None else _score_difference(scored, training.index, own),
                own.num_rows,
            )
        )
    return results


def _chosen(store: Store, size: int, architectures: int, seed: int) -> list[Training]:
    done = store.done()
    places = sorted({place for place, _ in done})
    if not 1 <= architectures <= len(places):
        raise InvalidInput(
            f"{architectures} architectures cannot be repeated of the {len(places)} that {store.folder} holds"
        )
    generator = np.random.default_rng(seed)
    drawn = {}
    for place in sorted(generator.choice(places, architectures, replace=False).tolist()):
        drawn[place] = int(generator.choice(sorted(other for at, other in done if at == place)))
    everything = trainings(size, max(drawn) + 1, tuple({*SEEDS, *drawn.values()}), Shard())
    indices = {training.place: training.index for training in everything}
    return [Training(place, own, indices[place]) for place, own in drawn.items()]


def _difference(recorded: pa.Table, again: Sequence[dict[str, Any]]) -> float:
    if recorded["epoch"].to_pylist() != [row["epoch"] for row in again]:
        return float("inf")
    largest = 0.0
    for split in _SPLITS:
        before = recorded[split].to_numpy().astype(np.float64)
        largest = max(largest, _largest(before, np.array([row[split] for row in again])))
    return largest


def _score_difference(scored: Scored, index: int, recorded: pa.Table) -> float:
    before = recorded["score"].to_numpy()
    asked = zip(recorded["tfmem"].to_pylist(), recorded["batch_seed"].to_pylist(), strict=True)
    again = np.array([scored.score(index, tfmem, seed).score for tfmem, seed in asked])
    scale = np.where(np.isfinite(before) & (before != 0.0), np.abs(before), 1.0)
    return _largest(before / scale, again / scale)


def _largest(before: np.ndarray[Any, np.dtype[np.float64]], again: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Largest difference; infinite where only one of two is a number."""
    equal = (before == again) | (np.isnan(before) & np.isnan(again))
    with np.errstate(invalid="ignore"):
        apart = np.where(equal, 0.0, np.abs(before - again))
    return float(np.where(np.isfinite(apart), apart, np.inf).max(initial=0.0))
