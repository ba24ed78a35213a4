"""Successive rejects (Audibert, Bubeck and Munos 2010): K - 1 phases, each dismisses the worst candidate."""

from __future__ import annotations

import math

from trails.halving import Rung, largest_fitting, total_epochs
from trails.refinement.schedulers.base import Limits
from trails.refinement.schedulers.rungs import RungScheduler


class SuccessiveRejects(RungScheduler):
    """The last phase compares two, and the better one wins without being trained further."""


def phase_epochs(candidates: int, epochs: int) -> list[int]:
    """n_1 to n_{K-1}: epochs that a candidate has behind it at the end of each phase.

    n_k = ceil((n - K) / (logbar(K) (K + 1 - k))) with logbar(K) = 1/2 + 1/2 + 1/3 + ... + 1/K, which costs n
    epochs at most.

    Args:
        candidates: K, at least 2.
        epochs: n, at least K. Where n = K the formula gives 0; everyone then gets the one epoch there is.
    """
    logbar = 0.5 + math.fsum(1 / i for i in range(2, candidates + 1))
    share = (epochs - candidates) / logbar
    # What rounding errors add must not turn a whole number into the next one: that could exceed the budget.
    share *= 1 - 1e-12
    return [max(1, math.ceil(share / (candidates + 1 - phase))) for phase in range(1, candidates)]


def plan_rejects(candidates: int, limits: Limits) -> list[Rung]:
    """The phases for as many of ``candidates`` as can have an epoch each.

    Phases that add no epoch learn nothing new, so each is one with the phase before it: the same candidates
    leave. Where ``max_epochs`` cuts the last phases short, n in the formula is raised as far as the epochs
    saved allow, which lengthens the phases before them.
    """
    k = min(candidates, limits.epochs)
    if k == 1:
        return [Rung(1, min(limits.epochs, limits.max_epochs))]

    def rungs(n: int) -> list[Rung]:
        made: list[Rung] = []
        for dismissed, epochs_to in enumerate(phase_epochs(k, n)):
            reached = made[-1].epochs_to if made else 0
            if reached < min(epochs_to, limits.max_epochs):
                made.append(Rung(k - dismissed, min(epochs_to, limits.max_epochs)))
        return made

    n = limits.epochs
    if phase_epochs(k, n)[-1] > limits.max_epochs:
        enough = k * limits.max_epochs * (2 + math.ceil(math.log(k)))  # everyone is trained to the end
        n = largest_fitting(n, max(n, enough), lambda n: total_epochs(rungs(n)) <= limits.epochs)
    return rungs(n)
