"""What a selection on records needs of a benchmark, made once: its architectures with names and curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from trails.bench.space import RecordedSpace
from trails.bench.table import Benchmark
from trails.errors import InvalidInput, UnusableData
from trails.family import Design
from trails.refinement.curves import Curve, RecordedEpoch


@dataclass(frozen=True)
class Recorded:
    """The recorded architectures, or some that were drawn of them.

    Args:
        space: Of these alone.
        names: As the space writes them, in its order.
        designs: In the same order.
        curves: By name, of all that are recorded: those that were not drawn do no harm.
        places: int64 (architectures,): of each among all that are recorded.
        of: How many these are.
        measured: bool (architectures,): whether its seconds were measured alone; else they are estimated.
    """

    space: RecordedSpace
    names: tuple[str, ...]
    designs: tuple[Design, ...]
    curves: Mapping[str, Curve]
    places: NDArray[np.int64]
    of: int
    measured: NDArray[np.bool_]

    @cached_property
    def epoch_seconds(self) -> NDArray[np.float64]:
        """Of each one's first epoch, evaluation included: float64 (architectures,)."""
        return np.array([self.curves[name].epochs[0].seconds for name in self.names])

    def drawn(self, count: int, seed: int) -> Recorded:
        """Some of them, at random.

        Raises:
            InvalidInput: There are not so many.
        """
        if not 1 <= count <= self.space.size:
            raise InvalidInput(f"a pool of {count} cannot be drawn from {self.space.size} recorded architectures")
        chosen = np.sort(np.random.default_rng(seed).choice(self.space.size, count, replace=False))
        return replace(
            self,
            space=RecordedSpace(self.space.whole, self.space.recorded[chosen].tolist()),
            names=tuple(self.names[place] for place in chosen.tolist()),
            designs=tuple(self.designs[place] for place in chosen.tolist()),
            places=self.places[chosen],
            measured=self.measured[chosen],
        )


_made: WeakKeyDictionary[Benchmark, dict[int, Recorded]] = WeakKeyDictionary()


def recorded(benchmark: Benchmark, seed: int) -> Recorded:
    """The architectures that were trained with a seed; kept as long as the benchmark is.

    Raises:
        InvalidInput: There is none.
        UnusableData: Of one it is not known how long its epochs took.
    """
    made = _made.setdefault(benchmark, {})
    if seed not in made:
        made[seed] = _recorded(benchmark, seed)
    return made[seed]


def _recorded(benchmark: Benchmark, seed: int) -> Recorded:
    space = benchmark.recorded(seed)
    designs = tuple(space.architecture(place) for place in range(space.size))
    names = tuple(space.format(design) for design in designs)
    curves = {name: _curve(benchmark, name, seed) for name in names}
    measured = np.array([benchmark.measured(name, seed) for name in names], np.bool_)
    return Recorded(space, names, designs, curves, np.arange(space.size), space.size, measured)


def _curve(benchmark: Benchmark, name: str, seed: int) -> Curve:
    curve = benchmark.curve(name, seed=seed)
    if not np.isfinite(curve.train_seconds + curve.valid_seconds).all():
        raise UnusableData(
            f"it is not known how long the epochs of {name} took: it was trained in a stack with others",
            hint=f"python -m trails bench time --dataset {benchmark.setting.dataset}",
        )
    columns = (curve.valid_auc, curve.valid_loss, curve.train_loss, curve.train_seconds, curve.valid_seconds)
    return Curve(tuple(RecordedEpoch(*epoch) for epoch in zip(*(c.tolist() for c in columns), strict=True)))
