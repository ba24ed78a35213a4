"""What the estimator is given, checked, and complained about in scikit-learn's words."""

from __future__ import annotations

import contextlib
import math
import numbers
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData, shown
from trails.workers import available_cores

_LENGTHS = "Found input variables with inconsistent numbers of samples: {}"


class BadInput(InvalidInput, ValueError):
    """`InvalidInput` that is a ValueError too, as users of scikit-learn expect."""


class BadData(UnusableData, ValueError):
    """`UnusableData` that is a ValueError too."""


@contextlib.contextmanager
def as_value_errors() -> Iterator[None]:
    """Raise what concerns the input as a ValueError too."""
    try:
        yield
    except (BadInput, BadData):
        raise
    except (InvalidInput, UnusableData) as error:
        kind = BadInput if isinstance(error, InvalidInput) else BadData
        raise kind(error.message, error.detail, error.hint, error.sqlstate) from error


def is_connection(X: Any) -> bool:
    """Whether X is a connection of a database."""
    return hasattr(X, "cursor") and hasattr(X, "commit")


def seconds_of(budget: float | timedelta | None) -> float:
    """A budget in seconds; infinite for None."""
    if budget is None:
        return math.inf
    if isinstance(budget, timedelta):
        return budget.total_seconds()
    if isinstance(budget, numbers.Real) and not isinstance(budget, bool):
        try:
            return float(budget)
        except OverflowError:
            pass
    raise InvalidInput(f"budget is a number of seconds, a timedelta or None, not {shown(budget)}")


def threads_of(n_jobs: Any) -> int:
    """CPU threads as scikit-learn counts them, 0 for all cores."""
    if n_jobs is None:
        return 0
    if not isinstance(n_jobs, numbers.Integral) or isinstance(n_jobs, bool):
        raise InvalidInput(f"n_jobs is a whole number or None, not {shown(n_jobs)}")
    if n_jobs == 0:
        raise InvalidInput("n_jobs == 0 has no meaning", hint="Give 1 or more threads, or -1 for all cores.")
    threads, cores = int(n_jobs), available_cores()
    if threads == -1:
        return 0
    return min(threads, cores) if threads > 0 else max(1, cores + 1 + threads)


def seed_of(random_state: Any) -> int:
    """A seed of 64 bits: the number itself, 1 for None, or one that a generator draws."""
    if random_state is None:
        return 1
    if isinstance(random_state, numbers.Integral):
        seed = int(random_state)
        if -(2**63) <= seed < 2**63:
            return seed
        raise InvalidInput(f"random_state is a whole number of 64 bits, not {shown(random_state)}")
    for draw in ("integers", "randint"):
        if hasattr(random_state, draw):
            return int(getattr(random_state, draw)(0, 2**31 - 1))
    raise InvalidInput(f"random_state is a whole number, None or a NumPy generator, not {shown(random_state)}")


def matrix_of(X: Any) -> NDArray[Any]:
    """X as an array of shape (rows, features)."""
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise InvalidInput("X is no array of rows and features", str(error)) from error
    if array.ndim == 1 or array.ndim == 0:
        raise InvalidInput(
            f"Expected 2D array, got {'1D' if array.ndim else 'scalar'} array instead. Reshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single "
            "sample."
        )
    if array.ndim > 2:
        raise InvalidInput(f"Found array with dim {array.ndim}, while dim <= 2 is required")
    if array.dtype.kind == "c":
        raise InvalidInput("Complex data not supported")
    return array


def check_size(rows: int, features: int, fewest: int) -> None:
    """Refuse no feature, and fewer rows than ``fewest``."""
    if features == 0:
        raise InvalidInput(f"Found array with 0 feature(s) (shape=({rows}, 0)) while a minimum of 1 is required.")
    if rows < fewest:
        raise UnusableData(
            f"Found array with {rows} sample(s), n_samples = {rows}, while a minimum of {fewest} is required."
        )


def labelled(y: Any, rows: int | None) -> tuple[NDArray[Any], NDArray[np.intp] | None]:
    """y without what is missing of it: NaN, None, and what pandas writes for them.

    Returns:
        What there is, shape (rows with a label,), and in which rows, ascending; None for in all of them.

    Raises:
        InvalidInput: y is no vector of so many rows, holds an infinity, or nothing else.
    """
    if y is None or not (absent := _absent(y)).any():
        return vector_of(y, rows), None
    if rows is not None and len(absent) != rows:
        raise InvalidInput(_LENGTHS.format([rows, len(absent)]))
    there = np.flatnonzero(~absent)
    if len(there) == 0:
        raise InvalidInput("Input y contains NaN.", detail="No row has a label.", hint="Give labels or numbers.")
    kept = y.iloc[there] if hasattr(y, "iloc") else np.asarray(y)[there]
    return vector_of(kept, None), there


def _absent(y: Any) -> NDArray[np.bool_]:
    """Where a vector holds nothing, bool (rows,); nowhere in what is no vector, which others complain of."""
    if hasattr(y, "isna"):
        found = np.asarray(y.isna())
    else:
        try:
            values = np.asarray(y)
        except ValueError:
            return np.zeros(0, np.bool_)
        if values.dtype.kind == "f":
            found = np.isnan(values)
        elif values.dtype.kind == "O":
            found = np.array([_is_absent(value) for value in values.ravel().tolist()], np.bool_).reshape(values.shape)
        else:
            found = np.zeros(values.shape, np.bool_)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found.ravel()
    return found if found.ndim == 1 else np.zeros(0, np.bool_)


def _is_absent(value: Any) -> bool:
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def vector_of(y: Any, rows: int | None) -> NDArray[Any]:
    """y as an array of shape (rows,), without NaN and infinities."""
    if y is None:
        raise InvalidInput("requires y to be passed, but the target y is None")
    if hasattr(y, "dtype") and not isinstance(y.dtype, np.dtype) and hasattr(y, "to_numpy"):
        y = y.to_numpy(dtype=object) if getattr(y, "isna", lambda: np.array(False))().any() else y.to_numpy()
    try:
        vector = np.asarray(y)
    except ValueError as error:
        raise InvalidInput("y is no vector", str(error)) from error
    if vector.ndim == 2 and vector.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), "
            "for example using ravel().",
            _conversion_warning(),
            stacklevel=5,
        )
        vector = vector.ravel()
    if vector.ndim != 1:
        raise InvalidInput(f"y should be a 1d array, got an array of shape {vector.shape} instead.")
    if rows is not None and len(vector) != rows:
        raise InvalidInput(_LENGTHS.format([rows, len(vector)]))
    if vector.dtype.kind == "f":
        if np.isnan(vector).any():
            raise InvalidInput("Input y contains NaN.", hint="Leave rows without a label out.")
        if not np.isfinite(vector).all():
            raise InvalidInput(f"Input y contains infinity or a value too large for {vector.dtype}.")
    return vector


def _conversion_warning() -> type[Warning]:
    try:
        from sklearn.exceptions import DataConversionWarning
    except ImportError:
        return UserWarning
    warning: type[Warning] = DataConversionWarning
    return warning
