"""What experiments on published searches share: one search a seed on recorded curves, and quality by seconds spent.

Nothing of a selection by ExpressFlow is random on one table, and a table is a sample of its space. So every seed draws
half of the recorded architectures, and all methods of that seed search these alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks._records import FINAL_EPOCH, SEED, open_table, quartiles, table_size
from benchmarks._selections import seed_noise
from benchmarks.harness import Context, Row
from trails.bench.baselines import BASELINES, knas, move_proposal, training_free, warm_up, weight_sharing
from trails.bench.baselines.weight_sharing import Shared
from trails.bench.candidates import recorded
from trails.bench.processes import process_pool
from trails.bench.simulate import simulate
from trails.bench.space import RecordedSpace
from trails.bench.table import Benchmark
from trails.bench.trainer import OutOfTime, RecordedTrainer
from trails.errors import BudgetTooSmall, InvalidInput

SEEDS = 50
QUICK_SEEDS = 6

LABELS: Mapping[str, str] = {
    "two_phase:expressflow": "two-phase, ExpressFlow, planned",
    "two_phase:jacflow": "two-phase, JacFlow, planned",
    "two_phase:params": "two-phase, parameters, planned",
    "two_phase_k:expressflow": "two-phase, ExpressFlow, U = 1, K growing",
    "two_phase_k:jacflow": "two-phase, JacFlow, U = 1, K growing",
    "two_phase_k:params": "two-phase, parameters, U = 1, K growing",
    "training_free:expressflow": "training-free, ExpressFlow",
    "training_free:jacflow": "training-free, JacFlow",
    "random": "training-based, random",
    "evolution": "training-based, evolution",
    "reinforcement": "training-based, REINFORCE",
    "tpe_hyperband": "BOHB-like: Optuna TPE + Hyperband",
    "tabnas": "TabNAS",
    "knas": "KNAS",
    "weight_sharing": "weight sharing",
}
"""How figures call the methods."""


def open_parts(dataset: str) -> tuple[Benchmark, int]:
    """A dataset's benchmark, and the epoch to which everything is trained."""
    return _benchmark(dataset), FINAL_EPOCH[dataset]


@cache
def _benchmark(dataset: str) -> Benchmark:
    return open_table(dataset)


def pool_size(benchmark: Benchmark) -> int:
    """Architectures that a seed's searches may find."""
    return max(2, benchmark.recorded(SEED).size // 2)


def pool(benchmark: Benchmark, seed: int) -> RecordedSpace:
    """Those of one seed: what `simulate` draws with the same one."""
    return recorded(benchmark, SEED).drawn(pool_size(benchmark), seed).space


def budgets(benchmark: Benchmark, epochs: int, count: int) -> list[float]:
    """Seconds, evenly spaced by their logarithm, from one to what training a whole pool takes."""
    total = sum(
        float(np.nansum(benchmark.column(name, epoch=epoch, seed=SEED)))
        for name in ("train_seconds", "valid_seconds")
        for epoch in range(1, epochs + 1)
    )
    last = 1.05 * total * pool_size(benchmark) / benchmark.recorded(SEED).size
    return [float(f"{seconds:.3g}") for seconds in np.geomspace(1.0, last, count)]


class _Ending(RecordedTrainer):
    """Ends a search that has found the best there is: nothing that it does later changes what it hands over."""

    def __init__(self, benchmark: Benchmark, space: RecordedSpace, epochs: int) -> None:
        super().__init__(benchmark, seed=SEED, space=space)
        places = [benchmark.recorded(SEED).index(space.architecture(index)) for index in range(space.size)]
        columns = [benchmark.column("valid_auc", epoch=epoch, seed=SEED)[places] for epoch in range(1, epochs + 1)]
        self.ceiling = float(np.nanmax(columns))

    def train(self, index: int, epochs: int, *, again: bool = False) -> float:
        """See `RecordedTrainer.train`."""
        auc = super().train(index, epochs, again=again)
        if self.trajectory.incumbents and self.trajectory.best().valid_auc >= self.ceiling:
            raise OutOfTime("the best of all has been found")
        return auc


def search(dataset: str, method: str, seed: int, times: Sequence[float]) -> Row:
    """One seed of one method.

    Args:
        dataset: Of the benchmark.
        method: A baseline; ``two_phase:TFMEM``, planned by budget; ``two_phase_k:TFMEM``, with U = 1 and ever more K;
            ``training_free:TFMEM[:SAMPLER]``; ``warm_up:TFMEM:SAMPLER``;
            ``move_proposal:TFMEM:SAMPLER``; ``knas:TFMEM``, KNAS by another metric or at ``random``.
        seed: Of the pool and of the search.
        times: Budgets, for methods that plan by them.

    Returns:
        ``best_valid``: the highest validation AUC that there is in the pool. ``curve``: (seconds spent, validation AUC,
        test AUC, seconds of training) of what is handed over from then on: whenever it changes in a search, and of
        every run where a method is run once a budget.
    """
    benchmark, epochs = open_parts(dataset)
    space = pool(benchmark, seed)
    name, *rest = method.split(":")
    trainer = _Ending(benchmark, space, epochs)
    row: Row = {"method": method, "search_seed": seed, "best_valid": trainer.ceiling}
    if name == "two_phase":
        return row | {"curve": _two_phase(benchmark, rest[0], seed, epochs, times)}
    if name == "two_phase_k":
        return row | {"curve": _growing(benchmark, rest[0], seed, epochs)}
    if name in ("training_free", "weight_sharing"):
        return row | {"curve": _once(benchmark, space, name, rest, seed, epochs)}
    match name:
        case "warm_up":
            warm_up(trainer, rest[0], max(1, space.size // 2), rest[1], seed, epochs)
        case "move_proposal":
            move_proposal(trainer, rest[0], rest[1], seed, epochs)
        case "knas":
            knas(trainer, seed, epochs, tfmem=rest[0] if rest else "knas")
        case _:
            BASELINES[name](trainer, seed, epochs)
    found = [[i.seconds, i.valid_auc, i.test_auc, i.seconds] for i in trainer.trajectory.incumbents]
    return row | {"curve": found, "spent": trainer.spent, "epochs": trainer.epochs, "thought": trainer.thought}


def _two_phase(
    benchmark: Benchmark, tfmem: str, seed: int, epochs: int, times: Sequence[float]
) -> list[Sequence[float]]:
    """A selection for every budget that suffices for one."""
    found: list[Sequence[float]] = []
    for budget in times:
        try:
            picked = simulate(benchmark, budget, tfmem=tfmem, max_epochs=epochs, seed=seed, pool=pool_size(benchmark))
        except BudgetTooSmall:
            if found:
                raise
            continue
        found.append((picked.seconds, picked.valid_auc, picked.test_auc, picked.refinement_seconds))
    return sorted(found)


def _growing(benchmark: Benchmark, tfmem: str, seed: int, epochs: int) -> list[Sequence[float]]:
    """A selection for every K, without a budget: one epoch in the first rung, as in the published study."""
    count = pool_size(benchmark)
    found: list[Sequence[float]] = []
    for k in sorted({round(k) for k in np.geomspace(1, count, 16)}):
        picked = simulate(benchmark, math.inf, tfmem=tfmem, k=k, u=1, max_epochs=epochs, seed=seed, pool=count)
        found.append((picked.seconds, picked.valid_auc, picked.test_auc, picked.refinement_seconds))
    return sorted(found)


def _once(
    benchmark: Benchmark, space: RecordedSpace, name: str, rest: Sequence[str], seed: int, epochs: int
) -> list[Sequence[float]]:
    """Methods that train one architecture at their end: a run for every number of architectures compared before.

    Each is a run of its own: one that compared more and found a cheaper network is through sooner.
    """
    found: list[Sequence[float]] = []
    for count in sorted({round(n) for n in np.geomspace(1, space.size, 12)}):
        trainer = RecordedTrainer(benchmark, seed=SEED, space=space)
        if name == "weight_sharing":
            weight_sharing.weight_sharing(trainer, seed, epochs, evaluated=count)
        else:
            training_free(trainer, rest[0], count, rest[1] if len(rest) > 1 else "random", seed, epochs)
        if not trainer.trajectory.incumbents:
            continue  # its one training went wrong: it has nothing to hand over
        best = trainer.trajectory.best()
        found.append((trainer.spent, best.valid_auc, best.test_auc, trainer.spent))
    return sorted(found)


@dataclass(frozen=True)
class Kind:
    """What searches are of: tables, or cells (`benchmarks._image_searches`). Each function is given the dataset first.

    Args:
        size: How much can be searched, for figures; what was searched at another size is of other pools.
        budgets: So many budgets, seconds.
        facts: What a search's quality is seen against, for some seeds.
        search: See `search`.
        left_out: Why a method cannot run; None where it can.
    """

    size: Callable[[str], str]
    budgets: Callable[[str, int], list[float]]
    facts: Callable[[str, Iterable[int]], Row]
    search: Callable[[str, str, int, Sequence[float]], Row]
    left_out: Callable[[str, str], str | None] = lambda dataset, method: None


def _left_out(dataset: str, method: str) -> str | None:
    if method != "weight_sharing" or Shared.read(open_parts(dataset)[0].folder) is not None:
        return None
    return "weight sharing is left out: python -m benchmarks weight_sharing trains its super-network first"


TABLES = Kind(
    size=lambda dataset: table_size(open_parts(dataset)[0]),
    budgets=lambda dataset, count: budgets(*open_parts(dataset), count),
    facts=lambda dataset, seeds: table_facts(*open_parts(dataset), seeds),
    search=search,
    left_out=_left_out,
)


def run(context: Context, methods: Iterable[str], count: int, kind: Kind = TABLES) -> None:
    """Record the facts of what is searched, and every search that is not recorded yet.

    Args:
        context: Of the experiment.
        methods: See `search`; weight sharing only where its super-network is recorded.
        count: Budgets.
        kind: What is searched.
    """
    dataset = context.dataset
    assert dataset is not None
    number = QUICK_SEEDS if context.quick else SEEDS
    if known := context.recorded(method="table"):
        _same_size(known[0], kind.size(dataset))
    times = kind.budgets(dataset, count)
    if not known:
        seeds = range(context.seed, context.seed + number)
        context.record({"method": "table", **kind.facts(dataset, seeds), "budgets": times})
    jobs = []
    for method in methods:
        if reason := kind.left_out(dataset, method):
            context.say(reason)
            continue
        there = {row["search_seed"] for row in context.recorded(method=method)}
        wanted = range(context.seed, context.seed + number)
        jobs += [(kind.search, dataset, method, seed, times) for seed in wanted if seed not in there]
    cores = len(os.sched_getaffinity(0))
    done: list[Row] = []
    with process_pool(cores) as executor:
        # A chunk for each method and process: the records are read once in each.
        for row in executor.map(_search, jobs, chunksize=max(1, number // (2 * cores))):
            done.append(row)
            if len(done) == number:
                context.record(*done)
                context.say(f"{dataset}: {row['method']}")
                done = []
    if done:
        context.record(*done)


def _same_size(facts: Row, size: str) -> None:
    """Refuse to go on from searches of what has grown since: their pools were other ones."""
    if facts["table"] != size:
        raise InvalidInput(
            f"these searches were of {facts['table']}, and now there are {size}", hint="Start over: --fresh."
        )


def _search(job: tuple[Callable[[str, str, int, Sequence[float]], Row], str, str, int, Sequence[float]]) -> Row:
    return job[0](*job[1:])


def table_facts(benchmark: Benchmark, epochs: int, seeds: Iterable[int]) -> Row:
    """What a search's quality is seen against: the table's size, a random architecture, the best, noise of seeds."""
    space = benchmark.recorded(SEED)
    valid = np.array([benchmark.column("valid_auc", epoch=e, seed=SEED) for e in range(1, epochs + 1)])
    test = np.array([benchmark.column("test_auc", epoch=e, seed=SEED) for e in range(1, epochs + 1)])
    # Of each architecture, the epoch with its best validation AUC: what a search hands over of it.
    sound = np.isfinite(valid).any(axis=0)
    where = np.where(np.isfinite(valid), valid, -np.inf).argmax(axis=0)
    own_valid, own = (part[where, np.arange(space.size)] for part in (valid, test))
    names = ("train_seconds", "valid_seconds")
    each = [sum(benchmark.column(name, epoch=e, seed=SEED) for name in names) for e in range(1, epochs + 1)]
    until = np.cumsum(each, axis=0)[where, np.arange(space.size)]
    best, alone = [], []
    for seed in seeds:
        places = [space.index(pool(benchmark, seed).architecture(i)) for i in range(pool_size(benchmark))]
        first = places[int(np.nanargmax(own_valid[places]))]
        best.append(own[first])
        alone.append(until[first])
    return {
        "table": table_size(benchmark),
        "pool": pool_size(benchmark),
        "random_test": float(np.median(own[sound])),
        "best_test": float(np.median(best)),
        "highest_test": float(np.nanmax(own)),
        # Of training nothing but the best, to its best epoch: no search can be there sooner.
        "oracle_seconds": float(np.median(alone)),
        "noise": seed_noise(benchmark, epochs),
        "to_epoch": epochs,
    }


def at(row: Row, seconds: float, which: int = 2, clock: int = 0) -> float:
    """Of a recorded search, what it would hand over at ``seconds``; NaN before anything was trained.

    Args:
        row: See `search`.
        seconds: On the clock.
        which: 1 for validation AUC, 2 for test AUC, 0 for the seconds since when.
        clock: 0 for seconds spent, 3 for seconds of training.
    """
    return float(all_at(row, [seconds], which, clock)[0])


def all_at(row: Row, times: Sequence[float], which: int = 2, clock: int = 0) -> NDArray[np.float64]:
    """`at` for several times: float64 (times,)."""
    entries = np.array(row["curve"], dtype=np.float64).reshape(-1, 4)
    entries = entries[np.argsort(entries[:, clock], kind="stable")]
    places = np.searchsorted(entries[:, clock], times, side="right") - 1
    return np.where(places >= 0, entries[places, which], np.nan) if len(entries) else np.full(len(times), np.nan)


def by_seconds(
    rows: Sequence[Row], times: Sequence[float], which: int = 2, clock: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quartiles over seeds of what searches hand over: times (found,), and quartiles (found, 3).

    Times before most of them have anything to hand over are left out.
    """
    values = np.array([all_at(row, times, which, clock) for row in rows]).reshape(-1, len(times))
    most = np.isfinite(values).mean(axis=0) > 0.5 if len(rows) else np.zeros(len(times), dtype=bool)
    if not most.any():
        return np.array([]), np.empty((0, 3))
    return np.array(times)[most], np.nanquantile(values[:, most], (0.25, 0.5, 0.75), axis=0).T


def grid(rows: Iterable[Row], points: int = 400) -> list[float]:
    """Times from the first to the last change of any search."""
    seconds = [entry[0] for row in rows for entry in row.get("curve", ()) if entry[0] > 0.0]
    return [float(t) for t in np.geomspace(min(seconds), 1.0001 * max(seconds), points)] if seconds else []


def seconds_to(rows: Sequence[Row], target: float, times: Sequence[float], clock: int = 0) -> float:
    """The first of ``times`` from which on the median over seeds of the test AUC stays at ``target``; NaN for never.

    That it stays there matters where test AUCs are noisy: a lucky pick that a better validation AUC replaces is none.
    """
    when, found = by_seconds(rows, times, clock=clock)
    below = np.flatnonzero(found[:, 1] < target - 1e-9) if len(found) else np.array([], dtype=np.int64)
    first = int(below[-1]) + 1 if below.size else 0
    return float(when[first]) if first < len(when) else math.nan


def seconds_near(rows: Sequence[Row], below: float, times: Sequence[float], clock: int = 0) -> float:
    """The first of ``times`` from which on the median validation AUC stays within ``below`` of the pool's best.

    That is what a search is told to look for, without the noise of test rows; NaN for never.
    """
    regret = np.array([row["best_valid"] - all_at(row, times, 1, clock) for row in rows])
    if not len(rows):
        return math.nan
    # What has handed over nothing is as far as can be.
    far = np.flatnonzero(np.median(np.where(np.isfinite(regret), regret, np.inf), axis=0) > below + 1e-9)
    first = int(far[-1]) + 1 if far.size else 0
    return float(times[first]) if first < len(times) else math.nan


def targets(facts: Row, shares: Sequence[float] = (0.5, 0.75, 0.9, 0.95, 1.0)) -> dict[float, float]:
    """Test AUCs that are parts of the way from a random architecture to the best by validation."""
    low, high = facts["random_test"], facts["best_test"]
    return {share: low + share * (high - low) for share in shares}


def ratio(slow: float, fast: float) -> str:
    """How many times sooner, or which of them is never there."""
    if math.isnan(slow) and math.isnan(fast):
        return "neither"
    if math.isnan(slow) or math.isnan(fast):
        return "it alone" if math.isnan(slow) else "the other alone"
    return f"{slow / fast:.2g}"


def ends(rows: Sequence[Row]) -> tuple[float, float, float]:
    """Quartiles of the test AUC that searches end with."""
    return quartiles(row["curve"][-1][2] for row in rows if row["curve"])
