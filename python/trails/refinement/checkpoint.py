"""Survivors of a rung as one safetensors blob, and back: what a run that was cut goes on from.

Tensors are named ``architecture/part/vector``; everything else is JSON in the header, with the name of the family that
reads the designs. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from trails.errors import InvalidInput
from trails.family import Family, get_family
from trails.family.networks import Shape
from trails.halving import Rung
from trails.refinement.dataset import Dataset
from trails.refinement.protocol import LeaderboardRow
from trails.refinement.trial import Trial
from trails.training.weights import Training, Weights

_FORMAT = "trails.checkpoint.5"
_PARTS = ("weights", "mean", "square", "average", "best")

MOST_BYTES = 256 << 20
"""Larger checkpoints are not written: they would cost more of the budget than they are worth."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two rungs.

    Args:
        rung: Number of the rung that ended.
        rungs: Those left; none if only the winner's further training is.
        survivors: Best first, with their weights; one at least, all of one family.
        leaderboard: Every other candidate trained so far.
        digest: Of the rows that the run trains on.
        n: Architectures that were scored.
        scheduler: What else its scheduler goes on from, for JSON; see `trails.refinement.schedulers.Saved`.
        fresh: Candidates that were not trained so far, with their scores; only Hyperband has them between two rungs.
    """

    rung: int
    rungs: tuple[Rung, ...]
    survivors: tuple[Trial, ...]
    leaderboard: tuple[LeaderboardRow, ...]
    digest: str
    n: int
    scheduler: Mapping[str, Any] | None = None
    fresh: tuple[tuple[str, float | None], ...] = ()


def digest(data: Dataset) -> str:
    """Tells two data sets apart: a hash of the encoded training and validation rows, and of where their knots lie,
    which rows that are at knots do not say."""
    made = hashlib.blake2b(digest_size=16)
    for rows in (data.train, data.validation):
        between = () if rows.between is None else (rows.between.fields, rows.between.shares)
        knots = () if rows.knots is None else (rows.knots.rows, rows.knots.positions)
        for tensor in (rows.ids, rows.values, rows.labels, rows.weights, *between, *knots):
            if tensor is not None:
                made.update(tensor.cpu().numpy().data)
    return made.hexdigest()


def size(trials: Sequence[Trial]) -> int:
    """Bytes of a checkpoint of these survivors, header aside."""
    return sum(4 * len(_PARTS) * sum(trial.layout.sizes.values()) for trial in trials)


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as one blob."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for trial in checkpoint.survivors:
        assert trial.training is not None
        for part, weights in zip(_PARTS, (*trial.training.parts(), trial.best), strict=True):
            assert weights is not None
            for vector, tensor in weights.vectors.items():
                tensors[f"{trial.architecture}/{part}/{vector}"] = tensor.cpu().contiguous()
    header = {
        "format": _FORMAT,
        "family": checkpoint.survivors[0].family.name,
        "rung": checkpoint.rung,
        "rungs": [[rung.candidates, rung.epochs_to] for rung in checkpoint.rungs],
        "survivors": [_describe(trial) for trial in checkpoint.survivors],
        "leaderboard": list(checkpoint.leaderboard),
        "digest": checkpoint.digest,
        "n": checkpoint.n,
        "scheduler": checkpoint.scheduler,
        "fresh": list(checkpoint.fresh),
    }
    return bytes(save(tensors, {"trails": json.dumps(header)}))


def from_bytes(blob: bytes) -> Checkpoint:
    """The checkpoint that `to_bytes` wrote.

    Raises:
        InvalidInput: Not a checkpoint, of a version that this release does not read, or of a family that is not there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(blob)
        length = int.from_bytes(blob[:8], "little")
        header: dict[str, Any] = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["trails"])
        if header["format"] != _FORMAT:
            raise InvalidInput("the checkpoint is of another version of Trails", hint="Start a new run.")
        family = _family(header["family"])
        survivors = tuple(_trial(family, described, tensors) for described in header["survivors"])
        if not survivors:
            raise ValueError("nobody survived")
        return Checkpoint(
            rung=int(header["rung"]),
            rungs=tuple(Rung(int(candidates), int(epochs)) for candidates, epochs in header["rungs"]),
            survivors=survivors,
            leaderboard=tuple(header["leaderboard"]),
            digest=str(header["digest"]),
            n=int(header["n"]),
            scheduler=header.get("scheduler"),
            fresh=tuple(_fresh(family, a, s) for a, s in header.get("fresh", ())),
        )
    except InvalidInput:
        raise
    except (
        SafetensorError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise InvalidInput("the checkpoint cannot be read", detail=str(error), hint="Start a new run.") from error


def read(fd: int, length: int) -> Checkpoint:
    """The checkpoint in the first ``length`` bytes behind a descriptor; see `from_bytes`."""
    return from_bytes(os.pread(fd, length, 0))


def digest_of(fd: int, length: int) -> str | None:
    """The `digest` that the checkpoint in the first ``length`` bytes was written with; None if it cannot be read."""
    try:
        size = int.from_bytes(os.pread(fd, 8, 0), "little")
        contents = json.loads(os.pread(fd, min(size, length), 8))
        return str(json.loads(contents["__metadata__"]["trails"])["digest"])
    except (LookupError, TypeError, ValueError):
        return None


def write(fd: int, blob: bytes) -> None:
    """Write a checkpoint from the beginning of the file behind a descriptor."""
    rest, place = memoryview(blob), 0
    while rest:
        written = os.pwrite(fd, rest, place)
        rest, place = rest[written:], place + written


def _describe(trial: Trial) -> dict[str, Any]:
    return {
        "design": list(trial.design),
        "shape": asdict(trial.layout.shape),
        "seed": trial.seed,
        "steps": trial.steps,
        "row": trial.row(),
    }


def _family(name: Any) -> Family:
    try:
        return get_family(str(name))
    except InvalidInput as error:
        raise InvalidInput(
            f"the checkpoint cannot be read: {error.message}", error.hint, hint="Start a new run."
        ) from None


def _fresh(family: Family, architecture: Any, score: Any) -> tuple[str, float | None]:
    try:
        family.parse(str(architecture))
    except InvalidInput as error:
        raise ValueError(error.message) from error
    return str(architecture), None if score is None else float(score)


def _trial(family: Family, described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Trial:
    row: LeaderboardRow = described["row"]
    name, design = row["architecture"], tuple(map(int, described["design"]))
    if family.format(design) != name:
        raise ValueError(f"the design of {name} is that of another network")
    numbers = {key: int(value) for key, value in described["shape"].items()}
    linear_path = bool(numbers.pop("linear_path"))
    shape = Shape(**numbers, linear_path=linear_path)
    layout = family.networks.layout(shape, design)
    sizes = layout.sizes
    parts = [Weights({vector: tensors[f"{name}/{part}/{vector}"] for vector in sizes}) for part in _PARTS]
    if any(tuple(part[vector].shape) != (size,) for part in parts for vector, size in sizes.items()):
        raise ValueError(f"the weights of {name} have other shapes than it says")
    return Trial(
        family,
        name,
        row["score"],
        layout,
        int(described["seed"]),
        epochs=row["epochs"],
        best_epoch=row["best_epoch"],
        best_metric=row["validation_metric"],
        best_loss=row["validation_loss"],
        seconds=row["seconds"],
        training=Training(parts[0], parts[1], parts[2], parts[3], int(described["steps"])),
        best=parts[4],
    )
