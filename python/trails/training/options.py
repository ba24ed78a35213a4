"""How candidates are trained: every choice an option, with its default and what it may be. Imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from itertools import combinations
from typing import Any, cast, get_args

from trails.errors import InvalidInput, listed, shown, shown_json
from trails.halving import DEFAULT_ETA, DEFAULT_MAX_EPOCHS
from trails.table.fitting import Fitting, NumbersAs
from trails.table.target import Task

EMBEDDING = 10
"""Numbers that stand for one category, the published study's choice: a row is fields * EMBEDDING inputs wide."""

_FEW_ROWS, _MANY_ROWS = 5_000, 200_000
_LARGEST_WHOLE = 2**31 - 1
"""Of any whole number that has no other limit."""

_EXAMPLE = "For instance: options => '{\"dropout\": 0.1}'."
_MOST_DROPOUT, _LEAST_L2 = 0.5, 1e-3


def _option(
    default: Any,
    sentence: str,
    least: float = 0.0,
    most: float = math.inf,
    among: tuple[str, ...] = (),
    weights: bool = False,
    number: bool = False,
    whole: bool = False,
) -> Any:
    """A field of `Options` with its limits, both inclusive, or the words it is chosen among; ``weights`` if it may be
    an object of names and positive numbers instead, ``number`` if it may be a number instead, ``whole`` if that must be
    a whole one."""
    limits = {"sentence": sentence, "least": least, "most": most, "among": among, "weights": weights}
    return field(default=default, metadata={**limits, "number": number, "whole": whole})


@dataclass(frozen=True)
class Options:
    """Settings of one run's training; `OPTIONS` describes each. The defaults are measured by the benchmark
    ``training_defaults``.
    """

    eta: int = _option(DEFAULT_ETA, "one in how many candidates survives a rung of sh and hyperband", 2)
    max_epochs: int = _option(DEFAULT_MAX_EPOCHS, "epochs after which no candidate is trained further", 1, 10_000)
    winner: bool = _option(True, "whether the best candidate is trained further with the time that is left")
    members: int | str = _option(
        "auto",
        "networks in one, of shared weights, that the best architecture is trained with last where a model is kept; "
        "auto: 16, 8 or 4 if the time left holds them; 1: none",
        1,
        64,
        ("auto",),
        number=True,
        whole=True,
    )
    refit: bool = _option(
        True,
        "whether the best candidate is trained again on held-out rows too, where neither validation nor split named "
        "these, they are 200,000 in all at most, and there is time",
    )
    ensemble: int | str = _option(
        "never",
        "networks of the kept model at most: the mean of several of those that were trained is kept where it gains "
        "more than a standard error; auto: 8, but 1 where k and u are given; never: 1",
        1,
        8,
        among=("never", "auto"),
        number=True,
        whole=True,
    )
    calibrate: bool = _option(
        True,
        "whether the kept model's probabilities are calibrated on the validation rows (500 at least) by a temperature, "
        "and its numbers (200 rows at least) by a line; never where class_weights are given",
    )
    patience: int = _option(5, "epochs without a better validation metric after which a candidate is done", 1)
    batch: int = _option(1024, "rows of a batch; tables of few rows get smaller batches", 2, 1 << 20)
    least_batches: int = _option(
        64, "batches of an epoch at least, where each then has 64 rows or more: what makes those of few rows small", 1
    )
    learning_rate: float = _option(2e-3, "Adam's learning rate for the network", 1e-8, 10.0)
    embedding_rate: float = _option(4e-3, "Adam's learning rate for the embedding table", 1e-8, 10.0)
    decay: float = _option(0.0, "after e epochs learning rates are divided by 1 + decay * e", 0.0, 100.0)
    embedding_l2: float | str = _option(
        "auto", "L2 weight on the embedding table; auto: the fewer rows, the more", 0.0, 10.0, ("auto",), number=True
    )
    weight_decay: float = _option(
        0.0, "decoupled weight decay of the network's matrices, as a share per step and rate", 0.0, 10.0
    )
    dropout: float | str = _option(
        "auto",
        "share of every hidden layer's outputs that is dropped in training; auto: the fewer rows, the more, of numbers "
        "less, and none where a number is predicted",
        0.0,
        0.95,
        ("auto",),
        number=True,
    )
    average: float = _option(
        2.0, "memory of the averaged weights that validation sees, in epochs; 0 for none", 0.0, 100.0
    )
    embedding: int = _option(EMBEDDING, "numbers that stand for a category", 1, 1024)
    linear_path: bool = _option(
        True,
        "whether a linear model of the row, trained with the network, is added to what it puts out; there is none of "
        "more classes than numbers stand for a category",
    )
    precision: str = _option(
        "auto", "auto: TF32 products on a GPU that has them; full: float32 throughout", among=("auto", "full")
    )
    epoch_rows: int = _option(
        1 << 20, "rows of an epoch at most: tables with more are passed over in several epochs", 1 << 10
    )
    together: str = _option(
        "auto",
        "auto: candidates are stacked where measured to be faster; always; never: one candidate to a worker",
        among=("auto", "always", "never"),
    )
    validation_share: float = _option(
        0.2, "share of the rows held out where there is no validation table; 200,000 rows at most", 0.01, 0.9
    )
    class_weights: str | Mapping[str, float] = _option(
        "none",
        "none; balanced: every class weighs the same; or an object of classes and weights",
        among=("none", "balanced"),
        weights=True,
    )
    target_scale: str = _option(
        "auto",
        "scale on which a number is learnt; auto: by its logarithm where it is not below 0, skewed, and a trial on the "
        "validation rows finds that better; linear: as it is; log: by its logarithm",
        among=("auto", "linear", "log"),
    )
    categories: tuple[str, ...] = _option((), "integer columns that are categories, whatever they look like")
    numbers: tuple[str, ...] = _option((), "integer columns that are numbers, whatever they look like")
    texts: tuple[str, ...] = _option((), "columns of text that stay text, though their texts are numbers or dates")
    id_values: tuple[str, ...] = _option((), "columns of text that are id:value, though other features are not")
    bins: int = _option(32, "intervals of a number; 0: its standardised value instead", 0, 1024)
    numbers_as: str = _option(
        "interpolated",
        "interpolated: numbers keep their place between an interval's ends; bins: they are told apart by interval only",
        among=get_args(NumbersAs),
    )
    min_count: int | str = _option(
        "auto",
        "rows in which a text must occur; rarer ones share the slot of unknown texts; auto: one in 1,000 of those with "
        "a text, 3 at least and 10 at most",
        1,
        among=("auto",),
        number=True,
        whole=True,
    )
    max_categories: int = _option(1 << 16, "most frequent categories of a column; the rest shares slots by hash", 1)
    buckets: int = _option(1 << 10, "slots that the rest shares; 0: one, that of unknown categories", 0, 1 << 20)

    def regularisation(self, rows: int, interpolated: float = 0.0, task: Task = "binary") -> tuple[float, float]:
        """Dropout and the L2 weight on the embedding table, for so many training rows.

        Args:
            rows: Of the training table.
            interpolated: Share of the fields that are numbers between knots, which need no dropout: all rows teach the
                line that a number's knots keep to.
            task: What is learnt.

        Few rows need much of both, and many none. ``auto`` is 0.5 and 0.04 for 5,000 rows and below, 0 and 0.001 for
        200,000 and above; between them dropout falls with the logarithm of the rows, L2 with the rows. The benchmark
        ``regularisation`` measures what that is worth. What is left of that dropout is the share of fields that are not
        interpolated, and nothing where a number is predicted: units that are dropped change the spread of what follows,
        which classes forgive and sums do not. The benchmark ``tables`` measures both.
        """
        scarcity = min(max(_MANY_ROWS / max(rows, 1), 1.0), _MANY_ROWS / _FEW_ROWS)
        dropout, l2 = self.dropout, self.embedding_l2
        if isinstance(dropout, str):
            share = 0.0 if task == "regression" else 1.0 - interpolated
            dropout = share * _MOST_DROPOUT * math.log(scarcity) / math.log(_MANY_ROWS / _FEW_ROWS)
        if isinstance(l2, str):
            l2 = _LEAST_L2 * scarcity
        return dropout, l2

    def fitting(self) -> Fitting:
        """How columns become fields."""
        return Fitting(
            self.categories,
            self.numbers,
            self.bins,
            None if isinstance(self.min_count, str) else self.min_count,
            self.max_categories,
            self.buckets,
            cast(NumbersAs, self.numbers_as),
            self.texts,
            self.id_values,
        )


OPTIONS: Mapping[str, Field[Any]] = {f.name: f for f in fields(Options)}
"""Every option by name; ``default`` and ``metadata["sentence"]`` describe it."""


def parse_options(given: Mapping[str, Any] | str | None) -> Options:
    """Options from what a caller gave: a mapping, or one as JSON text; None for all defaults.

    Raises:
        InvalidInput: Not a JSON object; an unknown option; a value of the wrong kind or out of range.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise InvalidInput("options are not JSON", detail=str(error), hint=_EXAMPLE) from error
        except RecursionError:
            raise InvalidInput("options are nested too deeply", hint=_EXAMPLE) from None
    if given is None:
        return Options()
    if not isinstance(given, Mapping):
        raise InvalidInput("options are a JSON object of names and values", hint=_EXAMPLE)
    options = Options(**{name: _checked(name, value) for name, value in given.items()})
    named = {what: set(getattr(options, what)) for what in ("categories", "numbers", "texts", "id_values")}
    for one, other in combinations(named, 2):
        if both := named[one] & named[other]:
            raise InvalidInput(
                f"options name {listed(sorted(both))} among {one} and among {other}", hint="A column is one of them."
            )
    return options


def describe_options() -> list[tuple[str, str, str]]:
    """Name, default as JSON text, and a sentence, of every option."""
    return [(name, json.dumps(f.default), f.metadata["sentence"]) for name, f in OPTIONS.items()]


def _checked(name: str, value: Any) -> Any:
    option = OPTIONS.get(name)
    if option is None:
        raise InvalidInput(f'there is no option "{shown(name)}"', hint=f"Options: {', '.join(OPTIONS)}.")
    assert option.default is not MISSING
    kind, limits = type(option.default), option.metadata
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise InvalidInput(f"option {name} is true or false, not {shown_json(value)}")
    if kind is tuple:
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return tuple(value)
        raise InvalidInput(f"option {name} is an array of column names, not {shown_json(value)}")
    if kind is str and not (limits["number"] and isinstance(value, int | float)):
        if isinstance(value, str) and value in limits["among"]:
            return value
        if limits["number"]:
            raise InvalidInput(f"option {name} is a number or {' or '.join(limits['among'])}, not {shown_json(value)}")
        if limits["weights"] and isinstance(value, Mapping):
            return {str(key): _weight(name, key, weight) for key, weight in value.items()}
        raise InvalidInput(f"option {name} is one of {', '.join(limits['among'])}, not {shown_json(value)}")
    number = isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
    whole = kind is int or limits["whole"]
    if not number or (whole and value != int(value)):
        raise InvalidInput(f"option {name} is {'a whole' if whole else 'a'} number, not {shown_json(value)}")
    most = min(limits["most"], _LARGEST_WHOLE) if whole else limits["most"]
    if not limits["least"] <= value <= most:
        open_ended = math.isinf(limits["most"]) and value < limits["least"]
        bounds = f"at least {limits['least']:g}" if open_ended else f"{limits['least']:g} to {_plain(most)}"
        raise InvalidInput(f"option {name} is {bounds}, not {value:g}")
    return int(value) if whole else float(value)


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _is_finite(value: float) -> bool:
    """Whether a number, which JSON may write with any number of digits, is one of floating point."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _weight(option: str, key: Any, weight: Any) -> float:
    if isinstance(weight, int | float) and not isinstance(weight, bool) and _is_finite(weight) and weight > 0:
        return float(weight)
    raise InvalidInput(
        f"option {option} has a weight above 0 for every class, not {shown_json(weight)} for '{shown(key)}'"
    )
