"""Trails: picks, trains and serves a deep model for a table within a time budget that it keeps.

Importing this package costs nothing: NumPy is imported by the modules that filter, torch only by those that
train.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trails.errors import BudgetTooSmall, Interrupted, InvalidInput, TrailsError, UnusableData

if TYPE_CHECKING:
    from trails.run import Run
    from trails.selector import ModelSelector, ModelSelectorClassifier, ModelSelectorRegressor

__version__ = "0.3.0"

__all__ = [
    "BudgetTooSmall",
    "Interrupted",
    "InvalidInput",
    "ModelSelector",
    "ModelSelectorClassifier",
    "ModelSelectorRegressor",
    "Run",
    "TrailsError",
    "UnusableData",
    "__version__",
]

_SELECTORS = ("ModelSelector", "ModelSelectorClassifier", "ModelSelectorRegressor")


def __getattr__(name: str) -> Any:
    if name in _SELECTORS:
        from trails import selector

        return getattr(selector, name)
    if name == "Run":
        from trails.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
