"""Schedulers by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trails.errors import InvalidInput, shown
from trails.halving import DEFAULT_ETA, DEFAULT_MAX_EPOCHS, Rung, total_epochs
from trails.refinement.schedulers.base import Limits, Saved, Scheduler
from trails.refinement.schedulers.halving import SuccessiveHalving, plan_halving
from trails.refinement.schedulers.hyperband import Hyperband, plan_hyperband
from trails.refinement.schedulers.rejects import SuccessiveRejects, plan_rejects
from trails.refinement.schedulers.rungs import RungScheduler
from trails.refinement.schedulers.uniform import UniformAllocation, plan_uniform


@dataclass(frozen=True)
class _Kind:
    """What is known of a scheduler by its name.

    Args:
        make: For candidates and what may be spent.
        resume: For candidates, what was saved, and the number of the first rung to come.
        takes_u: Whether a caller may say how long the first candidates train.
        of_rungs: For the rungs planned, where these are what it trains.
    """

    make: Callable[[Sequence[str], Limits], Scheduler]
    resume: Callable[[Sequence[str], Saved, int], Scheduler]
    takes_u: bool = False
    of_rungs: Callable[[Sequence[str], Sequence[Rung]], Scheduler] | None = None


def _of_rungs(kind: type[RungScheduler], plan: Callable[[int, Limits], list[Rung]], takes_u: bool = False) -> _Kind:
    """Of a scheduler that is a list of rungs."""

    def resume(candidates: Sequence[str], saved: Saved, first_rung: int) -> Scheduler:
        if saved.state is not None:
            raise ValueError("a scheduler of rungs has no other state")
        return kind(candidates, saved.rungs, first_rung)

    return _Kind(lambda candidates, limits: kind(candidates, plan(len(candidates), limits)), resume, takes_u)


def _resume_hyperband(_: Sequence[str], saved: Saved, __: int) -> Scheduler:
    if saved.state is None:
        raise ValueError("Hyperband goes on from its state")
    return Hyperband.from_state(saved.state)


_SCHEDULERS: dict[str, _Kind] = {
    "sh": replace(_of_rungs(SuccessiveHalving, plan_halving, takes_u=True), of_rungs=SuccessiveHalving),
    "sj": _of_rungs(SuccessiveRejects, plan_rejects),
    "ua": _of_rungs(UniformAllocation, plan_uniform, takes_u=True),
    "hyperband": _Kind(
        lambda candidates, limits: Hyperband(candidates, plan_hyperband(len(candidates), limits)), _resume_hyperband
    ),
}


def takes_u(name: str) -> bool:
    """Whether a caller may say how long the first candidates of this scheduler train; True where there is none."""
    return name not in _SCHEDULERS or _SCHEDULERS[name].takes_u


def check_scheduler(
    name: str,
    *,
    k: int | None = None,
    u: int | None = None,
    eta: int = DEFAULT_ETA,
    max_epochs: int = DEFAULT_MAX_EPOCHS,
) -> None:
    """Refuse what no run could use, before there are candidates; arguments as for `make_scheduler`.

    Raises:
        InvalidInput: There is no such scheduler, or a number is out of range.
    """
    if name not in _SCHEDULERS:
        raise InvalidInput(f"there is no scheduler '{shown(name)}'", hint=f"Schedulers are {', '.join(_SCHEDULERS)}.")
    if k is not None and k < 1:
        raise InvalidInput(f"k must be at least 1, not {k}")
    Limits(epochs=max(1, max_epochs), max_epochs=max_epochs, eta=eta, u=u)
    if u is not None and not takes_u(name):
        raise InvalidInput(f"u = {u} is not possible: {name} decides itself how long the first candidates train")


def make_scheduler(
    name: str,
    candidates: Sequence[str],
    *,
    epochs: int,
    eta: int = DEFAULT_ETA,
    max_epochs: int = DEFAULT_MAX_EPOCHS,
    u: int | None = None,
) -> Scheduler:
    """A scheduler that spends the most of a budget that its rule can, and never more.

    A budget too small for all candidates trains those at the front of the list.

    Args:
        name: ``sh`` (successive halving), ``sj`` (successive rejects), ``ua`` (uniform allocation) or
            ``hyperband``.
        candidates: Best-scored first.
        epochs: Model-epochs in all: candidates times epochs, summed.
        eta: One in how many survives a rung of ``sh`` and ``hyperband``.
        max_epochs: Epochs after which no candidate is trained further.
        u: Epochs of the first rung of ``sh``, and of every candidate of ``ua``; None for the most possible.

    Raises:
        InvalidInput: There is no such scheduler, a number is out of range, there is no candidate, or one is
            there twice.
    """
    check_scheduler(name, u=u, eta=eta, max_epochs=max_epochs)
    if not candidates:
        raise InvalidInput("there are no candidates to train")
    repeated = [candidate for candidate, times in Counter(candidates).items() if times > 1]
    if repeated:
        raise InvalidInput(f"candidate {repeated[0]} is given more than once")
    limits = Limits(epochs=epochs, max_epochs=max_epochs, eta=eta, u=u)
    return _SCHEDULERS[name].make(candidates, limits)


def planned_scheduler(
    name: str,
    candidates: Sequence[str],
    rungs: Sequence[Rung],
    *,
    affordable: int | None = None,
    eta: int = DEFAULT_ETA,
    max_epochs: int = DEFAULT_MAX_EPOCHS,
    u: int | None = None,
) -> Scheduler:
    """A scheduler for what was planned as successive halving: ``sh`` trains these rungs, the others spend as many
    model-epochs in their own way.

    Args:
        name: See `make_scheduler`; so are the other arguments.
        candidates: All that are to be trained.
        rungs: As planned.
        affordable: Model-epochs that the time holds, where they and not the rungs' are to be spent.
        eta: One in how many survives a rung.
        max_epochs: Epochs after which no candidate is trained further.
        u: Epochs of the first rung, if given; those of everyone in ``ua``, whatever is affordable.

    Raises:
        InvalidInput: As `make_scheduler`.
    """
    kind = _SCHEDULERS.get(name)
    if kind is not None and kind.of_rungs is not None:
        return kind.of_rungs(candidates, rungs)
    epochs = total_epochs(rungs)
    if takes_u(name) and u is not None:
        epochs = len(candidates) * u
    elif affordable is not None:
        epochs = affordable
    return make_scheduler(name, candidates, epochs=max(epochs, len(candidates)), eta=eta, max_epochs=max_epochs, u=u)


def resume_scheduler(name: str, candidates: Sequence[str], saved: Saved, first_rung: int) -> Scheduler | None:
    """A scheduler that goes on where another one, in an earlier run, was `Scheduler.saved`.

    Args:
        name: Of the scheduler; see `make_scheduler`.
        candidates: That survived, in the order of `Scheduler.survivors`.
        saved: By the other one.
        first_rung: Number of the first rung to come.

    Returns:
        None if nothing is left to train.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: It was not written by a scheduler.
    """
    if saved.state is None and not saved.rungs:
        return None
    return _SCHEDULERS[name].resume(candidates, saved, first_rung)
