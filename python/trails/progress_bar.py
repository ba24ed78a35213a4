"""A bar that shows how a selection gets on: in a notebook or a terminal (tqdm)."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from trails.errors import InvalidInput
from trails.plots.common import metric_name

_PHASES: Mapping[str, str] = {
    "filtered": "starting",
    "ready": "reading",
    "rows": "planning",
    "plan": "training",
    "result": "done",
}
"""What comes after an event of a selection."""


class ProgressBar:
    """Hears the events of a selection; a context manager that takes itself away.

    With a budget its length is that: the time, which a selection keeps. Without one it is the model-epochs planned.

    Args:
        budget: Seconds; infinite for none.
        started: When it began, on the monotonic clock.

    Raises:
        InvalidInput: tqdm is not installed.
    """

    def __init__(self, budget: float, started: float | None = None) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise InvalidInput(
                "a progress bar needs tqdm", hint="Install it: python -m pip install tqdm; or leave the bar out."
            ) from None
        self._budget = budget
        self._started = time.monotonic() if started is None else started
        self._metric, self._sign, self._best = "", 1.0, -math.inf
        unit = "s" if math.isfinite(budget) else " epochs"
        shape = "{desc}: {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} {unit}{postfix}"
        total = budget if math.isfinite(budget) else 1.0
        self._bar = tqdm(total=total, desc="scoring", unit=unit.strip(), bar_format=shape, leave=False)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event in; see `trails.selection.select`."""
        kind = event["event"]
        if kind in _PHASES:
            self._bar.set_description_str(_PHASES[kind], refresh=False)
        if kind == "rows":
            self._metric, self._sign = metric_name(event), -1.0 if event.get("less_is_better") else 1.0
        elif kind == "epoch" and self._sign * event["validation_metric"] > self._best:
            value = event["validation_metric"]
            self._best = self._sign * value
            self._bar.set_postfix_str(f"{self._metric} {value:.4f} {event['architecture']}", refresh=False)
        elif kind == "progress" and not math.isfinite(self._budget):
            self._bar.total, self._bar.n = event["total"], min(event["done"], event["total"])
        if math.isfinite(self._budget):
            self._bar.n = min(time.monotonic() - self._started, self._budget)
        self._bar.refresh()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()


def is_available() -> bool:
    """Whether tqdm is installed."""
    return find_spec("tqdm") is not None


def fits_here() -> bool:
    """Whether this is a notebook's kernel and has tqdm, so that a bar is what people expect."""
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    return running is not None and "IPKernelApp" in running.config and is_available()
