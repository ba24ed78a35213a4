"""Weight sharing: a super-network and its parts, what is kept of it, and a search that pays for both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks._tabular_mlp import TabularMlp
from tests.bench.made_up import EPOCHS, RECORDED, Scored, made_up, quality
from trails.bench.baselines.super_network import SuperNetwork, evaluate, share
from trails.bench.baselines.weight_sharing import FILE, Shared, by_index, shared_weights, weight_sharing
from trails.bench.plan import sample
from trails.bench.protocol import Protocol
from trails.bench.trainer import RecordedTrainer
from trails.errors import InvalidInput, UnusableData
from trails.family.networks import Shape
from trails.space import parse_space
from trails.training.rows import EncodedRows

CHOICES = ((4, 8), (4, 8))


def some_rows(count: int, seed: int = 0) -> EncodedRows:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 5, (count, 3), generator=generator) + torch.tensor([0, 5, 10])
    labels = (torch.rand(count, generator=generator) < 0.5).float()
    return EncodedRows(ids.int(), None, labels, labels.numpy() > 0.5)


def shared(evaluated: int, noise: float = 0.0, digest: str = "0") -> Shared:
    """What a super-network would say that knows the truth but for noise."""
    space = parse_space("mlp3x10")
    true = np.array([quality(space.architecture(index)) for index in sample(space.size, evaluated)])
    auc = (true + np.random.default_rng(0).normal(0.0, noise, evaluated)).astype(np.float32)
    seconds = np.full(evaluated, 0.5, dtype=np.float32)
    return Shared(digest, 3, 20.0, (0.6, 0.5, 0.4), np.arange(evaluated, dtype=np.int32), auc, seconds)


@pytest.mark.parametrize("design", [(8, 8), (4, 8), (8, 4)])
def test_a_part_is_the_network_of_its_own_widths(design: tuple[int, int]) -> None:
    super_network = SuperNetwork(CHOICES, Shape(15, 3, 2), seed=1)
    own = TabularMlp(15, 3, design, embedding=2)
    layers = [module for module in own.mlp if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        own.embedding.weight.copy_(super_network.table)
        before = 6
        for layer, matrix in zip(layers, super_network.matrices, strict=True):
            layer.weight.copy_(matrix[: layer.out_features, :before])
            before = layer.out_features
        layers[-1].bias.copy_(super_network.bias)
    rows = some_rows(64)
    found, statistics = super_network.forward(rows, design)
    assert found.detach().numpy() == pytest.approx(own(rows.ids).detach().numpy(), abs=1e-5)
    # With given statistics a row is predicted as it was among the others.
    alone, _ = super_network.forward(rows.slice(0, 1), design, statistics)
    assert float(alone.detach()) == pytest.approx(float(found[0].detach()), abs=1e-5)


def test_what_a_part_does_not_reach_gets_no_gradient() -> None:
    network = SuperNetwork(CHOICES, Shape(15, 3, 2), seed=1)
    logits, _ = network.forward(some_rows(64), (4, 4))
    gradients = torch.autograd.grad(logits.square().sum(), network.weights)
    first, second = gradients[1], gradients[2]
    assert first[:4].abs().sum() > 0.0 and first[4:].abs().sum() == 0.0
    assert second[:4, :4].abs().sum() > 0.0 and second[4:].abs().sum() == second[:, 4:].abs().sum() == 0.0


def test_a_super_network_learns_and_its_parts_predict(protocol: Protocol) -> None:
    learnt = share(protocol, 6, epochs=12)
    begun = share(protocol, 6, epochs=1, rows=100)
    assert learnt.losses[-1] < 0.9 * learnt.losses[0]
    assert learnt.valid_auc.mean() > max(0.8, begun.valid_auc.mean())
    assert learnt.training_seconds > 0.0 and (learnt.seconds > 0.0).all()
    assert (learnt.valid_auc == share(protocol, 6, epochs=12).valid_auc).all(), "a seed fixes it"


def test_an_evaluation_measures_its_own_statistics() -> None:
    network = SuperNetwork(CHOICES, Shape(15, 3, 2), seed=1)
    rows = some_rows(200, seed=3)
    once = evaluate(network, (4, 8), some_rows(300), rows)
    network.forward(some_rows(100, seed=9), (8, 8))
    assert evaluate(network, (4, 8), some_rows(300), rows) == once


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    kept = shared(7)
    assert Shared.read(tmp_path) is None
    kept.write(tmp_path)
    found = Shared.read(tmp_path)
    assert found is not None and found.losses == kept.losses and found.training_seconds == 20.0
    assert (found.place == kept.place).all() and (found.valid_auc == kept.valid_auc).all()


def test_a_damaged_file_and_one_of_other_rows_are_refused(tmp_path: Path) -> None:
    trainer = RecordedTrainer(made_up(tmp_path, recorded=5))
    with pytest.raises(InvalidInput, match="no shared weights") as raised:
        shared_weights(trainer)
    assert "weight_sharing" in (raised.value.hint or "")
    shared(5, digest="1").write(tmp_path)
    with pytest.raises(InvalidInput, match="other rows"):
        shared_weights(trainer)
    (tmp_path / FILE).write_bytes(b"PAR1 nothing")
    with pytest.raises(UnusableData, match="damaged"):
        shared_weights(trainer)
    (tmp_path / FILE).write_bytes((tmp_path / "setting.json").read_bytes())
    with pytest.raises(UnusableData):
        shared_weights(trainer)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    folder = tmp_path_factory.mktemp("shared")
    found = made_up(folder)
    shared(300, noise=0.005).write(folder)
    return found


def test_a_search_pays_for_the_super_network_every_evaluation_and_one_training(table: Scored) -> None:
    trainer = RecordedTrainer(table)
    weight_sharing(trainer, 4, EPOCHS, evaluated=30)
    assert trainer.spent == pytest.approx(20.0 + 30 * 0.5 + EPOCHS)
    assert trainer.epochs == EPOCHS


def test_the_more_parts_are_compared_the_better_the_found_one(table: Scored) -> None:
    def found(evaluated: int) -> float:
        aucs = []
        for seed in range(10):
            trainer = RecordedTrainer(table)
            weight_sharing(trainer, seed, EPOCHS, evaluated=evaluated)
            aucs.append(trainer.trajectory.best().valid_auc)
        return float(np.mean(aucs))

    assert found(200) > found(10) > found(1)


@pytest.mark.parametrize("budget", [10.0, 25.0, 36.5])
def test_a_search_keeps_its_budget(budget: float, table: Scored) -> None:
    trainer = RecordedTrainer(table, budget=budget)
    weight_sharing(trainer, 4, EPOCHS, evaluated=30)
    assert trainer.spent == budget
    assert trainer.epochs == max(0, int(budget - 35.0))


def test_evaluations_are_found_by_architecture(table: Scored) -> None:
    trainer = RecordedTrainer(table)
    rows = by_index(trainer, shared_weights(trainer))
    assert len(rows) == 300 < RECORDED == trainer.space.size
    for index, row in list(rows.items())[::50]:
        assert trainer.space.recorded[index] == sample(1000, 300)[row]
