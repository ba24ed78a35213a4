"""The end of a run that may keep several of its networks: chosen, trained again on all rows as one is, and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trails.limits import WRITTEN_A_SECOND
from trails.refinement.clock import Clock
from trails.refinement.ensemble import Together, most_networks, worth_keeping
from trails.refinement.protocol import Refine
from trails.refinement.remaining import SLACK
from trails.refinement.supervision import Supervision
from trails.refinement.timings import Timings
from trails.refinement.trial import Trial
from trails.refinement.winner import note
from trails.training.weights import Weights

_MOST_RESERVED = 0.03
"""Of the time that is left after the last rung, what is kept back for choosing at most."""


class EnsembleStep:
    """What a run does about ensembles once its winner is trained.

    Args:
        request: Of the run.
        run: Its supervision.
        timings: Of the run.
        clock: Of the run.
    """

    def __init__(self, request: Refine, run: Supervision, timings: Timings, clock: Clock) -> None:
        self._most, self._run, self._timings, self._clock = most_networks(request), run, timings, clock

    @contextmanager
    def reserving(self) -> Iterator[None]:
        """Keep time back, while the winner is trained, to look whether several networks do better."""
        remaining, trials = self._run.remaining, self._finalists()
        seconds = 0.0
        if len(trials) > 1:
            needed = SLACK * self._needed(trials)
            seconds = needed if needed <= _MOST_RESERVED * max(0.0, remaining.seconds()) else 0.0
        remaining.reserve += seconds
        try:
            yield
        finally:
            remaining.reserve -= seconds

    def keep(self, rung: int, refit: bool) -> bool:
        """Write the model of several networks, if they do better than the winner alone.

        If the winner would be trained again on all rows, all of them are: where there is no time for that, rows are
        worth more than networks, and the winner is left to be trained again alone.

        Args:
            rung: Number of the last rung.
            refit: Whether the winner would be trained again on held-out rows too, if there is time.

        Returns:
            Whether there is one, and it is written.
        """
        run, trials = self._run, self._finalists()
        if len(trials) < 2 or SLACK * self._needed(trials) > run.remaining.seconds():
            return False
        with self._timings.phase("ensemble"):
            try:
                found = run.models.together(trials, self._most)
                if found is None:
                    return False
                again = self._again(found, rung) if refit and run.models.refit_share else []
                if again is None:
                    return False
                return run.models.finish_together(found.with_weights(again) if again else found, refitted=bool(again))
            except Exception as error:
                # The winner alone is a result.
                note(f"no ensemble: {type(error).__name__}: {error}")
                return False

    def _finalists(self) -> list[Trial]:
        """The best candidates that still have their weights, best first."""
        if self._most < 2:
            return []
        ranked = self._run.roster.ranking()
        kept = worth_keeping(ranked, self._most)
        found = [trial for trial in ranked if trial.architecture in kept]
        return found if found[:1] == ranked[:1] else []

    def _needed(self, trials: Sequence[Trial]) -> float:
        """Seconds of what several networks take that the winner alone does not."""
        remaining, models = self._run.remaining, self._run.models
        evaluations = sum(remaining.costs.of(trial.design).evaluation for trial in trials)
        written = sum(4 * trial.layout.parameters for trial in trials[1:]) / WRITTEN_A_SECOND
        return evaluations + models.together_seconds + written

    def _again(self, found: Together, rung: int) -> list[Weights] | None:
        """The weights of every network trained again on all rows; none where there is no time for the winner either,
        None where there is for some of them only, or one came to nothing."""
        run, remaining = self._run, self._run.remaining
        remaining.active = 1
        seconds = [self._refit_seconds(trial) for trial in found.trials]
        if seconds[0] > remaining.seconds():
            return []
        if sum(seconds) > remaining.seconds():
            return None
        again: list[Weights] = []
        for trial in found.trials:
            supervisor = run.of_rung(rung)
            run.progress.expect(trial.best_epoch)
            weights = run.models.refit(
                trial,
                lambda epochs, trial=trial, supervisor=supervisor: (  # type: ignore[misc]
                    self._clock.now() < supervisor.training_ends([trial], 0.0)
                ),
            )
            if weights is None:
                return None
            again.append(weights)
        return again

    def _refit_seconds(self, trial: Trial) -> float:
        remaining = self._run.remaining
        cost = remaining.costs.of(trial.design)
        training = trial.best_epoch * cost.training * self._run.models.refit_share
        return SLACK * remaining.wall() * (training + cost.evaluation)
