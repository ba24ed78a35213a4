"""A dataset's file as columns, without a database in between."""

from __future__ import annotations

import numpy as np

from trails.errors import UnusableData
from trails.loading.fields import Fields
from trails.loading.libsvm import read_blocks
from trails.loading.sources import Dataset
from trails.table.columns import Column, Columns

LABEL = "label"


def dataset_columns(dataset: Dataset, split: str) -> Columns:
    """The columns that the loaded table of a split would have, but ``id``.

    Args:
        dataset: From `trails.loading.sources.find_dataset`.
        split: ``train``, ``valid`` or ``test``.

    Raises:
        MalformedLine: A line that does not fit, with file, line and reason.
        UnusableData: An empty or damaged file.
    """
    blocks = list(read_blocks(dataset.files[split], dataset.fields))
    if not blocks:
        raise UnusableData(f"{dataset.files[split]} holds no rows")
    ids = np.concatenate([block.ids for block in blocks])
    labels = np.concatenate([block.labels for block in blocks]).astype(np.int32)
    names = (dataset.fields or Fields.numbered(ids.shape[1])).names
    features = (Column(name, "int32", np.ascontiguousarray(of)) for name, of in zip(names, ids.T, strict=True))
    return Columns(len(ids), (*features, Column(LABEL, "int32", labels)))
