"""The linear path beside an MLP: what it adds, its gradients, how its knots keep to lines, and how it is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.refinement.test_stack import CLASSES, EMBEDDING, FIELDS, IDS, KNOTS, TASKS, layout, made_rows, stack_of
from trails.family import MLP as FAMILY
from trails.family.mlp.embedded import embedded_rows
from trails.family.mlp.layout import MLP, SLOPES, MlpLayout, initial, unstack
from trails.refinement.dataset import prepare
from trails.table.columns import Column, Columns
from trails.table.target import Task
from trails.training.heads import mean_loss
from trails.training.knots import Knots
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.weights import TABLE, Weights


def with_path(*widths: int, outputs: int = 1, knots: Knots | None = None) -> MlpLayout:
    one = layout(*widths, outputs=outputs, knots=knots)
    return replace(one, shape=replace(one.shape, linear_path=True))


def by_hand(path: torch.Tensor, rows: EncodedRows) -> torch.Tensor:
    """Cell by cell, what the path's weights (ids, outputs) add to each row's outputs."""
    found = torch.zeros(len(rows), path.shape[1])
    places = {} if rows.between is None else {int(f): place for place, f in enumerate(rows.between.fields)}
    for row in range(len(rows)):
        for field in range(FIELDS):
            id_ = int(rows.ids[row, field])
            weight = path[id_]
            if field in places and (share := float(rows.between.shares[row, places[field]])) > 0.0:  # type: ignore[union-attr]
                weight = (1.0 - share) * weight + share * path[id_ + 1]
            found[row] += weight * (1.0 if rows.values is None else rows.values[row, field])
    return found


@pytest.mark.parametrize("knots", [None, KNOTS])
@pytest.mark.parametrize("values", [False, True])
def test_it_adds_a_weight_for_every_cell(knots: Knots | None, values: bool) -> None:
    rows, one = made_rows(30, 2, values, knots=knots), with_path(4, outputs=2, knots=knots)
    table = torch.randn(IDS, one.shape.row)
    embedded, direct = embedded_rows(table, one.shape, rows)
    without, nothing = embedded_rows(table[:, :EMBEDDING].contiguous(), replace(one.shape, linear_path=False), rows)
    assert nothing is None and direct is not None and torch.allclose(embedded, without, atol=1e-6)
    torch.testing.assert_close(direct, by_hand(table[:, EMBEDDING:], rows), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("knots", [None, KNOTS])
@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("widths", [[(5, 3)], [(5, 3), (2, 6)]])
def test_gradients_are_those_of_autograd(
    task: Task, knots: Knots | None, values: bool, widths: list[tuple[int, ...]]
) -> None:
    rows = made_rows(40, 7, values, task, True, knots)
    layouts = [with_path(*one, outputs=CLASSES if task == "multiclass" else 1, knots=knots) for one in widths]
    stack = stack_of(layouts, rows, task)
    losses, table = stack._backward(rows)
    gradients = Weights({**stack._state.weights.vectors, TABLE: table, MLP: stack._gradient})
    for place, one in enumerate(layouts):
        vectors = {n: v.clone().requires_grad_() for n, v in stack.training(place).weights.vectors.items()}
        mlp = one.mlp(vectors[MLP])
        hidden, direct = embedded_rows(one.table(vectors[TABLE]), one.shape, rows)
        assert direct is not None
        for layer in mlp.hidden:
            products = hidden @ layer.weight
            variance = products.var(-2, keepdim=True, unbiased=False)
            normalised = (products - products.mean(-2, keepdim=True)) * torch.rsqrt(variance + 1e-5)
            hidden = torch.relu(normalised * layer.scale + layer.shift)
        outputs = hidden @ mlp.weight + mlp.bias + direct
        with torch.no_grad():
            loss, upper = mean_loss(task, outputs.clone(), rows)
        outputs.backward(upper)
        own = unstack(gradients, stack._layout, place, one)
        assert float(losses[place]) == pytest.approx(float(loss), rel=1e-5)
        for name in (TABLE, MLP):
            torch.testing.assert_close(own[name], vectors[name].grad, rtol=1e-3, atol=2e-6)


def test_its_knots_keep_to_lines_as_the_vectors_do() -> None:
    rows, one = made_rows(256, 4, knots=KNOTS), with_path(6, 5, knots=KNOTS)
    stack = stack_of([one], rows, embedding_l2=50.0, average=0.0)
    for _ in range(300):
        stack.step(rows)
    weights = stack.training(0).weights
    path = one.table(weights[TABLE])[:, EMBEDDING:]
    lines = one.slopes(weights[SLOPES])[0][:, EMBEDDING:][KNOTS.owners] * KNOTS.positions.unsqueeze(-1)
    assert float(lines.abs().max()) > 0.01
    # L2 draws knots to their lines, which it leaves alone.
    torch.testing.assert_close(path[KNOTS.rows], lines, atol=0.02, rtol=0.0)


def test_it_changes_nothing_of_what_is_drawn() -> None:
    plain, beside = layout(6, 5, knots=KNOTS), with_path(6, 5, knots=KNOTS)
    one, other = initial(plain, 3), initial(beside, 3)
    assert torch.equal(one[MLP], other[MLP])
    table, slopes = beside.table(other[TABLE]), beside.slopes(other[SLOPES])
    assert torch.equal(plain.table(one[TABLE]), table[:, :EMBEDDING]) and not table[:, EMBEDDING:].any()
    assert torch.equal(plain.slopes(one[SLOPES]), slopes[..., :EMBEDDING]) and not slopes[..., EMBEDDING:].any()


def test_it_learns_a_sum_that_a_narrow_network_cannot() -> None:
    generator = torch.Generator().manual_seed(1)
    rows = made_rows(2000, 5)
    weight = torch.randn(IDS, generator=generator)
    logits = 2.0 * weight[rows.ids.long()].sum(-1)
    labels = (torch.rand(2000, generator=generator) < torch.sigmoid(logits)).float()
    rows = replace(rows, labels=labels, truth=labels.numpy() > 0)
    losses = []
    for one in (layout(2, 2), with_path(2, 2)):
        stack = stack_of([one], rows, batch=128, embedding_rate=0.02)
        for epoch in range(1, 16):
            stack.train_epoch(epoch, lambda share: True)
        outputs = stack.predict(rows)
        assert outputs is not None
        losses.append(float(np.mean(np.logaddexp(0.0, np.where(rows.truth, -1.0, 1.0) * outputs[0].numpy()))))
    assert losses[1] < losses[0] - 0.01, losses


@pytest.mark.parametrize(("classes", "is_there"), [(3, True), (10, True), (11, False)])
def test_there_is_none_of_more_classes_than_the_embedding_has_numbers(classes: int, is_there: bool) -> None:
    random = np.random.default_rng(1)
    label = np.arange(300) % classes
    columns = Columns(300, (Column("a", "float64", random.normal(size=300)), Column("y", "int64", label)))
    data = prepare(columns, None, "y", 1, torch.device("cpu"), task="multiclass")
    assert data.shape(Options()).linear_path is is_there
    assert not data.shape(Options(linear_path=False)).linear_path


def test_what_it_costs_is_counted() -> None:
    plain, beside = layout(6, 5, outputs=CLASSES), with_path(6, 5, outputs=CLASSES)
    rows = 1000
    assert beside.parameters == plain.parameters + IDS * CLASSES
    # What is looked up, its gradient and where that goes are wider by the outputs.
    assert beside.training_bytes(rows) - plain.training_bytes(rows) >= 4 * rows * FIELDS * (EMBEDDING + 3 * CLASSES)
    networks = FAMILY.networks
    work = [networks.work(one.shape, one.design) for one in (plain, beside)]
    assert work[1].inputs - work[0].inputs == FIELDS * CLASSES
    assert work[1].parameters - work[0].parameters == IDS * CLASSES
