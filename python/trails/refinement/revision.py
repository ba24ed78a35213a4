"""What a run gives up of its plan where training turns out to take longer than was thought."""

from __future__ import annotations

from trails.halving import Rung, total_epochs
from trails.refinement.protocol import Refine
from trails.refinement.remaining import Remaining
from trails.refinement.roster import Roster
from trails.refinement.schedulers import RungEnd, Scheduler
from trails.refinement.supervision import Progress


class Revision:
    """Fits what a scheduler still plans to the time left. What the caller fixed is left as it is.

    Args:
        request: Of the run.
        remaining: Of the budget.
        roster: Of the run.
        progress: Is told what is expected then.
    """

    def __init__(self, request: Refine, remaining: Remaining, roster: Roster, progress: Progress) -> None:
        self._request, self._remaining, self._roster, self._progress = request, remaining, roster, progress

    def give_up(self, scheduler: Scheduler) -> bool:
        """Take candidates out of the rung under way that would leave no time for the rungs after it.

        Returns:
            Whether some were.
        """
        waiting = self._roster.of(scheduler.waiting)
        if self._request.k is not None or not waiting or not scheduler.reported or not scheduler.shortenable:
            return False
        present, *later = scheduler.shortenable
        remaining, everyone = self._remaining, list(self._roster.trials.values())

        def needed(count: int) -> float:
            seconds = 0.0
            for trial in waiting[:count]:
                seconds += (present.epochs_to - trial.epochs) * remaining.costs.of(trial.design).epoch
            mean = remaining.mean_epoch(everyone)
            reached, survivors = present.epochs_to, scheduler.reported + count
            for rung in later:
                survivors = max(1, survivors // self._request.options.eta)
                seconds += min(survivors, rung.candidates) * (rung.epochs_to - reached) * mean
                reached = rung.epochs_to
            return seconds

        keep = len(waiting)
        while keep > 0 and needed(keep) > remaining.seconds():
            keep -= 1
        if keep == len(waiting):
            return False
        scheduler.give_up(len(waiting) - keep)
        self._expect(scheduler)
        return True

    def revise(self, scheduler: Scheduler, end: RungEnd) -> bool:
        """Fit the rungs left to the speed observed; whether that took anything away."""
        if not scheduler.shortenable or self._request.k is not None or self._request.u is not None:
            return False
        survivors = self._roster.of(end.survivors)
        less = scheduler.revise(
            epochs_done=survivors[0].epochs,
            epoch_seconds=self._remaining.mean_epoch(survivors),
            seconds_left=max(0.0, self._remaining.seconds()),
            eta=self._request.options.eta,
        )
        if less:
            self._expect(scheduler)
        return less

    def _expect(self, scheduler: Scheduler) -> None:
        if scheduler.shortenable:
            present, *later = scheduler.shortenable
            waiting = self._roster.of(scheduler.waiting)
            done = min((trial.epochs for trial in waiting), default=0)
            rest = [Rung(len(waiting), present.epochs_to), *later]
            self._progress.expect(max(0.0, float(total_epochs(rest, done))))
