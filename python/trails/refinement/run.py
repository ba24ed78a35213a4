"""From a request to workers that serve it: on this machine's cores or GPUs, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trails.limits import RESERVE_SECONDS
from trails.refinement import checkpoint
from trails.refinement.clock import MONOTONIC, Clock
from trails.refinement.costs import Speed
from trails.refinement.dataset import Dataset
from trails.refinement.devices import cores
from trails.refinement.models import TrainedModels
from trails.refinement.planning import MEASURING_SECONDS, Spent, assumed_training, too_small
from trails.refinement.protocol import Events, Profile, ProfileRow, Refine, Setting
from trails.refinement.session import Refinement
from trails.refinement.speed import measure, seconds_per_product
from trails.refinement.timings import Timings
from trails.refinement.trial import Trial
from trails.refinement.workers import Cores, LocalWorker, Worker
from trails.training.options import Options

_PROFILE_SECONDS = 60.0
"""Time that a profile's measurements are scaled for."""


def local_workers(
    setting: Setting,
    options: Options,
    data: Dataset,
    devices: Sequence[torch.device],
    repeatable: bool = False,
    clock: Clock = MONOTONIC,
) -> list[LocalWorker]:
    """One worker for each GPU, or one for each core, which then share the rows; see `Cores` for ``repeatable``."""
    shared = Cores(cores(setting.threads), repeatable)
    if devices[0].type == "cpu":
        return [LocalWorker(data, options, setting.seed, shared, clock=clock) for _ in range(shared.count)]
    torch.set_float32_matmul_precision("high" if options.precision == "auto" else "highest")
    return [LocalWorker(data.to(device), options, setting.seed, shared, len(devices), clock) for device in devices]


def refine(
    setting: Setting,
    request: Refine,
    data: Dataset,
    devices: Sequence[torch.device],
    events: Events,
    timings: Timings,
    clock: Clock = MONOTONIC,
) -> list[Trial]:
    """Run one refinement; see `Refinement.run`."""
    now = clock.now()
    if setting.deadline - RESERVE_SECONDS - now < MEASURING_SECONDS:
        threads = cores(setting.threads)
        # Where the plan is fixed each candidate has one thread, and together they have the machine or less.
        alone = min(request.k or 1, threads) if request.fixed else 1
        rate = seconds_per_product(1 if request.fixed else threads, clock) / alone
        needed = assumed_training(setting, request, rate, threads)
        spent = Spent.until(setting, now, RESERVE_SECONDS, request.score_seconds * request.scored)
        raise too_small(setting, spent, needed)
    together = request.options.together
    if request.fixed and together == "auto" and devices[0].type == "cpu":
        together = "never"  # what is measured must not decide, not even in the last digit
    data = as_begun(data, request)
    models = TrainedModels(setting, request, data, events, timings, clock)
    if setting.ray_address is not None:
        from trails.refinement.ray_cluster import Cluster
        from trails.refinement.ray_worker import RayWorker

        with timings.phase("connect"):
            cluster = Cluster(setting, request.options, data, clock)
        slots: list[Worker] = [RayWorker(cluster) for _ in range(cluster.slots)]
        return Refinement(setting, request, models, slots, cluster.measure, events, timings, clock).run()
    workers = local_workers(setting, request.options, data, devices, request.fixed, clock)

    def measure_here(trials: Sequence[Trial], seconds_left: float) -> Speed:
        return measure(workers, trials, seconds_left, together, given=request.k is not None or request.u is not None)

    return Refinement(setting, request, models, workers, measure_here, events, timings, clock).run()


def as_begun(data: Dataset, request: Refine) -> Dataset:
    """The rows of a run that goes on: a number as it was learnt, though with another budget it would not be so."""
    if request.resume is None or (begun := checkpoint.digest_of(*request.resume)) in (None, checkpoint.digest(data)):
        return data
    other = data.on_other_scale()
    return other if other is not None and checkpoint.digest(other) == begun else data


def profile(
    setting: Setting, request: Profile, data: Dataset, devices: Sequence[torch.device], events: Events
) -> list[ProfileRow]:
    """Measure every candidate: alone on the machine, and while all workers are busy with it."""
    workers = local_workers(setting, request.options, data, devices)
    rows: list[ProfileRow] = []
    for candidate in request.candidates:
        trial = Trial.of(request.family, candidate, data.shape(request.options), setting.seed)
        alone = measure(workers[:1], [trial], _PROFILE_SECONDS, "never").costs.of(candidate.design)
        shared = measure(workers, [trial] * len(workers), _PROFILE_SECONDS, "never").costs.of(candidate.design)
        rows.append(
            {
                "architecture": candidate.architecture,
                "parameters": trial.layout.parameters,
                "training_seconds": alone.training,
                "evaluation_seconds": alone.evaluation,
                "seconds_alone": alone.epoch,
                "seconds_shared": shared.epoch,
                "bytes": workers[0].bytes_of(trial.layout),
            }
        )
    events.profile(len(workers), ",".join(map(str, devices)), rows)
    return rows
