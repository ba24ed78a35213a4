"""Successive halving in which survivors go on training: rungs, their exact cost, what less time holds.

Rung r trains ``max(1, K // eta**r)`` candidates up to ``U * eta**r`` epochs in total, so it costs its
candidates times the epochs they still lack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trails.errors import InvalidInput

DEFAULT_ETA = 3
DEFAULT_MAX_EPOCHS = 30


@dataclass(frozen=True)
class Rung:
    """One step of successive halving.

    Args:
        candidates: How many are trained in it.
        epochs_to: Epochs each has behind it at the end, earlier rungs included.
    """

    candidates: int
    epochs_to: int


def halving_rungs(k: int, u: int, eta: int = DEFAULT_ETA, max_epochs: int = DEFAULT_MAX_EPOCHS) -> list[Rung]:
    """The rungs of successive halving, down to one candidate or up to ``max_epochs``, whichever comes first.

    Args:
        k: Candidates in the first rung.
        u: Epochs of the first rung; where it exceeds ``max_epochs`` it takes its place.
        eta: One in how many survives a rung, at least 2.
        max_epochs: Epochs after which no candidate is trained further.

    Raises:
        InvalidInput: An argument is below its least value.
    """
    for name, value, least in (("k", k, 1), ("u", u, 1), ("eta", eta, 2), ("max_epochs", max_epochs, 1)):
        if value < least:
            raise InvalidInput(f"{name} is at least {least}, not {value}")
    cap = max(u, max_epochs)
    rungs = [Rung(k, u)]
    while rungs[-1].candidates > 1 and rungs[-1].epochs_to < cap:
        last = rungs[-1]
        rungs.append(Rung(max(1, last.candidates // eta), min(last.epochs_to * eta, cap)))
    return rungs


def total_epochs(rungs: Sequence[Rung], epochs_done: int = 0, restart: bool = False) -> int:
    """Model-epochs that ``rungs`` cost.

    Args:
        rungs: First to last.
        epochs_done: Epochs that the first rung's candidates have behind them already.
        restart: Whether survivors start over in every rung, as in the published study, instead of going on.
    """
    total = 0
    for rung in rungs:
        total += rung.candidates * (rung.epochs_to - (0 if restart else epochs_done))
        epochs_done = rung.epochs_to
    return total


def revise(
    rungs: Sequence[Rung],
    *,
    epochs_done: int,
    epoch_seconds: float,
    seconds_left: float,
    eta: int = DEFAULT_ETA,
) -> list[Rung]:
    """The part of a plan's remaining rungs that the time left still holds, at the speed observed.

    Gives up candidates before depth, and the last rungs when one candidate could not reach their end; a rung
    that not even one candidate can finish becomes as many whole epochs of one as there is time for. Nothing
    is ever added: time that turns out to be left over belongs to the winner.

    Args:
        rungs: Rungs not yet begun, such as ``plan.rungs[finished:]`` or what this function returned before.
        epochs_done: Epochs that the survivors have behind them.
        epoch_seconds: Observed wall time of one epoch of one candidate.
        seconds_left: Wall time that training may still take.
        eta: One in how many candidates survives a rung.

    Returns:
        Rungs whose cost is at most ``seconds_left``; none if not one epoch fits.
    """
    if not rungs:
        return []

    def fits(rungs: Sequence[Rung]) -> bool:
        return total_epochs(rungs, epochs_done) * epoch_seconds <= seconds_left

    for depth in range(len(rungs), 0, -1):
        for candidates in range(rungs[0].candidates, 0, -1):
            narrowed = [
                Rung(min(rung.candidates, max(1, candidates // eta**step)), rung.epochs_to)
                for step, rung in enumerate(rungs[:depth])
            ]
            if fits(narrowed):
                return narrowed
    epochs = largest_fitting(0, rungs[0].epochs_to - epochs_done, lambda n: n * epoch_seconds <= seconds_left)
    return [Rung(1, epochs_done + epochs)] if epochs else []


def largest_fitting(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest integer from ``low`` to ``high`` that fits, ``low`` if none does.

    Whatever is smaller than one that fits must fit too.
    """
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
