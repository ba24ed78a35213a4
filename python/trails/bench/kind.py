"""Which names of machines are of the same kind."""

from __future__ import annotations


def kind(name: str) -> str:
    """Processor or GPU and version of torch, of a name that `trails.bench.building.machine.machine` made.

    They decide the digits and the seconds; the version and commit of this code do not, or a benchmark could not grow.
    """
    return name.partition(", trails ")[0]
