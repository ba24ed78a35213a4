"""The written-out training against autograd, and candidates that train together against the same ones alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks._tabular_mlp import TabularMlp
from trails.family.mlp.layout import MLP, STATS, MlpLayout, initial, unstack
from trails.family.mlp.stack import MlpStack
from trails.family.modules import apply
from trails.family.networks import Shape
from trails.table.target import TASKS, Task
from trails.training.batches import batches_of, order_of_epoch
from trails.training.knots import Between, Knots
from trails.training.optimiser import average_decay
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.weights import SLOPE_STD, SLOPES, TABLE, Training, Weights, derived_seed

IDS, FIELDS, EMBEDDING, CLASSES = 30, 4, 3, 5


KNOTS = Knots(
    fields=torch.tensor([1, 3]),
    rows=torch.tensor([*range(5, 14), *range(16, IDS)]),
    owners=torch.tensor([0] * 9 + [1] * 14),
    positions=torch.linspace(-2.0, 2.5, 23),
)
"""Of two of the fields; the last knot has no embedding row behind it."""


def made_rows(
    count: int,
    seed: int,
    values: bool = False,
    task: Task = "binary",
    weights: bool = False,
    knots: Knots | None = None,
) -> EncodedRows:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, IDS, (count, FIELDS), generator=generator, dtype=torch.int32)
    factors = torch.rand((count, FIELDS), generator=generator) + 0.5 if values else None
    labels = torch.rand(count, generator=generator)
    if task != "regression":
        labels = (labels < 0.4).float() if task == "binary" else (labels * CLASSES).long()
    each = torch.rand(count, generator=generator) + 0.5 if weights else None
    between = None
    if knots is not None:
        shares = torch.rand((count, len(knots.fields)), generator=generator).sub_(0.2).clamp_(min=0.0)
        shares[ids[:, knots.fields] == IDS - 1] = 0.0
        between = Between(knots.fields, shares)
    truth = labels.numpy() > 0 if task == "binary" else labels.numpy()
    return EncodedRows(ids, factors, labels, truth, each, knots, between)


def layout(*widths: int, outputs: int = 1, knots: Knots | None = None) -> MlpLayout:
    return MlpLayout(Shape(IDS, FIELDS, EMBEDDING, outputs, 0 if knots is None else len(knots.fields)), widths)


def stack_of(layouts: list[MlpLayout], rows: EncodedRows, task: Task = "binary", **options: object) -> MlpStack:
    names = ["-".join(map(str, one.design)) for one in layouts]
    trainings = [Training.begin(initial(one, derived_seed(1, name))) for one, name in zip(layouts, names, strict=True)]
    return MlpStack(layouts, trainings, rows, Options(**{"dropout": 0.0, **options}), 1, names, task)


def network_of(one: MlpLayout, weights: Weights) -> TabularMlp:
    """The reference network with these weights."""
    network = TabularMlp(IDS, FIELDS, one.design, EMBEDDING, outputs=one.shape.outputs)
    linear = [m for m in network.mlp if isinstance(m, torch.nn.Linear)]
    norms = [m for m in network.mlp if isinstance(m, torch.nn.BatchNorm1d)]
    mlp = one.mlp(weights[MLP])
    with torch.no_grad():
        network.embedding.weight.copy_(one.table(weights[TABLE]))
        for module, norm, layer, (mean, variance) in zip(
            linear, norms, mlp.hidden, one.stats(weights[STATS]), strict=False
        ):
            module.weight.copy_(layer.weight.T)
            norm.weight.copy_(layer.scale.view(-1))
            norm.bias.copy_(layer.shift.view(-1))
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.copy_(mean.view(-1))
            norm.running_var.copy_(variance.view(-1))
        linear[-1].weight.copy_(mlp.weight.T)
        linear[-1].bias.copy_(mlp.bias.view(-1))
    return network


def by_autograd(network: TabularMlp, rows: EncodedRows, task: Task = "binary") -> tuple[float, Tensor, list[Tensor]]:
    """Loss, the table's gradient, and the MLP's in the order of the flat vector."""
    network.train()
    outputs = apply(network, rows)
    losses = {
        "binary": lambda: torch.nn.functional.binary_cross_entropy_with_logits(outputs, rows.labels, reduction="none"),
        "multiclass": lambda: torch.nn.functional.cross_entropy(outputs, rows.labels, reduction="none"),
        "regression": lambda: torch.nn.functional.mse_loss(outputs, rows.labels, reduction="none") / 2,
    }[task]()
    loss = (losses if rows.weights is None else losses * rows.weights).mean()
    loss.backward()
    gradients: list[Tensor] = []
    for module in network.mlp:
        if isinstance(module, torch.nn.Linear):
            assert module.weight.grad is not None
            gradients.append(module.weight.grad.T)
            if module.bias is not None:
                gradients.append(module.bias.grad)
        elif isinstance(module, torch.nn.BatchNorm1d):
            gradients += [module.weight.grad, module.bias.grad]
    assert network.embedding.weight.grad is not None
    return float(loss.detach()), network.embedding.weight.grad, gradients


@settings(max_examples=25, deadline=None)
@given(
    widths=st.lists(
        st.lists(st.integers(1, 9), min_size=2, max_size=2).map(tuple), min_size=1, max_size=3, unique=True
    ),
    values=st.booleans(),
    seed=st.integers(0, 1000),
    task=st.sampled_from(TASKS),
    weights=st.booleans(),
    knots=st.sampled_from([None, KNOTS]),
)
def test_gradients_are_those_of_autograd(
    widths: list[tuple[int, ...]], values: bool, seed: int, task: Task, weights: bool, knots: Knots | None
) -> None:
    rows = made_rows(40, seed, values, task, weights, knots)
    layouts = [layout(*one, outputs=CLASSES if task == "multiclass" else 1, knots=knots) for one in widths]
    stack = stack_of(layouts, rows, task)
    before = [stack.training(place).weights.copy() for place in range(len(layouts))]
    losses, table = stack._backward(rows)
    gradients = Weights({**stack._state.weights.vectors, TABLE: table, MLP: stack._gradient})
    for place, one in enumerate(layouts):
        loss, embedding, expected = by_autograd(network_of(one, before[place]), rows, task)
        own = unstack(gradients, stack._layout, place, one)
        assert float(losses[place]) == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(one.table(own[TABLE]), embedding, rtol=1e-3, atol=1e-6)
        flat = torch.cat([gradient.reshape(-1) for gradient in expected])
        torch.testing.assert_close(own[MLP], flat, rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("knots", [None, KNOTS])
def test_predictions_are_those_of_the_reference_network(task: Task, knots: Knots | None) -> None:
    rows = made_rows(300, 3, values=True, task=task, knots=knots)
    outputs = CLASSES if task == "multiclass" else 1
    first, second = (layout(*widths, outputs=outputs, knots=knots) for widths in ((7, 5), (3, 8)))
    for layouts in ([first], [first, second]):
        stack = stack_of(layouts, rows, task, batch=64)
        stack.train_epoch(1, lambda share: True)
        predictions = stack.predict(rows)
        assert predictions is not None
        for place, one in enumerate(layouts):
            network = network_of(one, stack.averaged(place)).eval()
            with torch.no_grad():
                torch.testing.assert_close(predictions[place], apply(network, rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("average", [0.0, 2.0])
def test_knots_keep_to_lines_as_if_both_were_trained_apart(average: float) -> None:
    """Against PyTorch's Adam on slopes and differences of their own, of which only these have an L2 weight."""
    rows = made_rows(256, 4, knots=KNOTS)
    layouts = [layout(6, 5, knots=KNOTS), layout(3, 4, knots=KNOTS)]
    stack = stack_of(layouts, rows, average=average, embedding_l2=0.5, batch=64)
    starts = [stack.training(place) for place in range(2)]
    apart = []
    for one, start in zip(layouts, starts, strict=True):
        network = network_of(one, start.weights)
        differences = network.embedding.weight.detach().clone().requires_grad_()
        slopes = one.slopes(start.weights[SLOPES])[0].clone().requires_grad_()
        network.embedding = torch.nn.Embedding(IDS, EMBEDDING)
        del network.embedding.weight
        groups = [
            {"params": [differences, slopes], "lr": Options.embedding_rate},
            {"params": list(network.mlp.parameters()), "lr": Options.learning_rate},
        ]
        apart.append((network.train(), differences, slopes, torch.optim.Adam(groups)))
    for number in range(6):
        batch = rows.slice(number % 4 * 64, number % 4 * 64 + 64)
        losses = stack.step(batch)
        for place, (network, differences, slopes, adam) in enumerate(apart):
            lines = slopes[KNOTS.owners] * KNOTS.positions.unsqueeze(-1)
            network.embedding.weight = differences.index_add(0, KNOTS.rows, lines)
            adam.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(apply(network, batch), batch.labels)
            loss.backward()
            assert differences.grad is not None and float(losses[place]) == pytest.approx(float(loss), rel=1e-4)
            differences.grad += 0.5 * differences.detach()
            adam.step()
    for place, (one, (_, differences, slopes, _)) in enumerate(zip(layouts, apart, strict=True)):
        training = stack.training(place)
        lines = slopes[KNOTS.owners] * KNOTS.positions.unsqueeze(-1)
        table = differences.index_add(0, KNOTS.rows, lines).detach()
        torch.testing.assert_close(one.slopes(training.weights[SLOPES])[0], slopes.detach(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one.table(training.weights[TABLE]), table, rtol=1e-3, atol=2e-4)
        if average == 0.0:
            # What validation sees has followed its lines.
            torch.testing.assert_close(training.average[TABLE], training.weights[TABLE])


def test_knots_are_laid_on_their_lines_once() -> None:
    rows, one = made_rows(256, 4, knots=KNOTS), layout(6, 5, knots=KNOTS)
    weights = initial(one, 1)
    start = weights[TABLE].clone()
    # A stack that gave up before its first batch leaves them as they were.
    begun = stack_of([one], rows).training(0)
    assert begun.steps == 0 and torch.equal(begun.weights[TABLE], initial(one, derived_seed(1, "6-5"))[TABLE])
    assert float(weights[SLOPES].abs().max()) > SLOPE_STD
    stack = MlpStack([one], [Training.begin(weights)], rows, Options(embedding_rate=1e-8), 1, ["a"])
    for _ in range(3):
        stack.step(rows)
    lines = one.slopes(weights[SLOPES])[0][KNOTS.owners] * KNOTS.positions.unsqueeze(-1)
    moved = (stack.training(0).weights[TABLE] - start).view(IDS, EMBEDDING)
    torch.testing.assert_close(moved[KNOTS.rows], lines, atol=1e-5, rtol=0.0)
    assert not moved[[place for place in range(IDS) if place not in KNOTS.rows.tolist()]].abs().gt(1e-6).any()


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3, "decay": 0.5}, {"weight_decay": 0.5, "average": 0.0}])
def test_candidates_learn_the_same_alone_and_together(options: dict[str, float]) -> None:
    rows, held = made_rows(500, 1), made_rows(200, 2)
    layouts = [layout(8, 4), layout(3, 6), layout(5, 5)]
    together = stack_of(layouts, rows, batch=64, **options)
    for epoch in (1, 2):
        losses = together.train_epoch(epoch, lambda share: True)
    predictions = together.predict(held)
    assert predictions is not None
    for place, one in enumerate(layouts):
        alone = stack_of([one], rows, batch=64, **options)
        for epoch in (1, 2):
            loss = alone.train_epoch(epoch, lambda share: True)
        expected = alone.predict(held)
        assert expected is not None
        assert float(loss[0]) == pytest.approx(float(losses[place]), rel=1e-4)
        torch.testing.assert_close(predictions[place], expected[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_statistics_of_batches_are_remembered_where_weights_are_not_averaged(average: float) -> None:
    rows = made_rows(640, 1)
    stack = stack_of([layout(8, 4)], rows, batch=64, average=average, learning_rate=1e-8, embedding_rate=1e-8)
    stack.train_epoch(1, lambda share: True)
    seen = []
    for start in range(0, 640, 64):
        stack.step(rows.slice(start, start + 64))
        seen.append(stack._state.weights["stats"].clone())
    averaged = stack.averaged(0)["stats"]
    spread = torch.stack(seen).std(0)
    from_mean = (averaged - torch.stack(seen).mean(0)).abs()
    # Of ten batches the mean has a third of one batch's deviation.
    assert float(from_mean.mean()) < 0.6 * float(spread.mean())
    if average == 0.0:
        torch.testing.assert_close(stack.averaged(0)["mlp"], stack._state.weights["mlp"])


def test_padding_stays_zero_and_a_candidate_moves_between_stacks_unchanged() -> None:
    rows = made_rows(200, 1)
    layouts = [layout(8, 4), layout(3, 6)]
    stack = stack_of(layouts, rows, batch=64)
    stack.train_epoch(1, lambda share: True)
    wide = stack._layout.mlp(stack._state.weights[MLP]).hidden
    assert not wide[0].weight[1, :, 3:].any() and not wide[1].weight[1, 3:].any() and not wide[1].weight[0, :, 4:].any()
    moved = stack.training(1)
    alone = MlpStack([layouts[1]], [moved], rows, Options(batch=64, dropout=0.0), 1, ["3-6"])
    assert moved.steps == stack.training(0).steps == batches_of(200, Options(batch=64))
    held = made_rows(50, 2)
    torch.testing.assert_close(alone.predict(held)[0], stack.predict(held)[1], rtol=1e-4, atol=1e-5)  # type: ignore[index]


def test_a_candidate_that_diverges_leaves_the_others_alone() -> None:
    rows = made_rows(200, 1)
    layouts = [layout(4, 4), layout(5, 5)]
    stack = stack_of(layouts, rows, batch=64)
    stack._layout.mlp(stack._state.weights[MLP]).hidden[0].weight[0].fill_(float("nan"))
    losses = stack.train_epoch(1, lambda share: True)
    assert not np.isfinite(losses[0]) and np.isfinite(losses[1])
    assert np.isfinite(stack.predict(rows)[1]).all()  # type: ignore[index]


def test_dropout_drops_the_share_asked_for_and_keeps_the_mean() -> None:
    stack = stack_of([layout(400, 400)], made_rows(64, 1), dropout=0.25)
    hidden = torch.ones(1000, 400)
    stack._drop(hidden, 0)
    assert float((hidden == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(hidden.mean()) == pytest.approx(1.0, abs=0.01)


def test_an_epoch_that_is_cut_says_how_far_it_came() -> None:
    rows = made_rows(1000, 1)
    stack = stack_of([layout(4, 4)], rows, batch=100)
    seen: list[float] = []

    def keep_going(share: float) -> bool:
        seen.append(share)
        return share < 0.45

    stack.train_epoch(1, keep_going)
    assert seen[-1] == pytest.approx(0.5, abs=0.07) and stack.training(0).steps == len(seen)


@given(rows=st.integers(2, 10_000), batch=st.integers(2, 4096))
def test_batches_hold_at_most_what_was_asked_and_never_a_single_row(rows: int, batch: int) -> None:
    count = batches_of(rows, Options(batch=batch))
    sizes = [rows * (n + 1) // count - rows * n // count for n in range(count)]
    assert sum(sizes) == rows and max(sizes) <= max(batch, 2)
    assert min(sizes) >= 2 or rows < 4 or batch < 4


def test_few_rows_have_so_many_batches_as_is_said() -> None:
    assert batches_of(6_400, Options()) == 64
    assert batches_of(6_400, Options(least_batches=16)) == 16
    assert batches_of(6_400, Options(least_batches=1)) == 7


def test_the_average_forgets_its_start_soon_and_then_slowly() -> None:
    assert average_decay(1, 100.0) == pytest.approx(2 / 11)
    assert average_decay(10_000, 100.0) == pytest.approx(0.99)
    assert average_decay(5, 0.0) == 0.0


def test_the_epochs_of_a_very_large_table_make_one_pass_together() -> None:
    orders = [order_of_epoch(5000, epoch, 1, Options(epoch_rows=1024)) for epoch in range(1, 11)]
    first, again = orders[:5], orders[5:]
    for part in (first, again):
        assert [len(order) for order in part] == [1000] * 5
        assert torch.cat(part).sort().values.tolist() == list(range(5000))
    assert not torch.equal(first[0], again[0])
    stack = stack_of([layout(4, 4)], made_rows(5000, 0), epoch_rows=1024)
    assert stack.batches == batches_of(5000, Options(epoch_rows=1024)) == 16
