"""The best architecture trained anew with several members: what the time that is left is worth most for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trails.limits import WRITTEN_A_SECOND
from trails.refinement import memory
from trails.refinement.clock import Clock
from trails.refinement.costs import Seconds
from trails.refinement.planning import LEAST_SHARE, MEASURING_SHARE
from trails.refinement.remaining import SLACK
from trails.refinement.speed import measure_alone, measuring_takes
from trails.refinement.supervision import Supervision
from trails.refinement.timings import Timings
from trails.refinement.trial import EpochResult, Trial
from trails.refinement.winner import note
from trails.refinement.workers import LocalWorker
from trails.training.options import Options

SHARE = 0.4
"""Of the time for training, what is kept for members, or for training the winner further where that holds none."""

_CHOICES = (16, 8, 4)
"""How many members there are at most: 32 are hardly better than 16, and predicting takes as many times as long."""

_MORE_EPOCHS, _FEWEST_EPOCHS = 1.25, 8
"""Members need some more epochs than one network; the best epoch of one that is still getting better says little."""

_MEASURED = 8
"""Members that are measured. What a network costs says too much of several: of small layers, which take their time
whatever there is to multiply, eight members take two to four times as long as one."""

_MEMORY_SHARE = 0.5
"""Of the memory that is free."""


class Members:
    """Trains the winner's architecture with members, if the time left holds enough of it.

    Args:
        winner: Whose architecture.
        options: Of the run.
        supervision: Of the run.
        timings: Of the run.
        clock: Of the run.
    """

    def __init__(
        self, winner: Trial, options: Options, supervision: Supervision, timings: Timings, clock: Clock
    ) -> None:
        self._winner, self._options, self._run = winner, options, supervision
        self._timings, self._clock = timings, clock

    def train(self, worker: LocalWorker, refit: bool) -> Trial | None:
        """Train as many members as are asked for or as there is time for.

        Args:
            worker: That trains them.
            refit: Whether what is trained is to be trained again on all rows, which takes as long once more.

        Returns:
            The trial, which has its best epoch's weights; None if there was no time, or one network does as well.
        """
        run, most = self._run, self._options.max_epochs
        again = run.models.refit_share if refit else 0.0
        run.remaining.active = 1
        with self._timings.phase("measure members"):
            trial = self._chosen(worker, again)
        if trial is None:
            return None
        writing = self._writing(trial)
        run.remaining.reserve += writing
        try:
            run.progress.expect(min(most, max(1.0, run.remaining.epochs_of([trial]) / (1.0 + again))))
            with self._timings.phase("members"):
                worker.train([trial], most, _MembersSupervisor(run, again, self._clock))
        finally:
            run.remaining.reserve -= writing
        trial.training = None
        best = self._winner
        if trial.best is None or not best.is_better(trial.best_metric, trial.best_loss):
            return None
        run.remaining.reserve += writing
        return trial

    def _chosen(self, worker: LocalWorker, again: float) -> Trial | None:
        """A trial never trained, of the most members that time and memory hold; None if they hold none."""
        asked, remaining = self._options.members, self._run.remaining
        most = self._options.max_epochs
        wanted = min(most, max(_FEWEST_EPOCHS, math.ceil(_MORE_EPOCHS * self._winner.best_epoch)))

        def least(cost: Seconds) -> float:
            if asked != "auto":
                return SLACK * remaining.wall() * cost.share(LEAST_SHARE)
            # Without slack: where it does take longer, there are fewer epochs, and as much time for all rows.
            return remaining.wall() * wanted * (cost.epoch + again * cost.training)

        why = "time"
        cost_of: Callable[[int], Seconds] | None = None
        # Several members take longer than one network: where there is no time for that, nothing is measured.
        short = least(remaining.cost_of(self._winner)) > remaining.seconds()
        for members in () if short else _CHOICES if isinstance(asked, str) else (asked,):
            trial = self._winner.with_members(members)
            if trial is None:
                return None
            # What is written is put together and copied once.
            held = worker.bytes_of(trial.layout) + 8 * trial.layout.stored
            if held > _MEMORY_SHARE * memory.available(worker.device):
                why = "memory"
                continue
            why = "time"
            cost_of = cost_of or self._costs(worker, min(members, _MEASURED) if asked == "auto" else members)
            cost = cost_of(members)
            if least(cost) + self._writing(trial) <= remaining.seconds():
                remaining.observe_members(cost)
                return trial
        if asked != "auto":
            note(f"no members were trained: there is not enough {why} for {asked}")
        return None

    def _costs(self, worker: LocalWorker, measured: int) -> Callable[[int], Seconds]:
        """Seconds of an epoch by the number of members, from those of one and of as many as are measured; as predicted
        where measuring would take a good part of the time left."""
        one, trial = self._run.remaining.cost_of(self._winner), self._winner.with_members(measured)
        assert trial is not None and measured > 1, "who asks has seen that there are such"
        left, several = self._run.remaining.seconds(), self._run.remaining.cost_of(trial)
        if math.isfinite(left) and measuring_takes(worker, several) <= MEASURING_SHARE * left:
            several = measure_alone(worker, trial, left)

        def of(members: int) -> Seconds:
            part = (members - 1) / (measured - 1)
            return Seconds(
                max(0.0, one.training + part * (several.training - one.training)),
                max(0.0, one.evaluation + part * (several.evaluation - one.evaluation)),
            )

        return of

    def _writing(self, trial: Trial) -> float:
        """Seconds that the members' model takes longer to write than the winner's."""
        return 4 * max(0, trial.layout.stored - self._winner.layout.stored) / WRITTEN_A_SECOND


class _MembersSupervisor:
    """The `trails.refinement.workers.Supervisor` of members: nothing of theirs is on the leaderboard, which compares
    networks of one member.

    Args:
        run: That they are part of.
        again: Epochs' worth of rows in all rows, if they are trained again on these; else 0.
        clock: Of the run.
    """

    def __init__(self, run: Supervision, again: float, clock: Clock) -> None:
        self._run, self._again, self._clock = run, again, clock

    def may_begin(self, trials: Sequence[Trial]) -> bool:
        """Whether a part of an epoch is left."""
        remaining = self._run.remaining
        least = LEAST_SHARE * remaining.wall() * remaining.cost_of(trials[0]).training
        return self._clock.now() + least < self.training_ends(trials, 0.0)

    def training_ends(self, trials: Sequence[Trial], batch_seconds: float) -> float:
        """When training must stop so that the evaluation is done in time, and the training on all rows after it."""
        return self._run.remaining.training_ends(trials, batch_seconds, first=False) - self._refit(trials[0])

    def evaluation_ends(self, trials: Sequence[Trial]) -> float:
        """When an evaluation has to be given up."""
        return self._run.remaining.evaluation_ends(trials) - self._refit(trials[0])

    def _refit(self, trial: Trial) -> float:
        """What the training on all rows takes, if the epoch that comes is the best."""
        if not self._again:
            return 0.0
        remaining = self._run.remaining
        cost = remaining.cost_of(trial)
        epochs = (trial.epochs + 1) * self._again
        return SLACK * remaining.wall() * (epochs * cost.training + cost.evaluation)

    def report(self, trials: Sequence[Trial], results: Sequence[EpochResult], seconds: tuple[float, float]) -> None:
        """An epoch is over: the next one will take about as long."""
        if all(result.finished for result in results):
            self._run.remaining.observe_members(Seconds(*seconds))
        for result in results:
            if result.outputs is not None:
                self._run.models.note_outputs(trials[0], result.outputs)

    def fell_short(self, trials: Sequence[Trial], seconds: tuple[float, float]) -> None:
        """Nothing is learnt of an epoch that was given up: it was the last."""

    def progress(self, epochs: float) -> None:
        """So many epochs more are done."""
        with self._run.lock:
            self._run.progress.add(epochs)
