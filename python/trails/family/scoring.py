"""How networks of a family are scored without training.

A backend imports this half: NumPy only. A family derives a class from :class:`Scoring`, says what its networks cost,
and overrides what it can do for metrics; what it leaves out is computed one network after another, or refused.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trails.checks import Check, no_check, pieces
from trails.errors import InvalidInput
from trails.family.design import Design
from trails.tfmem import Batch, ScoringSetting, Tfmem

Walk: TypeAlias = Callable[[Design], float]
"""Scores one design after another in one thread, each continuing what it has in common with the one before."""

OwnNetwork: TypeAlias = Callable[[Tfmem, Sequence[Batch]], float]
"""Scores a network that was drawn for itself alone: by one metric, on as many batches as it compares."""

# Networks counted between two looks at the caller: each takes a few microseconds.
_COUNTED = 1024


class Designs(Protocol):
    """What a family sees of a space: all its designs, in the space's order."""

    @property
    def size(self) -> int:
        """Number of designs."""

    @property
    def choices(self) -> tuple[tuple[int, ...], ...]:
        """What may stand at every position of a design."""

    def architecture(self, index: int) -> Design:
        """The design at ``index``."""


class OneByOne(Protocol):
    """What is drawn once for all designs of a space, so that each can be scored alone."""

    def walks(self, metric: Tfmem) -> Callable[[], Walk]:
        """Begins a walk by ``metric``. Called by the calling thread; what it returns, by each thread that walks.

        What a walk returns does not depend on which designs came before. It is NaN or infinite where a score fails.
        """


class Scoring(Protocol):
    """Scores the designs of one family."""

    @abstractmethod
    def parameters(self, design: Design, inputs: int) -> int:
        """Weights and biases of a network with one output, without the embedding; ``inputs``: width of its rows."""

    @abstractmethod
    def flops(self, design: Design, inputs: int) -> int:
        """Floating-point operations of one row through a network with one output, without the embedding."""

    def parameters_at(
        self, designs: Designs, indices: NDArray[np.int64], inputs: int, check: Check = no_check
    ) -> NDArray[np.int64]:
        """`parameters` of the designs at ``indices``: int64, of their shape (designs,).

        ``check`` is called at least every 50 ms; what it raises ends the call.
        """
        counts = np.empty(indices.size, np.int64)
        for piece in pieces(indices.size, check, _COUNTED):
            found = [designs.architecture(index) for index in indices[piece].tolist()]
            counts[piece] = [self.parameters(design, inputs) for design in found]
        return counts

    def knows(self, metric: Tfmem) -> bool:
        """Whether ``metric`` can be computed of these networks at all. Here: what is counted."""
        return metric.name in ("params", "flops")

    def at_once(self, metric: Tfmem, designs: Designs) -> bool:
        """Whether `whole_space` scores these designs by ``metric``, which `knows`. Here: never."""
        return False

    def whole_space(
        self, metric: Tfmem, designs: Designs, setting: ScoringSetting, check: Check = no_check
    ) -> NDArray[np.float64]:
        """Score every design at once: float64 (designs.size,) in the space's order.

        Args:
            metric: For which `at_once` says so.
            designs: All of a space.
            setting: What they are scored on.
            check: Called at least every 50 ms; what it raises ends the call.
        """
        raise InvalidInput(f"metric {metric.name!r} cannot score a whole space")

    def one_by_one(self, designs: Designs, setting: ScoringSetting, check: Check = no_check) -> OneByOne:
        """Prepare to score single designs; ``check`` is called at least every 50 ms while anything is drawn."""
        return _Counted(self, setting.inputs)

    def initialise(self, metrics: Sequence[Tfmem], design: Design, inputs: int, seed: int) -> OwnNetwork:
        """Draw a network of its own, as a program that scores models one at a time would.

        Here nothing is drawn before it is scored.

        Args:
            metrics: Those that it will be scored by.
            design: What it is made from.
            inputs: Width of the embedded row.
            seed: Drawn together with the design.
        """
        alone = _Alone(design)

        def score(metric: Tfmem, batches: Sequence[Batch]) -> float:
            prepared = self.one_by_one(alone, ScoringSetting(inputs, seed, tuple(batches)))
            return prepared.walks(metric)()(design)

        return score

    def jacobian_rows(self, choices: Sequence[Sequence[int]], rows: int, inputs: int) -> int:
        """How many of a batch's rows jacob_cov can use for all designs with these choices, at least two.

        The rows of the Jacobian lie in a space of no more dimensions than it has rank, and correlations take one
        dimension more. A row beyond that rank adds -1 / k = -100,000 to the score and drowns everything else.
        """
        return max(2, min(rows, inputs - 1))


class _Counted:
    """Parameters and floating-point operations, which need no network."""

    def __init__(self, scoring: Scoring, inputs: int) -> None:
        self._scoring, self._inputs = scoring, inputs

    def walks(self, metric: Tfmem) -> Callable[[], Walk]:
        count = self._scoring.parameters if metric.name == "params" else self._scoring.flops
        return lambda: lambda design: float(count(design, self._inputs))


class _Alone:
    """The space of one design."""

    def __init__(self, design: Design) -> None:
        self.size, self.choices = 1, tuple((value,) for value in design)
        self._design = design

    def architecture(self, index: int) -> Design:
        return self._design
