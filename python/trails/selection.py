"""A whole selection outside PostgreSQL: filtering here, refinement in a process of its own, within one budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trails.errors import InvalidInput, TrailsError, UnusableData, shown
from trails.extras import require
from trails.filtering.phase import shortlist
from trails.filtering.rows import TableRows
from trails.limits import FILTERING_SHARE, RESERVE_SECONDS
from trails.model.store import Model
from trails.refinement.leaderboard import from_epochs
from trails.settings import Settings, plain_options
from trails.table.columns import Columns
from trails.table.judged import parse_metric
from trails.table.split import ByColumns, Held
from trails.trainer import Event, InProcess, OwnProcess
from trails.training.options import Options, parse_options

_SHOWN_COLUMNS = 20


@dataclass(frozen=True)
class Selection:
    """What came of it.

    Args:
        model: The winner.
        leaderboard: Every trained candidate, best validation metric first; see `protocol.LeaderboardRow`.
        metric: What they are ranked by.
        scored: Architectures that were scored.
        left_out: Features that cannot help, with the reason.
        curves: Every finished epoch, in the order of time.
        timings: ``phase``, ``begin`` and ``seconds`` since the start, of this process and of refinement.
        seconds: Of all of it.
        complete: False if time cut what was planned.
        fault: What ended training before its time; the model is then the best so far.
        warnings: What else a person should know.
        held_out: Which rows candidates were compared on: ``how``, the column that said so, rows and groups on each
            side, and from which time on.
    """

    model: Model
    leaderboard: list[dict[str, Any]]
    metric: str
    scored: int
    left_out: dict[str, str]
    curves: list[dict[str, Any]]
    timings: list[dict[str, Any]]
    seconds: float
    complete: bool
    fault: str | None = None
    warnings: tuple[str, ...] = ()
    held_out: Mapping[str, Any] = field(default_factory=dict)


def select(
    train: Columns,
    target: str,
    validation: Columns | None = None,
    settings: Settings | None = None,
    *,
    hear: Callable[[Event], None] = lambda event: None,
    started: float | None = None,
) -> Selection:
    """Select and train a model.

    Args:
        train: Features and target; no NULL in the target.
        target: Name of the target column.
        validation: The same columns of other rows; None to hold rows out.
        settings: How.
        hear: Told what happens: ``filtered``, then the events of refinement (`protocol.Events`).
        started: When the budget began, on the monotonic clock; None for now.

    Raises:
        InvalidInput: A setting is wrong, or the target cannot be learnt.
        UnusableData: The rows cannot be learnt from.
        BudgetTooSmall: The budget does not hold one trained model.
        MissingPackage: PyTorch is not installed, which the extra ``train`` brings.
    """
    require("torch", "safetensors")  # the process that trains would say so after it was handed all rows
    started = time.monotonic() if started is None else started
    settings = (settings or Settings()).with_whole_numbers()
    asked = plain_options(settings.options)
    settings.check((train, validation))
    options = parse_options(asked)
    timings: list[dict[str, Any]] = []

    def finish(phase: str, began: float) -> None:
        timings.append({"phase": phase, "begin": began - started, "seconds": time.monotonic() - began})

    bounded = math.isfinite(settings.budget)
    with (OwnProcess if settings.isolated else InProcess)(started, settings.budget, settings.threads) as trainer:
        began = time.monotonic()
        seed, by = settings.seed if validation is None else None, settings.by
        by.check(validation is not None)
        rows = training_rows(train, target, settings.task, options, seed, by, settings.metric)
        left_out = dict(rows.useless)
        if not rows.useful:
            raise _no_feature(left_out)
        train, validation = _useful(train, left_out), None if validation is None else _useful(validation, left_out)
        trainer.rows(
            train,
            validation,
            {
                "target": target,
                "seed": settings.seed,
                "started": started,
                "budget": settings.budget if bounded else None,
                "deadline": started + settings.budget - RESERVE_SECONDS if bounded else None,
                "device": settings.device,
                "threads": settings.threads,
                "task": settings.task,
                "group_by": by.group_by,
                "time_by": by.time_by,
                "weight": by.weight,
                "aside": sorted(by.no_features),
                "metric": settings.metric,
                "options": asked,
            },
        )
        finish("rows", began)
        began = time.monotonic()
        seconds = FILTERING_SHARE * settings.budget if bounded else None
        found = shortlist(rows, settings.filtering(), seconds, settings.threads)
        finish("filter", began)
        notices = [
            f'feature "{shown(column.name)}" is text and read as {column.reading}; the option texts keeps it text'
            for column in train.without(target)
            if column.reading is not None and column.name not in by.no_features
        ] + found.notices
        told = {"scored": found.scored, "failed": found.failed, "seconds": found.seconds, "notices": notices}
        hear({"event": "filtered", **told})
        record = _RefinementRecord(hear)
        began, fault = time.monotonic(), None
        scores = [float(score) if math.isfinite(score) else None for score in found.scores]
        candidates = list(zip(found.architectures, scores, strict=True))
        try:
            trainer.refine(
                {
                    "space": settings.space,
                    "refinement": settings.refinement,
                    "k": settings.k,
                    "u": settings.u,
                    "options": asked,
                    "score_seconds": found.seconds / max(1, found.scored),
                    "scored": found.scored,
                    "candidates": candidates,
                },
                record,
            )
        except TrailsError as error:
            # The best model so far is a result, as it is in a statement.
            if trainer.model() is None:
                raise
            fault = error.message
        finish("refine", began)
        blob = trainer.model()
    if blob is None:
        raise TrailsError("the winner's model could not be written", detail=record.unkept, sqlstate="38000")
    model = Model.from_bytes(blob)
    return Selection(
        model,
        record.leaderboard or from_epochs(record.curves, dict(candidates), record.less_is_better),
        record.metric,
        found.scored,
        left_out,
        record.curves,
        timings + record.timings,
        time.monotonic() - started,
        record.complete and fault is None,
        fault,
        tuple(record.warnings),
        record.held_out,
    )


class _RefinementRecord:
    """Keeps what refinement tells, and passes it on."""

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self._hear = hear
        self.leaderboard: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.timings: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.metric, self.less_is_better, self.complete = "", False, False
        self.held_out: dict[str, Any] = {}
        self.unkept: str | None = None

    def __call__(self, event: Event) -> None:
        rest = {name: value for name, value in event.items() if name != "event"}
        if event["event"] == "rows":
            self.metric, self.less_is_better = event["metric"], event["less_is_better"]
            self.held_out = event["held_out"]
        elif event["event"] == "warning":
            self.warnings.append(event["message"])
        elif event["event"] == "epoch":
            self.curves.append(rest)
        elif event["event"] == "result":
            self.leaderboard, self.complete, self.timings = event["leaderboard"], event["complete"], event["timings"]
            self.unkept = event["unkept"]
        self._hear(event)


def training_rows(
    train: Columns,
    target: str,
    task: str | None = None,
    options: Options | None = None,
    seed: int | None = None,
    by: ByColumns | None = None,
    metric: str | None = None,
) -> TableRows:
    """What filtering looks at of a table.

    Args:
        train: Features and target; no NULL in the target.
        target: Name of the target column.
        task: What is learnt of it; None to infer it.
        options: Of training.
        seed: With which refinement will draw rows to hold out, if it will.
        by: Columns that say something of the rows themselves.
        metric: By which candidates will be compared.

    Raises:
        InvalidInput: The target cannot be learnt, an option names a column that is not there, or the task has no such
            metric.
        UnusableData: Nothing can be learnt of the target, or a column of ``by`` leaves nothing.
    """
    options, by = options or Options(), by or ByColumns()
    # How a feature's texts are spelt tells a score nothing.
    features = Columns(
        train.rows,
        tuple(replace(column, texts=None) for column in train.without(target) if column.name not in by.no_features),
    )
    fitting = options.fitting()
    fitting.check(features)
    group, time, weight = (None if name is None else train[name] for name in (by.group_by, by.time_by, by.weight))
    held = None if seed is None else Held(None, seed, options.validation_share, group, time)
    own = replace(train[target], values=None, nulls=None)
    rows = TableRows(features, own, task, fitting, options.embedding, held, weight)
    assert rows.learnt is not None, "there is a target"
    parse_metric(metric, rows.learnt.task)
    return rows


def _useful(columns: Columns, left_out: Mapping[str, str]) -> Columns:
    return Columns(columns.rows, tuple(column for column in columns if column.name not in left_out))


def _no_feature(left_out: Mapping[str, str]) -> TrailsError:
    if not left_out:
        return InvalidInput("there is no feature to learn from", detail="The only column is the target.")
    reasons = [f"{shown(name)}: {reason}" for name, reason in list(left_out.items())[:_SHOWN_COLUMNS]]
    return UnusableData(
        "no feature can help",
        detail=f"{'; '.join(reasons)}.",
        hint="Give features of which several rows have the same value, or numbers.",
    )


def line_of(event: Mapping[str, Any]) -> str | None:
    """What an event says, on one line for people; None if nothing."""
    kind = event["event"]
    if kind == "filtered":
        return f"{event['scored']:,} architectures scored in {event['seconds']:.2f} s"
    if kind == "ready":
        return f"refinement ready on {event['device']} after {event['seconds']:.1f} s"
    if kind == "plan":
        return f"{event['k']} candidates, {event['u']} epochs at first; an epoch takes {event['epoch_seconds']:.2f} s"
    if kind == "rung":
        return f"rung {event['rung']}: {event['candidates']} candidates trained, {len(event['survivors'])} go on"
    if kind == "result":
        best = event["leaderboard"][0]
        return f"{best['architecture']}: {best['validation_metric']:.5f} after {best['epochs']} epochs"
    return None
