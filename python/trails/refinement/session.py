"""One run of refinement within its budget: measure, plan, rungs, the winner's further epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from trails.errors import BudgetTooSmall, UnusableData
from trails.limits import RESERVE_SECONDS
from trails.refinement import members, memory
from trails.refinement.clock import MONOTONIC, Clock
from trails.refinement.costs import Speed
from trails.refinement.ensemble import most_networks
from trails.refinement.ensemble_step import EnsembleStep
from trails.refinement.models import Models
from trails.refinement.planning import Spent, choose, first_group, least_training, too_small
from trails.refinement.protocol import Candidate, Events, Refine, Setting
from trails.refinement.remaining import SLACK, Remaining
from trails.refinement.revision import Revision
from trails.refinement.roster import Roster
from trails.refinement.saving import Saver, read_checkpoint, restore
from trails.refinement.schedulers import Job, Scheduler
from trails.refinement.supervision import Supervision
from trails.refinement.timings import Timings
from trails.refinement.trial import Trial
from trails.refinement.winner import Winner, note
from trails.refinement.workers import LocalWorker, Worker

_TIMES_THE_LEAST = 20.0
"""Nothing is kept back for members where the rest would hold less than so many times the least training."""

Measure = Callable[[Sequence[Trial], float], Speed]


class Refinement:
    """Trains candidates on one data set and reports as it goes.

    Args:
        setting: On which rows, where and until when.
        request: What to train.
        models: Makes the candidates' networks, and keeps the best.
        workers: Each trains for itself; the first one also trains the winner.
        measure: Measures the speed of the workers on some trials, in a share of the seconds given.
        events: Where to report.
        timings: Of the process so far.
        clock: That ``setting`` is in.
    """

    def __init__(
        self,
        setting: Setting,
        request: Refine,
        models: Models,
        workers: Sequence[Worker],
        measure: Measure,
        events: Events,
        timings: Timings | None = None,
        clock: Clock = MONOTONIC,
    ) -> None:
        self._setting, self._request, self._models, self._events = setting, request, models, events
        self._options, self._clock = request.options, clock
        self._workers, self._measure = list(workers), measure
        self._timings = timings or Timings(setting.started, clock)
        self._roster = Roster()
        self._remaining = Remaining(setting, clock, models.chunks)
        self._supervision = Supervision(self._remaining, models, events, clock)
        self._progress, self._lock = self._supervision.progress, self._supervision.lock
        self._saver = Saver(setting, models, events, self._timings, clock)
        self._scored = request.scored
        self._complete, self._in_time = True, True

    def run(self) -> list[Trial]:
        """Spend the budget.

        Returns:
            Trials that have a validation metric, best first; the first one's ``best`` holds its weights.

        Raises:
            BudgetTooSmall: Not one model can be trained.
            UnusableData: Every candidate diverged.
            InvalidInput: K, U, eta or the number of epochs is out of range; a checkpoint of other rows.
        """
        read = read_checkpoint(self._request, self._models)
        trials = list(read.survivors) if read else [self._models.trial(c) for c in self._offered()]
        model, any_model = self._models.reserve(trials)
        self._remaining.reserve += model
        with self._timings.phase("measure"):
            speed = self._measure(trials, self._setting.deadline - self._clock.now())
        self._remaining.speed, self._stacked = speed, speed.stacked
        # What training could not have this time; a larger budget would have to keep back all of the model's time.
        self._spent = Spent.until(
            self._setting,
            self._clock.now(),
            RESERVE_SECONDS + any_model + SLACK * speed.chunk_seconds,
            self._request.score_seconds * self._request.scored,
        )
        self._began = self._clock.now()
        # A plan that is fixed is fixed: the same seed gives the same result on a faster machine too.
        free = not self._request.fixed and math.isfinite(self._setting.deadline)
        wanted = self._members_wanted(free)
        kept = self._keep_for_members() if wanted and free and not read else 0.0
        if read:
            self._scored = read.n
            roster, scheduler = restore(read, self._request, self._models)
            self._begin(roster)
            self._plan_rest(scheduler, read.survivors[0].epochs)
        else:
            scheduler = self._choose()
            if kept and self._planned > self._remaining.seconds():
                # Of candidates that are named so many must be trained: members get what that leaves.
                self._remaining.reserve -= kept
                kept = 0.0
        rung = read.rung if read else 0
        self._write_best()  # of the run that is continued
        several: Trial | None = None
        ensembles = EnsembleStep(self._request, self._supervision, self._timings, self._clock)
        try:
            if scheduler is not None:
                rung = self._run_rungs(scheduler, rung)
            self._remaining.reserve -= kept
            best = self._roster.best
            if best is not None and wanted:
                several = self._train_members(best, free)
            if best is not None and best.alive and free and self._options.winner and several is None:
                with ensembles.reserving():
                    self._winner(best, rung).train_further(self._workers[0])
        except Exception:
            # The caller tells of the fault and returns what had finished: with the best model of that.
            if self._roster.best is not None:
                self._models.write_at_once(self._roster.best)
            raise
        ranked = self._roster.ranking()
        if not ranked:
            raise self._nothing_trained()
        refit = free and self._options.refit
        if several is not None:
            self._winner(several, rung).keep(refit)
        elif not ensembles.keep(rung, refit):
            self._winner(ranked[0], rung).keep(refit)
        self._events.result(self._roster.rows(), self._complete, self._timings.rows, self._models.unkept)
        return ranked

    # Members

    def _members_wanted(self, free: bool) -> bool:
        """Whether the best architecture is to be trained with several members, for the model that is kept."""
        asked, models = self._options.members, self._setting.models
        if not models or asked == 1 or self._request.family.networks.with_members(2) is None:
            return False
        if asked == "auto" and (not free or not self._options.winner or most_networks(self._request) > 1):
            return False
        return isinstance(self._workers[0], LocalWorker)

    def _keep_for_members(self) -> float:
        """Keep a part of the time back until the last rung is over; the seconds, 0 where there is little time."""
        kept, left = members.SHARE * self._remaining.seconds(), self._remaining.seconds()
        if left - kept < _TIMES_THE_LEAST * self._least():
            return 0.0
        self._remaining.reserve += kept
        return kept

    def _train_members(self, winner: Trial, free: bool) -> Trial | None:
        """The winner's architecture with several members, if that is better; without it there is the winner."""
        worker = self._workers[0]
        assert isinstance(worker, LocalWorker), "only then they are wanted"
        self._models.write_at_once(winner)  # this takes long, and something may end it
        stage = members.Members(winner, self._options, self._supervision, self._timings, self._clock)
        try:
            found = stage.train(worker, refit=free and self._options.refit)
        except Exception as error:
            note(f"no members were trained: {type(error).__name__}: {error}")
            return None
        if found is not None and not self._models.write_at_once(found):
            note(f"the model of {found.members} members cannot be written: {self._models.unkept}")
            return None
        return found

    # What to train

    def _offered(self) -> Sequence[Candidate]:
        """Candidates that may be trained."""
        candidates = self._request.candidates
        return candidates if self._request.k is None else candidates[: max(1, self._request.k)]

    def _begin(self, roster: Roster) -> None:
        self._roster = self._supervision.roster = roster
        roster.networks = most_networks(self._request) if self._setting.models else 1
        self._revision = Revision(self._request, self._remaining, roster, self._progress)

    def _choose(self) -> Scheduler:
        remaining, workers = self._remaining, len(self._workers)
        left = remaining.seconds()
        if self._least() > left:
            self._stacked = 1  # fewer at a time have a result sooner
            remaining.speed = replace(remaining.speed, stacked=1)
        choice = choose(self._setting, self._request, remaining.speed, workers, left, self._spent)
        self._begin(Roster(self._models.trial(c) for c in choice.candidates))
        self._planned = choice.epochs * choice.epoch_seconds
        self._progress.expect(choice.epochs)
        self._report_plan(choice.u, choice.epochs, choice.epoch_seconds)
        return choice.scheduler

    def _least(self) -> float:
        """Wall seconds of the least training that has a result."""
        request, workers = self._request, len(self._workers)
        candidates: Sequence[Candidate] = request.candidates
        if request.k is None and request.u is None:
            candidates = [min(candidates, key=lambda c: self._remaining.costs.of(c.design).epoch)]
        group = first_group(request, candidates, workers, self._stacked)
        return least_training(self._remaining.speed, group, workers)

    def _plan_rest(self, scheduler: Scheduler | None, reached: int) -> None:
        """What is left of a run that goes on, as far as there is time for it."""
        mean = self._remaining.mean_epoch(list(self._roster.trials.values()))
        if scheduler is not None and not self._request.fixed:
            scheduler.revise(
                epochs_done=reached,
                epoch_seconds=mean,
                seconds_left=self._remaining.seconds(),
                eta=self._options.eta,
            )
        left = () if scheduler is None else scheduler.brackets_left
        epochs = 0 if scheduler is None else scheduler.epochs_left(reached)
        self._progress.expect(max(1, epochs))
        self._report_plan(left[0][0].epochs_to if left else reached, epochs, mean)

    def _report_plan(self, u: int, epochs: int, epoch_seconds: float) -> None:
        self._events.plan(
            n=self._scored,
            k=len(self._roster.trials),
            u=u,
            filtering_seconds=self._request.score_seconds * self._scored,
            refinement_seconds=epochs * epoch_seconds,
            epoch_seconds=epoch_seconds,
        )

    # Rungs

    def _run_rungs(self, scheduler: Scheduler, rung: int) -> int:
        """Train what the scheduler asks for; the number of the last rung begun, or ``rung`` if there is none."""
        while not scheduler.done:
            job = scheduler.next_job()
            assert job is not None, "a rung begins with something to train"
            rung = job.rung
            with self._timings.phase(f"rung {rung}"):
                self._run_rung(scheduler, job)
            if not self._in_time:
                self._complete = False
                break
            end = scheduler.end_rung()
            assert end is not None, "all jobs of the rung are reported"
            self._events.rung(end.rung, end.candidates, end.survivors)
            self._models.rung_ended([trial for trial in self._roster.ranking() if trial.epochs >= job.epochs_to])
            if self._revision.revise(scheduler, end):
                self._complete = False
            self._roster.release(scheduler)
            self._write_best()
            if not scheduler.done or not self._request.fixed:
                try:
                    self._saver.write(scheduler, end, self._roster, self._scored)
                except Exception as error:
                    # Without it the run cannot be resumed; it goes on.
                    note(f"no checkpoint of rung {rung}: {type(error).__name__}: {error}")
        return rung

    def _run_rung(self, scheduler: Scheduler, first: Job) -> None:
        """Share the jobs of one rung among the workers, until there are none or time is up."""
        waiting = [first]
        groups = -(-(1 + len(scheduler.waiting)) // self._stacked)
        workers = self._workers[: max(1, groups)]
        self._remaining.active = len(workers)
        errors: list[BaseException] = []

        def work(worker: Worker) -> None:
            try:
                while not errors and (jobs := self._next_group(scheduler, waiting)):
                    in_time = self._train_group(worker, jobs)
                    with self._lock:
                        self._in_time &= in_time
                        for job in jobs if in_time else ():
                            trial = self._roster.trials[job.architecture]
                            metric = None if trial.failed else trial.best_metric
                            scheduler.report(job.architecture, metric, trial.best_loss)
                        self._roster.release(scheduler)
            except BaseException as error:
                errors.append(error)
            finally:
                with self._lock:
                    self._remaining.active = max(1, self._remaining.active - 1)

        self._clock.together([partial(work, worker) for worker in workers])
        if errors:
            raise errors[0]

    def _next_group(self, scheduler: Scheduler, waiting: list[Job]) -> list[Job]:
        """Jobs for one worker, all of the same age; none when the rung has no more, or time is up."""
        with self._lock:
            if not self._in_time:
                return []
            if self._revision.give_up(scheduler):
                self._complete = False
            trials = self._roster.trials
            group: list[Job] = []
            while len(group) < self._stacked:
                job = waiting.pop() if waiting else scheduler.next_job()
                if job is None:
                    break
                if group and trials[job.architecture].steps != trials[group[0].architecture].steps:
                    waiting.append(job)
                    break
                group.append(job)
            return group

    def _train_group(self, worker: Worker, jobs: Sequence[Job]) -> bool:
        """Train some candidates together, one by one if memory does not hold them; False if time ended it."""
        trials = self._roster.of(job.architecture for job in jobs)
        epochs_to, before = jobs[0].epochs_to, [trial.epochs for trial in trials]
        supervisor = self._supervision.of_rung(jobs[0].rung)
        try:
            return worker.train(trials, epochs_to, supervisor)
        except Exception as error:
            if not memory.is_shortage(error) or len(trials) == 1 or before != [trial.epochs for trial in trials]:
                raise
        self._stacked = 1
        return all([worker.train([trial], epochs_to, supervisor) for trial in trials])

    def _nothing_trained(self) -> BudgetTooSmall | UnusableData:
        if self._complete:
            return UnusableData(
                "every candidate diverged in training",
                hint="Look for extreme values among the features' values.",
            )
        # It was tried, so that it takes longer than there was, however it was measured.
        had = self._clock.now() - self._began
        return too_small(self._setting, self._spent, max(self._least(), had))

    def _write_best(self) -> None:
        if self._roster.best is not None:
            self._models.write(self._roster.best)

    def _winner(self, trial: Trial, rung: int) -> Winner:
        return Winner(trial, rung, self._options, self._supervision, self._timings, self._clock)
