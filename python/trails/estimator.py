"""What scikit-learn asks of an estimator, without scikit-learn: parameters, their text, tags, and who is fitted.

`sklearn.base.BaseEstimator` would give most of this, and make scikit-learn, of which nothing else is needed, a
requirement whose import takes longer than many a selection's first phase.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

from trails.errors import shown
from trails.selector_inputs import BadInput

Self = TypeVar("Self", bound="Estimator")


class Estimator:
    """An estimator whose parameters are the arguments of its constructor, kept as they were given."""

    @classmethod
    def _parameters(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, as given."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self: Self, **params: Any) -> Self:
        """Change parameters.

        Raises:
            ValueError: There is no such parameter.
        """
        known = self._parameters()
        for name, value in params.items():
            if name not in known:
                raise BadInput(f"there is no parameter '{shown(name)}'", hint=f"Parameters: {', '.join(known)}.")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        given = [f"{n}={v!r}" for n, v in self.get_params().items() if not _is_same(v, defaults[n].default)]
        return f"{type(self).__name__}({', '.join(given)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _check_fitted(self) -> None:
        if self.__sklearn_is_fitted__():
            return
        message = f"This {type(self).__name__} instance is not fitted yet. Call 'fit' before using this estimator."
        try:
            from sklearn.exceptions import NotFittedError
        except ImportError:
            raise BadInput(message) from None
        raise NotFittedError(message)

    def _kind(self) -> str | None:
        """``classifier`` or ``regressor``, None where the data decide."""
        raise NotImplementedError

    def _is_deterministic(self) -> bool:
        """Whether the same data and parameters give the same result."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kind = self._kind()
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(allow_nan=True, string=True, categorical=True),
            non_deterministic=not self._is_deterministic(),
        )


class ForClasses:
    """A method that a regression does not have: then hasattr says so, as scikit-learn asks."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, estimator: Any, owner: type) -> Any:
        if estimator is None:
            return self._function
        if estimator._is_regression():
            raise AttributeError(f"a regression has no {self._function.__name__}")
        return MethodType(self._function, estimator)


def _is_same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))
