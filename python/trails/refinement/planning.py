"""Which candidates to train and how long, from measured speed; or the smallest budget that would do."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trails.coordinator import Plan, plan
from trails.errors import BudgetTooSmall, InvalidInput
from trails.model.network import multiply_accumulates
from trails.refinement.costs import Costs, Seconds
from trails.refinement.dataset import Dataset
from trails.refinement.protocol import Candidate, Request
from trails.refinement.trainer import EVALUATION_ROWS, Trial, predict

# A candidate is chosen if the time would hold this many epochs of it alone; fewer if there is none such. Twenty-one
# hold a tournament of nine (9 x 1 + 3 x 2 + 1 x 6) in which the winner gets nine epochs, nine one of five.
_WORTHWHILE_EPOCHS = (21.0, 9.0, 5.0, 3.0, 2.0, 1.2, 1.0)

LEAST_SHARE = 0.1
"""An epoch that the time left cannot hold is cut short; one of which it holds less than this is not begun. On
Frappe a third of an epoch is at validation AUC 0.908, half of one at 0.94."""

_SHORT_SECONDS = 15.0
_WARMING_STEPS, _PROFILE_STEPS = 2, 4
_PROFILE_SECONDS, _PROFILE_SHARE = 0.6, 0.05

# What a busy machine may add to a prediction, where a promise depends on it.
_SLACK = 1.25
_SLACK_SECONDS = 0.25

MEASURING_SECONDS = 0.6
"""With less than this left the budget is too small, and there is no time to measure by how much."""

# Speed assumed where there is no time to measure: about a third of one core with AVX2.
_ASSUMED_SECONDS_PER_PRODUCT = 0.25e-9
_ASSUMED_SECONDS_PER_CELL = 50e-9


@dataclass(frozen=True)
class Profile:
    """Measured speed: the cost of every candidate, and the shortest stretches that cannot be interrupted."""

    costs: Costs
    batch_seconds: float
    chunk_seconds: float


def profile(request: Request, data: Dataset, seconds_left: float) -> Profile:
    """Time a few real batches and a chunk of validation, on a throw-away copy of a candidate.

    The first candidate, or the cheapest where a few batches of the widest would cost too much of the time.
    """
    candidate = request.candidates[0]
    if seconds_left < _SHORT_SECONDS:
        inputs = data.encoder.fields * request.embedding
        candidate = min(request.candidates, key=lambda c: multiply_accumulates(c.widths, inputs))
    trial = Trial(candidate.architecture, candidate.widths, data, request.seed, request.embedding)
    order = torch.arange(len(data.train), device=data.train.labels.device)
    batches = torch.tensor_split(order, trial.batches)
    limit = time.monotonic() + min(_PROFILE_SECONDS, _PROFILE_SHARE * seconds_left)
    steps: list[float] = []
    for number in range(_WARMING_STEPS + _PROFILE_STEPS):
        before = time.monotonic()
        float(trial.step(batches[number % len(batches)]))  # the number makes a GPU finish
        steps.append(time.monotonic() - before)
        if time.monotonic() > limit and number > 0:
            break
    # The first steps fill caches and memory pools.
    steps = steps[min(_WARMING_STEPS, len(steps) - 1) :]
    chunks: list[float] = []
    for _ in range(2):
        before = time.monotonic()
        predict(trial.average, data.validation, lambda: False)
        chunks.append(time.monotonic() - before)
    batch_seconds, chunk_seconds = statistics.median(steps), min(chunks)
    rows = len(data.validation)
    costs = Costs(
        inputs=data.encoder.fields * request.embedding,
        ids=data.encoder.ids,
        embedding=request.embedding,
        rows=len(data.train),
        batches=trial.batches,
        profiled=candidate.widths,
        seconds=Seconds(batch_seconds * trial.batches, chunk_seconds * rows / min(rows, EVALUATION_ROWS)),
    )
    return Profile(costs, batch_seconds, chunk_seconds)


@dataclass(frozen=True)
class Choice:
    """What to train: the candidates of the first rung, and the coordinator's plan for them."""

    candidates: tuple[Candidate, ...]
    plan: Plan
    epoch_seconds: float


def choose(request: Request, costs: Costs, seconds_left: float) -> Choice:
    """Pick candidates and rungs for the time left.

    With K and U open, candidates too expensive to learn anything in the time left are passed over. The
    coordinator's plan needs one cost per epoch; candidates differ, so it is planned again with the mean of
    those it picked.

    Raises:
        BudgetTooSmall: A tenth of an epoch of one candidate takes longer than ``seconds_left``.
        InvalidInput: K, U, eta or the number of epochs is out of range.
    """
    if request.k is not None and not 1 <= request.k <= len(request.candidates):
        raise InvalidInput(
            f"k = {request.k} is not possible: {len(request.candidates)} candidates were ranked",
            hint=f"k is 1 to {len(request.candidates)}.",
        )
    fixed = request.k is not None or request.u is not None
    epoch = {c.architecture: costs.of(c.widths).epoch for c in request.candidates}
    pool = list(request.candidates)
    if not fixed:
        for epochs in _WORTHWHILE_EPOCHS:
            pool = [c for c in request.candidates if epochs * epoch[c.architecture] <= seconds_left]
            if pool:
                break
        else:
            pool = [min(request.candidates, key=lambda c: epoch[c.architecture])]
    first = costs.of(pool[0].widths)
    if first.epoch > seconds_left and first.share(LEAST_SHARE) > seconds_left:
        raise too_small(request, seconds_left, first.share(LEAST_SHARE))

    mean, k = epoch[pool[0].architecture], 0
    best: Choice | None = None
    for _ in range(8):
        planned = plan(
            0.0,
            min(mean, seconds_left),
            seconds_left,
            space_size=len(pool),
            eta=request.eta,
            max_epochs=request.max_epochs,
            k=request.k,
            u=request.u,
            whole_space=True,
        )
        picked = pool[: planned.k]
        mean = statistics.fmean(epoch[c.architecture] for c in picked)
        best = Choice(tuple(picked), planned, mean)
        if planned.k == k:
            break
        k = planned.k
    assert best is not None
    return best


def too_small(request: Request, seconds_left: float, needed: float) -> BudgetTooSmall:
    """The error that names the smallest budget that works.

    Args:
        request: The run.
        seconds_left: Time for training that the budget leaves from now on; negative if it is overrun.
        needed: Seconds for the least training of one model that is worth it, evaluation included.
    """
    overhead = request.budget - seconds_left
    # Everything but training took `overhead`, measured once; it and the epoch may take longer next time.
    minimum = math.ceil(10 * (1.1 * overhead + _SLACK * needed + _SLACK_SECONDS)) / 10
    return BudgetTooSmall(
        f"a budget of {request.budget:g} s is too small to train one model",
        detail=f"All but training takes {overhead:.1f} s, the least of one model about {needed:.1f} s.",
        hint=f"The smallest budget that works is about {minimum:g} s.",
        minimum=minimum,
    )


def assumed_seconds(request: Request) -> float:
    """A careful guess at encoding and one epoch of the cheapest candidate, without measuring."""
    columns: Sequence[object] = request.train["columns"]
    fields, rows = len(columns) - 1, int(request.train["rows"])
    held = 0 if request.validation is None else int(request.validation["rows"])
    inputs = fields * request.embedding
    costs = Costs(
        inputs=inputs,
        ids=fields,
        embedding=request.embedding,
        rows=max(1, rows),
        batches=1,
        profiled=(1,),
        seconds=Seconds(0.0, 0.0),
    )
    cheapest = min(costs.training_work(candidate.widths) for candidate in request.candidates)
    training = _ASSUMED_SECONDS_PER_PRODUCT * cheapest * (rows + held / 3)
    return training + _ASSUMED_SECONDS_PER_CELL * (rows + held) * fields + _PROFILE_SECONDS
