"""A small real table for machines without data and without a network: scikit-learn's breast cancer table.

569 rows of 30 numeric columns (Wisconsin Diagnostic Breast Cancer, CC BY 4.0). Each column is cut at the
training rows' quantiles into ten bins, and the rows are split 70 : 15 : 15 with the same share of positives
in each part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trails.loading.download import NotAvailable, write_whole
from trails.loading.fields import Fields

NAME = "breast_cancer"
TITLE = "Wisconsin breast cancer table"
BINS = 10
SEED = 20210620
SHARES = {"train": 0.70, "valid": 0.15, "test": 0.15}


def write(folder: Path) -> None:
    """Write the table as a dataset's folder: fields.tsv and a LibSVM file per split; label 1 means benign.

    Raises:
        NotAvailable: scikit-learn is not installed, or the folder cannot be written to.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise NotAvailable(
            f"the {TITLE} comes with scikit-learn, which is not installed",
            hint="Install it: python -m pip install scikit-learn",
        ) from None
    table = load_breast_cancer()
    values: NDArray[np.float64] = table.data
    labels: NDArray[np.int64] = table.target
    names = tuple(str(name) for name in table.feature_names)
    parts = split_rows(labels, SEED)
    edges = np.quantile(values[parts["train"]], np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    bins = np.column_stack([np.searchsorted(edges[:, c], values[:, c], side="right") for c in range(len(names))])
    fields = Fields.consecutive(names, (BINS,) * len(names))
    ids = bins + np.arange(len(names)) * BINS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, rows in parts.items():
            lines = (" ".join([str(labels[r]), *(f"{i}:1" for i in ids[r])]) for r in rows)
            write_whole(folder / f"{split}.libsvm", ("\n".join(lines) + "\n").encode())
        write_whole(folder / "fields.tsv", fields.to_tsv().encode())
    except OSError as error:
        raise NotAvailable(
            f"the {TITLE} cannot be written to {folder}: {error.strerror or error}",
            hint="Set TRAILS_HOME to a folder that you may write to.",
        ) from None


def split_rows(labels: NDArray[np.int64], seed: int) -> dict[str, NDArray[np.int64]]:
    """Row numbers of each split (int64, shuffled): every class is divided in the same shares."""
    random = np.random.default_rng(seed)
    parts: dict[str, list[NDArray[np.int64]]] = {split: [] for split in SHARES}
    for value in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == value))
        cuts = np.rint(np.cumsum(list(SHARES.values()))[:-1] * len(rows)).astype(np.int64)
        for split, piece in zip(SHARES, np.split(rows, cuts), strict=True):
            parts[split].append(piece)
    return {split: random.permutation(np.concatenate(pieces)) for split, pieces in parts.items()}
