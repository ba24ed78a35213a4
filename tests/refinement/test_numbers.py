"""What is learnt of numbers that keep their place: a sum with a heavy tail, a threshold among the largest, few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trails.family.mlp import MLP
from trails.family.networks import ModelFacts
from trails.refinement.checkpoint import digest
from trails.refinement.dataset import Dataset, prepare
from trails.refinement.metrics import report
from trails.table.columns import Column, Columns
from trails.training.knots import Between
from trails.training.options import Options
from trails.training.weights import Training, Weights

ROWS = 6_000


def number(name: str, values: NDArray[Any]) -> Column:
    return Column(name, "float64", values.astype(np.float64))


def learnt(columns: Columns, metric: str, epochs: int, **options: Any) -> tuple[float, Dataset, tuple[Any, Weights]]:
    """A validation metric of a network after so many epochs, the rows, and its layout and weights.

    Rows behind the first `ROWS`, if there are any, are the validation rows.
    """
    chosen = Options(**options)
    first, rest = np.arange(min(ROWS, columns.rows)), np.arange(ROWS, columns.rows)
    held = columns.take(rest) if len(rest) else None
    data = prepare(columns.take(first), held, "y", 0, torch.device("cpu"), options=chosen)
    layout = MLP.networks.layout(data.shape(chosen), (64, 32))
    begun = [Training.begin(MLP.networks.initial(layout, 1))]
    stack = MLP.networks.stack([layout], begun, data.train, chosen, 0, ["64-32"], data.target.task)
    for epoch in range(1, epochs + 1):
        stack.train_epoch(epoch, lambda share: True)
    outputs = stack.predict(data.validation)
    assert outputs is not None
    found = report(data.target, data.validation.truth, outputs[0].numpy())[metric]
    return found, data, (layout, stack.averaged(0))


def test_a_sum_of_an_amount_with_a_heavy_tail_and_a_day_is_learnt() -> None:
    random = np.random.default_rng(0)
    amount, day = random.lognormal(3.0, 1.0, ROWS), random.integers(0, 31, ROWS)
    cost = number("y", 3 * amount + day)
    columns = Columns(ROWS, (number("amount", amount), Column("day", "int32", day.astype(np.int32)), cost))
    assert learnt(columns, "r2", 20)[0] > 0.98
    # Bins tell the largest thirtieth of the amounts from the others, and nothing within it.
    assert learnt(columns, "r2", 20, numbers_as="bins")[0] < 0.9


def test_a_threshold_among_the_largest_is_found() -> None:
    random = np.random.default_rng(0)
    x, noise = random.random(ROWS), random.random(ROWS)
    columns = Columns(
        ROWS, (number("x", x), number("noise", noise), Column("y", "int32", (x > 0.985).astype(np.int32)))
    )
    found, data, (layout, weights) = learnt(columns, "auc", 12)
    assert found > 0.998
    # The model that is kept predicts what the network in training does.
    model = MLP.networks.export(layout, weights, ModelFacts("64-32", data.target, data.encoder))
    held = MLP.networks.predict(layout, weights, data.validation).numpy()
    places = np.linspace(-0.5, 1.5, 400)
    rows = Columns(400, (number("x", places), number("noise", np.full(400, 0.5))))
    logits = model.outputs(rows)[:, 0]
    assert (logits[places < 0.97] < 0).all() and (logits[places > 0.995] > 0).all() and np.isfinite(held).all()


@pytest.mark.parametrize("seed", [0, 3])
def test_integers_that_are_codes_are_learnt_nearly_as_well_as_categories(seed: int) -> None:
    """Most columns hold one value in nearly all rows: rare ones must not begin as noise that is learnt by heart."""
    random, rows = np.random.default_rng(seed), ROWS + 20_000
    codes = [random.integers(0, 12, rows) for _ in range(4)]
    logits = -1.5 + sum(0.4 * random.normal(size=12)[code] for code in codes)
    codes += [random.choice(4, rows, p=[0.005, 0.98, 0.01, 0.005]) for _ in range(36)]
    names = [f"code{place}" for place in range(40)]
    features = (Column(name, "int32", code.astype(np.int32)) for name, code in zip(names, codes, strict=True))
    y = Column("y", "int32", (random.random(rows) < 1.0 / (1.0 + np.exp(-logits))).astype(np.int32))
    columns = Columns(rows, (*features, y))
    found, data, _ = learnt(columns, "auc", 6)
    assert data.encoder.interpolated == list(range(40))
    assert found > learnt(columns, "auc", 6, categories=tuple(names))[0] - 0.025


def test_more_than_the_training_rows_had_is_as_much_as_they_had() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=ROWS)
    _, data, (layout, weights) = learnt(Columns(ROWS, (number("x", x), number("y", 2 * x))), "r2", 5)
    model = MLP.networks.export(layout, weights, ModelFacts("64-32", data.target, data.encoder))
    knots = data.encoder.parts[0].edges
    first, last, below, beyond = model.values(Columns(4, (number("x", np.array([knots[0], knots[-1], -1e9, 1e9])),)))
    assert below == first and beyond == last and last - first > 8


def test_a_run_goes_on_with_the_knots_that_it_was_begun_with() -> None:
    """Rows at knots are the same ids wherever these lie, and train otherwise."""
    random = np.random.default_rng(2)
    y = Column("y", "int32", random.integers(0, 2, 300).astype(np.int32))
    places = random.integers(0, 3, 300)

    def of(values: list[int]) -> Dataset:
        columns = Columns(300, (Column("i", "int32", np.array(values, np.int32)[places]), y))
        return prepare(columns, None, "y", 0, torch.device("cpu"), options=Options())

    one, other = of([1, 2, 5]), of([1, 2, 50])
    assert torch.equal(one.train.ids, other.train.ids) and one.train.between is None and other.train.between is None
    assert digest(one) != digest(other) and digest(one) == digest(of([1, 2, 5]))


def test_shares_are_taken_as_they_lie_where_all_fields_have_some() -> None:
    shares = np.random.default_rng(0).random((50, 4), np.float32)
    whole = Between.of(shares)
    assert whole is not None and whole.shares.data_ptr() == shares.ctypes.data
    shares[:, 2] = 0.0
    some = Between.of(shares)
    assert some is not None and some.fields.tolist() == [0, 1, 3] and some.shares.is_contiguous()
    np.testing.assert_array_equal(some.shares.numpy(), shares[:, [0, 1, 3]])
