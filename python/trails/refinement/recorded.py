"""Selections on learning curves that were recorded before: what a run would have picked, and when, without training.

`run_recorded` asks a scheduler alone, without time. `select_recorded` is a whole run within a budget: measuring, plan,
rungs, revision, deadline and the winner's further epochs are the code of real runs (`trails.refinement.session`), on
workers that look their epochs up and a clock that these tell how long they took.

Both rank by the best epoch so far, as real runs do. One thing they cannot know: what a part of an epoch comes to. Where
time is up a real run evaluates what it has; a recorded one ends with the epoch before.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trails.errors import InvalidInput, UnusableData
from trails.refinement.clock import RecordedClock
from trails.refinement.costs import Seconds, Speed
from trails.refinement.curves import Curve, as_curves
from trails.refinement.planning import MEASURING_SECONDS, MEASURING_SHARE
from trails.refinement.protocol import Candidate, Events, Refine, Setting
from trails.refinement.recorded_worker import RecordedCosts, RecordedModels, RecordedWorker, take
from trails.refinement.roster import Roster
from trails.refinement.schedulers import RungEnd, Scheduler
from trails.refinement.session import Refinement
from trails.refinement.trial import Trial
from trails.refinement.workers import all_done


@dataclass(frozen=True)
class Outcome:
    """What a scheduler on recorded curves came to.

    Args:
        winner: The candidate picked: the best of all, as on the leaderboard of a real run.
        metric: Of its best epoch.
        epochs_reached: Epochs that it was trained for.
        epochs: Model-epochs spent in all.
        history: Every rung's end, first to last.
    """

    winner: str
    metric: float
    epochs_reached: int
    epochs: int
    history: tuple[RungEnd, ...]


def run_recorded(
    scheduler: Scheduler, curves: Mapping[str, Curve | Sequence[float]], *, patience: int | None = None
) -> Outcome:
    """Let a fresh scheduler choose among recorded curves.

    Args:
        scheduler: Nothing of it was handed out yet.
        curves: For every candidate its curve, or the metric after epoch 1, 2, ... alone; higher is better, and a number
            that is not finite is a training that failed.
        patience: Epochs without a better one after which a candidate is done, as the option of that name; None for
            trainings that are never done early.

    Raises:
        InvalidInput: The scheduler asks for a candidate without a curve, or for an epoch beyond its curve's
            end.
        UnusableData: Every candidate failed in its first epoch.
        ValueError: Jobs of the scheduler are out elsewhere.
    """
    models, roster, spent = RecordedModels(as_curves(curves)), Roster(), 0
    history: list[RungEnd] = []
    patient = patience or sum(len(curve.epochs) for curve in models.curves.values()) + 1
    while not scheduler.done:
        job = scheduler.next_job()
        if job is not None:
            if job.architecture not in roster.trials:
                roster.trials[job.architecture] = models.trial(Candidate(job.architecture, (), None))
            trial = roster.trials[job.architecture]
            while not all_done([trial], job.epochs_to, patient):
                take(trial, models.next_epoch(trial), 0.0)
                spent += 1
            scheduler.report(job.architecture, None if trial.failed else trial.best_metric, trial.best_loss)
            roster.release(scheduler)
            continue
        end = scheduler.end_rung()
        if end is None:
            raise ValueError("the scheduler waits for results of jobs that were handed out before")
        history.append(end)
        roster.release(scheduler)
    winner = roster.best
    if winner is None:
        raise UnusableData("every candidate failed in training")
    return Outcome(winner.architecture, winner.best_metric, winner.epochs, spent, tuple(history))


@dataclass(frozen=True)
class RecordedRun:
    """What a run on recorded curves told.

    Args:
        events: As `trails.refinement.protocol.Events` writes them, in their order.
        seconds: Of the budget that it took.
        epochs: Model-epochs trained to their end in all, those that were trained again included.
        at: When each of the events was told, in recorded seconds; empty of a real run.
    """

    events: tuple[Mapping[str, Any], ...]
    seconds: float
    epochs: int = 0
    at: tuple[float, ...] = ()

    def named(self, name: str) -> list[Mapping[str, Any]]:
        """Events of one name."""
        return [event for event in self.events if event["event"] == name]

    @property
    def leaderboard(self) -> list[Mapping[str, Any]]:
        """Every candidate that has a result, best first; see `trails.refinement.protocol.LeaderboardRow`."""
        return list(self.events[-1]["leaderboard"])

    @property
    def winner(self) -> str:
        """The first on the leaderboard."""
        return str(self.leaderboard[0]["architecture"])

    @property
    def rungs(self) -> tuple[RungEnd, ...]:
        """Every rung's end, first to last."""
        return tuple(RungEnd(e["rung"], e["candidates"], tuple(e["survivors"])) for e in self.named("rung"))

    @property
    def complete(self) -> bool:
        """Whether all that was planned was trained."""
        return bool(self.events[-1]["complete"])


def select_recorded(
    request: Refine,
    curves: Mapping[str, Curve],
    budget: float = math.inf,
    *,
    workers: int = 1,
    profile: Mapping[str, Seconds] | None = None,
    restart: bool = False,
) -> RecordedRun:
    """Run a whole selection on recorded curves.

    Scoring (``request.score_seconds`` for each that was ``scored``) and measuring are part of the budget. The same
    arguments give the same events.

    Args:
        request: What to train and how; ``resume`` is not possible.
        curves: Of every candidate.
        budget: Seconds of recorded time; infinite without a limit, which needs ``k``.
        workers: Machines that train side by side, each as fast as the one that the curves were recorded on.
        profile: What measuring says of an epoch of a candidate, alone on one of these machines; where it says nothing,
            what its first epoch took; where there is none, the mean of the others'.
        restart: Whether a survivor of a rung starts over in the next one and pays for all its epochs again, as in the
            published study, instead of going on from its weights. Planning knows nothing of that: give ``k`` and ``u``.

    Raises:
        InvalidInput: A candidate has no curve, or not enough of it; K, U or an option is out of range.
        BudgetTooSmall: Not one epoch fits.
        UnusableData: Every candidate failed in training.
    """
    if request.resume is not None:
        raise InvalidInput("a recorded run has no checkpoint to go on from")
    clock = RecordedClock(request.score_seconds * request.scored)
    setting = Setting("recorded", 0, 0.0, budget, budget, {}, None)
    models = RecordedModels(curves, request.family)
    patience = request.options.patience
    places = [RecordedWorker(models, patience, clock, workers, restart) for _ in range(workers)]

    def measure(trials: Sequence[Trial], seconds_left: float) -> Speed:
        clock.advance(max(0.0, min(MEASURING_SECONDS, MEASURING_SHARE * seconds_left)))
        share = _profiled(request.candidates, curves, profile or {}, workers)
        return Speed(RecordedCosts(share), begin_seconds=0.0, chunk_seconds=0.0, stacked=1, parts=workers)

    events = _Told(clock)
    Refinement(setting, request, models, places, measure, events, clock=clock).run()
    return RecordedRun(tuple(events.told), clock.now(), sum(place.epochs for place in places), tuple(events.at))


class _Told(Events):
    """Events that are kept instead of written, with when they were told."""

    def __init__(self, clock: RecordedClock) -> None:
        super().__init__(lambda line: None)
        self.told: list[Mapping[str, Any]] = []
        self.at: list[float] = []
        self._clock = clock

    def _send(self, event: str, **fields: Any) -> None:
        # Nobody else tells anything meanwhile: of machines side by side one has the turn.
        self.told.append({"event": event, **fields})
        self.at.append(self._clock.now())


def _profiled(
    candidates: Sequence[Candidate], curves: Mapping[str, Curve], profile: Mapping[str, Seconds], workers: int
) -> dict[tuple[int, ...], Seconds]:
    """Seconds of an epoch of every design, as a share of so many machines."""
    known = dict(profile)
    for name in (c.architecture for c in candidates if c.architecture not in known):
        if name in curves and curves[name].epochs:
            epoch = curves[name].epochs[0]
            known[name] = Seconds(epoch.training_seconds, epoch.evaluation_seconds)
    if not known:
        raise InvalidInput("no learning curve was recorded of any candidate")
    training = statistics.fmean(seconds.training for seconds in known.values())
    evaluation = statistics.fmean(seconds.evaluation for seconds in known.values())
    others = Seconds(training, evaluation)
    found = {c.design: known.get(c.architecture, others) for c in candidates}
    return {design: Seconds(s.training / workers, s.evaluation / workers) for design, s in found.items()}
