"""How MLPs are trained and used; see `trails.family.networks.Networks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trails.family.design import Design
from trails.family.mlp.counts import multiply_accumulates
from trails.family.mlp.layout import MLP, STATS, MlpLayout, initial
from trails.family.mlp.members import MembersNetworks, array_of, beside_path
from trails.family.mlp.stack import MlpStack, fold, predict_alone
from trails.family.networks import ModelFacts, Networks, Shape, Work
from trails.model.operations import of_layers
from trails.model.store import Model
from trails.table.target import Task
from trails.training.options import Options
from trails.training.rows import EncodedRows
from trails.training.weights import Training, Weights


class MlpNetworks:
    """Embedding, then for every hidden width a product, BatchNorm, ReLU and dropout, then the outputs."""

    most_stacked: int | None = None

    def with_members(self, members: int) -> Networks[Any] | None:
        """MLPs of so many members; see `trails.family.mlp.members`."""
        return MembersNetworks(members)

    def layout(self, shape: Shape, design: Design) -> MlpLayout:
        """Of one network."""
        return MlpLayout(shape, design)

    def work(self, shape: Shape, design: Design) -> Work:
        """What it costs; a single output is counted, which is all that most have."""
        products = multiply_accumulates(design, shape.inputs)
        return Work(products, sum(design), shape.looked_up, products + shape.ids * shape.row)

    def initial(self, layout: MlpLayout, seed: int) -> Weights:
        """Fresh weights on the CPU, from ``seed`` alone; see `trails.family.mlp.layout.initial`."""
        return initial(layout, seed)

    def stack(
        self,
        layouts: Sequence[MlpLayout],
        trainings: Sequence[Training],
        rows: EncodedRows,
        options: Options,
        seed: int,
        names: Sequence[str],
        task: Task,
    ) -> MlpStack:
        """Networks of the same depth ready to train together."""
        return MlpStack(layouts, trainings, rows, options, seed, names, task)

    def predict(self, layout: MlpLayout, weights: Weights, rows: EncodedRows) -> Tensor:
        """What one network's ``weights`` predict: float32 (rows,) or (rows, outputs) on the CPU."""
        return predict_alone(layout, weights, rows)

    def export(self, layout: MlpLayout, weights: Weights, facts: ModelFacts) -> Model:
        """The network with every BatchNorm folded into its layer."""
        mlp = layout.mlp(weights[MLP])
        layers = [*fold(mlp, layout.stats(weights[STATS])), (mlp.weight, mlp.bias)]
        computed = of_layers([(array_of(weight), array_of(bias).reshape(-1)) for weight, bias in layers])
        embedding, computed_all = beside_path(layout, weights, computed)
        return Model(
            facts.architecture,
            facts.target,
            facts.encoder,
            embedding,
            tuple(computed_all),
            facts.metrics,
            facts.training,
        )


NETWORKS = MlpNetworks()
"""They have no state."""
