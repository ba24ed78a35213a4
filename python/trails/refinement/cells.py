"""Cells scored on a caller's pictures, in this process, because a backend must neither import PyTorch nor compute for
long."""

from __future__ import annotations

import math
import os
import time

import numpy as np
from numpy.typing import NDArray

from trails.errors import UnusableData
from trails.family.cell.pixels import NotAPicture, of_bytes, of_numbers
from trails.filtering.cells import ScoredCells, deal, metrics_of, score_cells
from trails.refinement import memory
from trails.refinement.protocol import CellRow, Cells, Events, Picture

_ROWS = 512
"""Cells of one event."""

_EVERY = 1.0
"""Seconds between two events of progress."""


def score(request: Cells, events: Events) -> None:
    """Serve one request, and tell its result.

    Raises:
        UnusableData: A picture that is none, or of another size; too few that differ.
        InvalidInput: See `score_cells`.
    """
    memory.enforce(request.memory_limit)
    import torch

    from trails.refinement.devices import cores

    torch.set_num_threads(cores(request.threads))
    asked = request.filtering
    pictures = read_pictures(request)
    labels = np.array([picture.label for picture in request.pictures], np.int64)
    batches, notices = deal(pictures, labels, request.classes, metrics_of(asked), asked.batch_size, asked.seed)
    last = time.monotonic()

    def told(scored: int, of: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            events.progress(scored, of or 0)

    found = score_cells(asked, batches, request.deadline, told)
    if found.asked is not None and found.scored < found.asked:
        notices.append(f"the budget held {found.scored} of {found.asked} architectures: the best of these are ranked")
    _tell(found, notices, events)


def read_pictures(request: Cells) -> NDArray[np.float64]:
    """The pictures that were drawn: (pictures, numbers of one), standardised where they are pixels.

    Raises:
        UnusableData: One is no picture, or of another size than the first; it names the row.
    """
    read: list[NDArray[np.float64]] = []
    for picture in request.pictures:
        try:
            read.append(_read(request, picture))
        except NotAPicture as error:
            raise UnusableData(
                f"{request.column} holds a picture that {error}",
                detail=" ".join(filter(None, [f"It is row {picture.row}.", error.detail])),
                hint="Mend it, or leave it out: a NULL in its place is passed over.",
            ) from error
        if read[-1].size != read[0].size:
            first, side = request.pictures[0].row, math.isqrt(read[-1].size // 3)
            raise UnusableData(
                f"{request.column} holds pictures of different sizes",
                detail=f"Row {first} has {math.isqrt(read[0].size // 3)} pixels a side, row {picture.row} has {side}.",
                hint="Cells are scored on pictures of one size: give a view with those of one, or scale them before.",
            )
    return np.stack(read)


def _read(request: Cells, picture: Picture) -> NDArray[np.float64]:
    content = os.pread(request.fd, picture.length, picture.offset)
    if len(content) != picture.length:
        raise EOFError(f"row {picture.row} has {len(content)} of {picture.length} bytes")
    if request.form == "bytes":
        return of_bytes(content)
    return of_numbers(np.frombuffer(content, np.dtype(request.form)), picture.shape)


def _tell(found: ScoredCells, notices: list[str], events: Events) -> None:
    rows: list[CellRow] = [
        {
            "architecture": cell.architecture,
            "score": _finite(cell.score),
            "scores": [(name, _finite(score)) for name, score in cell.scores],
            "parameters": cell.parameters,
            "flops": cell.flops,
            "seconds": cell.seconds,
        }
        for cell in found.best
    ]
    for start in range(0, len(rows), _ROWS):
        events.ranked(rows[start : start + _ROWS])
    events.scored(found.scored, found.failed, notices)


def _finite(score: float) -> float | None:
    """JSON has no number that is not finite."""
    return score if math.isfinite(score) else None
