"""What the extension calls: plain arguments and NumPy arrays in, plain tuples out.

The arrays are the extension's own buffers, not copies. Everything here runs inside a PostgreSQL backend, so it
must import neither torch nor anything that is slow to import, and long work calls ``check`` at least every 50 ms.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check, pieces
from trails.coordinator import plan as _plan
from trails.errors import InvalidInput, shown
from trails.filtering.latency import LatencyScorer, parse_config
from trails.filtering.rows import Held, Rows, check_batch_size, check_target
from trails.filtering.samplers import make_sampler
from trails.filtering.scoring import Scorer, check_metrics, jacobian_rows
from trails.filtering.search import ScoredPool, check_count, score_pool
from trails.filtering.shortlist import shortlist
from trails.model.store import Model
from trails.refinement.devices import parse_devices
from trails.refinement.schedulers import check_scheduler
from trails.space import Space, parse_space, spaces
from trails.table.columns import Column, Columns
from trails.table.target import parse_task
from trails.table.texts import texts_of
from trails.tfmem import REGISTRY, ScoringSetting, Tfmem, parse_tfmems
from trails.training.options import describe_options, parse_options
from trails.workers import available_cores

__all__ = [
    "LatencyScorer",
    "TrainingRows",
    "check_architectures",
    "check_filtering",
    "check_refinement",
    "describe_model",
    "export_model",
    "latency_scorer",
    "plan",
    "refinement_options",
    "tfmems",
    "training_rows",
]

ArrayColumn = tuple[str, str, NDArray[Any], NDArray[np.uint8] | None, NDArray[np.float32] | None]
"""Name and kind (`trails.table.columns.KINDS`); values (rows,) of the kind's dtype; uint8 (rows,) mask, 1 where NULL,
or None without NULLs; float32 (rows,) values of ``id:value`` columns, or None when all are 1."""


_LOOK_EVERY = 1024
"""Architectures written or read between two looks at the caller."""

# How long a profile measures a metric that is paid for one architecture at a time.
_PROFILED = 200
_PROFILE_SECONDS = 1.0


def tfmems() -> list[tuple[str, str, list[str], bool, str, str]]:
    """Name, orientation, needs, whether whole spaces are scored at once, sentence and paper of every metric."""
    return [
        (m.name, m.orientation, [_NEEDS[need] for need in m.needs], _at_once(m), m.sentence, m.paper)
        for m in REGISTRY.values()
    ]


_NEEDS = {"x": "data", "y": "labels"}


def _at_once(metric: Tfmem) -> bool:
    parts = [REGISTRY[name] for name in metric.combines or (metric.name,)]
    return all(any(space.family.scoring.at_once(part, space) for space in spaces()) for part in parts)


def check_filtering(
    space: str, tfmem: str, n: int | None, k: int | None, batch_size: int, sampler: str | None, target: bool
) -> None:
    """Refuse names and numbers that no run could use, before anything is started.

    Args:
        space: Name of the space.
        tfmem: Names of metrics, joined by ``+``.
        n: Architectures to score, if fixed.
        k: Architectures to keep or to train, if fixed.
        batch_size: Rows of a batch.
        sampler: Which architectures to score, if fixed.
        target: Whether there is a target.

    Raises:
        InvalidInput: Unknown space, metric or sampler; a metric that cannot score the space's networks; a number out of
            range; a metric that needs a target.
    """
    architectures = parse_space(space)
    metrics = parse_tfmems(tfmem)
    check_metrics(metrics, architectures)
    for name, value in (("n", n), ("k", k)):
        if value is not None:
            check_count(name, value, architectures)
    if n is not None and k is not None and k > n:
        raise InvalidInput(f"k = {k} cannot be chosen from n = {n} scored architectures", hint="k is at most n.")
    check_batch_size(metrics, batch_size)
    if sampler is not None:
        make_sampler(sampler, architectures, 0, lambda index: 0.0)
    check_target(metrics, target)


def check_refinement(
    refinement: str, k: int | None, u: int | None, options: str | None, device: str, task: str | None = None
) -> None:
    """Refuse what no refinement could use, before anything is started.

    Args:
        refinement: Name of the scheduler.
        k: Candidates of the first rung, if fixed.
        u: Epochs of the first rung, if fixed.
        options: JSON object of training options, or None for the defaults.
        device: Setting of the device.
        task: What is learnt of the target; None to infer it.

    Raises:
        InvalidInput: Unknown scheduler, option, device or task; a number out of range.
    """
    chosen = parse_options(options)
    parse_devices(device)
    parse_task(task)
    check_scheduler(refinement, k=k, u=u, eta=chosen.eta, max_epochs=chosen.max_epochs)


def check_architectures(space: str, architectures: Sequence[str], check: Check = no_check) -> list[str]:
    """The architectures as the space writes them.

    Args:
        space: Name of the space.
        architectures: Widths joined by hyphens.
        check: Called at least every 50 ms; what it raises ends the call.

    Raises:
        InvalidInput: None is given, one is given twice, or one is not in the space.
    """
    if not architectures:
        raise InvalidInput("no architecture is given")
    known = parse_space(space)
    written: dict[str, None] = {}
    for place, given in enumerate(architectures):
        if place % _LOOK_EVERY == 0:
            check()
        architecture = known.format(known.parse(given))
        if architecture in written:
            raise InvalidInput(f"architecture {architecture} is given more than once")
        written[architecture] = None
    return list(written)


def refinement_options() -> list[tuple[str, str, str]]:
    """Name, default as JSON text, and a sentence, of every training option."""
    return describe_options()


def training_rows(
    features: Sequence[ArrayColumn],
    target: ArrayColumn | None,
    task: str | None = None,
    options: str | None = None,
    split: ArrayColumn | None = None,
    seed: int | None = None,
    spellings: Mapping[str, Sequence[tuple[int, str]]] | None = None,
    check: Check = no_check,
) -> TrainingRows:
    """Take the columns of a table over.

    Args:
        features: Columns to learn from.
        target: The target column, without NULLs, or None.
        task: What is learnt of it; None to infer it.
        options: JSON object of training options, some of which say how columns are encoded.
        split: The column that says which rows are held out, if there is one.
        seed: With which refinement will draw rows to hold out, if it will.
        spellings: Hashes and texts of the target and the split column by name, as far as they are known.
        check: Called at least every 50 ms; what it raises ends the call.

    Raises:
        UnusableData: Nothing can be learnt of the target.
        InvalidInput: Its type cannot be learnt, the split column cannot say which rows are held out, or the options are
            wrong.
    """
    columns = Columns(len(features[0][2]) if features else 0, tuple(map(_column, features)))
    chosen = parse_options(options)
    fitting = chosen.fitting()
    fitting.check(columns)

    def spelt(array: ArrayColumn | None) -> Column | None:
        if array is None:
            return None
        texts = {code: text.encode() for code, text in (spellings or {}).get(array[0], ())}
        return replace(_column(array), texts=texts_of(texts) if texts else None)

    held = None
    if split is not None or seed is not None:
        held = Held(spelt(split), seed or 0, chosen.validation_share)
    return TrainingRows(Rows(columns, spelt(target), task, fitting, chosen.embedding, held, check))


def _column(column: ArrayColumn) -> Column:
    name, kind, data, nulls, values = column
    return Column(name, kind, data, values, nulls)


class TrainingRows:
    """The rows of one run, and what the filtering phase makes of them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def left_out(self) -> list[tuple[str, str]]:
        """Features that no network can learn from, with the reason."""
        return list(self._rows.useless.items())

    def shortlist(
        self,
        space: str,
        tfmem: str,
        n: int | None,
        k: int | None,
        batch_size: int,
        seed: int,
        seconds: float | None,
        workers: int,
        check: Check,
    ) -> tuple[list[str], NDArray[np.float64], int, int, float, list[str]]:
        """Score, and return the architectures that refinement may choose from, best first.

        Args:
            space: Name of the space.
            tfmem: Names of metrics, joined by ``+``.
            n: Architectures to score, if fixed.
            k: Candidates that the caller wants, if fixed.
            batch_size: Rows of a batch.
            seed: Of rows, weights and sampler.
            seconds: Wall time for metrics that are paid for one architecture at a time, if ``n`` is not fixed.
            workers: Threads; 0 is one per core.
            check: Called at least every 50 ms; what it raises ends the call.

        Returns:
            Architectures; float64 scores; how many were scored; how many of these failed; seconds; notices.
        """
        began = time.perf_counter()
        architectures, metrics = parse_space(space), parse_tfmems(tfmem)
        setting, notices = self._setting(architectures, metrics, batch_size, seed, workers, check)
        pool = score_pool(architectures, metrics, setting, n=n, seconds=seconds, check=check)
        chosen = shortlist(architectures, pool, setting.inputs, k or 0, check)
        names = []
        for place in pieces(chosen.size, check, _LOOK_EVERY):
            indices = pool.indices[chosen[place]].tolist()
            names += [architectures.format(architectures.architecture(index)) for index in indices]
        scores = pool.shown(metrics)[chosen]
        return names, scores, pool.indices.size, pool.failed, time.perf_counter() - began, notices

    def rank(
        self,
        space: str,
        tfmem: str,
        n: int | None,
        k: int,
        batch_size: int,
        seed: int,
        sampler: str | None,
        workers: int,
        check: Check,
    ) -> tuple[list[tuple[str, float, list[tuple[str, float]], int, int, float]], int, int, list[str]]:
        """Score, and return the best ``k`` with everything that is known of them.

        Returns:
            Architecture, score, each metric's score, parameters, floating-point operations and seconds of the
            best ``k``; how many were scored; how many of these failed; notices.
        """
        architectures, metrics = parse_space(space), parse_tfmems(tfmem)
        setting, notices = self._setting(architectures, metrics, batch_size, seed, workers, check)
        pool = score_pool(architectures, metrics, setting, n=n, sampler=sampler, check=check)
        best, rows = pool.best(k, check), []
        for piece in pieces(best.size, check, _LOOK_EVERY):
            rows += [_row(architectures, metrics, pool, place, setting.inputs) for place in best[piece].tolist()]
        return rows, pool.indices.size, pool.failed, notices

    def profile(
        self, space: str, tfmem: str, batch_size: int, seed: int, workers: int, check: Check
    ) -> list[tuple[str, str, int, float]]:
        """Time every metric on its own: name, how it scores, architectures scored, seconds."""
        architectures, metrics = parse_space(space), parse_tfmems(tfmem)
        setting, _ = self._setting(architectures, metrics, batch_size, seed, workers, check)
        rows = []
        for metric in metrics:
            scorer = Scorer(architectures, [metric], setting, check)
            at_once = scorer.at_once(metric)
            indices = architectures.sample(1 if at_once else min(_PROFILED, architectures.size), seed)
            began, scored = time.perf_counter(), 0
            if at_once:
                scorer.scores(indices)
                scored = architectures.size
            for start in range(0, 0 if at_once else indices.size, 32):
                chunk = indices[start : start + 32]
                scorer.scores(chunk)
                scored += chunk.size
                if time.perf_counter() - began > _PROFILE_SECONDS:
                    break
            route = "whole space at once" if at_once else "one at a time"
            rows.append((metric.name, route, scored, time.perf_counter() - began))
        return rows

    def _setting(
        self, space: Space, metrics: Sequence[Tfmem], batch_size: int, seed: int, workers: int, check: Check
    ) -> tuple[ScoringSetting, list[str]]:
        batches, notices = self._rows.batches(metrics, batch_size, _unsigned(seed), check)
        if any(metric.name == "jacob_cov" for metric in metrics):
            usable = jacobian_rows(space, batches[0])
            if usable < len(batches[0].x):
                notices.append(
                    f"jacob_cov reads {usable} of the {len(batches[0].x)} rows: more would exceed the rank of its "
                    "Jacobian"
                )
        return ScoringSetting(self._rows.inputs, _unsigned(seed), batches, _workers(workers)), notices


def _workers(asked: int) -> int:
    """Threads to use: more than there are cores cost memory and gain nothing."""
    cores = available_cores()
    return min(asked, cores) if asked > 0 else cores


def _unsigned(seed: int) -> int:
    """NumPy's seeds are not negative; bigint may be."""
    return seed % 2**64


def _row(
    space: Space, metrics: Sequence[Tfmem], pool: ScoredPool, place: int, inputs: int
) -> tuple[str, float, list[tuple[str, float]], int, int, float]:
    architecture = space.architecture(int(pool.indices[place]))
    scores = [(metric.name, float(row[place])) for metric, row in zip(metrics, pool.scores, strict=True)]
    return (
        space.format(architecture),
        float(pool.shown(metrics)[place]),
        scores,
        space.parameters(architecture, inputs),
        space.flops(architecture, inputs),
        float(pool.seconds[place]),
    )


def plan(
    score_seconds: float, epoch_seconds: float, budget: float, only_phase1: bool, space: str
) -> tuple[int, int, int, float, float]:
    """The coordinator alone: n, k, u, and the planned seconds of filtering and of refinement."""
    planned = _plan(score_seconds, epoch_seconds, budget, space_size=parse_space(space).size, only_phase1=only_phase1)
    return planned.n, planned.k, planned.u, planned.filtering_seconds, planned.refinement_seconds


def latency_scorer(config: str | None, n: int, fields: int) -> LatencyScorer:
    """The scorer of the latency benchmark, from the text of a configuration file or the defaults."""
    return LatencyScorer(parse_config(config), n, fields)


def describe_model(blob: bytes) -> tuple[str, str, str, str, list[str] | None, str, str]:
    """What a model's blob says of itself.

    Returns:
        Task, architecture, target; its columns as a JSON object of names and kinds; classes, None for regression;
        fields and metrics as JSON.

    Raises:
        InvalidInput: Not a model, or of a version that this release does not read.
    """
    model = Model.from_bytes(blob)
    target = model.target
    return (
        target.task,
        model.architecture,
        target.name,
        json.dumps(dict(model.encoder.columns)),
        list(target.classes) or None,
        json.dumps(model.encoder.describe()),
        json.dumps(dict(model.metrics)),
    )


def export_model(blob: bytes, form: str) -> bytes:
    """A model in a format that other programs read.

    Args:
        blob: The model as it is stored.
        form: ``safetensors`` or ``onnx``.

    Raises:
        InvalidInput: There is no such format, it needs a package that is missing, or it is no model.
    """
    if form == "safetensors":
        return blob
    if form != "onnx":
        raise InvalidInput(f'there is no format "{shown(form)}"', hint="Formats: safetensors, onnx.")
    from trails.model.onnx import to_onnx

    return to_onnx(Model.from_bytes(blob))
