"""The best model so far, written where the caller finds it: a run that ends before its time has it too."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.limits import WRITTEN_A_SECOND
from trails.refinement import calibration, checkpoint, finalists
from trails.refinement.clock import MONOTONIC, Clock
from trails.refinement.dataset import Dataset
from trails.refinement.ensemble import Together, model_of_several
from trails.refinement.export import blob_size, model_of, rows_seen
from trails.refinement.finalists import Finalist
from trails.refinement.leaderboard import is_better
from trails.refinement.metrics import report_seconds, value_of
from trails.refinement.protocol import Events, Refine, Setting
from trails.refinement.timings import Timings
from trails.refinement.trial import EpochResult, Trial

_MOST_RESERVED = 0.1
"""Of the budget, what is kept back for writing a model at most."""

_MOST_COMPARING = 0.02
"""Of the budget, what is kept back for comparing finalists at most; what is dearer is left out."""

_KEEP_SECONDS = 5.0
"""The best model so far is written at most so often: it is for runs that something ends before their time."""


_Epoch = tuple[str, int, int]
"""Architecture, members and number."""


def _best_epoch(trial: Trial) -> _Epoch:
    return trial.architecture, trial.members, trial.best_epoch


class ModelKeeper:
    """Writes the best candidate's model with all its metrics; does nothing if the caller keeps none.

    Args:
        setting: Where models are written.
        request: What is trained.
        data: Encoded rows.
        events: Where to tell of it.
        timings: Of the run.
        clock: Of the run.

    Attributes:
        unkept: Why the last model could not be written; None if it was.
    """

    def __init__(
        self,
        setting: Setting,
        request: Refine,
        data: Dataset,
        events: Events,
        timings: Timings,
        clock: Clock = MONOTONIC,
    ) -> None:
        self._clock = clock
        self._setting, self._request, self._data, self._events, self._timings = setting, request, data, events, timings
        self._written, self._when, self._kept = 0, -math.inf, (-math.inf, math.inf)
        # Of the best candidate's best epoch: what it predicts for the validation rows, and all its metrics.
        self._outputs: tuple[_Epoch, NDArray[np.float32]] | None = None
        self._reported: tuple[_Epoch, Mapping[str, float]] | None = None
        # What candidates of the rung under way predict for some of them, and those of the last rung with several.
        self._some: dict[str, tuple[float, NDArray[np.float32]]] = {}
        self._finalists: list[Finalist] = []
        self._seen: NDArray[np.uint32] | None = None
        self.unkept: str | None = None

    def reserve(self, trials: Sequence[Trial]) -> tuple[float, float]:
        """Seconds of the budget to keep back for the model, and what would be kept back of any budget.

        The caller writes it to a table within the budget; some candidates may be too large to be trained at all.
        """
        if not self._setting.models:
            return 0.0, 0.0
        target, rows = self._data.target, len(self._data.validation)
        metrics = report_seconds(target, rows)
        if calibration.fits(self._request.options, target):
            # With what is told of probabilities a second time.
            metrics += calibration.temperature_seconds(target, rows) + metrics
        compared = finalists.seconds(self._data, self._request.k or len(trials))
        metrics += min(compared, _MOST_COMPARING * self._setting.budget)
        writing = max(blob_size(trial, self._data) for trial in trials) / WRITTEN_A_SECOND
        return metrics + min(writing, _MOST_RESERVED * self._setting.budget), metrics + writing

    def note(self, result: EpochResult, best: Trial) -> None:
        """Take in an epoch: what it predicts is kept as long as it is the best epoch of the ``best`` candidate."""
        if not self._setting.models or result.outputs is None:
            return
        epoch = result.architecture, 1, result.epoch
        self._remember(result.architecture, result.metric, result.outputs)
        if _best_epoch(best) == epoch:
            self._outputs = epoch, result.outputs.copy()

    def note_outputs(self, trial: Trial, outputs: NDArray[np.float32]) -> None:
        """What a trial's best epoch predicts for the validation rows: it is not computed again."""
        if self._setting.models:
            self._outputs = _best_epoch(trial), outputs.copy()

    def _remember(self, architecture: str, metric: float, outputs: NDArray[np.float32]) -> None:
        step = finalists.step_of(len(outputs), self._data.target.outputs)
        self._some[architecture] = metric, outputs[::step].copy()
        if len(self._some) > 2 * finalists.MOST_COMPARED:
            best = heapq.nlargest(finalists.MOST_COMPARED, self._some, key=lambda name: self._some[name][0])
            self._some = {name: self._some[name] for name in best}

    def rung_ended(self, ranked: Sequence[Trial]) -> None:
        """These candidates were in a rung that is over, best first; some of what they put out is kept to compare
        them by, as it is now, if they are several."""
        known = [trial for trial in ranked if trial.architecture in self._some][: finalists.MOST_COMPARED]
        if len(known) > 1:
            self._finalists = [Finalist(trial, trial.epochs, self._some[trial.architecture][1]) for trial in known]
        self._some = {trial.architecture: self._some[trial.architecture] for trial in known}

    def write(self, best: Trial) -> None:
        """Write the best model so far, unless there is one as good, or one was written a moment ago."""
        recent = self._clock.now() - self._when < _KEEP_SECONDS
        better = is_better(best.best_metric, best.best_loss, *self._kept)
        if self._setting.models and best.best is not None and not recent and better:
            self._write(best, len(self._data.train), last=False)

    def write_at_once(self, best: Trial) -> bool:
        """Write the best model so far, unless there is one as good: something ends the run, or may.

        Returns:
            Whether it is written, now or before.
        """
        self._when = -math.inf
        self.write(best)
        return (best.best_metric, best.best_loss) == self._kept

    def write_last(self, winner: Trial, rows: int) -> None:
        """Write the winner's model; its weights may come from another training, on so many rows."""
        if self._setting.models and winner.best is not None:
            self._write(winner, rows, last=True)

    def write_together(self, found: Together, rows: int) -> bool:
        """Write the model of several networks, trained on so many rows; whether it was written."""
        return self._write(found.trials[0], rows, last=True, found=found)

    def learn_metrics(self, trial: Trial) -> bool:
        """Compute the metrics of a candidate's best epoch, which are told of it whatever weights it gets afterwards.

        Returns:
            False if that failed: then it must not get others.
        """
        if not self._setting.models or trial.best is None:
            return True
        try:
            self._metrics(trial)
        except Exception as error:
            self.unkept = f"{type(error).__name__}: {error}"
            return False
        return True

    def _metrics(self, trial: Trial) -> Mapping[str, float]:
        """Everything that is told of a candidate's best epoch; computed once."""
        epoch = _best_epoch(trial)
        if self._reported is None or self._reported[0] != epoch:
            self._reported = epoch, self._report(self.outputs(trial))
        return self._reported[1]

    def outputs(self, trial: Trial) -> NDArray[np.float32]:
        """What a candidate's best epoch puts out for the validation rows, float32 (rows,) or (rows, outputs)."""
        if self._outputs is not None and self._outputs[0] == _best_epoch(trial):
            return self._outputs[1]
        assert trial.best is not None, "who has metrics had weights"
        return trial.networks.predict(trial.layout, trial.best, self._data.validation).numpy()

    def _report(self, outputs: NDArray[np.float32]) -> Mapping[str, float]:
        """Metrics of the validation rows, with the temperature if dividing the logits by one does them good."""
        data, found = self._data, self._data.reported(outputs)
        if not calibration.fits(self._request.options, data.target):
            return found
        weights = data.held_weights
        by = calibration.temperature(data.target, data.validation.truth, outputs, weights)
        if by != 1.0:
            divided = outputs / np.float32(by)
            losses = [name for name in ("log_loss", "brier") if name in found]
            found |= {name: value_of(name, data.target, data.validation.truth, divided, weights) for name in losses}
            found["temperature"] = by
        return found

    def _compared(self) -> Mapping[str, Any] | None:
        """What is told of the last rung's candidates; None if there is nothing to say, or it would take long."""
        if finalists.seconds(self._data, len(self._finalists)) > _MOST_COMPARING * self._setting.budget:
            return None
        return finalists.compare(self._finalists, self._data, self._setting.seed)

    def _write(self, best: Trial, rows: int, last: bool, found: Together | None = None) -> bool:
        """Write to one of the files in turn: the best candidate, or several of which it is the first. What goes wrong
        is told with the result, which does not hang on it."""
        files, options = self._setting.models, self._request.options
        dropout, l2 = options.regularisation(rows, self._data.train.interpolated, self._data.target.task)
        training: dict[str, Any] = {"refinement": self._request.refinement, "dropout": dropout, "embedding_l2": l2}
        training |= {"rows": rows, "metric": self._data.metric}
        which = self._written % len(files)
        try:
            with self._timings.phase("model") if last else nullcontext():
                if self._seen is None:
                    self._seen = rows_seen(self._data)
                if last and (compared := self._compared()) is not None:
                    training["finalists"] = compared
                if found is None:
                    model = model_of(best, self._data, self._metrics(best), training, self._seen)
                else:
                    model = model_of_several(found, self._data, self._report(found.outputs), training, self._seen)
                blob = model.to_bytes()
                checkpoint.write(files[which], blob)
        except Exception as error:
            self.unkept = f"{type(error).__name__}: {error}"
            return False
        self._written += 1
        self._when, self._kept, self.unkept = self._clock.now(), (best.best_metric, best.best_loss), None
        self._events.model(best.architecture, which, len(blob))
        return True
