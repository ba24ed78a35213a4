"""The books of a list of rungs: who waits, who is being trained, whose result is in, who goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trails.halving import Rung, total_epochs
from trails.refinement.leaderboard import standing
from trails.refinement.schedulers.base import Job, RungEnd, Saved


class RungScheduler:
    """Rungs one after another; the best of each continue in the next from where they are.

    Jobs of a rung may be handed out all at once and reported in any order; the next rung starts when all
    are in. Of equal metrics the smaller loss is ahead; results that are equal in both keep the order in which the rung
    was entered (as given in the first, as ranked by the one before in others), so the outcome does not depend on who
    reports first.

    Args:
        candidates: Best-scored first; the first rung takes as many as it wants from the front.
        rungs: What each rung trains.
        first_rung: Number of the first of ``rungs``, where others were trained before.

    Raises:
        ValueError: There is no candidate or no rung, or a candidate is there twice.
    """

    def __init__(self, candidates: Sequence[str], rungs: Sequence[Rung], first_rung: int = 0) -> None:
        if not rungs or not candidates:
            raise ValueError("a scheduler needs at least one candidate and one rung")
        if len(set(candidates)) != len(candidates):
            raise ValueError("candidates must differ from one another")
        self._rungs = list(rungs)
        self._first_rung = first_rung
        self._rung = 0
        self._entrants: list[str] = list(candidates[: rungs[0].candidates])
        self._waiting: list[str] = list(self._entrants)
        self._running: set[str] = set()
        self._results: dict[str, tuple[float, float]] = {}

    @property
    def rungs_left(self) -> tuple[Rung, ...]:
        """The rung that is under way and those after it."""
        return tuple(self._rungs[self._rung :])

    @property
    def brackets_left(self) -> tuple[tuple[Rung, ...], ...]:
        """The rungs left, in one bracket; none once all is done."""
        return () if self.done else (self.rungs_left,)

    @property
    def shortenable(self) -> tuple[Rung, ...]:
        """The rungs left: candidates of the one under way may be given up."""
        return self.rungs_left

    def epochs_left(self, reached: int) -> int:
        """Model-epochs of the rungs left, for candidates that have ``reached`` epochs behind them."""
        return total_epochs(self.rungs_left, reached)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Candidates of this rung that were not handed out yet."""
        return tuple(self._waiting)

    @property
    def reported(self) -> int:
        """Candidates of this rung whose results are in."""
        return len(self._results)

    @property
    def entrants(self) -> tuple[str, ...]:
        """Candidates of this rung, in the order in which it was entered; the winner once all is done."""
        return tuple(self._entrants)

    @property
    def needed(self) -> frozenset[str]:
        """Candidates that may be trained further: those of this rung whose results are not in, or good enough.

        The others are out, whatever results are still to come: their weights need not be kept.
        """
        reported = [a for a in self._entrants if a in self._results]
        ranked = sorted(reported, key=self._results.__getitem__)
        return frozenset(self._entrants) - set(ranked[self._kept(self._rung + 1) :])

    def dismiss(self, architecture: str) -> None:
        """See `Scheduler.dismiss`; who is out of a rung never comes back."""

    @property
    def fresh(self) -> tuple[str, ...]:
        """Nobody: everyone is trained in the first rung."""
        return ()

    @property
    def survivors(self) -> tuple[str, ...]:
        """Those of this rung, in the order in which it was entered; the winner once all is done."""
        return self.entrants

    @property
    def many_rungs(self) -> bool:
        """No: each rung keeps a part of the candidates."""
        return False

    def saved(self) -> Saved:
        """The rungs left, for a scheduler of the same kind.

        Raises:
            ValueError: A rung is under way.
        """
        if self.under_way:
            raise ValueError("a rung is under way")
        return Saved(self.rungs_left)

    @property
    def under_way(self) -> bool:
        """Whether candidates of this rung were handed out."""
        return bool(self._running or self._results)

    @property
    def done(self) -> bool:
        """No rung is left."""
        return self._rung >= len(self._rungs)

    @property
    def winner(self) -> str | None:
        """The best of the last rung once all is done; None before that, and if none is left."""
        return self._entrants[0] if self.done and self._entrants else None

    def next_job(self) -> Job | None:
        """The next candidate to train; None while the rung waits for results, and when all is done."""
        if self.done or not self._waiting:
            return None
        architecture = self._waiting.pop(0)
        self._running.add(architecture)
        return Job(architecture, self._first_rung + self._rung, self._rungs[self._rung].epochs_to)

    def report(self, architecture: str, metric: float | None, loss: float | None = None) -> None:
        """The result of a job.

        Args:
            architecture: Of a job that was handed out and not reported yet.
            metric: Of its best epoch so far, higher is better; None or a number that is not finite if training failed,
                which takes the candidate out.
            loss: Of that epoch, for candidates of equal metrics; see `Scheduler.report`.

        Raises:
            ValueError: No such job is out.
        """
        if architecture not in self._running:
            raise ValueError(f"{architecture} is not being trained")
        self._running.remove(architecture)
        if metric is None or not math.isfinite(metric):
            self._entrants.remove(architecture)
        else:
            self._results[architecture] = standing(metric, loss)

    def give_up(self, count: int) -> None:
        """Take the last ``count`` waiting candidates out of this rung: there is no time for them."""
        for _ in range(min(count, len(self._waiting))):
            self._entrants.remove(self._waiting.pop())

    def revise(self, *, epochs_done: int, epoch_seconds: float, seconds_left: float, eta: int) -> bool:
        """See `Scheduler.revise`: these rungs stand as they were planned."""
        return False

    def replace_rungs(self, rungs: Sequence[Rung]) -> None:
        """Put other rungs in place of those left, between two rungs; none ends it all.

        Candidates beyond the first one's number are out.

        Raises:
            ValueError: The rung has begun.
        """
        if self.under_way:
            raise ValueError("a rung that has begun cannot be replaced")
        self._rungs[self._rung :] = list(rungs)
        if rungs:
            del self._entrants[rungs[0].candidates :]
            self._waiting = list(self._entrants)

    def end_rung(self) -> RungEnd | None:
        """Close the rung once nothing of it is waiting or running; None before that, and when all is done."""
        if self.done or self._waiting or self._running:
            return None
        candidates = len(self._entrants)
        ranked = sorted(self._entrants, key=self._results.__getitem__)  # stable: equal results keep their order
        ended = self._rung
        self._rung += 1
        self._entrants = ranked[: self._kept(self._rung)]
        self._waiting = [] if self.done else list(self._entrants)
        self._results = {}
        if not self._entrants:
            self._rung = len(self._rungs)
        return RungEnd(self._first_rung + ended, candidates, tuple(self._entrants))

    def _kept(self, rung: int) -> int:
        """Candidates of this rung: those that the one before leaves over; one after the last."""
        return self._rungs[rung].candidates if rung < len(self._rungs) else 1
