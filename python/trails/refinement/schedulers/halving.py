"""Successive halving (Karnin, Koren and Somekh 2013), with survivors that go on instead of starting over."""

from __future__ import annotations

from trails.halving import Rung, halving_rungs, largest_fitting, revise, total_epochs
from trails.refinement.schedulers.base import Limits
from trails.refinement.schedulers.rungs import RungScheduler


class SuccessiveHalving(RungScheduler):
    """Every rung keeps one in eta and trains it eta times as long; see `trails.halving.halving_rungs`.

    Example:
        >>> from trails.halving import Rung
        >>> halving = SuccessiveHalving(["a", "b", "c"], [Rung(3, 1), Rung(1, 3)])
        >>> for architecture, auc in (("a", 0.7), ("b", 0.9), ("c", 0.8)):
        ...     job = halving.next_job()
        ...     halving.report(architecture, auc)
        >>> halving.end_rung().survivors, halving.next_job()
        (('b',), Job(architecture='b', rung=1, epochs_to=3))
    """

    def revise(self, *, epochs_done: int, epoch_seconds: float, seconds_left: float, eta: int) -> bool:
        """See `Scheduler.revise`."""
        planned = list(self.rungs_left)
        revised = revise(
            planned, epochs_done=epochs_done, epoch_seconds=epoch_seconds, seconds_left=seconds_left, eta=eta
        )
        if revised == planned:
            return False
        self.replace_rungs(revised)
        return True


def plan_halving(candidates: int, limits: Limits) -> list[Rung]:
    """The most candidates, up to ``candidates``, and then the longest first rung that the epochs hold."""

    def rungs(k: int, u: int) -> list[Rung]:
        return halving_rungs(k, u, limits.eta, limits.max_epochs)

    def fits(k: int, u: int) -> bool:
        return total_epochs(rungs(k, u)) <= limits.epochs

    u = limits.u or 1
    k = largest_fitting(1, candidates, lambda k: fits(k, u))
    if limits.u is None:
        u = largest_fitting(1, limits.max_epochs, lambda u: fits(k, u))
    return rungs(k, u)
