"""Hyperband (Li et al. 2018): brackets of successive halving, from many short trainings to few long ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from trails.halving import Rung, largest_fitting, total_epochs
from trails.refinement.leaderboard import standing
from trails.refinement.schedulers.base import Job, Limits, RungEnd, Saved
from trails.refinement.schedulers.rungs import RungScheduler


class Hyperband:
    """Brackets one after another; the best of their winners wins.

    Each bracket takes candidates from the front of the list that no bracket before it had; when these run
    out it takes the best-scored ones again, unless they failed, which then have epochs behind them already. Who that
    will be is known early (`needed`): the others' weights need not be kept.
    Rungs are numbered through. After the last rung of all the survivor is the winner, from whichever bracket.

    Args:
        candidates: Best-scored first.
        brackets: What each bracket trains, first to last.

    Raises:
        ValueError: There is no candidate, bracket or rung, or a candidate is there twice.
    """

    def __init__(self, candidates: Sequence[str], brackets: Sequence[Sequence[Rung]]) -> None:
        if not candidates or not brackets or not all(brackets):
            raise ValueError("a scheduler needs at least one candidate and one bracket, and a bracket one rung")
        self._order = {architecture: place for place, architecture in enumerate(candidates)}
        if len(self._order) != len(candidates):
            raise ValueError("candidates must differ from one another")
        self._candidates = list(candidates)
        self._fresh = 0
        self._failed: set[str] = set()
        self._dismissed: set[str] = set()
        self._results: dict[str, tuple[float, float]] = {}
        self._finalists: list[tuple[tuple[float, float], int, str]] = []
        self._later = [list(rungs) for rungs in brackets]
        self._first_rung, self._next_rung = 0, 0
        self._bracket = self._begin_bracket()

    @property
    def brackets_left(self) -> tuple[tuple[Rung, ...], ...]:
        """Rungs left of the bracket under way, and those of the brackets after it."""
        now = () if self._bracket is None else (self._bracket.rungs_left,)
        return (*now, *(tuple(rungs) for rungs in self._later))

    @property
    def shortenable(self) -> tuple[Rung, ...]:
        """None: winners of brackets are compared at the epoch at which all of them end."""
        return ()

    def epochs_left(self, reached: int) -> int:
        """Model-epochs of the brackets left, as if nobody had any behind it: brackets take candidates of all ages."""
        return sum(total_epochs(bracket) for bracket in self.brackets_left)

    def give_up(self, count: int) -> None:
        """Take the last ``count`` waiting candidates out of this rung of the bracket under way."""
        if self._bracket is not None:
            self._bracket.give_up(count)

    def revise(self, *, epochs_done: int, epoch_seconds: float, seconds_left: float, eta: int) -> bool:
        """See `Scheduler.revise`: brackets stand as they were planned."""
        return False

    @property
    def reported(self) -> int:
        """Candidates of this rung whose results are in."""
        return 0 if self._bracket is None else self._bracket.reported

    @property
    def waiting(self) -> tuple[str, ...]:
        """Candidates of this rung that were not handed out yet."""
        return () if self._bracket is None else self._bracket.waiting

    @property
    def entrants(self) -> tuple[str, ...]:
        """Candidates of this rung."""
        return () if self._bracket is None else self._bracket.entrants

    @property
    def fresh(self) -> tuple[str, ...]:
        """Candidates that no bracket had so far."""
        return tuple(self._candidates[self._fresh :])

    @property
    def needed(self) -> frozenset[str]:
        """Candidates that may be trained further: those of this bracket that are not out, those that brackets to come
        take again, and the best of the winners so far.

        The others' weights need not be kept: whoever does not keep them says so by `dismiss`.
        """
        wanted, fresh = 0, len(self._candidates) - self._fresh
        for rungs in self._later:
            own = min(fresh, rungs[0].candidates)
            wanted, fresh = max(wanted, rungs[0].candidates - own), fresh - own
        best = {min(self._finalists)[2]} if self._finalists else set()
        return frozenset(self._again(wanted)) | best | (frozenset() if self._bracket is None else self._bracket.needed)

    def dismiss(self, architecture: str) -> None:
        """Do without a candidate that is not `needed`, even if others fail that brackets to come were to take again."""
        self._dismissed.add(architecture)

    @property
    def done(self) -> bool:
        """No bracket is left."""
        return self._bracket is None

    @property
    def winner(self) -> str | None:
        """The best of the brackets' winners once all is done; None before that, and if there is none."""
        return min(self._finalists)[2] if self.done and self._finalists else None

    def next_job(self) -> Job | None:
        """The next candidate to train; None while the rung waits for results, and when all is done."""
        job = None if self._bracket is None else self._bracket.next_job()
        return None if job is None else Job(job.architecture, self._first_rung + job.rung, job.epochs_to)

    def report(self, architecture: str, metric: float | None, loss: float | None = None) -> None:
        """The result of a job.

        Args:
            architecture: Of a job that was handed out and not reported yet.
            metric: Of its best epoch so far, also where the candidate went further in another bracket than is asked
                for in this one; higher is better. None or a number that is not finite if training failed, which takes
                the candidate out.
            loss: Of that epoch, for candidates of equal metrics; see `Scheduler.report`.

        Raises:
            ValueError: No such job is out.
        """
        if self._bracket is None:
            raise ValueError(f"{architecture} is not being trained")
        self._bracket.report(architecture, metric, loss)
        if metric is None or not math.isfinite(metric):
            self._failed.add(architecture)
        else:
            self._results[architecture] = standing(metric, loss)

    def end_rung(self) -> RungEnd | None:
        """Close the rung once nothing of it is waiting or running; None before that, and when all is done."""
        bracket, first_rung = self._bracket, self._first_rung
        if bracket is None or (end := bracket.end_rung()) is None:
            return None
        survivors = end.survivors
        if bracket.done:
            if bracket.winner is not None:
                best = bracket.winner
                self._finalists.append((self._results[best], self._order[best], best))
            self._bracket = self._begin_bracket()
            if self.winner is not None:
                survivors = (self.winner,)
        return RungEnd(first_rung + end.rung, end.candidates, survivors)

    def _begin_bracket(self) -> RungScheduler | None:
        """The next bracket with its candidates; None if there is none, or nobody for it."""
        if not self._later:
            return None
        rungs = self._later.pop(0)
        self._first_rung, self._next_rung = self._next_rung, self._next_rung + len(rungs)
        before, wanted = self._fresh, rungs[0].candidates
        fresh = self._candidates[before : before + wanted]
        self._fresh = before + len(fresh)
        again: list[str] = []
        if len(fresh) < wanted:
            again = self._again(wanted - len(fresh), before)
        if not again and not fresh:
            self._later = []
            return None
        return RungScheduler([*again, *fresh], rungs)

    def _again(self, wanted: int, before: int | None = None) -> list[str]:
        """The best-scored of those that brackets had, the first ``before`` of all, as far as they are still there."""
        had = self._candidates[: self._fresh if before is None else before]
        return [a for a in had if a not in self._failed and a not in self._dismissed][:wanted]

    # Between two rungs it can be written down, and go on elsewhere.

    @property
    def survivors(self) -> tuple[str, ...]:
        """Those needed that brackets had before, best-scored first; once all is done the winner."""
        if self.done:
            return () if self.winner is None else (self.winner,)
        had, needed = self._candidates[: self._fresh], self.needed
        return tuple(architecture for architecture in had if architecture in needed)

    @property
    def many_rungs(self) -> bool:
        """Yes: those of all brackets."""
        return True

    def saved(self) -> Saved:
        """Its `state`, unless all is done.

        Raises:
            ValueError: A rung is under way.
        """
        return Saved() if self.done else Saved(state=self.state())

    def state(self) -> dict[str, Any]:
        """Everything that it goes on from, for JSON; between two rungs only.

        Raises:
            ValueError: A rung is under way.
        """
        bracket = self._bracket
        if bracket is not None and bracket.under_way:
            raise ValueError("a rung is under way")
        return {
            "candidates": self._candidates,
            "fresh": self._fresh,
            "failed": sorted(self._failed),
            "dismissed": sorted(self._dismissed),
            "results": {a: list(result) for a, result in self._results.items()},
            "finalists": [[*result, place, a] for result, place, a in self._finalists],
            "brackets": [[[r.candidates, r.epochs_to] for r in rungs] for rungs in self.brackets_left],
            "entrants": list(self.entrants),
            "next_rung": self._next_rung,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Hyperband:
        """What `state` wrote down.

        Raises:
            KeyError, TypeError, ValueError: It was not written by `state`, or nothing was left to train.
        """
        made = cls.__new__(cls)
        made._candidates = [str(architecture) for architecture in state["candidates"]]
        made._order = {architecture: place for place, architecture in enumerate(made._candidates)}
        made._fresh = int(state["fresh"])
        made._failed, made._dismissed = set(state["failed"]), set(state["dismissed"])
        made._results = {str(a): (float(m), float(loss)) for a, (m, loss) in state["results"].items()}
        made._finalists = [((float(m), float(loss)), int(p), str(a)) for m, loss, p, a in state["finalists"]]
        now, *made._later = [[Rung(int(c), int(e)) for c, e in rungs] for rungs in state["brackets"]]
        made._next_rung = int(state["next_rung"])
        made._first_rung = made._next_rung - len(now)
        made._bracket = RungScheduler([str(architecture) for architecture in state["entrants"]], now)
        return made


def hyperband_round(max_epochs: int, eta: int, candidates: int) -> list[list[Rung]]:
    """Brackets s_max to 0 with s_max = floor(log_eta R), each n = ceil((s_max + 1) / (s + 1) eta^s) wide.

    Rung i of bracket s trains floor(n eta^-i) candidates up to R eta^(i - s) epochs, rounded down. Every
    bracket ends at R, so that their winners can be compared.

    Args:
        max_epochs: R.
        eta: One in how many survives a rung.
        candidates: No bracket is wider than this.
    """
    s_max = 0
    while eta ** (s_max + 1) <= max_epochs:
        s_max += 1
    brackets = []
    for s in range(s_max, -1, -1):
        n = min(-(-(s_max + 1) * eta**s // (s + 1)), candidates)
        brackets.append([Rung(max(1, n // eta**i), max_epochs // eta ** (s - i)) for i in range(s + 1)])
    return brackets


def plan_hyperband(candidates: int, limits: Limits) -> list[list[Rung]]:
    """One round of brackets with R as large as the epochs hold, up to ``max_epochs``; then what else fits.

    Further brackets follow in the same order, as in the paper's repeated runs, while both the epochs left and
    the candidates that no bracket had are enough for the next one.
    """

    def cost(brackets: Sequence[Sequence[Rung]]) -> int:
        return sum(total_epochs(bracket) for bracket in brackets)

    def one_round(epochs: int) -> list[list[Rung]]:
        return hyperband_round(epochs, limits.eta, candidates)

    brackets = one_round(largest_fitting(1, limits.max_epochs, lambda epochs: cost(one_round(epochs)) <= limits.epochs))
    epochs_left = limits.epochs - cost(brackets)
    fresh = candidates - sum(bracket[0].candidates for bracket in brackets)
    for bracket in cycle(list(brackets)):
        epochs_left -= total_epochs(bracket)
        fresh -= bracket[0].candidates
        if epochs_left < 0 or fresh < 0:
            return brackets
        brackets.append(bracket)
    raise AssertionError("a round has at least one bracket")
