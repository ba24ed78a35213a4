"""The half of a family that is trained, in the refinement process: what its networks are made of, cost and become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trails.family.design import Design

if TYPE_CHECKING:
    from torch import Tensor

    from trails.model.store import Model
    from trails.table.encoder import Encoder
    from trails.table.target import Target, Task
    from trails.training.options import Options
    from trails.training.rows import EncodedRows
    from trails.training.weights import Training, Weights


@dataclass(frozen=True)
class Shape:
    """What the table asks of every network.

    Args:
        ids: Rows of the embedding table, over all fields together.
        fields: Of a row.
        embedding: Size of a category's vector.
        outputs: Numbers that are predicted for a row.
        interpolated: Fields whose vectors lie between two knots.
        linear_path: Whether every embedding row has, behind its vector, a weight for each output, which is added to
            what the network puts out. Families that have no such path leave it out.
    """

    ids: int
    fields: int
    embedding: int
    outputs: int = 1
    interpolated: int = 0
    linear_path: bool = False

    @property
    def row(self) -> int:
        """Numbers of an embedding row in training: of its vector and of the linear path."""
        return self.embedding + (self.outputs if self.linear_path else 0)

    @property
    def looked_up(self) -> int:
        """Numbers of the embedding rows that a row of the data has."""
        return self.fields * self.row

    @property
    def inputs(self) -> int:
        """Numbers of an embedded row."""
        return self.fields * self.embedding


@dataclass(frozen=True)
class Work:
    """What a network's training and prediction cost, for `trails.refinement.costs`.

    Args:
        products: Multiply-accumulates of one row forward, without embedding and normalisation.
        activations: Numbers of one row that pass a normalisation or an activation.
        inputs: Numbers of an embedded row.
        parameters: Numbers that the optimiser changes in every step, about.
    """

    products: int
    activations: int
    inputs: int
    parameters: int


class Layout(Protocol):
    """Where a network's numbers lie; equal if two networks are made alike."""

    @property
    def shape(self) -> Shape:
        """What the table asks of it."""

    @property
    def design(self) -> Design:
        """What it is made from."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Numbers of every flat vector that its `Weights` have, by name and in their order."""

    @property
    def parameters(self) -> int:
        """Trained numbers: statistics of batches are none."""

    @property
    def stored(self) -> int:
        """Numbers of a model that is kept, about."""

    def training_bytes(self, rows: int) -> int:
        """About what a network in training needs: its numbers, the optimiser's, and what batches of ``rows`` leave."""


class Stack(Protocol):
    """Networks of the same age that train together; see `trails.training.stack.TrainingStack`.

    Attributes:
        batches: Of an epoch.
    """

    batches: int

    def __len__(self) -> int:
        """Networks in it."""

    def train_epoch(self, epoch: int, keep_going: Callable[[float], bool]) -> Tensor:
        """Pass once over the rows; float64 (networks,): mean losses of the rows seen, each before its step.

        Args:
            epoch: Its number, from 1.
            keep_going: Called after every batch with the share of the epoch done; False ends it.
        """

    def step(self, rows: EncodedRows, rate: float = 1.0) -> Tensor:
        """One optimiser step; the mean losses (networks,) before it."""

    def predict(self, rows: EncodedRows, keep_going: Callable[[], bool] = lambda: True) -> Tensor | None:
        """What the averaged weights predict: logits, or standardised values.

        Args:
            rows: On the stack's device.
            keep_going: Called between chunks of rows; False gives up.

        Returns:
            float32 (networks, rows), or (networks, rows, outputs) of several, on the CPU; None if given up.
        """

    def training(self, place: int) -> Training:
        """What the network at ``place`` goes on from, elsewhere or later."""

    def averaged(self, place: int) -> Weights:
        """A copy of the averaged weights of the network at ``place``."""


@dataclass(frozen=True)
class ModelFacts:
    """What a stored model holds beside its network.

    Args:
        architecture: As its space writes it.
        target: What is predicted.
        encoder: From columns to ids.
        metrics: Of the validation rows.
        training: What else is worth knowing.
    """

    architecture: str
    target: Target
    encoder: Encoder
    metrics: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


L = TypeVar("L", bound=Layout)
"""What a family's own layouts are."""


class Networks(Protocol[L]):
    """How the networks of a family are laid out, trained and used.

    Attributes:
        most_stacked: Networks that may be trained together; None for as many as memory holds, 1 where nothing is
            gained by it.
    """

    most_stacked: int | None

    def with_members(self, members: int) -> Networks[Any] | None:
        """Networks of the same designs, each of so many members that share weights and predict together; None where the
        family has none."""

    def layout(self, shape: Shape, design: Design) -> L:
        """Of one network."""

    def work(self, shape: Shape, design: Design) -> Work:
        """What it costs; asked of hundreds of candidates before one is trained."""

    def initial(self, layout: L, seed: int) -> Weights:
        """Fresh weights on the CPU, from ``seed`` alone."""

    def stack(
        self,
        layouts: Sequence[L],
        trainings: Sequence[Training],
        rows: EncodedRows,
        options: Options,
        seed: int,
        names: Sequence[str],
        task: Task,
    ) -> Stack:
        """Networks ready to train together.

        Args:
            layouts: One of each.
            trainings: Of each, of the same number of steps; their tensors belong to the stack from now on.
            rows: Training rows, on the device that does the work.
            options: How to train.
            seed: Of the run.
            names: Of the candidates; with seed and epoch they decide what is random.
            task: What is learnt.
        """

    def predict(self, layout: L, weights: Weights, rows: EncodedRows) -> Tensor:
        """What one network's ``weights`` predict: float32 (rows,) or (rows, outputs) on the CPU."""

    def export(self, layout: L, weights: Weights, facts: ModelFacts) -> Model:
        """The network as a model that is kept and predicts.

        Raises:
            InvalidInput: A stored model cannot say what the network computes.
        """
