"""The product's whole selection on a recorded benchmark: what a budget of hours would have picked, in a moment.

Shortlist, measuring, plan, rungs, revision, deadline and the winner's further epochs are the code of real runs
(`trails.filtering.shortlist`, `trails.refinement.recorded.select_recorded`), on a clock that passes as the recorded
trainings and the measured scoring took.

    selection = simulate(trails.bench.open("frappe"), budget=3600.0)
    selection.winner, selection.test_auc, selection.trajectory.at(600.0)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trails.bench.candidates import Recorded, drawn, recorded
from trails.bench.scored import score, scores_of, scoring_seconds
from trails.bench.table import Benchmark
from trails.bench.trainer import Incumbent, Trajectory
from trails.coordinator import Plan, plan
from trails.errors import InvalidInput, shown_json
from trails.filtering.shortlist import shortlist
from trails.limits import RESERVE_SECONDS
from trails.refinement.planning import MEASURING_SECONDS, MEASURING_SHARE
from trails.refinement.protocol import Candidate, Refine
from trails.refinement.recorded import RecordedRun, select_recorded
from trails.refinement.schedulers import RungEnd
from trails.training.options import parse_options

_REPLANNED = 8
"""Times that a plan is made again with the mean epoch of the candidates that it picked."""


@dataclass(frozen=True)
class Selection:
    """What a simulated selection came to.

    Args:
        winner: The architecture, as its space writes it.
        valid_auc: Of its best epoch, by which it was chosen.
        test_auc: Of the same weights; for reports.
        epoch: Its best one, from 1.
        seconds: Of recorded time that everything took.
        filtering_seconds: That scoring took of these.
        refinement_seconds: The rest.
        epochs: Model-epochs trained in all, those of survivors that started over included.
        n: Architectures scored.
        k: Candidates planned for the first rung.
        u: Epochs planned for each of them.
        rungs: Every rung's end, first to last.
        trajectory: What it would have handed over from some second on.
        estimated: Share of the architectures to select among whose seconds are estimated, not measured alone.
    """

    winner: str
    valid_auc: float
    test_auc: float
    epoch: int
    seconds: float
    filtering_seconds: float
    refinement_seconds: float
    epochs: int
    n: int
    k: int
    u: int
    rungs: tuple[RungEnd, ...]
    trajectory: Trajectory
    estimated: float


def simulate(
    benchmark: Benchmark,
    budget: float,
    *,
    tfmem: str = "expressflow",
    sampler: str | None = None,
    n: int | None = None,
    k: int | None = None,
    u: int | None = None,
    eta: int = 3,
    refinement: str = "sh",
    survivors: Literal["continue", "restart"] = "continue",
    max_epochs: int | None = None,
    patience: int | None = None,
    seed: int = 1,
    workers: int = 1,
    scoring: Literal["whole", "one"] = "whole",
    scores: NDArray[np.float64] | None = None,
    score_seconds: float | None = None,
    pool: int | None = None,
    training_seed: int = 1,
) -> Selection:
    """Select among the recorded architectures within a budget of recorded seconds.

    Everything that is random hangs on ``seed``: the sampler's proposals, the batch that metrics which read data are
    scored on (one of `trails.bench.scored.BATCH_SEEDS`), and which architectures are in the ``pool``. With a metric
    that reads no data and neither sampler nor pool nothing is random.

    Args:
        benchmark: Of one dataset.
        budget: Seconds; infinite for none, which needs ``k``.
        tfmem: What candidates are ranked by, as `trails.tfmem.parse_tfmems` reads it. Architectures whose score is not
            finite come last.
        sampler: Which architectures are scored where ``n`` are fewer than there are; see `trails.filtering.samplers`.
            None for evolution, the product's.
        n: Architectures scored. None for all; with ``scoring="one"`` and a budget as many as the coordinator plans.
        k: Candidates of the first rung; None for the coordinator's.
        u: Epochs of the first rung; None for the coordinator's.
        eta: One in how many survives a rung.
        refinement: The scheduler's name.
        survivors: Whether they go on from their weights, as in this product, or start over in the next rung and pay for
            all their epochs again, as in the published study. Then the plan is fixed before training begins, and the
            winner is not trained further.
        max_epochs: No candidate is trained further; None for all that is recorded, and no more than that.
        patience: Epochs without a better one after which a candidate is done; None for never, as in the study.
        seed: See above.
        workers: Machines that train side by side, each as fast as the one recorded.
        scoring: How long it takes: ``whole`` as in this product, which scores the whole space at once where the metric
            allows it; ``one`` as in the published study, ``n`` times what one takes.
        scores: float64 (architectures,), higher is better, aligned with ``benchmark.recorded(training_seed)``, instead
            of the benchmark's own of ``tfmem``.
        score_seconds: That scoring one of ``scores`` takes; None for no time at all.
        pool: Select among so many of the recorded architectures, drawn with ``seed``: what repeats of a selection
            differ in where nothing else is random. None for all.
        training_seed: Of the recorded trainings. The benchmark's scores are of architectures that have the first one.

    Raises:
        InvalidInput: A number is out of range, or a name unknown; no limit of time and no K.
        BudgetTooSmall: Scoring and one epoch of one candidate exceed the budget.
        UnusableData: Every candidate failed in training; scores were not recorded.
    """
    if survivors not in ("continue", "restart") or scoring not in ("whole", "one"):
        raise InvalidInput(
            f"there is no way of survivors '{survivors}' with scoring '{scoring}'",
            hint="Survivors continue or restart; scoring is of the whole space or of one at a time.",
        )
    if not isinstance(budget, int | float) or math.isnan(budget):
        raise InvalidInput(f"a budget is a number of seconds, not {shown_json(budget)}", hint="3600.0 is an hour.")
    longest = benchmark.setting.epochs
    most = longest if max_epochs is None else max_epochs
    if not 1 <= most <= longest:
        raise InvalidInput(f"max_epochs is 1 to {longest}, the epochs that were recorded, not {most}")
    if workers < 1:
        raise InvalidInput(f"{workers} workers train nothing")
    patient = most if patience is None else patience
    options = parse_options({"eta": eta, "max_epochs": most, "patience": patient, "refit": False})
    known = recorded(benchmark, training_seed) if pool is None else drawn(benchmark, training_seed, pool, seed)
    table, orientations = scores_of(benchmark, known, tfmem, seed, scores, training_seed)
    whole, each = scoring_seconds(benchmark, tfmem, scoring, scores is not None, score_seconds)
    if n is None and each and math.isfinite(budget):
        n = _planned(known, np.arange(known.space.size), budget, each, eta, most, k, u).n
    scored = score(known, table, orientations, sampler, n, seed)
    filtering = whole + each * scored.indices.size
    inputs = benchmark.setting.fields * options.embedding
    offered = scored.indices[shortlist(known.space, scored, inputs, k or 0)]
    merits = dict(zip(scored.indices.tolist(), scored.merits.tolist(), strict=True))
    restart = survivors == "restart"
    if restart and math.isfinite(budget) and (k is None or u is None):
        left = budget - filtering - RESERVE_SECONDS
        left -= min(MEASURING_SECONDS, MEASURING_SHARE * max(0.0, left))
        planned = _planned(known, offered, left, 0.0, eta, most, k, u, restart)
        k, u = planned.k, planned.u
    candidates = tuple(_candidates(known, offered, merits))
    share = filtering / scored.indices.size
    request = Refine(candidates, refinement, k, u, options, share, scored.indices.size, space=benchmark.setting.space)
    run = select_recorded(request, known.curves, budget, workers=workers, restart=restart)
    estimated = 1.0 - float(known.measured.mean())
    return _selection(benchmark, run, filtering, scored.indices.size, training_seed, estimated)


def _planned(
    known: Recorded,
    offered: NDArray[np.int64],
    budget: float,
    score_seconds: float,
    eta: int,
    max_epochs: int,
    k: int | None,
    u: int | None,
    restart: bool = False,
) -> Plan:
    """The coordinator's plan for those that are offered, best first, with the mean epoch of those that it picks."""
    each, at_once = known.epoch_seconds[offered], not score_seconds
    # Of those that are not scored yet nobody knows which will be picked.
    mean, best = float(each[0] if at_once else each.mean()), None
    for _ in range(_REPLANNED):
        planned = plan(
            score_seconds,
            min(mean, max(0.0, budget - score_seconds)) or mean,
            max(0.0, budget),
            space_size=offered.size,
            eta=eta,
            max_epochs=max_epochs,
            k=k,
            u=u,
            whole_space=at_once,
            restart=restart,
        )
        if not at_once:
            return planned
        picked = float(each[: planned.k].mean())
        fits = planned.epochs * picked <= budget
        if best is None or (fits and planned.epochs > best.epochs):
            best = planned
        # Half of the way: fewer candidates are other ones, and the plans would go to and fro.
        mean = 0.5 * (mean + picked)
    assert best is not None
    return best


def _candidates(known: Recorded, offered: NDArray[np.int64], merits: Mapping[int, float]) -> list[Candidate]:
    found = []
    for index in offered.tolist():
        merit = merits[index]
        found.append(Candidate(known.names[index], known.designs[index], merit if math.isfinite(merit) else None))
    return found


def _selection(
    benchmark: Benchmark, run: RecordedRun, filtering: float, scored: int, training_seed: int, estimated: float
) -> Selection:
    trajectory = Trajectory()
    for at, event in zip(run.at, run.events, strict=True):
        if event["event"] != "epoch":
            continue
        metric, found = float(event["validation_metric"]), trajectory.incumbents
        if not found or metric > found[-1].valid_auc:
            name, epoch = str(event["architecture"]), int(event["epoch"])
            test = benchmark.final(name, epoch=epoch, seed=training_seed).auc
            found.append(Incumbent(at, name, epoch, metric, test))
    (planned,), best = run.named("plan"), run.leaderboard[0]
    name, epoch = str(best["architecture"]), int(best["best_epoch"])
    return Selection(
        name,
        float(best["validation_metric"]),
        benchmark.final(name, epoch=epoch, seed=training_seed).auc,
        epoch,
        run.seconds,
        filtering,
        run.seconds - filtering,
        run.epochs,
        scored,
        int(planned["k"]),
        int(planned["u"]),
        run.rungs,
        trajectory,
        estimated,
    )
