"""Several members in one network: gradients, what is stored, and when a run trains them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from tests.refinement import backend
from tests.refinement.backend import Table, run
from tests.refinement.test_refit import columns, timed
from trails.family import MLP as FAMILY
from trails.family.mlp.embedded import embedded_rows
from trails.family.mlp.layout import MLP, STATS
from trails.family.mlp.members import MembersLayout, MembersStack, initial_members, predict_together
from trails.family.networks import Shape
from trails.model.store import Model
from trails.refinement import members as stage
from trails.refinement.costs import Seconds
from trails.refinement.dataset import Dataset, prepare
from trails.refinement.export import model_of
from trails.refinement.protocol import Candidate
from trails.refinement.speed import measure_alone
from trails.refinement.trial import EpochResult, Trial
from trails.refinement.workers import Cores, LocalWorker
from trails.table.columns import Columns
from trails.table.target import Task
from trails.training.options import Options, parse_options
from trails.training.weights import TABLE, Training

MEMBERS = 3


def prepared(table: Table, **options: object) -> tuple[Dataset, Options]:
    asked = parse_options({"dropout": 0.0, **options})
    return prepare(columns(table), None, "label", 5, torch.device("cpu"), options=asked), asked


def begun(data: Dataset, options: Options, design: tuple[int, ...] = (7, 5, 3)) -> tuple[MembersLayout, MembersStack]:
    layout = MembersLayout(data.shape(options), design, MEMBERS)
    training = Training.begin(initial_members(layout, 1))
    return layout, MembersStack(layout, training, data.train, options, 1, "a", data.target.task)


def outputs_of(layout: MembersLayout, vectors: dict[str, torch.Tensor], rows: Any) -> torch.Tensor:
    """What each member puts out in training, (members, rows, outputs), with autograd."""
    mlp = layout.mlp(vectors[MLP])
    embedded, direct = embedded_rows(layout.alone.table(vectors[TABLE]), layout.shape, rows)
    hidden = embedded * layout.adapters(vectors[MLP])
    for layer in mlp.hidden:
        products = hidden @ layer.weight
        variance = products.var(-2, keepdim=True, unbiased=False)
        normalised = (products - products.mean(-2, keepdim=True)) * torch.rsqrt(variance + 1e-5)
        hidden = torch.relu(normalised * layer.scale + layer.shift)
    return hidden @ mlp.weight + mlp.bias + (0.0 if direct is None else direct)


@pytest.mark.parametrize("linear_path", [True, False])
def test_gradients_are_those_of_autograd(train: Table, linear_path: bool) -> None:
    data, options = prepared(train, linear_path=linear_path)
    layout, stack = begun(data, options)
    assert stack._lines is not None
    rows = data.train.slice(0, 150)
    with torch.inference_mode():
        stack._lines.begin()
        loss, table_gradient = stack._backward(rows)
    vectors = {name: vector.clone().requires_grad_() for name, vector in stack._state.weights.vectors.items()}
    outputs = outputs_of(layout, vectors, rows).squeeze(-1)
    expected = binary_cross_entropy_with_logits(outputs, rows.labels.expand(MEMBERS, -1))
    torch.autograd.backward([expected])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in ((MLP, stack._gradient), (TABLE, table_gradient)):
        wanted = vectors[name].grad
        assert wanted is not None and torch.allclose(gradient, wanted, atol=1e-6, rtol=1e-4)


def test_members_begin_as_different_networks_of_the_same_matrices(train: Table) -> None:
    data, options = prepared(train)
    layout, _ = begun(data, options)
    first, again, other = (initial_members(layout, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.tensors(), again.tensors(), strict=True))
    assert not torch.equal(first[MLP], other[MLP])
    signs = layout.adapters(first[MLP])
    assert set(signs.unique().tolist()) == {-1.0, 1.0} and not torch.equal(signs[0], signs[1])
    assert sum(layout.sizes.values()) == sum(part.numel() for part in first.tensors())
    assert layout.parameters == layout.sizes[TABLE] + layout.sizes[MLP] and layout.sizes[STATS] == 2 * MEMBERS * 15


@pytest.mark.parametrize("design", [(6,), (7, 5, 3)])
def test_what_is_stored_predicts_what_was_ranked(train: Table, design: tuple[int, ...]) -> None:
    data, options = prepared(train, dropout=0.2)
    trial = Trial.of(FAMILY, Candidate("x", design, None), data.shape(options), 5).with_members(MEMBERS)
    assert trial is not None
    layout = trial.layout
    assert isinstance(layout, MembersLayout)
    stack = trial.networks.stack([layout], [trial.begin()], data.train, options, 5, ["x"], data.target.task)
    losses = [float(stack.train_epoch(epoch, lambda _: True)) for epoch in (1, 2, 3)]
    assert losses[2] < losses[0]
    trial.add(EpochResult("x", 3, losses[2], 0.7, 0.5, 0.0), stack.averaged(0))
    assert trial.best is not None
    ranked = predict_together(layout, trial.best, data.validation).numpy()
    stacked = stack.predict(data.validation)
    assert stacked is not None and np.array_equal(stacked[0].numpy(), ranked)

    model = Model.from_bytes(model_of(trial, data).to_bytes())
    assert model.training["members"] == MEMBERS
    every = columns(train)
    found = model.outputs(every.without("label"))[:, 0]
    held = np.sort(ranked)
    assert np.isin(np.round(held, 3), np.round(np.sort(found), 3)).mean() > 0.95
    matrices = {id(part.weight) for part in model.operations if hasattr(part, "weight")}
    # Of each member the first and the last, and of all together those between.
    assert len(matrices) == 2 * MEMBERS + len(design)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_train(train: Table, task: Task) -> None:
    table = columns(train)
    rng = np.random.default_rng(1)
    label = table["label"]
    made = rng.integers(0, 4, table.rows) if task == "multiclass" else rng.normal(size=table.rows) + label.data
    other = type(label)("label", "int64" if task == "multiclass" else "float64", made)
    every = Columns(table.rows, tuple(other if column.name == "label" else column for column in table))
    data = prepare(every, None, "label", 5, torch.device("cpu"), task=task)
    layout, stack = begun(data, Options())
    losses = [float(stack.train_epoch(epoch, lambda _: True)) for epoch in range(1, 5)]
    assert losses[-1] < losses[0]
    found = stack.predict(data.validation)
    assert found is not None
    wanted = (1, len(data.validation), 4) if task == "multiclass" else (1, len(data.validation))
    assert tuple(found.shape) == wanted and bool(torch.isfinite(found).all())
    if task == "multiclass":
        with torch.no_grad():
            rows = data.train.slice(0, 64)
            logits = outputs_of(layout, dict(stack._state.weights.vectors), rows)
            assert cross_entropy(logits.flatten(0, 1), rows.labels.repeat(MEMBERS)).isfinite()


def test_a_run_trains_them_with_the_time_that_is_left_and_keeps_what_is_better(train: Table) -> None:
    outcome = run(train, None, backend.CANDIDATES[:3], budget=60.0, options={"max_epochs": 4})
    assert {"members", "refit"} <= timed(outcome)
    model = outcome.model
    assert model is not None
    best, kept = outcome.leaderboard[0]["validation_metric"], model.metrics["auc"]
    assert model.architecture == outcome.leaderboard[0]["architecture"]
    if "members" in model.training:
        assert model.training["members"] in (4, 8, 16) and kept > best
    else:
        assert kept == pytest.approx(best, abs=1e-6)


def test_a_fixed_plan_has_them_only_if_it_is_asked_for_and_is_repeatable(train: Table, validation: Table) -> None:
    def of(**options: object) -> backend.Outcome:
        return run(train, validation, backend.CANDIDATES[:2], k=2, u=1, options={"max_epochs": 2, **options})

    alone, asked, again = of(), of(members=5), of(members=5)
    assert "members" not in timed(alone) and "members" in timed(asked)
    metrics = [[row["validation_metric"] for row in outcome.leaderboard] for outcome in (alone, asked)]
    assert metrics[0] == metrics[1], "the leaderboard is of single networks"
    assert asked.model is not None and again.model is not None and alone.model is not None
    assert asked.model.training.get("members") == again.model.training.get("members")
    assert asked.model.metrics == again.model.metrics
    assert asked.model.metrics["auc"] >= alone.model.metrics["auc"] - 1e-6


def test_who_keeps_no_model_trains_none(train: Table) -> None:
    outcome = run(train, None, backend.CANDIDATES[:2], budget=60.0, options={"max_epochs": 2}, models=None)
    assert "members" not in timed(outcome)


def test_one_member_is_none(train: Table) -> None:
    outcome = run(train, None, backend.CANDIDATES[:2], budget=60.0, options={"max_epochs": 2, "members": 1})
    assert "members" not in timed(outcome) and outcome.model is not None
    assert "members" not in outcome.model.training


class Stage:
    """The choice of a number of members: ten seconds are left for eight epochs of a winner of 0.1 s, where members take
    what eight are measured to take, on a line; ``asked`` is how many were measured."""

    def __init__(self, patch: pytest.MonkeyPatch, eight: float, measuring: float = 0.1, room: int = 1 << 40) -> None:
        self.asked: list[int] = []
        self.observed: list[Seconds] = []
        self.one = 0.1

        def measured(worker: Any, trial: Trial, seconds_left: float) -> Seconds:
            self.asked.append(trial.members)
            return Seconds(0.1 + (trial.members - 1) / 7 * (eight - 0.1), 0.0)

        patch.setattr(stage, "measure_alone", measured)
        patch.setattr(stage, "measuring_takes", lambda worker, epoch: measuring)
        patch.setattr(stage, "SLACK", 1.0)
        patch.setattr(stage.memory, "available", lambda device: room)

    def choose(self) -> int | None:
        remaining = SimpleNamespace(
            seconds=lambda: 10.0,
            wall=lambda: 1,
            cost_of=lambda trial: Seconds(self.one * trial.members, 0.0),
            observe_members=self.observed.append,
        )
        winner = Trial.of(FAMILY, Candidate("8-8", (8, 8), None), Shape(20, 3, 4), 1)
        winner.best_epoch = 3
        worker: Any = SimpleNamespace(device=torch.device("cpu"), bytes_of=lambda layout: 10 * layout.members)
        run: Any = SimpleNamespace(remaining=remaining)
        nothing: Any = None
        chosen = stage.Members(winner, Options(), run, nothing, nothing)._chosen(worker, 0.0)
        return None if chosen is None else chosen.members


@pytest.mark.parametrize(
    ("eight", "wanted"), [(0.4, 16), (0.9, 8), (1.6, 4), (30.0, None)], ids=["cheap", "dear", "dearer", "too dear"]
)
def test_their_number_follows_from_what_eight_of_them_are_measured_to_take(
    monkeypatch: pytest.MonkeyPatch, eight: float, wanted: int | None
) -> None:
    choice = Stage(monkeypatch, eight)
    assert choice.choose() == wanted and choice.asked == [8], "once is enough"
    if wanted is not None:
        assert choice.observed[0].training == pytest.approx(0.1 + (wanted - 1) / 7 * (eight - 0.1))


def test_nothing_is_measured_that_takes_too_long_or_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    short = Stage(monkeypatch, 0.4)
    short.one = 1.3
    assert short.choose() is None and not short.asked, "one network takes longer than what is left"
    slow = Stage(monkeypatch, 0.4, measuring=1.0)
    assert slow.choose() == 8 and not slow.asked, "what is predicted decides: eight times as long for eight"
    small = Stage(monkeypatch, 0.4, room=16_000)
    assert small.choose() == 4 and small.asked == [4], "no more are built than there is memory for"


def test_what_members_take_is_a_share_of_the_machine(train: Table) -> None:
    """A place that has one of eight parts of the machine uses an eighth of its seconds."""
    data, options = prepared(train)
    trial = Trial.of(FAMILY, Candidate("16-8", (16, 8), None), data.shape(options), 5).with_members(MEMBERS)
    assert trial is not None
    seconds = [
        min(
            measure_alone(LocalWorker(data, options, 5, Cores(cores, repeatable)), trial, 10.0).training
            for _ in range(3)
        )
        for cores, repeatable in ((1, False), (8, True))
    ]
    assert 3.0 < seconds[0] / seconds[1] < 20.0
