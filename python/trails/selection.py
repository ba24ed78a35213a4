"""A whole selection outside PostgreSQL: filtering here, refinement in a process of its own, within one budget."""

from __future__ import annotations

import json
import math
import operator
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trails.errors import BudgetTooSmall, InvalidInput, TrailsError, UnusableData, shown
from trails.limits import FILTERING_SHARE, RESERVE_SECONDS, SMALLEST_BUDGET
from trails.model.store import Model
from trails.refinement.leaderboard import from_epochs
from trails.table.columns import Columns
from trails.trainer import Event, InProcess, OwnProcess, budget_to_try, work_seconds

_SHOWN_COLUMNS = 20


@dataclass(frozen=True)
class Settings:
    """What a selection is told.

    Args:
        budget: Seconds of all of it; infinite for no limit, which needs k.
        task: ``binary``, ``multiclass`` or ``regression``; None to infer it.
        space: Name of the space of architectures.
        tfmem: Training-free metrics that rank them, joined by ``+``.
        refinement: Name of the scheduler.
        n: Architectures to score, if fixed.
        k: Candidates to train, if fixed.
        u: Epochs of the first rung, if fixed.
        batch_size: Rows that metrics with a need for data are computed on.
        seed: Of everything random.
        options: Of training; see `trails.refinement.options.Options`.
        device: See `trails.refinement.devices.parse_devices`.
        threads: CPU threads; 0 for all cores.
        isolated: Whether refinement runs in a process of its own.
    """

    budget: float = 60.0
    task: str | None = None
    space: str = "mlp4x20"
    tfmem: str = "expressflow"
    refinement: str = "sh"
    n: int | None = None
    k: int | None = None
    u: int | None = None
    batch_size: int = 32
    seed: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    threads: int = 0
    isolated: bool = True


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
    """
    from trails import bridge

    settings, started = _whole_numbers(settings or Settings()), time.monotonic() if started is None else started
    asked = plain_options(settings.options)
    options = json.dumps(asked)
    _check(settings, options, (train, validation))
    timings: list[dict[str, Any]] = []

    def finish(phase: str, began: float) -> None:
        timings.append({"phase": phase, "begin": began - started, "seconds": time.monotonic() - began})

    bounded = math.isfinite(settings.budget)
    with (OwnProcess if settings.isolated else InProcess)(started, settings.budget, settings.threads) as trainer:
        began = time.monotonic()
        features = [(c.name, c.kind, c.data, c.nulls, c.values) for c in train.without(target)]
        own = train[target]
        rows = bridge.training_rows(
            features,
            (own.name, own.kind, own.data, None, None),
            settings.task,
            options,
            seed=settings.seed if validation is None else None,
            spellings=None if own.texts is None else {target: list(own.texts.spellings().items())},
        )
        left_out = dict(rows.left_out())
        train, validation = _useful(train, left_out), None if validation is None else _useful(validation, left_out)
        if len(train) < 2:
            raise _no_feature(left_out)
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
                "options": asked,
            },
        )
        finish("rows", began)
        began = time.monotonic()
        seconds = FILTERING_SHARE * settings.budget if bounded else None
        names, scores, scored, failed, spent, notices = rows.shortlist(
            settings.space,
            settings.tfmem,
            settings.n,
            settings.k,
            settings.batch_size,
            settings.seed,
            seconds,
            settings.threads,
            lambda: None,
        )
        finish("filter", began)
        hear({"event": "filtered", "scored": scored, "failed": failed, "seconds": spent, "notices": notices})
        heard = _Heard(hear)
        began, fault = time.monotonic(), None
        candidates = [(name, float(s) if math.isfinite(s) else None) for name, s in zip(names, scores, strict=True)]
        try:
            trainer.refine(
                {
                    "space": settings.space,
                    "refinement": settings.refinement,
                    "k": settings.k,
                    "u": settings.u,
                    "options": asked,
                    "score_seconds": spent / max(1, scored),
                    "scored": scored,
                    "candidates": candidates,
                },
                heard,
            )
        except TrailsError as error:
            # The best model so far is a result, as it is in a statement.
            if trainer.model() is None:
                raise
            fault = error.message
        finish("refine", began)
        blob = trainer.model()
    if blob is None:
        raise TrailsError("the winner's model could not be written", detail=heard.unkept, sqlstate="38000")
    model = Model.from_bytes(blob)
    return Selection(
        model,
        heard.leaderboard or from_epochs(heard.curves, dict(candidates)),
        heard.metric,
        scored,
        left_out,
        heard.curves,
        timings + heard.timings,
        time.monotonic() - started,
        heard.complete and fault is None,
        fault,
        tuple(heard.warnings),
    )


def plain_options(options: Any) -> dict[str, Any]:
    """Options as they are after a journey through JSON: NumPy's numbers are Python's.

    Args:
        options: A mapping of names to values, or None for no option.

    Raises:
        InvalidInput: They cannot be written as JSON.
    """
    hint = 'For instance: options={"dropout": 0.1}.'
    if options is not None and not isinstance(options, Mapping):
        raise InvalidInput(f"options are a mapping of names to values, not {shown(options)}", hint=hint)
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(options or {}), default=lambda value: value.item()))
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidInput(
            "options are a mapping of names to what JSON knows: numbers, texts, booleans, lists, mappings",
            detail=shown(str(error)),
            hint=hint,
        ) from error
    return found


class _Heard:
    """Keeps what refinement tells, and passes it on."""

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self._hear = hear
        self.leaderboard: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.timings: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.metric, self.complete = "", False
        self.unkept: str | None = None

    def __call__(self, event: Event) -> None:
        rest = {name: value for name, value in event.items() if name != "event"}
        if event["event"] == "rows":
            self.metric = event["metric"]
        elif event["event"] == "warning":
            self.warnings.append(event["message"])
        elif event["event"] == "epoch":
            self.curves.append(rest)
        elif event["event"] == "result":
            self.leaderboard, self.complete, self.timings = event["leaderboard"], event["complete"], event["timings"]
            self.unkept = event["unkept"]
        self._hear(event)


def _whole_numbers(settings: Settings) -> Settings:
    """The settings with whole numbers of Python's own, which JSON can write.

    Raises:
        InvalidInput: One is no whole number, or of more than 64 bits.
    """
    found: dict[str, int] = {}
    for name in ("n", "k", "u", "batch_size", "seed", "threads"):
        value = getattr(settings, name)
        if value is None:
            continue
        try:
            found[name] = operator.index(value)
        except TypeError:
            raise InvalidInput(f"{name} is a whole number, not {shown(value)}") from None
        if not -(2**63) <= found[name] < 2**63:
            raise InvalidInput(f"{name} is a whole number of 64 bits, not {shown(value)}")
    return replace(settings, **found)  # type: ignore[arg-type]


def _check(settings: Settings, options: str, tables: tuple[Columns | None, ...]) -> None:
    """Refuse names and numbers that no run could use, before a process is started."""
    from trails import bridge

    if math.isnan(settings.budget):
        raise InvalidInput("a budget is a number of seconds, not NaN")
    if settings.budget < SMALLEST_BUDGET:
        given = settings.k is not None or settings.u is not None
        enough = budget_to_try(0.0, work_seconds(tables, given))
        raise BudgetTooSmall(
            f"a budget of {settings.budget:g} s is too small to train a model",
            hint=f"Loading torch alone takes seconds: begin with {enough:g} s.",
            minimum=enough,
        )
    if math.isinf(settings.budget) and settings.k is None:
        raise InvalidInput("without a budget k must be given", hint="Give k, or a budget.")
    bridge.check_filtering(
        settings.space, settings.tfmem, settings.n, settings.k, settings.batch_size, None, target=True
    )
    bridge.check_refinement(settings.refinement, settings.k, settings.u, options, settings.device, settings.task)


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
