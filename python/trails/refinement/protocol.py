"""What the refinement process reads and writes, one JSON object a line; only here are their fields known."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypedDict

from trails.errors import BudgetTooSmall, InvalidInput, TrailsError, shown
from trails.family import Design, Family
from trails.filtering.phase import FilteringRequest
from trails.refinement.schedulers import takes_u
from trails.space import DEFAULT_SPACE, parse_space
from trails.table.judged import is_loss
from trails.table.split import ByColumns
from trails.training.options import Options, parse_options

FORMS = ("bytes", "int16", "int32", "float32", "float64")
"""What pictures are made of: encoded or raw bytes, or the numbers of arrays."""


@dataclass(frozen=True)
class Candidate:
    """An architecture with the score that filtering gave it; None if it was named by the caller.

    Args:
        architecture: As its space writes it.
        design: As its family reads it: what the network is made from.
        score: By filtering.
    """

    architecture: str
    design: Design
    score: float | None


@dataclass(frozen=True)
class Setting:
    """The first request: on which rows, where and until when. Times are seconds of the monotonic clock, which
    all processes of a machine share.

    Args:
        target: Name of the target column.
        seed: Seed of everything random.
        started: When the statement began.
        budget: Seconds that the statement may take; infinite without a limit.
        deadline: When the result must be out: ``started + budget`` less what the caller keeps for itself.
        device: See `trails.refinement.devices.parse_devices`.
        threads: Threads to train with; 0 for all cores.
        memory_limit: Bytes that this process may have; 0 for no limit.
        ray_address: Of the Ray cluster that trains; None for this machine.
        ray_gpus: GPUs that a trial reserves there.
        checkpoints: Descriptors of two memory files that checkpoints are written to in turn; or none.
        train: Where the training columns are; see `trails.refinement.sources.read_source`.
        validation: The same of the validation columns, or None to hold rows out.
        task: What is learnt of the target; None to infer it.
        split: Column that says which rows are held out; None for a seeded share.
        group_by: Column whose groups are held out as a whole.
        time_by: Column by which the latest rows are held out.
        weight: Column that says what a row counts for.
        aside: Columns that are no features.
        metric: By which candidates are compared; None for that of the task.
        options: How columns are encoded and rows held out.
        models: Descriptors of two memory files that the best model so far is written to in turn; none to keep none.
    """

    target: str
    seed: int
    started: float
    budget: float
    deadline: float
    train: Mapping[str, Any]
    validation: Mapping[str, Any] | None
    device: str = "auto"
    threads: int = 0
    memory_limit: int = 0
    ray_address: str | None = None
    ray_gpus: float = 0.0
    checkpoints: tuple[int, ...] = ()
    task: str | None = None
    split: str | None = None
    group_by: str | None = None
    time_by: str | None = None
    weight: str | None = None
    aside: tuple[str, ...] = ()
    metric: str | None = None
    options: Options = field(default_factory=Options)
    models: tuple[int, ...] = ()

    @property
    def by(self) -> ByColumns:
        """The columns that say something of the rows themselves."""
        return ByColumns(self.split, self.group_by, self.time_by, self.weight, self.aside)


@dataclass(frozen=True)
class Refine:
    """The second request: train these candidates.

    Args:
        candidates: Best-scored first; none to go on from a checkpoint.
        refinement: Name of the scheduler.
        k: Candidates of the first rung, if fixed.
        u: Epochs of the first rung, if fixed.
        options: How to train.
        score_seconds: Measured seconds per scored architecture.
        scored: Architectures scored.
        resume: Descriptor and length of the checkpoint to go on from, or None.
        space: Name of the space that the candidates are of.
    """

    candidates: tuple[Candidate, ...]
    refinement: str = "sh"
    k: int | None = None
    u: int | None = None
    options: Options = field(default_factory=Options)
    score_seconds: float = 0.0
    scored: int = 0
    resume: tuple[int, int] | None = None
    space: str = DEFAULT_SPACE

    @property
    def family(self) -> Family:
        """What the candidates' networks are: that of their space."""
        return parse_space(self.space).family

    @property
    def fixed(self) -> bool:
        """Whether the plan is given: then the result depends on the seed alone, not on this machine's speed."""
        return self.k is not None and (self.u is not None or not takes_u(self.refinement))


@dataclass(frozen=True)
class Profile:
    """The other second request: measure what an epoch of each of these candidates takes."""

    candidates: tuple[Candidate, ...]
    options: Options = field(default_factory=Options)
    space: str = DEFAULT_SPACE

    @property
    def family(self) -> Family:
        """What the candidates' networks are: that of their space."""
        return parse_space(self.space).family


@dataclass(frozen=True)
class Picture:
    """Where one picture lies, and which it is.

    Args:
        offset: Of its first byte.
        length: In bytes.
        shape: Of the array that it is; empty where it is bytes.
        label: Number of its class.
        row: As errors name it, such as ``3 (id = 7)``.
    """

    offset: int
    length: int
    shape: tuple[int, ...]
    label: int
    row: str


@dataclass(frozen=True)
class Cells:
    """The only request of a process that scores cells on pictures; times as for `Setting`.

    Args:
        filtering: Which cells, by which metrics, on how many pictures.
        deadline: When the result must be out; infinite without a budget.
        threads: Threads that a network is scored with; 0 for all cores.
        memory_limit: Bytes that this process may have; 0 for no limit.
        column: Where the pictures are from, for messages: column and relation.
        fd: Descriptor of the memory that they lie in.
        form: ``bytes``, or the NumPy dtype of the numbers of arrays.
        classes: Labels that the whole table has.
        pictures: Those that were drawn.
    """

    filtering: FilteringRequest
    deadline: float
    threads: int
    memory_limit: int
    column: str
    fd: int
    form: str
    classes: int
    pictures: tuple[Picture, ...]


def parse_first(line: bytes | str) -> Setting | Cells:
    """Read the first request, whichever it is.

    Raises:
        InvalidInput: Neither of the two, or a field is missing or of the wrong kind.
    """
    with _malformed():
        asked = _fields(line, "rows", "cells")["request"]
    return parse_cells(line) if asked == "cells" else parse_setting(line)


def parse_setting(line: bytes | str) -> Setting:
    """Read the first request.

    Raises:
        InvalidInput: Not that request, or a field is missing or of the wrong kind.
    """
    with _malformed():
        fields = _fields(line, "rows")
        if (fields["budget"] is None) != (fields["deadline"] is None):
            raise ValueError("a budget has a deadline, and a deadline a budget")
        return Setting(
            target=str(fields["target"]),
            seed=int(fields["seed"]),
            started=_finite(fields["started"]),
            budget=_or_infinite(fields["budget"]),
            deadline=_or_infinite(fields["deadline"]),
            device=str(fields.get("device", "auto")),
            threads=int(fields.get("threads", 0)),
            memory_limit=int(fields.get("memory_limit", 0)),
            ray_address=fields.get("ray_address") or None,
            ray_gpus=float(fields.get("ray_gpus", 0.0)),
            checkpoints=tuple(int(fd) for fd in fields.get("checkpoints", ())),
            train=fields["train"],
            validation=fields.get("validation"),
            task=fields.get("task"),
            split=fields.get("split"),
            group_by=fields.get("group_by"),
            time_by=fields.get("time_by"),
            weight=fields.get("weight"),
            aside=tuple(map(str, fields.get("aside") or ())),
            metric=fields.get("metric"),
            options=parse_options(fields.get("options")),
            models=tuple(int(fd) for fd in fields.get("models") or ()),
        )


def parse_request(line: bytes | str) -> Refine | Profile:
    """Read the second request.

    Raises:
        InvalidInput: Not such a request; a field is missing or of the wrong kind; no such space; nothing to train.
    """
    with _malformed():
        fields = _fields(line, "refine", "profile")
        options = parse_options(fields.get("options"))
        family = parse_space(str(fields["space"])).family
        if fields["request"] == "profile":
            named = tuple(_candidate(family, str(architecture), None) for architecture in fields["architectures"])
            request: Refine | Profile = Profile(named, options, str(fields["space"]))
        else:
            resume = fields.get("resume")
            request = Refine(
                candidates=tuple(_candidate(family, str(a), score) for a, score in fields["candidates"]),
                refinement=str(fields.get("refinement", "sh")),
                k=_or_none(fields.get("k")),
                u=_or_none(fields.get("u")),
                options=options,
                score_seconds=_finite(fields["score_seconds"]),
                scored=int(fields["scored"]),
                resume=None if resume is None else (int(resume["fd"]), int(resume["length"])),
                space=str(fields["space"]),
            )
    if not request.candidates and (isinstance(request, Profile) or request.resume is None):
        raise InvalidInput("there is no candidate to train")
    return request


def parse_cells(line: bytes | str) -> Cells:
    """Read the request for scores of cells.

    Raises:
        InvalidInput: Not that request, or a field is missing or of the wrong kind.
    """
    with _malformed():
        fields = _fields(line, "cells")
        asked, pictures = fields["filtering"], fields["pictures"]
        if pictures["form"] not in FORMS:
            raise ValueError(f"pictures have no form {pictures['form']}")
        return Cells(
            filtering=FilteringRequest(
                space=str(asked["space"]),
                tfmem=str(asked["tfmem"]),
                n=_or_none(asked["n"]),
                k=_or_none(asked["k"]),
                batch_size=int(asked["batch_size"]),
                seed=int(asked["seed"]),
                sampler=asked["sampler"],
            ),
            deadline=_or_infinite(fields["deadline"]),
            threads=int(fields["threads"]),
            memory_limit=int(fields["memory_limit"]),
            column=str(fields["column"]),
            fd=int(pictures["fd"]),
            form=str(pictures["form"]),
            classes=int(pictures["classes"]),
            pictures=tuple(
                Picture(
                    int(picture["offset"]),
                    int(picture["length"]),
                    tuple(map(int, picture["shape"])),
                    int(picture["label"]),
                    str(picture["row"]),
                )
                for picture in pictures["drawn"]
            ),
        )


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        told = f"malformed refinement request: {type(error).__name__}: {shown(str(error))}"
        raise InvalidInput(told) from error


def _fields(line: bytes | str, *names: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(line)
    if fields["request"] not in names:
        raise InvalidInput(f"unknown request '{shown(fields['request'])}'")
    return fields


def _candidate(family: Family, architecture: str, score: Any) -> Candidate:
    return Candidate(architecture, family.parse(architecture), None if score is None else float(score))


def _or_infinite(value: Any) -> float:
    """Seconds; None stands for no limit, and nothing else does: arithmetic with NaN ends nothing in time."""
    return math.inf if value is None else _finite(value)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number of seconds")
    return number


def _or_none(value: Any) -> int | None:
    return None if value is None else int(value)


class LeaderboardRow(TypedDict):
    """One trained candidate. ``epochs`` counts all its training, the metrics are those of ``best_epoch``."""

    architecture: str
    score: float | None
    validation_metric: float
    validation_loss: float
    epochs: int
    best_epoch: int
    parameters: int
    seconds: float


class TimingRow(TypedDict):
    """When a phase began, in seconds since the statement did, and how long it took."""

    phase: str
    begin: float
    seconds: float


class ProfileRow(TypedDict):
    """What an epoch of a candidate takes: training and evaluation alone on the machine, both together, both as a
    share of a machine on which every worker is busy; and the bytes it needs."""

    architecture: str
    parameters: int
    training_seconds: float
    evaluation_seconds: float
    seconds_alone: float
    seconds_shared: float
    bytes: int


class CellRow(TypedDict):
    """One scored cell: its score, null if it failed, that of each metric by name, counts, and seconds of scoring it."""

    architecture: str
    score: float | None
    scores: list[tuple[str, float | None]]
    parameters: int
    flops: int
    seconds: float


class Events:
    """Writes events, each a whole line in one go; any thread may.

    Within a run a metric is the better the higher it is. What is told has the metric's own sign, and whether less is
    better is told with the rows.

    Args:
        write: Takes the bytes of one line.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write, self._sign = write, 1.0
        self._lock = threading.Lock()

    @classmethod
    def to_fd(cls, fd: int) -> Events:
        """Events on a file descriptor, unbuffered."""

        def write(line: bytes) -> None:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(fd, rest) :]

        return cls(write)

    def ready(self, seconds: float, device: str) -> None:
        """Libraries are imported, which took ``seconds``; ``device`` is what ``auto`` stands for here."""
        self._send("ready", seconds=seconds, device=device)

    def alive(self) -> None:
        """Sent every second from the first on, so that a process that hangs can be told from one that computes."""
        self._send("alive")

    def rows(
        self,
        seconds: float,
        first_batch: float,
        task: str = "binary",
        metric: str = "auc",
        held_out: Mapping[str, Any] | None = None,
    ) -> None:
        """Rows are encoded, which took ``seconds``; the first batch was ready ``first_batch`` after the start. By
        ``metric`` candidates are compared, and ``held_out`` is what `trails.table.split.facts` says."""
        less = is_loss(metric)
        self._sign = -1.0 if less else 1.0
        self._send(
            "rows",
            seconds=seconds,
            first_batch=first_batch,
            task=task,
            metric=metric,
            less_is_better=less,
            held_out=dict(held_out or {}),
        )

    def warning(self, message: str) -> None:
        """Something of the rows that a person should know; the run goes on."""
        self._send("warning", message=message)

    def plan(
        self,
        *,
        n: int,
        k: int,
        u: int,
        filtering_seconds: float,
        refinement_seconds: float,
        epoch_seconds: float,
    ) -> None:
        """How the budget will be spent; ``epoch_seconds`` is the candidates' mean, evaluation included."""
        self._send(
            "plan",
            n=n,
            k=k,
            u=u,
            filtering_seconds=filtering_seconds,
            refinement_seconds=refinement_seconds,
            epoch_seconds=epoch_seconds,
        )

    def epoch(
        self,
        *,
        architecture: str,
        rung: int,
        epoch: int,
        train_loss: float,
        validation_loss: float,
        validation_metric: float,
        seconds: float,
    ) -> None:
        """A candidate finished an epoch, counted from 1; losses in nats."""
        self._send(
            "epoch",
            architecture=architecture,
            rung=rung,
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=validation_loss,
            validation_metric=self._sign * validation_metric,
            seconds=seconds,
        )

    def progress(self, done: float, total: float) -> None:
        """Model-epochs, or cells, done and planned; fractions are allowed. 0 are planned where the time decides."""
        self._send("progress", done=round(done, 3), total=round(total, 3))

    def rung(self, rung: int, candidates: int, survivors: Sequence[str]) -> None:
        """A rung is over; survivors best first."""
        self._send("rung", rung=rung, candidates=candidates, survivors=list(survivors))

    def checkpoint(self, rung: int, which: int, length: int) -> None:
        """The survivors of ``rung`` are in the checkpoint file numbered ``which``, from its beginning."""
        self._send("checkpoint", rung=rung, which=which, length=length)

    def model(self, architecture: str, which: int, length: int) -> None:
        """The best model so far is in the model file numbered ``which``, from its beginning."""
        self._send("model", architecture=architecture, which=which, length=length)

    def result(
        self,
        leaderboard: Sequence[LeaderboardRow],
        complete: bool,
        timings: Sequence[TimingRow] = (),
        unkept: str | None = None,
    ) -> None:
        """The last event of a run: best validation metric first; not complete if time cut what was planned; ``unkept``
        is why the winner's model could not be written.
        """
        rows = [self._told(row) for row in leaderboard]
        times = list(timings)
        self._send("result", leaderboard=rows, complete=complete, timings=times, unkept=unkept)

    def profile(self, workers: int, device: str, rows: Sequence[ProfileRow]) -> None:
        """The last event of a profile."""
        self._send("profile", workers=workers, device=device, rows=list(rows))

    def ranked(self, rows: Sequence[CellRow]) -> None:
        """The next of the best cells, best first: all of them in several events."""
        self._send("ranked", rows=list(rows))

    def scored(self, scored: int, failed: int, notices: Sequence[str]) -> None:
        """The last event of scoring cells: how many were scored, how many of these failed, what people should know."""
        self._send("scored", scored=scored, failed=failed, notices=list(notices))

    def error(self, error: BaseException, traceback: str | None = None) -> None:
        """The last event of a run that failed; ``traceback`` is passed on if nobody foresaw it."""
        known = error if isinstance(error, TrailsError) else None
        hint = known.hint if known else None
        if isinstance(error, ImportError):
            hint = f"Mend the virtual environment: {sys.prefix}/bin/pip install 'trails[train]'"
        self._send(
            "error",
            kind=type(error).__name__,
            message=known.message if known else f"refinement failed: {type(error).__name__}: {error}",
            detail=known.detail if known else None,
            hint=hint,
            traceback=None if known else traceback,
            sqlstate=known.sqlstate if known else "XX000",
            minimum=error.minimum if isinstance(error, BudgetTooSmall) else None,
        )

    def _told(self, row: LeaderboardRow) -> dict[str, Any]:
        return {**row, "validation_metric": self._sign * row["validation_metric"]}

    def _send(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}, allow_nan=False).encode() + b"\n"
        with self._lock:
            self._write(line)
