"""One run of refinement within its budget: profile, plan, rungs, the winner's extra epochs."""

from __future__ import annotations

import math
import time

from trails.coordinator import total_epochs
from trails.errors import BudgetTooSmall, UnusableData
from trails.halving import revise
from trails.refinement.costs import Seconds
from trails.refinement.dataset import Dataset
from trails.refinement.planning import LEAST_SHARE, choose, profile, too_small
from trails.refinement.protocol import Events, LeaderboardRow, Request
from trails.refinement.schedulers import Job, RungEnd, SuccessiveHalving
from trails.refinement.trainer import Diverged, Trial

# Kept back before the deadline: for writing the result, and for what a busy machine does to the last batch.
RESERVE_SECONDS = 0.15

# Stretches between two looks at the clock, and the last evaluation, may take this much longer than
# expected.
_SLACK = 1.3

# The same while there is no model yet: without the first evaluation the run was for nothing.
_FIRST_SLACK = 2.0

# The winner stops after this many epochs without a better one.
_PATIENCE = 3

_PROGRESS_SECONDS = 0.25


class Refinement:
    """Trains candidates on one data set and reports as it goes.

    Args:
        request: What was asked for.
        data: Encoded rows; the device they are on does the work.
        events: Where to report.
    """

    def __init__(self, request: Request, data: Dataset, events: Events) -> None:
        self._request, self._data, self._events = request, data, events
        measured = profile(request, data, request.deadline - time.monotonic())
        self._costs = measured.costs
        self._batch_seconds, self._chunk_seconds = measured.batch_seconds, measured.chunk_seconds
        self._widths = {candidate.architecture: candidate.widths for candidate in request.candidates}
        self._scores = {candidate.architecture: candidate.score for candidate in request.candidates}
        self._trials: dict[str, Trial] = {}
        self._done, self._total, self._reported = 0.0, 1.0, float("-inf")

    def run(self) -> list[Trial]:
        """Spend the budget.

        Returns:
            Trials that have a validation metric, best first; the first one's ``best_state`` holds its
            weights.

        Raises:
            BudgetTooSmall: Not one model can be trained.
            UnusableData: Every candidate diverged.
            InvalidInput: K, U, eta or the number of epochs is out of range.
        """
        request = self._request
        choice = choose(request, self._costs, self._left())
        self._events.plan(
            n=request.scored,
            k=choice.plan.k,
            u=choice.plan.u,
            filtering_seconds=request.score_seconds * request.scored,
            refinement_seconds=choice.plan.epochs * choice.epoch_seconds,
            epoch_seconds=choice.epoch_seconds,
        )
        self._total = float(choice.plan.epochs)
        halving = SuccessiveHalving([c.architecture for c in choice.candidates], choice.plan.rungs)
        complete, rung = self._run_rungs(halving)
        ranked = self._ranking()
        # With K and U both fixed the run is fixed: the same seed gives the same result on a faster machine
        # too.
        if ranked and ranked[0].alive and (request.k is None or request.u is None):
            self._train_winner(ranked[0], rung)
            ranked = self._ranking()
        if not ranked:
            raise self._nothing_trained(complete)
        self._events.result([self._row(trial) for trial in ranked], complete)
        return ranked

    def _run_rungs(self, halving: SuccessiveHalving) -> tuple[bool, int]:
        """Train what the scheduler asks for; whether all planned was done, and the last rung begun."""
        complete, rung = True, 0
        while not halving.done:
            if halving.reported and self._give_up(halving):
                complete = False
            job = halving.next_job()
            if job is None:
                end = halving.end_rung()
                assert end is not None, "jobs run one after another: a rung with nothing to do is over"
                self._events.rung(end.rung, end.candidates, end.survivors)
                self._release_all_but(end)
                if not halving.done and self._revise(halving, end):
                    complete = False
                continue
            rung = job.rung
            try:
                if not self._train(job):
                    return False, rung
                halving.report(job.architecture, self._trials[job.architecture].best_auc)
            except Diverged:
                halving.report(job.architecture, None)
        return complete, rung

    def _train(self, job: Job) -> bool:
        """Train a candidate up to the rung's epochs; False if time ended it."""
        trial = self._trials.get(job.architecture)
        if trial is None:
            request, widths = self._request, self._widths[job.architecture]
            trial = Trial(job.architecture, widths, self._data, request.seed, request.embedding)
            self._trials[job.architecture] = trial
        while trial.epochs < job.epochs_to:
            hopeless = self._share_left(trial) < LEAST_SHARE and self._any_result()
            if hopeless or not self._train_epoch(trial, job.rung):
                return False
        return True

    def _train_epoch(self, trial: Trial, rung: int) -> bool:
        """One epoch and its evaluation, reported; False if time cut it short (it is reported even so)."""
        before = trial.seconds
        evaluation = self._costs.of(trial.widths).evaluation
        last = self._request.deadline - RESERVE_SECONDS
        # The chunk and the batch under way when the clock is read cannot be interrupted.
        last_evaluation = last - _SLACK * self._chunk_seconds
        slack = _SLACK if self._any_result() else _FIRST_SLACK
        last_training = last_evaluation - slack * (evaluation + self._batch_seconds)
        begun = self._done

        def keep_training(share: float) -> bool:
            self._progress(begun + share)
            return time.monotonic() < last_training

        def keep_evaluating() -> bool:
            self._progress(begun + 1.0)
            return time.monotonic() < last_evaluation

        epoch = trial.train_epoch(keep_training)
        trained = trial.seconds - before
        if not epoch.finished:
            # Its time is spent, and the averaged weights of part of an epoch are a model too.
            trial.epochs += 1
        measured = trial.evaluate(keep_evaluating)
        if measured is None:
            return False
        seconds = trial.seconds - before
        if epoch.finished:
            self._costs.observe(trial.widths, Seconds(trained, seconds - trained))
            self._batch_seconds = max(trained / trial.batches, 0.5 * self._batch_seconds)
        self._done = begun + 1.0
        self._events.epoch(
            architecture=trial.architecture,
            rung=rung,
            epoch=trial.epochs,
            train_loss=epoch.loss,
            validation_loss=measured[1],
            validation_auc=measured[0],
            seconds=seconds,
        )
        return epoch.finished

    def _train_winner(self, winner: Trial, rung: int) -> None:
        """Spend what is left on the best candidate, as long as it gets better."""
        while winner.epochs < self._request.max_epochs and winner.epochs - winner.best_epoch < _PATIENCE:
            share = self._share_left(winner)
            if share < LEAST_SHARE:
                return
            self._total = self._done + min(math.ceil(share), self._request.max_epochs - winner.epochs)
            try:
                if not self._train_epoch(winner, rung):
                    return
            except Diverged:  # its best epoch stands
                return

    # Time

    def _left(self) -> float:
        """Seconds that training and evaluation may still take."""
        return self._request.deadline - RESERVE_SECONDS - self._chunk_seconds - time.monotonic()

    def _share_left(self, trial: Trial) -> float:
        """Epochs of a candidate, each with its evaluation, that the time left holds; below 1 part of one."""
        seconds, left = self._costs.of(trial.widths), self._left()
        return left / seconds.epoch if left > seconds.epoch else (left - seconds.evaluation) / seconds.training

    def _give_up(self, halving: SuccessiveHalving) -> bool:
        """Take candidates out of the rung under way that would leave no time for the rungs after it."""
        if self._request.k is not None or not halving.waiting:
            return False
        present, *later = halving.rungs_left
        waiting = halving.waiting

        def needed(count: int) -> float:
            seconds = 0.0
            for architecture in waiting[:count]:
                trial = self._trials.get(architecture)
                lacking = present.epochs_to - (trial.epochs if trial else 0)
                seconds += lacking * self._costs.of(self._widths[architecture]).epoch
            mean = self._mean_epoch([*self._trials, *waiting[:count]])
            reached, survivors = present.epochs_to, halving.reported + count
            for rung in later:
                survivors = max(1, survivors // self._request.eta)
                seconds += min(survivors, rung.candidates) * (rung.epochs_to - reached) * mean
                reached = rung.epochs_to
            return seconds

        keep = len(waiting)
        while keep > 0 and needed(keep) > self._left():
            keep -= 1
        if keep == len(waiting):
            return False
        halving.give_up(len(waiting) - keep)
        self._replan(halving)
        return True

    def _revise(self, halving: SuccessiveHalving, end: RungEnd) -> bool:
        """Fit the rungs left to the speed observed; whether that took anything away."""
        if self._request.k is not None or self._request.u is not None:
            return False
        planned = list(halving.rungs_left)
        revised = revise(
            planned,
            epochs_done=self._trials[end.survivors[0]].epochs,
            epoch_seconds=self._mean_epoch(end.survivors),
            seconds_left=max(0.0, self._left()),
            eta=self._request.eta,
        )
        if revised == planned:
            return False
        halving.replace_rungs(revised)
        self._replan(halving)
        return True

    def _replan(self, halving: SuccessiveHalving) -> None:
        rungs = halving.rungs_left
        if rungs:
            done = min((t.epochs for a, t in self._trials.items() if a in halving.waiting), default=0)
            rest = [type(rungs[0])(len(halving.waiting), rungs[0].epochs_to), *rungs[1:]]
            self._total = max(self._done, self._done + total_epochs(rest, done))

    def _mean_epoch(self, architectures: list[str] | tuple[str, ...]) -> float:
        return sum(self._costs.of(self._widths[a]).epoch for a in architectures) / len(architectures)

    # Results

    def _any_result(self) -> bool:
        return any(trial.best_epoch > 0 for trial in self._trials.values())

    def _ranking(self) -> list[Trial]:
        order = {architecture: place for place, architecture in enumerate(self._widths)}
        trained = [trial for trial in self._trials.values() if trial.best_epoch > 0]
        return sorted(trained, key=lambda trial: (-trial.best_auc, order[trial.architecture]))

    def _release_all_but(self, end: RungEnd) -> None:
        """Free networks of candidates that are out: a hundred wide ones with Adam's state are gigabytes."""
        for trial in self._trials.values():
            if trial.architecture not in end.survivors:
                trial.release()

    def _row(self, trial: Trial) -> LeaderboardRow:
        return {
            "architecture": trial.architecture,
            "score": self._scores[trial.architecture],
            "validation_auc": trial.best_auc,
            "validation_loss": trial.best_loss,
            "epochs": trial.epochs,
            "best_epoch": trial.best_epoch,
            "parameters": trial.parameters,
            "seconds": trial.seconds,
        }

    def _nothing_trained(self, complete: bool) -> BudgetTooSmall | UnusableData:
        if complete:
            return UnusableData(
                "every candidate diverged in training",
                hint="Look for extreme values among the features' values.",
            )
        cheapest = min(self._costs.of(widths).share(LEAST_SHARE) for widths in self._widths.values())
        return too_small(self._request, self._left(), cheapest)

    def _progress(self, done: float) -> None:
        now = time.monotonic()
        if now - self._reported >= _PROGRESS_SECONDS:
            self._reported = now
            self._events.progress(done, max(self._total, done))
