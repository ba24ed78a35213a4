"""One run of refinement within its budget: measure, plan, rungs, the winner's further epochs."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from trails.coordinator import total_epochs
from trails.errors import BudgetTooSmall, InvalidInput, UnusableData
from trails.halving import revise
from trails.limits import RESERVE_SECONDS
from trails.refinement import checkpoint as checkpoints
from trails.refinement import memory
from trails.refinement.checkpoint import Checkpoint
from trails.refinement.costs import Costs, Seconds, Speed
from trails.refinement.dataset import Dataset
from trails.refinement.keeping import ModelKeeper
from trails.refinement.leaderboard import in_order
from trails.refinement.planning import LEAST_SHARE, Spent, choose, first_group, least_training, too_small
from trails.refinement.protocol import Candidate, Events, LeaderboardRow, Refine, Setting, TimingRow
from trails.refinement.refit import MOST_ROWS, rows_in_all
from trails.refinement.refit import refit as refit_on_all
from trails.refinement.schedulers import Hyperband, Job, RungEnd, RungScheduler
from trails.refinement.stack import EVALUATION_ROWS
from trails.refinement.trial import EpochResult, Trial, ranking
from trails.refinement.weights import Layout, Weights
from trails.refinement.workers import Worker

# Stretches between two looks at the clock, and the last evaluation, may take this much longer than
# expected.
_SLACK = 1.3

# The same while there is no model yet: without the first evaluation the run was for nothing.
_FIRST_SLACK = 2.0

_PROGRESS_SECONDS = 0.25

_CHEAP_SECONDS, _RARELY = 0.1, 20.0
"""A checkpoint of Hyperband that takes longer than the first is written only after so many times what it took."""

Measure = Callable[[Sequence[Trial], float], Speed]


class Timings:
    """When each phase of a run began and how long it took; ``started`` is the beginning of the statement."""

    def __init__(self, started: float) -> None:
        self._started = started
        self.rows: list[TimingRow] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times what is done inside."""
        began = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - began
            self.rows.append({"phase": name, "begin": began - self._started, "seconds": seconds})


class Refinement:
    """Trains candidates on one data set and reports as it goes; the `Clock` of its workers.

    Args:
        setting: On which rows, where and until when.
        request: What to train.
        data: Encoded rows.
        workers: Each is given to one thread; the first one also trains the winner.
        measure: Measures the speed of the workers on some trials, in a share of the seconds given.
        events: Where to report.
        timings: Of the process so far.
    """

    def __init__(
        self,
        setting: Setting,
        request: Refine,
        data: Dataset,
        workers: Sequence[Worker],
        measure: Measure,
        events: Events,
        timings: Timings | None = None,
    ) -> None:
        self._setting, self._request, self._data, self._events = setting, request, data, events
        self._options = request.options
        self._workers, self._measure = list(workers), measure
        self._timings = timings or Timings(setting.started)
        self._trials: dict[str, Trial] = {}
        self._dropped: list[LeaderboardRow] = []
        self._scored = request.scored
        self._lock = threading.RLock()
        self._active = 1
        self._complete, self._in_time, self._winning = True, True, False
        self._done, self._total, self._told = 0.0, 1.0, -math.inf
        self._digest, self._written, self._checkpointed = "", 0, (-math.inf, 0.0)
        self._reserve = RESERVE_SECONDS
        self._keeper = ModelKeeper(setting, request, data, events, self._timings)

    def run(self) -> list[Trial]:
        """Spend the budget.

        Returns:
            Trials that have a validation metric, best first; the first one's ``best`` holds its weights.

        Raises:
            BudgetTooSmall: Not one model can be trained.
            UnusableData: Every candidate diverged.
            InvalidInput: K, U, eta or the number of epochs is out of range; a checkpoint of other rows.
        """
        resumed = self._read_checkpoint()
        trials = list(resumed.survivors) if resumed else [self._trial(c) for c in self._offered()]
        model, any_model = self._keeper.reserve(trials)
        self._reserve += model
        with self._timings.phase("measure"):
            self._speed = self._measure(trials, self._setting.deadline - time.monotonic())
        self._costs: Costs = self._speed.costs
        self._chunk_seconds, self._stacked = self._speed.chunk_seconds, self._speed.stacked
        # What training could not have this time; a larger budget would have to keep back all of the model's time.
        self._spent = Spent.until(
            self._setting,
            time.monotonic(),
            RESERVE_SECONDS + any_model + _SLACK * self._chunk_seconds,
            self._request.score_seconds * self._request.scored,
        )
        self._began = time.monotonic()
        scheduler = self._resume(resumed) if resumed else self._choose()
        rung = resumed.rung if resumed else 0
        for best in self._ranking()[:1]:
            self._keeper.write(best)  # of the run that is continued
        # A plan that is fixed is fixed: the same seed gives the same result on a faster machine too.
        free = not self._request.fixed and math.isfinite(self._setting.deadline)
        try:
            if scheduler is not None:
                rung = self._run_rungs(scheduler)
            ranked = self._ranking()
            if ranked and ranked[0].alive and free and self._options.winner:
                with self._timings.phase("winner"):
                    self._train_winner(ranked[0], rung)
                ranked = self._ranking()
        except Exception:
            # The caller tells of the fault and returns what had finished: with the best model of that.
            for best in self._ranking()[:1]:
                self._keeper.write_at_once(best)
            raise
        if not ranked:
            raise self._nothing_trained()
        self._finish(ranked[0], refit=free and self._options.refit)
        rows = in_order([*(t.row() for t in self._trials.values() if t.ranked), *self._dropped])
        self._events.result(rows, self._complete, self._timings.rows, self._keeper.unkept)
        return ranked

    # What to train

    def _trial(self, candidate: Candidate) -> Trial:
        layout = Layout.of(self._data, self._options.embedding, candidate.design)
        return Trial(candidate.architecture, candidate.score, layout, self._setting.seed)

    def _offered(self) -> Sequence[Candidate]:
        """Candidates that may be trained."""
        candidates = self._request.candidates
        return candidates if self._request.k is None else candidates[: max(1, self._request.k)]

    def _choose(self) -> RungScheduler | Hyperband:
        left, workers = self._left(), len(self._workers)
        if self._least() > left:
            self._speed = replace(self._speed, stacked=1)  # fewer at a time have a result sooner
            self._stacked = 1
        choice = choose(self._setting, self._request, self._speed, workers, left, self._spent)
        self._trials = {c.architecture: self._trial(c) for c in choice.candidates}
        self._total = float(choice.epochs)
        self._report_plan(choice.u, choice.epochs, choice.epoch_seconds)
        return choice.scheduler

    def _least(self) -> float:
        """Wall seconds of the least training that has a result."""
        request, workers = self._request, len(self._workers)
        candidates: Sequence[Candidate] = request.candidates
        if request.k is None and request.u is None:
            candidates = [min(candidates, key=lambda c: self._costs.of(c.design).epoch)]
        return least_training(self._speed, first_group(request, candidates, workers, self._stacked), workers)

    def _resume(self, resumed: Checkpoint) -> RungScheduler | Hyperband | None:
        self._trials = {trial.architecture: trial for trial in resumed.survivors}
        self._dropped, self._scored = list(resumed.leaderboard), resumed.n
        if resumed.hyperband is not None:
            return self._resume_hyperband(resumed, resumed.hyperband)
        rungs, reached = list(resumed.rungs), resumed.survivors[0].epochs
        mean = self._mean_epoch(list(self._trials))
        if rungs and not self._request.fixed and self._request.refinement == "sh":
            rungs = revise(
                rungs, epochs_done=reached, epoch_seconds=mean, seconds_left=self._left(), eta=self._options.eta
            )
        epochs = total_epochs(rungs, reached)
        self._total = float(max(1, epochs))
        self._report_plan(rungs[0].epochs_to if rungs else reached, epochs, mean)
        return RungScheduler(list(self._trials), rungs, resumed.rung + 1) if rungs else None

    def _resume_hyperband(self, resumed: Checkpoint, state: Mapping[str, Any]) -> Hyperband:
        try:
            scheduler = Hyperband.from_state(state)
            for architecture, score in resumed.fresh:
                design = tuple(int(width) for width in architecture.split("-"))
                self._trials[architecture] = self._trial(Candidate(architecture, design, score))
            known = {*scheduler.entrants, *scheduler.fresh} <= set(self._trials)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("the checkpoint cannot be read", detail=str(error), hint="Start a new run.") from error
        if not known:
            raise InvalidInput(
                "the checkpoint cannot be read", detail="A candidate is missing.", hint="Start a new run."
            )
        left = scheduler.brackets_left
        epochs = sum(total_epochs(bracket) for bracket in left)
        self._total = float(epochs)
        self._report_plan(left[0][0].epochs_to, epochs, self._mean_epoch(list(self._trials)))
        return scheduler

    def _report_plan(self, u: int, epochs: int, epoch_seconds: float) -> None:
        self._events.plan(
            n=self._scored,
            k=len(self._trials),
            u=u,
            filtering_seconds=self._request.score_seconds * self._scored,
            refinement_seconds=epochs * epoch_seconds,
            epoch_seconds=epoch_seconds,
        )

    # Rungs

    def _run_rungs(self, scheduler: RungScheduler | Hyperband) -> int:
        """Train what the scheduler asks for; the number of the last rung begun."""
        rung = 0
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
            if isinstance(scheduler, RungScheduler) and not scheduler.done and self._revise(scheduler, end):
                self._complete = False
            self._release(scheduler)
            for best in self._ranking()[:1]:
                self._keeper.write(best)
            if not scheduler.done or not self._request.fixed:
                try:
                    self._write_checkpoint(scheduler, end)
                except Exception as error:
                    # Without it the run cannot be resumed; it goes on.
                    _note(f"no checkpoint of rung {rung}: {type(error).__name__}: {error}")
        return rung

    def _run_rung(self, scheduler: RungScheduler | Hyperband, first: Job) -> None:
        """Share the jobs of one rung among the workers, until there are none or time is up."""
        waiting = [first]
        groups = -(-(1 + len(scheduler.waiting)) // self._stacked)
        workers = self._workers[: max(1, groups)]
        self._active = len(workers)
        errors: list[BaseException] = []

        def work(worker: Worker) -> None:
            try:
                while not errors and (jobs := self._next_group(scheduler, waiting)):
                    in_time = self._train_group(worker, jobs)
                    with self._lock:
                        self._in_time &= in_time
                        for job in jobs if in_time else ():
                            trial = self._trials[job.architecture]
                            scheduler.report(job.architecture, None if trial.failed else trial.best_metric)
                        self._release(scheduler)
            except BaseException as error:
                errors.append(error)
            finally:
                with self._lock:
                    self._active = max(1, self._active - 1)

        threads = [threading.Thread(target=work, args=(worker,), name="worker") for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _next_group(self, scheduler: RungScheduler | Hyperband, waiting: list[Job]) -> list[Job]:
        """Jobs for one worker, all of the same age; none when the rung has no more, or time is up."""
        with self._lock:
            if not self._in_time:
                return []
            if isinstance(scheduler, RungScheduler) and scheduler.reported and self._give_up(scheduler):
                self._complete = False
            group: list[Job] = []
            while len(group) < self._stacked:
                job = waiting.pop() if waiting else scheduler.next_job()
                if job is None:
                    break
                if group and self._trials[job.architecture].steps != self._trials[group[0].architecture].steps:
                    waiting.append(job)
                    break
                group.append(job)
            return group

    def _train_group(self, worker: Worker, jobs: Sequence[Job]) -> bool:
        """Train some candidates together, one by one if memory does not hold them; False if time ended it."""
        trials = [self._trials[job.architecture] for job in jobs]
        rung, epochs_to = jobs[0].rung, jobs[0].epochs_to
        before = [trial.epochs for trial in trials]
        clock = _RungClock(self, rung)
        try:
            return worker.train(trials, epochs_to, clock)
        except Exception as error:
            if not memory.is_shortage(error) or len(trials) == 1 or before != [trial.epochs for trial in trials]:
                raise
        self._stacked = 1
        return all([worker.train([trial], epochs_to, clock) for trial in trials])

    def _train_winner(self, winner: Trial, rung: int) -> None:
        """Spend what is left on the best candidate, as long as it gets better."""
        self._active = 1
        left = self._share_left([winner])
        if winner.stale(self._options.patience) or left < LEAST_SHARE:
            return
        self._winning = True
        self._total = self._done + min(math.ceil(left), self._options.max_epochs - winner.epochs)
        self._workers[0].train([winner], self._options.max_epochs, _RungClock(self, rung))
        winner.failed = False  # its best epoch stands

    # Time

    def may_begin(self, trials: Sequence[Trial]) -> bool:
        """See `Clock`."""
        with self._lock:
            return self._share_left(trials) >= LEAST_SHARE or not self._any_result()

    def training_ends(self, trials: Sequence[Trial], batch_seconds: float) -> float:
        """See `Clock`."""
        with self._lock:
            evaluation = self._wall() * sum(self._costs.of(t.design).evaluation for t in trials)
            batch = self._wall() * sum(self._costs.batch(t.design) for t in trials)
            slack = _SLACK if self._any_result() else _FIRST_SLACK
            return self.evaluation_ends(trials) - slack * (evaluation + max(batch_seconds, batch))

    def evaluation_ends(self, trials: Sequence[Trial]) -> float:
        """See `Clock`."""
        # The chunk under way when the clock is read cannot be interrupted; measured was perhaps that of narrower ones.
        chunks = math.ceil(len(self._data.validation) / EVALUATION_ROWS)
        chunk = self._wall() * sum(self._costs.of(t.design).evaluation for t in trials) / chunks
        return self._setting.deadline - self._reserve - _SLACK * max(self._chunk_seconds, chunk)

    def report(
        self, rung: int, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]
    ) -> None:
        """An epoch is over; see `Clock`."""
        with self._lock:
            if all(result.finished for result in results):
                self._costs.observe([trial.design for trial in trials], Seconds(*seconds))
            for result in results:
                self._events.epoch(
                    architecture=result.architecture,
                    rung=rung,
                    epoch=result.epoch,
                    train_loss=result.train_loss,
                    validation_loss=result.loss,
                    validation_metric=result.metric,
                    seconds=result.seconds,
                )
                self._keeper.note(result, self._ranking()[0])
            if self._winning and trials[0].best_epoch == trials[0].epochs:
                self._keeper.write(trials[0])

    def fell_short(self, trials: Sequence[Trial], seconds: tuple[float, float]) -> None:
        """See `Clock`."""
        with self._lock:
            self._costs.fell_short([trial.design for trial in trials], Seconds(*seconds))

    def progress(self, epochs: float) -> None:
        """See `Clock`."""
        with self._lock:
            self._done += epochs
            now = time.monotonic()
            if now - self._told >= _PROGRESS_SECONDS:
                self._told = now
                self._events.progress(self._done, max(self._total, self._done))

    def _left(self) -> float:
        """Seconds that training and evaluation may still take."""
        return self._setting.deadline - self._reserve - self._chunk_seconds - time.monotonic()

    def _wall(self) -> int:
        """Wall seconds of a worker for each second of the whole machine."""
        return self._speed.wall(self._active)

    def _share_left(self, trials: Sequence[Trial]) -> float:
        """Epochs of these candidates, each with its evaluation, that the time left holds while the other workers
        go on; below 1 part of one.
        """
        each = [self._costs.of(trial.design) for trial in trials]
        training = self._wall() * sum(seconds.training for seconds in each)
        evaluation = self._wall() * sum(seconds.evaluation for seconds in each)
        left = self._left()
        return left / (training + evaluation) if left > training + evaluation else (left - evaluation) / training

    def _give_up(self, scheduler: RungScheduler) -> bool:
        """Take candidates out of the rung under way that would leave no time for the rungs after it."""
        waiting = scheduler.waiting
        if self._request.k is not None or not waiting:
            return False
        present, *later = scheduler.rungs_left

        def needed(count: int) -> float:
            seconds = 0.0
            for architecture in waiting[:count]:
                trial = self._trials[architecture]
                seconds += (present.epochs_to - trial.epochs) * self._costs.of(trial.design).epoch
            mean = self._mean_epoch(list(self._trials))
            reached, survivors = present.epochs_to, scheduler.reported + count
            for rung in later:
                survivors = max(1, survivors // self._options.eta)
                seconds += min(survivors, rung.candidates) * (rung.epochs_to - reached) * mean
                reached = rung.epochs_to
            return seconds

        keep = len(waiting)
        while keep > 0 and needed(keep) > self._left():
            keep -= 1
        if keep == len(waiting):
            return False
        scheduler.give_up(len(waiting) - keep)
        self._replan(scheduler)
        return True

    def _revise(self, scheduler: RungScheduler, end: RungEnd) -> bool:
        """Fit the rungs left to the speed observed; whether that took anything away."""
        given = self._request.k is not None or self._request.u is not None
        if given or self._request.refinement != "sh":
            return False
        planned = list(scheduler.rungs_left)
        revised = revise(
            planned,
            epochs_done=self._trials[end.survivors[0]].epochs,
            epoch_seconds=self._mean_epoch(end.survivors),
            seconds_left=max(0.0, self._left()),
            eta=self._options.eta,
        )
        if revised == planned:
            return False
        scheduler.replace_rungs(revised)
        self._replan(scheduler)
        return True

    def _replan(self, scheduler: RungScheduler) -> None:
        rungs = scheduler.rungs_left
        if rungs:
            waiting = [self._trials[architecture] for architecture in scheduler.waiting]
            done = min((trial.epochs for trial in waiting), default=0)
            rest = [type(rungs[0])(len(waiting), rungs[0].epochs_to), *rungs[1:]]
            self._total = max(self._done, self._done + total_epochs(rest, done))

    def _mean_epoch(self, architectures: Sequence[str]) -> float:
        return sum(self._costs.of(self._trials[a].design).epoch for a in architectures) / len(architectures)

    # Results

    def _any_result(self) -> bool:
        return any(trial.ranked for trial in self._trials.values())

    def _ranking(self) -> list[Trial]:
        return ranking(self._trials.values())

    def _release(self, scheduler: RungScheduler | Hyperband) -> None:
        """Free networks of candidates that are out: a hundred wide ones with Adam's state are gigabytes."""
        needed = scheduler.needed
        best = next(iter(self._ranking()), None)
        for trial in self._trials.values():
            if trial.best_epoch and trial.architecture not in needed:
                # The best so far is what is kept, even if its training went wrong later.
                trial.release(trial is not best)
                if isinstance(scheduler, Hyperband):
                    scheduler.dismiss(trial.architecture)

    def _nothing_trained(self) -> BudgetTooSmall | UnusableData:
        if self._complete:
            return UnusableData(
                "every candidate diverged in training",
                hint="Look for extreme values among the features' values.",
            )
        # It was tried, so that it takes longer than there was, however it was measured.
        had = time.monotonic() - self._began
        return too_small(self._setting, self._spent, max(self._least(), had))

    # Models

    def _finish(self, winner: Trial, refit: bool) -> None:
        """Keep the winner's model, trained on held-out rows too if that is possible; its metrics are from before."""
        best = winner.best
        if best is None:
            return
        learnt = self._keeper.learn_metrics(winner)
        again = self._refit(winner) if learnt and refit and self._data.drawn else None
        winner.best = again or best
        self._keeper.write_last(winner, rows_in_all(self._data) if again else len(self._data.train))

    def _refit(self, winner: Trial) -> Weights | None:
        """Weights of the winner trained on all rows; None if there is no time, or it came to nothing."""
        data, rows = self._data, rows_in_all(self._data)
        cost = self._costs.of(winner.design)
        self._active = 1
        seconds = self._wall() * (winner.best_epoch * cost.training * rows / len(data.train) + cost.evaluation)
        if rows > MOST_ROWS or _SLACK * seconds > self._left():
            return None
        before = self._done
        self._total = before + winner.best_epoch

        def keep_going(epochs: float) -> bool:
            self.progress(before + epochs - self._done)
            return time.monotonic() < self.training_ends([winner], 0.0)

        with self._timings.phase("refit"):
            try:
                return refit_on_all(winner, data, self._options, keep_going)
            except Exception as error:
                # A second copy of the rows may not fit in memory; there is a result without it.
                _note(f"the winner was not trained again on all rows: {type(error).__name__}: {error}")
                return None

    # Checkpoints

    def _read_checkpoint(self) -> Checkpoint | None:
        if self._request.resume is None:
            return None
        read = checkpoints.read(*self._request.resume)
        if read.digest != checkpoints.digest(self._data):
            raise InvalidInput(
                "the run cannot go on: its rows have changed",
                detail="The training or validation rows are not those that the run was begun on.",
                hint="Start a new run.",
            )
        if any(t.layout != Layout.of(self._data, self._options.embedding, t.design) for t in read.survivors):
            raise InvalidInput(
                "the run cannot go on: its networks are not made for these rows", hint="Start a new run."
            )
        return read

    def _write_checkpoint(self, scheduler: RungScheduler | Hyperband, end: RungEnd) -> None:
        files = self._setting.checkpoints
        if isinstance(scheduler, Hyperband) and not scheduler.done:
            survivors = tuple(t for t in self._trials.values() if t.training is not None and t.best is not None)
        elif isinstance(scheduler, Hyperband):
            survivors = tuple(self._trials[architecture] for architecture in end.survivors)
        else:
            survivors = tuple(self._trials[architecture] for architecture in scheduler.entrants)
        if not files or not survivors or checkpoints.size(survivors) > checkpoints.MOST_BYTES:
            return
        when, took = self._checkpointed
        if isinstance(scheduler, Hyperband) and took > _CHEAP_SECONDS and time.monotonic() - when < _RARELY * took:
            return  # its rungs are many and short
        began = time.monotonic()
        with self._timings.phase("checkpoint"):
            self._digest = self._digest or checkpoints.digest(self._data)
            others = [t.row() for t in self._ranking() if t not in survivors]
            going = scheduler if isinstance(scheduler, Hyperband) and not scheduler.done else None
            coming = (*going.entrants, *going.fresh) if going else ()
            fresh = [self._trials[a] for a in coming if not self._trials[a].epochs]
            blob = checkpoints.to_bytes(
                Checkpoint(
                    rung=end.rung,
                    rungs=() if scheduler.done or isinstance(scheduler, Hyperband) else scheduler.rungs_left,
                    survivors=survivors,
                    leaderboard=(*others, *self._dropped),
                    digest=self._digest,
                    n=self._scored,
                    hyperband=going.state() if going else None,
                    fresh=tuple((trial.architecture, trial.score) for trial in fresh),
                )
            )
            # In turn, so that the one before is whole while this one is being written.
            which = self._written % len(files)
            checkpoints.write(files[which], blob)
            self._written += 1
        self._checkpointed = time.monotonic(), time.monotonic() - began
        self._events.checkpoint(end.rung, which, len(blob))


def _note(line: str) -> None:
    """A line for whoever looks for a cause: standard error is the process's log."""
    print(f"trails: {line}", file=sys.stderr, flush=True)


class _RungClock:
    """The run's clock for a worker in one of its rungs."""

    def __init__(self, run: Refinement, rung: int) -> None:
        self._run, self._rung = run, rung
        self.may_begin, self.training_ends = run.may_begin, run.training_ends
        self.evaluation_ends, self.progress = run.evaluation_ends, run.progress
        self.fell_short = run.fell_short

    def report(self, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]) -> None:
        """See `Clock`."""
        self._run.report(self._rung, trials, results, seconds)
