"""Uniform allocation: every candidate is trained equally long, and the best one wins."""

from __future__ import annotations

from trails.halving import Rung
from trails.refinement.schedulers.base import Limits
from trails.refinement.schedulers.rungs import RungScheduler


class UniformAllocation(RungScheduler):
    """One rung with everyone in it."""


def plan_uniform(candidates: int, limits: Limits) -> list[Rung]:
    """The most candidates, up to ``candidates``, and then the most epochs each."""
    k = min(candidates, limits.epochs // (limits.u or 1))
    return [Rung(k, limits.u or min(limits.epochs // k, limits.max_epochs))]
