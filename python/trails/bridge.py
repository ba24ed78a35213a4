"""What the extension calls: mappings and NumPy arrays become objects of the core, and its answers go back by name.

What is handed over is a class here and a struct of the same name in Rust, with the same fields
(`tests/core/test_bridge.py`). The arrays are the extension's own buffers, not copies. Everything here runs inside a
PostgreSQL backend, so it must import neither torch nor anything that is slow to import, and long work calls ``check``
at least every 50 ms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, Told, no_check, not_told
from trails.coordinator import Plan
from trails.coordinator import plan as plan_budget
from trails.filtering import cells, phase
from trails.filtering.latency import LatencyScorer, parse_config
from trails.filtering.phase import FilteringRequest, MetricCost, RankedArchitecture, Ranking, Shortlist
from trails.filtering.rows import TableRows
from trails.model.formats import export as export_model
from trails.model.store import Model
from trails.refinement.checks import RefinementArguments, check_architectures
from trails.refinement.incumbent import metric_of
from trails.space import parse_space, spaces
from trails.table.columns import Column, Columns
from trails.table.judged import parse_metric
from trails.table.split import Held
from trails.table.texts import texts_of
from trails.tfmem import REGISTRY
from trails.training.options import describe_options as refinement_options
from trails.training.options import parse_options

__all__ = [
    "ArrayColumn",
    "CoordinatorArguments",
    "FilteringRequest",
    "LatencyScorer",
    "MetricCost",
    "MetricFacts",
    "ModelDescription",
    "Plan",
    "RankedArchitecture",
    "Ranking",
    "RefinementArguments",
    "Shortlist",
    "TrainingRows",
    "TrainingRowsArguments",
    "check_architectures",
    "check_filtering",
    "check_refinement",
    "describe_model",
    "export_model",
    "latency_scorer",
    "pictures_wanted",
    "plan",
    "refinement_options",
    "tfmems",
    "training_rows",
]


class ArrayColumn(TypedDict):
    """A column of which each buffer is an array: values (rows,) of the kind's dtype (`trails.table.columns.KINDS`);
    uint8 (rows,) mask, 1 where NULL, or None without NULLs; float32 (rows,) values of ``id:value`` columns, or None
    when all are 1; and how its texts were read, where it is a column of texts."""

    name: str
    kind: str
    data: NDArray[Any]
    nulls: NDArray[np.uint8] | None
    values: NDArray[np.float32] | None
    reading: str | None


class TrainingRowsArguments(TypedDict):
    """The columns of a table: to learn from, without NULLs the target, and what says which rows are held out; what is
    learnt of the target (None to infer it), by which metric candidates will be compared, training options as JSON, and
    the seed with which refinement will draw rows to hold out, if it will; hashes and texts of target and split column
    by name, as far as they are known.

    Columns that say something of the rows are named, and are among the features or those ``aside`` of them."""

    features: Sequence[ArrayColumn]
    target: ArrayColumn | None
    aside: Sequence[ArrayColumn]
    split: str | None
    group_by: str | None
    time_by: str | None
    weight: str | None
    task: str | None
    metric: str | None
    options: str | None
    seed: int | None
    spellings: Mapping[str, Sequence[tuple[int, str]]]


class MetricFacts(NamedTuple):
    """A metric: what it reads (``data``, ``labels``), whether whole spaces are scored at once, and where it is from."""

    tfmem: str
    orientation: str
    needs: list[str]
    whole_space: bool
    description: str
    paper: str


class ModelDescription(NamedTuple):
    """What a model's blob says of itself: columns (kind by name), fields and metrics as JSON; no classes for a
    regression."""

    task: str
    architecture: str
    target: str
    columns: str
    classes: list[str] | None
    fields: str
    metrics: str


class CoordinatorArguments(TypedDict):
    """What the coordinator is asked: seconds, and the space's name."""

    score_seconds: float
    epoch_seconds: float
    budget: float
    only_phase1: bool
    space: str


_NEEDS = {"x": "data", "y": "labels"}


def tfmems() -> list[MetricFacts]:
    """Every metric."""

    def at_once(name: str) -> bool:
        parts = [REGISTRY[part] for part in REGISTRY[name].combines or (name,)]
        return all(any(space.family.scoring.at_once(part, space) for space in spaces()) for part in parts)

    return [
        MetricFacts(m.name, m.orientation, [_NEEDS[need] for need in m.needs], at_once(m.name), m.sentence, m.paper)
        for m in REGISTRY.values()
    ]


def check_filtering(request: Mapping[str, Any], target: bool) -> None:
    """See `FilteringRequest.check`."""
    FilteringRequest(**request).check(target)


def pictures_wanted(request: Mapping[str, Any]) -> int | None:
    """See `cells.pictures_wanted`."""
    return cells.pictures_wanted(FilteringRequest(**request))


def check_refinement(arguments: Mapping[str, Any]) -> None:
    """See `RefinementArguments.check`."""
    RefinementArguments(**arguments).check()


def training_rows(arguments: TrainingRowsArguments, check: Check = no_check) -> TrainingRows:
    """Take the columns of a table over.

    Raises:
        UnusableData: Nothing can be learnt of the target, or a column that says which rows are held out, or what they
            count for, leaves nothing.
        InvalidInput: Its type cannot be learnt, that of such a column says nothing of the kind, or the options or the
            metric are wrong.
    """
    features, seed = arguments["features"], arguments["seed"]
    columns = Columns(len(features[0]["data"]) if features else 0, tuple(Column(**column) for column in features))
    options = parse_options(arguments["options"])
    fitting = options.fitting()
    fitting.check(columns)

    def spelt(array: ArrayColumn) -> Column:
        texts = {code: text.encode() for code, text in arguments["spellings"].get(array["name"], ())}
        return replace(Column(**array), texts=texts_of(texts) if texts else None)

    by_name = {array["name"]: array for array in (*features, *arguments["aside"])}

    def named(name: str | None) -> Column | None:
        return None if name is None else spelt(by_name[name])

    held = None
    split, group, time = (named(name) for name in (arguments["split"], arguments["group_by"], arguments["time_by"]))
    if seed is not None or any(column is not None for column in (split, group, time)):
        held = Held(split, seed or 0, options.validation_share, group, time)
    target = None if arguments["target"] is None else spelt(arguments["target"])
    weight = named(arguments["weight"])
    rows = TableRows(columns, target, arguments["task"], fitting, options.embedding, held, weight, check)
    if rows.learnt is not None:
        parse_metric(arguments["metric"], rows.learnt.task)
    return TrainingRows(rows)


class TrainingRows:
    """The rows of one run, and what the filtering phase makes of them; see `trails.filtering.phase`."""

    def __init__(self, rows: TableRows) -> None:
        self._rows = rows

    def left_out(self) -> list[tuple[str, str]]:
        """Features that no network can learn from, with the reason."""
        return list(self._rows.useless.items())

    def shortlist(
        self, request: Mapping[str, Any], seconds: float | None, threads: int, check: Check, told: Told = not_told
    ) -> Shortlist:
        """See `phase.shortlist`."""
        return phase.shortlist(self._rows, FilteringRequest(**request), seconds, threads, check, told)

    def rank(self, request: Mapping[str, Any], threads: int, check: Check, told: Told = not_told) -> Ranking:
        """See `phase.rank`."""
        return phase.rank(self._rows, FilteringRequest(**request), threads, check, told)

    def costs(self, request: Mapping[str, Any], threads: int, check: Check) -> list[MetricCost]:
        """See `phase.costs`."""
        return phase.costs(self._rows, FilteringRequest(**request), threads, check)

    def metric_of(self, blob: bytes, metric: str | None, check: Check) -> float | None:
        """What a model that was trained before does on the rows that are held out; see `incumbent.metric_of`."""
        return metric_of(Model.from_bytes(blob), self._rows, metric, check)


def plan(arguments: CoordinatorArguments) -> Plan:
    """The coordinator alone."""
    return plan_budget(
        arguments["score_seconds"],
        arguments["epoch_seconds"],
        arguments["budget"],
        space_size=parse_space(arguments["space"]).size,
        only_phase1=arguments["only_phase1"],
    )


def latency_scorer(config: str | None, n: int, fields: int) -> LatencyScorer:
    """The scorer of the latency benchmark, from the text of a configuration file or the defaults."""
    return LatencyScorer(parse_config(config), n, fields)


def describe_model(blob: bytes) -> ModelDescription:
    """What a model's blob says of itself.

    Raises:
        InvalidInput: Not a model, or of a version that this release does not read.
    """
    model = Model.from_bytes(blob)
    target = model.target
    return ModelDescription(
        target.task,
        model.architecture,
        target.name,
        json.dumps(dict(model.encoder.columns)),
        list(target.classes) or None,
        json.dumps(model.encoder.describe()),
        json.dumps(dict(model.metrics)),
    )
