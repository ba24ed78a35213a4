"""Trails: picks, trains and serves a deep model for a table within a time budget that it keeps.

Importing this package costs nothing: NumPy is imported by the modules that filter, torch only by those that
train.
"""

from trails.errors import BudgetTooSmall, Interrupted, InvalidInput, TrailsError, UnusableData

__version__ = "0.2.0"

__all__ = [
    "BudgetTooSmall",
    "Interrupted",
    "InvalidInput",
    "TrailsError",
    "UnusableData",
    "__version__",
]
