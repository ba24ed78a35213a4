"""The networks of a run: made for its rows, kept where the caller finds them, trained again on all rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trails.family.networks import Shape
from trails.refinement import checkpoint
from trails.refinement.devices import cores
from trails.refinement.ensemble import Together, choosing_seconds, rows_to_choose_on, together
from trails.refinement.keeping import ModelKeeper
from trails.refinement.protocol import Candidate
from trails.refinement.refit import MOST_ROWS, rows_in_all
from trails.refinement.refit import refit as refit_on_all
from trails.refinement.trial import EpochResult, Trial
from trails.refinement.workers import Cores, Pace
from trails.training.batches import EVALUATION_ROWS
from trails.training.weights import Weights


class Models(Protocol):
    """What a run asks of the networks that its workers train: everything but training them."""

    @property
    def chunks(self) -> float:
        """Pieces of an evaluation, which can be given up between two of them; infinite if at any moment."""

    @property
    def digest(self) -> str:
        """Of what is learnt from: tells whether a run can go on from a checkpoint."""

    @property
    def unkept(self) -> str | None:
        """Why the last model could not be written; None if it was."""

    def trial(self, candidate: Candidate) -> Trial:
        """The candidate, not trained yet."""

    def knows(self, trial: Trial) -> bool:
        """Whether the network of a trial that was stored is made for what is learnt from."""

    def reserve(self, trials: Sequence[Trial]) -> tuple[float, float]:
        """Seconds of the budget to keep back for the model, and what would be kept back of any budget."""

    def note(self, result: EpochResult, best: Trial) -> None:
        """An epoch is over, and this candidate is the best now."""

    def rung_ended(self, ranked: Sequence[Trial]) -> None:
        """A rung is over that these candidates were in, best first: they can be compared as they are now."""

    def write(self, best: Trial) -> None:
        """Write the best model so far, unless there is one as good, or one was written a moment ago."""

    def note_outputs(self, trial: Trial, outputs: NDArray[np.float32]) -> None:
        """What the best epoch of a network of several members predicts for the validation rows."""

    def write_at_once(self, best: Trial) -> bool:
        """Write the best model so far, unless there is one as good: something ends the run, or may; whether it is
        written."""

    def learn_metrics(self, trial: Trial) -> bool:
        """Compute the metrics of a candidate's best epoch; False if that failed: then it gets no other weights."""

    @property
    def refit_share(self) -> float:
        """Epochs' worth of rows in all rows, held-out ones included; 0 if the winner is not trained again on these."""

    def refit(self, winner: Trial, keep_going: Callable[[float], bool]) -> Weights | None:
        """Weights of the winner trained on all rows; see `trails.refinement.refit.refit`."""

    def finish(self, winner: Trial, refitted: bool) -> None:
        """Write the winner's model; whether it was trained again on all rows."""

    @property
    def together_seconds(self) -> float:
        """That `together` takes at most, evaluations aside; 0 where it does nothing."""

    def together(self, ranked: Sequence[Trial], most: int) -> Together | None:
        """Those of the candidates, which have their weights and come best first, that do better together than the
        first one does alone, ``most`` at most; None if none do."""

    def finish_together(self, found: Together, refitted: bool) -> bool:
        """Write their model in place of the winner's; False if it could not be written."""


class TrainedModels(ModelKeeper):
    """`Models` of networks that are trained on rows; arguments as of `ModelKeeper`."""

    @property
    def chunks(self) -> float:
        """See `Models`."""
        return math.ceil(len(self._data.validation) / EVALUATION_ROWS)

    @cached_property
    def digest(self) -> str:
        """Of the encoded rows."""
        return checkpoint.digest(self._data)

    def trial(self, candidate: Candidate) -> Trial:
        """See `Models`."""
        return Trial.of(self._request.family, candidate, self._shape, self._setting.seed)

    def knows(self, trial: Trial) -> bool:
        """See `Models`."""
        family = self._request.family
        alike = trial.family.name == family.name
        return alike and trial.layout == family.networks.layout(self._shape, trial.design)

    @property
    def refit_share(self) -> float:
        """See `Models`: rows that the caller named for validation stay apart, and of many a fifth more is no gain."""
        rows = rows_in_all(self._data)
        return rows / len(self._data.train) if self._data.drawn and rows <= MOST_ROWS else 0.0

    def refit(self, winner: Trial, keep_going: Callable[[float], bool]) -> Weights | None:
        """See `Models`."""
        with Cores(cores(self._setting.threads)) as shared:
            next_batch = Pace(shared, self._clock.now)

            def going_on(epochs: float) -> bool:
                next_batch()
                return keep_going(epochs)

            return refit_on_all(winner, self._data, self._request.options, going_on)

    def finish(self, winner: Trial, refitted: bool) -> None:
        """See `Models`."""
        self.write_last(winner, rows_in_all(self._data) if refitted else len(self._data.train))

    @property
    def together_seconds(self) -> float:
        """See `Models`."""
        return choosing_seconds(self._data) if self._setting.models else 0.0

    def together(self, ranked: Sequence[Trial], most: int) -> Together | None:
        """See `Models`; nobody asks for more than one network where no model is kept."""
        data = self._data
        if not self._setting.models or rows_to_choose_on(data, 0) is None:
            return None
        outputs = [self.outputs(trial) for trial in ranked]
        return together(ranked, outputs, data, most, self._setting.seed)

    def finish_together(self, found: Together, refitted: bool) -> bool:
        """See `Models`."""
        return self.write_together(found, rows_in_all(self._data) if refitted else len(self._data.train))

    @property
    def _shape(self) -> Shape:
        return self._data.shape(self._request.options)
