"""A second family, known to this file alone: small residual networks trained with autograd, through whole runs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.refinement.backend import PYTHON_ROOT, Event, Table, memfd
from tests.refinement.test_stack import KNOTS, layout, made_rows, network_of
from trails import space
from trails.errors import InvalidInput
from trails.family import MLP, Design, get_family, register_family, registry
from trails.family.autograd import AutogradNetworks, Dropout
from trails.family.mlp.layout import initial
from trails.family.mlp.stack import MlpStack
from trails.family.modules import apply
from trails.family.networks import ModelFacts, Networks, Shape, Work
from trails.family.scoring import Scoring
from trails.filtering import score_pool
from trails.model import operations
from trails.model.store import Model
from trails.refinement import checkpoint, run
from trails.refinement.costs import Costs, Seconds, work_of
from trails.refinement.dataset import Dataset, prepare
from trails.refinement.export import model_of
from trails.refinement.metrics import auc
from trails.refinement.protocol import Events, Profile, Refine, Setting, parse_request
from trails.refinement.timings import Timings
from trails.refinement.trial import Trial
from trails.space import ProductSpace
from trails.table.columns import Columns
from trails.table.target import TASKS, Task
from trails.tfmem import ScoringSetting, parse_tfmems
from trails.training.options import Options
from trails.training.weights import TABLE, Training, derived_seed


class ResidualMlp(nn.Module):
    """Blocks whose output is added to their input."""

    def __init__(self, shape: Shape, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.ids, shape.embedding)
        self.first = nn.Linear(shape.inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), Dropout(dropout))
            for _ in range(blocks)
        )
        self.last = nn.Linear(width, shape.outputs)

    def forward(self, ids: Tensor, values: Tensor | None) -> Tensor:
        embedded = self.embedding(ids)
        if values is not None:
            embedded = embedded * values.unsqueeze(-1)
        hidden = torch.relu(self.first(embedded.flatten(1)))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        outputs: Tensor = self.last(hidden)
        return outputs


class ResidualNetworks(AutogradNetworks):
    def build(self, shape: Shape, design: Design, dropout: float) -> nn.Module:
        width, blocks = design
        return ResidualMlp(shape, width, blocks, dropout)

    def work(self, shape: Shape, design: Design) -> Work:
        width, blocks = design
        products = width * (shape.inputs + blocks * width + 1)
        return Work(products, width * (blocks + 1), shape.inputs, products + shape.ids * shape.embedding)


class ResidualScoring(Scoring):
    def parameters(self, design: Design, inputs: int) -> int:
        width, blocks = design
        return (inputs + 1) * width + blocks * (width + 2) * width + width + 1

    def flops(self, design: Design, inputs: int) -> int:
        width, blocks = design
        return 2 * width * (inputs + blocks * width + 1)


class Residual:
    """A design is the width and the number of blocks: ``16x2``."""

    name = "residual"
    scoring: Scoring = ResidualScoring()
    networks: Networks[Any] = ResidualNetworks()

    def parse(self, text: str) -> Design:
        width, _, blocks = text.partition("x")
        if not (width.isdigit() and blocks.isdigit()):
            raise InvalidInput(f"'{text}' is no residual network")
        return int(width), int(blocks)

    def format(self, design: Design) -> str:
        return "x".join(map(str, design))


RESIDUAL = Residual()
SPACE = ProductSpace(((8, 16, 32), (1, 2, 3)), RESIDUAL, "residual3x3")
CANDIDATES = [("32x2", 9.0), ("16x3", 8.0), ("16x1", 7.0), ("8x2", 6.0)]


@pytest.fixture(autouse=True)
def residual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The family and its space are there for the test."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    monkeypatch.setattr(space.registry, "_SPACES", dict(space.registry._SPACES))
    register_family(RESIDUAL)
    space.register_space(SPACE)
    yield


@pytest.fixture(scope="module")
def data(train: Table, validation: Table) -> Dataset:
    columns = [Columns.from_buffer(*table.pack()) for table in (train, validation)]
    return prepare(columns[0], columns[1], "label", 1, torch.device("cpu"))


def test_filtering_ranks_its_space_by_what_it_counts() -> None:
    setting = ScoringSetting(inputs=20, seed=1)
    pool = score_pool(SPACE, parse_tfmems("params"), setting)
    best = SPACE.format(SPACE.architecture(int(pool.indices[pool.best(1)[0]])))
    assert (best, len(pool.indices)) == ("32x3", SPACE.size)
    with pytest.raises(InvalidInput, match="metric 'synflow' cannot score networks of family 'residual'"):
        score_pool(SPACE, parse_tfmems("synflow"), setting)


def test_its_counts_are_those_of_the_module() -> None:
    shape = Shape(ids=7, fields=4, embedding=5)
    for design in map(SPACE.architecture, range(SPACE.size)):
        module = ResidualMlp(shape, design[0], design[1], 0.0)
        own = sum(p.numel() for name, p in module.named_parameters() if not name.startswith("embedding"))
        assert SPACE.parameters(design, shape.inputs) == own


def line(**changes: Any) -> str:
    fields = {
        "request": "refine",
        "space": SPACE.name,
        "options": {"eta": 2, "max_epochs": 4, "patience": 9},
        "k": 4,
        "u": 1,
        "score_seconds": 0.0,
        "scored": 4,
        "candidates": CANDIDATES,
    }
    return json.dumps({**fields, **changes})


@dataclass(frozen=True)
class Ran:
    events: list[Event]
    checkpoints: list[bytes]
    trials: list[Trial]

    @property
    def leaderboard(self) -> list[Mapping[str, Any]]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in self.events[-1]["leaderboard"]]

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]


def refined(data: Dataset, budget: float = math.inf, threads: int = 1, models: bool = False, **changes: Any) -> Ran:
    """A run in this process."""
    request = parse_request(line(**changes))
    assert isinstance(request, Refine)
    files = [memfd(b"") for _ in range(4)]
    events: list[Event] = []
    saved: list[bytes] = []

    def write(written: bytes) -> None:
        events.append(json.loads(written))
        if events[-1]["event"] == "checkpoint":
            saved.append(os.pread(files[events[-1]["which"]], events[-1]["length"], 0))

    now = time.monotonic()
    kept = tuple(files[2:]) if models else ()
    setting = Setting("label", 1, now, budget, now + budget, {"rows": 6000, "columns": [0] * 5}, None, "cpu", threads)
    setting = replace(setting, checkpoints=tuple(files[:2]), models=kept)
    try:
        trials = run.refine(setting, request, data, [torch.device("cpu")], Events(write), Timings(now))
    finally:
        for file in files:
            os.close(file)
    return Ran(events, saved, trials)


def test_a_second_family_is_selected_among_and_learns(data: Dataset) -> None:
    ran = refined(data)
    assert [event["candidates"] for event in ran.named("rung")] == [4, 2, 1]
    assert sorted(row["epochs"] for row in ran.leaderboard) == [1, 1, 2, 4]
    assert {row["architecture"] for row in ran.leaderboard} == {name for name, _ in CANDIDATES}
    winner = ran.trials[0]
    assert winner.best_metric > 0.8 and winner.family is RESIDUAL and winner.best is not None
    again = RESIDUAL.networks.predict(winner.layout, winner.best, data.validation).numpy()
    assert np.mean((again > 0) == data.validation.truth) > 0.7


def test_a_fixed_plan_gives_the_same_result_whoever_computes(data: Dataset) -> None:
    first, again, threads = refined(data), refined(data), refined(data, threads=2)
    assert first.leaderboard == again.leaderboard == threads.leaderboard
    options = {"eta": 2, "max_epochs": 4, "patience": 9, "dropout": 0.2}
    assert refined(data, options=options).leaderboard != first.leaderboard, "dropout is at work"


def test_a_run_with_a_budget_trains_its_winner_further(data: Dataset) -> None:
    ran = refined(data, budget=20.0, k=None, u=None, options={"max_epochs": 6})
    assert ran.events[-1]["complete"] and max(row["epochs"] for row in ran.leaderboard) > 3


@pytest.mark.parametrize("rung", [0, 1])
def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(data: Dataset, rung: int) -> None:
    whole = refined(data)
    blob = whole.checkpoints[rung]
    read = checkpoint.from_bytes(blob)
    assert checkpoint.to_bytes(read) == blob
    assert [trial.design for trial in read.survivors] == [RESIDUAL.parse(t.architecture) for t in read.survivors]
    file = memfd(blob)
    resumed = refined(data, candidates=[], resume={"fd": file, "length": len(blob)})
    os.close(file)
    assert resumed.leaderboard == whole.leaderboard
    assert [event["rung"] for event in resumed.named("rung")] == list(range(rung + 1, 3))


def test_hyperband_goes_on_with_architectures_that_the_family_reads(data: Dataset) -> None:
    plan: Mapping[str, Any] = {"refinement": "hyperband", "u": None}
    whole = refined(data, **plan)
    blob = whole.checkpoints[0]
    file = memfd(blob)
    resumed = refined(data, candidates=[], resume={"fd": file, "length": len(blob)}, **plan)
    os.close(file)
    assert resumed.leaderboard == whole.leaderboard


def test_a_checkpoint_needs_its_family(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = refined(data).checkpoints[0]
    file = memfd(blob)
    try:
        with pytest.raises(InvalidInput, match="not made for these rows"):
            refined(data, space="mlp4x20", candidates=[], resume={"fd": file, "length": len(blob)})
    finally:
        os.close(file)
    monkeypatch.delitem(registry._FAMILIES, RESIDUAL.name)
    with pytest.raises(InvalidInput, match="no family of networks 'residual'") as refused:
        checkpoint.from_bytes(blob)
    assert refused.value.hint == "Start a new run."


def test_requests_are_read_by_the_family_of_their_space() -> None:
    request = parse_request(line())
    assert request.family is RESIDUAL and request.candidates[1].design == (16, 3)
    profile = parse_request(line(request="profile", architectures=["4x1"]))
    assert isinstance(profile, Profile) and profile.candidates[0].design == (4, 1)
    mlp = parse_request(line(space="mlp4x20", candidates=[["32-8", 1.0]]))
    assert mlp.family is MLP and mlp.candidates[0].design == (32, 8)
    for changes, told in (
        ({"space": "cells"}, "no architecture space 'cells'"),
        ({"space": "mlp4x20"}, "'32x2' is not an architecture"),
        ({"candidates": [["32-8", 1.0]]}, "'32-8' is no residual network"),
    ):
        with pytest.raises(InvalidInput, match=told):
            parse_request(line(**changes))


def test_a_profile_measures_it(data: Dataset) -> None:
    request = parse_request(line(request="profile", architectures=["256x4", "8x1"]))
    assert isinstance(request, Profile)
    events: list[bytes] = []
    setting = Setting("label", 1, 0.0, math.inf, math.inf, {}, None, "cpu", 1)
    wide, narrow = run.profile(setting, request, data, [torch.device("cpu")], Events(events.append))
    assert wide["parameters"] > narrow["parameters"] and wide["bytes"] > narrow["bytes"]
    assert wide["seconds_alone"] > narrow["seconds_alone"] > 0


def test_costs_ask_the_family() -> None:
    shape = Shape(100, 4, 10)
    costs = Costs(work_of(RESIDUAL, shape), rows=1000, batches=10, profiled=(8, 1), seconds=Seconds(1.0, 0.1))
    assert costs.of((8, 1)) == Seconds(pytest.approx(1.0), pytest.approx(0.1))  # type: ignore[arg-type]
    assert costs.of((8, 3)).training > costs.of((8, 2)).training > 1.0


def test_what_a_stored_model_cannot_say_is_told_and_costs_nothing_else(data: Dataset) -> None:
    ran = refined(data, models=True)
    assert "cannot be kept as a model" in ran.events[-1]["unkept"] and len(ran.leaderboard) == 4


class KeptNetworks(ResidualNetworks):
    """Says as well what a stored model computes: every batch's normalisation is folded into the product before it."""

    def model(self, module: nn.Module, facts: ModelFacts) -> Model:
        assert isinstance(module, ResidualMlp)
        computed = [operations.Linear(0, *_affine(module.first)), operations.Relu(1)]
        for block in module.blocks:
            carried = len(computed)
            linear, norm = block[0], block[1]
            factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            weight, bias = linear.weight.T * factor, norm.bias - norm.running_mean * factor
            computed.append(operations.Linear(carried, _array(weight), _array(bias)))
            computed += [operations.Relu(carried + 1), operations.Add((carried, carried + 2))]
        computed.append(operations.Linear(len(computed), *_affine(module.last)))
        table = _array(module.embedding.weight)
        known = facts.architecture, facts.target, facts.encoder
        return Model(*known, table, tuple(computed), facts.metrics, facts.training)  # type: ignore[arg-type]


def _array(tensor: Tensor) -> Any:
    return np.ascontiguousarray(tensor.detach().numpy())


def _affine(layer: nn.Linear) -> tuple[Any, Any]:
    return _array(layer.weight.T), _array(layer.bias)


def test_its_model_predicts_what_it_was_ranked_by(
    data: Dataset, validation: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RESIDUAL, "networks", KeptNetworks())
    ran = refined(data, models=True)
    assert ran.events[-1]["unkept"] is None and ran.named("model")
    winner = ran.trials[0]
    model = Model.from_bytes(model_of(winner, data).to_bytes())
    assert model.architecture == winner.architecture
    outputs = model.outputs(Columns.from_buffer(*validation.pack()))
    assert winner.best is not None
    expected = RESIDUAL.networks.predict(winner.layout, winner.best, data.validation).numpy()
    np.testing.assert_allclose(outputs[:, 0], expected, rtol=1e-4, atol=1e-5)
    assert auc(data.validation.truth, outputs[:, 0]) == pytest.approx(winner.best_metric, abs=1e-4)


def test_there_is_one_family_of_a_name() -> None:
    assert get_family("residual") is RESIDUAL
    with pytest.raises(InvalidInput, match="already"):
        register_family(Residual())


# Autograd against what is written out


class PlainNetworks(AutogradNetworks):
    """MLPs as the first family has them, by autograd."""

    def build(self, shape: Shape, design: Design, dropout: float) -> nn.Module:
        return _Plain(shape, design, dropout)

    def work(self, shape: Shape, design: Design) -> Work:
        return MLP.networks.work(shape, design)

    def decays(self, name: str) -> bool:
        return super().decays(name) and name != "mlp.8.weight"  # that of the outputs


class _Plain(nn.Module):
    def __init__(self, shape: Shape, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.ids, shape.embedding)
        layers: list[nn.Module] = []
        inputs = shape.inputs
        for width in widths:
            layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), Dropout(dropout)]
            inputs = width
        self.mlp = nn.Sequential(*layers, nn.Linear(inputs, shape.outputs))

    def forward(self, ids: Tensor, values: Tensor | None) -> Tensor:
        embedded = self.embedding(ids) if values is None else self.embedding(ids) * values.unsqueeze(-1)
        outputs: Tensor = self.mlp(embedded.flatten(1))
        return outputs


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("options", [{"dropout": 0.0}, {"dropout": 0.3, "decay": 0.5, "weight_decay": 0.5}])
def test_it_trains_as_the_written_out_stack_does(task: Task, options: Mapping[str, float]) -> None:
    rows = made_rows(300, 3, values=True, task=task, weights=True)
    one = layout(7, 5, outputs=5 if task == "multiclass" else 1)
    asked = Options(**{"batch": 64, **options})  # type: ignore[arg-type]
    begun = Training.begin(initial(one, derived_seed(1, "7-5")))
    # The same weights, in the order and the shapes of the modules.
    networks = PlainNetworks()
    own = networks.layout(one.shape, one.design)
    weights = networks.initial(own, 0)
    network = network_of(one, begun.weights)
    views = own.views(weights)
    with torch.no_grad():
        views["embedding.weight"].copy_(network.embedding.weight)
        linear = [module for module in network.mlp if isinstance(module, nn.Linear)]
        for place, module in zip((0, 4, 8), linear, strict=True):
            views[f"mlp.{place}.weight"].copy_(module.weight)
        views["mlp.8.bias"].copy_(linear[-1].bias)
    written = MlpStack([one], [begun], rows, asked, 1, ["7-5"], task)
    ours = networks.stack([own], [Training.begin(weights)], rows, asked, 1, ["7-5"], task)
    for epoch in (1, 2, 3):
        expected, found = (stack.train_epoch(epoch, lambda _: True) for stack in (written, ours))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        ours.training(0).average[TABLE], written.training(0).average[TABLE], rtol=1e-2, atol=1e-4
    )
    assert ours.training(0).steps == written.training(0).steps


def test_networks_learn_the_same_alone_and_one_after_another() -> None:
    rows, networks, shape = made_rows(300, 1), RESIDUAL.networks, Shape(30, 4, 3)
    layouts = [networks.layout(shape, design) for design in ((8, 2), (5, 1))]
    names = ["8x2", "5x1"]

    def begun() -> list[Training]:
        return [Training.begin(networks.initial(one, 7)) for one in layouts]

    asked = Options(batch=64, dropout=0.2)
    together = networks.stack(layouts, begun(), rows, asked, 1, names, "binary")
    losses = together.train_epoch(1, lambda _: True)
    predictions = together.predict(rows)
    assert predictions is not None and predictions.shape == (2, 300)
    for place, training in enumerate(begun()):
        alone = networks.stack([layouts[place]], [training], rows, asked, 1, [names[place]], "binary")
        assert float(alone.train_epoch(1, lambda _: True)[0]) == float(losses[place])
        assert torch.equal(networks.predict(layouts[place], alone.averaged(0), rows), predictions[place])


def test_an_embedding_of_millions_of_rows_is_laid_out_at_once_and_counted() -> None:
    began = time.monotonic()
    made = RESIDUAL.networks.layout(Shape(20_000_000, 4, 10), (8, 1))
    assert time.monotonic() - began < 1.0
    assert made.parameters == 200_000_000 + (4 * 10 + 1) * 8 + 8 * 8 + 2 * 8 + 9
    assert made.sizes["stats"] == 16


def test_parameters_that_nobody_says_how_to_begin_are_refused() -> None:
    class Odd(ResidualNetworks):
        def build(self, shape: Shape, design: Design, dropout: float) -> nn.Module:
            module = super().build(shape, design, dropout)
            module.add_module("odd", nn.Bilinear(2, 2, 1))
            return module

    networks = Odd()
    with pytest.raises(NotImplementedError, match="Bilinear"):
        networks.initial(networks.layout(Shape(5, 2, 2), (4, 1)), 0)


@pytest.mark.parametrize(
    ("look_up", "words"),
    [
        (lambda table, ids: nn.functional.embedding(ids, table.weight), "does not call its embedding"),
        (lambda table, ids: torch.stack([table(field) for field in ids.unbind(1)], 1), "some fields at a time"),
    ],
)
def test_a_module_that_would_lose_what_lies_between_knots_is_refused(
    look_up: Callable[[nn.Embedding, Tensor], Tensor], words: str
) -> None:
    class Own(_Plain):
        def forward(self, ids: Tensor, values: Tensor | None) -> Tensor:
            outputs: Tensor = self.mlp(look_up(self.embedding, ids).flatten(1))
            return outputs

    shape = layout(7, 5, knots=KNOTS).shape
    plain, own = (kind(shape, (7, 5), 0.0).eval() for kind in (_Plain, Own))
    with torch.no_grad():
        # Where nothing lies between, any way to look up is as good.
        assert apply(own, made_rows(30, 1)).shape == (30, 1)
        rows = made_rows(30, 1, knots=KNOTS)
        assert apply(plain, rows).shape == (30, 1)
        with pytest.raises(InvalidInput, match=words) as refused:
            apply(own, rows)
    assert refused.value.hint == "Set the option numbers_as to bins."


def test_a_backend_that_knows_the_families_imports_no_torch() -> None:
    code = "import sys, trails.family, trails.space, trails.refinement.protocol; assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(PYTHON_ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_training_with_autograd_imports_no_compiler() -> None:
    """It takes as long to import as all the rest of PyTorch, and would come off every budget."""
    code = """
import sys, torch
from tests.refinement.test_family import RESIDUAL, Shape, Training, Options, made_rows
networks, rows = RESIDUAL.networks, made_rows(100, 1)
loaded = "torch._dynamo" in sys.modules
one = networks.layout(Shape(30, 4, 3), (8, 1))
stack = networks.stack([one], [Training.begin(networks.initial(one, 1))], rows, Options(), 1, ["8x1"], "binary")
stack.train_epoch(1, lambda _: True); stack.predict(rows)
assert ("torch._dynamo" in sys.modules) == loaded
assert not loaded
"""
    root = PYTHON_ROOT.parent
    environment = {**os.environ, "PYTHONPATH": f"{PYTHON_ROOT}{os.pathsep}{root}"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=root)
