"""What becomes of the best candidate: trained further with the time left, once more on all rows, and kept."""

from __future__ import annotations

import math
import sys

from trails.refinement.clock import Clock
from trails.refinement.planning import LEAST_SHARE
from trails.refinement.supervision import Supervision
from trails.refinement.timings import Timings
from trails.refinement.trial import Trial
from trails.refinement.workers import Worker
from trails.training.options import Options
from trails.training.weights import Weights


class Winner:
    """The best candidate after the last rung.

    Args:
        trial: The candidate.
        rung: Number of the last rung.
        options: Of the run.
        supervision: Of the run.
        timings: Of the run.
        clock: Of the run.
    """

    def __init__(
        self, trial: Trial, rung: int, options: Options, supervision: Supervision, timings: Timings, clock: Clock
    ) -> None:
        self._trial, self._rung, self._options, self._run = trial, rung, options, supervision
        self._timings, self._clock = timings, clock

    def train_further(self, worker: Worker) -> None:
        """Spend what is left on it, as long as it gets better."""
        trial, remaining, most = self._trial, self._run.remaining, self._options.max_epochs
        with self._timings.phase("winner"):
            remaining.active = 1
            left = remaining.epochs_of([trial])
            if trial.stale(self._options.patience) or left < LEAST_SHARE:
                return
            self._run.progress.expect(min(math.ceil(left), most - trial.epochs))
            worker.train([trial], most, self._run.of_rung(self._rung, winning=True))
            trial.failed = False  # its best epoch stands

    def keep(self, refit: bool) -> None:
        """Write its model, trained on held-out rows too if that is possible; its metrics are from before.

        Args:
            refit: Whether that is wanted.
        """
        models, best = self._run.models, self._trial.best
        if best is None:
            return
        learnt = models.learn_metrics(self._trial)
        again = self._refit() if learnt and refit and models.refit_share else None
        self._trial.best = again or best
        models.finish(self._trial, refitted=again is not None)

    def _refit(self) -> Weights | None:
        """Weights trained on all rows; None if there is no time, or it came to nothing."""
        trial, remaining, progress = self._trial, self._run.remaining, self._run.progress
        cost = remaining.cost_of(trial)
        remaining.active = 1
        training = trial.best_epoch * cost.training * self._run.models.refit_share
        # It may just not be done in time, and nothing but the time is lost: there is nothing else to spend it on.
        if remaining.wall() * (training + cost.evaluation) > remaining.seconds():
            return None
        before, supervisor = progress.done, self._run.of_rung(self._rung)
        progress.expect(trial.best_epoch)

        def keep_going(epochs: float) -> bool:
            supervisor.progress(before + epochs - progress.done)
            return self._clock.now() < supervisor.training_ends([trial], 0.0)

        with self._timings.phase("refit"):
            try:
                return self._run.models.refit(trial, keep_going)
            except Exception as error:
                # A second copy of the rows may not fit in memory; there is a result without it.
                note(f"the winner was not trained again on all rows: {type(error).__name__}: {error}")
                return None


def note(line: str) -> None:
    """A line for whoever looks for a cause: standard error is the process's log."""
    print(f"trails: {line}", file=sys.stderr, flush=True)
