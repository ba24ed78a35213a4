"""Metrics of the first phase with ways of the second: AUC against the seconds that both took, on recorded curves.

{JacFlow, SynFlow, SNIP, ExpressFlow, params, random order} rank a pool, and successive halving (U = 1, eta = 3),
successive rejects (as many epochs as halving) or full training (every candidate to the last epoch) choose among its
best K, for K = 1, 2, 4 and so on. Scoring is paid as the published study pays it, one architecture at a time;
survivors go on from their weights. A pool is four in five of the recorded architectures, drawn with the selection's
seed. Params and random order are controls; a random order costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks._combinations import Told, combination_figure, combination_lines
from benchmarks._records import DATASETS, SEED, latest, open_table, table_size
from benchmarks._statistics import Vector, merits, or_none
from benchmarks.harness import Context, Document, Row
from trails.bench.table import Benchmark
from trails.halving import DEFAULT_ETA, halving_rungs, total_epochs
from trails.refinement.schedulers import Scheduler, make_scheduler
from trails.tfmem import REGISTRY

__all__ = ["DATASETS", "draw", "run", "summarise"]

RANDOM = "random order"
METRICS = ("jacflow", "synflow", "snip", "expressflow", "params", RANDOM)
CONTROLS = ("params", RANDOM)
WAYS: Mapping[str, str] = {"sh": "successive halving", "sj": "successive rejects", "full": "full training"}
BATCH_SEEDS = 3
_SEEDS = 50
_MOST = 128
_SEEN = 0.8


@dataclass(frozen=True)
class Curves:
    """Learning curves of all recorded architectures.

    Args:
        valid: float64 (architectures, epochs); minus infinity where training went wrong.
        test: float64 (architectures, epochs).
        seconds: float64 (architectures, epochs): of training up to an epoch's end with an evaluation after each.
    """

    valid: NDArray[np.float64]
    test: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @classmethod
    def of(cls, benchmark: Benchmark) -> Curves:
        """Look them up."""
        epochs = range(1, benchmark.setting.epochs + 1)
        valid, test = (
            np.stack([benchmark.column(f"{split}_auc", epoch=epoch, seed=SEED) for epoch in epochs], axis=1)
            for split in ("valid", "test")
        )
        space = benchmark.recorded(SEED)
        names = [space.format(space.architecture(place)) for place in range(space.size)]
        # A training that went wrong has no later epochs.
        spent = np.full(valid.shape, np.nan)
        for place, name in enumerate(names):
            lasted = len(benchmark.curve(name, seed=SEED).valid_auc)
            spent[place, :lasted] = [benchmark.seconds(name, epoch=e, seed=SEED) for e in range(1, lasted + 1)]
            spent[place, lasted:] = spent[place, lasted - 1]
        return cls(np.where(np.isfinite(valid), valid, -np.inf), test, spent)


def run(context: Context) -> None:
    """Select with every combination at every K, seed after seed."""
    assert context.dataset is not None
    benchmark = open_table(context.dataset)
    space = benchmark.recorded(SEED)
    if context.recorded(architectures=space.size):
        return
    common = {"architectures": space.size, "table": table_size(benchmark)}
    curves, pool = Curves.of(benchmark), max(2, math.floor(_SEEN * space.size))
    counts = [2**power for power in range(int(math.log2(min(pool, _MOST))) + 1)]
    rows: list[Row] = []
    for metric in METRICS:
        context.say(f"{context.dataset}: {metric}")
        scoring = 0.0 if metric == RANDOM else pool * benchmark.scoring_seconds(metric)
        for seed in range(context.seed, context.seed + (5 if context.quick else _SEEDS)):
            scores = _merits(benchmark, metric, seed)
            seen = np.sort(np.random.default_rng(seed).choice(space.size, pool, replace=False))
            ranked = seen[np.argsort(-scores[seen], kind="stable")]
            for way in WAYS:
                for k in counts:
                    found = refine(curves, ranked[:k].tolist(), way)
                    common_row = {"metric": metric, "way": way, "k": k, "search_seed": seed, **common}
                    rows.append({**common_row, "filtering_seconds": scoring, **found})
                    rows[-1]["seconds"] = scoring + found["refinement_seconds"]
    context.record(*rows, {"metric": "table", "best_valid_auc": float(curves.valid.max()), **common})


def _merits(benchmark: Benchmark, metric: str, seed: int) -> Vector:
    if metric == RANDOM:
        # Not the stream that draws the pool.
        return np.random.default_rng((seed, 1)).random(benchmark.recorded(SEED).size)
    return merits(benchmark.scores(metric, batch_seed=1 + seed % BATCH_SEEDS), REGISTRY[metric].orientation)


def scheduler_of(way: str, candidates: Sequence[str], epochs: int) -> Scheduler:
    """The product's scheduler of a way of refinement.

    Args:
        way: Of `WAYS`.
        candidates: Best-scored first.
        epochs: After which no candidate is trained further.
    """
    if way == "full":
        return make_scheduler("ua", candidates, epochs=len(candidates) * epochs, max_epochs=epochs, u=epochs)
    spent = total_epochs(halving_rungs(len(candidates), 1, DEFAULT_ETA, epochs))
    return make_scheduler(way, candidates, epochs=spent, max_epochs=epochs, u=1 if way == "sh" else None)


def refine(curves: Curves, places: Sequence[int], way: str) -> Row:
    """What a way of refinement chooses among architectures, and what it spends.

    Args:
        curves: Of all architectures.
        places: Of the candidates, best-scored first.
        way: Of `WAYS`.

    Returns:
        Validation and test AUC of the winner's best epoch; epochs and seconds of all trainings.
    """
    names = {str(place): place for place in places}
    scheduler = scheduler_of(way, list(names), curves.valid.shape[1])
    reached: dict[int, int] = {}
    while not scheduler.done:
        job = scheduler.next_job()
        if job is None:
            scheduler.end_rung()
            continue
        place = names[job.architecture]
        reached[place] = job.epochs_to
        best = curves.valid[place, : job.epochs_to].max()
        scheduler.report(job.architecture, float(best) if np.isfinite(best) else None)
    winner = max(reached, key=lambda place: float(curves.valid[place, : reached[place]].max()))
    epoch = int(curves.valid[winner, : reached[winner]].argmax())
    return {
        "valid_auc": or_none(curves.valid[winner, epoch]),
        "test_auc": or_none(curves.test[winner, epoch]),
        "epochs": sum(reached.values()),
        "refinement_seconds": float(sum(curves.seconds[place, to - 1] for place, to in reached.items())),
    }


def summarise(document: Document) -> list[str]:
    """AUC of every combination at a small, a middle and the largest K, by the seconds spent."""
    rows = latest(document)
    return combination_lines(rows, _told(document, rows))


def draw(document: Document) -> Mapping[str, Figure]:
    """A panel for each way of refinement, validation and test AUC against seconds spent."""
    rows = latest(document)
    return {"": combination_figure(rows, _told(document, rows))}


def _told(document: Document, rows: Sequence[Row]) -> Told:
    return Told(
        f"{document.settings['dataset']}, simulated on records: {rows[0]['table']}",
        METRICS,
        CONTROLS,
        WAYS,
        {"valid_auc": "validation AUC", "test_auc": "test AUC"},
    )
