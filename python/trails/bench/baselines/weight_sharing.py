"""Weight sharing: one super-network is trained, and architectures are compared as parts of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trails.bench.plan import sample
from trails.bench.trainer import OutOfTime, RecordedTrainer
from trails.errors import InvalidInput, UnusableData
from trails.filtering.samplers import RandomSampler

FILE, VERSION = "shared.parquet", 1

EVALUATED = 200
"""Sub-networks that a search compares before it trains the best alone."""

_COLUMNS = pa.schema([("place", pa.int32()), ("valid_auc", pa.float32()), ("seconds", pa.float32())])


@dataclass(frozen=True)
class Shared:
    """What a super-network said of the first architectures of the sample.

    Args:
        digest: Of the dataset's rows, as in the benchmark's setting.
        epochs: Of the super-network.
        training_seconds: Of the super-network, processor time of one core.
        losses: Training loss of every epoch, nats.
        place: int32 (evaluated,): in the sample, ascending.
        valid_auc: float32 (evaluated,): of the sub-network with the super-network's weights.
        seconds: float32 (evaluated,): of evaluating it, its batch statistics included.
    """

    digest: str
    epochs: int
    training_seconds: float
    losses: tuple[float, ...]
    place: NDArray[np.int32]
    valid_auc: NDArray[np.float32]
    seconds: NDArray[np.float32]

    def write(self, folder: Path) -> None:
        """Keep it beside the benchmark's tables."""
        known = {name: value for name, value in asdict(self).items() if name not in _COLUMNS.names}
        table = pa.table([getattr(self, name) for name in _COLUMNS.names], _COLUMNS)
        content = json.dumps({"version": VERSION, **known})
        partial = folder / f".{FILE}.partial"
        pq.write_table(table.replace_schema_metadata({"trails.bench.shared": content}), partial, compression="zstd")
        partial.replace(folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> Shared | None:
        """What `write` wrote; None where nothing was.

        Raises:
            UnusableData: The file is damaged or of another form.
        """
        file = folder / FILE
        if not file.exists():
            return None
        try:
            table = pq.read_table(file)
            known = json.loads((table.schema.metadata or {})[b"trails.bench.shared"])
            if known.pop("version") != VERSION:
                raise UnusableData(f"{file} is of another version", hint=f"This release reads {VERSION}.")
            columns = {name: table[name].to_numpy() for name in _COLUMNS.names}
            return cls(**{**known, "losses": tuple(known["losses"]), **columns})
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise UnusableData(f"{file} is damaged or no table of shared weights", detail=str(error)) from error


def shared_weights(trainer: RecordedTrainer) -> Shared:
    """What is recorded beside a trainer's benchmark.

    Raises:
        InvalidInput: Nothing is, or of other rows.
        UnusableData: The file is damaged.
    """
    benchmark = trainer.benchmark
    found = Shared.read(benchmark.folder)
    if found is None:
        raise InvalidInput(
            f"{benchmark.folder} records no shared weights",
            hint=f"python -m benchmarks weight_sharing --dataset {benchmark.setting.dataset} trains a super-network.",
        )
    if found.digest != benchmark.setting.digest:
        raise InvalidInput(f"the shared weights in {benchmark.folder} are of other rows than its curves")
    return found


def by_index(trainer: RecordedTrainer, shared: Shared) -> Mapping[int, int]:
    """Row of ``shared`` of every architecture in the trainer's space that was evaluated, by its index there."""
    whole = trainer.space.whole.size
    last = int(shared.place.max(initial=-1))
    places = sample(whole, last + 1) if last >= 0 else []
    rows = {places[place]: row for row, place in enumerate(shared.place.tolist())}
    pairs = ((index, rows.get(found)) for index, found in enumerate(trainer.space.recorded.tolist()))
    return {index: row for index, row in pairs if row is not None}


def weight_sharing(trainer: RecordedTrainer, seed: int, epochs: int, *, evaluated: int = EVALUATED) -> None:
    """Train the super-network, compare random sub-networks with its weights, train the best of them alone.

    The seconds of the super-network's training and of every evaluation are charged as they were measured.

    Source: Guo, Zhang, Mu, Heng, Liu, Wei, Sun: Single Path One-Shot Neural Architecture Search with Uniform Sampling
    (ECCV 2020).

    Args:
        trainer: Whose clock passes.
        seed: Of the order in which sub-networks are evaluated.
        epochs: To which the best is trained.
        evaluated: How many are compared.

    Raises:
        InvalidInput: No super-network's evaluations are recorded beside the benchmark.
    """
    shared = shared_weights(trainer)
    rows = by_index(trainer, shared)
    order = [index for index in RandomSampler(trainer.space, seed).ask(trainer.space.size) if index in rows]
    best: int | None = None
    with suppress(OutOfTime):
        trainer.charge(shared.training_seconds)
        for index in order[:evaluated]:
            trainer.charge(float(shared.seconds[rows[index]]))
            if best is None or shared.valid_auc[rows[index]] > shared.valid_auc[rows[best]]:
                best = index
        if best is not None:
            trainer.train(best, epochs)
