"""What runs on a node of a Ray cluster for a builder: a task that trains. Imports no ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trails.bench.building.machine import machine
from trails.bench.building.rowsets import Rowsets
from trails.bench.building.train import Trained, train_stack
from trails.bench.plan import Training
from trails.bench.protocol import Protocol
from trails.refinement.ray_messages import PackedData, PackedRows, pack_data, pack_rows, unpack_data, unpack_rows
from trails.training.options import Options


@dataclass(frozen=True)
class PackedRowsets:
    """`Rowsets` as arrays, which tasks map from the object store."""

    data: PackedData
    test: PackedRows
    looked_at: PackedRows
    options: Options


def pack(rowsets: Rowsets, key: str) -> PackedRowsets:
    """Rows as arrays; ``key`` is the same for every task of a builder."""
    data, test, looked_at = pack_data(rowsets.data, key), pack_rows(rowsets.test), pack_rows(rowsets.looked_at)
    return PackedRowsets(data, test, looked_at, rowsets.options)


def train(packed: PackedRowsets, protocol: Protocol, job: Sequence[Training], gpu: bool) -> list[Trained]:
    """The task: train a job's architectures together.

    Args:
        packed: Rows.
        protocol: What is trained.
        job: Of one seed.
        gpu: Whether a GPU is reserved for it; else one core is.
    """
    torch.set_num_threads(1)
    places = ", ".join(str(training.place) for training in job)
    print(f"trails: places {places} of {protocol.dataset}", flush=True)
    device = "cuda:0" if gpu else "cpu"  # of those that Ray lets this process see
    return train_stack(_unpacked(packed, device), protocol, job, machine(device))


_kept: tuple[str, Rowsets] | None = None
"""The rows of the builder that this process serves: they may lie on a GPU."""


def _unpacked(packed: PackedRowsets, device: str) -> Rowsets:
    global _kept
    if _kept is None or _kept[0] != packed.data.key:
        data = unpack_data(packed.data).to(torch.device(device))
        parts = (unpack_rows(rows, data.encoder) for rows in (packed.test, packed.looked_at))
        test, looked_at = (rows.to(torch.device(device)) for rows in parts)
        _kept = packed.data.key, Rowsets(data, test, looked_at, packed.options)
    return _kept[1]
