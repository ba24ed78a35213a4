"""Schedulers on learning curves that were recorded before: what a run would have picked, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trails.errors import InvalidInput, UnusableData
from trails.refinement.schedulers import Job, RungEnd, Scheduler


@dataclass(frozen=True)
class Outcome:
    """What a run on recorded curves came to.

    Args:
        winner: The candidate picked.
        metric: Its metric at the epoch it reached.
        epochs_reached: That epoch.
        epochs: Model-epochs spent in all.
        history: Every rung's end, first to last.
    """

    winner: str
    metric: float
    epochs_reached: int
    epochs: int
    history: tuple[RungEnd, ...]


def run_recorded(scheduler: Scheduler, curves: Mapping[str, Sequence[float]]) -> Outcome:
    """Let a fresh scheduler choose among recorded curves.

    Args:
        scheduler: Nothing of it was handed out yet.
        curves: For every candidate the metric after epoch 1, 2, ...; higher is better, and a number that is
            not finite is a training that failed.

    Raises:
        InvalidInput: The scheduler asks for a candidate without a curve, or for an epoch beyond its curve's
            end.
        UnusableData: Every candidate failed.
        ValueError: Jobs of the scheduler are out elsewhere.
    """
    reached: dict[str, int] = {}
    spent = 0
    history: list[RungEnd] = []
    while not scheduler.done:
        job = scheduler.next_job()
        if job is not None:
            scheduler.report(job.architecture, _recorded(curves, job))
            before = reached.get(job.architecture, 0)
            reached[job.architecture] = max(before, job.epochs_to)
            spent += reached[job.architecture] - before
            continue
        end = scheduler.end_rung()
        if end is None:
            raise ValueError("the scheduler waits for results of jobs that were handed out before")
        history.append(end)
    winner = scheduler.winner
    if winner is None:
        raise UnusableData("every candidate failed in training")
    epochs = reached[winner]
    return Outcome(winner, float(curves[winner][epochs - 1]), epochs, spent, tuple(history))


def _recorded(curves: Mapping[str, Sequence[float]], job: Job) -> float:
    curve = curves.get(job.architecture)
    if curve is None or len(curve) == 0:
        raise InvalidInput(f"no learning curve was recorded of {job.architecture}")
    if job.epochs_to > len(curve):
        raise InvalidInput(
            f"epoch {job.epochs_to} of {job.architecture} was not recorded: its curve has {len(curve)} epochs",
            hint=f"Make the scheduler with max_epochs = {min(len(c) for c in curves.values() if len(c) > 0)}.",
        )
    return curve[job.epochs_to - 1]
