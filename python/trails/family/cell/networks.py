"""The half of these families that needs PyTorch: networks of cells made, for scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import cast

from trails.family.cell.batches import Pictures, side_of
from trails.family.cell.blocks import CellNetwork, Network101, Network201, initialise
from trails.family.cell.measures import Measures
from trails.family.design import Design
from trails.family.modules import unfilled
from trails.tfmem import Batch

NETWORKS: dict[str, Callable[[Design, int], CellNetwork]] = {"nasbench101": Network101, "nasbench201": Network201}
"""By the name of the family."""


def network_of(family: str, design: Design, seed: int, classes: int = 10) -> CellNetwork:
    """A fresh network.

    Args:
        family: Of `NETWORKS`.
        design: The cell.
        seed: With the design it decides the weights.
        classes: That the pictures have.
    """
    network = cast(CellNetwork, unfilled(lambda: NETWORKS[family](design, classes)))
    initialise(network, seed_of(design, seed))
    return network


def measures_of(
    family: str, design: Design, seed: int, inputs: int, batches: Sequence[Batch], classes: int = 10
) -> Measures:
    """A fresh network to be scored.

    Args:
        family: Of `NETWORKS`.
        design: The cell.
        seed: With the design it decides the weights and what a metric draws.
        inputs: Numbers of a picture.
        batches: Of pictures.
        classes: Of the network where there are no batches, whose classes it has otherwise.

    Raises:
        InvalidInput: The rows are no pictures.
    """
    classes = max(2, batches[0].outputs) if batches else classes
    pictures = [Pictures.of(batch) for batch in batches]
    return Measures(network_of(family, design, seed, classes), pictures, side_of(inputs), seed_of(design, seed))


def seed_of(design: Design, seed: int) -> int:
    """Of one network, below 2**63."""
    digest = hashlib.sha256(f"{seed} {design}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
