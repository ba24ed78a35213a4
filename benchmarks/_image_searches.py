"""What experiments on searches among cells share: one search a seed on recorded accuracies, by seconds spent.

As for tables (`benchmarks._searches`), every seed draws half of the cells, of those that were scored by every metric
that is compared, and all methods of that seed search these alone. Curves hold accuracies in percent; test accuracies
are the mean of the recorded runs of the network that is handed over.

Trainings of 12 and of 200 epochs are separate ones and paid whole. Seconds of NAS-Bench-201 are estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TypeAlias

import numpy as np

from benchmarks._searches import Kind
from benchmarks.harness import Row
from trails import bench
from trails.bench.baselines import TRAINING_BASED, training_free
from trails.bench.image.trainer import CellRecords, CellTrainer
from trails.bench.image.two_phase import two_phase
from trails.bench.space import RecordedSpace
from trails.bench.trainer import OutOfTime
from trails.errors import BudgetTooSmall

DATASETS = ("c10", "c100", "in16")

PUBLISHED: Mapping[str, float] = {"c10": 6.0, "c100": 5.0, "in16": 6.0}
"""About how many times sooner two-phase selection is said to reach the quality of training-based search on these."""

SCORED_BY = ("naswot", "synflow")
"""Metrics whose cells are searched; jacflow is made of both."""

LABELS: Mapping[str, str] = {
    "two_phase:jacflow": "two-phase, JacFlow, planned",
    "two_phase:naswot": "two-phase, naswot, planned",
    "two_phase:synflow": "two-phase, synflow, planned",
    "two_phase:params": "two-phase, parameters, planned",
    "two_phase_k:jacflow": "two-phase, JacFlow, K growing",
    "two_phase_k:params": "two-phase, parameters, K growing",
    "training_free:jacflow": "training-free, JacFlow",
    "training_free:params": "training-free, parameters",
    "random": "training-based, random",
    "evolution": "training-based, evolution",
    "evolution_short": "evolution by 12 epochs, best trained again",
    "reinforcement": "training-based, REINFORCE",
    "tpe_hyperband": "BOHB-like: Optuna TPE + Hyperband",
}
"""How figures call the methods."""

Entry: TypeAlias = tuple[float, float, float, float]
"""Of a curve: seconds spent, validation accuracy, test accuracy, seconds of training."""

_LONGEST = 500
"""Mean trainings that the largest budget holds, and candidates of the widest first rung."""

_SAMPLER = "random"
"""Which cells are scored where not all are: to score all of a pool takes less than one training of mean length."""


@cache
def records_of(dataset: str) -> CellRecords:
    """NAS-Bench-201's trainings on a dataset."""
    return CellRecords(bench.open("nasbench201"), dataset)


@cache
def whole(dataset: str) -> RecordedSpace:
    """Cells that can be searched."""
    return records_of(dataset).space(SCORED_BY)


def pool_size(dataset: str) -> int:
    """Cells that a seed's searches may find."""
    return max(2, whole(dataset).size // 2)


@cache
def pool(dataset: str, seed: int) -> RecordedSpace:
    """Those of one seed."""
    known = whole(dataset)
    chosen = np.random.default_rng(seed).choice(known.recorded, pool_size(dataset), replace=False)
    return RecordedSpace(known.whole, np.sort(chosen).tolist())


def size(dataset: str) -> str:
    """How much can be searched, for figures."""
    known = whole(dataset)
    return f"{known.size:,} of {known.whole.size:,} cells recorded and scored"


def budgets(dataset: str, count: int) -> list[float]:
    """Seconds, evenly spaced by their logarithm, from a short training of a mean cell to 500 long ones."""
    records = records_of(dataset)
    first, last = (float(records.seconds[epochs].mean()) for epochs in (records.schedules[0], records.schedules[-1]))
    return [float(f"{seconds:.3g}") for seconds in np.geomspace(first, _LONGEST * last, count)]


class _Ending(CellTrainer):
    """Ends a search that has found the best there is: nothing that it does later changes what it hands over."""

    def __init__(self, dataset: str, seed: int, budget: float) -> None:
        super().__init__(records_of(dataset), budget=budget, space=pool(dataset, seed))
        self.ceiling = _ceiling(dataset, seed)

    def train(self, index: int, epochs: int, *, again: bool = False) -> float:
        """See `CellTrainer.train`."""
        accuracy = super().train(index, epochs, again=again)
        if self.trajectory.incumbents and self.trajectory.best().valid_accuracy >= self.ceiling:
            raise OutOfTime("the best of all has been found")
        return accuracy


def _ceiling(dataset: str, seed: int) -> float:
    records = records_of(dataset)
    return float(records.valid[records.schedules[-1]][records.places(pool(dataset, seed))].max())


def search(dataset: str, method: str, seed: int, times: Sequence[float]) -> Row:
    """One seed of one method; see `benchmarks._searches.search`, of which this is the same for cells.

    Args:
        dataset: Of `DATASETS`.
        method: A baseline, all of whose trainings are the longest; ``evolution_short``, whose trainings are the
            shortest, up to half of the pool, and the best of them is trained again by the longest, whenever it ends;
            ``two_phase:TFMEM``, planned by budget; ``two_phase_k:TFMEM``, with ever more candidates;
            ``training_free:TFMEM``.
        seed: Of the pool and of the search.
        times: Budgets, for methods that plan by them; the last one ends a search.
    """
    name, _, tfmem = method.partition(":")
    row: Row = {"method": method, "search_seed": seed, "best_valid": _ceiling(dataset, seed)}
    if name == "two_phase":
        return row | {"curve": _planned(dataset, tfmem, seed, times)}
    if name == "two_phase_k":
        return row | {"curve": _growing(dataset, tfmem, seed, times)}
    if name == "training_free":
        return row | {"curve": _free(dataset, tfmem, seed)}
    if name == "evolution_short":
        return row | {"curve": _short(dataset, seed, times)}
    trainer = _Ending(dataset, seed, times[-1])
    TRAINING_BASED[name](trainer, seed, trainer.records.schedules[-1])
    found = [[i.seconds, i.valid_accuracy, i.test_accuracy, i.seconds] for i in trainer.trajectory.incumbents]
    return row | {"curve": found, "spent": trainer.spent, "epochs": trainer.epochs, "thought": trainer.thought}


def _planned(dataset: str, tfmem: str, seed: int, times: Sequence[float]) -> list[Entry]:
    """A selection for every budget that suffices for one."""
    found: list[Entry] = []
    for budget in times:
        trainer = CellTrainer(records_of(dataset), budget=budget, space=pool(dataset, seed))
        try:
            went = two_phase(trainer, tfmem, seed=seed, sampler=_SAMPLER)
        except BudgetTooSmall:
            if found:
                raise
            continue
        found += _handed_over(trainer, went.refinement_seconds)
    return sorted(found)


def _growing(dataset: str, tfmem: str, seed: int, times: Sequence[float]) -> list[Entry]:
    """A selection for every number of candidates, without a budget."""
    found: list[Entry] = []
    for k in sorted({round(k) for k in np.geomspace(1, min(_LONGEST, pool_size(dataset)), 14)}):
        trainer = CellTrainer(records_of(dataset), space=pool(dataset, seed))
        went = two_phase(trainer, tfmem, seed=seed, k=k, sampler=_SAMPLER)
        if trainer.spent > times[-1]:
            break
        found += _handed_over(trainer, went.refinement_seconds)
    return sorted(found)


def _free(dataset: str, tfmem: str, seed: int) -> list[Entry]:
    """A search for every number of cells scored, of which the best is trained."""
    found: list[Entry] = []
    for count in sorted({round(n) for n in np.geomspace(1, pool_size(dataset), 12)}):
        trainer = CellTrainer(records_of(dataset), space=pool(dataset, seed))
        training_free(trainer, tfmem, count, _SAMPLER, seed, trainer.records.schedules[-1])
        found += _handed_over(trainer, trainer.spent)
    return sorted(found)


def _short(dataset: str, seed: int, times: Sequence[float]) -> list[Entry]:
    """What evolution by short trainings hands over whenever it ends: its best so far, trained by the longest."""
    records, space = records_of(dataset), pool(dataset, seed)
    # With half of the pool trained, what is left to learn is little, and evolution takes long to find unseen ones.
    half = 0.5 * float(records.seconds[records.schedules[0]][records.places(space)].sum())
    trainer = CellTrainer(records, budget=min(times[-1], half), space=space)
    TRAINING_BASED["evolution"](trainer, seed, records.schedules[0])
    found: list[Entry] = []
    for incumbent in trainer.trajectory.incumbents:
        last = CellTrainer(records, space=space)
        last.charge(incumbent.seconds)
        last.train(space.index(space.parse(incumbent.architecture)), records.schedules[-1])
        found += _handed_over(last, last.spent)
    return sorted(found)


def _handed_over(trainer: CellTrainer, training_seconds: float) -> list[Entry]:
    if not trainer.trajectory.incumbents:
        return []
    best = trainer.trajectory.best()
    return [(trainer.spent, best.valid_accuracy, best.test_accuracy, training_seconds)]


def facts(dataset: str, seeds: Iterable[int]) -> Row:
    """What a search's quality is seen against; see `benchmarks._searches.table_facts`."""
    records, known = records_of(dataset), whole(dataset)
    longest, places = records.schedules[-1], records.places(known)
    valid, test, seconds = (column[longest] for column in (records.valid, records.test, records.seconds))
    best = [own[int(valid[own].argmax())] for own in (records.places(pool(dataset, seed)) for seed in seeds)]
    return {
        "table": size(dataset),
        "pool": pool_size(dataset),
        "random_test": float(np.median(test[places])),
        "best_test": float(np.median(test[best])),
        "highest_test": float(test[places].max()),
        "oracle_seconds": float(np.median(seconds[best])),
        "noise": None,
        "to_epoch": longest,
        "measure": "accuracy",
        "unit": ", %",
        "near": [2.0, 1.0, 0.5, 0.2, 0.0],
        "span": 2.0 * float(np.median(test[best]) - np.median(test[places])),
        "clock": f"simulated clock,\n{_clock(records)};\n{_schedules(records)} are separate and paid whole",
    }


def _clock(records: CellRecords) -> str:
    """What seconds are."""
    sources = set(records.seconds_are)
    if sources != {"estimated"}:
        return f"seconds {' and '.join(sorted(sources))}"
    return (
        f"seconds of one core estimated, {records.benchmark.cell_seconds(records.dataset).error:.1%} off in the median"
    )


def _schedules(records: CellRecords) -> str:
    return f"trainings of {' and '.join(map(str, records.schedules))} epochs"


CELLS = Kind(size, budgets, facts, search)
"""For `benchmarks._searches.run`."""
