"""What the refinement process reads and writes, one JSON object a line; only here are their fields known."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from trails.errors import BudgetTooSmall, InvalidInput, TrailsError
from trails.halving import DEFAULT_ETA, DEFAULT_MAX_EPOCHS
from trails.space.mlp import EMBEDDING


@dataclass(frozen=True)
class Candidate:
    """An architecture with the score that filtering gave it."""

    architecture: str
    widths: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Request:
    """One run of refinement. Times are seconds of the monotonic clock, which all processes of a machine
    share.

    Args:
        target: Name of the target column.
        seed: Seed of everything random.
        eta: One in how many candidates survives a rung.
        max_epochs: Epochs after which no candidate is trained further.
        k: Candidates of the first rung, if fixed.
        u: Epochs of the first rung, if fixed.
        embedding: Size of a category's vector.
        started: When the statement began.
        budget: Seconds that the statement may take.
        deadline: When the result must be out: ``started + budget`` less what the caller keeps for itself.
        score_seconds: Measured seconds per scored architecture.
        scored: Architectures scored.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: Threads to train with; 0 for all cores.
        candidates: Best-scored first.
        train: Layout of the training columns (`Columns.from_buffer`), with ``fd``, the descriptor they lie
            behind.
        validation: The same of the validation columns, or None to hold rows out.
    """

    target: str
    seed: int
    eta: int
    max_epochs: int
    k: int | None
    u: int | None
    embedding: int
    started: float
    budget: float
    deadline: float
    score_seconds: float
    scored: int
    device: str
    threads: int
    candidates: tuple[Candidate, ...]
    train: Mapping[str, Any]
    validation: Mapping[str, Any] | None


def parse_request(line: bytes | str) -> Request:
    """Read a request line.

    Raises:
        InvalidInput: Not a request, or a field is missing or of the wrong kind.
    """
    try:
        fields = json.loads(line)
        if fields["request"] != "refine":
            raise InvalidInput(f"unknown request {fields['request']!r}")
        candidates = tuple(
            Candidate(str(a), tuple(int(width) for width in str(a).split("-")), float(score))
            for a, score in fields["candidates"]
        )
        request = Request(
            target=str(fields["target"]),
            seed=int(fields["seed"]),
            eta=int(fields.get("eta", DEFAULT_ETA)),
            max_epochs=int(fields.get("max_epochs", DEFAULT_MAX_EPOCHS)),
            k=None if fields.get("k") is None else int(fields["k"]),
            u=None if fields.get("u") is None else int(fields["u"]),
            embedding=int(fields.get("embedding", EMBEDDING)),
            started=float(fields["started"]),
            budget=float(fields["budget"]),
            deadline=float(fields["deadline"]),
            score_seconds=float(fields["score_seconds"]),
            scored=int(fields["scored"]),
            device=str(fields.get("device", "auto")),
            threads=int(fields.get("threads", 0)),
            candidates=candidates,
            train=fields["train"],
            validation=fields.get("validation"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"malformed refinement request: {type(error).__name__}: {error}") from error
    if not candidates:
        raise InvalidInput("there is no candidate to train")
    return request


class LeaderboardRow(TypedDict):
    """One trained candidate. ``epochs`` counts all its training, the metrics are those of ``best_epoch``."""

    architecture: str
    score: float
    validation_auc: float
    validation_loss: float
    epochs: int
    best_epoch: int
    parameters: int
    seconds: float


class Events:
    """Writes events, each a whole line in one go.

    Args:
        write: Takes the bytes of one line.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

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
        validation_auc: float,
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
            validation_auc=validation_auc,
            seconds=seconds,
        )

    def progress(self, done: float, total: float) -> None:
        """Model-epochs done and planned; fractions are allowed."""
        self._send("progress", done=round(done, 3), total=round(total, 3))

    def rung(self, rung: int, candidates: int, survivors: Sequence[str]) -> None:
        """A rung is over; survivors best first."""
        self._send("rung", rung=rung, candidates=candidates, survivors=list(survivors))

    def result(self, leaderboard: Sequence[LeaderboardRow], complete: bool) -> None:
        """The last event of a run: best validation AUC first; not complete if time cut what was planned."""
        self._send("result", leaderboard=list(leaderboard), complete=complete)

    def error(self, error: BaseException, detail: str | None = None) -> None:
        """The last event of a run that failed."""
        known = error if isinstance(error, TrailsError) else None
        extra = {"minimum": error.minimum} if isinstance(error, BudgetTooSmall) else {}
        hint = known.hint if known else None
        if isinstance(error, ImportError):
            hint = f"Mend the virtual environment: {sys.prefix}/bin/pip install 'trails[train]'"
        self._send(
            "error",
            kind=type(error).__name__,
            message=known.message if known else f"refinement failed: {type(error).__name__}: {error}",
            detail=known.detail if known else detail,
            hint=hint,
            sqlstate=known.sqlstate if known else "XX000",
            **extra,
        )

    def _send(self, event: str, **fields: Any) -> None:
        self._write(json.dumps({"event": event, **fields}, allow_nan=False).encode() + b"\n")
