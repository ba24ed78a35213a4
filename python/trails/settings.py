"""What a selection outside PostgreSQL is told, and what is refused of it."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trails.errors import BudgetTooSmall, InvalidInput, shown
from trails.filtering.phase import FilteringRequest
from trails.limits import SMALLEST_BUDGET
from trails.refinement.checks import RefinementArguments
from trails.space import DEFAULT_SPACE
from trails.table.columns import Columns
from trails.table.split import ByColumns
from trails.trainer import budget_to_try, work_seconds


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
        options: Of training; see `trails.training.options.Options`.
        device: See `trails.refinement.device_names.parse_devices`.
        threads: CPU threads; 0 for all cores.
        isolated: Whether refinement runs in a process of its own.
        metric: By which candidates are compared; None for that of the task.
        group_by: Column whose groups are held out as a whole.
        time_by: Column by which the latest rows are held out.
        weight: Column that says what a row counts for. None of the three is a feature.
    """

    budget: float = 60.0
    task: str | None = None
    space: str = DEFAULT_SPACE
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
    metric: str | None = None
    group_by: str | None = None
    time_by: str | None = None
    weight: str | None = None

    @property
    def by(self) -> ByColumns:
        """The columns that say something of the rows themselves."""
        return ByColumns(group_by=self.group_by, time_by=self.time_by, weight=self.weight)

    def filtering(self) -> FilteringRequest:
        """What is asked of the first phase."""
        return FilteringRequest(self.space, self.tfmem, self.n, self.k, self.batch_size, self.seed)

    def with_whole_numbers(self) -> Settings:
        """The settings with whole numbers of Python's own, which JSON can write.

        Raises:
            InvalidInput: One is no whole number, or of more than 64 bits.
        """
        found: dict[str, int] = {}
        for name in ("n", "k", "u", "batch_size", "seed", "threads"):
            value = getattr(self, name)
            if value is None:
                continue
            try:
                found[name] = operator.index(value)
            except TypeError:
                raise InvalidInput(f"{name} is a whole number, not {shown(value)}") from None
            if not -(2**63) <= found[name] < 2**63:
                raise InvalidInput(f"{name} is a whole number of 64 bits, not {shown(value)}")
        return replace(self, **found)  # type: ignore[arg-type]

    def check(self, tables: Iterable[Columns | None]) -> None:
        """Refuse names and numbers that no run could use, before a process is started.

        Args:
            tables: Of the run.

        Raises:
            InvalidInput: There is no such name, or a number is out of range.
            BudgetTooSmall: The budget does not hold one trained model.
        """
        if math.isnan(self.budget):
            raise InvalidInput("a budget is a number of seconds, not NaN")
        if self.budget < SMALLEST_BUDGET:
            given = self.k is not None or self.u is not None
            enough = budget_to_try(0.0, work_seconds(tables, given))
            raise BudgetTooSmall(
                f"a budget of {self.budget:g} s is too small to train a model",
                hint=f"Loading torch alone takes seconds: begin with {enough:g} s.",
                minimum=enough,
            )
        if math.isinf(self.budget) and self.k is None:
            raise InvalidInput("without a budget k must be given", hint="Give k, or a budget.")
        self.filtering().check(target=True)
        options = json.dumps(plain_options(self.options))
        RefinementArguments(self.refinement, self.k, self.u, options, self.device, self.task, self.metric).check()


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
