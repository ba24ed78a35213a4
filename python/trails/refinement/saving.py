"""Checkpoints of a run: when one is written and of whom, and what a run begins with that goes on from one."""

from __future__ import annotations

import math

from trails.errors import InvalidInput
from trails.refinement import checkpoint as checkpoints
from trails.refinement.checkpoint import Checkpoint
from trails.refinement.clock import Clock
from trails.refinement.models import Models
from trails.refinement.protocol import Candidate, Events, Refine, Setting
from trails.refinement.roster import Roster
from trails.refinement.schedulers import RungEnd, Saved, Scheduler, resume_scheduler
from trails.refinement.timings import Timings

_CHEAP_SECONDS, _RARELY = 0.1, 20.0
"""Where rungs are many and short, a checkpoint that takes longer than the first is written only after so many times
what it took."""


class Saver:
    """Writes the survivors of rungs; does nothing if the caller has no place for them.

    Args:
        setting: Where they are written.
        models: That the run trains.
        events: Where to tell of it.
        timings: Of the run.
        clock: Of the run.
    """

    def __init__(self, setting: Setting, models: Models, events: Events, timings: Timings, clock: Clock) -> None:
        self._files, self._models, self._events = setting.checkpoints, models, events
        self._timings, self._clock = timings, clock
        self._written, self._when, self._took = 0, -math.inf, 0.0

    def write(self, scheduler: Scheduler, end: RungEnd, roster: Roster, scored: int) -> None:
        """Write whom the scheduler needs after a rung, if there are any and they are not too large.

        Args:
            scheduler: Between two rungs.
            end: Of the one before.
            roster: Of the run.
            scored: Architectures in all.
        """
        kept = [t for t in roster.of(scheduler.survivors) if t.training is not None and t.best is not None]
        survivors = tuple(kept)
        if not self._files or not survivors or checkpoints.size(survivors) > checkpoints.MOST_BYTES:
            return
        recent = self._clock.now() - self._when < _RARELY * self._took
        if scheduler.many_rungs and self._took > _CHEAP_SECONDS and recent:
            return
        began = self._clock.now()
        with self._timings.phase("checkpoint"):
            others = [t.row() for t in roster.ranking() if t not in survivors]
            coming = () if scheduler.done else (*scheduler.entrants, *scheduler.fresh)
            fresh = [trial for trial in roster.of(coming) if not trial.epochs]
            saved = Saved() if scheduler.done else scheduler.saved()
            blob = checkpoints.to_bytes(
                Checkpoint(
                    rung=end.rung,
                    rungs=saved.rungs,
                    survivors=survivors,
                    leaderboard=(*others, *roster.dropped),
                    digest=self._models.digest,
                    n=scored,
                    scheduler=saved.state,
                    fresh=tuple((trial.architecture, trial.score) for trial in fresh),
                )
            )
            # In turn, so that the one before is whole while this one is being written.
            which = self._written % len(self._files)
            checkpoints.write(self._files[which], blob)
            self._written += 1
        self._when = self._clock.now()
        self._took = self._when - began
        self._events.checkpoint(end.rung, which, len(blob))


def read_checkpoint(request: Refine, models: Models) -> Checkpoint | None:
    """The checkpoint that a run is to go on from; None if it begins anew.

    Raises:
        InvalidInput: It cannot be read, or is one of other rows.
    """
    if request.resume is None:
        return None
    read = checkpoints.read(*request.resume)
    if read.digest != models.digest:
        raise InvalidInput(
            "the run cannot go on: its rows have changed",
            detail="The training or validation rows are not those that the run was begun on.",
            hint="Start a new run.",
        )
    if not all(models.knows(trial) for trial in read.survivors):
        raise InvalidInput("the run cannot go on: its networks are not made for these rows", hint="Start a new run.")
    return read


def restore(read: Checkpoint, request: Refine, models: Models) -> tuple[Roster, Scheduler | None]:
    """What a run was, when its checkpoint was written: candidates, and a scheduler if there is more to train.

    Raises:
        InvalidInput: Its parts do not go together.
    """
    try:
        survivors = [trial.architecture for trial in read.survivors]
        saved = Saved(read.rungs, read.scheduler)
        scheduler = resume_scheduler(request.refinement, survivors, saved, read.rung + 1)
        fresh = []
        for architecture, score in read.fresh:
            fresh.append(models.trial(Candidate(architecture, request.family.parse(architecture), score)))
        roster = Roster([*read.survivors, *fresh], read.leaderboard)
        needed = () if scheduler is None else (*scheduler.entrants, *scheduler.fresh)
        known = set(needed) <= set(roster.trials)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput("the checkpoint cannot be read", detail=str(error), hint="Start a new run.") from error
    if not known:
        raise InvalidInput("the checkpoint cannot be read", detail="A candidate is missing.", hint="Start a new run.")
    return roster, scheduler
