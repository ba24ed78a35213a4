"""The encoded rows that the architectures of a recorded benchmark are trained and looked at on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trails.bench.plan import looked_at
from trails.bench.protocol import Protocol
from trails.bench.setting import Setting
from trails.loading.columns import LABEL, dataset_columns
from trails.loading.sources import SPLITS, find_dataset
from trails.refinement.checkpoint import digest
from trails.refinement.dataset import Dataset, encoded_rows, prepare
from trails.refinement.protocol import Candidate
from trails.refinement.trial import Trial
from trails.space import parse_space
from trails.training.options import Options, parse_options
from trails.training.rows import EncodedRows


@dataclass(frozen=True)
class Rowsets:
    """The encoded rows of a benchmark.

    Args:
        data: Training and validation rows.
        test: Test rows, encoded as these.
        looked_at: The training rows of which the training AUC is.
        options: How candidates are trained.
    """

    data: Dataset
    test: EncodedRows
    looked_at: EncodedRows
    options: Options

    @classmethod
    def read(cls, protocol: Protocol, device: torch.device) -> Rowsets:
        """Read and encode a dataset in its published form, one id a field.

        Raises:
            NotAvailable: The dataset is nowhere to be had.
        """
        dataset = find_dataset(protocol.dataset)
        train, valid, test = (dataset_columns(dataset, split) for split in SPLITS)
        features = [column.name for column in train.without(LABEL)]
        options = parse_options(protocol.trained_with(categories=features))
        data = prepare(train, valid, LABEL, 1, device, options=options)
        labels = data.target.labels(test[LABEL])
        test_rows = encoded_rows(data.encoder, test.without(LABEL), labels, data.target, device)
        some = data.train.take(torch.from_numpy(looked_at(len(data.train))).to(device))
        return cls(data, test_rows, some, options)

    def setting(self, protocol: Protocol, sample_seed: int) -> Setting:
        """What a table of these rows is of."""
        rows = {"train": len(self.data.train), "valid": len(self.data.validation), "test": len(self.test)}
        return Setting(
            protocol.dataset,
            digest(self.data),
            rows,
            self.data.encoder.fields,
            protocol.space,
            sample_seed,
            protocol.epochs,
            dict(protocol.options),
        )

    def trial(self, protocol: Protocol, index: int, seed: int) -> Trial:
        """An architecture of the protocol's space that was not trained yet."""
        space = parse_space(protocol.space)
        design = space.architecture(index)
        candidate = Candidate(space.format(design), design, None)
        return Trial.of(space.family, candidate, self.data.shape(self.options), seed)

    def parameters(self, protocol: Protocol, index: int) -> int:
        """Trained numbers of an architecture, its embedding included."""
        return self.trial(protocol, index, 0).layout.parameters
