"""The candidates of a run: who is ahead, and whose weights are still needed."""

from __future__ import annotations

from collections.abc import Iterable

from trails.refinement.ensemble import worth_keeping
from trails.refinement.leaderboard import in_order
from trails.refinement.protocol import LeaderboardRow
from trails.refinement.schedulers import Scheduler
from trails.refinement.trial import Trial, best, ranking


class Roster:
    """Every trial of a run, and the rows of those that an earlier part of it has dropped.

    Args:
        trials: Best-scored first.
        dropped: Of candidates whose training was not kept.

    Attributes:
        networks: That the run's model may have: of so many of the best candidates the weights are kept.
    """

    networks = 1

    def __init__(self, trials: Iterable[Trial] = (), dropped: Iterable[LeaderboardRow] = ()) -> None:
        self.trials = {trial.architecture: trial for trial in trials}
        self.dropped = tuple(dropped)

    def of(self, architectures: Iterable[str]) -> list[Trial]:
        """These trials, in this order."""
        return [self.trials[architecture] for architecture in architectures]

    def ranking(self) -> list[Trial]:
        """Trials that have a metric, best first; see `trails.refinement.trial.ranking`."""
        return ranking(self.trials.values())

    @property
    def best(self) -> Trial | None:
        """The first of the ranking; None while nobody has a metric."""
        return best(self.trials.values())

    def any_result(self) -> bool:
        """Whether somebody has a metric."""
        return any(trial.ranked for trial in self.trials.values())

    def rows(self) -> list[LeaderboardRow]:
        """Of everyone that has a metric, best first."""
        return in_order([*(trial.row() for trial in self.trials.values() if trial.ranked), *self.dropped])

    def release(self, scheduler: Scheduler) -> None:
        """Free networks of candidates that are out: a hundred wide ones with Adam's state are gigabytes."""
        needed = scheduler.needed
        # The best so far is what is kept, even if its training went wrong later.
        kept = worth_keeping(self.trials.values(), self.networks)
        for trial in self.trials.values():
            if trial.best_epoch and trial.architecture not in needed:
                trial.release(trial.architecture not in kept)
                scheduler.dismiss(trial.architecture)
