"""One whole selection outside the database, in the process that calls it, with the AUC of its winner on test rows.

The same phases as a statement's: the first import of torch, filtering and refinement are inside the budget; reading
the dataset's files, in place of which a statement reads a table in some 30 ms, is not.
"""

from __future__ import annotations

import math
import time
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.limits import RESERVE_SECONDS
from trails.loading.libsvm import read_blocks
from trails.loading.sources import find_dataset
from trails.refinement import process
from trails.table.columns import Column, Columns

TARGET = "label"


@cache
def columns(dataset: str, part: str) -> Columns:
    """``train``, ``valid`` or ``test`` of a dataset: its fields and, last, the target."""
    found = find_dataset(dataset)
    blocks = list(read_blocks(found.files[part], found.fields))
    ids = np.concatenate([block.ids for block in blocks])
    labels = np.concatenate([block.labels for block in blocks]).astype(np.int64)
    features = [Column(f"c{place}", "int32", np.ascontiguousarray(column)) for place, column in enumerate(ids.T)]
    return Columns(len(ids), (*features, Column(TARGET, "int64", labels)))


def select(
    dataset: str,
    budget: float,
    seed: int,
    options: dict[str, Any] | None = None,
    refinement: str = "sh",
    k: int | None = None,
    u: int | None = None,
) -> dict[str, Any]:
    """Select a model for a published dataset; see `select_from`."""
    train, validation, test = (columns(dataset, part) for part in ("train", "valid", "test"))
    return select_from(train, validation, test, budget, seed, options, refinement, k, u)


def select_from(
    train: Columns,
    validation: Columns | None,
    test: Columns,
    budget: float,
    seed: int,
    options: dict[str, Any] | None = None,
    refinement: str = "sh",
    k: int | None = None,
    u: int | None = None,
) -> dict[str, Any]:
    """Select a model for rows with a binary target called `TARGET`.

    Returns:
        ``wall`` seconds, ``test_auc`` and ``validation_metric`` of the winner, its ``architecture``, ``epochs`` and
        ``best_epoch``, and how many candidates were ``trained``.
    """
    from trails.filtering.phase import FilteringRequest, shortlist
    from trails.refinement.protocol import Candidate, Events, Refine, Setting
    from trails.selection import training_rows
    from trails.training.options import parse_options

    started = time.monotonic()
    rows = training_rows(train, TARGET, None, parse_options(options))
    found = shortlist(rows, FilteringRequest("mlp4x20", "expressflow", k=k, seed=seed), None)
    for name in rows.useless:
        train, validation = train.without(name), None if validation is None else validation.without(name)

    process.prepare()
    import torch

    from trails.refinement.dataset import prepare
    from trails.refinement.run import refine
    from trails.refinement.timings import Timings

    events: list[bytes] = []
    setting = Setting(
        TARGET, seed, started, budget, started + budget - RESERVE_SECONDS, {"columns": [], "rows": train.rows}, None
    )
    candidates = tuple(
        Candidate(name, tuple(map(int, name.split("-"))), float(score))
        for name, score in zip(found.architectures, found.scores, strict=True)
        if math.isfinite(score)
    )
    each = found.seconds / found.scored
    request = Refine(candidates, refinement, k, u, parse_options(options), each, found.scored)
    cpu = torch.device("cpu")
    data = prepare(train, validation, TARGET, seed, cpu, options=parse_options(options))
    ranked = refine(setting, request, data, [cpu], Events(events.append), Timings(started))
    wall = time.monotonic() - started
    winner = ranked[0]
    return {
        "wall": wall,
        "test_auc": test_auc(winner, data, test),
        "validation_metric": winner.best_metric,
        "architecture": winner.architecture,
        "epochs": winner.epochs,
        "best_epoch": winner.best_epoch,
        "trained": len(ranked),
    }


def test_auc(trial: Any, data: Any, test: Columns) -> float:
    """AUC of a trial's best weights on test rows."""
    from trails.refinement.export import model_of
    from trails.refinement.metrics import auc

    truth: NDArray[np.bool_] = data.target.labels(test[TARGET]) > 0
    return auc(truth, model_of(trial, data).outputs(test)[:, 0])
