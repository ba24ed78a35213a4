"""Samplers: in what order to score the architectures of a space that is not scored as a whole.

:data:`SAMPLERS` is the one list of them; everything that takes a sampler by name makes it with :func:`make_sampler`.
"""

from __future__ import annotations

from types import MappingProxyType

from trails.errors import InvalidInput, shown
from trails.filtering.samplers.base import EnumerationSampler, LearningSampler, Merit, RandomSampler, Sampler
from trails.filtering.samplers.evolution import EvolutionSampler
from trails.filtering.samplers.reinforcement import ReinforceSampler
from trails.space import Space

SAMPLERS: MappingProxyType[str, str] = MappingProxyType(
    {
        "random": "uniform without replacement",
        "evolution": "regularised evolution: mutates tournament winners, the oldest of the population dies",
        "reinforcement": "REINFORCE with a distribution over choices per position and a moving-average baseline",
        "enumeration": "every architecture in the space's order",
    }
)
"""Every sampler's name, and what it does."""


def make_sampler(name: str, space: Space, seed: int, merit: Merit) -> Sampler:
    """The sampler called ``name``, at its beginning.

    Args:
        name: One of :data:`SAMPLERS`.
        space: Where to look.
        seed: Fixes what is drawn; enumeration draws nothing.
        merit: How good a scored candidate is now; random and enumeration do not ask.

    Raises:
        InvalidInput: There is no such sampler, or ``seed`` is negative.
    """
    match name:
        case "random":
            return RandomSampler(space, seed)
        case "evolution":
            return EvolutionSampler(space, seed, merit)
        case "reinforcement":
            return ReinforceSampler(space, seed, merit)
        case "enumeration":
            return EnumerationSampler(space)
    raise _unknown(name)


def check_sampler(name: str) -> None:
    """Refuse a name that `make_sampler` does not know; for whoever has no space yet.

    Raises:
        InvalidInput: There is no such sampler.
    """
    if name not in SAMPLERS:
        raise _unknown(name)


def _unknown(name: str) -> InvalidInput:
    return InvalidInput(f"there is no sampler '{shown(name)}'", hint=f"Known samplers: {', '.join(SAMPLERS)}.")


__all__ = [
    "SAMPLERS",
    "EnumerationSampler",
    "EvolutionSampler",
    "LearningSampler",
    "Merit",
    "RandomSampler",
    "ReinforceSampler",
    "Sampler",
    "check_sampler",
    "make_sampler",
]
