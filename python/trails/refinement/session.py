"""One run of refinement within its budget: measure, plan, rungs, the winner's further epochs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from trails.coordinator import total_epochs
from trails.errors import BudgetTooSmall, InvalidInput, UnusableData
from trails.halving import revise
from trails.refinement import checkpoint as checkpoints
from trails.refinement import memory
from trails.refinement.checkpoint import Checkpoint
from trails.refinement.costs import Costs, Seconds
from trails.refinement.dataset import Dataset
from trails.refinement.export import blob_size, model_of
from trails.refinement.metrics import report
from trails.refinement.planning import LEAST_SHARE, choose, too_small
from trails.refinement.protocol import Candidate, Events, LeaderboardRow, Refine, Setting, TimingRow
from trails.refinement.refit import MOST_ROWS, rows_in_all
from trails.refinement.refit import refit as refit_on_all
from trails.refinement.schedulers import Hyperband, Job, RungEnd, RungScheduler
from trails.refinement.speed import Speed
from trails.refinement.stack import predict_alone
from trails.refinement.trial import EpochResult, Trial
from trails.refinement.weights import Layout
from trails.refinement.workers import Worker

# Kept back before the deadline: for writing the result, and for what a busy machine does to the last batch.
RESERVE_SECONDS = 0.15

# Stretches between two looks at the clock, and the last evaluation, may take this much longer than
# expected.
_SLACK = 1.3

# The same while there is no model yet: without the first evaluation the run was for nothing.
_FIRST_SLACK = 2.0

_PROGRESS_SECONDS = 0.25

_WRITTEN_A_SECOND = 35e6
"""Bytes of a model that the caller writes to its table in a second; measured 35 to 70 million."""

_MOST_RESERVED = 0.1
"""Of the budget, what is kept back for writing a model at most."""

_KEEP_SECONDS = 5.0
"""The best model so far is written at most so often: it is for runs that something ends before their time."""

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
        self._done, self._total, self._reported = 0.0, 1.0, -math.inf
        self._digest, self._written = "", 0
        self._reserve, self._models, self._kept = RESERVE_SECONDS, 0, (0.0, -math.inf)

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
        trials = list(resumed.survivors) if resumed else [self._trial(c) for c in self._request.candidates]
        if self._setting.models:
            # The caller writes it to a table within the budget; some candidates may be too large to be trained at all.
            largest = max(blob_size(trial, self._data) for trial in trials)
            self._reserve += min(largest / _WRITTEN_A_SECOND, _MOST_RESERVED * self._setting.budget)
        with self._timings.phase("measure"):
            speed = self._measure(trials, self._setting.deadline - time.monotonic())
        self._costs: Costs = speed.costs
        self._batch_seconds, self._chunk_seconds, self._stacked = (
            speed.batch_seconds,
            speed.chunk_seconds,
            speed.stacked,
        )
        scheduler = self._resume(resumed) if resumed else self._choose()
        rung = resumed.rung if resumed else 0
        if scheduler is not None:
            rung = self._run_rungs(scheduler)
        ranked = self._ranking()
        # A plan that is fixed is fixed: the same seed gives the same result on a faster machine too.
        free = not self._request.fixed and math.isfinite(self._setting.deadline)
        if ranked and ranked[0].alive and free and self._options.winner:
            with self._timings.phase("winner"):
                self._train_winner(ranked[0], rung)
            ranked = self._ranking()
        if not ranked:
            raise self._nothing_trained()
        self._finish(ranked[0], refit=free and self._options.refit)
        rows = sorted([*(t.row() for t in ranked), *self._dropped], key=lambda row: -row["validation_metric"])
        self._events.result(rows, self._complete, self._timings.rows)
        return ranked

    # What to train

    def _trial(self, candidate: Candidate) -> Trial:
        layout = Layout.of(self._data, self._options.embedding, candidate.widths)
        return Trial(candidate.architecture, candidate.score, layout, self._setting.seed)

    def _choose(self) -> RungScheduler | Hyperband:
        choice = choose(self._setting, self._request, self._costs, self._left())
        self._trials = {c.architecture: self._trial(c) for c in choice.candidates}
        self._total = float(choice.epochs)
        self._report_plan(choice.u, choice.epochs, choice.epoch_seconds)
        return choice.scheduler

    def _resume(self, resumed: Checkpoint) -> RungScheduler | None:
        self._trials = {trial.architecture: trial for trial in resumed.survivors}
        self._dropped, self._scored = list(resumed.leaderboard), resumed.n
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
            if isinstance(scheduler, RungScheduler):
                self._release_all_but(end)
                if not scheduler.done and self._revise(scheduler, end):
                    self._complete = False
                ranking = self._ranking()
                if ranking:
                    self._keep_model(ranking[0])
                if end.survivors and (not scheduler.done or not self._request.fixed):
                    self._write_checkpoint(scheduler, end)
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
            evaluation = self._active * sum(self._costs.of(t.widths).evaluation for t in trials)
            slack = _SLACK if self._any_result() else _FIRST_SLACK
            return self.evaluation_ends() - slack * (evaluation + max(batch_seconds, self._batch_seconds))

    def evaluation_ends(self) -> float:
        """See `Clock`."""
        # The chunk under way when the clock is read cannot be interrupted.
        return self._setting.deadline - self._reserve - _SLACK * self._chunk_seconds

    def report(
        self, rung: int, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]
    ) -> None:
        """An epoch is over; see `Clock`."""
        with self._lock:
            if all(result.finished for result in results):
                self._costs.observe([trial.widths for trial in trials], Seconds(*seconds))
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
            if self._winning and trials[0].best_epoch == trials[0].epochs:
                self._keep_model(trials[0])

    def progress(self, epochs: float) -> None:
        """See `Clock`."""
        with self._lock:
            self._done += epochs
            now = time.monotonic()
            if now - self._reported >= _PROGRESS_SECONDS:
                self._reported = now
                self._events.progress(self._done, max(self._total, self._done))

    def _left(self) -> float:
        """Seconds that training and evaluation may still take."""
        return self._setting.deadline - self._reserve - self._chunk_seconds - time.monotonic()

    def _share_left(self, trials: Sequence[Trial]) -> float:
        """Epochs of these candidates, each with its evaluation, that the time left holds while the other workers
        go on; below 1 part of one.
        """
        each = [self._costs.of(trial.widths) for trial in trials]
        training = self._active * sum(seconds.training for seconds in each)
        evaluation = self._active * sum(seconds.evaluation for seconds in each)
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
                seconds += (present.epochs_to - trial.epochs) * self._costs.of(trial.widths).epoch
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
        return sum(self._costs.of(self._trials[a].widths).epoch for a in architectures) / len(architectures)

    # Results

    def _any_result(self) -> bool:
        return any(trial.ranked for trial in self._trials.values())

    def _ranking(self) -> list[Trial]:
        """Trials that have a metric, best first; of equal ones those that still have weights, then by their scores."""
        ranked = (trial for trial in self._trials.values() if trial.ranked)
        return sorted(ranked, key=lambda trial: (-trial.best_metric, trial.best is None))

    def _release_all_but(self, end: RungEnd) -> None:
        """Free networks of candidates that are out: a hundred wide ones with Adam's state are gigabytes."""
        for trial in self._trials.values():
            if trial.architecture not in end.survivors:
                trial.release()

    def _nothing_trained(self) -> BudgetTooSmall | UnusableData:
        if self._complete:
            return UnusableData(
                "every candidate diverged in training",
                hint="Look for extreme values among the features' values.",
            )
        cheapest = min(self._costs.of(c.widths).share(LEAST_SHARE) for c in self._request.candidates)
        return too_small(self._setting, self._left(), cheapest)

    # Models

    def _finish(self, winner: Trial, refit: bool) -> None:
        """Keep the winner's model, trained on held-out rows too if that is possible; its metrics are from before."""
        data, best, metrics = self._data, winner.best, None
        if best is None:
            return
        if self._setting.models and self._share_left([winner]) > 0.0:
            outputs = predict_alone(winner.layout, best, data.validation).numpy()
            metrics = report(data.target, data.validation.truth, outputs)
        rows = rows_in_all(data)
        cost = self._costs.of(winner.widths)
        seconds = winner.best_epoch * cost.training * rows / len(data.train) + cost.evaluation
        again = None
        if refit and data.drawn and rows <= MOST_ROWS and _SLACK * seconds < self._left():
            before, self._active = self._done, 1
            self._total = before + winner.best_epoch

            def keep_going(epochs: float) -> bool:
                self.progress(before + epochs - self._done)
                return time.monotonic() < self.training_ends([winner], 0.0)

            with self._timings.phase("refit"):
                again = refit_on_all(winner, data, self._options, keep_going)
            winner.best = again or best
        self._keep_model(winner, metrics, rows if again else len(data.train), last=True)

    def _keep_model(
        self, best: Trial, metrics: Mapping[str, float] | None = None, rows: int | None = None, last: bool = False
    ) -> None:
        """Write the best model so far to one of the model files in turn, if it is better than the one before.

        Args:
            best: Of the run.
            metrics: Of the validation rows; what the trial knows of them by default.
            rows: That it was trained on; the training rows by default.
            last: Whether nothing comes after it.
        """
        files, (when, metric) = self._setting.models, self._kept
        recent = time.monotonic() - when < _KEEP_SECONDS and not last
        if not files or best.best is None or recent or (best.best_metric <= metric and not last):
            return
        dropout, l2 = self._options.regularisation(rows or len(self._data.train))
        training = {"refinement": self._request.refinement, "dropout": dropout, "embedding_l2": l2}
        with self._timings.phase("model") if last else nullcontext():
            blob = model_of(best, self._data, metrics, training | ({"rows": rows} if rows else {})).to_bytes()
            which = self._models % len(files)
            checkpoints.write(files[which], blob)
        self._models += 1
        self._kept = time.monotonic(), best.best_metric
        self._events.model(best.architecture, which, len(blob))

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
        return read

    def _write_checkpoint(self, scheduler: RungScheduler, end: RungEnd) -> None:
        files = self._setting.checkpoints
        survivors = tuple(self._trials[architecture] for architecture in end.survivors)
        if not files or checkpoints.size(survivors) > checkpoints.MOST_BYTES:
            return
        with self._timings.phase("checkpoint"):
            self._digest = self._digest or checkpoints.digest(self._data)
            others = [t.row() for t in self._ranking() if t.architecture not in end.survivors]
            blob = checkpoints.to_bytes(
                Checkpoint(
                    rung=end.rung,
                    rungs=() if scheduler.done else scheduler.rungs_left,
                    survivors=survivors,
                    leaderboard=(*others, *self._dropped),
                    digest=self._digest,
                    n=self._scored,
                )
            )
            # In turn, so that the one before is whole while this one is being written.
            which = self._written % len(files)
            checkpoints.write(files[which], blob)
            self._written += 1
        self._events.checkpoint(end.rung, which, len(blob))


class _RungClock:
    """The run's clock for a worker in one of its rungs."""

    def __init__(self, run: Refinement, rung: int) -> None:
        self._run, self._rung = run, rung
        self.may_begin, self.training_ends = run.may_begin, run.training_ends
        self.evaluation_ends, self.progress = run.evaluation_ends, run.progress

    def report(self, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]) -> None:
        """See `Clock`."""
        self._run.report(self._rung, trials, results, seconds)
