"""A LibSVM file as two arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trails.loading.fields import Fields
from trails.loading.libsvm import read_blocks


def read_arrays(path: Path, fields: Fields | None = None) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """The whole file as labels (int8, rows) and ids (int32, rows x fields); errors as `read_blocks`."""
    blocks = list(read_blocks(path, fields))
    return np.concatenate([b.labels for b in blocks]), np.concatenate([b.ids for b in blocks])
